-- T.block: a worker reaches into the script that scheduled it, between two batches of packets.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async-block.lua
-- What it does: packets are counted by length. A worker sorts a copy of the counts, which may take its time, and swaps the
--               result in at one stroke; what was counted meanwhile is not lost.

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local packets = 0

-- Global: functions that T.block runs find this script's globals. Captured locals would be copies.
counts, longest = {}, "nothing yet"

TrisulPlugin = {
  id = { name = "sample-async-block", description = "a worker swaps a table" },

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      packets = packets + 1
      local length = layer:total_bytes()
      counts[length] = (counts[length] or 0) + 1
      if packets ~= 100 then return end

      T.async:schedule {
        onexecute = function()
          -- Runs on the thread of the packets, with nothing in between; what it returns comes back as a copy.
          local copy = T.block(function(engine) return counts end)
          local lengths = {}
          for length in pairs(copy) do lengths[#lengths + 1] = length end
          table.sort(lengths)
          -- It fails if the script is gone, or does not come to it in time.
          local fine, message = pcall(T.block, function(engine, found) longest = found end, lengths[#lengths])
          return fine and "swapped" or message
        end,
        onresult = function(engine, data, result) print(result .. ": the longest packet has " .. longest .. " bytes") end,
      }
    end,
  },
}
