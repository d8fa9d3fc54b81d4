-- T.block in the VM of a worker: a function goes to the owner of the job and its results come back.

local enter = ...
local type, error, select, unpack = type, error, select, unpack

-- In the place of T.block: the caller of that is the caller of `pass`.
local function pass(message, ...)
  if message then error(message, 2) end
  return ...
end

return function(f, ...)
  if type(f) ~= "function" then
    error("bad argument #1 to 'block' (function expected, got " .. type(f) .. ")", 2)
  end
  local n, arguments = select("#", ...), { ... }
  return pass(enter(function(engine) return f(engine, unpack(arguments, 1, n)) end))
end
