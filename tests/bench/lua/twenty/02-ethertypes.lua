-- Packets by EtherType, from the bytes of the header.

local GROUP = "{18A18CDC-6728-46BF-A778-07BE8DA13E58}"

TrisulPlugin = {
  id = { name = "bench-02-ethertypes", description = "packets by ethertype, from the bytes of the header" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 02-ethertypes", description = "packets by ethertype, from the bytes of the header", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, string.format("%04X", layer:rawbytes():hval_16(12)), 0, 1)
    end,
  },
}
