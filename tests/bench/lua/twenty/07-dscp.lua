-- Bytes by service class.

local GROUP = "{E6C4860C-37ED-400A-850B-5451D1660271}"

local NAMES = {}
for i = 0, 63 do NAMES[i] = "dscp " .. i end

TrisulPlugin = {
  id = { name = "bench-07-dscp", description = "bytes by service class" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 07-dscp", description = "bytes by service class", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, NAMES[bit.rshift(layer:getbyte(1), 2)], 0, layer:total_bytes())
    end,
  },
}
