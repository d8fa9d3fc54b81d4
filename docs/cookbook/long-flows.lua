-- Question: Which connections stay open for a long time?
-- Shows:    flowtracker: the largest flows by a number of one's own; nothing means the flow is left out
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/long-flows.lua

local MIN_SECONDS = 120

TrisulPlugin = {
  id = { name = "long-flows", description = "flows by how long they have been open" },

  flowtracker = {
    control = { name = "Open for long", description = "flows by duration", bucketsize = 300, count = 20 },
    getmetric = function(engine, flow)
      local first, last = flow:time_window()
      if last - first >= MIN_SECONDS then return last - first end
    end,
  },
}
