-- Packet lengths: how many packets, and how many bytes, fall into each range of lengths.
--
-- Shows at a glance what kind of traffic a link carries: small packets are acknowledgements, calls and scans, full ones
-- are transfers. Lengths are those on the wire without the checksum at the end of an Ethernet frame, so a frame of the
-- smallest size counts as 60 and a full one as 1514.

local GROUP = "{2B2E45B0-34AC-4389-83D8-6E9C7D7EF26A}"
local ETHERNET = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"
local PACKETS, BYTES = 0, 1

-- The key of a length. A chain of comparisons is compiled to a few instructions and needs no table.
local function range_of(length)
  if length < 64 then return "0000-0063" end
  if length < 128 then return "0064-0127" end
  if length < 256 then return "0128-0255" end
  if length < 512 then return "0256-0511" end
  if length < 1024 then return "0512-1023" end
  if length < 1515 then return "1024-1514" end
  return "1515-more"
end

TrisulPlugin = {
  id = {
    name = "packet-lengths",
    description = "packets and bytes by range of packet length",
    author = "millstream",
  },

  countergroup = {
    control = {
      guid = GROUP,
      name = "Packet lengths",
      description = "packets and bytes by range of packet length",
      bucketsize = 10,
    },
    meters = {
      { PACKETS, T.K.vartype.COUNTER, 10, 0, "Packets", "packets in this range", "packets" },
      { BYTES, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes in packets of this range", "bytes" },
    },
    keyinfo = {
      { "0000-0063", "up to 63 bytes" },
      { "0064-0127", "64 to 127 bytes" },
      { "0128-0255", "128 to 255 bytes" },
      { "0256-0511", "256 to 511 bytes" },
      { "0512-1023", "512 to 1023 bytes" },
      { "1024-1514", "1024 to 1514 bytes" },
      { "1515-more", "more than 1514 bytes (jumbo frames, or joined by the network card)" },
    },
  },

  simplecounter = {
    protocol_guid = ETHERNET,

    onpacket = function(engine, layer)
      local length = layer:total_bytes()
      local range = range_of(length)
      engine:update_counter(GROUP, range, PACKETS, 1)
      engine:update_counter(GROUP, range, BYTES, length)
    end,
  },
}
