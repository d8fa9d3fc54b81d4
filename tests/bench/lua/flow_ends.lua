-- Hears of the ends of flows and counts them, so that the host keeps flow records and nothing else.

local GROUP = "{7D0B1C52-2B6E-4D4F-9A60-3C5F1D7E8B90}"

TrisulPlugin = {
  id = { name = "bench-flow-ends", description = "connections that ended" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: flow ends", description = "connections that ended", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Ended", "connections", "connections" } },
  },

  reassembly_handler = {
    onterminateflow = function(engine, timestamp, flow)
      engine:update_counter(GROUP, "all", 0, 1)
    end,
  },
}
