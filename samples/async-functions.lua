-- functions: what a plugin answers when it is called from outside, at once or later.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async-functions.lua
-- What it does: counts packets of each host and answers while the run goes on, as one with -i eth0, or with --loop 10000
--               --speed 1 --control SOCKET. millstream call NAME.hosts, where NAME is that of the plugin: a count that is
--               kept for ten seconds; .busiest 3: the first part here, the rest in the background; .read FILE: fails if
--               there is none; .patience: gives up after a while; .limit 10: one text.

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

local packets, total = {}, 0
local hosts = { count = 0, at = -math.huge }

TrisulPlugin = {
  id = { name = "sample-async-functions", description = "answers questions about hosts" },
  request_async_workers = 2,

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      local host = layer:rawbytes():hval_32(12)
      packets[host] = (packets[host] or 0) + 1
      total = total + 1
    end,
  },

  functions = {
    -- Answered at once, between two batches of packets: nothing changes meanwhile. Counting anew each time would hold
    -- packets up, so the count serves for a while. It may not count or alert itself.
    hosts = { function(engine, args)
      local now = tonumber((engine:timestamp())) or 0
      if now - hosts.at > 10 then
        local count = 0
        for _ in pairs(packets) do count = count + 1 end
        hosts = { count = count, at = now }
      end
      return { hosts = hosts.count, packets = total }
    end, "no_writes" },

    -- Begins here, where the tables are, and moves on to a worker with a copy. Whoever calls waits; packets do not.
    busiest = function(engine, args)
      local most, copy = tonumber(args[1]) or 3, {}
      for host, count in pairs(packets) do copy[#copy + 1] = { host = host, packets = count } end
      return T.async:run_on_background(function()
        table.sort(copy, function(a, b)
          if a.packets ~= b.packets then return a.packets > b.packets end
          return a.host < b.host
        end)
        local list = {}
        for i = 1, math.min(most, #copy) do
          local host = copy[i].host
          local address = string.format("%d.%d.%d.%d", math.floor(host / 2 ^ 24), math.floor(host / 2 ^ 16) % 256,
            math.floor(host / 2 ^ 8) % 256, host % 256)
          list[i] = { host = address, packets = copy[i].packets }
        end
        return list
      end)
    end,

    -- What goes wrong, here or in the worker, is what the caller is told.
    read = function(engine, args)
      if not args[1] then error("the name of a file is needed", 0) end
      local name = args[1]
      return T.async:run_on_background(function()
        local file, reason = io.open(name)
        if not file then error(reason, 0) end
        local text = file:read("*a")
        file:close()
        return text
      end)
    end,

    -- Completed by `millstream jobs resolve ID VALUE`, or not in time.
    patience = function(engine, args)
      return T.async:defer { timeout = tonumber(args[1]) or 0.5 }
    end,

    -- Takes what is typed as one text, and answers even if packets are being dropped.
    limit = { function(engine, text) return "limit is " .. text end, raw_arguments = true, allow_when_overloaded = true },
  },
}
