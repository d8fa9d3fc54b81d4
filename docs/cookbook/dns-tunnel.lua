-- Question: Does somebody carry data in the names of DNS?
-- Shows:    resource_monitor on what the DNS dissector found; a table with a limit; one alert for many events
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/dns-tunnel.lua

local ALERTS = "{DCD0630E-495A-478F-884B-5A5B2F0D339C}"
local DNS_RESOURCES = "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}"
local LONG_LABEL, MANY_NAMES, MAX_DOMAINS = 25, 15, 10000

-- By domain: how many different names with a long first label, and whether it was told.
local domains, count = {}, 0

TrisulPlugin = {
  id = { name = "dns-tunnel", description = "domains with many long names below them" },

  alertgroup = {
    control = { guid = ALERTS, name = "DNS tunnels", description = "domains whose names carry data" },
  },

  resource_monitor = {
    resource_guid = DNS_RESOURCES,
    onnewresource = function(engine, resource)
      local label, domain = resource:uri():match("^([^.]+)%.(.+)$")
      if not label or #label < LONG_LABEL then return end
      local seen = domains[domain]
      if not seen then
        if count >= MAX_DOMAINS then return end
        seen, count = { names = 0 }, count + 1
        domains[domain] = seen
      end
      seen.names = seen.names + 1
      if seen.names == MANY_NAMES then
        engine:add_alert(ALERTS, resource:flow():id(), "DNSTUNNEL", 1,
          ("%s has asked %d long names below %s"):format(resource:source_ip(), seen.names, domain))
      end
    end,
  },
}
