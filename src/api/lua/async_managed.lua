-- T.async beyond a plain job: options of schedule, values as data and results, deferred executions, timers.
--
-- Called once per VM with T.async, the objects, the host's functions, the engine, the message handler, and `either` of
-- async.lua. What ends is put on a list and told from there: whatever a callback does, the next one and every onfree are
-- told, at the next point where results are handed out if it must be.

local async, host, engine, on_error, either, cur = ...
local ffi = require "ffi"
local type, error, tostring, xpcall, pairs, setmetatable = type, error, tostring, xpcall, pairs, setmetatable
local select, unpack, remove, getmetatable = select, unpack, table.remove, getmetatable
local floor, format, getinfo, huge, sort, ipairs = math.floor, string.format, debug.getinfo, math.huge, table.sort, ipairs
local ffi_string = ffi.string

local managed = {}

-- Numbers of managed jobs begin where those of plain jobs end: their slot is negative.
local FIRST = 2147483648
local STATES = { "done", "done", "done", "failed", "timed_out", "cancelled", "dropped" }
local TEXT, VALUE = 1, 2

local entries, free, count = {}, {}, 0

--- What has ended and has to be told ----------------------------------------------------------------------------------

local todo, first, last = {}, 1, 0
local freeing

local function put(entry, state, result, message)
  if entry.over then return end
  entry.over = true
  last = last + 1
  todo[last] = { entry, state, result, message }
  host.due(-huge)
end

local function call(f, ...)
  local ok, unhandled = xpcall(f, on_error, ...)
  if not ok and unhandled ~= nil then error(unhandled, 0) end
end

local function let_go(entry)
  freeing = nil
  if entry.onfree then
    local onfree = entry.onfree
    entry.onfree = nil
    call(onfree, engine, entry.data)
  end
end

local function tell(entry, state, result, message)
  -- An interruption leaves this function at once; then this is what is left to do.
  freeing = entry
  if entry.finish then
    entry.finish(state, result, message)
  elseif state == "done" then
    if result ~= nil and entry.onresult then call(entry.onresult, engine, entry.data, result) end
  elseif state == "failed" then
    if entry.onerror then call(entry.onerror, engine, entry.data, message) end
  elseif state == "timed_out" then
    if entry.ontimeout then call(entry.ontimeout, engine, entry.data) end
  elseif entry.oncancel and not entry.silent then
    call(entry.oncancel, engine, entry.data)
  end
  let_go(entry)
end

local function run()
  if freeing then let_go(freeing) end
  while first <= last do
    local what = todo[first]
    todo[first] = nil
    first = first + 1
    tell(what[1], what[2], what[3], what[4])
  end
  first, last = 1, 0
end

--- Timers, in the time of packets -------------------------------------------------------------------------------------

local heap, size, serial = {}, 0, 0

local function earlier(a, b)
  if a.due ~= b.due then return a.due < b.due end
  return a.serial < b.serial
end

local function next_due() return size > 0 and heap[1].due or huge end

local function after(seconds, f)
  serial = serial + 1
  local timer = { due = host.now() + seconds, serial = serial, f = f }
  size = size + 1
  local at = size
  while at > 1 do
    local parent = floor(at / 2)
    if not earlier(timer, heap[parent]) then break end
    heap[at] = heap[parent]
    at = parent
  end
  heap[at] = timer
  if at == 1 and first > last then host.due(timer.due) end
  return timer
end

local function pop_timer()
  local top, timer = heap[1], heap[size]
  heap[size] = nil
  size = size - 1
  if size == 0 then return top end
  local at = 1
  while true do
    local child = at * 2
    if child > size then break end
    if child < size and earlier(heap[child + 1], heap[child]) then child = child + 1 end
    if not earlier(heap[child], timer) then break end
    heap[at] = heap[child]
    at = child
  end
  heap[at] = timer
  return top
end

-- Everything that is due. Called between two batches, and by the host alone.
function managed.tick(now)
  run()
  while size > 0 and heap[1].due <= now do
    local timer = pop_timer()
    if timer.f then timer.f("due") end
    run()
  end
  host.due(next_due())
end

--- Options ------------------------------------------------------------------------------------------------------------

local function refuse(name, wanted, got, level)
  error(format("bad argument #1 to 'schedule' (%s: %s expected, got %s)", name, wanted, type(got)), level + 1)
end

local function number(block, name, level)
  local value = block[name]
  if value == nil then return nil end
  -- Written so that NaN is refused.
  if type(value) ~= "number" or not (value >= 0) then refuse(name, "number not below 0", value, level) end
  return value
end

local function callback(block, name, level)
  local f = block[name]
  if f ~= nil and type(f) ~= "function" then refuse(name, "function", f, level) end
  return f
end

local function backoff(value, level)
  if value == nil then return 0, 0 end
  if type(value) == "number" and value >= 0 then return value, 0 end
  if type(value) ~= "table" then refuse("backoff", "number or table", value, level) end
  local first_pause = number(value, "first", level + 1) or 0.1
  return first_pause, number(value, "most", level + 1) or 60
end

-- The two upvalues are all that travels.
local function carry(onexecute, data)
  return function() return onexecute(data) end
end

local function place_of(f)
  local info = getinfo(f, "S")
  return info.short_src .. ":" .. info.linedefined
end

-- Answers that are kept, and jobs that others may join, by what they do.
local MAX_ANSWERS = 10000
local answers, answer_count, flights = {}, 0, {}

local function same_as(block, data, level)
  local unique = block.unique
  if unique == nil and block.ttl == nil or unique == false then return nil end
  if unique == nil or unique == true then
    if type(data) ~= "string" then
      error("bad argument #1 to 'schedule' (unique: text that tells equal jobs is needed where data is no text)", level)
    end
    unique = data
  elseif type(unique) == "number" then
    unique = tostring(unique)
  elseif type(unique) ~= "string" then
    refuse("unique", "text or true", unique, level)
  end
  return place_of(block.onexecute) .. "\0" .. unique
end

local function keep_answer(entry, result)
  if answer_count >= MAX_ANSWERS then answers, answer_count = {}, 0 end
  if not answers[entry.same] then answer_count = answer_count + 1 end
  answers[entry.same] = { id = entry.id, result = result, dead = host.now() + entry.ttl }
end

-- Jobs that failed for good, as long as they are wanted.
local letters, max_letters = {}, 0

-- What a job takes along that may have to wait on the disk: its callbacks and data, as a function that gives them. What a
-- task waits for is of this VM alone.
local function luggage(entry)
  if entry.finish then return nil end
  local data, onresult, onerror = entry.data, entry.onresult, entry.onerror
  local ontimeout, oncancel, onfree = entry.ontimeout, entry.oncancel, entry.onfree
  return function()
    return { data = data, onresult = onresult, onerror = onerror, ontimeout = ontimeout, oncancel = oncancel, onfree = onfree }
  end
end

local function take_number(entry)
  local n = free[#free]
  if n then free[#free] = nil else n, count = count, count + 1 end
  entries[n] = entry
  return n
end

-- Schedules what a block says for an entry; gives the id, or nil and the reason.
local function schedule(block, entry, level)
  level = level + 1
  local onexecute, data = block.onexecute, block.data
  if type(onexecute) ~= "function" then
    error("bad argument #1 to 'schedule' (a function onexecute is missing)", level)
  end
  if data == nil then data = "" elseif type(data) == "number" then data = tostring(data) end
  if type(data) == "cdata" then data = host.buffer_text(data) or data end
  entry.data = data
  entry.onresult, entry.onerror = callback(block, "onresult", level + 1), callback(block, "onerror", level + 1)
  entry.ontimeout, entry.oncancel = callback(block, "ontimeout", level + 1), callback(block, "oncancel", level + 1)
  entry.onfree = callback(block, "onfree", level + 1)
  local timeout, retries = number(block, "timeout", level + 1), number(block, "retries", level + 1)
  local pause, most = backoff(block.backoff, level + 1)
  local priority, key = block.priority, block.key
  if priority ~= nil and (type(priority) ~= "number" or not (priority >= -100 and priority <= 100)) then
    refuse("priority", "number from -100 to 100", priority, level)
  end
  if type(key) == "number" then key = tostring(key) end
  if key ~= nil and type(key) ~= "string" then refuse("key", "text", key, level) end
  entry.ttl = number(block, "ttl", level + 1)
  entry.same = same_as(block, data, level + 1)
  if entry.same then
    local answer = answers[entry.same]
    if answer and entry.ttl and host.now() < answer.dead then
      entry.id = answer.id
      put(entry, "done", answer.result)
      return answer.id
    end
    local flight = flights[entry.same]
    if flight then
      entry.id = flight.id
      flight.joined = flight.joined or {}
      flight.joined[#flight.joined + 1] = entry
      return flight.id
    end
  end
  local n = take_number(entry)
  local handled = (entry.onerror and 1 or 0) + (entry.ontimeout and 2 or 0)
  if entry.finish then handled = 3 end
  local id, reason, wrong = host.schedule_with(carry(onexecute, data), n + FIRST, timeout, retries or 0, pause, most,
    key, floor(priority or 0), handled, place_of(onexecute), managed.spills and luggage(entry) or nil)
  if not id then
    entries[n] = nil
    free[#free + 1] = n
    if wrong then error("bad argument #1 to 'schedule' (" .. reason .. ")", level) end
    -- It was never begun; what was handed over with it is free all the same.
    put(entry, "dropped")
    return nil, reason
  end
  entry.id, entry.n = id, n
  if max_letters > 0 and not entry.finish then
    -- As it is now: scripts use one table for many jobs.
    local copy = {}
    for key, value in pairs(block) do copy[key] = value end
    entry.block = copy
  end
  if entry.same then flights[entry.same] = entry end
  return id
end

-- In the place of async.schedule: the caller of that is the caller of `schedule` here.
function managed.schedule(block) return schedule(block, {}, 1) end

local function conclude(entry, state, result, message)
  if max_letters > 0 and (state == "failed" or state == "timed_out") and entry.block then
    if #letters >= max_letters then remove(letters, 1) end
    letters[#letters + 1] = { id = entry.id, state = state, message = message, block = entry.block }
  end
  if entry.same then
    flights[entry.same] = nil
    if state == "done" and entry.ttl and result ~= nil then keep_answer(entry, result) end
  end
  put(entry, state, result, message)
  for _, other in ipairs(entry.joined or {}) do put(other, state, result, message) end
end

-- Job number `i` of those that are handed out has ended.
function managed.ended(slot, code, i, item)
  local n = slot + FIRST
  local entry = entries[n]
  if entry then
    entries[n] = nil
    free[#free + 1] = n
  elseif slot == -1 then
    -- A VM that is gone has left it on the disk, with what it was to call.
    entry = host.adopted(i)
  end
  if entry then
    local state, result, message = STATES[code], nil, nil
    if code == TEXT then
      result = ffi_string(item.result, item.result_len)
    elseif code == VALUE then
      local ok, value = host.value(i)
      if ok then result = value else state, message = "failed", value end
    elseif state == "failed" or state == "timed_out" then
      message = ffi_string(item.result, item.result_len)
    end
    conclude(entry, state, result, message)
  end
  run()
end

--- Deferred executions ------------------------------------------------------------------------------------------------

local handles, opened = {}, 0
local Handle = {}
Handle.__index = Handle
function Handle:resolve(value) return async.resolve(self.id, value) end
function Handle:reject(message) return async.reject(self.id, message) end
function Handle:abort() return async.abort(self.id) end

local function close(entry, state, result, message)
  handles[entry.id] = nil
  -- Whoever holds the entry may ask later.
  entry.outcome = { state, result, message }
  if entry.timer then entry.timer.f = nil end
  host.close(state)
  put(entry, state, result, message)
end

-- Begins an execution without a worker.
local function open(entry, timeout)
  local id, reason = host.open()
  if not id then return nil, reason end
  opened = opened + 1
  entry.id, entry.serial_of = id, opened
  handles[id] = entry
  if timeout then
    entry.timer = after(timeout, function(why)
      if host.withdraw(id) then close(entry, why == "due" and "timed_out" or "cancelled") end
    end)
  end
  return id
end

async.defer = either(function(block)
  if block == nil then block = {} end
  if type(block) ~= "table" then
    error("bad argument #1 to 'defer' (table expected, got " .. type(block) .. ")", 2)
  end
  local entry = { data = block.data }
  entry.onresult, entry.onerror = callback(block, "onresult", 3), callback(block, "onerror", 3)
  entry.ontimeout, entry.oncancel = callback(block, "ontimeout", 3), callback(block, "oncancel", 3)
  entry.onfree = callback(block, "onfree", 3)
  local id, reason = open(entry, number(block, "timeout", 3))
  if not id then
    put(entry, "dropped")
    return nil, reason
  end
  return managed.handle(entry)
end)

function managed.handle(entry) return setmetatable({ id = entry.id, entry = entry }, Handle) end
function managed.is_handle(value) return type(value) == "table" and getmetatable(value) == Handle end

-- A letter: somebody has completed an execution of this VM. 1 resolves, 2 rejects, 3 aborts.
function managed.completed(id, verdict, result)
  local entry = handles[id]
  if entry then
    if verdict == 1 then close(entry, "done", result)
    elseif verdict == 2 then close(entry, "failed", nil, result or "rejected")
    else
      entry.silent = true
      close(entry, "cancelled")
    end
  end
  run()
end

--- Asking and taking back ---------------------------------------------------------------------------------------------

async.cancel = either(function(id)
  if type(id) == "table" then id = id.id end
  id = tostring(id)
  local entry = handles[id]
  if entry then
    if not host.withdraw(id) then return false end
    close(entry, "cancelled")
    return true
  end
  return host.cancel(id)
end)

async.status = either(function(id)
  if type(id) == "table" then id = id.id end
  id = tostring(id)
  local entry = handles[id]
  if entry then return { id = id, state = "running", kind = "defer", attempts = 0 } end
  return host.status(id)
end)

async.stats = either(function() return host.stats() end)

async.configure = either(function(limits)
  if type(limits) ~= "table" then
    error("bad argument #1 to 'configure' (table expected, got " .. type(limits) .. ")", 2)
  end
  local overflow = tostring(limits.overflow or "drop_new")
  local fine, why = host.configure(number(limits, "pending", 3) or huge, overflow, number(limits, "retain", 3) or 0,
    number(limits, "retain_for", 3) or huge, number(limits, "spill_bytes", 3))
  if not fine then
    error("bad argument #1 to 'configure' (overflow: " ..
      (why or "drop_new, drop_old, spill, or on the backend block expected") .. ")", 2)
  end
  managed.spills = overflow == "spill"
  max_letters = number(limits, "dead_letters", 3) or 0
  while #letters > max_letters do remove(letters, 1) end
  local policy = limits.block_policy or "abort"
  if policy ~= "abort" and policy ~= "kill" then
    error("bad argument #1 to 'configure' (block_policy: abort or kill expected)", 2)
  end
  host.configure_block(number(limits, "block_timeout", 3), number(limits, "block_wait", 3), policy == "kill")
end)

async.letters = either(function()
  local list = {}
  for i, letter in ipairs(letters) do
    list[i] = { id = letter.id, state = letter.state, error = letter.message, data = letter.block.data }
  end
  return list
end)

-- Schedules again what a dead letter says: a new execution with an id of its own.
async.retry = either(function(id)
  id = tostring(id)
  for i, letter in ipairs(letters) do
    if letter.id == id then
      remove(letters, i)
      return schedule(letter.block, {}, 1)
    end
  end
  return nil, "no dead letter has the id " .. id
end)

--- Atomic sections of workers -----------------------------------------------------------------------------------------

local function gather(...) return select("#", ...), { ... } end

-- Runs what a worker asks for; gives a function that returns the results.
function managed.section(f)
  local n, results = gather(f(engine))
  return function() return unpack(results, 1, n) end
end

--- The end of the input -----------------------------------------------------------------------------------------------

local MAX_ROUNDS, LONGEST = 100000, 60
local rounds, ending = 0, nil

-- At the end of the input time runs on from one timer to the next, for a minute at most; what is due later, and what
-- nobody will complete, is cancelled. Gives whether anything was left to do.
function managed.run_out(at_once)
  if first <= last or freeing then
    run()
    return true
  end
  ending = ending or host.now()
  rounds = rounds + 1
  if size > 0 then
    local timer = pop_timer()
    local late = at_once or rounds > MAX_ROUNDS or timer.due > ending + LONGEST
    managed.over = managed.over or late
    if not late then host.move(timer.due) end
    if timer.f then timer.f(late and "over" or "due") end
    run()
    return true
  end
  managed.over = true
  local open_ones = {}
  for id in pairs(handles) do open_ones[#open_ones + 1] = id end
  sort(open_ones, function(a, b) return handles[a].serial_of < handles[b].serial_of end)
  for _, id in ipairs(open_ones) do
    local entry = handles[id]
    if host.withdraw(id) then close(entry, "cancelled") end
  end
  run()
  return #open_ones > 0
end

managed.start, managed.after, managed.open, managed.close = schedule, after, open, close
function managed.letter(id)
  for _, letter in ipairs(letters) do
    if letter.id == id then return letter end
  end
end

managed.conclude, managed.handles, managed.run, managed.call, managed.put = conclude, handles, run, call, put
return managed
