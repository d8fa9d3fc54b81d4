-- T.gears: pipelines of steps over what a reader gives.
--
-- Called once per VM of a script with what the host gives. A pipeline that is registered while the file is run becomes a
-- block of the file, as if the callback had been written by hand; `settle` makes the blocks when the file has been run. A VM
-- compiles the pipelines of its own block only.

local host, plan, records = ...
local type, error, pairs, ipairs, setmetatable, tostring, xpcall = type, error, pairs, ipairs, setmetatable, tostring, xpcall
local format, floor, lower, find, remove = string.format, math.floor, string.lower, string.find, table.remove
local tonumber = tonumber
local getinfo, concat = debug.getinfo, table.concat
local ffi = require "ffi"

local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local MOST_STEPS, LIMIT, KEEP = 32, 100000, 16

-- For each reader the block that an event becomes, its callback, and how the block names its groups.
local READERS = {
  packets = { block = "simplecounter", other = "simple_counter", callback = "onpacket" },
  newflows = { block = "sg_monitor", other = "sgmonitor", callback = "onnewflow", group = "session_guid", all = false },
  flows = { block = "sg_monitor", other = "sgmonitor", callback = "onterminate", group = "session_guid", all = false, stored = true },
  alerts = { block = "alert_monitor", other = "alertmonitor", callback = "onnewalert", group = "alert_guid", all = true, stored = true },
  resources = { block = "resource_monitor", other = "resourcemonitor", callback = "onnewresource", group = "resource_guid", all = true, stored = true },
  documents = { block = "fts_monitor", other = "ftsmonitor", callback = "onnewfts", group = "fts_guid", all = true, stored = true },
  counters = { block = "cg_monitor", other = "cgmonitor", callback = "onflush", group = "counter_guid", stored = true },
}
local READER_NAMES = "packets, newflows, flows, alerts, resources, documents, counters"
local TOTALS = "SYS:GROUP_TOTALS"

if host.mark then host.mark = ffi.cast("int32_t *", host.mark) end

local gears = host.gears
local pipelines, loading, numbers = {}, true, {}

local function bad(what, wanted, value, level)
  error(format("gears: %s: %s expected, got %s", what, wanted, type(value)), level + 1)
end

-- A field that may be missing, of a type that `wanted` names.
local function optional(type_name, wanted)
  return function(table, name, level)
    local value = table[name]
    if value ~= nil and type(value) ~= type_name then bad(name, wanted, value, level + 1) end
    return value
  end
end

local text, callback = optional("string", "text"), optional("function", "function")

local function whole(table, name, level)
  local value = table[name]
  if value == nil then return nil end
  if type(value) ~= "number" or not (value >= 1) or value ~= floor(value) then
    bad(name, "whole number above 0", value, level + 1)
  end
  return value
end

--- The builder --------------------------------------------------------------------------------------------------------

local Pipeline = {}

-- The pipeline as it was written.
local function text_of(self)
  local out = { self.reader }
  for _, step in ipairs(self.steps) do out[#out + 1] = step.kind end
  return concat(out, " > ")
end

local meta = {
  __index = Pipeline, __metatable = "Pipeline",
  __tostring = function(self) return "Pipeline: " .. text_of(self) end,
}

local function place_of(f)
  if type(f) ~= "function" then return "" end
  local info = getinfo(f, "S")
  return info.short_src .. ":" .. info.linedefined
end

-- Called as the last thing a method does: whoever called that one is one level up.
local function add(self, step)
  if self.begun then error("gears: the pipeline was registered or run; begin a new one with T.gears()", 2) end
  local steps = self.steps
  if #steps >= MOST_STEPS then error("gears: a pipeline has at most " .. MOST_STEPS .. " steps", 2) end
  if #steps > 0 and steps[#steps].kind == "collect" then error("gears: nothing follows collect()", 2) end
  step.place = place_of(step.f)
  steps[#steps + 1] = step
  return self
end

local function needed(kind, n, f)
  if type(f) ~= "function" then error(format("gears: bad argument #%d to '%s' (function expected, got %s)", n, kind, type(f)), 3) end
  return f
end

local function wanted(kind, n, f)
  if f == nil then return nil end
  return needed(kind, n, f)
end

for _, kind in ipairs { "map", "filter", "foreach", "flatmap", "accumulate", "countby" } do
  Pipeline[kind] = function(self, f)
    if type(f) ~= "function" then error(format("gears: bad argument #1 to '%s' (function expected, got %s)", kind, type(f)), 2) end
    return add(self, { kind = kind, f = f })
  end
end

for _, kind in ipairs { "sort", "distinct", "avg" } do
  Pipeline[kind] = function(self, f)
    if f ~= nil and type(f) ~= "function" then error(format("gears: bad argument #1 to '%s' (function expected, got %s)", kind, type(f)), 2) end
    return add(self, { kind = kind, f = f })
  end
end

function Pipeline:groupby(key, reduce)
  needed("groupby", 1, key)
  return add(self, { kind = "groupby", f = key, g = needed("groupby", 2, reduce) })
end

function Pipeline:aggregate(zero, fold, join)
  needed("aggregate", 2, fold)
  return add(self, { kind = "aggregate", zero = zero, f = fold, g = wanted("aggregate", 3, join) })
end

function Pipeline:aggregateby(key, zero, fold, join)
  needed("aggregateby", 1, key)
  needed("aggregateby", 3, fold)
  return add(self, { kind = "aggregateby", f = key, zero = zero, g = fold, h = wanted("aggregateby", 4, join) })
end

function Pipeline:limit(count, start)
  if start == nil then start = 0 end
  if type(count) ~= "number" or not (count >= 0) or type(start) ~= "number" or not (start >= 0) then
    error("gears: bad argument to 'limit' (numbers not below 0 expected)", 2)
  end
  return add(self, { kind = "limit", count = floor(count), start = floor(start) })
end

function Pipeline:collect() return add(self, { kind = "collect" }) end

local function group_list(value, level)
  if value == nil then return nil end
  local list = type(value) == "table" and value or { value }
  for _, guid in ipairs(list) do
    if type(guid) ~= "string" then bad("group", "GUID or list of GUIDs", guid, level + 1) end
  end
  return list
end

local function new(_, reader, args)
  local kind = READERS[reader]
  if not kind then error("gears: there is no reader '" .. tostring(reader) .. "'; there are: " .. READER_NAMES, 2) end
  if args == nil then args = {} end
  if type(args) ~= "table" then bad("arguments of " .. reader, "table", args, 2) end
  local window = args.window
  if window ~= nil and (type(window) ~= "number" or not (window > 0 and window <= 86400)) then
    bad("window", "number of seconds up to 86400", window, 2)
  end
  local groups = group_list(args.group, 2)
  if reader == "counters" and not groups then error("gears: counters: say of which group: group = GUID", 2) end
  local from, to = args.from, args.to
  if from ~= nil and type(from) ~= "number" then bad("from", "seconds", from, 2) end
  if to ~= nil and type(to) ~= "number" then bad("to", "seconds", to, 2) end
  return setmetatable({
    reader = reader, steps = {}, window = window, most = whole(args, "limit", 2) or LIMIT, groups = groups,
    protocol = text(args, "protocol", 2) or IPV4, store = text(args, "store", 2), from = from, to = to,
  }, meta)
end

--- register -----------------------------------------------------------------------------------------------------------

local MODES = { sync = "sync", async = "async_local", async_local = "async_local" }

function Pipeline:register(options)
  if options == nil then options = {} end
  if type(options) ~= "table" then bad("register", "table", options, 2) end
  if self.begun then error("gears: the pipeline was registered or run; begin a new one with T.gears()", 2) end
  if not loading then
    error("gears: register() belongs where the file is run, outside of functions: what a file registers is known when it has "
      .. "been loaded", 2)
  end
  local mode = MODES[options.mode or "sync"]
  if not mode then error("gears: mode: sync, async_local or async expected, got " .. tostring(options.mode), 2) end
  numbers[self.reader] = (numbers[self.reader] or 0) + 1
  self.name = text(options, "name", 2) or self.reader .. "-" .. numbers[self.reader]
  if not find(self.name, "^[%w_.-]+$") or #self.name > 64 then
    error("gears: name: up to 64 letters, digits, '.', '-' and '_' expected", 2)
  end
  for _, other in ipairs(pipelines) do
    if other.name == self.name then error("gears: there is a pipeline '" .. self.name .. "' already", 2) end
  end
  self.mode, self.asked_mode, self.begun = mode, options.mode or "sync", true
  self.onregistered, self.onresult = callback(options, "onregistered", 2), callback(options, "onresult", 2)
  self.keep = options.keep ~= nil and whole(options, "keep", 2) or KEEP
  self.timeout = options.timeout
  if self.timeout ~= nil and type(self.timeout) ~= "number" then bad("timeout", "seconds", self.timeout, 2) end
  if #pipelines >= 64 then error("gears: a file has at most 64 pipelines", 2) end
  pipelines[#pipelines + 1] = self
  return self
end

--- Executions in a VM of an engine ------------------------------------------------------------------------------------

local compiled = {}

-- Calls a function so that its failure, which the handler tells of, ends nothing else.
local function guard(f, ...)
  local ok, unhandled = xpcall(f, host.on_error, ...)
  if not ok and unhandled ~= nil then error(unhandled, 0) end
  return ok
end

local function keep_results(self, results, errors)
  local kept = self.kept
  if #kept >= self.keep then remove(kept, 1) end
  kept[#kept + 1] = { results = results, errors = errors or {} }
end

-- Hands results to whoever waits for them.
local function deliver(self, engine, results, errors)
  keep_results(self, results, errors)
  if not self.onresult then return end
  host.mark[0] = self.base + #self.steps + 1
  self.onresult(engine, results, errors or {})
  host.mark[0] = 0
end

-- What is sent to a worker: only what can travel.
local function order_of(self)
  local steps = {}
  for i, step in ipairs(self.steps) do
    steps[i] = {
      kind = step.kind, f = step.f, g = step.g, h = step.h, zero = step.zero, count = step.count, start = step.start,
    }
  end
  return { reader = self.reader, limit = self.most, steps = steps }
end

local HANDED, UNFINISHED = 5, 6

-- Adds what a worker counted to the numbers of this VM.
local function add_numbers(self, counted)
  local c = self.c
  for at, number in pairs(counted) do
    -- What an event offered was counted where it happened; rows of the store are counted by the worker.
    if at ~= 0 or self.counts_rows then c[at] = c[at] + number end
  end
end

local function hand_over(self, list)
  local c, order = self.c, order_of(self)
  local function failed(message)
    c[UNFINISHED] = c[UNFINISHED] + 1
    host.noted(self.base, message)
  end
  c[HANDED] = c[HANDED] + 1
  local id = host.async.schedule {
    data = list, timeout = self.timeout,
    onexecute = function(list) return T.gears.execute(order, list) end,
    onresult = function(engine, _, answer)
      add_numbers(self, answer.numbers)
      for _, what in ipairs(answer.errors) do host.noted(self.base + what.step, what.message) end
      if answer.keeps and (self.window or #answer.results > 0 or #answer.errors > 0) then
        deliver(self, engine, answer.results, answer.errors)
      end
    end,
    onerror = function(_, _, message) failed(message) end,
    ontimeout = function() failed("the worker took too long") end,
    oncancel = function() failed("cancelled") end,
  }
  return id
end

-- The function that a callback calls with the engine and a record.
local function entry_of(self)
  local flag, c, mark = self.flag, self.c, host.mark
  local made, width = self.made, self.window
  local is_async = self.mode == "async_local"
  local travel = is_async and (self.reader == "packets" and records.travelling or function(record)
    record.object = nil
    return record
  end)
  local feed, begin, finish, take = nil, nil, nil, nil
  if not is_async then feed, begin, finish, take = made.feed, made.begin, made.finish, made.take end

  if not width then
    if is_async then
      return function(engine, record)
        if flag[0] ~= 0 then c[0], c[1] = c[0] + 1, c[1] + 1 return end
        c[0] = c[0] + 1
        hand_over(self, { travel(record) })
      end
    end
    if not made.is_open then
      return function(engine, record)
        c[0] = c[0] + 1
        if flag[0] ~= 0 then c[1] = c[1] + 1 return end
        feed(record, engine)
        mark[0] = 0
      end
    end
    return function(engine, record)
      c[0] = c[0] + 1
      if flag[0] ~= 0 then c[1] = c[1] + 1 return end
      begin()
      feed(record, engine)
      finish(engine, false)
      mark[0] = 0
      local results, n = take()
      if n > 0 then deliver(self, engine, results) end
    end
  end

  -- Windows: of the time of records, aligned to their width.
  local open, close_at, waiting, held = false, 0, {}, 0
  local time_of = self.reader == "packets" and function(layer)
    return tonumber(layer:packet()._slot.nanos) / 1e9
  end or function(record) return record.time or record.stop end
  local limit = self.most

  local function close(engine)
    open = false
    c[4] = c[4] + 1
    if is_async then
      local list = waiting
      waiting, held = {}, 0
      if #list > 0 then hand_over(self, list) end
      return
    end
    finish(engine, true)
    mark[0] = 0
    local results, n = take()
    if n > 0 or made.keeps then guard(deliver, self, engine, results) end
  end

  local function move_on(engine, now)
    if open then close(engine) end
    if not is_async then begin() end
    open, close_at = true, (floor(now / width) + 1) * width
    local number = c[4]
    -- At the end of the input time runs on to it.
    host.managed.after(close_at - now, function()
      if open and c[4] == number then guard(close, host.engine) end
    end)
  end
  self.close_window = function() if open then guard(close, host.engine) end end

  return function(engine, record)
    c[0] = c[0] + 1
    if flag[0] ~= 0 then c[1] = c[1] + 1 return end
    local now = time_of(record)
    if not open or now >= close_at then move_on(engine, now) end
    if is_async then
      if held >= limit then c[3] = c[3] + 1 return end
      held = held + 1
      waiting[held] = travel(record)
      return
    end
    feed(record, engine)
    mark[0] = 0
  end
end

local plugin_name

-- Where the host keeps what is counted of a pipeline.
local function take_seat(self)
  local steps = {}
  for i, step in ipairs(self.steps) do steps[i] = { step.kind, step.place, plan.makes[step.kind] or false } end
  local flag, numbers_at, base = host.seat(plugin_name, self.name, self.reader, self.asked_mode, self.window or 0, steps)
  self.flag, self.c, self.base = ffi.cast("const int32_t *", flag), ffi.cast("double *", numbers_at), base
end

local function compile(self)
  take_seat(self)
  self.kept = {}
  if self.mode == "sync" then
    self.made = plan.compile(self.steps, { c = self.c, mark = host.mark, base = self.base, limit = self.most, guard = guard })
    if not self.made.is_open then self.made.begin() end
  end
  compiled[#compiled + 1] = self
  return entry_of(self)
end

--- From pipelines to blocks -------------------------------------------------------------------------------------------

local function is_meant(self, group)
  if not self.groups or not group then return true end
  for _, guid in ipairs(self.groups) do
    if lower(guid) == lower(group) then return true end
  end
  return false
end

-- All entries of a callback as one. What fails ends its own pipeline only: all but the last are called protected.
local function together(entries)
  local n = #entries
  if n == 1 then return entries[1] end
  local last = entries[n]
  return function(engine, record)
    for i = 1, n - 1 do guard(entries[i], engine, record) end
    last(engine, record)
  end
end

local function callback_of(reader, entries, group)
  local run = together(entries)
  if reader == "packets" then return run end
  local make = records[reader]
  if reader == "counters" then
    return function(engine, time, key, metrics)
      if key ~= TOTALS then run(engine, make(time, key, metrics, group)) end
    end
  end
  return function(engine, object) run(engine, make(object, group)) end
end

-- Makes the blocks of what was registered. `block` is that of this VM, nil where a file is only looked at; `group` is the one
-- that the VM is bound to.
local function settle(plugin, block, group)
  loading = false
  local id = type(plugin) == "table" and type(plugin.id) == "table" and plugin.id.name
  plugin_name = type(id) == "string" and id or host.file
  if #pipelines == 0 then return end
  if type(plugin) ~= "table" then error("gears: the file registers pipelines but has no table TrisulPlugin", 0) end
  local of_block, made = {}, {}
  for _, self in ipairs(pipelines) do
    local kind = READERS[self.reader]
    local list = of_block[kind.block]
    if not list then
      if plugin[kind.block] ~= nil or plugin[kind.other] ~= nil then
        error(format("gears: the pipeline '%s' needs the block %s, which the file has already; put one of them into a file of "
          .. "its own", self.name, kind.block), 0)
      end
      list = {}
      of_block[kind.block], made[#made + 1] = list, kind.block
    end
    list[#list + 1] = self
  end
  local registered, windowed = {}, {}
  for _, block_name in ipairs(made) do
    local list, table = of_block[block_name], {}
    local kind = READERS[list[1].reader]
    if block_name == "simplecounter" then
      table.protocol_guid = list[1].protocol
      for _, self in ipairs(list) do
        if lower(self.protocol) ~= lower(table.protocol_guid) then
          error(format("gears: '%s' and '%s' are about different protocols; put them into files of their own", list[1].name,
            self.name), 0)
        end
      end
    else
      local guids = {}
      for _, self in ipairs(list) do
        if not self.groups then
          guids = kind.all or nil
          break
        end
        for _, guid in ipairs(self.groups) do guids[#guids + 1] = guid end
      end
      table[kind.group] = guids
    end
    local entries = {}
    for _, self in ipairs(list) do
      entries[self.reader] = entries[self.reader] or {}
      local mine = entries[self.reader]
      if block == block_name and is_meant(self, group) then
        mine[#mine + 1] = compile(self)
        windowed[#windowed + 1] = self.close_window and self or nil
        if self.onregistered then registered[#registered + 1] = self end
      end
    end
    for reader, mine in pairs(entries) do
      -- Where a file is only looked at, that there is a callback is enough.
      if block == nil then table[READERS[reader].callback] = function() end
      elseif #mine > 0 then table[READERS[reader].callback] = callback_of(reader, mine, group) end
    end
    plugin[block_name] = table
  end
  if #windowed > 0 then
    -- At the end of the input all windows are closed; when a newer version of the file takes over, they are closed here.
    local before = plugin.onunload
    plugin.onunload = function(...)
      for _, self in ipairs(windowed) do self.close_window() end
      if before then return before(...) end
    end
  end
  if #registered > 0 then
    local before = plugin.onload
    plugin.onload = function(...)
      local answer
      if before then answer = before(...) end
      if answer ~= false then
        for _, self in ipairs(registered) do self.onregistered() end
      end
      return answer
    end
  end
end

--- run ----------------------------------------------------------------------------------------------------------------

-- Seats of what was run, by name and steps: however often it is run, it is one pipeline.
local seats, seat_count, MOST_SEATS = {}, 0, 64

local function seat_of_run(self)
  local text = self.name .. " " .. text_of(self)
  for _, step in ipairs(self.steps) do text = text .. " " .. step.place end
  local seat = seats[text]
  if not seat and seat_count < MOST_SEATS then
    take_seat(self)
    seat, seat_count = { c = self.c, base = self.base, flag = self.flag, counts_rows = true }, seat_count + 1
    seats[text] = seat
  end
  return seat
end

function Pipeline:run(options)
  if options == nil then options = {} end
  if type(options) ~= "table" then bad("run", "table", options, 2) end
  if self.begun then error("gears: the pipeline was registered or run; begin a new one with T.gears()", 2) end
  if loading then error("gears: run() belongs into a function, onload or a callback: the file itself is run once for each VM", 2) end
  if not READERS[self.reader].stored then
    error("gears: the store holds no " .. self.reader .. "; run() reads flows, alerts, resources, documents and counters", 2)
  end
  local onresult = callback(options, "onresult", 2)
  local timeout = options.timeout
  if timeout ~= nil and type(timeout) ~= "number" then bad("timeout", "seconds", timeout, 2) end
  local store = self.store or host.store()
  if not store then
    error("gears: run() reads the store, and this run writes none; type: millstream run --store FILE ..., or name one with "
      .. "T.gears('" .. self.reader .. "', { store = FILE })", 2)
  end
  local name = text(options, "name", 2) or self.reader .. "-run"
  self.begun, self.name, self.mode, self.asked_mode = true, name, "run", "run"
  local seat = seat_of_run(self)
  if seat and seat.flag[0] ~= 0 then return nil, "the pipeline is paused or removed" end
  local order = order_of(self)
  order.store, order.groups, order.from, order.to = store, self.groups, self.from, self.to
  local function ended(engine, results, errors)
    if seat then
      for _, what in ipairs(errors) do host.noted(seat.base + what.step, what.message) end
    end
    if onresult then onresult(engine, results, errors) end
  end
  local function unfinished(engine, message)
    if seat then seat.c[UNFINISHED] = seat.c[UNFINISHED] + 1 end
    ended(engine, {}, { { step = 0, message = message }, total = 1 })
  end
  if seat then seat.c[HANDED] = seat.c[HANDED] + 1 end
  return host.async.schedule {
    timeout = timeout, priority = options.priority,
    onexecute = function() return T.gears.read(order) end,
    onresult = function(engine, _, answer)
      if seat then add_numbers(seat, answer.numbers) end
      ended(engine, answer.results, answer.errors)
    end,
    onerror = function(engine, _, message) unfinished(engine, message) end,
    ontimeout = function(engine) unfinished(engine, "timed out") end,
    oncancel = function(engine) unfinished(engine, "cancelled") end,
  }
end

--- Looking at them ----------------------------------------------------------------------------------------------------

local function either(f)
  return function(first, ...)
    if first == gears then return f(...) end
    return f(first, ...)
  end
end

local function named(name)
  for _, self in ipairs(compiled) do
    if self.name == name then return self end
  end
end

gears.list = either(function() return host.list() end)
gears.plan = either(function(name) return host.plan(tostring(name)) end)
gears.results = either(function(name)
  local self = named(name)
  local list = {}
  for i, kept in ipairs(self and self.kept or {}) do list[i] = kept end
  return list
end)

return setmetatable(gears, { __call = new, __metatable = false }), settle
