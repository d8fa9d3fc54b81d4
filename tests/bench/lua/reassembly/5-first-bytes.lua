-- Looks at the first payload of a flow, and wants no more of it.

local GROUP = "{C1B8C7F0-3A57-4B59-9A3E-0E2F4D7B6A15}"

TrisulPlugin = {
  id = { name = "bench-stream-first", description = "the first payload of flows, by its size" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: first payload", description = "by size", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Flows", "flows", "flows" } },
  },

  reassembly_handler = {
    onpayload = function(engine, timestamp, flow, direction, seekpos, buffer)
      engine:update_counter(GROUP, buffer:size() < 100 and "small" or "large", 0, 1)
      engine:disable_reassembly(flow)
    end,
  },
}
