-- T.ac and its objects. An object is an empty userdata; the native function that holds its automaton is kept beside it.
local t, arguments, build = ...
local getmetatable, ipairs, newproxy, rawequal, setmetatable = getmetatable, ipairs, newproxy, rawequal, setmetatable
local format, type = string.format, type
local refuse, text = arguments.refuse, arguments.text

local handles = setmetatable({}, { __mode = "k" })
local prototype = newproxy(true)
local methods = {}
local metatable = getmetatable(prototype)
metatable.__index = methods
metatable.__metatable = false

function metatable.__tostring(self)
  return format("ac: %p", self)
end

function t.ac(patterns, extra)
  if rawequal(patterns, t) and extra ~= nil then patterns = extra end
  if type(patterns) ~= "table" then refuse(1, "ac", "table", patterns) end
  local list = {}
  for i, pattern in ipairs(patterns) do
    list[i] = text(pattern, 1, "ac")
  end
  local object = newproxy(prototype)
  handles[object] = build(list)
  return object
end

local function define(name, first_only)
  methods[name] = function(self, subject)
    subject = text(subject, 1, name)
    local native = self ~= nil and handles[self]
    if not native then refuse(1, name, "ac", self) end
    if not subject then return {} end
    return native(first_only, subject)
  end
end

define("match_all", false)
define("match_one", true)
