-- More work than there is room for waits on the disk, in order, and over the end of a run if it must.
--
-- Run it:  millstream run -q --store /tmp/patterns.db -r pcaps/demo.pcap -p samples/async-patterns/on-the-disk.lua
-- Prints:  100 accepted, 95 of them on the disk
-- Prints:  100 done in order

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun, done, in_order = false, 0, true

TrisulPlugin = {
  id = { name = "pattern-on-the-disk", description = "jobs that wait on the disk" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      T.async:configure { pending = 5, overflow = "spill", spill_bytes = 100 * 1024 * 1024 }
      local accepted = 0
      for n = 1, 100 do
        local id = T.async:schedule {
          data = n,
          onexecute = function(n) return n end,
          onresult = function(engine, n, result)
            done = done + 1
            in_order = in_order and tonumber(result) == done
          end,
        }
        if id then accepted = accepted + 1 end
      end
      print(accepted .. " accepted, " .. T.async:stats().spilled .. " of them on the disk")
    end,
  },

  onunload = function() print(done .. " done " .. (in_order and "in order" or "in another order")) end,
}
