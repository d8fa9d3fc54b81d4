-- Pipelines: how steps become functions. The same for events, for workers and for the store.
--
-- Called once per VM with what the host gives; returns `compile`. The steps in front of one that gathers are one function,
-- made from text, with the functions of the script as its upvalues: inside a callback it compiles as if it had been written
-- by hand. `mark` is set to the step that runs, so that an error finds its step; numbers are kept where the host reads them
-- (src/gears/seat.rs has the same places).

local host = ...
local ffi = require "ffi"
local type, error, pairs, ipairs, loadstring = type, error, pairs, ipairs, loadstring
local concat, format = table.concat, string.format

ffi.cdef "typedef struct { double (*nanos)(void); } ms_gears_calls;"
local calls = ffi.cast("const ms_gears_calls *", host.clock)

-- The host keeps the functions; a local of the library would be one more thing to look up.
local function clock() return calls.nanos() end

local OFFERED, SKIPPED, SAMPLED, OVER_LIMIT, WINDOWS = 0, 1, 2, 3, 4
local HEAD, A_STEP = 8, 4
-- One execution in so many is measured.
local SAMPLE = 64

-- A zero that is a table is a new one for every execution and key.
local function copy(value, seen)
  if type(value) ~= "table" then return value end
  seen = seen or {}
  if seen[value] then return seen[value] end
  local made = {}
  seen[value] = made
  for k, v in pairs(value) do made[copy(k, seen)] = copy(v, seen) end
  return made
end

--- Steps that gather --------------------------------------------------------------------------------------------------

-- Each has reset(), add(record, engine) and each(emit). `over` counts what its limit turns away, `lose` what has no key.
local gather = {}

-- By key, in the order in which keys were first met. `begin(key, record)` gives the first value, `go_on` the next.
local function by_key(step, env, begin, go_on, finish)
  local f, limit, lose, over = step.f, env.limit, env.lose, env.over
  local place, keys, values, n = {}, {}, {}, 0
  return {
    reset = function() place, keys, values, n = {}, {}, {}, 0 end,
    add = function(record, engine)
      local key = f(record, engine)
      if key == nil then return lose() end
      local at = place[key]
      if at then
        values[at] = go_on(key, values[at], record)
      elseif n >= limit then
        over()
      else
        -- Only when the function has not failed.
        local value = begin(key, record)
        n = n + 1
        place[key], keys[n], values[n] = n, key, value
      end
    end,
    each = function(emit)
      for i = 1, n do
        local value = values[i]
        if finish then value = finish(keys[i], value) end
        emit { key = keys[i], value = value }
      end
    end,
  }
end

-- Looks a key up once: this is what is done for every packet.
function gather.countby(step, env)
  local f, limit, lose, over = step.f, env.limit, env.lose, env.over
  local counts, keys, n = {}, {}, 0
  return {
    reset = function() counts, keys, n = {}, {}, 0 end,
    add = function(record, engine)
      local key = f(record, engine)
      if key == nil then return lose() end
      local count = counts[key]
      if count then
        counts[key] = count + 1
      elseif n >= limit then
        over()
      else
        counts[key] = 1
        n = n + 1
        keys[n] = key
      end
    end,
    each = function(emit)
      for i = 1, n do emit { key = keys[i], value = counts[keys[i]] } end
    end,
  }
end

function gather.groupby(step, env)
  local reduce = step.g
  return by_key(step, env, function(key, record) return reduce(key, nil, record) end, reduce)
end

function gather.aggregateby(step, env)
  local zero, fold, join = step.zero, step.g, step.h
  local finish = join and function(key, value) return join(key, copy(zero), value) end
  return by_key(step, env, function(key, record) return fold(key, copy(zero), record) end, fold, finish)
end

-- Into one value, which there is only if there was a record.
local function into_one(begin, go_on, finish)
  local value, has = nil, false
  return {
    reset = function() value, has = nil, false end,
    add = function(record, engine)
      if not has then
        value = begin(record, engine)
        has = true
      else
        value = go_on(value, record, engine)
      end
    end,
    each = function(emit)
      if not has then return end
      local made = value
      if finish then made = finish(made) end
      if made ~= nil then emit(made) end
    end,
  }
end

function gather.accumulate(step)
  local f = step.f
  return into_one(function(record, engine) return f(nil, record, engine) end, f)
end

function gather.aggregate(step)
  local zero, fold, join = step.zero, step.f, step.g
  local finish = join and function(value) return join(copy(zero), value) end
  return into_one(function(record, engine) return fold(copy(zero), record, engine) end, fold, finish)
end

function gather.avg(step)
  local f = step.f
  local function number(record, engine)
    local value = record
    if f then value = f(record, engine) end
    if type(value) ~= "number" then error("avg: a number is needed, not a " .. type(value), 0) end
    return value
  end
  local sum, n = 0, 0
  return {
    reset = function() sum, n = 0, 0 end,
    add = function(record, engine)
      local value = number(record, engine)
      sum, n = sum + value, n + 1
    end,
    each = function(emit) if n > 0 then emit(sum / n) end end,
  }
end

-- Merges, so that equal records keep their order and a function that contradicts itself does no harm.
local function sorted(list, n, less)
  local from, to, width = list, {}, 1
  while width < n do
    for left = 1, n, 2 * width do
      local middle, right = left + width, left + 2 * width
      if middle > n + 1 then middle = n + 1 end
      if right > n + 1 then right = n + 1 end
      local a, b = left, middle
      for at = left, right - 1 do
        if a < middle and (b >= right or not less(from[b], from[a])) then
          to[at] = from[a]
          a = a + 1
        else
          to[at] = from[b]
          b = b + 1
        end
      end
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

function gather.sort(step, env)
  local less, limit, over = step.f or function(a, b) return a < b end, env.limit, env.over
  local list, n = {}, 0
  return {
    reset = function() list, n = {}, 0 end,
    add = function(record)
      if n >= limit then return over() end
      n = n + 1
      list[n] = record
    end,
    each = function(emit)
      local all = sorted(list, n, less)
      for i = 1, n do emit(all[i]) end
    end,
  }
end

--- Steps that let a record through or not, by what came before it ------------------------------------------------------

local gate = {}

function gate.distinct(step, env)
  local f, limit, over = step.f, env.limit, env.over
  local seen, n = {}, 0
  return {
    reset = function() seen, n = {}, 0 end,
    pass = function(record, engine)
      local key = record
      if f then key = f(record, engine)
      elseif type(record) == "table" or type(record) == "cdata" then
        error("distinct: records that are no plain values need a function that tells them apart", 0)
      end
      if key == nil or seen[key] then return false end
      if n >= limit then
        over()
        return false
      end
      n = n + 1
      seen[key] = true
      return true
    end,
  }
end

function gate.limit(step)
  local from, to, n = step.start, step.start + step.count, 0
  return {
    reset = function() n = 0 end,
    pass = function()
      n = n + 1
      return n > from and n <= to
    end,
  }
end

--- From steps to functions --------------------------------------------------------------------------------------------

local PARTS = { flatmap = true }
for name in pairs(gather) do PARTS[name] = true end

-- The text of the functions. `timed` measures each step.
local function text_of(steps, base, timed)
  local out = {}
  local function line(...) out[#out + 1] = format(...) end
  local function first_of(at)
    line("part%d = function(r, engine)", at)
    if timed then line("  local t, u = clock()") end
  end
  local function lap(at)
    if timed then line("  u = clock() c[%d] = c[%d] + (u - t) t = u", at, at) end
  end
  line("local f, extra, mark, c, clock, type, keep = ...")
  for i = 1, #steps do line("local f%d, x%d = f[%d], extra[%d]", i, i, i, i) end
  local names = { "part1" }
  for i, step in ipairs(steps) do
    if PARTS[step.kind] then names[#names + 1] = "part" .. i + 1 end
  end
  line("local %s", concat(names, ", "))
  first_of(1)
  for i, step in ipairs(steps) do
    local kind, at = step.kind, HEAD + A_STEP * (i - 1)
    if kind ~= "collect" then line("  mark[0] = %d", base + i) end
    if kind == "map" then
      line("  r = f%d(r, engine)", i)
      line("  if r == nil then c[%d] = c[%d] + 1 return end", at, at)
      lap(at + 2)
    elseif kind == "filter" then
      line("  if not f%d(r, engine) then c[%d] = c[%d] + 1 return end", i, at, at)
      lap(at + 2)
    elseif kind == "foreach" then
      line("  f%d(r, engine)", i)
      lap(at + 2)
    elseif gate[kind] then
      line("  if not x%d(r, engine) then c[%d] = c[%d] + 1 return end", i, at, at)
      lap(at + 2)
    elseif kind == "flatmap" then
      line("  r = f%d(r, engine)", i)
      lap(at + 2)
      line("  if type(r) ~= 'table' then")
      line("    if r ~= nil then c[%d] = c[%d] + 1 part%d(r, engine) end", at + 1, at + 1, i + 1)
      line("    return")
      line("  end")
      line("  for i = 1, #r do c[%d] = c[%d] + 1 part%d(r[i], engine) end", at + 1, at + 1, i + 1)
      line("end")
      first_of(i + 1)
    elseif gather[kind] then
      line("  x%d(r, engine)", i)
      lap(at + 2)
      line("end")
      first_of(i + 1)
    end
  end
  line("  keep(r)")
  line("end")
  line("return { %s }", concat(names, ", "))
  return concat(out, "\n"), names
end

local function nothing() end

-- Makes the functions of a pipeline. `env` has `mark`, `c` (both by address), `base`, `limit`, and `guard(f, record, engine)`,
-- which calls a function so that its failure ends only that record. Returns feed(record, engine), begin(), finish(engine)
-- and take(), which gives the results; `is_open` is false if nothing is kept from one record to the next.
local function compile(steps, env)
  local c, mark, base = env.c, env.mark, env.base
  local functions, extra, gates, gathers = {}, {}, {}, {}
  local keeps = #steps > 0 and steps[#steps].kind == "collect"
  for i, step in ipairs(steps) do
    local at = HEAD + A_STEP * (i - 1)
    functions[i] = step.f or false
    local own = {
      limit = env.limit,
      lose = function() c[at] = c[at] + 1 end,
    }
    if gate[step.kind] then
      -- What does not pass is counted where it is asked.
      own.over = function() c[OVER_LIMIT] = c[OVER_LIMIT] + 1 end
      local made = gate[step.kind](step, own)
      gates[#gates + 1], extra[i] = made, made.pass
    elseif gather[step.kind] then
      own.over = function() c[OVER_LIMIT], c[at] = c[OVER_LIMIT] + 1, c[at] + 1 end
      local made = gather[step.kind](step, own)
      made.at, made.mark, made.next = at, base + i, "part" .. i + 1
      gathers[#gathers + 1], extra[i] = made, made.add
    else
      extra[i] = false
    end
  end

  local results, kept = {}, 0
  local keep = keeps and function(record)
    if kept >= env.limit then
      c[OVER_LIMIT] = c[OVER_LIMIT] + 1
      return
    end
    kept = kept + 1
    results[kept] = record
  end or nothing

  local function functions_of(timed)
    local text, names = text_of(steps, base, timed)
    local chunk, wrong = loadstring(text, "=millstream.pipeline")
    if not chunk then error(wrong, 0) end
    local parts = chunk(functions, extra, mark, c, clock, type, keep)
    local by_name = {}
    for i, name in ipairs(names) do by_name[name] = parts[i] end
    return by_name
  end
  local plain, timed = functions_of(false), functions_of(true)
  local first, first_timed = plain.part1, timed.part1
  local left = ffi.new("int32_t[1]", SAMPLE - 1)

  local function feed(record, engine)
    left[0] = left[0] - 1
    if left[0] < 0 then
      left[0] = SAMPLE - 1
      c[SAMPLED] = c[SAMPLED] + 1
      return first_timed(record, engine)
    end
    return first(record, engine)
  end

  local function begin()
    for i = 1, #gates do gates[i].reset() end
    for i = 1, #gathers do gathers[i].reset() end
    if kept > 0 then results, kept = {}, 0 end
  end

  local guard = env.guard
  local function finish(engine, together)
    for i = 1, #gathers do
      local one = gathers[i]
      local next, at = plain[one.next], one.at + 1
      mark[0] = one.mark
      one.each(together and function(record)
        c[at] = c[at] + 1
        guard(next, record, engine)
        mark[0] = one.mark
      end or function(record)
        c[at] = c[at] + 1
        next(record, engine)
      end)
    end
  end

  local function take() return results, kept end

  return {
    feed = feed, begin = begin, finish = finish, take = take, first = first, first_timed = first_timed, left = left,
    is_open = #gathers > 0 or #gates > 0 or keeps, keeps = keeps, sample = SAMPLE,
  }
end

return {
  compile = compile, clock = clock, makes = PARTS, copy = copy,
  OFFERED = OFFERED, SKIPPED = SKIPPED, OVER_LIMIT = OVER_LIMIT, WINDOWS = WINDOWS, SAMPLED = SAMPLED,
  numbers = function(steps) return HEAD + A_STEP * (#steps + 1) end,
}
