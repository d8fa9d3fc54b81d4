-- engine_monitor: do something once a second, and before and after every window of a minute is written.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/engine_monitor.lua
-- What it does: logs when windows begin and end, and raises an alert if a window took many seconds of traffic time.

local MY_ALERTS = "{5B1C1E37-47D4-4BF4-9A86-0C4C2E0D0C11}"

local ticks = 0

TrisulPlugin = {
  id = { name = "sample-engine_monitor", description = "windows and seconds" },

  alertgroup = {
    control = { guid = MY_ALERTS, name = "Sample: windows", description = "windows with few seconds" },
  },

  engine_monitor = {
    -- A window is over and is about to be written. timestamp is its start; the packets of the next one wait for nobody.
    onbeginflush = function(engine, timestamp)
      T.logdebug("window " .. timestamp .. " begins to be written after " .. ticks .. " seconds")
    end,

    -- Everything of the window is written.
    onendflush = function(engine, timestamp)
      if ticks < 10 then
        engine:add_alert(MY_ALERTS, nil, "short", 3, "window " .. timestamp .. " had " .. ticks .. " seconds only")
      end
      ticks = 0
    end,

    -- Once for every second of traffic time. Every backend block may have this callback.
    onmetronome = function(engine, timestamp, tick_count, tick_interval)
      ticks = ticks + 1
    end,
  },
}
