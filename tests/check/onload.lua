-- onload and onunload both fail.
TrisulPlugin = {
  id = { name = "onload" },
  onload = function()
    local nothing
    T.size = #nothing
  end,
  simplecounter = { protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}", onpacket = function() end },
}
