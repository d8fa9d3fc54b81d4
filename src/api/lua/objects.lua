-- The objects that scripts receive: Buffer, Packet, Layer, FlowID.
--
-- Buffers, packets and layers are structs filled by the host (api/loan.rs declares the same layout). Each carries the
-- sequence number of its packet; the object is usable while that number equals the one stored in `cur`, which the
-- driver loops set before every callback. The compiler folds the comparison away inside a callback.
--
-- Called once per VM with the table of host functions; returns the constructors the drivers need.

local host = ...
local ffi = require "ffi"
local bit = require "bit"

local type, tonumber, tostring, error = type, tonumber, tostring, error
local setmetatable, getmetatable, rawget, ipairs = setmetatable, getmetatable, rawget, ipairs
local band, rshift = bit.band, bit.rshift
local ffi_string, ffi_istype, floor, format = ffi.string, ffi.istype, math.floor, string.format

ffi.cdef [[
typedef struct { const uint8_t *data; int32_t len; int32_t seq; } ms_buffer;
typedef struct { ms_buffer raw; int32_t wirelen; int32_t nlayers; int32_t origin; int32_t reserved; int64_t nanos; } ms_packet;
typedef struct { ms_buffer buf; ms_packet *packet_slot; int32_t protocol; int32_t wirelen; } ms_layer;
typedef struct { double *value; double *updates; int32_t generation; int32_t reserved; } ms_cell;
typedef struct { ms_buffer block; int32_t kind; int32_t reserved; } ms_http_header;
typedef struct {
  ms_buffer buf; const uint8_t *text; int32_t text_len; int32_t topic; int32_t slot; uint32_t generation;
  int32_t direction; int32_t exchange; double time; double numbers[4];
  ms_http_header request, response;
} ms_event;
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
  int32_t (*flow_numbers)(void *vm, int32_t slot, uint32_t generation, double *out);
  int32_t (*flow_part)(double a, double z, double rest, int32_t index, char *out);
  void (*disable_reassembly)(void *vm, const char *flow, uint32_t len);
  void (*disable_reassembly_of)(void *vm, double a, double z, double rest);
} ms_host;
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

local function stale(what)
  host.stale(what)
  error("ERR_STALE: " .. what .. " used outside its callback", 3)
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

-- A plain value: the text of the id, or, of most flows that packets tell of, three numbers that say the same, and the text
-- once somebody asks for it. Most callbacks never do, and texts that are all different cost more than the rest of a call.
-- Behind them the part asked for first and its number; other parts follow where there is no place for them yet.
local TEXT, A, Z, REST, KNOWN, PART, PARTS = 1, 2, 3, 4, 5, 6, 6
local WHOLE = -1
local FlowID = {}

local function text_of(flow)
  local text = flow[TEXT]
  if not text then
    text = ffi_string(scratch, C.flow_part(flow[A], flow[Z], flow[REST], WHOLE, scratch))
    flow[TEXT] = text
  end
  return text
end

local flow_meta = {
  __index = FlowID,
  __metatable = "FlowID",
  __tostring = function(self) return "FlowID: " .. text_of(self) end,
}

function flow_meta.__eq(a, b) return text_of(a) == text_of(b) end

local function new_flow(text) return setmetatable({ text, 0, 0, 0, 0, false }, flow_meta) end

function FlowID:id() return text_of(self) end
FlowID.key = FlowID.id

local function part_of(flow, index)
  local text = flow[TEXT]
  if text then return ffi_string(scratch, C.flow_field(text, #text, index - 1, scratch)) end
  return ffi_string(scratch, C.flow_part(flow[A], flow[Z], flow[REST], index - 1, scratch))
end

for index, name in ipairs(host.flow_fields) do
  local place = index + PARTS
  FlowID[name] = function(self)
    local known = self[KNOWN]
    if known == index then return self[PART] end
    if known == 0 then
      local part = part_of(self, index)
      self[KNOWN], self[PART] = index, part
      return part
    end
    local part = rawget(self, place)
    if not part then
      part = part_of(self, index)
      self[place] = part
    end
    return part
  end
end

-- A flow of the table.
local numbers = ffi.new("double[3]")
local function flow_at(slot, generation)
  if C.flow_numbers(vm, slot, generation, numbers) == 0 then
    return new_flow(ffi_string(scratch, C.flow_name(vm, slot, generation, scratch)))
  end
  return setmetatable({ false, numbers[0], numbers[1], numbers[2], 0, false }, flow_meta)
end

local function is_flow(v) return type(v) == "table" and getmetatable(v) == "FlowID" end

-- The numbers of a flow of which nobody has asked for the text.
local function numbers_of(v)
  if is_flow(v) and not v[TEXT] then return v[A], v[Z], v[REST] end
end

-- Text of a flow key given as text, FlowID, or an object with an id; nil for nil.
local function to_flow(v, n, method)
  local t = type(v)
  if t == "string" or v == nil then return v end
  if t == "number" then return tostring(v) end
  if is_flow(v) then return text_of(v) end
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

local function packet_raw(self)
  local raw = self.raw
  if raw.seq ~= cur[0] then stale("Packet") end
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

function Packet:rawbytes() return packet_raw(self) end

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
  if protocol < 0 then return nil end
  local layer = C.find_layer(vm, protocol)
  if layer == nil then return nil end
  return layer
end

local function flow_text()
  return ffi_string(scratch, C.flow_id(vm, scratch))
end

function Packet:flowid()
  packet_raw(self)
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

ffi.metatype("ms_buffer", { __index = Buffer, __tostring = function(v) return "Buffer: " .. address(v) end, __metatable = false })
ffi.metatype("ms_packet", { __index = Packet, __tostring = function(v) return "Packet: " .. address(v) end, __metatable = false })
ffi.metatype("ms_layer", { __index = Layer, __tostring = function(v) return "Layer: " .. address(v) end, __metatable = false })

return {
  C = C, vm = vm, cur = cur,
  -- The library as it was before the script ran: the drivers are made later and must not meet what it replaced.
  ffi = ffi, error = error, xpcall = xpcall, pcall = pcall, type = type, tostring = tostring,
  tonumber = tonumber, rawget = rawget, floor = floor, setmetatable = setmetatable,
  getlocal = debug.getlocal, find = string.find, format = format, select = select, bit = bit,
  to_number = to_number, to_text = to_text, to_flow = to_flow, bad = bad, stale = stale,
  new_flow = new_flow, flow_at = flow_at, numbers_of = numbers_of, name_missing = name_missing,
  buffer_type = ffi.typeof("ms_buffer"), packet_type = ffi.typeof("ms_packet"), layer_type = ffi.typeof("ms_layer"),
}
