-- A count that takes long is made in the background, and its answer serves everybody who asks for a while.
--
-- Run it:  millstream run -q --deterministic never -r pcaps/demo.pcap -p samples/async-patterns/cached-count.lua
-- Prints:  4 asked, 4 answered, 1 counted

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local hosts, asked, answered, counted = {}, 0, 0, 0

-- One function, so that all who ask ask the same: equal jobs are those of one function in the text with equal data.
local function count(hosts)
  local n = 0
  for _ in pairs(hosts) do n = n + 1 end
  T.counted = (T.counted or 0) + 1
  return { hosts = n, counted = T.counted }
end

local function ask()
  asked = asked + 1
  T.async:schedule {
    data = hosts,
    unique = "hosts",   -- who asks while it is being counted waits for the same answer
    ttl = 3600,         -- who asks later, in the time of packets, gets it at once
    onexecute = count,
    onresult = function(engine, data, result) answered, counted = answered + 1, result.counted end,
  }
end

TrisulPlugin = {
  id = { name = "pattern-cached-count", description = "a count and who asks for it" },

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      hosts[layer:rawbytes():hval_32(12)] = true
      if asked < 4 then ask() end
    end,
  },

  onunload = function() print(asked .. " asked, " .. answered .. " answered, " .. counted .. " counted") end,
}
