-- Question: Which hosts ask for names that do not exist, and do so often?
-- Shows:    a counter on the frontend, a limit on the backend: cg_monitor looks at each bucket when it is flushed
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/nxdomain.lua

local GROUP = "{D6480E7A-6AB6-4FFE-A1B4-49ABCE2DA6A6}"
local ALERTS = "{7168EEF3-B54C-43A5-AB51-BD1763666BD7}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
local ANSWERS, MISSING = 0, 1
-- A mistyped name now and then is nothing; malware that looks for its server tries dozens.
local MOST_MISSING = 10

-- 0A.14.00.22 as 10.20.0.34; an IPv6 key stays as it is.
local function readable(key)
  local number = #key == 11 and tonumber((key:gsub("%.", "")), 16)
  return number and T.util.ntop(number) or key
end

TrisulPlugin = {
  id = { name = "nxdomain", description = "answers that say a name does not exist, by client" },

  countergroup = {
    control = { guid = GROUP, name = "DNS misses", description = "answers of DNS by client", bucketsize = 60 },
    meters = {
      { ANSWERS, T.K.vartype.COUNTER, 10, 0, "Answers", "answers received", "answers" },
      { MISSING, T.K.vartype.COUNTER, 10, 0, "Missing", "names that do not exist", "answers" },
    },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "DNS misses", description = "hosts that ask for many names that do not exist" },
  },

  simplecounter = {
    protocol_guid = UDP,
    onpacket = function(engine, layer)
      if layer:rawbytes():hval_16(0) ~= 53 then return end
      -- The header of DNS stands right behind that of UDP.
      local packet = layer:packet()
      local flags = packet:rawbytes():hval_16(14 + packet:get_layer(1):layer_bytes() + 8 + 2)
      local client = packet:flowid():ipa()
      engine:update_counter(GROUP, client, ANSWERS, 1)
      if bit.band(flags, 0xF) == 3 then engine:update_counter(GROUP, client, MISSING, 1) end
    end,
  },

  cg_monitor = {
    counter_guid = GROUP,
    onflush = function(engine, timestamp, key, metrics)
      if key == "SYS:GROUP_TOTALS" then return end
      local answers, missing = metrics[ANSWERS + 1], metrics[MISSING + 1]
      if missing < MOST_MISSING then return end
      engine:add_alert(ALERTS, nil, "NXDOMAIN", 2,
        ("%s: %d of %d names do not exist"):format(readable(key), missing, answers))
    end,
  },
}
