-- Attributes by name.

local GROUP = "{C1B8C7F0-3A57-4B59-9A3E-0E2F4D7B6A13}"

TrisulPlugin = {
  id = { name = "bench-stream-attributes", description = "attributes by name" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: attributes", description = "attributes by name", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Found", "how often", "attributes" } },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      engine:update_counter(GROUP, name, 0, #value + 1)
    end,
  },
}
