-- Argument conversions of the plugin API.
--
-- Written in Lua so that they become part of the caller's compiled code, and so that a wrong argument raises a plain
-- string with the position of the plugin's own line. Every function here is called directly by an API function that
-- the plugin called, which is why the error level is fixed.
local error, format, tonumber, tostring, type = error, string.format, tonumber, tostring, type

local arguments = {}

-- Levels: 1 fail, 2 the conversion, 3 the API function, 4 the plugin.
local function fail(position, name, expected, value)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", position, name, expected, type(value)), 4)
end

--- Raises the error for an argument that an API function checked itself.
function arguments.refuse(position, name, expected, value)
  fail(position, name, expected, value)
end

--- A number, or what converts to one; anything else is an error.
function arguments.number(value, position, name)
  local kind = type(value)
  if kind == "number" then return value end
  if kind == "string" or kind == "cdata" then
    local converted = tonumber(value)
    if converted then return converted end
  end
  fail(position, name, "number", value)
end

--- As `number`, with nil allowed.
function arguments.optional_number(value, position, name)
  local kind = type(value)
  if kind == "number" or kind == "nil" then return value end
  if kind == "string" or kind == "cdata" then
    local converted = tonumber(value)
    if converted then return converted end
  end
  fail(position, name, "number", value)
end

--- A string, a number as text, or nil; anything else is an error.
function arguments.text(value, position, name)
  local kind = type(value)
  if kind == "string" or kind == "nil" then return value end
  if kind == "number" then return tostring(value) end
  if kind == "cdata" then
    local converted = tonumber(value)
    if converted then return tostring(converted) end
  end
  fail(position, name, "string", value)
end

return arguments
