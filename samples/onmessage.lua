-- onmessage: talk to other plugins, and to the other instances of your own.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/onmessage.lua
-- What it does: every instance sees only its share of the packets. Whoever sees an address for the first time tells
--               all others, so that each of them has the full list.

-- Messages have a kind, named by a GUID; each plugin says which kinds it wants.
local NEW_HOST = "{9F2015D2-4AA3-498A-9AD7-9B2800650DDD}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

local known, known_count = {}, 0
local MAX_KNOWN = 10000

local function remember(address)
  if known[address] or known_count == MAX_KNOWN then return false end
  known[address] = true
  known_count = known_count + 1
  return true
end

TrisulPlugin = {
  id = { name = "sample-onmessage", description = "instances tell each other about new hosts" },

  message_subscriptions = { NEW_HOST },

  -- Called between packets, in every instance, the one that sent the message included. There is no engine here.
  onmessage = function(kind, text)
    if kind == NEW_HOST and remember(text) then
      T.logdebug("heard of " .. text)
    end
  end,

  onunload = function()
    T.loginfo("this instance knows " .. known_count .. " hosts")
  end,

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      local address = T.util.ntop(layer:rawbytes():hval_32(12))
      if remember(address) then
        -- kind, text (any bytes). post_message_backend does the same for the other side of the pipeline.
        engine:post_message_frontend(NEW_HOST, address)
      end
    end,
  },
}
