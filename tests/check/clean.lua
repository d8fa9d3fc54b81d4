-- Nothing here is wrong: state that is set at the top, fields of its own in T, helpers beside callbacks.
local helper = require "inspect"
local GROUP = "{5B9A4B5E-6C1F-4C0E-8F3C-0D7C1B0E9A10}"
state = {}

TrisulPlugin = {
  id = { name = "clean", description = "nothing wrong with it" },

  onload = function()
    T.seen, T.count = {}, 0
    state.loaded = helper ~= nil
  end,

  onunload = function() T.seen = nil end,

  countergroup = {
    control = { guid = GROUP, name = "Clean", description = "all is well", bucketsize = 30 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "packets", "packets" } },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    known_ports = { 80, 443 },

    onpacket = function(engine, layer)
      T.count = T.count + 1
      engine:update_counter(GROUP, "all", 0, layer:total_bytes())
      if T.count == 1000 then
        local limit = 5
        T.async:schedule { data = "x", onexecute = function(data) return data .. limit end }
      end
    end,
  },
}
