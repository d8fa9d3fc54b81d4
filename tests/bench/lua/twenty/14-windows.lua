-- Packets that close the window, and the sum of all windows.

local GROUP = "{15224308-AA67-4B69-A7D4-B1B16BB0F1EE}"

TrisulPlugin = {
  id = { name = "bench-14-windows", description = "packets that close the window, and the sum of all windows" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 14-windows", description = "packets that close the window, and the sum of all windows", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      local window = layer:rawbytes():hval_16(14)
      if window == 0 then engine:update_counter(GROUP, "zero", 0, 1) end
      engine:update_counter(GROUP, "sum", 1, window)
    end,
  },
}
