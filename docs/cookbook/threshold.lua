-- Question: When does a counter cross a limit, and when does it come back?
-- Shows:    add_alert_tca with FIRED and CLEAR; a band between the two limits keeps the alert from flapping
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/threshold.lua --builtin Aggregates

local THRESHOLDS = "{03AC6B72-FDB7-44C0-9B8C-7A1975C1C5BA}"
local AGGREGATES = "{393B5EBC-AB41-4387-8F31-8077DB917336}"
-- Bytes per second, as the meter of the group has them.
local FIRES, CLEARS = 1000, 400
local TCA_ID = 1

local fired = false

TrisulPlugin = {
  id = { name = "threshold", description = "an alert when the total goes above a limit" },

  cg_monitor = {
    counter_guid = AGGREGATES,
    onflush = function(engine, timestamp, key, metrics)
      if key ~= "TOTALBW" then return end
      local rate = metrics[1]
      if not fired and rate > FIRES then
        fired = true
        engine:add_alert_tca(THRESHOLDS, TCA_ID, "FIRED", ("%.0f bytes a second, over %d"):format(rate, FIRES))
      elseif fired and rate < CLEARS then
        fired = false
        engine:add_alert_tca(THRESHOLDS, TCA_ID, "CLEAR", ("%.0f bytes a second, below %d"):format(rate, CLEARS))
      end
    end,
  },
}
