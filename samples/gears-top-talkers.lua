-- T.gears over packets: who sends most, minute by minute.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/gears-top-talkers.lua
-- What it does: counts the packets of each sender in windows of one minute of packet time; at the end of each window the five
--               largest are counted in a group of their own and printed.

local MY_GROUP = "{0C3D0A52-6C1B-4B5E-9D0F-2B7C41D1E7A1}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

TrisulPlugin = {
  id = { name = "sample-gears-top-talkers", description = "who sends most, minute by minute" },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: talkers", description = "the largest senders of each minute", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "packets sent", "n" } },
  },
}

-- A pipeline that is registered here becomes the block simplecounter of this file.
T.gears("packets", { protocol = IPV4, window = 60 })
  :countby(function(layer) return layer:rawbytes():hval_32(12) end)
  :sort(function(a, b) return a.value > b.value end)
  :limit(5)
  :map(function(record) return { host = T.util.ntop(record.key), packets = record.value } end)
  -- In a pipeline that runs at once the second argument is the engine.
  :foreach(function(record, engine) engine:update_counter(MY_GROUP, record.host, 0, record.packets) end)
  :collect()
  :register {
    name = "top-talkers",
    onresult = function(engine, results)
      for rank, record in ipairs(results) do print(rank .. ". " .. record.host .. ": " .. record.packets .. " packets") end
    end,
  }
