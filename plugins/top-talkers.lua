-- Top talkers: bytes and packets that each IPv4 host sent and received.
--
-- Keys are host keys, the four bytes of the address in hexadecimal: 192.168.1.2 is C0.A8.01.02.
-- A host function counts straight from the address bytes of the packet where the engine has one; elsewhere the key is
-- made in Lua. Both give the same result; the first makes no strings.

local GROUP = "{DE5D5455-889A-4AE1-A48D-C191679F9621}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local TOTAL, SENT, RECEIVED, PACKETS = 0, 1, 2, 3
-- Where the addresses are in the IPv4 header, and how long they are.
local SOURCE, DESTINATION, LENGTH = 12, 16, 4

local format = string.format

local function host_key(bytes, offset)
  return format("%02X.%02X.%02X.%02X", bytes:hval_8(offset), bytes:hval_8(offset + 1), bytes:hval_8(offset + 2),
    bytes:hval_8(offset + 3))
end

TrisulPlugin = {
  id = {
    name = "top-talkers",
    description = "bytes and packets per IPv4 host, sent and received",
    author = "millstream",
  },

  countergroup = {
    control = {
      guid = GROUP,
      name = "Top talkers",
      description = "bytes and packets per IPv4 host",
      bucketsize = 10,
    },
    meters = {
      { TOTAL, T.K.vartype.COUNTER, 20, 0, "Total", "bytes sent and received", "bytes" },
      { SENT, T.K.vartype.COUNTER, 20, 0, "Sent", "bytes sent", "bytes" },
      { RECEIVED, T.K.vartype.COUNTER, 20, 0, "Received", "bytes received", "bytes" },
      { PACKETS, T.K.vartype.COUNTER, 20, 0, "Packets", "packets sent and received", "packets" },
    },
  },

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      -- A header cut off by the capture has no addresses to count.
      if layer:layer_bytes() < DESTINATION + LENGTH then return end
      local length = layer:total_bytes()

      if engine.update_counter_at then
        engine:update_counter_at(GROUP, layer, SOURCE, LENGTH, TOTAL, length)
        engine:update_counter_at(GROUP, layer, SOURCE, LENGTH, SENT, length)
        engine:update_counter_at(GROUP, layer, SOURCE, LENGTH, PACKETS, 1)
        engine:update_counter_at(GROUP, layer, DESTINATION, LENGTH, TOTAL, length)
        engine:update_counter_at(GROUP, layer, DESTINATION, LENGTH, RECEIVED, length)
        engine:update_counter_at(GROUP, layer, DESTINATION, LENGTH, PACKETS, 1)
        return
      end

      local bytes = layer:rawbytes()
      local source, destination = host_key(bytes, SOURCE), host_key(bytes, DESTINATION)
      engine:update_counter(GROUP, source, TOTAL, length)
      engine:update_counter(GROUP, source, SENT, length)
      engine:update_counter(GROUP, source, PACKETS, 1)
      engine:update_counter(GROUP, destination, TOTAL, length)
      engine:update_counter(GROUP, destination, RECEIVED, length)
      engine:update_counter(GROUP, destination, PACKETS, 1)
    end,
  },
}
