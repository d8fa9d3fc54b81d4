-- TCP packets by length, a test of the RST flag, bytes by the host at the A end of the flow.

local GROUP = "{688BED7C-7302-4C1E-8353-E5C361FE516E}"

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
  id = { name = "bench-hist", description = "lengths, resets and hosts of TCP packets" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: hist", description = "lengths, resets and hosts", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "packets by length", "packets" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Resets", "packets with RST", "packets" },
      { 2, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes by host", "bytes" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      local length = layer:total_bytes()
      engine:update_counter(GROUP, range_of(length), 0, 1)
      if layer:testbit(109) then engine:update_counter(GROUP, "rst", 1, 1) end
      if engine.update_counter_end then
        engine:update_counter_end(GROUP, layer, "ipa", 2, length)
      else
        engine:update_counter(GROUP, layer:packet():flowid():ipa(), 2, length)
      end
    end,
  },
}
