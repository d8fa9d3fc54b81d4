-- Question: Which programs ask for pages, and are there attack tools among them?
-- Shows:    T.ac: many words are looked for at once; names of programs without their versions as keys
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/user-agents.lua

local GROUP = "{8571A1CD-D3F2-4E03-8B39-AB7796CF3A5A}"
local ALERTS = "{FC31D703-C8EF-45B6-B2C9-8C689114B1F9}"
local TOOLS = T.ac { "sqlmap", "nikto", "nmap", "masscan", "gobuster", "wpscan" }

TrisulPlugin = {
  id = { name = "user-agents", description = "HTTP clients by name" },

  countergroup = {
    control = { guid = GROUP, name = "HTTP clients", description = "requests by program", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Requests", "requests made", "requests" } },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "Attack tools", description = "programs that look for weaknesses" },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      if name ~= "User-Agent" then return end
      engine:update_counter(GROUP, value:match("^[^/%s]+") or "none", 0, 1)
      local tool = next(TOOLS:match_one(value:lower()))
      if tool then engine:add_alert(ALERTS, flow:id(), "ATTACKTOOL", 1, flow:ipa_readable() .. " uses " .. tool) end
    end,
  },
}
