-- debugger: a prompt inside a running plugin. Calling the module stops there if a terminal is attached to standard
-- input and output, and does nothing otherwise, so that a forgotten call does no harm.
local host = ...
local debug, error, format, getfenv, io, loadstring = debug, error, string.format, getfenv, io, loadstring
local match, pcall, setfenv, setmetatable, sort = string.match, pcall, setfenv, setmetatable, table.sort
local tostring, type, unpack = tostring, type, unpack
local ffi = require "ffi"

local debugger = { enabled = true }

-- Redeclaring the same function is fine; a plugin may have declared it differently before.
pcall(ffi.cdef, "int isatty(int fd);")

--- Whether there is somebody to talk to. Replaceable, like `read` and `write`.
function debugger.is_terminal()
  local ok, both = pcall(function() return ffi.C.isatty(0) ~= 0 and ffi.C.isatty(1) ~= 0 end)
  return ok and both
end

local function ask(prompt)
  io.stdout:write(prompt)
  io.stdout:flush()
  return io.stdin:read "*l"
end

-- The time budget of the callback stands still meanwhile.
function debugger.read(prompt) return host.wait(ask, prompt) end

function debugger.write(text)
  io.stdout:write(text, "\n")
end

--- A value as one short text.
function debugger.pretty(value)
  if type(value) == "string" then
    local text = format("%q", value):gsub("\\\n", "\\n")
    return #text > 200 and text:sub(1, 200) .. "..." or text
  end
  if type(value) ~= "table" then return tostring(value) end
  local parts, total = {}, 0
  for key, item in next, value do
    total = total + 1
    if total <= 10 then
      local shown = type(item) == "table" and "{...}" or debugger.pretty(item)
      parts[#parts + 1] = tostring(key) .. " = " .. shown
    end
  end
  sort(parts)
  if total > 10 then parts[#parts + 1] = format("... %d more", total - 10) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local HELP = {
  "c  continue               bt   where we are, all frames",
  "l  local variables        up   one frame towards the caller",
  "u  upvalues               down one frame back",
  "p  <expression>           e    <statement>",
  "q  continue and never stop here again",
}

-- Variables of a frame by name, inner ones hiding outer ones of the same name.
local function variables(level)
  local names, values, where = {}, {}, {}
  local function add(name, value, place)
    if not match(name, "^[%a_]") then return end
    if not where[name] then names[#names + 1] = name end
    values[name], where[name] = value, place
  end
  local upvalues, info = {}, debug.getinfo(level + 1, "f")
  for i = 1, math.huge do
    local name, value = debug.getupvalue(info.func, i)
    if not name then break end
    upvalues[#upvalues + 1] = { name, value }
    add(name, value, { func = info.func, index = i })
  end
  local locals = {}
  for i = 1, math.huge do
    local name, value = debug.getlocal(level + 1, i)
    if not name then break end
    if match(name, "^[%a_]") then locals[#locals + 1] = { name, value } end
    add(name, value, { index = i })
  end
  return { values = values, where = where, locals = locals, upvalues = upvalues, func = info.func }
end

local function show(list)
  if #list == 0 then return debugger.write "(none)" end
  for i = 1, #list do debugger.write(format("%s = %s", list[i][1], debugger.pretty(list[i][2]))) end
end

-- Runs text with the frame's variables in reach. Assignments to them are kept in `changed`, because only the caller
-- knows how far away the frame is.
local function evaluate(frame, text, is_expression, changed)
  local chunk, reason
  if is_expression then chunk = loadstring("return " .. text, "=input") end
  if not chunk then chunk, reason = loadstring(text, "=input") end
  if not chunk then return debugger.write(reason) end
  local globals = getfenv(frame.func)
  setfenv(chunk, setmetatable({}, {
    __index = function(_, name)
      if frame.where[name] then return frame.values[name] end
      return globals[name]
    end,
    __newindex = function(_, name, value)
      if not frame.where[name] then
        globals[name] = value
      else
        frame.values[name] = value
        changed[name] = frame.where[name]
      end
    end,
  }))
  local results = { pcall(chunk) }
  if not results[1] then return debugger.write("error: " .. tostring(results[2])) end
  for i = 2, #results do debugger.write(debugger.pretty(results[i])) end
end

local function describe(level)
  local info = debug.getinfo(level + 1, "nSl")
  if not info then return nil end
  return format("%s:%d in %s", info.short_src, info.currentline, info.name or info.what)
end

-- Level 3 is the function that stopped: prompt, stop, it.
local BASE = 3

local function prompt()
  local offset = 0
  debugger.write("stopped at " .. tostring(describe(BASE)))
  while true do
    local line = debugger.read "debug> "
    -- No more input is as good as "continue".
    if not line then return end
    local command, rest = match(line, "^%s*(%S*)%s*(.-)%s*$")
    if command == "" then
      -- Nothing to do.
    elseif command == "c" or command == "continue" then
      return
    elseif command == "q" or command == "quit" then
      debugger.enabled = false
      return
    elseif command == "h" or command == "help" then
      for i = 1, #HELP do debugger.write(HELP[i]) end
    elseif command == "bt" or command == "where" then
      for level = BASE, BASE + 50 do
        local text = describe(level)
        if not text then break end
        debugger.write((level == BASE + offset and "> " or "  ") .. text)
      end
    elseif command == "up" or command == "down" then
      local wanted = offset + (command == "up" and 1 or -1)
      if wanted >= 0 and debug.getinfo(BASE + wanted, "f") then offset = wanted end
      debugger.write(tostring(describe(BASE + offset)))
    elseif command == "l" or command == "locals" then
      show(variables(BASE + offset).locals)
    elseif command == "u" or command == "upvalues" then
      show(variables(BASE + offset).upvalues)
    else
      local frame, changed = variables(BASE + offset), {}
      if command == "e" then
        evaluate(frame, rest, false, changed)
      else
        evaluate(frame, command == "p" and rest or line, true, changed)
      end
      for name, place in next, changed do
        if place.func then
          debug.setupvalue(place.func, place.index, frame.values[name])
        else
          debug.setlocal(BASE + offset, place.index, frame.values[name])
        end
      end
    end
  end
end

--- Stops here, unless a condition is given and holds.
local function stop(_, ...)
  if select("#", ...) > 0 and (...) then return end
  if not debugger.enabled or not debugger.is_terminal() then return end
  local terminal = host.hold()
  prompt()
  host.release(terminal)
end

--- As `error`, but with a stop first.
function debugger.error(message, level)
  debugger()
  error(message, (level or 1) + 1)
end

--- As `assert`, but with a stop first.
function debugger.assert(condition, message, ...)
  if not condition then
    debugger()
    error(message or "assertion failed!", 2)
  end
  return condition, message, ...
end

--- Calls the function; an error in it stops where it happened.
function debugger.call(func, ...)
  local arguments = { n = select("#", ...), ... }
  return xpcall(function() return func(unpack(arguments, 1, arguments.n)) end, function(message)
    debugger()
    return message
  end)
end

return setmetatable(debugger, { __call = stop })
