-- Loops over the packets of a batch. Loaded from text once per plugin instance: a prototype shared between instances
-- would share its traces' hot counters and side exits, which costs several times as much.
--
-- The callback runs under xpcall; an error is recorded by the host and the loop goes on with the next packet. An
-- interruption of the callback unwinds this loop as well; the host enters again behind the guilty packet.

local objects, engine, callback, on_error, stop = ...
local error, xpcall, cur = objects.error, objects.xpcall, objects.cur
stop = objects.ffi.cast("int32_t *", stop)

-- Runs layers[first..last]. `row` counts errors in a row and is handed back; at `row_limit` the loop ends early, and
-- when a message was posted that must be delivered before the next packet.
-- Returns the index of the next layer and the row.
return function(layers, first, last, row, row_limit)
  for i = first, last do
    local layer = layers[i]
    cur[0] = layer.buf.seq
    local ok, unhandled = xpcall(callback, on_error, engine, layer)
    if ok then
      row = 0
    elseif unhandled ~= nil then
      -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
      error(unhandled, 0)
    else
      row = row + 1
      if row >= row_limit then return i + 1, row end
    end
    if stop[0] ~= 0 then return i + 1, row end
  end
  return last + 1, row
end
