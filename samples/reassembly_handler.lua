-- reassembly_handler: follow TCP connections and read what they carry, in order and without gaps in between.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/reassembly_handler.lua
-- What it does: records the first line of every connection that is not encrypted, and how much each one carried.

-- Every group of counters has an identity of its own. Make a new one for your plugin with: millstream guid
local MY_GROUP = "{93B0BE63-33E7-448C-B0A7-0E3D3DFB9EC4}"

-- How much of each connection was seen, by the id of its flow. Entries go when the connection ends.
local carried = {}

TrisulPlugin = {
  id = { name = "sample-reassembly_handler", description = "first lines and volumes of TCP connections" },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: first words", description = "connections by first word", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Connections", "connections that began with it", "connections" } },
  },

  reassembly_handler = {
    -- Asked once per connection, before everything else. Only false is a no: then this script hears nothing more of it.
    filter = function(engine, timestamp, flow)
      return flow:portz_readable() ~= "443"
    end,

    -- Right after filter. flow may be kept: it is the same object in every callback of the connection.
    onnewflow = function(engine, timestamp, flow)
      carried[flow:id()] = 0
    end,

    -- The next bytes of one direction, a segment at a time. direction is 1 from the client and 0 from the server; seekpos
    -- counts from 0 and jumps where bytes were lost. buffer is valid until you return; tostring copies.
    onpayload = function(engine, timestamp, flow, direction, seekpos, buffer)
      local id = flow:id()
      carried[id] = (carried[id] or 0) + buffer:size()
      if direction == 1 and seekpos == 0 then
        local word = buffer:tostring(0, 64):match("^[%g]+")
        if word then
          engine:update_counter(MY_GROUP, word, 0, 1)
        else
          -- Not text: no more payload of this connection for this script. Others are not affected.
          engine:disable_reassembly(flow)
        end
      end
    end,

    -- What is known of the connection: Host, URI, TLS:O and many more. "" is the first one, "^D" the last.
    onattribute = function(engine, timestamp, flow, name, value)
      if name == "Host" then engine:tag_flow(flow, "[host]" .. value) end
    end,

    -- Once, when it was closed, reset, silent for too long, or the input ended.
    onterminateflow = function(engine, timestamp, flow)
      local id = flow:id()
      T.logdebug(id .. " carried " .. (carried[id] or 0) .. " bytes")
      carried[id] = nil
    end,
  },
}
