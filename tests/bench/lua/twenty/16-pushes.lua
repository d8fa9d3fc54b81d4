-- Segments that ask to be delivered at once.

local GROUP = "{C1CC9619-0BF7-4183-AA60-8B29BAD34565}"

TrisulPlugin = {
  id = { name = "bench-16-pushes", description = "segments that ask to be delivered at once" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: 16-pushes", description = "segments that ask to be delivered at once", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "packets or bytes", "n" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Second count", "packets or sums", "n" },
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      if layer:testbit(108) then engine:update_counter(GROUP, "push", 0, 1) end
    end,
  },
}
