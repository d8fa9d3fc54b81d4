-- Question: How many bytes does each VLAN carry?
-- Shows:    reading header fields with hval_16; VLAN tags are part of layer 0
-- Run:      millstream run -r pcaps/vlan.pcap pcaps/qinq.pcap -p docs/cookbook/vlan-bytes.lua

local GROUP = "{9324C7DB-60B9-4661-B827-E2E639353DB6}"
local ETHERNET = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"
-- Types of Ethernet that announce a tag: 802.1Q, and 802.1ad for the outer of two.
local TAGS = { [0x8100] = true, [0x88A8] = true }

TrisulPlugin = {
  id = { name = "vlan-bytes", description = "bytes by VLAN, the inner of two as outer.inner" },

  countergroup = {
    control = { guid = GROUP, name = "VLAN bytes", description = "bytes by VLAN", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Bytes", "bytes on the wire", "bytes" } },
  },

  simplecounter = {
    protocol_guid = ETHERNET,
    onpacket = function(engine, layer)
      local bytes, at, ids = layer:rawbytes(), 12, {}
      while TAGS[bytes:hval_16(at)] do
        -- The upper four bits of the tag are the priority.
        ids[#ids + 1] = bit.band(bytes:hval_16(at + 2), 0xFFF)
        at = at + 4
      end
      engine:update_counter_bytes(GROUP, #ids > 0 and table.concat(ids, ".") or "none", 0)
    end,
  },
}
