-- The parts of T that are plain Lua: print, the log functions, group tables left out.

local t, host = ...
local type, tostring, select, concat = type, tostring, select, table.concat
local emit, log = host.print, host.log

-- Handlers of the VM's events run in the middle of its work, where nothing can end one that does not return.
jit.attach = function()
  error("jit.attach refused: a handler that does not return could not be interrupted", 2)
end

local function text(v) return type(v) == "string" and v or tostring(v) end

-- Level first if there are two arguments and the first is a number.
function t.log(...)
  local level, message = ...
  if select("#", ...) >= 2 and type(level) == "number" then return log(level, text(message)) end
  log(8, text(level))
end

local function at(level)
  return function(message) log(level, text(message)) end
end
t.logerror, t.logwarning, t.loginfo, t.logdebug = at(4), at(5), at(7), at(8)

function print(...)
  local n = select("#", ...)
  if n == 1 then return emit(text((...))) end
  local parts = { ... }
  for i = 1, n do parts[i] = text(parts[i]) end
  emit(concat(parts, "\t", 1, n))
end
