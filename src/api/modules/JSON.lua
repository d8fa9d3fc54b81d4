-- The interface scripts expect of a module named JSON, around a native parser and writer. Functions are meant to be
-- called as methods; the leading table may be left out.
local native_decode, native_encode = ...
local error, getmetatable, rawequal, setmetatable, tostring, type = error, getmetatable, rawequal, setmetatable, tostring, type

local JSON = { VERSION = "1.0", strictTypes = false }
JSON.__index = JSON

-- Marks for tables that could be either.
local ARRAY, OBJECT = { __tostring = function() return "JSON array" end }, { __tostring = function() return "JSON object" end }
local KINDS = { array = ARRAY, object = OBJECT }

local function is_json(value)
  return rawequal(value, JSON) or type(value) == "table" and rawequal(getmetatable(value), JSON)
end

-- Overridable, as scripts do: the text and the position come along.
function JSON:onDecodeError(message, text, location, etc)
  error("JSON:decode: " .. message, 0)
end

function JSON:onDecodeOfNil(message, text, location, etc)
  error("JSON:decode: " .. message, 0)
end

function JSON:onEncodeError(message, etc)
  error("JSON:encode: " .. message, 0)
end

local function decode(self, text, etc, options)
  if type(text) == "number" then text = tostring(text) end
  if text == nil then return self:onDecodeOfNil("nil is not JSON text", nil, nil, etc) end
  if type(text) ~= "string" then
    return self:onDecodeError("expected a string, got " .. type(text), nil, nil, etc)
  end
  local null
  if type(options) == "table" then null = options.null end
  local ok, value, location = native_decode(text, null, self.strictTypes and KINDS or nil)
  if ok then return value end
  return self:onDecodeError(value, text, location, etc)
end

local function encode(self, value, etc, options, pretty)
  local choices = { array = ARRAY, object = OBJECT }
  if type(options) == "table" then
    choices.null = options.null
    if options.pretty ~= nil then pretty = options.pretty and true or false end
  end
  local text, reason = native_encode(value, pretty, choices)
  if text then return text end
  return self:onEncodeError(reason, etc)
end

function JSON.decode(self, ...)
  if is_json(self) then return decode(self, ...) end
  return decode(JSON, self, ...)
end

function JSON.encode(self, value, etc, options)
  if is_json(self) then return encode(self, value, etc, options, false) end
  return encode(JSON, self, value, etc, false)
end

function JSON.encode_pretty(self, value, etc, options)
  if is_json(self) then return encode(self, value, etc, options, true) end
  return encode(JSON, self, value, etc, true)
end

--- The table, marked to be written as an array even if empty.
function JSON.newArray(self, list)
  if not is_json(self) then list = self end
  return setmetatable(list or {}, ARRAY)
end

--- The table, marked to be written as an object even if empty.
function JSON.newObject(self, map)
  if not is_json(self) then map = self end
  return setmetatable(map or {}, OBJECT)
end

--- A copy of the module with settings and handlers of its own.
function JSON:new(settings)
  local copy = {}
  if type(settings) == "table" then
    for key, value in pairs(settings) do copy[key] = value end
  end
  return setmetatable(copy, JSON)
end

return JSON
