-- New hosts: an alert for every host of the home networks that appears for the first time.
--
-- A machine that was never there before is worth a look: a new laptop, or somebody who should not be here. The hosts that
-- are there within the first minutes are taken for known. What is remembered lasts as long as the program runs, and is
-- approximate for networks with hundreds of thousands of hosts.

local ALERTS = "{C3E1F0B5-0A5D-4A4E-8C57-6E3E5C0F8A21}"
local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
-- Seconds at the beginning in which hosts are taken for known.
local LEARNING_SECS = 60
-- Alerts in one window; a scan with made-up addresses must not bury the others.
local MAX_ALERTS = 50

local first, alerts, silent = nil, 0, 0

-- C0.A8.01.02 as people write it; anything else stays as it is.
local function readable(key)
  local a, b, c, d = key:match("^(%x%x)%.(%x%x)%.(%x%x)%.(%x%x)$")
  if not a then return key end
  return string.format("%d.%d.%d.%d", tonumber(a, 16), tonumber(b, 16), tonumber(c, 16), tonumber(d, 16))
end

TrisulPlugin = {
  id = {
    name = "new-hosts",
    description = "an alert for every home host that appears; needs --builtin Hosts",
    author = "millstream",
  },

  alertgroup = {
    control = { guid = ALERTS, name = "New hosts", description = "hosts of the home networks that appeared" },
  },

  cg_monitor = {
    counter_guid = HOSTS,

    onnewkey = function(engine, timestamp, key)
      first = first or timestamp
      if timestamp < first + LEARNING_SECS or not T.host.is_homenet_key(key) then return end
      alerts = alerts + 1
      if alerts > MAX_ALERTS then
        silent = silent + 1
        return
      end
      engine:add_alert(ALERTS, nil, "NEWHOST", 3, "new host " .. readable(key))
    end,

    onendflush = function(engine, timestamp)
      if silent > 0 then
        engine:add_alert(ALERTS, nil, "NEWHOSTS", 2, silent .. " more new hosts in the window of " .. timestamp)
      end
      alerts, silent = 0, 0
    end,
  },
}
