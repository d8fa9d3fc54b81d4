-- T.async: do something slow without holding up the packets.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async.lua
-- What it does: for every new host a worker takes a while to find out more about it (here it only sleeps); the answer
--               becomes the label of the host. Packets go on in the meantime.

local MY_GROUP = "{D36BF7E1-B740-44A9-88D7-F41D97762B61}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

local asked, asked_count = {}, 0
local MAX_ASKED = 200

TrisulPlugin = {
  id = { name = "sample-async", description = "looks up hosts in the background" },

  -- How many workers this plugin would like to have; one if nothing is said.
  request_async_workers = 4,

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: looked up", description = "hosts with what was found", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Look-ups", "finished look-ups", "n" } },
  },

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      local address = T.util.ntop(layer:rawbytes():hval_32(12))
      if asked[address] or asked_count == MAX_ASKED then return end
      asked[address] = true
      asked_count = asked_count + 1

      -- Returns at once. Layers, buffers and packets cannot travel, so put what is needed into data, a string.
      T.async:schedule {
        data = address,

        -- Runs on a worker thread in a VM of its own: no engine, no variables of this file other than those it names,
        -- and those are copies. It may take its time. What it returns (a string) goes to onresult.
        onexecute = function(data)
          os.execute("sleep 0.05")
          return "host " .. data:match("%d+$")
        end,

        -- Runs back here, between packets, with an engine to report to. It is left out if onexecute returned nothing
        -- or failed.
        onresult = function(engine, data, result)
          engine:update_counter(MY_GROUP, data, 0, 1)
          engine:update_key_info(MY_GROUP, data, result)
        end,
      }
    end,
  },
}
