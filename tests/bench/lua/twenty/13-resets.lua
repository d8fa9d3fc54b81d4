-- Resets and ends of connections.

local GROUP = "{38C4A577-86B4-42CB-A815-A9A72113CA40}"

TrisulPlugin = {
  id = { name = "bench-13-resets", description = "resets and ends of connections" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 13-resets", description = "resets and ends of connections", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      if layer:testbit(109) then engine:update_counter(GROUP, "reset", 0, 1) end
      if layer:testbit(111) then engine:update_counter(GROUP, "fin", 0, 1) end
    end,
  },
}
