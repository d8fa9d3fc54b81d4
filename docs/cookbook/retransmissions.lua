-- Question: Which servers have bad lines: how many segments per hundred are sent again?
-- Shows:    messagemonitor.onflowmetric, and numbers of flows; a rate made of two counters
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/retransmissions.lua

local GROUP = "{9CC8847C-374B-49AF-96F8-16DC4805E2AE}"
local PACKETS, AGAIN, PER_CENT = 0, 1, 2
local RETRANSMISSION = 7

TrisulPlugin = {
  id = { name = "retransmissions", description = "segments sent again, by server" },

  countergroup = {
    control = { guid = GROUP, name = "Sent again", description = "TCP segments sent again, by server", bucketsize = 60 },
    meters = {
      { PACKETS, T.K.vartype.COUNTER, 10, 0, "Packets", "packets of flows that are over", "packets" },
      { AGAIN, T.K.vartype.COUNTER, 10, 0, "Again", "segments sent again", "segments" },
      { PER_CENT, T.K.vartype.MAXIMUM, 10, 0, "Share", "largest share in one flow", "%" },
    },
  },

  -- As it happens, on the frontend.
  messagemonitor = {
    onflowmetric = function(engine, flow, meter, value)
      if meter == RETRANSMISSION then engine:update_counter(GROUP, flow:ipz(), AGAIN, value) end
    end,
  },

  -- When a flow is over, on the backend.
  sg_monitor = {
    onterminate = function(engine, flow)
      local id, packets = flow:flow(), flow:az_packets() + flow:za_packets()
      if id:protocol() ~= "06" or packets == 0 then return end
      engine:update_counter(GROUP, id:ipz(), PACKETS, packets)
      engine:update_counter(GROUP, id:ipz(), PER_CENT, 100 * flow:retransmissions() / packets)
    end,
  },
}
