-- Question: How long do servers take to answer a connection?
-- Shows:    a histogram over all servers, average and maximum by server, from one measurement
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/handshake-latency.lua

local HISTOGRAM = "{B15FEA96-6D11-42FB-8009-DB7A56EEA6C6}"
local ROUND_TRIP = 6
local STEPS = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 }

-- Keys sort as the steps do.
local function step(ms)
  for number, limit in ipairs(STEPS) do
    if ms <= limit then return ("%02d up to %d ms"):format(number, limit) end
  end
  return "99 longer"
end

TrisulPlugin = {
  id = { name = "handshake-latency", description = "time of TCP handshakes" },

  countergroup = {
    control = { guid = HISTOGRAM, name = "Handshakes", description = "TCP handshakes by their time", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 20, 0, "Handshakes", "handshakes that took so long", "handshakes" },
      { 1, T.K.vartype.AVERAGE, 20, 0, "Mean", "mean time", "ms" },
      { 2, T.K.vartype.MAXIMUM, 20, 0, "Longest", "longest time", "ms" },
    },
  },

  messagemonitor = {
    onflowmetric = function(engine, flow, meter, microseconds)
      if meter ~= ROUND_TRIP then return end
      local ms = microseconds / 1000
      for _, key in ipairs { step(ms), flow:ipz_readable() } do
        engine:update_counter(HISTOGRAM, key, 0, 1)
        engine:update_counter(HISTOGRAM, key, 1, ms)
        engine:update_counter(HISTOGRAM, key, 2, ms)
      end
    end,
  },
}
