-- Wraps callbacks so that calls and time are counted where they happen. Made once for each VM, before its script runs.
-- What is counted lies in memory of the host.
local base, open, clock = ...
local ffi = require("ffi")
local cells = ffi.cast(ffi.typeof("struct { double calls, nanos, errors, start; } *"), base)
local current = ffi.cast("int32_t *", open)
local now = ffi.cast("double (*)(void)", clock)

return function(index, callback)
  local cell = cells + index
  local function done(...)
    cell.nanos = cell.nanos + (now() - cell.start)
    current[0] = -1
    return ...
  end
  return function(...)
    cell.calls = cell.calls + 1
    current[0] = index
    cell.start = now()
    return done(callback(...))
  end
end
