-- T.async: argument rules, and which onresult belongs to which job.
--
-- Called once per VM with the objects, the host's functions and what onresult gets as engine (nil in a worker's VM).

local objects, host, engine, on_error = ...
local type, error, tostring, xpcall, pcall = type, error, tostring, xpcall, pcall
local pairs, rawget, setmetatable = pairs, rawget, setmetatable
local to_text, to_number, bad = host.to_text, host.to_number, host.bad

local async = {}

-- Both T.async:f(x) and T.async.f(x) are in use.
local function either(f)
  return function(first, ...)
    if first == async then return f(...) end
    return f(first, ...)
  end
end

local function file_function(name, count)
  return either(function(a, b)
    a, b = to_text(a, 1, name), to_text(b, 2, name)
    if not a or (count == 2 and not b) then return host.nil_argument(name) end
    host.file(name, a, b)
  end)
end
async.cat, async.copy = file_function("cat", 2), file_function("copy", 2)
async.cp, async.rm = async.copy, file_function("rm", 1)

async.copybuffer = either(function(buffer, name, position)
  local bytes = buffer
  if type(buffer) == "cdata" then bytes = host.buffer_text(buffer) or buffer end
  bytes, name = to_text(bytes, 1, "copybuffer"), to_text(name, 2, "copybuffer")
  position = to_number(position, 3, "copybuffer")
  if not bytes or not name then return host.nil_argument("copybuffer") end
  host.copybuffer(bytes, name, position)
end)

async.pending_items = either(function() return host.pending() end)

-- The bytes of a Buffer; nothing for other cdata.
local function method_of(value) return value.tostring end
function host.buffer_text(value)
  local ok, method = pcall(method_of, value)
  return ok and method and method(value) or nil
end

-- A value that travels between VMs: text as it is, anything else as a function that returns it.
local function parcel(value)
  local kind = type(value)
  if kind == "nil" then return nil end
  if kind == "number" then return tostring(value) end
  if kind == "cdata" then value = host.buffer_text(value) or value end
  if type(value) == "string" then return value end
  return function() return value end
end

-- Completes an execution that was begun with defer, from wherever this VM is.
local function completing(name, verdict)
  return either(function(id, value)
    if type(id) == "table" then id = id.id end
    id = to_text(id, 1, name)
    if not id then return false end
    local won, message = host.complete(id, verdict, parcel(value))
    if message then error("bad argument #2 to '" .. name .. "' (" .. message .. ")", 2) end
    return won
  end)
end
async.resolve, async.reject, async.abort = completing("resolve", 1), completing("reject", 2), completing("abort", 3)

if not engine then
  function async.schedule()
    error("ERR_NOTAVAIL: schedule() is not available for async scripts", 2)
  end
  return async
end

-- Scheduling and delivery are compiled: what they need of the host are one function and an array, both through ffi.
-- api/jobcall.rs declares the same layout.
local ffi = require "ffi"
ffi.cdef [[
typedef struct { int32_t slot, deliver, data_len, result_len; const char *data, *result; } ms_job_item;
typedef struct {
  double (*schedule)(void *jobs, double code, const char *data, int32_t len, int32_t slot);
  double (*schedule_shaped)(void *jobs, double shape, const char *data, int32_t len, const char *key, int32_t key_len, int32_t slot);
} ms_job_calls;
]]
local C = ffi.cast("const ms_job_calls *", host.calls)
local jobs, items = ffi.cast("void *", host.jobs), ffi.cast("const ms_job_item *", host.items)
local ffi_string, prefix = ffi.string, host.prefix
local cur = objects.cur

-- Every job has a slot until it has ended: its onresult, or false. Free slots form a list; 0 ends it.
local waiting, following, free, slots = {}, {}, 0, 0
local IN_USE = -1

local function take_slot(result)
  local slot = free
  if slot == 0 then
    slot = slots + 1
    slots = slot
  else
    free = following[slot]
  end
  following[slot] = IN_USE
  waiting[slot] = result
  return slot
end

local function leave_slot(slot)
  waiting[slot] = false
  -- Once only, even if what comes after was interrupted and is done again.
  if following[slot] == IN_USE then
    following[slot] = free
    free = slot
  end
end

-- Numbers of the code of functions that capture nothing and were scheduled before, by closure: the host need not look at
-- them again. A closure that is not among them may yet be one of many of the same code, which the host finds by itself.
local MAX_NUMBERS = 1000
local numbers, count_of_numbers = {}, 0
local recent, last_recent, RECENT = {}, 0, 8
local again = host.again

-- Only closures that are scheduled more than once: others would but fill the table.
local function remember(execute, number)
  for i = 1, RECENT do
    if recent[i] == execute then
      count_of_numbers = count_of_numbers + 1
      if count_of_numbers > MAX_NUMBERS then numbers, count_of_numbers = {}, 1 end
      numbers[execute] = number
      return
    end
  end
  last_recent = last_recent % RECENT + 1
  recent[last_recent] = execute
end

-- What asks for more than a plain job goes another way, by what `managed` and the rest of `async` hold. Most scripts do
-- not: both are filled when something is first looked for that they do not have.
local managed = { spills = false, resolve = async.resolve, reject = async.reject, abort = async.abort }
local filling = false

local function fill_both()
  local more, texts = {}, host.texts()
  texts.managed(more, managed, objects, host, engine, on_error, either, C, jobs)
  texts.tasks(more, managed, objects, host, engine, on_error, either)
  texts.functions(more, managed, objects, host, engine, either)
  host.extend(async, more)
  for name, f in pairs(more) do
    -- What a script has put there stays.
    if rawget(async, name) == nil then async[name] = f end
  end
end

local later = {}
function later.__index(self, key)
  if filling then return nil end
  filling = true
  local fine, message = pcall(fill_both)
  filling = false
  if not fine then error(message, 0) end
  setmetatable(async, nil)
  setmetatable(managed, nil)
  return rawget(self, key)
end
setmetatable(async, later)
setmetatable(managed, later)

-- In last place, so that what is called sees the script as its caller.
local function register(name, f, flags) return managed.register(name, f, flags) end

-- Not by way of `either`: functions with a variable number of arguments do not begin a trace.
function async.schedule(block, second)
  if block == async then block = second end
  if type(block) ~= "table" then bad(1, "schedule", "table", type(block), 1) end
  local execute, data, result = block.onexecute, block.data, block.onresult
  if type(execute) ~= "function" then
    error("bad argument #1 to 'schedule' (a function onexecute is missing)", 2)
  end
  if data == nil then data = "" elseif type(data) == "number" then data = tostring(data) end
  if type(data) ~= "string" or block.timeout or block.retries or block.key or block.unique or block.priority or block.ttl
    or block.onerror or block.ontimeout or block.oncancel or block.onfree or managed.spills then
    return managed.schedule(block)
  end
  local slot = take_slot(type(result) == "function" and result)
  local number, seq = numbers[execute], nil
  if number then
    seq = C.schedule(jobs, number, data, #data, slot)
    if seq < 0 then numbers[execute], seq = nil, nil end
  end
  if not seq then
    seq, number = again(execute, data, slot)
    if seq then remember(execute, number) end
  end
  if not seq then
    local id, reason, refused
    id, reason, refused, number = host.schedule(execute, data, slot)
    if number then remember(execute, number) end
    if not id then leave_slot(slot) end
    if refused then error(reason, 2) end
    return id, reason
  end
  -- Where nobody reads the text, the compiler leaves out making it.
  if seq > 0 then return prefix .. seq, nil end
  leave_slot(slot)
  return nil, host.rejected()
end

-- Hands out the completions from number `first` to before `count`. The progress word counts down from -1, which is no
-- packet, so that each onresult has a budget of its own. Returns where to go on.
local function deliver(first, count)
  for i = first, count - 1 do
    local item = items[i]
    local slot = item.slot
    local onresult = false
    if slot >= 0 then
      onresult = waiting[slot]
      leave_slot(slot)
    else
      cur[0] = -1 - i
      managed.ended(slot, item.deliver, i, item)
    end
    if onresult and item.deliver ~= 0 then
      cur[0] = -1 - i
      local ok, unhandled = xpcall(onresult, on_error, engine,
        ffi_string(item.data, item.data_len), ffi_string(item.result, item.result_len))
      -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
      if not ok and unhandled ~= nil then error(unhandled, 0) end
    end
  end
  return count
end

return async, deliver, managed, register
