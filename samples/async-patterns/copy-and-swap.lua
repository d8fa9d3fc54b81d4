-- A worker works on a copy; when it is done the result takes the place of the old one at a stroke.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/copy-and-swap.lua
-- Prints:  sorted: 3 of 3, and the table of before is as it was

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun, list = false, { 30, 10, 20 }

TrisulPlugin = {
  id = { name = "pattern-copy-and-swap", description = "works on a copy" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      local before = list
      T.async:schedule {
        data = list,   -- the worker gets a copy
        onexecute = function(copy) table.sort(copy) return copy end,
        onresult = function(engine, data, sorted)
          list = sorted
          local untouched = before[1] == 30 and data == before
          print("sorted: " .. #list .. " of " .. #before .. ", and the table of before is " ..
            (untouched and "as it was" or "another"))
        end,
      }
    end,
  },
}
