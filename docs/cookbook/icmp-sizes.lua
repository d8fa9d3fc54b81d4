-- Question: Do echo messages carry more than echoes should?
-- Shows:    a histogram as a counter group; the ICMP layer covers the whole message
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/icmp-sizes.lua

local GROUP = "{9E75F52A-6970-47D3-B589-58678CEB425C}"
local ALERTS = "{DA35BE12-B750-49A8-9BBF-788E2DCA219B}"
local ICMP = "{7DDD65F2-A316-43B5-A103-368E700E045E}"
local HEADER, ECHO_REPLY, ECHO = 8, 0, 8
-- What ping sends is 56 bytes; nobody needs more than this, unless the path is tested.
local MOST_PAYLOAD, MANY, MAX_FLOWS = 200, 5, 10000

local large, count = {}, 0

TrisulPlugin = {
  id = { name = "icmp-sizes", description = "sizes of echo messages; an alert for flows with many large ones" },

  countergroup = {
    control = { guid = GROUP, name = "Echo sizes", description = "echo messages by size", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Messages", "echo messages of this size", "messages" } },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "Echo tunnels", description = "echo messages that carry data" },
  },

  simplecounter = {
    protocol_guid = ICMP,
    onpacket = function(engine, layer)
      local kind = layer:getbyte(0)
      if kind ~= ECHO and kind ~= ECHO_REPLY then return end
      local payload = layer:layer_bytes() - HEADER
      local step = math.floor(payload / 100) * 100
      engine:update_counter(GROUP, ("%04d-%04d"):format(step, step + 99), 0, 1)
      if payload <= MOST_PAYLOAD then return end
      local id = layer:flowkey()
      if not large[id] then
        if count >= MAX_FLOWS then return end
        large[id], count = 0, count + 1
      end
      large[id] = large[id] + 1
      if large[id] == MANY then
        engine:add_alert(ALERTS, id, "ICMPTUNNEL", 2, ("%d echo messages of over %d bytes"):format(MANY, MOST_PAYLOAD))
      end
    end,
  },
}
