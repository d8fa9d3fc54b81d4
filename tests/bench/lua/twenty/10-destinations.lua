-- Bytes and packets by IPv4 destination address.

local GROUP = "{9B861A2D-09A8-46E6-A8F4-4E13732F8DD2}"

TrisulPlugin = {
  id = { name = "bench-10-destinations", description = "bytes and packets by ipv4 destination address" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 10-destinations", description = "bytes and packets by ipv4 destination address", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 16, 4, 0, layer:total_bytes())
      engine:update_counter_at(GROUP, layer, 16, 4, 1, 1)
    end,
  },
}
