-- flowmonitor: hear what is found in flows, as reassembly_handler.onattribute does.
--
-- This is the older form of it: mind the order of flow and timestamp.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/flowmonitor.lua
-- What it does: counts the names of everything that is found in flows.

local MY_GROUP = "{32B5AFA9-57D7-4AA7-9D43-D17B1E6E5A09}"

TrisulPlugin = {
  id = { name = "sample-flowmonitor", description = "flow attributes by name" },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: attributes", description = "flow attributes by name", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Found", "how often", "attributes" } },
  },

  flowmonitor = {
    -- There is no filter: every flow is reported. "" says that the flow began, "^D" that it ended.
    onflowattribute = function(engine, flow, timestamp, name, value)
      local key = name
      if name == "" then key = "(begin)" end
      if name == "^D" then key = "(end)" end
      engine:update_counter(MY_GROUP, key, 0, 1)
    end,
  },
}
