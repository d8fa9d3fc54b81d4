-- T.async beyond a plain job: options of schedule, values as data and results, deferred executions, timers.
--
-- Called when something of it is first used, with what becomes of T.async, the table that it fills, the objects, the host's
-- functions, the engine, the message handler, and `either` of async.lua. What ends is put on a list and told from there:
-- whatever a callback does, the next one and every onfree are told, at the next point where results are handed out if it
-- must be.

local async, managed, objects, host, engine, on_error, either, C, jobs = ...
local ffi, type, error, tostring, xpcall = objects.ffi, objects.type, objects.error, objects.tostring, objects.xpcall
local pairs, ipairs, setmetatable, getmetatable = objects.pairs, objects.ipairs, objects.setmetatable, objects.getmetatable
local select, unpack, remove, sort = objects.select, objects.unpack, objects.remove, objects.sort
local floor, format, getinfo, huge = objects.floor, objects.format, objects.getinfo, objects.huge
local ffi_string, prefix = ffi.string, host.prefix
-- When something is to be done next, in the host's memory.
local due = ffi.cast("double *", host.due)

-- Numbers of managed jobs begin where those of plain jobs end: their slot is negative.
local FIRST = 2147483648
local STATES = { "done", "done", "done", "failed", "timed_out", "cancelled", "dropped" }
local TEXT, VALUE = 1, 2

-- Every job has a number until it has ended, and under it what it is to call (its entry) and its data. Jobs that are
-- scheduled alike share an entry, so that one of them costs no table. Free numbers form a list; -1 ends it.
local entries, data_of, following, free, count = {}, {}, {}, -1, 0
local IN_USE = -2

local function take_number(entry, data)
  local n = free
  if n < 0 then
    n = count
    count = n + 1
  else
    free = following[n]
  end
  following[n] = IN_USE
  entries[n], data_of[n] = entry, data
  return n
end

local function leave_number(n)
  entries[n], data_of[n] = false, false
  following[n] = free
  free = n
end

--- What has ended and has to be told ----------------------------------------------------------------------------------

local todo, first, last = {}, 1, 0
local freeing, freeing_data

local function enqueue(entry, data, state, result, message)
  last = last + 1
  todo[last] = { entry, data, state, result, message }
  due[0] = -huge
end

-- For an entry of its own: it ends once.
local function put(entry, state, result, message)
  if entry.over then return end
  entry.over = true
  enqueue(entry, entry.data, state, result, message)
end

-- Each callback has a handler that knows its name; as a tail call, so that tracebacks begin where they should.
local handlers = {}
for _, name in ipairs { "onresult", "onerror", "ontimeout", "oncancel", "onfree" } do
  handlers[name] = function(e) return on_error(e, name) end
end

local function call(owner, name, ...)
  local ok, unhandled = xpcall(owner[name], handlers[name], ...)
  if not ok and unhandled ~= nil then error(unhandled, 0) end
end

local function let_go(entry, data)
  freeing, freeing_data = nil, nil
  if entry.onfree then call(entry, "onfree", engine, data) end
end

local function tell(entry, data, state, result, message)
  -- An interruption leaves this function at once; then this is what is left to do.
  freeing, freeing_data = entry, data
  if entry.finish then
    entry.finish(state, result, message)
  elseif state == "done" then
    if result ~= nil and entry.onresult then call(entry, "onresult", engine, data, result) end
  elseif state == "failed" then
    if entry.onerror then call(entry, "onerror", engine, data, message) end
  elseif state == "timed_out" then
    if entry.ontimeout then call(entry, "ontimeout", engine, data) end
  elseif entry.oncancel and not entry.silent then
    call(entry, "oncancel", engine, data)
  end
  let_go(entry, data)
end

local function run()
  if freeing then let_go(freeing, freeing_data) end
  while first <= last do
    local what = todo[first]
    todo[first] = nil
    first = first + 1
    tell(what[1], what[2], what[3], what[4], what[5])
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
  if at == 1 and first > last then due[0] = timer.due end
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
  due[0] = next_due()
end

--- Options ------------------------------------------------------------------------------------------------------------

local function refuse(name, wanted, got, level, method)
  local refused = format("bad argument #1 to '%s' (%s: %s expected, got %s)", method or "schedule", name, wanted, type(got))
  error(refused, level + 1)
end

-- Of a block for the method, which is schedule unless another one is named.
local function number(block, name, level, method)
  local value = block[name]
  if value == nil then return nil end
  -- Written so that NaN is refused.
  if type(value) ~= "number" or not (value >= 0) then refuse(name, "number not below 0", value, level, method) end
  return value
end

local function callback(block, name, level, method)
  local f = block[name]
  if f ~= nil and type(f) ~= "function" then refuse(name, "function", f, level, method) end
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

--- Shapes: what jobs have in common -------------------------------------------------------------------------------------

-- The host knows function and treatment of jobs by a number, their shape. Here the shapes of each function that it recalls
-- are kept in a list, the last one first; a script uses one as a rule.
local MAX_SHAPES, MAX_OF_ONE = 1000, 8
local shapes, shape_count = {}, 0
local recall = host.recall

local function forget_shapes() shapes, shape_count = {}, 0 end

-- The shape of jobs, and whether the function captures nothing; nil if the function has to be packed for each job, and what
-- is wrong with it, if anything is.
local function shape_of(onexecute, timeout, retries, pause, most, priority, handled)
  local number, plain = recall(onexecute)
  local wrong
  if not number then
    number, plain, wrong = host.remember(onexecute)
    if not number then return nil, nil, wrong end
  end
  local newest, length = shapes[number], 0
  local shape = newest
  while shape do
    if shape.timeout == timeout and shape.retries == retries and shape.pause == pause and shape.most == most
      and shape.priority == priority and shape.handled == handled then
      return shape.number, plain
    end
    shape, length = shape.older, length + 1
  end
  if shape_count >= MAX_SHAPES then forget_shapes() end
  local made = host.shape(number, timeout, retries, pause, most, priority, handled)
  if not made then
    -- The host has forgotten the function itself.
    number, plain, wrong = host.remember(onexecute)
    if not number then return nil, nil, wrong end
    made = host.shape(number, timeout, retries, pause, most, priority, handled)
  end
  shape_count = shape_count + 1
  shapes[number] = { number = made, timeout = timeout, retries = retries, pause = pause, most = most, priority = priority,
    handled = handled, older = length < MAX_OF_ONE and newest or nil }
  return made, plain
end

-- Entries that jobs share, by function. Only of functions that are scheduled more than once, others would but fill it; and no
-- more of those whose jobs have callbacks of their own each time.
local MAX_SHARED, MAX_USELESS, USEFUL = 1000, 8, 16
local shared, shared_count = {}, 0
local recent, last_recent, RECENT = {}, 0, 8

local function share(block, entry, shape)
  local execute = block.onexecute
  for i = 1, RECENT do
    if recent[i] == execute then
      local before, useless = shared[execute], 0
      if before == nil then
        shared_count = shared_count + 1
        if shared_count > MAX_SHARED then shared, shared_count = {}, 1 end
      elseif before.jobs < USEFUL then
        useless = before.useless + 1
        if useless > MAX_USELESS then return end
      end
      shared[execute] = { jobs = 0, useless = useless, shape = shape, timeout = block.timeout, retries = block.retries,
        backoff = block.backoff, priority = block.priority, onresult = entry.onresult, onerror = entry.onerror, ontimeout = entry.ontimeout,
        oncancel = entry.oncancel, onfree = entry.onfree, is_shared = true }
      return
    end
  end
  last_recent = last_recent % RECENT + 1
  recent[last_recent] = execute
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
  retries, priority = retries or 0, floor(priority or 0)
  local handled = (entry.onerror and 1 or 0) + (entry.ontimeout and 2 or 0)
  if entry.finish then handled = 3 end
  local text = type(data) == "string" and not managed.spills
  local shape, plain, wrong, id, reason
  if text then
    shape, plain, wrong = shape_of(onexecute, timeout, retries, pause, most, priority, handled)
    if wrong then error("bad argument #1 to 'schedule' (" .. wrong .. ")", level) end
  end
  local n = take_number(entry, data)
  if shape then
    local seq = C.schedule_shaped(jobs, shape, data, #data, key, key and #key or -1, n)
    if seq < 0 then
      -- The host has forgotten it, and others with it.
      forget_shapes()
      shared, shared_count = {}, 0
      shape = nil
    elseif seq > 0 then
      id = prefix .. seq
    else
      reason = host.rejected()
    end
  end
  if not shape then
    id, reason, wrong = host.schedule_with(text and onexecute or carry(onexecute, data), text and data or nil, n + FIRST,
      timeout, retries, pause, most, priority, handled, key, place_of(onexecute), managed.spills and luggage(entry) or nil)
  end
  if not id then
    leave_number(n)
    if wrong then error("bad argument #1 to 'schedule' (" .. reason .. ")", level) end
    -- It was never begun; what was handed over with it is free all the same.
    put(entry, "dropped")
    return nil, reason
  end
  entry.id = id
  if max_letters > 0 and not entry.finish then
    -- As it is now: scripts use one table for many jobs.
    local copy = {}
    for key, value in pairs(block) do copy[key] = value end
    entry.block = copy
  end
  if entry.same then flights[entry.same] = entry
  elseif shape and plain and not entry.finish and type(block.backoff) ~= "table" then share(block, entry, shape) end
  return id
end

-- In the place of async.schedule: the caller of that is the caller of `schedule` here. A job that is like one before it is
-- scheduled in a few compiled steps, whatever table the script describes it with.
function managed.schedule(block)
  local data, entry = block.data, shared[block.onexecute]
  if data == nil then data = "" elseif type(data) == "number" then data = tostring(data) end
  if not entry or type(data) ~= "string" or max_letters > 0 or managed.spills or block.key ~= nil
    or block.unique ~= nil or block.ttl ~= nil or block.timeout ~= entry.timeout or block.retries ~= entry.retries
    or block.backoff ~= entry.backoff or block.priority ~= entry.priority or block.onresult ~= entry.onresult
    or block.onerror ~= entry.onerror or block.ontimeout ~= entry.ontimeout or block.oncancel ~= entry.oncancel
    or block.onfree ~= entry.onfree then
    return schedule(block, {}, 1)
  end
  local n = take_number(entry, data)
  local seq = C.schedule_shaped(jobs, entry.shape, data, #data, nil, -1, n)
  if seq > 0 then
    entry.jobs = entry.jobs + 1
    -- Where nobody reads the text, the compiler leaves out making it.
    return prefix .. seq, nil
  end
  leave_number(n)
  if seq < 0 then return schedule(block, {}, 1) end
  enqueue(entry, data, "dropped")
  return nil, host.rejected()
end

local function conclude(entry, state, result, message)
  if max_letters > 0 and (state == "failed" or state == "timed_out") and entry.block then
    if #letters >= max_letters then remove(letters, 1) end
    letters[#letters + 1] = { id = entry.id, state = state, message = message, block = entry.block }
  end
  if entry.same then
    flights[entry.same] = nil
    if state == "done" and entry.ttl and result ~= nil then keep_answer(entry, result) end
  end
  if first > last and not freeing and not entry.joined then
    -- The next to be told, so it need not be written down; an interruption brings the host back here.
    entry.over, due[0] = true, -huge
    return tell(entry, entry.data, state, result, message)
  end
  put(entry, state, result, message)
  for _, other in ipairs(entry.joined or {}) do put(other, state, result, message) end
end

-- Job number `i` of those that are handed out has ended.
function managed.ended(slot, code, i, item)
  local n = slot + FIRST
  local entry, data = entries[n], data_of[n]
  if entry then
    leave_number(n)
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
    if not entry.is_shared then
      conclude(entry, state, result, message)
    elseif first > last and not freeing then
      due[0] = -huge
      tell(entry, data, state, result, message)
    else
      enqueue(entry, data, state, result, message)
    end
  end
  if freeing or first <= last then run() end
end

--- Deferred executions ------------------------------------------------------------------------------------------------

local handles, opened = {}, 0
local Handle = {}
Handle.__index = Handle
local resolve, reject, abort = managed.resolve, managed.reject, managed.abort
function Handle:resolve(value) return resolve(self.id, value) end
function Handle:reject(message) return reject(self.id, message) end
function Handle:abort() return abort(self.id) end

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
  for _, name in ipairs { "onresult", "onerror", "ontimeout", "oncancel", "onfree" } do
    entry[name] = callback(block, name, 3, "defer")
  end
  local id, reason = open(entry, number(block, "timeout", 3, "defer"))
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
  local function limit(name, otherwise) return number(limits, name, 4, "configure") or otherwise end
  local overflow = tostring(limits.overflow or "drop_new")
  local fine, why = host.configure(limit("pending", huge), overflow, limit("retain", 0), limit("retain_for", huge),
    limit("spill_bytes"))
  if not fine then
    error("bad argument #1 to 'configure' (overflow: " ..
      (why or "drop_new, drop_old, spill, or on the backend block expected") .. ")", 2)
  end
  managed.spills = overflow == "spill"
  max_letters = limit("dead_letters", 0)
  while #letters > max_letters do remove(letters, 1) end
  local policy = limits.block_policy or "abort"
  if policy ~= "abort" and policy ~= "kill" then
    error("bad argument #1 to 'configure' (block_policy: abort or kill expected)", 2)
  end
  host.configure_block(limit("block_timeout"), limit("block_wait"), policy == "kill")
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
