-- How far packets have come: their remaining time to live, in steps of 16.

local GROUP = "{F6C2FAF1-2BA3-499C-B624-9D2377EBEB01}"

local NAMES = {}
for i = 0, 15 do NAMES[i] = "ttl " .. i * 16 end

TrisulPlugin = {
  id = { name = "bench-06-ttl", description = "how far packets have come: their remaining time to live, in steps of 16" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 06-ttl", description = "how far packets have come: their remaining time to live, in steps of 16", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, NAMES[bit.rshift(layer:getbyte(8), 4)], 0, 1)
    end,
  },
}
