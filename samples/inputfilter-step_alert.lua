-- inputfilter, step_alert: bring alerts of another program into the pipeline.
--
-- Run it:       millstream run -p samples/inputfilter-step_alert.lua --args alerts.txt
-- What it does: reads a text file in which each line is: seconds, signature, priority, source, destination, message,
--               separated by blanks. Each line becomes an alert. New lines are picked up while it runs.

-- The group of alerts from other programs; it is always there.
local EXTERNAL_IDS = "{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}"

local file

TrisulPlugin = {
  id = { name = "sample-inputfilter-step_alert", description = "alerts from a text file" },

  onload = function()
    if T.args == "" then return end
    local problem
    file, problem = io.open(T.args, "r")
    if not file then T.logerror(problem) end
  end,

  onunload = function()
    if file then file:close() end
  end,

  inputfilter = {
    -- Asked at least once a second and must not wait. Return nil if there is nothing, or one alert as a table; it is
    -- then asked again at once.
    step_alert = function()
      local line = file and file:read("*l")
      if not line then return nil end
      local pattern = "^(%d+) (%S+) (%d+) (%S+) (%S+) (.*)$"
      local seconds, signature, priority, source, destination, message = line:match(pattern)
      if not seconds then
        T.logwarning("not an alert: " .. line)
        return nil
      end
      return {
        AlertGroupGUID = EXTERNAL_IDS,
        TimestampSecs = tonumber(seconds),
        SigIDKey = signature,
        SigIDKeyLabel = message,
        Priority = tonumber(priority),
        SourceIP = source,
        DestIP = destination,
        AlertDetails = line,
      }
    end,
  },
}
