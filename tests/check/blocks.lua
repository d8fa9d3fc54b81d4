-- Blocks and callbacks that are spelled almost right.
TrisulPlugin = {
  description = "no id",
  onlaod = function() end,

  simplcounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
  },

  sg_monitor = {
    onFlush = function(engine, flow) end,
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpackt = function(engine, layer) end,
  },

  countergroup = {
    control = {
      guid = "{0B1C2D3E-0000-4000-8000-00000000ABCD}",
      name = "Blocks",
      bucket_size = 30,
    },
  },
}
