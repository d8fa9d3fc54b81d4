-- Question: How do the two sides of a plugin work together?
-- Shows:    messages: the backend finds the busiest host of a window, the frontend marks its flows from then on
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/both-sides.lua --builtin Hosts

local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
local TOTAL = 0
-- Identity of the message, so that other scripts can subscribe to it too.
local BUSIEST = "{35292BA0-30FB-456D-871C-6DA9B799E659}"

-- Each block has a VM of its own: on the frontend only `marked` is used, on the backend only `best`.
local marked
local best, most

TrisulPlugin = {
  id = { name = "both-sides", description = "flows of the busiest host of the last window are tagged" },

  message_subscriptions = { BUSIEST },
  onmessage = function(id, key)
    if T.enginetype == "frontend" then
      marked = key
      print("busiest host: " .. key)
    end
  end,

  reassembly_handler = {
    onnewflow = function(engine, timestamp, flow)
      if flow:ipa() == marked or flow:ipz() == marked then engine:tag_flow(flow, "busiest") end
    end,
  },

  cg_monitor = {
    counter_guid = HOSTS,
    onbeginflush = function(engine, timestamp) best, most = nil, 0 end,
    onflush = function(engine, timestamp, key, metrics)
      if key ~= "SYS:GROUP_TOTALS" and metrics[TOTAL + 1] > most then best, most = key, metrics[TOTAL + 1] end
    end,
    onendflush = function(engine, timestamp)
      if best then engine:post_message_frontend(BUSIEST, best) end
    end,
  },
}
