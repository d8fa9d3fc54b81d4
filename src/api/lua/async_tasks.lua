-- Coroutines of T.async: spawn, await, sleep, all, race.
--
-- A task runs in pieces: the first where it is spawned, each further one where what it waited for is handed out. Every
-- piece is part of the callback it runs in and spends that one's budget.

local async, managed, objects, host, engine, on_error, either = ...
local type, error, xpcall, tostring = objects.type, objects.error, objects.xpcall, objects.tostring
local create, resume_coroutine, yield, running = objects.create, objects.resume, objects.yield, objects.running

-- The task that is running, if any.
local current

local function go_on(task, ...)
  if task.entry.over then return end
  local before = current
  current = task
  -- The body has a message handler of its own: what arrives here is the interruption, or memory that ran out.
  local ok, what = resume_coroutine(task.co, ...)
  current = before
  if not ok then
    task.message = task.message or tostring(what)
    managed.end_task(task, "failed")
    error(what, 0)
  end
  if task.finished then managed.end_task(task, task.finished) end
end

function managed.end_task(task, state)
  local entry = task.entry
  if entry.over or not host.withdraw(entry.id) then return end
  managed.close(entry, state, task.result, state == "failed" and (task.message or "the task failed") or nil)
end

async.spawn = either(function(f, onfree)
  if type(f) ~= "function" then
    error("bad argument #1 to 'spawn' (function expected, got " .. type(f) .. ")", 2)
  end
  if managed.over then return nil, "the input has ended" end
  -- What has ended tells nobody; an onfree is told.
  local entry = { finish = function() end, onfree = type(onfree) == "function" and onfree or nil }
  local id, reason = managed.open(entry)
  if not id then return nil, reason end
  local task = { entry = entry }
  entry.task = task
  if managed.spawned then managed.spawned[id] = entry end
  local function failed(e)
    task.message = type(e) == "string" and e or "(error object is a " .. type(e) .. " value)"
    return on_error(e, "spawn")
  end
  task.co = create(function()
    local ok, value = xpcall(f, failed, engine)
    task.finished = ok and "done" or "failed"
    if ok then task.result = value elseif value ~= nil then error(value, 0) end
  end)
  go_on(task)
  return id
end)

local function task_of(name)
  if not current or running() ~= current.co then
    error(name .. "() works inside of spawn() only", 3)
  end
  return current
end

-- A promise: what was begun, and who waits for it.
local function keep(promise)
  return function(state, result, message)
    promise.over, promise.state, promise.result, promise.message = true, state, result, message
    local wake = promise.wake
    promise.wake = nil
    if wake then wake(promise) end
  end
end

-- Tells one more of how a deferred execution ends.
function managed.follow(entry, finish)
  local told = entry.finish
  local before = { onresult = entry.onresult, onerror = entry.onerror, ontimeout = entry.ontimeout, oncancel = entry.oncancel }
  entry.finish = function(state, result, message)
    if told then told(state, result, message)
    elseif state == "done" and before.onresult and result ~= nil then managed.call(before, "onresult", engine, entry.data, result)
    elseif state == "failed" and before.onerror then managed.call(before, "onerror", engine, entry.data, message)
    elseif state == "timed_out" and before.ontimeout then managed.call(before, "ontimeout", engine, entry.data)
    elseif state == "cancelled" and before.oncancel and not entry.silent then managed.call(before, "oncancel", engine, entry.data) end
    finish(state, result, message)
  end
end

-- Begins what a block describes, or joins what a handle of defer stands for.
local function begin(what, name, level)
  if type(what) ~= "table" then
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(what) .. ")", level + 1)
  end
  local promise = {}
  local finish = keep(promise)
  if what.onexecute == nil and what.id then
    local entry = managed.handles[what.id]
    if not entry then
      promise.over, promise.state, promise.message = true, "failed", "nothing is open under " .. tostring(what.id)
      return promise
    end
    promise.id = what.id
    managed.follow(entry, finish)
    return promise
  end
  local id, reason = managed.start(what, { finish = finish }, level + 1)
  promise.id = id
  if not id then promise.over, promise.state, promise.message = true, "dropped", reason end
  return promise
end

local WORDS = { timed_out = "timed out", cancelled = "cancelled", dropped = "dropped" }

local function answer(promise)
  if promise.state == "done" then return promise.result, nil end
  return nil, promise.message ~= "" and promise.message or WORDS[promise.state] or promise.state
end

-- Waits until `ready` of the promise is set.
local function wait_for(task, promise)
  if not promise.over then
    promise.wake = function() go_on(task) end
    yield()
  end
  return answer(promise)
end

async.await = either(function(what)
  local task = task_of("await")
  return wait_for(task, begin(what, "await", 2))
end)

async.sleep = either(function(seconds)
  local task = task_of("sleep")
  if type(seconds) ~= "number" or not (seconds >= 0) then
    error("bad argument #1 to 'sleep' (number not below 0 expected, got " .. type(seconds) .. ")", 2)
  end
  if managed.over then return nil, "the input has ended" end
  local why
  managed.after(seconds, function(reason)
    why = reason
    go_on(task)
  end)
  yield()
  if why == "due" then return true end
  return nil, "the input has ended"
end)

local function begin_all(list, name)
  if type(list) ~= "table" then
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(list) .. ")", 3)
  end
  local promises = {}
  for i = 1, #list do promises[i] = begin(list[i], name, 3) end
  return promises
end

-- Results and errors in the order of the list.
async.all = either(function(list)
  local task = task_of("all")
  local promises, results, errors = begin_all(list, "all"), {}, nil
  for i = 1, #promises do
    local result, message = wait_for(task, promises[i])
    results[i] = result
    if message then
      errors = errors or {}
      errors[i] = message
    end
  end
  return results, errors
end)

-- The first to be done; the others are taken back. If none is, nil and why the last one was not.
async.race = either(function(list)
  local task = task_of("race")
  local promises = begin_all(list, "race")
  local left, winner, last_one = #promises, nil, nil
  local function look(promise)
    left, last_one = left - 1, promise
    if promise.state == "done" and not winner then winner = promise end
    return winner or left == 0
  end
  local decided = left == 0
  for i = 1, #promises do
    if promises[i].over and not decided then decided = look(promises[i]) end
  end
  if not decided then
    for i = 1, #promises do
      if not promises[i].over then
        promises[i].wake = function(promise)
          if not decided and look(promise) then
            decided = true
            go_on(task)
          end
        end
      end
    end
    yield()
  end
  for i = 1, #promises do
    if not promises[i].over and promises[i].id then async.cancel(promises[i].id) end
  end
  if not winner then
    if not last_one then return nil, "nothing to wait for" end
    return answer(last_one)
  end
  for i = 1, #promises do
    if promises[i] == winner then return winner.result, nil, i end
  end
end)
