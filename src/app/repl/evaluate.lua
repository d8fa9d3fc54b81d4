-- Runs what is typed. Made once; binds the objects of the present packet as globals each time, because they are lent for
-- one packet only. Called with the text, the packet's address or nil, and its number; returns whether it went well and
-- what there is to show, and for conditions whether the first value is true.
local objects, engine = ...
local ffi, cur, xpcall, select, tostring, type = objects.ffi, objects.cur, objects.xpcall, objects.select, objects.tostring, objects.type
local lend_packet = objects.lend_packet
local load, pcall, concat, getmetatable = loadstring, objects.pcall, table.concat, getmetatable
local inspect = require("inspect")
local globals = _G

local function bind(address, seq)
  cur[0] = seq
  globals.engine, globals.packet, globals.layers, globals.layer, globals.flow = engine, nil, nil, nil, nil
  if not address then return end
  local packet = lend_packet(ffi.cast("ms_packet *", address))
  local layers = {}
  for i = 0, packet:num_layers() - 1 do layers[i + 1] = packet:get_layer(i) end
  globals.packet, globals.layers, globals.layer = packet, layers, layers[#layers]
  local ok, flow = pcall(packet.flowid, packet)
  if ok then globals.flow = flow end
end

local function shown(value)
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) == "cdata" or (meta and (type(meta) == "string" or meta.__tostring)) then return tostring(value) end
  return inspect(value)
end

local function results(ok, ...)
  if not ok then return false, tostring((...)), false end
  local texts = {}
  for i = 1, select("#", ...) do
    local fine, text = pcall(shown, (select(i, ...)))
    texts[i] = fine and text or tostring((select(i, ...)))
  end
  return true, concat(texts, "  "), not not (...)
end

-- Values go through a call of their own: a call in tail position would lose its place in messages.
local VALUES = "local select = ... return select(1, %s\n)"

local function message(e) return tostring(e) end

return function(text, address, seq)
  bind(address, seq)
  local chunk = load(objects.format(VALUES, text), "=repl")
  local problem
  if not chunk then
    chunk, problem = load(text, "=repl")
  end
  if not chunk then return false, problem, false end
  return results(xpcall(chunk, message, select))
end
