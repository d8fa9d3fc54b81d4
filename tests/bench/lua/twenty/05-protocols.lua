-- Packets by IP protocol number.

local GROUP = "{6819A25A-2A68-46F3-AA2A-54C5473DA419}"

local NAMES = { [1] = "icmp", [2] = "igmp", [6] = "tcp", [17] = "udp", [47] = "gre", [50] = "esp" }

TrisulPlugin = {
  id = { name = "bench-05-protocols", description = "packets by ip protocol number" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 05-protocols", description = "packets by ip protocol number", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, NAMES[layer:getbyte(9)] or "other", 0, 1)
    end,
  },
}
