-- messagemonitor: hear measurements of flows, and flow records that scripts announce.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/messagemonitor.lua
-- What it does: shows how far away servers are, and which of them lose packets.

local MY_GROUP = "{1ADDE35F-8C26-46D6-AD71-B8DB5BA5D9D7}"

-- Numbers of the measurements.
local ROUND_TRIP, RETRANSMISSION = 6, 7

TrisulPlugin = {
  id = { name = "sample-messagemonitor", description = "round trips and retransmissions by server" },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: latency", description = "by server", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.AVERAGE, 10, 0, "Round trip", "of the TCP handshake", "us" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Retransmissions", "segments sent again", "segments" },
    },
  },

  messagemonitor = {
    -- Once per flow with the round trip of its handshake in microseconds, and once for every retransmission.
    onflowmetric = function(engine, flow, meter, value)
      if meter == ROUND_TRIP then engine:update_counter(MY_GROUP, flow:ipz(), 0, value) end
      if meter == RETRANSMISSION then engine:update_counter(MY_GROUP, flow:ipz(), 1, value) end
    end,

    -- Once for every engine:new_flow_record of any script, such as an importer of flow records.
    onnewflowrecord = function(engine, flow, bytes_az, bytes_za, packets_az, packets_za)
      T.loginfo(flow:to_s() .. (bytes_az + bytes_za) .. " bytes in " .. (packets_az + packets_za) .. " packets")
    end,
  },
}
