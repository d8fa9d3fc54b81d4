-- T.async:defer: something begins now and is completed later, by whoever knows the answer, or by its time-out.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async-defer.lua
-- What it does: pairs DNS questions with their answers. A question is deferred; the answer resolves it; what is not
--               answered within two seconds, in the time of the packets, is told as such.

local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"

local waiting, answered, unanswered, let_go = {}, 0, 0, 0

TrisulPlugin = {
  id = { name = "sample-async-defer", description = "DNS questions without an answer" },

  simplecounter = {
    protocol_guid = UDP,

    onpacket = function(engine, layer)
      local header = layer:rawbytes()
      local from, to = header:hval_16(0), header:hval_16(2)
      if to ~= 53 and from ~= 53 then return end
      -- The number of the message stands behind the eight bytes of the header.
      local number = header:hval_16(8)
      if to == 53 and not waiting[number] then
        waiting[number] = T.async:defer {
          data = number,
          timeout = 2,
          onresult = function(engine, number, seconds) answered = answered + 1 end,
          ontimeout = function(engine, number) unanswered = unanswered + 1 end,
          -- However it ended: nothing is kept for it any more.
          onfree = function(engine, number) waiting[number] = nil let_go = let_go + 1 end,
        }
      elseif from == 53 and waiting[number] then
        -- Any script or worker may do this by the id; only the first one counts, and it is told so.
        waiting[number]:resolve { by = "packet" }
      end
    end,
  },

  onunload = function() print(answered .. " answered, " .. unanswered .. " not in time, " .. let_go .. " let go") end,
}
