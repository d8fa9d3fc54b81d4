-- What a worker does not get: compiled patterns, coroutines, metatables, the engine.
local pattern = T.re2("a+")
local settings = { limit = 5, log = { handle = io.stdout } }
local routine = coroutine.create(function() end)
local counts = setmetatable({}, { __index = function() return 0 end })
local kept = { list = setmetatable({}, { __metatable = false }) }
local fine = { 1, "two", { true } }

local prepared = {
  data = "",
  onexecute = function() return coroutine.status(routine) end,
}

TrisulPlugin = {
  id = { name = "workers" },
  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      T.async:schedule {
        data = "",
        onexecute = function(data)
          return tostring(pattern:partial_match(data)) .. fine[2]
        end,
      }
      T.async:schedule(prepared)
      T.async:schedule {
        data = "",
        onexecute = function() return settings.limit end,
        onresult = function() engine:update_counter("x", "y", 0, 1) end,
      }
      T.async:schedule { onexecute = function() return engine:id() end }
      T.async:schedule { onexecute = function() return counts.x + 1 end }
      T.async:schedule { onexecute = function() return #kept.list end }
    end,
  },
}
