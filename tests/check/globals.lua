-- Globals by mistake: one that was meant to be local, one that does not exist.
counters = {}

local function remember(key)
  last_key = key
  counters = { key }
end

TrisulPlugin = {
  id = { name = "globals" },
  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      for i = 1, 2 do
        total = i
      end
      remember(strng.format("%d", total))
    end,
  },
}
