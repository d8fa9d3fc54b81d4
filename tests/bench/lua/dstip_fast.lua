-- Bytes by destination address of IPv4 packets; the key is taken from the packet by the host.

local GROUP = "{BF8EE441-21AF-4226-9590-071CCCFBC17D}"

TrisulPlugin = {
  id = { name = "bench-dstip-fast", description = "bytes by destination address, keys from the packet" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: destinations, fast", description = "bytes by destination", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes on the wire", "bytes" } },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 16, 4, 0, layer:total_bytes())
    end,
  },
}
