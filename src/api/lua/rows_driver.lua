-- Loops over the keys of a bucket that is flushed. Loaded once per callback, as the packet driver is, and for the same
-- reasons: the loop as a whole runs under xpcall, and is entered again behind the key at which a callback failed.
--
-- `errors` is where errors in a row are counted, and the row at which the calls since the last one begin.
-- `row_of(values, at)` makes the table of a key's values; `votes` says whether the callback is a vote.

local objects, engine, callback, on_error, errors, row_of, votes = ...
local ffi, error, xpcall, cur, type = objects.ffi, objects.error, objects.xpcall, objects.cur, objects.type
local tonumber, rawget, huge = objects.tonumber, objects.rawget, 1 / 0
local ffi_string, cast = ffi.string, ffi.cast
errors = cast("int32_t *", errors)

local function flush(rows, first, last)
  local time, texts, ends, values, numbers, width = rows.time, rows.texts, rows.ends, rows.values, rows.numbers, rows.width
  for i = first, last do
    cur[0] = numbers[i]
    local from = ends[i]
    callback(engine, time, ffi_string(texts + from, ends[i + 1] - from), row_of(values, i * width))
  end
end

-- What replaces the values of a key: numbers from 0 on, text that is one too.
local function change(others, changes, at, width)
  for meter = 1, width do
    local value = rawget(others, meter)
    if type(value) == "string" then value = tonumber(value) end
    if type(value) == "number" and value >= 0 and value < huge then changes[at + meter - 1] = value end
  end
end

local function vote(rows, first, last)
  local time, texts, ends, values, numbers, width = rows.time, rows.texts, rows.ends, rows.values, rows.numbers, rows.width
  local noes, changes = rows.noes, rows.changes
  for i = first, last do
    cur[0] = numbers[i]
    local from = ends[i]
    local yes, others = callback(engine, time, ffi_string(texts + from, ends[i + 1] - from), row_of(values, i * width))
    if yes == false then noes[i] = noes[i] + 1 end
    if type(others) == "table" then change(others, changes, i * width, width) end
  end
end

local loop = votes and vote or flush

-- Runs the rows first..last; returns the next row. At `limit` errors in a row the loop ends early.
return function(address, first, last, limit)
  local rows = cast("ms_rows *", address)
  repeat
    errors[1] = first
    local ok, unhandled = xpcall(loop, on_error, rows, first, last)
    if ok then
      errors[0] = 0
      return last + 1
    end
    -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
    if unhandled ~= nil then error(unhandled, 0) end
    local guilty = first
    while guilty < last and rows.numbers[guilty] ~= cur[0] do guilty = guilty + 1 end
    errors[0] = (guilty == first and errors[0] or 0) + 1
    first = guilty + 1
  until errors[0] >= limit or first > last
  return first
end
