-- Bytes by the A end of the flow.

local GROUP = "{C890ECDF-21EC-4BFC-A047-366B6E84D675}"

TrisulPlugin = {
  id = { name = "bench-17-a-ends", description = "bytes by the a end of the flow" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 17-a-ends", description = "bytes by the a end of the flow", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      engine:update_counter_end(GROUP, layer, "ipa", 0, layer:total_bytes())
    end,
  },
}
