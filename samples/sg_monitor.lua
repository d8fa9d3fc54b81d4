-- sg_monitor: watch flows as they appear, end and are written.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/sg_monitor.lua
-- What it does: tags flows that moved much in one direction, and prints one line for each flow.

local LARGE = 100000

TrisulPlugin = {
  id = { name = "sample-sg_monitor", description = "one line for each flow" },

  sg_monitor = {
    -- The first packets of a flow. flow has what is known so far; flow:flow() gives its ends.
    onnewflow = function(engine, flow)
      T.logdebug("new " .. flow:flow():to_s())
    end,

    -- It was closed, reset, silent for too long, or the input ended.
    onterminate = function(engine, flow)
      T.logdebug("over " .. flow:key() .. " state " .. flow:state())
    end,

    onbeginflush = function(engine, timestamp) end,

    -- Asked before a flow is written. Flows that go on are written every five minutes with everything so far.
    flushfilter = function(engine, flow)
      return flow:az_packets() + flow:za_packets() > 1
    end,

    -- A flow that is about to be written. A tag given here is in the record.
    onflush = function(engine, flow)
      if flow:az_bytes() > LARGE then flow:add_tag("[large]upload") end
      if flow:za_bytes() > LARGE then flow:add_tag("[large]download") end
      local first, last = flow:time_window()
      print(flow:flow():to_s(), flow:az_bytes(), flow:za_bytes(), last - first, flow:tags())
    end,

    onendflush = function(engine, timestamp) end,

    -- onupdate(engine, flow) would be called once a second for every flow with packets in it.
  },
}
