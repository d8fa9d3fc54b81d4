-- Bytes by TCP destination port.

local GROUP = "{3BD58D8F-B768-4484-BA90-7906819B3238}"

TrisulPlugin = {
  id = { name = "bench-15-tcp-ports", description = "bytes by tcp destination port" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 15-tcp-ports", description = "bytes by tcp destination port", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 2, 2, 0, layer:total_bytes())
    end,
  },
}
