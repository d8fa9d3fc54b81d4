-- Functions that are called from outside, and the promises they answer with.
--
-- Called when something of it is first used, with what becomes of T.async, the table that async_managed.lua has filled, the
-- objects, what it asks of the host, the engine, and `either` of async.lua. A call is answered at once, or later by
-- host.answer(id, state, value).

local async, managed, objects, host, engine, either = ...
local type, error, tostring, pairs, ipairs = objects.type, objects.error, objects.tostring, objects.pairs, objects.ipairs
local sort, find, sub = objects.sort, objects.find, objects.sub

local FLAGS = { no_writes = true, allow_when_overloaded = true, raw_arguments = true }
local functions, count = {}, 0

local function publish()
  local list = {}
  for name, known in pairs(functions) do
    list[#list + 1] = { name, known.no_writes, known.allow_when_overloaded, known.raw_arguments }
  end
  sort(list, function(a, b) return a[1] < b[1] end)
  host.publish(list)
end

-- Level 0 stands for no place in the script.
local function fail(text, level) error(text, level == 0 and 0 or level + 1) end

local function flags_of(flags, known, from, what, level)
  if flags == nil then return end
  if type(flags) ~= "table" then
    fail(what .. ": flags: table expected, got " .. type(flags), level)
  end
  for key, value in pairs(flags) do
    local name = key
    if type(key) == "number" then
      name = value
      if key < from then name = nil end
    end
    if name ~= nil and not FLAGS[name] then
      fail(what .. ": unknown flag '" .. tostring(name) .. "' (no_writes, allow_when_overloaded, raw_arguments)", level)
    end
    if name ~= nil then known[name] = value ~= false end
  end
end

local function add(name, f, flags, from, what, level)
  if type(name) ~= "string" or #name > 64 or not find(name, "^[%w_-]+$") then
    fail(what .. ": the name of a function is made of letters, digits, _ and -, at most 64", level)
  end
  if type(f) ~= "function" then fail(what .. ": " .. name .. ": function expected, got " .. type(f), level) end
  local known = { f = f }
  flags_of(flags, known, from, what .. ": " .. name, level == 0 and 0 or level + 1)
  if not functions[name] then
    if count >= host.max_functions then
      fail(what .. ": at most " .. host.max_functions .. " functions", level)
    end
    count = count + 1
  end
  functions[name] = known
end

function managed.register(name, f, flags)
  add(name, f, flags, 1, "register_function", 3)
  publish()
end

-- TrisulPlugin.functions: name = function, or name = { function, flags }.
function managed.adopt(list)
  if type(list) == "table" then
    for name, what in pairs(list) do
      local flags
      if type(what) == "table" then what, flags = what[1], what end
      add(name, what, flags, 2, "TrisulPlugin.functions", 0)
    end
  end
  publish()
end

--- Promises -----------------------------------------------------------------------------------------------------------

-- Runs a function in a worker; a handle of what it will have returned.
async.run_on_background = either(function(f, data)
  if type(f) ~= "function" then
    error("bad argument #1 to 'run_on_background' (function expected, got " .. type(f) .. ")", 2)
  end
  local entry, id = {}, nil
  local job, reason = managed.start({ onexecute = f, data = data }, { finish = function(state, result, message)
    if id and host.withdraw(id) then managed.close(entry, state, result, message) end
  end }, 2)
  if not job then return nil, reason end
  id, reason = managed.open(entry)
  if not id then
    host.cancel(job)
    return nil, reason
  end
  -- Whoever takes the promise back takes the job back.
  entry.finish = function(state)
    if state == "cancelled" then host.cancel(job) end
  end
  return managed.handle(entry)
end)

local WORDS = { timed_out = "timed out", cancelled = "cancelled", dropped = "dropped" }

-- What a caller is told of an end.
local function told(state, result, message, entry)
  if state == "done" then return "done", result end
  if type(message) == "string" and message ~= "" then return "failed", message end
  if state == "cancelled" and entry and entry.silent then return "failed", "aborted" end
  return "failed", WORDS[state] or state
end

local function portable(value)
  if type(value) == "cdata" then return host.buffer_text(value) or value end
  return value
end

-- The execution that a function returned, if it returned one: a handle, or the id of a task.
local function promised(value, spawned)
  if managed.is_handle(value) then return value.entry end
  if type(value) ~= "string" then return nil end
  local entry = managed.handles[value]
  if entry and entry.task then return entry end
  return spawned[value]
end

-- Calls a function for somebody outside: "done" and what it returned, "failed" and why, or "later".
function managed.serve(name, id, arguments)
  local spawned = {}
  managed.spawned = spawned
  local value = functions[name].f(engine, arguments)
  managed.spawned = nil
  local entry = promised(value, spawned)
  if not entry then return "done", portable(value) end
  local outcome = entry.outcome
  if outcome then
    local state, result = told(outcome[1], outcome[2], outcome[3], entry)
    return state, portable(result)
  end
  managed.follow(entry, function(state, result, message)
    state, result = told(state, result, message, entry)
    host.answer(id, state, portable(result))
  end)
  return "later"
end

--- What is asked about jobs -------------------------------------------------------------------------------------------

local LONGEST = 1024

local function shown(value)
  if type(value) == "string" then return #value > LONGEST and sub(value, 1, LONGEST) .. "..." or value end
  if type(value) == "number" or type(value) == "boolean" then return value end
  return "(" .. type(value) .. ")"
end

local function row(letter)
  return { id = letter.id, state = letter.state, error = letter.message and shown(letter.message), data = shown(letter.data) }
end

function managed.dead()
  local list = {}
  for i, letter in ipairs(async.letters()) do
    list[i] = row { id = letter.id, state = letter.state, message = letter.error, data = letter.data }
  end
  return "done", list
end

function managed.again(id)
  local new, reason = async.retry(id)
  if new then return "done", new end
  return "failed", reason
end

function managed.known(id)
  local status = async.status(id)
  if status then
    status.result = status.result and shown(status.result)
    return "done", status
  end
  local letter = managed.letter(id)
  if not letter then return "done" end
  return "done", row { id = id, state = letter.state, message = letter.message, data = letter.block.data }
end

--- The engine as a function sees it that may not write ------------------------------------------------------------------

local READING = { timestamp = true, instanceid = true, id = true, probeid = true }

-- The methods of the engine with those that write in the place of an error.
function managed.read_only(methods)
  local guarded = {}
  for name, method in pairs(methods) do
    guarded[name] = (READING[name] or type(method) ~= "function") and method or function()
      error(name .. "() is not available: the function was registered with no_writes", 2)
    end
  end
  return guarded
end
