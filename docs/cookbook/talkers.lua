-- Question: Which hosts move the most bytes, over IPv4 and IPv6 alike?
-- Shows:    counting under a key that is taken from the packet (update_counter_end), a topper of each meter
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/talkers.lua

local GROUP = "{31548846-3AFD-410F-A55F-C2839A41FF43}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local IPV6 = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"
local ETHERNET = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"
local BYTES, PACKETS = 0, 1

TrisulPlugin = {
  id = { name = "talkers", description = "bytes and packets by host" },

  countergroup = {
    control = { guid = GROUP, name = "Talkers", description = "bytes and packets by host", bucketsize = 60 },
    meters = {
      { BYTES, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes sent and received", "bytes" },
      { PACKETS, T.K.vartype.COUNTER, 10, 0, "Packets", "packets sent and received", "packets" },
    },
  },

  simplecounter = {
    protocol_guid = ETHERNET,
    onpacket = function(engine, layer)
      local packet = layer:packet()
      if not (packet:find_layer(IPV4) or packet:find_layer(IPV6)) then return end
      for _, which in ipairs { "ipa", "ipz" } do
        engine:update_counter_end(GROUP, packet, which, BYTES, packet:wire_length())
        engine:update_counter_end(GROUP, packet, which, PACKETS, 1)
      end
    end,
  },
}
