-- Top talkers, IPv6: bytes and packets that each IPv6 host sent and received.
--
-- Keys are host keys, the sixteen bytes of the address in hexadecimal, without separators.
-- A host function counts straight from the address bytes of the packet where the engine has one; elsewhere the key is
-- made in Lua. Both give the same result; the first makes no strings.

local GROUP = "{C33A018F-A3C3-4EE3-99CF-391AE4080483}"
local IPV6 = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"
local TOTAL, SENT, RECEIVED, PACKETS = 0, 1, 2, 3
-- Where the addresses are in the IPv6 header, and how long they are.
local SOURCE, DESTINATION, LENGTH = 8, 24, 16

local format = string.format

local function host_key(bytes, offset)
  return format("%08X%08X%08X%08X", bytes:hval_32(offset), bytes:hval_32(offset + 4), bytes:hval_32(offset + 8),
    bytes:hval_32(offset + 12))
end

TrisulPlugin = {
  id = {
    name = "top-talkers-ipv6",
    description = "bytes and packets per IPv6 host, sent and received",
    author = "millstream",
  },

  countergroup = {
    control = {
      guid = GROUP,
      name = "Top talkers IPv6",
      description = "bytes and packets per IPv6 host",
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
    protocol_guid = IPV6,

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
