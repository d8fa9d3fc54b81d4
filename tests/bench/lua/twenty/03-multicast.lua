-- Packets to a group address.

local GROUP = "{1F3C84EA-3895-4760-B1CC-692926D07D12}"

TrisulPlugin = {
  id = { name = "bench-03-multicast", description = "packets to a group address" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 03-multicast", description = "packets to a group address", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
    onpacket = function(engine, layer)
      -- The lowest bit of the first byte marks group addresses.
      if layer:testbit(7) then engine:update_counter(GROUP, "multicast", 0, 1) end
    end,
  },
}
