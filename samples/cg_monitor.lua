-- cg_monitor: watch the keys of a counter group as they appear, are updated and are written.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/cg_monitor.lua --builtin Hosts
-- What it does: names the hosts that appear, and prints the three that carried most in each window.

-- The keys of the window that is being written.
local all = {}

TrisulPlugin = {
  id = { name = "sample-cg_monitor", description = "the largest hosts of every window" },

  cg_monitor = {
    -- The group: a GUID, a function that returns one, or a list of these. There is one VM for each group.
    counter_guid = function() return T.countergroups["Hosts"] end,
    -- Or by name: counter_name_match = "host" takes every group with the word in its name.

    -- A key that was not seen lately. Before it is flushed.
    onnewkey = function(engine, timestamp, key)
      T.logdebug("new in " .. T.monitor_group_name .. ": " .. key)
    end,

    -- A window is over; timestamp is its start.
    onbeginflush = function(engine, timestamp) all = {} end,

    -- Asked before a key is written. Only false is a no, and it takes the no of every script. A second value replaces
    -- numbers: return true, { 5, -1 } writes 5 for meter 0 and leaves meter 1.
    onflushfilter = function(engine, timestamp, key, metrics) return true end,

    -- Every key of the window; timestamp is the start of the bucket. metrics[1] is meter 0: finished, so rates are per second.
    onflush = function(engine, timestamp, key, metrics)
      if key ~= "SYS:GROUP_TOTALS" then all[#all + 1] = { key, metrics[1] } end
    end,

    onendflush = function(engine, timestamp)
      table.sort(all, function(a, b) return a[2] > b[2] end)
      for i = 1, math.min(3, #all) do print(timestamp, all[i][1], all[i][2]) end
    end,

    -- Every five minutes, for each meter that tracks the largest keys. Not false: ontopperflush is called for each of them.
    onbegintopperflush = function(engine, timestamp, meter) return meter == 0 end,
    ontopperflush = function(engine, key, metric) T.logdebug("topper " .. key .. " " .. metric) end,
    onendtopperflush = function(engine, meter) end,

    -- onupdate(engine, timestamp, key, metrics) would be called every second for every key touched in it: leave it out if
    -- you do not need it.
  },
}
