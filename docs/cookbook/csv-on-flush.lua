-- Question: How do the numbers of each minute get into a file for a spreadsheet?
-- Shows:    cg_monitor writes on flush; the backend has time for files, the frontend has not
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/csv-on-flush.lua --builtin NetworkLayerStats --args /tmp/protocols.csv

local PROTOCOLS = "{E89BCD56-30AD-40F5-B1C8-8B7683F440BD}"

local out
local rows = 0

TrisulPlugin = {
  id = { name = "csv-on-flush", description = "bytes per second by protocol, minute by minute, as CSV" },

  onload = function()
    if T.args == "" then
      T.logerror("name the file to write: --args FILE")
      return false
    end
  end,

  onunload = function()
    if out then out:close() end
    print(rows .. " rows written")
  end,

  cg_monitor = {
    counter_guid = PROTOCOLS,

    onbeginflush = function(engine, timestamp)
      if out then return end
      local problem
      out, problem = io.open(T.args, "w")
      if not out then return T.logerror(problem) end
      out:write("time,protocol,bytes_per_second,packets\n")
    end,

    onflush = function(engine, timestamp, key, metrics)
      if not out or key == "SYS:GROUP_TOTALS" then return end
      rows = rows + 1
      out:write(("%s,%s,%.1f,%d\n"):format(os.date("!%Y-%m-%dT%H:%M:%SZ", timestamp), key, metrics[1], metrics[2]))
    end,

    onendflush = function(engine, timestamp)
      if out then out:flush() end
    end,
  },
}
