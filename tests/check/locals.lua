-- What a worker does not get of the variables of a callback.
TrisulPlugin = {
  id = { name = "locals" },
  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      local log, name = assert(io.open("/tmp/log", "a")), "log"
      local pattern = T.re2("a+")
      local routine = coroutine.create(function() end)
      local raw = layer:rawbytes()
      local text = raw:tostring()
      local function first() return raw:hval_8(0) end
      T.async:schedule {
        data = "",
        onexecute = function() log:write(name, text) end,
        onresult = function() log:close() end,
      }
      T.async:schedule { onexecute = function(data) return pattern:partial_match(data) end }
      local function work() return coroutine.status(routine), first() end
      T.async:schedule { onexecute = work }
    end,
  },
}
