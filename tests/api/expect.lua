-- Helpers of the test files.
local inspect = require "inspect"

--- Both values are equal, tables by content.
function expect(actual, expected)
  local a, e = inspect(actual), inspect(expected)
  if a ~= e then error("expected " .. e .. "\n     got " .. a, 2) end
end

--- The results of a call, their number included.
function expect_results(expected, ...)
  local count = select("#", ...)
  if count ~= #expected then error("expected " .. #expected .. " results, got " .. count, 2) end
  for i = 1, count do
    local value = select(i, ...)
    if value ~= expected[i] and not (value == nil and expected[i] == NIL) then
      error("result " .. i .. ": expected " .. inspect(expected[i]) .. ", got " .. inspect(value), 2)
    end
  end
end

--- Stands for nil in the list of expected results.
NIL = setmetatable({}, { __tostring = function() return "NIL" end })

--- The call raises a string that contains the text and names this file.
function expect_error(text, f, ...)
  local ok, reason = pcall(f, ...)
  if ok then error("no error, expected " .. text, 2) end
  if type(reason) ~= "string" then error("the error is a " .. type(reason) .. ": " .. tostring(reason), 2) end
  if not reason:find(text, 1, true) then error("expected error " .. text .. "\n           got " .. reason, 2) end
  return reason
end

function read_file(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

function hex(text)
  return (text:gsub("%s", ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end
