-- ICMP messages by type.

local GROUP = "{567C7C63-EB57-45A4-9863-C4136710710F}"

local NAMES = {}
for i = 0, 255 do NAMES[i] = "type " .. i end

TrisulPlugin = {
  id = { name = "bench-20-icmp", description = "icmp messages by type" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 20-icmp", description = "icmp messages by type", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{7DDD65F2-A316-43B5-A103-368E700E045E}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, NAMES[layer:getbyte(0)], 0, 1)
    end,
  },
}
