-- T.gears over alerts: what is slow goes to workers.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/gears-alerts.lua
-- What it does: raises an alert for each first packet of SSH from a host. A pipeline takes these alerts to workers, where
--               looking a host up may take its time, and prints what was found.

local MY_ALERTS = "{5E6B8F0D-41C4-4B0C-8E5C-0B1B3C9E6D52}"
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"

local seen, seen_count = {}, 0
local MAX_SEEN = 1000

TrisulPlugin = {
  id = { name = "sample-gears-alerts", description = "looks up who is behind an alert" },
  request_async_workers = 2,

  alertgroup = { control = { guid = MY_ALERTS, name = "Sample: SSH", description = "hosts that speak SSH" } },

  simplecounter = {
    protocol_guid = TCP,
    onpacket = function(engine, layer)
      if layer:rawbytes():hval_16(2) ~= 22 then return end
      local flow = layer:packet():flowid()
      local host = flow:ipa_readable()
      if seen[host] or seen_count == MAX_SEEN then return end
      seen[host], seen_count = true, seen_count + 1
      engine:add_alert(MY_ALERTS, flow:id(), "SSH", 2, "speaks SSH")
    end,
  },
}

-- Records of alerts are tables of plain values, the same here, in a worker, and from the store.
T.gears("alerts", { group = MY_ALERTS })
  :filter(function(alert) return alert.ipa ~= "" end)
  :map(function(alert)
    -- On a worker: no engine, but time.
    os.execute("sleep 0.02")
    return { host = alert.ipa, name = "host " .. alert.ipa:match("%d+$"), message = alert.message }
  end)
  :collect()
  :register {
    name = "who-is-it",
    mode = "async_local",
    timeout = 5,
    -- Back in this file's VM, with an engine.
    onresult = function(engine, results, errors)
      for _, found in ipairs(results) do print(found.host .. " is " .. found.name .. ": " .. found.message) end
      for _, wrong in ipairs(errors) do T.logwarning("step " .. wrong.step .. ": " .. wrong.message) end
    end,
  }
