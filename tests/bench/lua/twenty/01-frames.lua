-- Packets and bytes of everything.

local GROUP = "{171BFDCB-2315-4E6E-A995-70F70D712D43}"

TrisulPlugin = {
  id = { name = "bench-01-frames", description = "packets and bytes of everything" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 01-frames", description = "packets and bytes of everything", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
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
