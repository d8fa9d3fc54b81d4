-- Requires a module that is nowhere.
local nowhere = require "no-such-module"
TrisulPlugin = { id = { name = "missing" }, nowhere = nowhere }
