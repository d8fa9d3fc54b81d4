-- Bytes by destination address of IPv4 packets; the key is made in Lua, byte by byte.

local GROUP = "{B7827A18-9968-4253-B292-78E62BC4912D}"
local format = string.format

TrisulPlugin = {
  id = { name = "bench-dstip-text", description = "bytes by destination address, text keys" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: destinations", description = "bytes by destination", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes on the wire", "bytes" } },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local key = format("%02X.%02X.%02X.%02X", layer:getbyte(16), layer:getbyte(17), layer:getbyte(18), layer:getbyte(19))
      engine:update_counter(GROUP, key, 0, layer:total_bytes())
    end,
  },
}
