-- Question: Which programs speak TLS here, and where do they go?
-- Shows:    fingerprints (JA3, JA4) as keys, edges between a fingerprint and the names it asks for, tags
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/ja3-inventory.lua

local GROUP = "{CC4EFD54-B23F-4895-A99F-FB3F4DAC33CC}"
local NAMES = "{94D1F206-82B0-417D-928C-F5BE03C02637}"
local KINDS = { ["TLS:JA3"] = "ja3", ["TLS:JA4"] = "ja4" }

-- What is known of a flow until it ends.
local flows = {}

TrisulPlugin = {
  id = { name = "ja3-inventory", description = "TLS clients by fingerprint" },

  countergroup = {
    control = { guid = GROUP, name = "TLS fingerprints", description = "flows by fingerprint", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Flows", "flows with the fingerprint", "flows" } },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      if name == "TLS:SNI" then
        flows[flow:id()] = value
        return
      end
      local kind = KINDS[name]
      if not kind then return end
      local key = kind .. ":" .. value
      engine:update_counter(GROUP, key, 0, 1)
      -- A missing server name is nil, and the call then does nothing.
      engine:add_edge(GROUP, key, NAMES, flows[flow:id()])
      if kind == "ja4" then engine:tag_flow(flow, "[ja4]" .. value) end
    end,
    onterminateflow = function(engine, timestamp, flow) flows[flow:id()] = nil end,
  },
}
