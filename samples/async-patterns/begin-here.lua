-- What can be answered at once is answered in the callback; only the rest goes to the background.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/begin-here.lua
-- Prints:  known: one (at once)
-- Prints:  unknown: looked up (later)

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local names, begun = { known = "one" }, false

local function name_of(key)
  return function(engine)
    -- The first piece runs here and now, inside the callback that spawns it.
    local name, how = names[key], "at once"
    if not name then
      -- From the first await on it runs between packets; the worker does the slow part.
      name, how = T.async:await { data = key, onexecute = function(key) return "looked up" end }, "later"
      names[key] = name
    end
    print(key .. ": " .. name .. " (" .. how .. ")")
  end
end

TrisulPlugin = {
  id = { name = "pattern-begin-here", description = "begins here, goes on in the background" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      T.async:spawn(name_of("unknown"))
      T.async:spawn(name_of("known"))
    end,
  },
}
