-- simplecounter: look at every packet that has a certain layer, and count something about it.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/simplecounter.lua
-- What it does: counts TCP packets with the SYN flag, by destination port. Change onpacket to count what you need.

-- Every group of counters has an identity of its own. Make a new one for your plugin with: millstream guid
local MY_GROUP = "{391255A8-27DF-4C42-8D66-38BCB6F18599}"

-- The layer to look at. Others that are always there:
--   Ethernet {974FB098-DE46-45DB-94DA-8D64A3BBCDE5}    IPv4 {0A2C724B-5B9F-4BA6-9C97-B05080558574}
--   UDP      {14D7AB53-CC51-47E9-8814-9C06AAE60189}    IPv6 {85C0CCED-DA8D-4029-924A-A6AB87F62EF8}
--   ICMP     {7DDD65F2-A316-43B5-A103-368E700E045E}
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"

TrisulPlugin = {
  -- Who this is; the name appears in listings and in log lines.
  id = { name = "sample-simplecounter", description = "connection attempts by destination port" },

  -- The group of counters that onpacket updates. See samples/countergroup.lua for every field.
  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: attempts", description = "TCP SYN by port", bucketsize = 10 },
    -- meter number, how values combine, how many top keys, how many bottom keys, name, description, unit
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Attempts", "packets with SYN and without ACK", "packets" } },
  },

  simplecounter = {
    protocol_guid = TCP,

    -- engine takes what you count; layer is the TCP header of this packet. Both are only valid until you return
    -- (the engine for longer), so copy what you want to keep.
    onpacket = function(engine, layer)
      -- Bits are numbered from the first one of the header, so the flags byte, number 13, has the bits 104 to 111.
      local ack, syn = layer:testbit(107), layer:testbit(110)
      if not syn or ack then return end

      -- Offsets in bytes start at 0: the source port is at 0, the destination port at 2.
      local port = layer:rawbytes():hval_16(2)

      -- group, key, meter, value. Keys for ports look like p-0050 (port 80).
      engine:update_counter(MY_GROUP, string.format("p-%04X", port), 0, 1)
    end,
  },
}
