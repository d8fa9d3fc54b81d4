-- A worker whose function does not do its work with the owner is told why, and does something else.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/when-blocking-fails.lua
-- Prints:  not added (the table is closed), kept for later

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false
total, closed = 0, true

TrisulPlugin = {
  id = { name = "pattern-when-blocking-fails", description = "blocking that fails" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      T.async:schedule {
        onexecute = function()
          -- Also where the owner does not come to it in time, the plugin was reloaded, the run ends, the job was taken
          -- back, or 1,024 others wait: the message says which.
          local fine, why = pcall(T.block, function(engine, n)
            if closed then error("the table is closed", 0) end
            total = total + n
          end, 5)
          return fine and "added" or "not added (" .. why:match("the table is closed") .. "), kept for later"
        end,
        onresult = function(engine, data, result) print(result) end,
      }
    end,
  },
}
