-- Calls an input filter: `step` once for the packet it may fill in.

local objects, engine, step, on_error = ...
local ffi, error, xpcall, cur = objects.ffi, objects.error, objects.xpcall, objects.cur

-- Returns whether the call went well, and whether the script wants to be called again.
return function(packet)
  packet = ffi.cast("ms_packet *", packet)
  cur[0] = packet.raw.seq
  local ok, more = xpcall(step, on_error, packet, engine)
  cur[0] = 0
  -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
  if not ok and more ~= nil then error(more, 0) end
  return ok, ok and more and true or false
end
