-- T.gears over the store: what the flows of all runs so far add up to.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/gears-store.lua --store gears-sample.db
-- What it does: when the first window ends, a worker reads the flows that earlier runs left in the store, row by row, and
--               adds their bytes up by destination port. Packets go on in the meantime. Run it twice: a new store is empty.

local begun = false

TrisulPlugin = {
  id = { name = "sample-gears-store", description = "bytes by port, of all flows in the store" },

  engine_monitor = {
    onbeginflush = function(engine, timestamp)
      if begun then return end
      begun = true
      T.gears("flows")
        :filter(function(flow) return flow.bytes > 0 end)
        :aggregateby(function(flow) return flow.portz end, 0, function(port, sum, flow) return sum + flow.bytes end)
        :sort(function(a, b) return a.value > b.value end)
        :limit(5)
        :collect()
        :run {
          name = "bytes-by-port",
          timeout = 30,
          onresult = function(engine, results, errors)
            print(#results .. " ports, " .. #errors .. " errors")
            for rank, record in ipairs(results) do print(rank .. ". port " .. record.key .. ": " .. record.value .. " bytes") end
          end,
        }
    end,
  },
}
