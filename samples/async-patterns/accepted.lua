-- A job is accepted with an id at once; its result is sent to whoever is named in it, with that id.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/accepted.lua
-- Prints:  accepted 0-1: queued
-- Prints:  for alice: 0-1 done: HELLO

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun = false

local function accept(text, caller)
  local id, why
  id, why = T.async:schedule {
    data = { text = text, caller = caller },
    onexecute = function(data) return data.text:upper() end,
    onresult = function(engine, data, result) print("for " .. data.caller .. ": " .. id .. " done: " .. result) end,
    onerror = function(engine, data, message) print("for " .. data.caller .. ": " .. id .. " failed: " .. message) end,
  }
  -- Without room there is no id, but a reason.
  if not id then return print("refused: " .. why) end
  print("accepted " .. id .. ": " .. T.async:status(id).state:gsub("created", "queued"))
end

TrisulPlugin = {
  id = { name = "pattern-accepted", description = "an id at once, the result later" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      accept("hello", "alice")
    end,
  },
}
