-- alertgroup: tell people that something happened which they should look at.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/alertgroup.lua
-- What it does: raises an alert when a host connects to port 23 (telnet), once per pair of hosts.

local MY_ALERTS = "{0F7AE6A3-6B11-41EE-99FB-16E494EECC2E}"
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"
local TELNET = 23

-- Plain Lua variables keep their values from packet to packet. Traffic must not be able to fill them without end, so
-- this one is emptied when it has grown large.
local told, told_count = {}, 0

TrisulPlugin = {
  id = { name = "sample-alertgroup", description = "alert on telnet" },

  alertgroup = {
    control = { guid = MY_ALERTS, name = "Sample: telnet", description = "connections to port 23" },
  },

  simplecounter = {
    protocol_guid = TCP,

    onpacket = function(engine, layer)
      if layer:rawbytes():hval_16(2) ~= TELNET then return end
      local flow = layer:packet():flowid()
      local pair = flow:ipa() .. flow:ipz()
      if told[pair] then return end
      if told_count == 1000 then told, told_count = {}, 0 end
      told[pair] = true
      told_count = told_count + 1

      -- group, flow (nil if there is none), a short name for this kind of alert, priority (1 is highest), text
      local text = "telnet between " .. flow:ipa_readable() .. " and " .. flow:ipz_readable()
      engine:add_alert(MY_ALERTS, flow:id(), "telnet", 2, text)
    end,
  },
}
