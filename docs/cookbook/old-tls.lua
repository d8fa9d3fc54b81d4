-- Question: Which servers still agree to old versions of TLS?
-- Shows:    onattribute: what the TLS dissector says about a flow, collected until both parts are there
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/old-tls.lua

local GROUP = "{EACAF629-8A0B-48D9-8918-4ED8DAE0A807}"
local ALERTS = "{3ADDC991-798D-486A-A7FA-B96D30DF2DCF}"
local OLD = { ["SSL 3.0"] = true, ["TLS 1.0"] = true, ["TLS 1.1"] = true }

-- Server name by flow, until the flow ends.
local names = {}

TrisulPlugin = {
  id = { name = "old-tls", description = "flows by version of TLS; an alert for old ones" },

  countergroup = {
    control = { guid = GROUP, name = "TLS versions", description = "flows by agreed version", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Flows", "flows that agreed on it", "flows" } },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "Old TLS", description = "servers that agree to old versions" },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      if name == "TLS:SNI" then
        names[flow:id()] = value
      elseif name == "TLS:VERSION" then
        engine:update_counter(GROUP, value, 0, 1)
        if OLD[value] then
          local server = names[flow:id()] or flow:ipz_readable()
          engine:add_alert(ALERTS, flow:id(), "OLDTLS", 3, server .. " speaks " .. value)
        end
      end
    end,
    onterminateflow = function(engine, timestamp, flow) names[flow:id()] = nil end,
  },
}
