-- inspect: values as text for people, in an order that does not change from run to run.
local concat, find, floor, format, getmetatable = table.concat, string.find, math.floor, string.format, getmetatable
local gsub, pairs, rawget, rep, sort = string.gsub, pairs, rawget, string.rep, table.sort
local setmetatable, tostring, type = setmetatable, tostring, type

local inspect = {
  KEY = setmetatable({}, { __tostring = function() return "inspect.KEY" end }),
  METATABLE = setmetatable({}, { __tostring = function() return "inspect.METATABLE" end }),
}

-- Deeper tables are shortened even if no depth is asked for; the VM's stack ends somewhere.
local MAX_DEPTH = 128

local ESCAPES = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\v"] = "\\v", ["\127"] = "\\127" }
for code = 0, 31 do
  local c = string.char(code)
  ESCAPES[c] = ESCAPES[c] or "\\" .. code
end

local function quoted(text)
  text = gsub(gsub(text, "\\", "\\\\"), "[%c\127]", ESCAPES)
  if find(text, '"', 1, true) and not find(text, "'", 1, true) then return "'" .. text .. "'" end
  return '"' .. gsub(text, '"', '\\"') .. '"'
end

local KEYWORDS = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch "%a+" do
  KEYWORDS[word] = true
end

local function is_identifier(key)
  return type(key) == "string" and find(key, "^[%a_][%w_]*$") ~= nil and not KEYWORDS[key]
end

local ORDER = { number = 1, boolean = 2, string = 3, table = 4, ["function"] = 5, userdata = 6, thread = 7, cdata = 8 }

-- Objects without a natural order keep the one in which they are numbered.
local function key_order(ids)
  return function(a, b)
    local kind_a, kind_b = type(a), type(b)
    if kind_a ~= kind_b then return ORDER[kind_a] < ORDER[kind_b] end
    if kind_a == "number" or kind_a == "string" then return a < b end
    if kind_a == "boolean" then return not a and b end
    return (ids[a] or 0) < (ids[b] or 0)
  end
end

local function sequence_length(value)
  local length = 0
  while rawget(value, length + 1) ~= nil do length = length + 1 end
  return length
end

-- A copy in which every item went through the caller's function; an item it returns nil for is left out.
local function processed(process, item, path, seen)
  if item == nil then return nil end
  local result = process(item, path)
  if type(result) ~= "table" then return result end
  if seen[item] ~= nil then return seen[item] end
  local copy = {}
  seen[item] = copy
  local function below(last, extra)
    local longer = {}
    for i = 1, #path do longer[i] = path[i] end
    longer[#longer + 1] = last
    longer[#longer + 1] = extra
    return longer
  end
  if #path < MAX_DEPTH then
    for key, value in next, result do
      local new_key = processed(process, key, below(key, inspect.KEY), seen)
      if new_key ~= nil then copy[new_key] = processed(process, value, below(new_key), seen) end
    end
  end
  local meta = processed(process, getmetatable(result), below(inspect.METATABLE), seen)
  if type(meta) ~= "table" then meta = nil end
  return setmetatable(copy, meta)
end

local Writer = {}
Writer.__index = Writer

-- How often each table occurs, so that those that occur again can be given a number.
local function count(value, counts, depth)
  if type(value) ~= "table" then return end
  if counts[value] then
    counts[value] = counts[value] + 1
    return
  end
  counts[value] = 1
  if depth >= MAX_DEPTH then return end
  for key, item in next, value do
    count(key, counts, depth + 1)
    count(item, counts, depth + 1)
  end
  count(getmetatable(value), counts, depth + 1)
end

function Writer:id(value)
  local id = self.ids[value]
  if not id then
    local kind = type(value)
    id = (self.last_id[kind] or 0) + 1
    self.last_id[kind], self.ids[value] = id, id
  end
  return id
end

function Writer:put(text)
  self.out[#self.out + 1] = text
end

function Writer:line(level)
  self:put(self.newline .. rep(self.indent, level))
end

function Writer:value(value, level)
  local kind = type(value)
  if kind == "string" then
    self:put(quoted(value))
  elseif kind == "table" then
    self:table(value, level)
  elseif kind == "number" or kind == "boolean" or kind == "nil" or kind == "cdata" then
    self:put(tostring(value))
  else
    self:put(format("<%s %d>", kind, self:id(value)))
  end
end

function Writer:table(value, level)
  if value == inspect.KEY or value == inspect.METATABLE then return self:put(tostring(value)) end
  if self.ids[value] and self.written[value] then return self:put(format("<table %d>", self.ids[value])) end
  if level >= self.depth then return self:put("{...}") end
  if self.counts[value] and self.counts[value] > 1 then self:put(format("<%d>", self:id(value))) end
  self.written[value] = true

  local length, keys = sequence_length(value), {}
  for key in next, value do
    local in_sequence = type(key) == "number" and key >= 1 and key <= length and floor(key) == key
    if not in_sequence then keys[#keys + 1] = key end
  end
  sort(keys, key_order(self.ids))
  local meta = getmetatable(value)
  local has_meta = type(meta) == "table"

  self:put("{")
  local items = 0
  for i = 1, length do
    if items > 0 then self:put(",") end
    self:put(" ")
    self:value(rawget(value, i), level + 1)
    items = items + 1
  end
  for _, key in pairs(keys) do
    if items > 0 then self:put(",") end
    self:line(level + 1)
    if is_identifier(key) then
      self:put(key)
    else
      self:put("[")
      self:value(key, level + 1)
      self:put("]")
    end
    self:put(" = ")
    self:value(rawget(value, key), level + 1)
    items = items + 1
  end
  if has_meta then
    if items > 0 then self:put(",") end
    self:line(level + 1)
    self:put("<metatable> = ")
    self:value(meta, level + 1)
  end
  if #keys > 0 or has_meta then
    self:line(level)
  elseif length > 0 then
    self:put(" ")
  end
  self:put("}")
end

--- The value as text. Options: `depth`, `newline`, `indent`, `process(item, path)`.
function inspect.inspect(value, options)
  options = options or {}
  if options.process then value = processed(options.process, value, {}, {}) end
  local depth = options.depth
  if not depth or depth > MAX_DEPTH then depth = MAX_DEPTH end
  local writer = setmetatable({
    out = {},
    ids = {},
    last_id = {},
    written = {},
    counts = {},
    depth = depth,
    newline = options.newline or "\n",
    indent = options.indent or "  ",
  }, Writer)
  count(value, writer.counts, 0)
  writer:value(value, 0)
  return concat(writer.out)
end

return setmetatable(inspect, { __call = function(_, value, options) return inspect.inspect(value, options) end })
