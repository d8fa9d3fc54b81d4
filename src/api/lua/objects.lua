-- The objects that scripts receive: Buffer, Packet, Layer, FlowID.
--
-- Buffers, packets and layers are structs filled by the host (api/loan.rs declares the same layout). Each carries the
-- sequence number of its packet; the object is usable while that number equals the one stored in `cur`, which the
-- driver loops set before every callback. The compiler folds the comparison away inside a callback.
--
-- Scripts see the fields, and can change none.
--
-- The structs are used again for later packets. A callback gets pointers to them where its text shows that it cannot keep one
-- (plugin/frontend/escape.rs); every other one gets the values of values.lua.
--
-- Called once per VM with the table of host functions; returns the constructors the drivers need.

local host = ...

local type, tonumber, tostring, error = type, tonumber, tostring, error
local setmetatable, getmetatable, rawget, pairs, ipairs = setmetatable, getmetatable, rawget, pairs, ipairs

-- A copy of a library that scripts cannot reach: the drivers are made after the script has run, which may have emptied the
-- tables that it shares.
local function own(library)
  local copy = {}
  for name, value in pairs(library) do copy[name] = value end
  return copy
end

local ffi, bit = own(require "ffi"), own(require "bit")
local band, bxor, rshift = bit.band, bit.bxor, bit.rshift
local ffi_string, ffi_istype, floor, format = ffi.string, ffi.istype, math.floor, string.format

ffi.cdef [[
typedef struct { const uint8_t *const data; const int32_t len, seq; } ms_buffer;
typedef struct { const ms_buffer raw; const int32_t wirelen, nlayers, origin, reserved; const int64_t nanos; } ms_packet;
typedef struct { const ms_buffer buf; ms_packet *const packet_slot; const int32_t protocol, wirelen; } ms_layer;
typedef struct { double *value; double *updates; int32_t generation; int32_t reserved; } ms_cell;
typedef struct { const ms_buffer block; const int32_t kind, reserved; } ms_http_header;
typedef struct { uint32_t a, z, ports; int32_t protocol; } ms_ends;
typedef struct { const uint32_t _a, _z, _ports; const int32_t _protocol; } ms_flow;
typedef struct {
  ms_buffer buf; int32_t topic, slot, direction, text_len; ms_ends ends; double time; double numbers[4];
  const uint8_t *text; uint32_t generation; int32_t exchange; ms_http_header request, response;
} __attribute__((aligned(64))) ms_event;
typedef struct {
  const int32_t *picks; uint8_t *voices, *votes; int32_t *answers, *errors;
  int32_t count, first, limit, done, calls, topic;
} ms_event_row;
typedef struct {
  const uint8_t *texts; const uint32_t *ends; const double *values; const int32_t *numbers; double time; int32_t width;
  uint32_t *noes; double *changes;
} ms_rows;
typedef struct {
  int32_t (*update_counter)(void *vm, int32_t group, const char *key, uint32_t len, int32_t meter, double value);
  int32_t (*sum_cell)(void *vm, int32_t group, const char *key, uint32_t len, int32_t meter, ms_cell *cell);
  void (*update_counter_bytes)(void *vm, int32_t group, const char *key, uint32_t len, int32_t meter);
  void (*update_counter_at)(void *vm, int32_t group, const uint8_t *key, uint32_t len, int32_t kind, int32_t meter, double value);
  void (*update_counter_end)(void *vm, int32_t group, int32_t which, int32_t meter, double value);
  int32_t (*flow_id)(void *vm, char *out);
  void (*fill_packet)(void *vm);
  ms_layer *(*layer_at)(void *vm, int32_t index);
  ms_layer *(*find_layer)(void *vm, int32_t protocol);
  int32_t (*flow_name)(void *vm, int32_t slot, uint32_t generation, char *out);
  int32_t (*flow_field)(const char *text, uint32_t len, int32_t index, char *out);
  int32_t (*flow_ends)(void *vm, ms_ends *out);
  int32_t (*flow_part)(uint32_t a, uint32_t z, uint32_t ports, uint32_t protocol, int32_t index, char *out);
  void (*disable_reassembly)(void *vm, const char *flow, uint32_t len);
  void (*disable_reassembly_of)(void *vm, uint32_t a, uint32_t z, uint32_t ports, uint32_t protocol);
  int32_t (*named_protocols)(void *vm);
} ms_host;
typedef struct { const ms_buffer *const _slot; const int32_t _seq, _round; } ms_buffer_value;
typedef struct { const ms_packet *const _slot; const int32_t _seq, _round; } ms_packet_value;
typedef struct { const ms_layer *const _slot; const int32_t _seq, _round; } ms_layer_value;
typedef struct { const ms_http_header *const _slot; const int32_t _seq, _round; } ms_http_header_value;
]]

local C = ffi.cast("const ms_host *", host.table)
local vm = ffi.cast("void *", host.vm)
local cur = ffi.cast("int32_t *", host.progress)
local scratch = ffi.new("char[256]")
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")

--- Conversions of arguments -------------------------------------------------------------------------------------------

local function bad(n, method, wanted, got, level)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", n, method, wanted, got), (level or 1) + 2)
end

-- Number, or nil for nil; numeric strings and 64-bit integers are converted.
local function to_number(v, n, method)
  local t = type(v)
  if t == "number" or v == nil then return v end
  if t == "string" then
    local converted = tonumber(v)
    if converted then return converted end
  elseif t == "cdata" and (ffi_istype(int64_t, v) or ffi_istype(uint64_t, v)) then
    return tonumber(v)
  end
  bad(n, method, "number", t, 2)
end

-- String, or nil for nil; numbers are converted.
local function to_text(v, n, method, level)
  local t = type(v)
  if t == "string" or v == nil then return v end
  if t == "number" then return tostring(v) end
  if t == "cdata" and (ffi_istype(int64_t, v) or ffi_istype(uint64_t, v)) then return tostring(tonumber(v)) end
  bad(n, method, "string", t, 2 + (level or 0))
end

-- Raises in the line that called the method; further is how many functions lie between the method and this one.
local function stale(what, further)
  host.stale(what)
  error("ERR_STALE: " .. what .. " used outside its callback", 3 + (further or 0))
end

--- Buffer -------------------------------------------------------------------------------------------------------------

local Buffer = {}

function Buffer:size()
  if self.seq ~= cur[0] then stale("Buffer") end
  return self.len
end
Buffer.length = Buffer.size

function Buffer:hval_8(off)
  if self.seq ~= cur[0] then stale("Buffer") end
  if type(off) ~= "number" then off = to_number(off, 1, "hval_8") or 0 end
  if off >= 0 and off < self.len then return self.data[off] end
  return 0
end

local function byte(self, off)
  if off >= 0 and off < self.len then return self.data[off] end
  return 0
end

function Buffer:hval_16(off)
  if self.seq ~= cur[0] then stale("Buffer") end
  if type(off) ~= "number" then off = to_number(off, 1, "hval_16") or 0 end
  return byte(self, off) * 256 + byte(self, off + 1)
end

function Buffer:hval_24(off)
  if self.seq ~= cur[0] then stale("Buffer") end
  if type(off) ~= "number" then off = to_number(off, 1, "hval_24") or 0 end
  return byte(self, off) * 65536 + byte(self, off + 1) * 256 + byte(self, off + 2)
end

function Buffer:hval_32(off)
  if self.seq ~= cur[0] then stale("Buffer") end
  if type(off) ~= "number" then off = to_number(off, 1, "hval_32") or 0 end
  return byte(self, off) * 16777216 + byte(self, off + 1) * 65536 + byte(self, off + 2) * 256 + byte(self, off + 3)
end

function Buffer:tostring(off, n)
  if self.seq ~= cur[0] then stale("Buffer") end
  local len = self.len
  off = floor(to_number(off, 1, "tostring") or 0)
  n = floor(to_number(n, 2, "tostring") or len)
  -- Written so that NaN fails the comparisons instead of reaching the pointer.
  if not (off >= 0 and off < len and n > 0) then return "" end
  if n > len - off then n = len - off end
  return ffi_string(self.data + off, n)
end

function Buffer:hexdump(off, n)
  if self.seq ~= cur[0] then stale("Buffer") end
  return host.hexdump(Buffer.tostring(self, to_number(off, 1, "hexdump"), to_number(n, 2, "hexdump")))
end

function Buffer:appendtofile(name)
  if self.seq ~= cur[0] then stale("Buffer") end
  host.append_file(ffi_string(self.data, self.len), to_text(name, 1, "appendtofile"))
end

function Buffer:writetofile(name, off)
  if self.seq ~= cur[0] then stale("Buffer") end
  host.write_file(ffi_string(self.data, self.len), to_text(name, 1, "writetofile"), to_number(off, 2, "writetofile") or 0)
end

--- FlowID -------------------------------------------------------------------------------------------------------------

-- A plain value, of one of two forms: the ends of an IPv4 flow as four words, or any other id as its text. Most callbacks
-- never ask for a text, and texts that are all different cost more than the rest of a call.
local flow_type = ffi.typeof("ms_flow")
local WHOLE = -1

local function part_of_ends(flow, index)
  return ffi_string(scratch, C.flow_part(flow._a, flow._z, flow._ports, flow._protocol, index, scratch))
end

-- Texts of the ids that were asked for of late, each in the place that its words lead to: a script that asks for one asks
-- for it again with the next event of the flow.
local RECENT = 256
local recent, recent_texts

local function make_recent()
  recent, recent_texts = ffi.new("ms_ends[?]", RECENT), {}
  for place = 0, RECENT - 1 do recent[place].protocol, recent_texts[place] = -1, false end
end

local function id_of_ends(flow)
  if not recent then make_recent() end
  local a, z, ports, protocol = flow._a, flow._z, flow._ports, flow._protocol
  local place = band(bxor(a, z, ports, rshift(ports, 16)), RECENT - 1)
  local known = recent[place]
  if known.a == a and known.z == z and known.ports == ports and known.protocol == protocol then
    return recent_texts[place]
  end
  local text = part_of_ends(flow, WHOLE)
  known.a, known.z, known.ports, known.protocol, recent_texts[place] = a, z, ports, protocol, text
  return text
end

-- The number that a part depends on alone, where it is one that comes again: its text is kept by it.
local function a_of(flow) return flow._a end
local function z_of(flow) return flow._z end
local function port_a_of(flow) return rshift(flow._ports, 16) end
local function port_z_of(flow) return band(flow._ports, 0xFFFF) end
local numbers = {
  ipa = a_of, ipz = z_of, ipa_readable = a_of, ipz_readable = z_of, protocol = function(flow) return flow._protocol end,
  porta = port_a_of, portz = port_z_of, porta_readable = port_a_of, portz_readable = port_z_of,
}
local MOST_TEXTS = 16384

local Ends, Text = {}, {}

local function keep_texts(name, index, number_of)
  local texts, count = {}, 0
  Ends[name] = function(self)
    local number = number_of(self)
    local text = texts[number]
    if not text then
      if count >= MOST_TEXTS then texts, count = {}, 0 end
      text = part_of_ends(self, index)
      texts[number], count = text, count + 1
    end
    return text
  end
end

-- The form that holds a text, and behind it the part asked for first with its number; other parts follow.
local TEXT, KNOWN, PART = 1, 2, 3

for index, name in ipairs(host.flow_fields) do
  local place = index + PART
  if numbers[name] then
    keep_texts(name, index - 1, numbers[name])
  else
    Ends[name] = function(self) return part_of_ends(self, index - 1) end
  end
  local function part_of_text(text) return ffi_string(scratch, C.flow_field(text, #text, index - 1, scratch)) end
  Text[name] = function(self)
    local known = self[KNOWN]
    if known == index then return self[PART] end
    if known == 0 then
      local part = part_of_text(self[TEXT])
      self[KNOWN], self[PART] = index, part
      return part
    end
    local part = rawget(self, place)
    if not part then
      part = part_of_text(self[TEXT])
      self[place] = part
    end
    return part
  end
end

Ends.id, Ends.key = id_of_ends, id_of_ends
function Text:id() return self[TEXT] end
Text.key = Text.id

local function has_ends(v) return type(v) == "cdata" and ffi_istype(flow_type, v) end

local function has_text(v) return type(v) == "table" and getmetatable(v) == "FlowID" end

-- Text of a FlowID; nil for anything else.
local function id_of(v)
  if has_ends(v) then return id_of_ends(v) end
  if has_text(v) then return v[TEXT] end
end

local function is_same_flow(a, b)
  if has_ends(a) and has_ends(b) then
    return a._a == b._a and a._z == b._z and a._ports == b._ports and a._protocol == b._protocol
  end
  -- Most others are nil, for which no text is made.
  return (has_text(a) or has_text(b)) and id_of(a) == id_of(b)
end

local function show_flow(flow) return "FlowID: " .. id_of(flow) end

local text_meta = { __index = Text, __metatable = "FlowID", __tostring = show_flow, __eq = is_same_flow }

local function new_flow(text) return setmetatable({ text, 0, false }, text_meta) end

-- The flow that an event is about, which is one of the table.
local function flow_of_event(event)
  local ends = event.ends
  if ends.protocol >= 0 then return flow_type(ends.a, ends.z, ends.ports, ends.protocol) end
  return new_flow(ffi_string(scratch, C.flow_name(vm, event.slot, event.generation, scratch)))
end

-- Text of a flow key given as text, FlowID, or an object with an id; nil for nil.
local function to_flow(v, n, method)
  local t = type(v)
  if t == "string" or v == nil then return v end
  if t == "number" then return tostring(v) end
  local id = id_of(v)
  if id then return id end
  if t == "table" and type(v.flow) == "function" then return v:flow():id() end
  bad(n, method, "string", t, 2)
end

--- Packet -------------------------------------------------------------------------------------------------------------

local Packet = {}
-- Protocol GUID text -> index, filled by the host as scripts use them.
local protocols = setmetatable({}, { __index = function(t, guid)
  local index = host.protocol_index(guid)
  t[guid] = index
  return index
end })

-- Handlers name protocols while packets run: what nobody knew may be known by now.
local known_names = 0
local function known_by_now(guid)
  local names = C.named_protocols(vm)
  if names == known_names then return -1 end
  known_names = names
  for text, index in pairs(protocols) do
    if index < 0 then protocols[text] = nil end
  end
  return protocols[guid]
end

local function packet_raw(self)
  local raw = self.raw
  if raw.seq ~= cur[0] then stale("Packet", 1) end
  return raw
end

function Packet:timestamp()
  packet_raw(self)
  local nanos = self.nanos
  local secs = nanos / 1000000000LL
  local rest = nanos - secs * 1000000000LL
  if rest < 0 then secs, rest = secs - 1LL, rest + 1000000000LL end
  return tonumber(secs), tonumber(rest / 1000LL)
end

function Packet:rawbytes()
  local raw = self.raw
  if raw.seq ~= cur[0] then stale("Packet") end
  return raw
end

function Packet:wire_length()
  if self.raw.seq ~= cur[0] then stale("Packet") end
  return self.wirelen
end

function Packet:capture_length() return packet_raw(self).len end

function Packet:num_layers()
  packet_raw(self)
  return self.nlayers
end

function Packet:get_layer(index)
  packet_raw(self)
  index = to_number(index, 1, "get_layer")
  if not index or not (index >= 0 and index < self.nlayers) then return nil end
  local layer = C.layer_at(vm, index)
  if layer == nil then return nil end
  return layer
end

function Packet:find_layer(guid)
  packet_raw(self)
  if type(guid) ~= "string" then guid = to_text(guid, 1, "find_layer") end
  if not guid then return nil end
  local protocol = protocols[guid]
  if protocol < 0 then
    protocol = known_by_now(guid)
    if protocol < 0 then return nil end
  end
  local layer = C.find_layer(vm, protocol)
  if layer == nil then return nil end
  return layer
end

local function flow_text()
  return ffi_string(scratch, C.flow_id(vm, scratch))
end

local ends_of_packet = ffi.new("ms_ends")

function Packet:flowid()
  packet_raw(self)
  local ends = ends_of_packet
  if C.flow_ends(vm, ends) ~= 0 then return flow_type(ends.a, ends.z, ends.ports, ends.protocol) end
  return new_flow(flow_text())
end

function Packet:originid()
  packet_raw(self)
  return self.origin
end

function Packet:set_timestamp(secs, usecs)
  packet_raw(self)
  host.set_timestamp(self, to_number(secs, 1, "set_timestamp"), to_number(usecs, 2, "set_timestamp"))
end

function Packet:set_packet(secs, usecs, dlt, bytes)
  packet_raw(self)
  if not host.set_packet then error("ERR_NOTAVAIL: set_packet() is not available here", 2) end
  host.set_packet(to_number(secs, 1, "set_packet"), to_number(usecs, 2, "set_packet"),
    to_number(dlt, 3, "set_packet"), to_text(bytes, 4, "set_packet"))
end

function Packet:set_packetstore_policy(flags)
  packet_raw(self)
  host.set_packetstore_policy(to_number(flags, 1, "set_packetstore_policy"))
end

--- Layer --------------------------------------------------------------------------------------------------------------

local Layer = {}

function Layer:layer_bytes()
  if self.buf.seq ~= cur[0] then stale("Layer") end
  return self.buf.len
end

function Layer:total_bytes()
  if self.buf.seq ~= cur[0] then stale("Layer") end
  return self.wirelen
end

function Layer:protocol_id()
  if self.buf.seq ~= cur[0] then stale("Layer") end
  return host.protocol_guid(self.protocol)
end

function Layer:rawbytes()
  local buf = self.buf
  if buf.seq ~= cur[0] then stale("Layer") end
  return buf
end

-- Most callbacks never ask for the packet, so its slot is filled for the first one that does.
function Layer:packet()
  if self.buf.seq ~= cur[0] then stale("Layer") end
  local packet = self.packet_slot
  if packet.raw.seq ~= cur[0] then C.fill_packet(vm) end
  return packet
end

function Layer:getbyte(off)
  local buf = self.buf
  if buf.seq ~= cur[0] then stale("Layer") end
  if type(off) ~= "number" then off = to_number(off, 1, "getbyte") or 0 end
  if off >= 0 and off < buf.len then return buf.data[off] end
  return 0
end

function Layer:testbit(bitno)
  local buf = self.buf
  if buf.seq ~= cur[0] then stale("Layer") end
  if type(bitno) ~= "number" then bitno = to_number(bitno, 1, "testbit") or -1 end
  -- Written so that NaN fails the comparison; the bit library rounds, so the fraction goes first.
  if not (bitno >= 0 and bitno < buf.len * 8) then return false end
  bitno = floor(bitno)
  return band(buf.data[rshift(bitno, 3)], rshift(0x80, band(bitno, 7))) ~= 0
end

function Layer:flowkey()
  if self.buf.seq ~= cur[0] then stale("Layer") end
  return flow_text()
end

local function address(v) return format("%p", v) end

-- Without this the error names the struct behind the object. Methods that exist are found without it.
local function name_missing(methods, what)
  setmetatable(methods, { __index = function(_, name)
    error(format("attempt to call method '%s' (a nil value): a %s has no such method", tostring(name), what), 2)
  end })
end
name_missing(Buffer, "Buffer")
name_missing(Packet, "Packet")
name_missing(Layer, "Layer")
name_missing(Ends, "FlowID")

ffi.metatype("ms_buffer", { __index = Buffer, __tostring = function(v) return "Buffer: " .. address(v) end, __metatable = false })
ffi.metatype("ms_packet", { __index = Packet, __tostring = function(v) return "Packet: " .. address(v) end, __metatable = false })
ffi.metatype("ms_flow", { __index = Ends, __tostring = show_flow, __eq = is_same_flow, __metatable = "FlowID" })
ffi.metatype("ms_layer", { __index = Layer, __tostring = function(v) return "Layer: " .. address(v) end, __metatable = false })

return {
  C = C, vm = vm, cur = cur,
  -- Libraries as they were before the script ran: what is made later must not meet what it replaced.
  ffi = ffi, error = error, xpcall = xpcall, pcall = pcall, type = type, tostring = tostring,
  tonumber = tonumber, rawget = rawget, floor = floor, setmetatable = setmetatable, pairs = pairs, ipairs = ipairs,
  getlocal = debug.getlocal, find = string.find, format = format, select = select, bit = bit,
  sub = string.sub, unpack = unpack, getmetatable = getmetatable, remove = table.remove, sort = table.sort,
  getinfo = debug.getinfo, huge = math.huge, create = coroutine.create, resume = coroutine.resume,
  yield = coroutine.yield, running = coroutine.running,
  to_number = to_number, to_text = to_text, to_flow = to_flow, bad = bad, stale = stale,
  new_flow = new_flow, flow_of_event = flow_of_event, has_ends = has_ends, name_missing = name_missing,
  buffer_type = ffi.typeof("ms_buffer"), packet_type = ffi.typeof("ms_packet"), layer_type = ffi.typeof("ms_layer"),
  -- Methods of what is lent, for values.lua.
  Buffer = Buffer, Packet = Packet, Layer = Layer,
}
