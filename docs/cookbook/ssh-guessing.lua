-- Question: Does somebody guess passwords of a shell?
-- Shows:    sg_monitor.onterminate; short flows to one port, counted in a window of time that moves
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/ssh-guessing.lua

local ALERTS = "{FB77D5F2-8BA1-4C77-A855-0592EBFC30D7}"
-- A log-in that works goes on; so many short connections within so many seconds are guesses.
local MOST_BYTES, MOST_SECONDS, MANY, WITHIN, MAX_SOURCES = 8000, 30, 10, 60, 10000

local sources, count = {}, 0

TrisulPlugin = {
  id = { name = "ssh-guessing", description = "many short SSH connections from one host" },

  alertgroup = {
    control = { guid = ALERTS, name = "SSH guessing", description = "hosts that guess passwords" },
  },

  sg_monitor = {
    onterminate = function(engine, flow)
      local id = flow:flow()
      if id:portz() ~= "p-0016" or id:protocol() ~= "06" then return end
      local first, last = flow:time_window()
      if last - first > MOST_SECONDS or flow:az_payload_bytes() + flow:za_payload_bytes() > MOST_BYTES then return end
      local source = id:ipa_readable()
      local times = sources[source]
      if not times then
        if count >= MAX_SOURCES then return end
        times, count = {}, count + 1
        sources[source] = times
      end
      table.insert(times, last)
      if #times > MANY then table.remove(times, 1) end
      if #times == MANY and last - times[1] <= WITHIN and not times.told then
        times.told = true
        engine:add_alert(ALERTS, id:id(), "SSHGUESS", 1,
          ("%s tried to log in to %s %d times within %d seconds"):format(source, id:ipz_readable(), MANY, last - times[1]))
      end
    end,
  },
}
