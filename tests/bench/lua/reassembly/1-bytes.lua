-- Payload bytes by direction.

local GROUP = "{C1B8C7F0-3A57-4B59-9A3E-0E2F4D7B6A11}"

TrisulPlugin = {
  id = { name = "bench-stream-bytes", description = "payload bytes by direction" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: stream bytes", description = "payload by direction", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Bytes", "payload", "bytes" } },
  },

  reassembly_handler = {
    onpayload = function(engine, timestamp, flow, direction, seekpos, buffer)
      engine:update_counter(GROUP, direction == 1 and "out" or "in", 0, buffer:size())
    end,
  },
}
