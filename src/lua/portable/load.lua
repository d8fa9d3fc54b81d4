-- What a loader keeps in its VM: wrappers by number, known values by number, and three functions.
local loaded, require, error, rawget, type = package.loaded, require, error, rawget, type
local select = select
local available, ffi = pcall(require, "ffi")
local int64, uint64
if available then int64, uint64 = ffi.typeof("int64_t"), ffi.typeof("uint64_t") end
local known = {}

local function integer(signed, high, low)
  if not available then return nil end
  if signed then return int64(high) * 4294967296 + low end
  return uint64(high) * 4294967296 + low
end

-- The inner function assigns, so that the compiler does not take the variable for a constant.
local function variable(value)
  return function(new) value = new end
end

local function resolve(index, module, ...)
  local value = loaded[module]
  if value == nil then value = require(module) end
  for i = 1, select("#", ...) do
    if type(value) ~= "table" then value = nil break end
    value = rawget(value, (select(i, ...)))
  end
  known[index] = value
end

return { {}, known, integer, variable, resolve }
