-- Bytes by IPv4 source address.

local GROUP = "{08B45B50-BB9C-4465-9E31-3480CBFEA1C0}"

TrisulPlugin = {
  id = { name = "bench-09-sources", description = "bytes by ipv4 source address" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 09-sources", description = "bytes by ipv4 source address", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 12, 4, 0, layer:total_bytes())
    end,
  },
}
