-- T.async:spawn: several steps in the background, written one below the other.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/async-tasks.lua
-- What it does: at the first packet two tasks begin. One asks three workers at once and then takes the first answer of
--               two; the other says every ten seconds (of the packets) how many packets there were.

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local packets = 0

local function steps(engine)
  local answers, errors = T.async:all {
    { data = 1, onexecute = function(n) return n + 1 end },
    { data = 2, onexecute = function(n) return { square = n * n } end },
    { onexecute = function() error("this one fails") end },
  }
  print("all: " .. answers[1] .. ", " .. answers[2].square .. ", " .. tostring(answers[3]) .. " (" .. errors[3] .. ")")

  -- Over files all results come at the same point: there the first of the list that is done.
  local winner = T.async:race {
    { timeout = 5, onexecute = function() return "the fast one" end },
    { timeout = 5, onexecute = function() os.execute("sleep 0.3") return "the slow one" end },
  }
  print("race: " .. winner)
end

local function ticks(engine)
  while true do
    local before = packets
    -- Packets go on in the meantime. Nil at the end of the input, when no time will come any more.
    if not T.async:sleep(10) then return end
    print("ten seconds later: " .. packets - before .. " packets")
    if packets == before then return end
  end
end

TrisulPlugin = {
  id = { name = "sample-async-tasks", description = "a task in several steps" },
  request_async_workers = 3,

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      packets = packets + 1
      if packets > 1 then return end
      T.async:spawn(steps, function() print("the steps are done") end)
      T.async:spawn(ticks)
    end,
  },
}
