-- alert_monitor: see the alerts of other scripts and systems, change them, or keep them from being stored.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/alert_monitor.lua
-- What it does: raises the priority of alerts that come again and again, and drops those of low priority. Add
--               -p plugins for scripts that raise some.

-- How often each signature was seen.
local seen = {}

TrisulPlugin = {
  id = { name = "sample-alert_monitor", description = "repeated alerts get priority 1" },

  alert_monitor = {
    -- Groups by name, or by alert_guid. There is one VM for each group.
    alert_name_match = { "resets", "IDS" },

    -- As soon as an alert has come, within a second. Setters change what is stored.
    onnewalert = function(engine, alert)
      local sigid = alert:sigid()
      seen[sigid] = (seen[sigid] or 0) + 1
      if seen[sigid] > 3 then
        alert:set_priority(1)
        alert:set_extra_message("seen " .. seen[sigid] .. " times")
      end
    end,

    onbeginflush = function(engine, timestamp) end,

    -- Asked before an alert is stored. Only false is a no, and it takes the no of every script.
    flushfilter = function(engine, alert)
      return alert:priority() <= 2
    end,

    -- An alert that is stored.
    onflush = function(engine, alert)
      local seconds = alert:timestamp()
      print(seconds, T.monitor_group_name, alert:source_ip(), alert:destination_ip(), alert:message())
    end,

    onendflush = function(engine, timestamp) end,
  },
}
