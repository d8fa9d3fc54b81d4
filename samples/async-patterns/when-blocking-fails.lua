-- A worker that cannot get at its owner is told why, and does something else.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/when-blocking-fails.lua
-- Prints:  failed: the owner was busy, kept for later

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false
total = 0

TrisulPlugin = {
  id = { name = "pattern-when-blocking-fails", description = "blocking that fails" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      -- No time at all: over a file the owner comes to it at the end of the input only.
      T.async:configure { block_wait = 0 }
      T.async:schedule {
        onexecute = function()
          -- Also where the plugin was unloaded, the run ends, the job was taken back, or 1,024 others wait.
          local fine, why = pcall(T.block, function(engine, n) total = total + n end, 5)
          if fine then return "added" end
          return why:find("did not come to it") and "failed: the owner was busy, kept for later" or why
        end,
        onresult = function(engine, data, result) print(result) end,
      }
    end,
  },
}
