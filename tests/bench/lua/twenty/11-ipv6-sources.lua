-- Bytes by IPv6 source address.

local GROUP = "{B33016A0-7AA0-4348-9371-4705A630506D}"

TrisulPlugin = {
  id = { name = "bench-11-ipv6-sources", description = "bytes by ipv6 source address" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 11-ipv6-sources", description = "bytes by ipv6 source address", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}",
    onpacket = function(engine, layer)
      engine:update_counter_at(GROUP, layer, 8, 16, 0, layer:total_bytes())
    end,
  },
}
