-- T.re2 and its objects. An object is an empty userdata; the native function that holds its pattern is kept beside it.
local t, arguments, compile = ...
local getmetatable, newproxy, pairs, rawequal, setmetatable = getmetatable, newproxy, pairs, rawequal, setmetatable
local format, type = string.format, type
local refuse, text = arguments.refuse, arguments.text

local handles = setmetatable({}, { __mode = "k" })
-- Objects made without options, as long as somebody holds them: scripts compile literals inside callbacks.
local known = setmetatable({}, { __mode = "v" })
local prototype = newproxy(true)
local methods = {}
local metatable = getmetatable(prototype)
metatable.__index = methods
metatable.__metatable = false

function metatable.__tostring(self)
  return format("re2: %p", self)
end

function t.re2(pattern, options, extra)
  if rawequal(pattern, t) then pattern, options = options, extra end
  pattern = text(pattern, 1, "re2")
  if not pattern then refuse(1, "re2", "string", pattern) end
  if options == nil then
    local object = known[pattern]
    if object then return object end
  elseif type(options) ~= "table" then
    refuse(2, "re2", "table", options)
  end
  local object = newproxy(prototype)
  handles[object] = compile(pattern, options)
  if options == nil then known[pattern] = object end
  return object
end

-- Numbers of the operations of the native function.
local OPERATIONS = { partial_match = 0, full_match = 1, partial_match_n = 2, full_match_n = 3, partial_match_c1 = 4, partial_match_c2 = 5 }

for name, operation in pairs(OPERATIONS) do
  methods[name] = function(self, subject)
    subject = text(subject, 1, name)
    local native = self ~= nil and handles[self]
    if not native then refuse(1, name, "re2", self) end
    return native(operation, subject)
  end
end
