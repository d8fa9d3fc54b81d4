-- Helpers of a packer: an array of `refresh`, `describe`, `classify`, the table of known values, `trampoline`, `complete` and
-- `extend`.
-- Runs before any plugin code and keeps what it uses in locals, as plugins may replace anything.
local loaded, preload = package.loaded, package.preload
local next, type, pcall, format, concat = next, type, pcall, string.format, table.concat
local dump, compile, ipairs = string.dump, loadstring, ipairs
local getinfo, package, rawget, _G = debug.getinfo, package, rawget, _G
local funcinfo = require("jit.util").funcinfo
local tostring, find, gsub = tostring, string.find, string.gsub

-- A known value has a number, under which are kept the last part of its name and the number of the table it was found in,
-- 0 for a module: most VMs never ask for a whole name.
local known, parts, owners, count, modules = {}, {}, {}, 0, {}

local function add(value, part, owner, depth)
  local kind = type(value)
  if (kind ~= "table" and kind ~= "function") or known[value] then return end
  count = count + 1
  local number = count
  known[value], parts[number], owners[number] = number, part, owner
  if kind == "table" and depth > 0 and value ~= loaded and value ~= preload then
    for key, field in next, value do
      if type(key) == "string" and not find(key, "[%z\n]") then add(field, key, number, depth - 1) end
    end
  end
end

local function name_of(number)
  local name, owner = parts[number], owners[number]
  while owner > 0 do
    name, owner = parts[owner] .. "\0" .. name, owners[owner]
  end
  return name
end

-- Standard libraries go first, so that `string.format` is not named by way of `_G`.
for _, name in next, { "string", "table", "math", "io", "os", "debug", "coroutine", "package", "bit", "jit", "ffi", "jit.util", "jit.opt" } do
  if loaded[name] then
    add(loaded[name], name, 0, 1)
    modules[name] = loaded[name]
  end
end
add(_G, "_G", 0, 5)
for name, value in next, loaded do
  add(value, name, 0, 2)
  modules[name] = value
end

-- Names what is found in a table that has a name: the fields given.
local function extend(value, fields)
  local number = known[value]
  for key, field in next, fields do
    if type(key) == "string" then add(field, key, number, 3) end
  end
end

-- Names a global table, and what was added to it since then.
local function complete(name)
  local value = rawget(_G, name)
  if type(value) ~= "table" then return end
  if not known[value] then
    count = count + 1
    known[value], parts[count], owners[count] = count, name, known[_G]
  end
  extend(value, value)
end

-- A module counts as known only if another VM can load it under its name.
local function loadable(name)
  for _, loader in ipairs(package.loaders) do
    local fine, found = pcall(loader, name)
    if fine and type(found) == "function" then return true end
  end
  return false
end

-- Numbers modules loaded since the last time; gives the names added from number `from` on.
local function refresh(from)
  for name, value in next, loaded do
    if modules[name] ~= value and type(name) == "string" then
      modules[name] = value
      local kind = type(value)
      if (kind == "table" or kind == "function") and not find(name, "[%z\n]") and loadable(name) then add(value, name, 0, 2) end
    end
  end
  if count < from then return end
  local names = {}
  for number = from, count do names[number] = name_of(number) end
  return concat(names, "\n", from, count)
end

local prototypes, templates = {}, {}

local function template(count)
  local found = templates[count]
  if not found then
    local params = {}
    for i = 1, count do params[i] = "v" .. i end
    params = concat(params, ",")
    -- The inner function captures the parameters in order and so stands for any function with as many variables.
    found = dump(compile(format("return function(%s) return function() return %s end end", params, params))())
    templates[count] = found
  end
  return found
end

-- Bytecode of a function, of its wrapper, its prototype (which stays alive from here on) and place.
local function describe(f, forget)
  if forget then prototypes = {} end
  local prototype = funcinfo(f).proto
  prototypes[prototype] = true
  local info = getinfo(f, "Su")
  return dump(f), template(info.nups), prototype, info.short_src .. ":" .. info.linedefined
end

-- 1 and 2 for signed and unsigned 64-bit integers with their digits, else 0.
local available, ffi = pcall(require, "ffi")
local int64, uint64, istype
if available then int64, uint64, istype = ffi.typeof("int64_t"), ffi.typeof("uint64_t"), ffi.istype end
local function classify(value)
  if not available then return 0, "" end
  if istype(int64, value) then return 1, (gsub(tostring(value), "LL$", "")) end
  if istype(uint64, value) then return 2, (gsub(tostring(value), "ULL$", "")) end
  return 0, ""
end

local function trampoline(f) return function(...) return f(...) end end

return { refresh, describe, classify, known, trampoline, complete, extend }
