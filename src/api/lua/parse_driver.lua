-- Asks a protocol handler about the bytes behind the layers found so far, one packet after the other. `row` is where errors in
-- a row are counted, and the entry at which the calls since the last one begin; `by_value` says whether the handler may keep a
-- layer, and gets values.

local objects, host, parselayer, on_error, row, by_value = ...
local ffi = objects.ffi
row = ffi.cast("int32_t *", row)
local error, xpcall, cur = objects.error, objects.xpcall, objects.cur
local type, tostring, pcall = objects.type, objects.tostring, objects.pcall
local to_number, floor = objects.to_number, objects.floor
local lend_layer = by_value and objects.lend_layer

local next_protocol = objects.setmetatable({}, { __index = function(t, guid)
  local index = host.next_protocol(guid)
  t[guid] = index
  return index
end })

-- What was eaten, from whatever the script returned; nil if it is no number.
local function amount(n)
  if type(n) == "number" then return n end
  local ok, number = pcall(to_number, n, 1, "parselayer")
  return ok and number or nil
end

-- Fills eaten[i] and next[i] for the 0-based entries first..last. All of them run under one xpcall, as in the packet driver.
local function walk(layers, first, last, eaten, next)
  for i = first, last do
    local layer = layers[i]
    cur[0] = layer.buf.seq
    local n, guid = parselayer(lend_layer and lend_layer(layer) or layer)
    n = amount(n)
    if n then
      if n ~= n or n < 0 then n = 0 end
      local available = layer.buf.len
      eaten[i] = n > available and available or floor(n)
      -- What `condition and guid` gives may be false.
      if guid then next[i] = next_protocol[tostring(guid)] end
    end
  end
end

-- eaten -1 is "not this protocol"; next -1 is "last layer", -2 a protocol nobody knows. Returns the entry to go on with.
return function(layers, first, last, eaten, next, row_limit)
  layers = ffi.cast("ms_layer **", layers)
  eaten, next = ffi.cast("int32_t *", eaten), ffi.cast("int32_t *", next)
  repeat
    row[1] = first
    local ok, unhandled = xpcall(walk, on_error, layers, first, last, eaten, next)
    if ok then
      row[0] = 0
      return last + 1
    end
    -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
    if unhandled ~= nil then error(unhandled, 0) end
    local guilty = first
    while guilty < last and layers[guilty].buf.seq ~= cur[0] do guilty = guilty + 1 end
    row[0] = (guilty == first and row[0] or 0) + 1
    first = guilty + 1
  until row[0] >= row_limit or first > last
  return first
end
