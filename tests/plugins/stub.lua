-- A stand-in for the host: just enough of T, the engine, packets, layers and buffers to run a plugin over a capture and
-- see what it reported. Slow and simple on purpose; jobs run at once, messages come back after each packet.
--
-- Loaded with (options) = { fast = true to offer update_counter_at, args = text for T.args }; returns the functions the
-- test calls.

local options = ...

local ETHERNET = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local IPV6 = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"
local ICMP = "{7DDD65F2-A316-43B5-A103-368E700E045E}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"

local report = { counters = {}, labels = {}, alerts = {}, resources = {}, messages = {}, logs = {}, jobs = 0 }

local function known(guid, what)
  assert(type(guid) == "string" and guid:match("^{%x+%-%x+%-%x+%-%x+%-%x+}$"), what .. ": not a guid")
end

-- Buffers ---------------------------------------------------------------------------------------------------------

local Buffer = {}
Buffer.__index = Buffer
local function buffer(bytes) return setmetatable({ bytes = bytes }, Buffer) end

local function big_endian(self, offset, count)
  local value = 0
  for i = offset + 1, offset + count do value = value * 256 + (self.bytes:byte(i) or 0) end
  return value
end

function Buffer:size() return #self.bytes end
Buffer.length = Buffer.size
function Buffer:hval_8(offset) return big_endian(self, offset, 1) end
function Buffer:hval_16(offset) return big_endian(self, offset, 2) end
function Buffer:hval_24(offset) return big_endian(self, offset, 3) end
function Buffer:hval_32(offset) return big_endian(self, offset, 4) end
function Buffer:tostring(offset, count)
  offset = offset or 0
  return self.bytes:sub(offset + 1, count and offset + count or -1)
end

-- Flow ids --------------------------------------------------------------------------------------------------------

local function host_key(bytes)
  local hex = bytes:gsub(".", function(c) return ("%02X"):format(c:byte()) end)
  if #bytes == 16 then return hex end
  return (hex:gsub("(%x%x)", "%1."):sub(1, -2))
end

local function readable(bytes)
  if #bytes == 4 then return table.concat({ bytes:byte(1, 4) }, ".") end
  return (host_key(bytes):lower():gsub("(%x%x%x%x)", "%1:"):sub(1, -2))
end

local Flow = {}
Flow.__index = Flow
function Flow:id()
  return ("%02X%s:%s:%s_%s:%s"):format(self.protocol_number, self.type, self:ipa(), self:porta(), self:ipz(), self:portz())
end
function Flow:ipa() return host_key(self.a) end
function Flow:ipz() return host_key(self.z) end
function Flow:ipa_readable() return readable(self.a) end
function Flow:ipz_readable() return readable(self.z) end
function Flow:porta() return ("p-%04X"):format(self.a_port) end
function Flow:portz() return ("p-%04X"):format(self.z_port) end

-- Packets and layers ----------------------------------------------------------------------------------------------

local Layer = {}
Layer.__index = Layer
function Layer:layer_bytes() return #self.bytes end
function Layer:total_bytes() return self.of.wirelen end
function Layer:protocol_id() return self.guid end
function Layer:rawbytes() return buffer(self.bytes) end
function Layer:packet() return self.of end
function Layer:getbyte(offset) return self:rawbytes():hval_8(offset) end
function Layer:flowkey() return self.of:flowid():id() end
function Layer:testbit(number)
  local byte = self.bytes:byte(math.floor(number / 8) + 1)
  return byte ~= nil and bit.band(byte, bit.rshift(0x80, number % 8)) ~= 0
end

local Packet = {}
Packet.__index = Packet
function Packet:timestamp() return self.secs, self.usecs end
function Packet:rawbytes() return buffer(self.bytes) end
function Packet:wire_length() return self.wirelen end
function Packet:capture_length() return #self.bytes end
function Packet:num_layers() return #self.layers end
function Packet:get_layer(index) return self.layers[index + 1] end
function Packet:find_layer(guid)
  for _, layer in ipairs(self.layers) do
    if layer.guid == guid then return layer end
  end
end
function Packet:flowid()
  local ip = self:find_layer(IPV4) or self:find_layer(IPV6)
  if not ip then
    local none = { protocol_number = 0, type = "A", a = "\0\0\0\0", z = "\0\0\0\0", a_port = 0, z_port = 0 }
    return setmetatable(none, Flow)
  end
  local four = ip.guid == IPV4
  local source = four and ip.bytes:sub(13, 16) or ip.bytes:sub(9, 24)
  local destination = four and ip.bytes:sub(17, 20) or ip.bytes:sub(25, 40)
  local source_port, destination_port = 0, 0
  local transport = self:find_layer(TCP) or self:find_layer(UDP)
  if transport then
    source_port, destination_port = transport:rawbytes():hval_16(0), transport:rawbytes():hval_16(2)
  end
  local flow = { protocol_number = self.transport_number, type = four and "A" or "B" }
  local source_is_a = source_port > destination_port or (source_port == destination_port and source < destination)
  flow.a, flow.z = source_is_a and source or destination, source_is_a and destination or source
  flow.a_port = source_is_a and source_port or destination_port
  flow.z_port = source_is_a and destination_port or source_port
  return setmetatable(flow, Flow)
end

local handler

local function decode(secs, usecs, bytes, linktype)
  local packet = setmetatable({ secs = secs, usecs = usecs, bytes = bytes, wirelen = #bytes, layers = {} }, Packet)
  local function add(guid, from, count)
    local layer = setmetatable({ guid = guid, of = packet, bytes = bytes:sub(from + 1, from + count) }, Layer)
    packet.layers[#packet.layers + 1] = layer
    return layer
  end
  local raw = packet:rawbytes()
  local at = 0
  if linktype == 1 then
    local kind = raw:hval_16(12)
    add(ETHERNET, 0, 14)
    if kind ~= 0x0800 and kind ~= 0x86DD then return packet end
    at = 14
  end
  local number, stop
  if math.floor(raw:hval_8(at) / 16) == 4 then
    local header = raw:hval_8(at) % 16 * 4
    add(IPV4, at, header)
    number, stop = raw:hval_8(at + 9), at + raw:hval_16(at + 2)
    at = at + header
  else
    add(IPV6, at, 40)
    number, stop = raw:hval_8(at + 6), at + 40 + raw:hval_16(at + 4)
    at = at + 40
  end
  packet.transport_number = number
  if number == 6 then
    add(TCP, at, math.floor(raw:hval_8(at + 12) / 16) * 4)
  elseif number == 17 then
    add(UDP, at, 8)
    local ports = { [raw:hval_16(at)] = true, [raw:hval_16(at + 2)] = true }
    for _, port in ipairs(handler and handler.control.host_protocol_ports or {}) do
      if ports[port] and handler.control.host_protocol_guid == UDP then
        local rest = setmetatable({ of = packet, bytes = bytes:sub(at + 9, stop) }, Layer)
        local eaten = handler.parselayer(rest)
        if eaten then add(handler.control.guid, at + 8, eaten) end
        break
      end
    end
  elseif number == 1 or number == 58 then
    add(ICMP, at, stop - at)
  end
  return packet
end

-- The engine ------------------------------------------------------------------------------------------------------

local engine = {}
function engine:update_counter(guid, key, meter, value)
  known(guid, "update_counter")
  if key == nil then return end
  assert(type(key) == "string" and type(meter) == "number" and type(value) == "number", "update_counter: arguments")
  local slot = key .. "/" .. meter
  report.counters[slot] = (report.counters[slot] or 0) + value
end
if options.fast then
  function engine:update_counter_at(guid, layer, offset, length, meter, value, how)
    local bytes = layer.bytes:sub(offset + 1, offset + length)
    assert(#bytes == length, "update_counter_at: outside the layer")
    local key = how == "text" and bytes or length == 2 and ("p-%04X"):format(buffer(bytes):hval_16(0)) or host_key(bytes)
    self:update_counter(guid, key, meter, value)
  end
end
if options.fast then
  function engine:update_counter_end(guid, subject, which, meter, value)
    assert(which == "ipa" or which == "ipz" or which == "porta" or which == "portz", "update_counter_end: which end")
    local flow = (subject.of or subject):flowid()
    self:update_counter(guid, flow[which](flow), meter, value)
  end
end
function engine:update_key_info(guid, key, label)
  known(guid, "update_key_info")
  report.labels[key] = label
end
function engine:add_alert(guid, flow, name, priority, message)
  known(guid, "add_alert")
  assert(type(name) == "string" and type(priority) == "number" and type(message) == "string", "add_alert: arguments")
  table.insert(report.alerts, name .. ": " .. message)
end
function engine:add_resource(guid, flow, uri, contents)
  known(guid, "add_resource")
  assert(type(flow) == "string" and type(uri) == "string" and type(contents) == "string", "add_resource: arguments")
  table.insert(report.resources, uri .. " | " .. contents)
end
function engine:post_message_frontend(kind, text) table.insert(report.messages, { kind, text }) end

-- T ---------------------------------------------------------------------------------------------------------------

local vartypes = { COUNTER = 2, RATE_COUNTER = 4, GAUGE = 5, RUNNING_COUNTER = 8, AVERAGE = 9, DELTA_RATE_COUNTER = 10,
  MAXIMUM = 11, MINIMUM = 12 }
local function log(message) table.insert(report.logs, tostring(message)) end

T = {
  args = options.args or "",
  K = { vartype = vartypes, vartypes = vartypes },
  log = log, logdebug = log, loginfo = log, logwarning = log, logerror = log,
  util = options.util,
  env = { get_config = function() return "" end },
  host = {
    createkey = function(_, guid, key, label) engine:update_key_info(guid, key, label) end,
    broadcast = function(_, kind, class, text)
      if class == TrisulPlugin.id.clsid then table.insert(report.messages, { kind, text }) end
    end,
  },
  async = {
    pending_items = function() return 0 end,
    schedule = function(_, block)
      report.jobs = report.jobs + 1
      local result = block.onexecute(block.data)
      if type(result) == "string" and block.onresult then block.onresult(engine, block.data, result) end
    end,
  },
}

-- What the test calls ---------------------------------------------------------------------------------------------

local function deliver()
  local waiting = report.messages
  report.messages = {}
  local listener = TrisulPlugin.channellistener
  local receive = listener and listener.onchannelmessage or TrisulPlugin.onmessage
  for _, message in ipairs(waiting) do receive(message[1], message[2]) end
end

local host = { report = report }

function host.start()
  handler = TrisulPlugin.protocol_handler
  return not (TrisulPlugin.onload and TrisulPlugin.onload() == false)
end

function host.packet(secs, usecs, bytes, linktype)
  local counter = TrisulPlugin.simplecounter
  if not counter then return end
  local layer = decode(secs, usecs, bytes, linktype):find_layer(counter.protocol_guid)
  if layer then counter.onpacket(engine, layer) end
  deliver()
end

-- Runs step until it ends; returns the number of packets it made.
function host.steps(limit)
  local count, made = 0, nil
  local packet = { set_packet = function(_, secs, usecs, linktype, bytes) made = decode(secs, usecs, bytes, linktype) end }
  while count < limit and TrisulPlugin.inputfilter.step(packet, engine) == true do
    assert(made and made:find_layer(UDP), "step made no UDP packet")
    made, count = nil, count + 1
  end
  return count
end

function host.step_alert() return TrisulPlugin.inputfilter.step_alert() end

function host.stop()
  if TrisulPlugin.onunload then TrisulPlugin.onunload() end
end

return host
