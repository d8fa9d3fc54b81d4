-- Datagrams of an impossible length, and the sum of all lengths.

local GROUP = "{FD14713A-9099-4175-8066-65C068987BDE}"

TrisulPlugin = {
  id = { name = "bench-19-udp-lengths", description = "datagrams of an impossible length, and the sum of all lengths" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 19-udp-lengths", description = "datagrams of an impossible length, and the sum of all lengths", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}",
    onpacket = function(engine, layer)
      local length = layer:rawbytes():hval_16(4)
      if length < 8 then engine:update_counter(GROUP, "too short", 0, 1) end
      engine:update_counter(GROUP, "sum", 1, length)
    end,
  },
}
