-- The file is closed without saying which.
TrisulPlugin = {
  id = { name = "onunload" },
  onload = function() T.logwarning("cannot find the list of hosts") end,
  onunload = function()
    T.file.close()
  end,
  simplecounter = { protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}", onpacket = function() end },
}
