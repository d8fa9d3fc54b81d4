-- Connection attempts.

local GROUP = "{FF0C13F4-3772-4BFE-9845-F51378C8D555}"

TrisulPlugin = {
  id = { name = "bench-12-syn", description = "connection attempts" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 12-syn", description = "connection attempts", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      if layer:testbit(110) and not layer:testbit(107) then engine:update_counter(GROUP, "attempts", 0, 1) end
    end,
  },
}
