-- Question: Which machines appear on the network that were not there before?
-- Shows:    cg_monitor.onnewkey on a built-in group, labels instead of keys in messages
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/new-hosts.lua --builtin Hosts

local ALERTS = "{BDDC5AEB-34BC-4A5B-B492-05944F5F661B}"
local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
-- What is there in the first five minutes is taken for known.
local LEARNING_SECS = 300

local first

local function readable(key) return T.util.ntop(tonumber((key:gsub("%.", "")), 16)) end

TrisulPlugin = {
  id = { name = "new-hosts", description = "an alert for every home host that appears" },

  alertgroup = {
    control = { guid = ALERTS, name = "Strangers", description = "hosts of the home networks that appeared" },
  },

  cg_monitor = {
    counter_guid = HOSTS,
    onnewkey = function(engine, timestamp, key)
      first = first or timestamp
      if timestamp - first < LEARNING_SECS or not T.host.is_homenet_key(key) then return end
      engine:add_alert(ALERTS, nil, "NEWHOST", 3, readable(key) .. " is new here")
    end,
  },
}
