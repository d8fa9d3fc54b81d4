-- T.async: work with a deadline, further attempts, an order, and an end that is always told.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async-options.lua
-- What it does: asks about every new host in the background. Questions about one network are asked one after the other, an
--               attempt that fails is made again, and equal questions in flight are asked once.

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

local asked, asked_count, open = {}, 0, 0
local MAX_ASKED = 200

TrisulPlugin = {
  id = { name = "sample-async-options", description = "asks about hosts, with options" },
  request_async_workers = 4,

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      local address = T.util.ntop(layer:rawbytes():hval_32(12))
      if asked[address] or asked_count == MAX_ASKED then return end
      asked[address] = true
      asked_count = asked_count + 1
      open = open + 1

      T.async:schedule {
        -- With options, data may be a table; the worker gets a copy.
        data = { address = address, network = address:match("^%d+%.%d+") },
        timeout = 2,                             -- seconds for one attempt
        retries = 3,                             -- further attempts if it fails
        backoff = { first = 0.01, most = 1 },    -- pauses that double; a number is a fixed pause
        key = address:match("^%d+%.%d+"),        -- one after the other, in order
        unique = address,                        -- an equal question in flight is joined
        priority = address:match("^10%.") and 1 or 0,

        onexecute = function(data)
          -- What is kept in T is this worker's own.
          T.tries = (T.tries or 0) + 1
          if T.tries % 5 == 0 then error("no answer about " .. data.address) end
          -- And so may be the result.
          return { name = "host " .. data.address, network = data.network }
        end,

        onresult = function(engine, data, result) T.log(T.K.loglevel.INFO, data.address .. " is " .. result.name) end,
        onerror = function(engine, data, message) T.logwarning(data.address .. ": " .. message) end,
        ontimeout = function(engine, data) T.logwarning(data.address .. ": no answer in time") end,
        oncancel = function(engine, data) T.logwarning(data.address .. ": taken back") end,
        -- Once for each, whatever the end.
        onfree = function(engine, data) open = open - 1 end,
      }
    end,
  },

  onunload = function()
    local stats = T.async:stats()
    print(string.format("%d asked, %d answers, %d attempts made again, %d open", asked_count, stats.done, stats.retries, open))
  end,
}
