-- require "inspect": callable, inspect.inspect; order, cycles, metatables, options
local inspect = require "inspect"
local function is(value, text, options)
  local got = inspect(value, options)
  if got ~= text then error("expected " .. text .. "\n     got " .. got, 2) end
end
is(1, "1")
is("a", '"a"')
is('say "hi"', [['say "hi"']])
is([[both ' and "]], [["both ' and \""]])
is("a\nb\0\127\\", [["a\nb\0\127\\"]])
is(nil, "nil")
is({}, "{}")
is({ 1, 2, 3 }, "{ 1, 2, 3 }")
is({ b = 1, a = 2 }, "{\n  a = 2,\n  b = 1\n}")
is({ 1, x = { y = true } }, "{ 1,\n  x = {\n    y = true\n  }\n}")
is({ ["a b"] = 1, ["end"] = 2, [10] = 3, [true] = 4 }, '{\n  [10] = 3,\n  [true] = 4,\n  ["a b"] = 1,\n  ["end"] = 2\n}')
is({ { ORIGIN = "IGP" }, { 30, 36 } }, '{ {\n    ORIGIN = "IGP"\n  }, { 30, 36 } }')
local loop = { name = "x" }
loop.self = loop
is(loop, '<1>{\n  name = "x",\n  self = <table 1>\n}')
is({ print, print, tostring }, "{ <function 1>, <function 1>, <function 2> }")
is(setmetatable({ 1 }, { __index = {} }), "{ 1,\n  <metatable> = {\n    __index = {}\n  }\n}")
is({ a = { b = { c = 1 } } }, "{\n  a = {...}\n}", { depth = 1 })
is({ a = 1, b = 2 }, "{@>a = 1,@>b = 2@}", { newline = "@", indent = ">" })
is({ a = 1, secret = 2 }, "{\n  a = 1\n}", { process = function(item, path)
  if path[#path] ~= "secret" then return item end
end })
local inner = inspect.inspect({ setmetatable({}, {}) }, { process = function(item, path)
  if path[#path] ~= inspect.METATABLE then return item end
end })
assert(inner == "{ {} }", inner)
assert(inspect.inspect({ 1 }) == "{ 1 }")
local deep = {}
for _ = 1, 100000 do deep = { deep } end
assert(inspect(deep):find("{...}", 1, true))
assert(inspect(1LL) == "1LL")
-- A table that answers for missing keys is shown as it is.
is(setmetatable({}, { __index = function() error("asked") end, __metatable = false }), "{}")
