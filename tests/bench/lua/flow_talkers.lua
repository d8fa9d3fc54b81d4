-- Flow records and the hosts that talk most. The host keeps the records, with bytes both ways, because this script hears
-- of the ends of flows; the script counts bytes sent and received by host, and connections by server, and prints the
-- servers with the most at the end.

local GROUP = "{A9C7C36B-9A8C-4D0E-8C0F-2B6C0D6E4C51}"
local SENT, RECEIVED = 0, 1
-- Where the addresses are in the IPv4 header, and how long they are.
local SOURCE, DESTINATION, LENGTH = 12, 16, 4
local SHOWN = 10
-- Servers remembered; a flood of them must not fill the memory.
local MOST_SERVERS = 50000

local servers, known = {}, 0

TrisulPlugin = {
  id = { name = "bench-flow-talkers", description = "bytes by host, connections by server" },

  onunload = function()
    local order = {}
    for server, count in pairs(servers) do order[#order + 1] = { server, count } end
    table.sort(order, function(a, b)
      if a[2] ~= b[2] then return a[2] > b[2] end
      return a[1] < b[1]
    end)
    for i = 1, math.min(SHOWN, #order) do print(order[i][1], order[i][2]) end
  end,

  countergroup = {
    control = { guid = GROUP, name = "Bench: talkers", description = "bytes by host", bucketsize = 60 },
    meters = {
      { SENT, T.K.vartype.COUNTER, 10, 0, "Sent", "bytes sent", "bytes" },
      { RECEIVED, T.K.vartype.COUNTER, 10, 0, "Received", "bytes received", "bytes" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local length = layer:total_bytes()
      engine:update_counter_at(GROUP, layer, SOURCE, LENGTH, SENT, length)
      engine:update_counter_at(GROUP, layer, DESTINATION, LENGTH, RECEIVED, length)
    end,
  },

  reassembly_handler = {
    onterminateflow = function(engine, timestamp, flow)
      local server = flow:ipz()
      local count = servers[server]
      if count then
        servers[server] = count + 1
      elseif known < MOST_SERVERS then
        servers[server], known = 1, known + 1
      end
    end,
  },
}
