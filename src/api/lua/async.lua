-- T.async: argument rules, and which onresult belongs to which job.
--
-- Called once per VM with the objects, the host's functions and what onresult gets as engine (nil in a worker's VM).

local objects, host, engine, on_error = ...
local type, error, tostring, xpcall = type, error, tostring, xpcall
local to_text, to_number, bad = host.to_text, host.to_number, host.bad

local async = {}
-- Job number -> onresult, until the job has ended.
local waiting, last = {}, 0

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
  if type(buffer) == "cdata" then bytes = buffer:tostring() end
  bytes, name = to_text(bytes, 1, "copybuffer"), to_text(name, 2, "copybuffer")
  position = to_number(position, 3, "copybuffer")
  if not bytes or not name then return host.nil_argument("copybuffer") end
  host.copybuffer(bytes, name, position)
end)

async.pending_items = either(function() return host.pending() end)

if engine then
  async.schedule = either(function(block)
    if type(block) ~= "table" then bad(1, "schedule", "table", type(block), 1) end
    local execute, data, result = block.onexecute, block.data, block.onresult
    if type(execute) ~= "function" then
      error("bad argument #1 to 'schedule' (a function onexecute is missing)", 3)
    end
    if data == nil then data = "" elseif type(data) == "number" then data = tostring(data) end
    if type(data) ~= "string" then
      error("bad argument #1 to 'schedule' (data: string expected, got " .. type(data) .. ")", 3)
    end
    last = last + 1
    local id, reason, refused = host.schedule(execute, data, last)
    if refused then error(reason, 3) end
    if id and type(result) == "function" then waiting[last] = result end
    return id, reason
  end)
else
  function async.schedule()
    error("ERR_NOTAVAIL: schedule() is not available for async scripts", 2)
  end
end

-- Hands out completions items[3 * first + 1 ..]: number, data, result (false if there is none to deliver). The progress
-- word counts down from -1, which is no packet, so that each onresult has a budget of its own. Returns where to go on.
local cur = objects and objects.cur
local function deliver(items, first, count)
  for i = first, count - 1 do
    local number, data, result = items[3 * i + 1], items[3 * i + 2], items[3 * i + 3]
    local onresult = waiting[number]
    waiting[number] = nil
    if onresult and result then
      cur[0] = -1 - i
      local ok, unhandled = xpcall(onresult, on_error, engine, data, result)
      -- The handler returns nothing; it is not called when memory runs out, and it may fail itself.
      if not ok and unhandled ~= nil then error(unhandled, 0) end
    end
  end
  return count
end

return async, deliver
