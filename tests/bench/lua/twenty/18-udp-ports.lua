-- Packets by UDP destination port.

local GROUP = "{1A9DE371-2171-4461-9BBC-4E133939C710}"

TrisulPlugin = {
  id = { name = "bench-18-udp-ports", description = "packets by udp destination port" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 18-udp-ports", description = "packets by udp destination port", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 2, 2, 0, 1)
    end,
  },
}
