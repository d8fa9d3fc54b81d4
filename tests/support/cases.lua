-- Cases of a Lua test file: each prints "ok NAME" or "FAIL NAME: why".
local M = {}

local function show(v)
  if type(v) == "string" then return string.format("%q", v) end
  return tostring(v)
end

-- Values are the same; NaN is the same as itself.
function M.equal(got, want, what)
  if got ~= want and (got == got or want == want) then
    error(string.format("%s: got %s, want %s", what or "value", show(got), show(want)), 2)
  end
end

-- All results are the same, their number included.
function M.results(want, ...)
  local n = select("#", ...)
  local got = { ... }
  local texts, wanted = {}, {}
  for i = 1, n do texts[i] = show(got[i]) end
  for i = 1, want.n or #want do wanted[i] = show(want[i]) end
  local a, b = table.concat(texts, ", "), table.concat(wanted, ", ")
  if a ~= b then error("got (" .. a .. "), want (" .. b .. ")", 2) end
end

-- The call fails, and its message contains the text.
function M.fails(text, f, ...)
  local ok, message = pcall(f, ...)
  if ok then error("no error, want " .. show(text), 2) end
  if not string.find(tostring(message), text, 1, true) then
    error("error " .. show(tostring(message)) .. " does not contain " .. show(text), 2)
  end
end

function M.case(name, f)
  local ok, message = xpcall(f, debug.traceback)
  print((ok and "ok " or "FAIL ") .. name .. (ok and "" or ": " .. tostring(message)))
end

return M
