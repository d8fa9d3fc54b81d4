-- Buffers, packets, layers and headers for callbacks that may keep them.
--
-- The structs of objects.lua are used again, so that one which a script keeps would come to stand for another packet. A value
-- names a struct together with the number that it had when the value was made, and the round of that number: it is refused
-- for ever once its callback has returned. The methods are those of the struct; what they give out is a value as well.
--
-- Called for the first callback of a VM that needs it, with the objects and the address of the number of the round.

local objects, round_address = ...
local ffi, cur, stale = objects.ffi, objects.cur, objects.stale
local to_number, to_text, format = objects.to_number, objects.to_text, objects.format
local Buffer, Packet, Layer, HTTPHeader = objects.Buffer, objects.Packet, objects.Layer, objects.HTTPHeader
local istype = ffi.istype
local round = ffi.cast("const int32_t *", round_address)

local new_buffer, new_packet = ffi.typeof("ms_buffer_value"), ffi.typeof("ms_packet_value")
local new_layer, new_header = ffi.typeof("ms_layer_value"), ffi.typeof("ms_http_header_value")

local function lend_buffer(slot) return new_buffer(slot, cur[0], round[0]) end
local function lend_packet(slot) return new_packet(slot, cur[0], round[0]) end
local function lend_layer(slot) return new_layer(slot, cur[0], round[0]) end
local function lend_header(slot) return new_header(slot, cur[0], round[0]) end

-- The struct behind a value. The method that it was called for is the one that the script called, so that errors name the
-- line of the script; in front of a tail call those of the method itself do.
local function buffer_of(self)
  if self._seq ~= cur[0] or self._round ~= round[0] then stale("Buffer", 1) end
  return self._slot
end

local function packet_of(self)
  if self._seq ~= cur[0] or self._round ~= round[0] then stale("Packet", 1) end
  return self._slot
end

local function layer_of(self)
  if self._seq ~= cur[0] or self._round ~= round[0] then stale("Layer", 1) end
  return self._slot
end

local function header_of(self)
  if self._seq ~= cur[0] or self._round ~= round[0] then stale("HTTPHeader", 1) end
  return self._slot
end

-- Makes a kind of values. Two of the same struct and the same callback are equal.
local function define(new, methods, what)
  objects.name_missing(methods, what)
  ffi.metatype(new, {
    __index = methods, __metatable = false,
    __tostring = function(v) return what .. ": " .. format("%p", v) end,
    __eq = function(a, b)
      return istype(new, a) and istype(new, b) and a._slot == b._slot and a._seq == b._seq and a._round == b._round
    end,
  })
end

--- Buffer -------------------------------------------------------------------------------------------------------------

do
  local size, hval_8, hval_16, hval_24 = Buffer.size, Buffer.hval_8, Buffer.hval_16, Buffer.hval_24
  local hval_32, text, hexdump = Buffer.hval_32, Buffer.tostring, Buffer.hexdump
  local append, write = Buffer.appendtofile, Buffer.writetofile
  local Value = {}
  function Value:size() return size(buffer_of(self)) end
  Value.length = Value.size
  function Value:hval_8(off) return hval_8(buffer_of(self), off) end
  function Value:hval_16(off) return hval_16(buffer_of(self), off) end
  function Value:hval_24(off) return hval_24(buffer_of(self), off) end
  function Value:hval_32(off) return hval_32(buffer_of(self), off) end
  function Value:tostring(off, n) return text(buffer_of(self), off, n) end
  function Value:hexdump(off, n) return hexdump(buffer_of(self), off, n) end
  function Value:appendtofile(name) return append(buffer_of(self), name) end
  function Value:writetofile(name, off) return write(buffer_of(self), name, off) end
  define(new_buffer, Value, "Buffer")
end

--- Packet -------------------------------------------------------------------------------------------------------------

do
  local timestamp, rawbytes, wire_length = Packet.timestamp, Packet.rawbytes, Packet.wire_length
  local capture_length, num_layers = Packet.capture_length, Packet.num_layers
  local get_layer, find_layer, flowid, originid = Packet.get_layer, Packet.find_layer, Packet.flowid, Packet.originid
  local set_timestamp, set_packet = Packet.set_timestamp, Packet.set_packet
  local set_policy = Packet.set_packetstore_policy
  local Value = {}
  function Value:timestamp() return timestamp(packet_of(self)) end
  function Value:rawbytes() return lend_buffer(rawbytes(packet_of(self))) end
  function Value:wire_length() return wire_length(packet_of(self)) end
  function Value:capture_length() return capture_length(packet_of(self)) end
  function Value:num_layers() return num_layers(packet_of(self)) end
  function Value:get_layer(index)
    local slot = packet_of(self)
    local layer = get_layer(slot, to_number(index, 1, "get_layer"))
    return layer and lend_layer(layer)
  end
  function Value:find_layer(guid)
    local slot = packet_of(self)
    local layer = find_layer(slot, to_text(guid, 1, "find_layer"))
    return layer and lend_layer(layer)
  end
  function Value:flowid() return flowid(packet_of(self)) end
  function Value:originid() return originid(packet_of(self)) end
  function Value:set_timestamp(secs, usecs) return set_timestamp(packet_of(self), secs, usecs) end
  function Value:set_packet(secs, usecs, dlt, bytes) return set_packet(packet_of(self), secs, usecs, dlt, bytes) end
  function Value:set_packetstore_policy(flags) return set_policy(packet_of(self), flags) end
  define(new_packet, Value, "Packet")
end

--- Layer --------------------------------------------------------------------------------------------------------------

do
  local layer_bytes, total_bytes, protocol_id = Layer.layer_bytes, Layer.total_bytes, Layer.protocol_id
  local rawbytes, packet, getbyte, testbit, flowkey = Layer.rawbytes, Layer.packet, Layer.getbyte, Layer.testbit, Layer.flowkey
  local Value = {}
  function Value:layer_bytes() return layer_bytes(layer_of(self)) end
  function Value:total_bytes() return total_bytes(layer_of(self)) end
  function Value:protocol_id() return protocol_id(layer_of(self)) end
  function Value:rawbytes() return lend_buffer(rawbytes(layer_of(self))) end
  function Value:packet() return lend_packet(packet(layer_of(self))) end
  function Value:getbyte(off) return getbyte(layer_of(self), off) end
  function Value:testbit(bitno) return testbit(layer_of(self), bitno) end
  function Value:flowkey() return flowkey(layer_of(self)) end
  define(new_layer, Value, "Layer")
end

--- HTTPHeader ---------------------------------------------------------------------------------------------------------

do
  local is_request, is_response, is_method = HTTPHeader.is_request, HTTPHeader.is_response, HTTPHeader.is_method
  local get_method, get_path, get_status = HTTPHeader.get_method, HTTPHeader.get_path, HTTPHeader.get_status
  local get_value, get_all, match_value = HTTPHeader.get_value, HTTPHeader.get_all_headers, HTTPHeader.match_value
  local Value = {}
  function Value:is_request() return is_request(header_of(self)) end
  function Value:is_response() return is_response(header_of(self)) end
  function Value:is_method(name) return is_method(header_of(self), name) end
  function Value:get_method() return get_method(header_of(self)) end
  function Value:get_path() return get_path(header_of(self)) end
  function Value:get_status() return get_status(header_of(self)) end
  function Value:get_value(name) return get_value(header_of(self), name) end
  function Value:get_all_headers() return get_all(header_of(self)) end
  function Value:match_value(name, pattern) return match_value(header_of(self), name, pattern) end
  define(new_header, Value, "HTTPHeader")
end

--- Arguments ----------------------------------------------------------------------------------------------------------

-- The bytes behind a value that is an argument of the method that called the caller of this function, and what it is.
local function bytes_of(v)
  local what = istype(new_layer, v) and "Layer" or istype(new_buffer, v) and "Buffer" or istype(new_packet, v) and "Packet"
  if not what then return nil end
  if v._seq ~= cur[0] or v._round ~= round[0] then stale(what, 2) end
  local slot = v._slot
  return what == "Layer" and slot.buf or what == "Packet" and slot.raw or slot, what
end

objects.lend_buffer, objects.lend_packet, objects.lend_layer, objects.lend_header = lend_buffer, lend_packet, lend_layer, lend_header
objects.bytes_of_value = bytes_of
