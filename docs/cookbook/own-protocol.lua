-- Question: How is a protocol understood that nobody else knows?
-- Shows:    protocol_handler adds a layer above UDP port 4711; simplecounter counts what is in it
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/own-protocol.lua

local PROTOCOL = "{E9999AE1-94BE-4028-B708-64B83A1CF465}"
local GROUP = "{DFA740FC-C2F7-413B-A724-0B64BD6E1FDF}"
local ALERTS = "{0DB2987C-45AF-4D64-A959-7630DB162938}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
-- "SN", version, number of the sensor, tenths of a degree, running number.
local MAGIC, LENGTH = 0x534E, 8
local HOT = 45

TrisulPlugin = {
  id = { name = "own-protocol", description = "temperatures of the sensors on port 4711" },

  protocol_handler = {
    control = { guid = PROTOCOL, name = "SENSOR", host_protocol_guid = UDP, host_protocol_ports = { 4711 } },
    parselayer = function(layer)
      local bytes = layer:rawbytes()
      -- Nothing means: somebody else on the same port.
      if bytes:hval_16(0) ~= MAGIC or layer:layer_bytes() < LENGTH then return nil end
      return LENGTH
    end,
  },

  countergroup = {
    control = { guid = GROUP, name = "Sensors", description = "temperatures by sensor", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.AVERAGE, 10, 0, "Mean", "mean temperature", "C" },
      { 1, T.K.vartype.MAXIMUM, 10, 0, "Highest", "highest temperature", "C" },
      { 2, T.K.vartype.MINIMUM, 10, 0, "Lowest", "lowest temperature", "C" },
    },
  },

  alertgroup = { control = { guid = ALERTS, name = "Sensors", description = "temperatures that are too high" } },

  simplecounter = {
    protocol_guid = PROTOCOL,
    onpacket = function(engine, layer)
      local bytes = layer:rawbytes()
      local key, degrees = "sensor " .. bytes:hval_8(3), bytes:hval_16(4) / 10
      for meter = 0, 2 do engine:update_counter(GROUP, key, meter, degrees) end
      if degrees > HOT then
        engine:add_alert(ALERTS, layer:flowkey(), "HOT", 1, ("%s: %.1f degrees"):format(key, degrees))
      end
    end,
  },
}
