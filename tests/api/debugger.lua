-- require "debugger": nothing happens without a terminal; with one, a prompt
local debugger = require "debugger"
debugger.is_terminal = function() return false end
debugger()
debugger(false)

local input, output
local function with(...)
  input, output = { ... }, {}
end
debugger.read = function() return table.remove(input, 1) end
debugger.write = function(text) output[#output + 1] = text end
debugger.is_terminal = function() return true end

local outside = 5
local function stopped(first)
  local second = first + outside
  debugger()
  return second
end

with("l", "u", "second * 2", "p first", "e second = 99", "outside = 7", "nonsense +", "error('x')", "bt", "up", "down", "h", "", "c")
local result = stopped(1)
expect(result, 99)
expect(outside, 7)
local text = table.concat(output, "\n")
for _, expected in ipairs { "stopped at ", "first = 1", "second = 6", "outside = 5", "\n12\n", "near '+'", "error: x", "> ", "expression" } do
  if not text:find(expected, 1, true) then error("no " .. expected .. " in\n" .. text) end
end

-- A condition that holds does not stop; the end of input goes on.
with()
debugger(true)
expect(#output, 0)
debugger(nil)
assert(output[1]:find("^stopped at "), output[1])

with("c")
local ok, reason = debugger.call(function() error("boom", 0) end)
expect(ok, false)
expect(reason, "boom")
expect(#output > 0, true)
with("c")
expect_error("why", function() debugger.assert(false, "why") end)
expect(debugger.assert(1, "why"), 1)
with("c")
expect_error("direct", function() debugger.error("direct") end)

with("q")
debugger()
with("c")
debugger()
expect(#output, 0)
