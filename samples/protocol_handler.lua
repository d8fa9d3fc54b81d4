-- protocol_handler: teach the pipeline a protocol that it does not know.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/protocol_handler.lua
-- What it does: recognises NTP (UDP port 123) as a layer of its own. The simplecounter in the same file is then
--               called for exactly those packets, with the NTP bytes in its hands.

local NTP = "{54563BE8-FA6F-4A25-A390-3E37F43F83D7}"
local MY_GROUP = "{0AA319B7-03F4-43F8-8931-DF2B544AB53E}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"

local MODES = { [1] = "active", [2] = "passive", [3] = "client", [4] = "server", [5] = "broadcast" }

TrisulPlugin = {
  id = { name = "sample-protocol_handler", description = "NTP as a layer, counted by mode" },

  protocol_handler = {
    control = {
      guid = NTP,
      name = "NTP",
      description = "Network Time Protocol",
      -- Where it is found: below which protocol, at which numbers. For TCP and UDP these are ports (either end),
      -- for IP protocol numbers, for Ethernet EtherTypes.
      host_protocol_guid = UDP,
      host_protocol_ports = { 123 },
    },

    -- Called with all bytes that no lower layer has claimed. Return how many of them are yours, and, if another
    -- protocol follows, its guid. Return nil if this is not your protocol after all.
    parselayer = function(layer)
      if layer:layer_bytes() < 48 then return nil end
      return 48, nil
    end,
  },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: NTP", description = "NTP packets by mode", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "NTP packets", "packets" } },
  },

  simplecounter = {
    protocol_guid = NTP,

    onpacket = function(engine, layer)
      -- The mode is the last three bits of the first byte.
      local mode = layer:getbyte(0) % 8
      engine:update_counter(MY_GROUP, MODES[mode] or "other", 0, 1)
    end,
  },
}
