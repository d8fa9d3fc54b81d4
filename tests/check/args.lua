-- Opens a file that only a run tells of.
local file
TrisulPlugin = {
  id = { name = "args", description = "reads a file" },
  onload = function() file = io.open(T.args) end,
  onunload = function() file:close() end,
  inputfilter = { step = function() return file:read() ~= nil end },
}
