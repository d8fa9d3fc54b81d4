-- What workers do of pipelines: executions that were handed to them, and the rows of the store.
--
-- Called once per VM with the host's functions; returns `execute(order, list)` and `read(order)`.

local host, plan, records = ...
local ffi = require "ffi"
local error, pcall, tostring, setmetatable = error, pcall, tostring, setmetatable
local MOST_ERRORS = 100

-- Runs records that `next_list()` gives, list by list, through the steps of an order.
local function run(order, next_list)
  local n = plan.numbers(order.steps)
  local c, mark = ffi.new("double[?]", n), ffi.new("int32_t[1]")
  local errors, failed = {}, 0
  local function note(message)
    local step = mark[0]
    mark[0] = 0
    failed = failed + 1
    if step > 0 then c[8 + 4 * (step - 1) + 3] = c[8 + 4 * (step - 1) + 3] + 1 end
    if #errors < MOST_ERRORS then errors[#errors + 1] = { step = step, message = tostring(message) } end
  end
  local function guard(f, record)
    local ok, message = pcall(f, record)
    if not ok then note(message) end
    return ok
  end
  local made = plan.compile(order.steps, { c = c, mark = mark, base = 0, limit = order.limit, guard = guard })
  made.begin()
  local list = next_list()
  while list do
    for i = 1, #list do
      c[0] = c[0] + 1
      guard(made.feed, records.arrived(order.reader, list[i]))
    end
    list = next_list()
  end
  guard(function() made.finish(nil, true) end)
  local numbers = {}
  for at = 0, n - 1 do
    if c[at] ~= 0 then numbers[at] = c[at] end
  end
  errors.total = failed
  return { results = made.take(), errors = errors, numbers = numbers, keeps = made.keeps }
end

local work = {}

function work.execute(order, list)
  return run(order, function()
    local now = list
    list = nil
    return now
  end)
end

function work.read(order)
  local cursor, wrong = host.rows(order.store, order.reader, order.groups or {}, order.from, order.to)
  if not cursor then error(wrong, 0) end
  return run(order, function()
    local list, wrong = cursor()
    if wrong then error(wrong, 0) end
    return list
  end)
end

-- What jobs call is no part of the plugin API, and a pipeline begins nothing here.
return setmetatable({}, {
  __index = work, __metatable = false,
  __call = function() error("ERR_NOTAVAIL: gears() is not available for async scripts", 2) end,
})
