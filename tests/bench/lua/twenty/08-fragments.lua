-- Fragments and packets that must not be fragmented.

local GROUP = "{6951F9C1-4305-4212-A0B0-033A2F4323A3}"

TrisulPlugin = {
  id = { name = "bench-08-fragments", description = "fragments and packets that must not be fragmented" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 08-fragments", description = "fragments and packets that must not be fragmented", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local word = layer:rawbytes():hval_16(6)
      if bit.band(word, 0x3FFF) ~= 0 then
        engine:update_counter(GROUP, "fragments", 0, 1)
      elseif word ~= 0 then
        engine:update_counter(GROUP, "do not fragment", 0, 1)
      end
    end,
  },
}
