-- channellistener: hear what scripts of one class say with T.host:broadcast.
--
-- This is the older form of it: onmessage does the same by subscription, and has an address for each side.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/channellistener.lua
-- What it does: the block on the packets tells of each new host; the block on the other side, whose variables are its own,
--               hears of it as well and logs how many there were, once a minute.

-- Who is to hear it: every plugin with this clsid, all of its blocks and instances, the sender included.
local MY_CLASS = "{C39BF7DC-4BFF-426B-9FB5-66BCEB529705}"
-- What it is about; listeners compare it themselves.
local NEW_HOST = "{CB47995B-3D8E-4F36-96E3-350003E99406}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

local known, known_count = {}, 0
local MAX_KNOWN = 10000
-- Each block has this count for itself.
local heard = 0

TrisulPlugin = {
  id = { name = "sample-channellistener", description = "blocks tell each other about new hosts", clsid = MY_CLASS },

  channellistener = {
    -- Called between packets or windows. There is no engine here.
    onchannelmessage = function(kind, text)
      if kind ~= NEW_HOST then return end
      heard = heard + 1
      T.logdebug("heard of " .. text)
    end,
  },

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      local address = T.util.ntop(layer:rawbytes():hval_32(12))
      if known[address] or known_count == MAX_KNOWN then return end
      known[address] = true
      known_count = known_count + 1
      -- kind, class, text (any bytes).
      T.host:broadcast(NEW_HOST, MY_CLASS, address)
    end,
  },

  engine_monitor = {
    onendflush = function(engine, timestamp)
      if heard > 0 then T.loginfo(heard .. " new hosts") end
      heard = 0
    end,
  },
}
