-- packet_storage: say how much of each flow is worth storing.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/packet_storage.lua --events -
-- What it does: keeps headers of what cannot be read anyway, the beginning of downloads, and all of the rest.

-- What may be returned; anything else leaves it to others and to the settings.
local NO_OPINION, NOTHING, ALL, HEADERS, FIRST_100K = -1, 0, 1, 2, 4

TrisulPlugin = {
  id = { name = "sample-packet_storage", description = "store less of encrypted and bulky flows" },

  packet_storage = {
    -- Asked once per flow of any protocol, before its first packet is stored.
    filter = function(engine, timestamp, flow)
      local port = flow:portz_readable()
      if port == "5353" then return NOTHING end
      if port == "443" or port == "22" then return HEADERS end
      return NO_OPINION
    end,

    -- Asked with the first payload of each direction, 0 from the client and 1 from the server; overrides filter unless it
    -- has no opinion. If several scripts have one, the most liberal wins.
    filter_payload = function(engine, timestamp, flow, direction, seekpos, buffer)
      local start = buffer:tostring(0, 8)
      if start:match("^HTTP/1") then return FIRST_100K end
      if start:match("^SSH%-") then return HEADERS end
      return flow:portz_readable() == "53" and ALL or NO_OPINION
    end,
  },
}
