-- Calls an input filter: `step` once for the packet it may fill in. It may keep that, so it gets a value.

local objects, engine, host, step, on_error = ...
local ffi, error, xpcall, cur = objects.ffi, objects.error, objects.xpcall, objects.cur
local lend_packet, set_packet, lent = objects.lend_packet, host.set_packet, nil
local seq_at = ffi.offsetof("ms_packet_value", "_seq")

-- A packet that was built is another one; what was lent of the one before is stale, but for the packet itself.
function host.set_packet(...)
  set_packet(...)
  -- The field is one that nobody can write by its name.
  ffi.cast("int32_t *", ffi.cast("char *", lent) + seq_at)[0] = cur[0]
end

-- Returns whether the call went well, and whether the script wants to be called again.
return function(packet)
  packet = ffi.cast("ms_packet *", packet)
  cur[0] = packet.raw.seq
  lent = lend_packet(packet)
  local ok, more = xpcall(step, on_error, lent, engine)
  cur[0] = 0
  -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
  if not ok and more ~= nil then error(more, 0) end
  return ok, ok and more and true or false
end
