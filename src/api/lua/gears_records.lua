-- Records of pipelines: objects of the plugin API as tables of plain values, the same in every mode, and packets that travel.
--
-- Called once per VM; returns a maker for each reader whose records are tables, `travelling(layer)` for a packet that goes to
-- a worker, and `arrived(data)` for what a worker makes of it.

local objects = ...
local ffi, bit = require "ffi", require "bit"
local type, pairs, setmetatable, floor, tonumber, sub, byte = type, pairs, setmetatable, math.floor, tonumber, string.sub, string.byte

local records = {}

if objects then
  local ends = {
    ipa = "ipa_readable", porta = "porta_readable", ipz = "ipz_readable", portz = "portz_readable",
  }

  local function add_flow(record, flow)
    if not flow then return record end
    record.flow = flow:id()
    for name, method in pairs(ends) do
      record[name] = flow[method](flow)
    end
    return record
  end

  local function time_of(object)
    local secs, usecs = object:timestamp()
    -- One division, as the store has it: the same time is the same number.
    return (secs * 1000000 + usecs) / 1000000
  end

  local function flow(object)
    local start, stop = object:time_window()
    return add_flow({
      start = start, stop = stop, tags = object:tags(), state = object:state(),
      bytes = object:az_bytes() + object:za_bytes(), az_bytes = object:az_bytes(), za_bytes = object:za_bytes(),
      az_packets = object:az_packets(), za_packets = object:za_packets(),
      az_payload = object:az_payload_bytes(), za_payload = object:za_payload_bytes(),
      setup_rtt = object:setup_rtt(), retrans = object:retransmissions(), object = object,
    }, object:flow())
  end
  records.flows, records.newflows = flow, flow

  function records.alerts(alert, group)
    return add_flow({
      time = time_of(alert), group = group, sigid = alert:sigid(), priority = alert:priority(), message = alert:message(),
      classification = alert:classification(), status = alert:status(), extra = alert:extra_message(), object = alert,
    }, alert:flow())
  end

  function records.resources(resource, group)
    return add_flow({
      time = time_of(resource), group = group, uri = resource:uri(), label = resource:label(), object = resource,
    }, resource:flow())
  end

  function records.documents(document, group)
    return add_flow({ time = time_of(document), group = group, text = document:text(), object = document }, document:flow())
  end

  function records.counters(time, key, metrics, group)
    return { time = time, key = key, metrics = metrics, group = group }
  end

  local ffi_string = ffi.string

  function records.travelling(layer)
    local packet = layer:packet()
    local buf, raw = layer:rawbytes()._slot, packet:rawbytes()._slot
    local secs, usecs = packet:timestamp()
    local data = {
      secs = secs, usecs = usecs, wirelen = packet:wire_length(), bytes = ffi_string(raw.data, raw.len),
      protocol = layer:protocol_id(), flow = layer:flowkey(), offset = 0, len = buf.len,
    }
    local offset = tonumber(ffi.cast("intptr_t", buf.data) - ffi.cast("intptr_t", raw.data))
    if offset >= 0 and offset + buf.len <= raw.len then
      data.offset = offset
    else
      -- Of a datagram that was joined from fragments.
      data.layer = ffi_string(buf.data, buf.len)
    end
    return data
  end
end

--- A packet that has arrived: the methods that read ---------------------------------------------------------------------

local Buffer, Layer, Packet = {}, {}, {}
Buffer.__index, Layer.__index, Packet.__index = Buffer, Layer, Packet

function Buffer:size() return #self[1] end
Buffer.length = Buffer.size

local function at(self, offset)
  offset = floor(tonumber(offset) or 0)
  return offset >= 0 and byte(self[1], offset + 1) or 0
end

function Buffer:hval_8(offset) return at(self, offset) end
function Buffer:hval_16(offset)
  offset = offset or 0
  return at(self, offset) * 256 + at(self, offset + 1)
end
function Buffer:hval_24(offset)
  offset = offset or 0
  return at(self, offset) * 65536 + at(self, offset + 1) * 256 + at(self, offset + 2)
end
function Buffer:hval_32(offset)
  offset = offset or 0
  return at(self, offset) * 16777216 + at(self, offset + 1) * 65536 + at(self, offset + 2) * 256 + at(self, offset + 3)
end
function Buffer:tostring(offset, n)
  offset, n = floor(tonumber(offset) or 0), floor(tonumber(n) or #self[1])
  if not (offset >= 0 and n > 0) then return "" end
  return sub(self[1], offset + 1, offset + n)
end

function Layer:rawbytes() return self.buffer end
function Layer:layer_bytes() return #self.buffer[1] end
function Layer:total_bytes() return self.data.wirelen end
function Layer:protocol_id() return self.data.protocol end
function Layer:flowkey() return self.data.flow end
function Layer:getbyte(offset) return at(self.buffer, offset) end
function Layer:testbit(number)
  if type(number) ~= "number" or not (number >= 0) then return false end
  number = floor(number)
  return bit.band(at(self.buffer, floor(number / 8)), bit.rshift(0x80, number % 8)) ~= 0
end
function Layer:packet() return self.owner end

function Packet:timestamp() return self.data.secs, self.data.usecs end
function Packet:wire_length() return self.data.wirelen end
function Packet:capture_length() return #self.data.bytes end
function Packet:rawbytes() return self.buffer end

local readers = {}
function readers.packets(data)
  local bytes = data.layer or sub(data.bytes, data.offset + 1, data.offset + data.len)
  local packet = setmetatable({ data = data, buffer = setmetatable({ data.bytes }, Buffer) }, Packet)
  return setmetatable({ data = data, owner = packet, buffer = setmetatable({ bytes }, Buffer) }, Layer)
end

-- What a worker gives to the first step.
function records.arrived(reader, data)
  local make = readers[reader]
  return make and make(data) or data
end

return records
