-- Question: Who tries many ports of a machine?
-- Shows:    sg_monitor with the state of a flow: connections that were never answered count, those that work do not
-- Run:      millstream run -r pcaps/port-scan.pcap -p docs/cookbook/port-scan.lua

local ALERTS = "{5864EAFF-2143-4134-98B0-F3832AD4FD10}"
local MANY_PORTS, MAX_PAIRS = 30, 10000
local SYN_SEEN, CONNECTED = 0x2, 0x8

-- Ports tried, by source and target.
local tried, count = {}, 0

TrisulPlugin = {
  id = { name = "port-scan", description = "hosts that try many ports of another" },

  alertgroup = {
    control = { guid = ALERTS, name = "Port scans", description = "many ports of one host tried" },
  },

  sg_monitor = {
    onterminate = function(engine, flow)
      local state, id = flow:state(), flow:flow()
      if bit.band(state, SYN_SEEN) == 0 or bit.band(state, CONNECTED) ~= 0 then return end
      -- The end that received the SYN is the server; 0x10 says that it is the A end.
      local source, target, port = id:ipa_readable(), id:ipz_readable(), id:portz()
      if bit.band(state, 0x10) ~= 0 then source, target, port = id:ipz_readable(), id:ipa_readable(), id:porta() end
      local key = source .. " to " .. target
      local seen = tried[key]
      if not seen then
        if count >= MAX_PAIRS then return end
        seen, count = { ports = {}, n = 0 }, count + 1
        tried[key] = seen
      end
      if seen.ports[port] then return end
      seen.ports[port], seen.n = true, seen.n + 1
      if seen.n == MANY_PORTS then
        engine:add_alert(ALERTS, id:id(), "PORTSCAN", 1, key .. ": " .. seen.n .. " ports tried in vain")
      end
    end,
  },
}
