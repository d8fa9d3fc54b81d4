-- Packets and bytes of everything: the least that a plugin can do with every packet.

local GROUP = "{8631A6ED-4938-4793-AFEC-BB2554468650}"

TrisulPlugin = {
  id = { name = "bench-count", description = "packets and bytes" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: count", description = "packets and bytes", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "packets", "packets" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes on the wire", "bytes" },
    },
  },

  simplecounter = {
    protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, "all", 0, 1)
      engine:update_counter(GROUP, "all", 1, layer:total_bytes())
    end,
  },
}
