-- Flows that begin and end, by server port.

local GROUP = "{C1B8C7F0-3A57-4B59-9A3E-0E2F4D7B6A14}"

TrisulPlugin = {
  id = { name = "bench-stream-flows", description = "flows by server port" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: opened", description = "flows by server port", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Opened", "flows", "flows" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Closed", "flows", "flows" },
    },
  },

  reassembly_handler = {
    onnewflow = function(engine, timestamp, flow)
      engine:update_counter(GROUP, flow:portz(), 0, 1)
    end,
    onterminateflow = function(engine, timestamp, flow)
      engine:update_counter(GROUP, flow:portz(), 1, 1)
    end,
  },
}
