-- Question: How are packets stored without filling the disk with what cannot be read anyway?
-- Shows:    packet_storage: encrypted flows keep their headers, shells nothing, all else is stored in full
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/store-less.lua --packets /tmp/packets

local NOTHING, FULL, HEADERS = 0, 1, 2
local BY_PORT = { ["p-01BB"] = HEADERS, ["p-0016"] = NOTHING }

local asked = {}

TrisulPlugin = {
  id = { name = "store-less", description = "headers of TLS, nothing of SSH, the rest in full" },

  onunload = function()
    for _, port in ipairs { "p-0016", "p-01BB", "other" } do print(port, asked[port] or 0) end
  end,

  packet_storage = {
    filter = function(engine, timestamp, flow)
      local port = flow:portz()
      local name = BY_PORT[port] and port or "other"
      asked[name] = (asked[name] or 0) + 1
      return BY_PORT[port] or FULL
    end,
  },
}
