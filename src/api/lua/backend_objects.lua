-- The objects that backend callbacks receive: Alert, Resource, FTS document, session Flow.
--
-- Each is a table of values behind a metatable; its first value is the number of the callback it was made for, and it is
-- usable while that number is the progress of the VM, which the host clears when the callback is over. What a setter
-- changes is told to the host as well.
--
-- Called once per VM with the objects of objects.lua, the engine and the host functions; returns a caller per object.

local objects, engine, host = ...
local cur, stale, new_flow = objects.cur, objects.stale, objects.new_flow
local to_text, to_number, setmetatable, format = objects.to_text, objects.to_number, objects.setmetatable, objects.format
local pairs, ipairs = objects.pairs, objects.ipairs

local NO_FLOW = "00A:00.00.00.00:p-0000_00.00.00.00:p-0000"
local serial = 0

local function class(name)
  local methods = {}
  local meta = {
    __index = methods, __metatable = name,
    __tostring = function(self) return name .. ": " .. format("%p", self) end,
  }
  -- A method that gives the value at a place.
  local function field(method, place)
    methods[method] = function(self)
      if self[1] ~= cur[0] then stale(name) end
      return self[place]
    end
  end
  -- A method that changes the value at a place.
  local function setter(method, place, convert)
    methods[method] = function(self, value)
      if self[1] ~= cur[0] then stale(name) end
      value = convert(value, 1, method)
      if value == nil then return host.nil_argument(method) end
      self[place] = value
      host.change(method, value)
    end
  end
  return methods, meta, field, setter
end

-- A caller: makes the object and calls a function with the engine and the object.
local function caller(meta)
  return function(callback, ...)
    serial = serial % 1000000000 + 1
    cur[0] = serial
    return callback(engine, setmetatable({ serial, ... }, meta))
  end
end

-- What the ends of the flow give, unless the alert brought its own; place is that of its own.
local function ends(methods, name, flow_place, places)
  for method, of_flow in pairs { source_ip = "ipa_readable", destination_ip = "ipz_readable" } do
    methods[method] = function(self)
      if self[1] ~= cur[0] then stale(name) end
      local own, id = places and self[places[method]], self[flow_place]
      local text = own or id and new_flow(id)[of_flow](new_flow(id)) or ""
      return text ~= "" and text or "0.0.0.0"
    end
  end
  for method, of_flow in pairs { source_port = "porta_readable", destination_port = "portz_readable" } do
    methods[method] = function(self)
      if self[1] ~= cur[0] then stale(name) end
      local own, id = places and self[places[method]], self[flow_place]
      local text = own or id and new_flow(id)[of_flow](new_flow(id)) or ""
      return text ~= "" and text or "0"
    end
  end
end

local function timestamp(methods, name)
  methods.timestamp = function(self)
    if self[1] ~= cur[0] then stale(name) end
    return self[2], self[3]
  end
end

--- Alert: 2 secs, 3 usecs, 4 flow or false, then as below ------------------------------------------------------------

local Alert, alert_meta, field, setter = class("Alert")
timestamp(Alert, "Alert")
function Alert:flow()
  if self[1] ~= cur[0] then stale("Alert") end
  return self[4] and new_flow(self[4]) or nil
end
field("sigid", 5)
field("classification", 6)
field("priority", 7)
field("message", 8)
field("extra_message", 9)
field("status", 10)
field("ack_flag", 11)
ends(Alert, "Alert", 4, { source_ip = 12, source_port = 13, destination_ip = 14, destination_port = 15 })
setter("set_priority", 7, to_number)
setter("set_message", 8, to_text)
setter("set_extra_message", 9, to_text)

--- Resource: 2 secs, 3 usecs, 4 flow or false ------------------------------------------------------------------------

local Resource, resource_meta
Resource, resource_meta, field, setter = class("Resource")
timestamp(Resource, "Resource")
function Resource:flow()
  if self[1] ~= cur[0] then stale("Resource") end
  return new_flow(self[4] or NO_FLOW)
end
ends(Resource, "Resource", 4)
field("uri", 5)
field("label", 6)
setter("set_uri", 5, to_text)
setter("set_label", 6, to_text)

--- FTS document: 2 secs, 3 usecs, 4 flow or false, 5 text ------------------------------------------------------------

local Document, document_meta
Document, document_meta, field = class("FTS")
timestamp(Document, "FTS")
function Document:flow()
  if self[1] ~= cur[0] then stale("FTS") end
  return new_flow(self[4] or NO_FLOW)
end
field("text", 5)
function Document:key()
  if self[1] ~= cur[0] then stale("FTS") end
  return host.document_key(self[5])
end

--- Session flow: 2 id, 3 tags, then numbers --------------------------------------------------------------------------

local Flow, flow_meta
Flow, flow_meta, field = class("Flow")
field("key", 2)
function Flow:flow()
  if self[1] ~= cur[0] then stale("Flow") end
  local flow = self.id
  if not flow then
    flow = new_flow(self[2])
    self.id = flow
  end
  return flow
end
field("tags", 3)
function Flow:add_tag(tag)
  if self[1] ~= cur[0] then stale("Flow") end
  tag = to_text(tag, 1, "add_tag")
  if tag == nil then return host.nil_argument("add_tag") end
  self[3] = host.add_tag(self[3], tag)
end
function Flow:time_window()
  if self[1] ~= cur[0] then stale("Flow") end
  return self[4], self[5]
end
for place, name in ipairs {
  "state", "az_bytes", "za_bytes", "az_packets", "za_packets", "az_payload_bytes", "za_payload_bytes", "setup_rtt",
  "retransmissions",
} do
  field(name, place + 5)
end

return {
  alert = caller(alert_meta), resource = caller(resource_meta), document = caller(document_meta), flow = caller(flow_meta),
}
