-- Each kind of work has a queue of its own: within one, jobs run one after the other; a slow one does not hold up others.
--
-- Run it:  millstream run -q -r pcaps/demo.pcap -p samples/async-patterns/queue-per-function.lua
-- Prints:  resize: 1 2 3
-- Prints:  mail: 1 2 3

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local begun, done = false, { resize = {}, mail = {} }

local functions = {
  resize = function(data) os.execute("sleep 0.02") return data.n end,
  mail = function(data) return data.n end,
}

local function call(name, n)
  T.async:schedule {
    data = { n = n },
    key = name,   -- the queue
    retries = 2,
    onexecute = functions[name],
    onresult = function(engine, data, result) table.insert(done[name], result) end,
  }
end

TrisulPlugin = {
  id = { name = "pattern-queue-per-function", description = "a queue for each kind of work" },
  request_async_workers = 2,

  simplecounter = {
    protocol_guid = IPV4,
    onpacket = function(engine, layer)
      if begun then return end
      begun = true
      for n = 1, 3 do
        call("resize", n)
        call("mail", n)
      end
    end,
  },

  onunload = function()
    for _, name in ipairs { "resize", "mail" } do print(name .. ": " .. table.concat(done[name], " ")) end
  end,
}
