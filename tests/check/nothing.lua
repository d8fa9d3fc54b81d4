-- Mentions TrisulPlugin, but leaves none.
local TrisulPlugin = { id = { name = "nothing" } }
return TrisulPlugin
