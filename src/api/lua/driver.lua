-- Loops over the packets of a batch. Loaded from text once per plugin instance: a prototype shared between instances
-- would share its traces' hot counters and side exits, which costs several times as much.
--
-- The loop as a whole runs under xpcall, not each callback: a trace that begins inside a callback (behind a loop of the
-- script) cannot be left through a protected call, and the rest of the callback would be interpreted for every packet. An
-- error is recorded by the host, and the loop is entered again behind the packet it came from. An interruption of the
-- callback unwinds everything; the host enters again behind the guilty packet.
--
-- `row` is where errors in a row are counted, and the layer at which the calls since the last one begin. `by_value` says
-- whether the callback may keep its layer, and gets a value of it.

local objects, engine, callback, on_error, stop, row, by_value = ...
local error, xpcall, cur = objects.error, objects.xpcall, objects.cur
local lend_layer = by_value and objects.lend_layer
stop, row = objects.ffi.cast("int32_t *", stop), objects.ffi.cast("int32_t *", row)

-- Runs layers[first..last]; returns the index of the next layer. Ends early when a message was posted that must be
-- delivered before the next packet.
local function walk(layers, first, last)
  for i = first, last do
    local layer = layers[i]
    cur[0] = layer.buf.seq
    callback(engine, lend_layer and lend_layer(layer) or layer)
    if stop[0] ~= 0 then return i + 1 end
  end
  return last + 1
end

-- Runs layers[first..last]; returns the index of the next layer. At `row_limit` errors in a row the loop ends early.
return function(layers, first, last, row_limit)
  repeat
    row[1] = first
    local ok, next_or_unhandled = xpcall(walk, on_error, layers, first, last)
    if ok then
      if next_or_unhandled > first then row[0] = 0 end
      return next_or_unhandled
    end
    -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
    if next_or_unhandled ~= nil then error(next_or_unhandled, 0) end
    local guilty = first
    while guilty < last and layers[guilty].buf.seq ~= cur[0] do guilty = guilty + 1 end
    row[0] = (guilty == first and row[0] or 0) + 1
    first = guilty + 1
  until row[0] >= row_limit or first > last or stop[0] ~= 0
  return first
end
