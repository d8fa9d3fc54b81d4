-- The engine object: argument rules of the contract in Lua, where they are compiled away; the work in the host.
--
-- Called once per VM with the objects of objects.lua, the table of host functions and the side ("frontend", "backend").

local objects, host, side = ...
local ffi = require "ffi"

local type, error, tostring, setmetatable, select, pairs = type, error, tostring, setmetatable, select, pairs
local rawequal, ipairs = rawequal, ipairs
local C, vm, tonumber = objects.C, objects.vm, objects.tonumber
local to_number, to_text, to_flow, bad = objects.to_number, objects.to_text, objects.to_flow, objects.bad
local has_ends = objects.has_ends

-- Counter group GUID text -> index; unknown ones are looked up (and warned of) once, then stay false.
local groups = setmetatable({}, { __index = function(t, guid)
  if type(guid) ~= "string" then return nil end
  local index = host.group_index(guid)
  t[guid] = index
  return index
end })

-- Text of a GUID; "" for nil. Whatever is not a GUID is warned of and dropped by the host.
local function to_guid(v, n, method)
  if type(v) == "string" then return v end
  return to_text(v, n, method, 1) or ""
end

-- Whether a meter id can be one at all; what is no small integer names no meter.
local function is_meter(group, meter)
  if meter >= 0 and meter < 32 and meter % 1 == 0 then return true end
  if group then host.bad_meter(group, meter) end
  return false
end

local Engine = {}

-- Keys that come again: where their sums lie, by GUID, meter and key, so that counting them is an addition and no call.
-- A cell holds while its generation is the current one; the host then says where the sum lies now.
local cells, cell_count, most_cells = {}, 0, 4096
-- Where there are more keys than that, most come again too late for a cell to be of use, and each is one more thing that
-- the collector of garbage has to look at. Then there are fewer, and so many keys that could have one get none in between.
local FEWEST_CELLS, without, left_without = 256, 0, 0
local generation = ffi.cast("const int32_t *", host.generation)
local new_cell, spare = ffi.typeof("ms_cell"), nil

local function keep_cell(guid, group, meter, key)
  if left_without > 0 then
    left_without = left_without - 1
    return
  end
  left_without = without
  spare = spare or new_cell()
  if C.sum_cell(vm, group, key, #key, meter, spare) == 0 then return end
  if cell_count >= most_cells then
    for known in pairs(cells) do cells[known] = nil end
    cell_count = 0
    if most_cells > FEWEST_CELLS then most_cells, without = most_cells / 4, without * 4 + 3 end
  end
  local by_meter = cells[guid]
  if not by_meter then
    by_meter = {}
    cells[guid] = by_meter
  end
  local by_key = by_meter[meter]
  if not by_key then
    by_key = {}
    by_meter[meter] = by_key
  end
  -- Scripts may name the same key in another way, as a number say.
  if by_key[key] then return end
  by_key[key], spare, cell_count = spare, nil, cell_count + 1
end

local function counting(method)
  local function count(guid, key, meter, value, cell)
    guid = to_guid(guid, 1, method)
    local group = groups[guid]
    if type(key) ~= "string" then
      key = to_text(key, 2, method)
      if not key then return host.nil_argument(method) end
    end
    if type(meter) ~= "number" then meter = to_number(meter, 3, method) end
    if type(value) ~= "number" then value = to_number(value, 4, method) end
    if not meter or not value then return host.nil_argument(method) end
    if not (group and is_meter(group, meter)) then return end
    if C.update_counter(vm, group, key, #key, meter, value) ~= 0 and not cell then
      keep_cell(guid, group, meter, key)
    elseif cell and C.sum_cell(vm, group, key, #key, meter, cell) == 0 then
      cell.generation = 0
    end
  end

  return function(_, guid, key, meter, value)
    local by_meter = cells[guid]
    local by_key = by_meter and by_meter[meter]
    local cell = by_key and by_key[key]
    -- The difference of a number that is not finite is none.
    if cell and cell.generation == generation[0] and type(value) == "number" and value - value == 0 then
      local sum, updates = cell.value, cell.updates
      sum[0] = sum[0] + value
      updates[0] = updates[0] + 1
      return
    end
    -- A tail call: errors name the line of the script.
    return count(guid, key, meter, value, cell)
  end
end

Engine.update_counter = counting("update_counter")
Engine.update_counter_raw = counting("update_counter_raw")

function Engine.update_counter_bytes(_, guid, key, meter)
  local group = groups[to_guid(guid, 1, "update_counter_bytes")]
  if type(key) ~= "string" then
    key = to_text(key, 2, "update_counter_bytes")
    if not key then return host.nil_argument("update_counter_bytes") end
  end
  if type(meter) ~= "number" then meter = to_number(meter, 3, "update_counter_bytes") end
  if not meter then return host.nil_argument("update_counter_bytes") end
  if group and is_meter(group, meter) then C.update_counter_bytes(vm, group, key, #key, meter) end
end

--- Extension: keys that are bytes of the packet -------------------------------------------------------------------------

local cur = objects.cur
local layer_type, buffer_type, packet_type = objects.layer_type, objects.buffer_type, objects.packet_type
local pointer = {
  layer = ffi.typeof("ms_layer *"), buffer = ffi.typeof("ms_buffer *"), packet = ffi.typeof("ms_packet *"),
}
local istype = ffi.istype

-- Form of a key by the number of its bytes, and by name.
local kind_by_length = { [2] = 3, [4] = 1, [6] = 4, [16] = 2 }
local kind_by_name = { text = 0, host = -1, port = 3, mac = 4 }

local function key_kind(length, form)
  if form == nil then return kind_by_length[length] or 0 end
  local kind = kind_by_name[form]
  if kind == nil then error("bad argument #7 to 'update_counter_at' (one of text, host, port, mac expected)", 3) end
  if kind == -1 or kind > 0 then
    if kind == -1 then kind = (length == 4 and 1) or (length == 16 and 2) or nil end
    if kind == nil or (kind == 3 and length ~= 2) or (kind == 4 and length ~= 6) then
      error("bad argument #4 to 'update_counter_at' (a length that fits the form of the key expected)", 3)
    end
  end
  return kind
end

-- The bytes of an object, and what it is. Values have been looked at whether they are stale.
local function bytes_of(object, method)
  if istype(pointer.layer, object) or istype(layer_type, object) then return object.buf, "Layer" end
  if istype(pointer.buffer, object) or istype(buffer_type, object) then return object, "Buffer" end
  if istype(pointer.packet, object) or istype(packet_type, object) then return object.raw, "Packet" end
  local of_value, bytes, what = objects.bytes_of_value, nil, nil
  if of_value then bytes, what = of_value(object) end
  if not bytes then bad(2, method, "layer, buffer or packet", type(object), 2) end
  return bytes, what
end

function Engine.update_counter_at(_, guid, object, offset, length, meter, value, form)
  local group = groups[to_guid(guid, 1, "update_counter_at")]
  local buf, what = bytes_of(object, "update_counter_at")
  if buf.seq ~= cur[0] then objects.stale(what) end
  if type(offset) ~= "number" then offset = to_number(offset, 3, "update_counter_at") end
  if type(length) ~= "number" then length = to_number(length, 4, "update_counter_at") end
  if type(meter) ~= "number" then meter = to_number(meter, 5, "update_counter_at") end
  if type(value) ~= "number" then value = to_number(value, 6, "update_counter_at") end
  if not offset or not length or not meter or not value then return host.nil_argument("update_counter_at") end
  local kind = key_kind(length, form)
  -- A slice that is not wholly there is no key: nothing is counted.
  if not (offset >= 0 and length > 0 and offset + length <= buf.len) then return end
  if group and is_meter(group, meter) then C.update_counter_at(vm, group, buf.data + offset, length, kind, meter, value) end
end

local ends = { ipa = 0, ipz = 1, porta = 2, portz = 3 }

function Engine.update_counter_end(_, guid, object, which, meter, value)
  local group = groups[to_guid(guid, 1, "update_counter_end")]
  local buf, what = bytes_of(object, "update_counter_end")
  if buf.seq ~= cur[0] then objects.stale(what) end
  local index = ends[which]
  if not index then error("bad argument #3 to 'update_counter_end' (one of ipa, ipz, porta, portz expected)", 2) end
  if type(meter) ~= "number" then meter = to_number(meter, 4, "update_counter_end") end
  if type(value) ~= "number" then value = to_number(value, 5, "update_counter_end") end
  if not meter or not value then return host.nil_argument("update_counter_end") end
  if group and is_meter(group, meter) then C.update_counter_end(vm, group, index, meter, value) end
end

--- Labels and attributes of keys ------------------------------------------------------------------------------------------

function Engine.update_key_info(_, guid, key, label, description)
  guid, key = to_guid(guid, 1, "update_key_info"), to_text(key, 2, "update_key_info")
  label, description = to_text(label, 3, "update_key_info"), to_text(description, 4, "update_key_info")
  if not key or not label then return host.nil_argument("update_key_info") end
  host.update_key_info(guid, key, label, description)
end

function Engine.set_key_attribute(_, guid, key, name, value)
  guid, key = to_guid(guid, 1, "set_key_attribute"), to_text(key, 2, "set_key_attribute")
  name, value = to_text(name, 3, "set_key_attribute"), to_text(value, 4, "set_key_attribute")
  if not key or not name or not value then return host.nil_argument("set_key_attribute") end
  host.set_key_attribute(guid, key, name, value)
end

--- Alerts and resources ---------------------------------------------------------------------------------------------------

function Engine.add_alert(_, guid, flow, alertkey, priority, message)
  guid, flow = to_guid(guid, 1, "add_alert"), to_flow(flow, 2, "add_alert")
  alertkey = to_text(alertkey, 3, "add_alert")
  -- Scripts from before there were priorities end with the message.
  if message == nil and type(priority) == "string" and not tonumber(priority) then priority, message = 1, priority end
  priority, message = to_number(priority, 4, "add_alert"), to_text(message, 5, "add_alert")
  if not alertkey then return host.nil_argument("add_alert") end
  host.add_alert("simple", guid, flow, alertkey, "", priority or 0, message or "", nil)
end

local function add_alert_full(method)
  return function(_, guid, flow, alertkey, classification, priority, message, status)
    guid, flow, alertkey = to_guid(guid, 1, method), to_flow(flow, 2, method), to_text(alertkey, 3, method)
    classification, priority = to_text(classification, 4, method), to_number(priority, 5, method)
    message, status = to_text(message, 6, method), to_text(status, 7, method)
    if not alertkey then return host.nil_argument(method) end
    host.add_alert("full", guid, flow, alertkey, classification or "", priority or 0, message or "", status)
  end
end
Engine.add_alert_full = add_alert_full("add_alert_full")
Engine.add_alert_ids = add_alert_full("add_alert_ids")

function Engine.add_alert_tca(_, guid, id, status, message)
  guid, id = to_guid(guid, 1, "add_alert_tca"), to_number(id, 2, "add_alert_tca")
  status, message = to_text(status, 3, "add_alert_tca"), to_text(message, 4, "add_alert_tca")
  if not id then return host.nil_argument("add_alert_tca") end
  host.add_alert("tca", guid, nil, tostring(id), "", 1, message or "", status)
end

function Engine.add_resource(_, guid, flow, uri, contents)
  guid, flow = to_guid(guid, 1, "add_resource"), to_flow(flow, 2, "add_resource")
  uri, contents = to_text(uri, 3, "add_resource"), to_text(contents, 4, "add_resource")
  if not uri then return host.nil_argument("add_resource") end
  host.add_resource(guid, flow, uri, contents or "")
end

--- Flows ------------------------------------------------------------------------------------------------------------------

function Engine.tag_flow(_, flow, tag)
  flow, tag = to_flow(flow, 1, "tag_flow"), to_text(tag, 2, "tag_flow")
  if not flow or not tag then return host.nil_argument("tag_flow") end
  host.tag_flow(flow, tag)
end

function Engine.add_flow_counter(_, flow, guid, key, meter, direction)
  flow, guid = to_flow(flow, 1, "add_flow_counter"), to_guid(guid, 2, "add_flow_counter")
  key, meter = to_text(key, 3, "add_flow_counter"), to_number(meter, 4, "add_flow_counter")
  direction = to_number(direction, 5, "add_flow_counter")
  if not flow or not key then return host.nil_argument("add_flow_counter") end
  host.flow_counter(flow, guid, key, meter or 0, direction or 0, false)
end

function Engine.reset_flow_counter(_, flow, guid, key, meter, direction)
  flow, guid = to_flow(flow, 1, "reset_flow_counter"), to_guid(guid, 2, "reset_flow_counter")
  key, meter = to_text(key, 3, "reset_flow_counter"), to_number(meter, 4, "reset_flow_counter")
  direction = to_number(direction, 5, "reset_flow_counter")
  if not flow then return host.nil_argument("reset_flow_counter") end
  host.flow_counter(flow, guid, key, meter or 0, direction or 0, true)
end

local function update_flow(method)
  return function(_, flow, meter, value)
    flow, meter, value = to_flow(flow, 1, method), to_number(meter, 2, method), to_number(value, 3, method)
    if not flow or not meter or not value then return host.nil_argument(method) end
    host.update_flow(flow, "meter " .. meter, value)
  end
end
Engine.update_flow = update_flow("update_flow")
Engine.update_flow_raw = update_flow("update_flow_raw")

function Engine.new_flow_record(_, flow, bytes_az, bytes_za, packets_az, packets_za)
  flow = to_flow(flow, 1, "new_flow_record")
  bytes_az, bytes_za = to_number(bytes_az, 2, "new_flow_record"), to_number(bytes_za, 3, "new_flow_record")
  packets_az, packets_za = to_number(packets_az, 4, "new_flow_record"), to_number(packets_za, 5, "new_flow_record")
  if not flow then return host.nil_argument("new_flow_record") end
  host.new_flow_record(flow, bytes_az or 0, bytes_za or 0, packets_az or 0, packets_za or 0)
end

function Engine.set_flow_duration(_, flow, seconds)
  flow, seconds = to_flow(flow, 1, "set_flow_duration"), to_number(seconds, 2, "set_flow_duration")
  if not flow or not seconds then return host.nil_argument("set_flow_duration") end
  host.update_flow(flow, "duration", seconds)
end

function Engine.terminate_flow(_, flow)
  flow = to_flow(flow, 1, "terminate_flow")
  if not flow then return host.nil_argument("terminate_flow") end
  host.terminate_flow(flow)
end

function Engine.disable_reassembly(_, flow)
  if has_ends(flow) then return C.disable_reassembly_of(vm, flow._a, flow._z, flow._ports, flow._protocol) end
  flow = to_flow(flow, 1, "disable_reassembly")
  if not flow then return host.nil_argument("disable_reassembly") end
  C.disable_reassembly(vm, flow, #flow)
end

function Engine.add_flow_attribute(_, flow, name, value)
  flow, name = to_flow(flow, 1, "add_flow_attribute"), to_text(name, 2, "add_flow_attribute")
  value = to_text(value, 3, "add_flow_attribute")
  if not flow or not name or not value then return host.nil_argument("add_flow_attribute") end
  host.add_flow_attribute(flow, name, value)
end

--- Edges ------------------------------------------------------------------------------------------------------------------

function Engine.add_edge(_, from_guid, from_key, to_guid_, to_key)
  from_guid, from_key = to_guid(from_guid, 1, "add_edge"), to_text(from_key, 2, "add_edge")
  to_guid_, to_key = to_guid(to_guid_, 3, "add_edge"), to_text(to_key, 4, "add_edge")
  if not from_key or not to_key then return host.nil_argument("add_edge") end
  host.add_edge(from_guid, from_key, to_guid_, to_key)
end

function Engine.add_flow_edges(_, flow, guid, key)
  flow, guid = to_flow(flow, 1, "add_flow_edges"), to_guid(guid, 2, "add_flow_edges")
  key = to_text(key, 3, "add_flow_edges")
  if not flow or not key then return host.nil_argument("add_flow_edges") end
  host.add_flow_edges(flow, guid, key)
end

--- Messages, time, identity -----------------------------------------------------------------------------------------------

local function post(method, target)
  return function(_, ...)
    local id, message = "", ...
    if select("#", ...) >= 2 then id, message = ... end
    id, message = to_text(id, 1, method) or "", to_text(message, 2, method)
    if not message then return host.nil_argument(method) end
    host.post_message(target, id, message)
  end
end
Engine.post_message_frontend = post("post_message_frontend", "frontend")
Engine.post_message_backend = post("post_message_backend", "backend")

function Engine.timestamp() return host.timestamp() end

local instance_id, probe_id = host.instance_id, host.probe_id
function Engine.instanceid() return instance_id end
Engine.id = Engine.instanceid
function Engine.probeid() return probe_id end

-- Methods of the contract that exist on one side only.
local frontend_only = {
  "update_counter_bytes", "update_counter_at", "update_counter_end", "add_flow_counter", "reset_flow_counter",
  "update_flow", "update_flow_raw", "new_flow_record", "set_flow_duration", "terminate_flow", "disable_reassembly",
}
if side ~= "frontend" then
  for _, name in ipairs(frontend_only) do
    Engine[name] = function()
      error("ERR_NOTAVAIL: " .. name .. "() is not available for " .. side .. " scripts", 2)
    end
  end
end

--- What a script puts in the place of a method ----------------------------------------------------------------------------

-- Callbacks hand the methods what they are lent and may not keep (plugin/frontend/escape.rs). A function of the script may keep it, so
-- it gets values, however it came here.

local header_type, header_pointer = ffi.typeof("ms_http_header"), ffi.typeof("ms_http_header *")

local function value_of(v)
  if type(v) ~= "cdata" then return v end
  if istype(pointer.layer, v) or istype(layer_type, v) then return objects.lend_layer(v) end
  if istype(pointer.buffer, v) or istype(buffer_type, v) then return objects.lend_buffer(v) end
  if istype(pointer.packet, v) or istype(packet_type, v) then return objects.lend_packet(v) end
  if istype(header_pointer, v) or istype(header_type, v) then return objects.lend_header(v) end
  return v
end

local function values_of(n, first, ...)
  if n == 0 then return end
  return value_of(first), values_of(n - 1, ...)
end

local methods = {}
for name in pairs(Engine) do methods[name] = true end

local function replace(name, by)
  if by ~= nil then
    host.lend_values(objects)
    Engine[name] = function(...) return by(values_of(select("#", ...), ...)) end
  else
    Engine[name] = nil
  end
end

local set = rawset
local engine = setmetatable({}, {
  __index = Engine, __metatable = false,
  __newindex = function(engine, name, value)
    if methods[name] then return replace(name, value) end
    set(engine, name, value)
  end,
  __tostring = function() return "engine: " .. instance_id end,
})

function rawset(t, k, ...)
  if rawequal(t, engine) and methods[k] then
    replace(k, (...))
    return t
  end
  return set(t, k, ...)
end

return engine
