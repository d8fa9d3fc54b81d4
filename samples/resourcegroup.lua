-- resourcegroup: keep a record of single things that were seen, each tied to the flow it was seen in.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/resourcegroup.lua
-- What it does: keeps a record of every ping: who, whom, sequence number. A record has two texts: a short one to list
--               and to search (the uri), and the full contents.

local MY_RESOURCES = "{946D594C-6DC9-4F2A-B50B-67238F0EABBF}"
local ICMP = "{7DDD65F2-A316-43B5-A103-368E700E045E}"
local ECHO_REQUEST_V4, ECHO_REQUEST_V6 = 8, 128

TrisulPlugin = {
  id = { name = "sample-resourcegroup", description = "a record of every ping" },

  resourcegroup = {
    control = { guid = MY_RESOURCES, name = "Sample: pings", description = "echo requests" },
  },

  simplecounter = {
    protocol_guid = ICMP,

    onpacket = function(engine, layer)
      local kind = layer:getbyte(0)
      if kind ~= ECHO_REQUEST_V4 and kind ~= ECHO_REQUEST_V6 then return end

      local flow = layer:packet():flowid()
      local sequence = layer:rawbytes():hval_16(6)
      local uri = "ping " .. flow:ipa_readable() .. " - " .. flow:ipz_readable()

      -- group, flow, uri, contents
      engine:add_resource(MY_RESOURCES, flow:id(), uri, "sequence number " .. sequence)
    end,
  },
}
