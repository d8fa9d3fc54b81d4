-- What fails is tried again, after pauses that double; what fails for good can be sent again by hand.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/retries.lua
-- Prints:  flaky: there after 3 attempts
-- Prints:  broken: given up: no such host
-- Prints:  1 letter: no such host

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false

TrisulPlugin = {
  id = { name = "pattern-retries", description = "attempts made again" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      T.async:configure { dead_letters = 10 }
      T.async:schedule {
        data = "flaky", retries = 5, backoff = { first = 0.01, most = 1 },
        onexecute = function(name)
          -- What is kept in T is this worker's own.
          T.attempts = (T.attempts or 0) + 1
          if T.attempts < 3 then error("not yet", 0) end
          return "there after " .. T.attempts .. " attempts"
        end,
        onresult = function(engine, name, result) print(name .. ": " .. result) end,
      }
      T.async:schedule {
        data = "broken", retries = 1, backoff = 0.01,
        onexecute = function(name) error("no such host", 0) end,
        onerror = function(engine, name, message) print(name .. ": given up: " .. message) end,
      }
    end,
  },

  onunload = function()
    -- T.async:retry(letters[1].id) would schedule it anew.
    local letters = T.async:letters()
    for _, letter in ipairs(letters) do print(#letters .. " letter: " .. letter.error) end
  end,
}
