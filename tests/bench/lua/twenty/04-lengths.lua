-- Packets by power of two of their length.

local GROUP = "{179FB072-CFEE-4C44-8F08-17065899C15A}"

local NAMES = {}
for i = 0, 17 do NAMES[i] = "below " .. 2 ^ i end

TrisulPlugin = {
  id = { name = "bench-04-lengths", description = "packets by power of two of their length" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 04-lengths", description = "packets by power of two of their length", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
    onpacket = function(engine, layer)
      local length, i = layer:total_bytes(), 6
      while i < 17 and length >= 2 ^ i do i = i + 1 end
      engine:update_counter(GROUP, NAMES[i], 0, 1)
    end,
  },
}
