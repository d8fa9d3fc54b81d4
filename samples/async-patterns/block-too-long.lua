-- A worker's function that holds up the packets for too long is interrupted.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/block-too-long.lua
-- Prints:  interrupted; packets go on

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false

TrisulPlugin = {
  id = { name = "pattern-block-too-long", description = "blocking for too long" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      -- With "kill" it runs to its end, and the plugin is disabled after that.
      T.async:configure { block_timeout = 0.05, block_policy = "abort" }
      T.async:schedule {
        onexecute = function()
          local fine, why = pcall(T.block, function(engine) while true do end end)
          return fine and "came back" or "interrupted; packets go on"
        end,
        onresult = function(engine, data, result) print(result) end,
      }
    end,
  },
}
