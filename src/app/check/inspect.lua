-- Looks at compiled code and at the values it holds. Returns three functions, each of which gives lines of text with fields
-- separated by tabs; names of variables are identifiers, so nothing in them needs escaping.

local util, bit = require "jit.util", require "bit"
local band, rshift = bit.band, bit.rshift
local funcbc, funck, funcinfo, funcuvname = util.funcbc, util.funck, util.funcinfo, util.funcuvname
local type, next, tostring, concat = type, next, tostring, table.concat
local getupvalue, getlocal, getinfo, getmeta, rawget = debug.getupvalue, debug.getlocal, debug.getinfo, debug.getmetatable, rawget

-- Numbers of instructions differ between versions of LuaJIT; small programs tell them.
local function opcode(source, at) return band(funcbc(loadstring(source), at), 0xff) end
local GSET, GGET = opcode("x = 1", 2), opcode("local a = x", 1)
local FNEW, TSETS = opcode("local f = function() end", 1), opcode("local t, v = x, y; t.z = v", 3)

-- Calls visit(child, number of its constant) for the functions written inside a function or prototype.
local function children(f, visit)
  if not funcinfo(f).children then return end
  local n = -1
  while true do
    local k = funck(f, n)
    if k == nil then return end
    if type(k) == "proto" then visit(k, n) end
    n = n - 1
  end
end

-- "kind name line" of every use of a global: `top` is set in the main chunk, `set` inside a function, `get` read.
local function globals(chunk)
  local found = {}
  local function walk(f, inside)
    for pc = 1, funcinfo(f).bytecodes - 1 do
      local instruction = funcbc(f, pc)
      local op = band(instruction, 0xff)
      if op == GSET or op == GGET then
        local kind = op == GGET and "get" or inside and "set" or "top"
        local name = funck(f, -rshift(instruction, 16) - 1)
        found[#found + 1] = kind .. "\t" .. name .. "\t" .. funcinfo(f, pc).currentline
      end
    end
    children(f, function(child) walk(child, true) end)
  end
  walk(chunk, false)
  return concat(found, "\n")
end

local MOST = 20000

-- "line left what" of every variable of an onexecute that a worker does not get, or (left is "bare") gets without its
-- metatable. `plugin` is the table whose functions
-- are looked at, `standard` a list of tables whose contents every worker has as well.
local function workers(plugin, standard)
  local known = {}
  local function know(value, depth)
    local kind = type(value)
    if (kind ~= "table" and kind ~= "function") or known[value] then return end
    known[value] = true
    if kind == "table" and depth > 0 then
      for _, field in next, value do know(field, depth - 1) end
    end
  end
  -- The plugin's own table is among the globals, and what it holds is what is looked at.
  known[plugin] = true
  for i = 1, #standard do
    known[standard[i]] = true
    for _, value in next, standard[i] do know(value, 3) end
  end
  known[plugin] = nil

  local int64 = {}
  local fine, ffi = pcall(require, "ffi")
  if fine then int64 = { ffi.typeof("int64_t"), ffi.typeof("uint64_t") } end
  local function is_int64(value)
    return int64[1] ~= nil and (ffi.istype(int64[1], value) or ffi.istype(int64[2], value))
  end

  -- Why a value cannot travel, or nil, and whether only a metatable cannot; looks into tables and functions.
  local function obstacle(value, path, seen, budget)
    local kind = type(value)
    if kind == "userdata" or (kind == "cdata" and not is_int64(value)) then return path .. " is a " .. kind end
    if kind == "thread" then return path .. " is a coroutine" end
    if (kind ~= "table" and kind ~= "function") or known[value] or seen[value] then return nil end
    seen[value] = true
    budget[1] = budget[1] - 1
    if budget[1] < 0 then return nil end
    if kind == "table" then
      local meta = getmeta(value)
      if meta and rawget(meta, "__metatable") ~= nil then return path .. " is a protected object" end
      for key, field in next, value do
        local name = type(key) == "string" and key or "[" .. tostring(key) .. "]"
        local why, bare = obstacle(field, path .. "." .. name, seen, budget)
        if why then return why, bare end
      end
      if meta then return path .. " has a metatable", true end
      return nil
    end
    if getinfo(value, "S").what == "C" then return path .. " is a function that is not written in Lua" end
    for i = 1, 60 do
      local name, captured = getupvalue(value, i)
      if not name then return nil end
      local why, bare = obstacle(captured, path .. " -> " .. name, seen, budget)
      if why then return why, bare end
    end
  end

  local found = {}
  local function report(line, what, bare)
    found[#found + 1] = line .. "\t" .. (bare and "bare" or "nil") .. "\t" .. what:gsub("[\t\n]", " ")
  end
  -- Looks at a variable of the onexecute that begins in a line.
  local function examine(line, name, value)
    local why, bare = obstacle(value, "'" .. name .. "'", {}, { 1000 })
    if why then report(line, why, bare) end
  end

  local function captured(f, wanted)
    for i = 1, 60 do
      local name, value = getupvalue(f, i)
      if not name then return false end
      if name == wanted then return true, value end
    end
  end
  local function parameter(f, wanted)
    for i = 1, funcinfo(f).params do
      if getlocal(f, i) == wanted then return true end
    end
    return false
  end

  local objects = { engine = true, dbengine = true, layer = true, packet = true, buffer = true }
  -- The variables of an onexecute written inside f, looked up where f has them.
  local function variables(f, prototype, line)
    for i = 0, funcinfo(prototype).upvalues - 1 do
      local name = funcuvname(prototype, i)
      local is_captured, value = captured(f, name)
      if is_captured then
        examine(line, name, value)
      elseif objects[name] and parameter(f, name) then
        report(line, "'" .. name .. "' is an object of the callback")
      end
    end
  end

  -- Looks for `onexecute = function` in a live function and in what is written inside it.
  local function written(f, inner)
    local code = inner or f
    for pc = 1, funcinfo(code).bytecodes - 2 do
      local instruction, after = funcbc(code, pc), funcbc(code, pc + 1)
      if band(instruction, 0xff) == FNEW and band(after, 0xff) == TSETS and band(rshift(instruction, 8), 0xff) == band(rshift(after, 8), 0xff)
        and funck(code, -band(rshift(after, 16), 0xff) - 1) == "onexecute" then
        local prototype = funck(code, -rshift(instruction, 16) - 1)
        variables(f, prototype, funcinfo(prototype).linedefined)
      end
    end
    children(code, function(child) written(f, child) end)
  end

  local seen, left = {}, MOST
  local function reach(value, key)
    local kind = type(value)
    if (kind ~= "table" and kind ~= "function") or known[value] or seen[value] or left == 0 then return end
    seen[value] = true
    left = left - 1
    if kind == "table" then
      for k, field in next, value do reach(field, k) end
      return
    end
    if getinfo(value, "S").what == "C" then return end
    if key == "onexecute" then
      local line = funcinfo(value).linedefined
      for i = 1, 60 do
        local name, upvalue = getupvalue(value, i)
        if not name then break end
        examine(line, name, upvalue)
      end
    end
    written(value)
    for i = 1, 60 do
      local name, upvalue = getupvalue(value, i)
      if not name then return end
      reach(upvalue, name)
    end
  end
  reach(plugin)
  return concat(found, "\n")
end

-- Names of the fields of a table that are text, and of functions among them.
local function names(t)
  local found = {}
  for key, value in next, t do
    if type(key) == "string" and not key:find("[\t\n]") then found[#found + 1] = key .. "\t" .. type(value) end
  end
  return concat(found, "\n")
end

return globals, workers, names
