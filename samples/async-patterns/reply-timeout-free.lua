-- Something is begun and answered later: by a reply, by its time-out, or by nobody. One function serves all of them.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/reply-timeout-free.lua
-- Prints:  first: reply of 7
-- Prints:  first: freed
-- Prints:  third: freed
-- Prints:  second: no reply in time
-- Prints:  second: freed

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false

-- Given as each callback, with what it is called for: closures cost nothing to speak of.
local function on(what)
  return function(engine, name, value)
    if what == "reply" then
      print(name .. ": reply of " .. value)
    elseif what == "time-out" then
      print(name .. ": no reply in time")
    else
      print(name .. ": freed")
    end
  end
end

local function begin(name)
  return T.async:defer {
    data = name, timeout = 2,
    onresult = on("reply"), ontimeout = on("time-out"), onfree = on("free"),
  }
end

TrisulPlugin = {
  id = { name = "pattern-reply-timeout-free", description = "reply, time-out, free, abort" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      local first, second, third = begin("first"), begin("second"), begin("third")
      first:resolve("7")
      -- The second is left to its time-out. Of the third nobody is told; it is only let go.
      third:abort()
    end,
  },
}
