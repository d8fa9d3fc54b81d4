-- Slow servers: round trip of TCP handshakes and retransmissions, by server, with an alert for flows that suffer.
--
-- The round trip is measured between the SYN and the end of the handshake, so it is that of the network and of the
-- kernels, not of the program. Many retransmissions in one flow are what people call a slow network.

local GROUP = "{5D0F6E0B-0C7E-4B7B-8AF5-3C3C8E9B9F43}"
local ALERTS = "{0E6B7C1D-94E5-4B1E-9F5E-2D7A6C5B4A32}"
local AVERAGE, SLOWEST, AGAIN = 0, 1, 2

-- Numbers of the measurements.
local ROUND_TRIP, RETRANSMISSION = 6, 7
-- Retransmissions of one flow that are worth an alert.
local MANY = 20
-- Flows watched at a time; a flood of flows must not fill the memory.
local MAX_FLOWS = 10000

local again, watched = {}, 0

TrisulPlugin = {
  id = {
    name = "slow-servers",
    description = "TCP round trips and retransmissions by server",
    author = "millstream",
  },

  countergroup = {
    control = { guid = GROUP, name = "Server latency", description = "TCP handshakes and losses", bucketsize = 60 },
    meters = {
      { AVERAGE, T.K.vartype.AVERAGE, 20, 0, "Round trip", "mean of the handshakes", "us" },
      { SLOWEST, T.K.vartype.MAXIMUM, 20, 0, "Slowest", "slowest handshake", "us" },
      { AGAIN, T.K.vartype.COUNTER, 20, 0, "Retransmissions", "segments sent again", "segments" },
    },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "Lossy flows", description = "flows with many retransmissions" },
  },

  messagemonitor = {
    onflowmetric = function(engine, flow, meter, value)
      local server = flow:ipz()
      if meter == ROUND_TRIP then
        engine:update_counter(GROUP, server, AVERAGE, value)
        engine:update_counter(GROUP, server, SLOWEST, value)
        return
      end
      if meter ~= RETRANSMISSION then return end
      engine:update_counter(GROUP, server, AGAIN, value)
      local id = flow:id()
      if not again[id] then
        if watched >= MAX_FLOWS then again, watched = {}, 0 end
        watched = watched + 1
      end
      again[id] = (again[id] or 0) + value
      if again[id] == MANY then
        engine:add_alert(ALERTS, flow, "lossy-flow", 3, flow:ipz_readable() .. ": " .. MANY .. " retransmissions in one flow")
      end
    end,
  },
}
