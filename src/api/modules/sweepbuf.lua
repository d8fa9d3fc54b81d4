-- sweepbuf: reads the fields of a message one after the other. The interface is that of the BITMAUL library.
--
-- A read past the end of the buffer raises an error, except for single bytes, which read as nil. Either way the object's
-- `short` is set, which is how pdurecord knows that a dissector decided on a header it has only part of.
local byte, concat, error, find, floor, format = string.byte, table.concat, error, string.find, math.floor, string.format
local gmatch, gsub, loadstring, pcall, setmetatable = string.gmatch, string.gsub, loadstring, pcall, setmetatable
local sub, type = string.sub, type

local SweepBuf = {}
local metatable = { __index = SweepBuf }

-- `level` counts from here to the script: 4 for a reader, which a method calls, 3 for a method.
local function past_end(self, width, at, level)
  self.short = true
  error(format("sweepbuf: %d bytes wanted at offset %d of a buffer of %d", width, at - 1, #self.buff), level)
end

-- Readers of one field at a given position.
local readers = {}

function readers.u8(self, at)
  local value
  if at >= 1 then value = byte(self.buff, at) end
  if not value then self.short = true end
  return value
end

function readers.u16(self, at)
  if at < 1 or at + 1 > #self.buff then past_end(self, 2, at, 4) end
  local a, b = byte(self.buff, at, at + 1)
  return a * 256 + b
end

function readers.u24(self, at)
  if at < 1 or at + 2 > #self.buff then past_end(self, 3, at, 4) end
  local a, b, c = byte(self.buff, at, at + 2)
  return a * 65536 + b * 256 + c
end

function readers.u32(self, at)
  if at < 1 or at + 3 > #self.buff then past_end(self, 4, at, 4) end
  local a, b, c, d = byte(self.buff, at, at + 3)
  return a * 16777216 + b * 65536 + c * 256 + d
end

function readers.u16_le(self, at)
  if at < 1 or at + 1 > #self.buff then past_end(self, 2, at, 4) end
  local a, b = byte(self.buff, at, at + 1)
  return b * 256 + a
end

function readers.u24_le(self, at)
  if at < 1 or at + 2 > #self.buff then past_end(self, 3, at, 4) end
  local a, b, c = byte(self.buff, at, at + 2)
  return c * 65536 + b * 256 + a
end

function readers.u32_le(self, at)
  if at < 1 or at + 3 > #self.buff then past_end(self, 4, at, 4) end
  local a, b, c, d = byte(self.buff, at, at + 3)
  return d * 16777216 + c * 65536 + b * 256 + a
end

readers.u8_le = readers.u8

local WIDTHS = { u8 = 1, u16 = 2, u24 = 3, u32 = 4, u8_le = 1, u16_le = 2, u24_le = 3, u32_le = 4 }

-- Each method is compiled from text of its own: methods that share one prototype would share the compiler's traces and
-- counters too, which costs several times the speed.
local function generate(text, reader, width)
  return loadstring(gsub(text, "WIDTH", width), "=sweepbuf")(reader)
end

for name, width in pairs(WIDTHS) do
  local read = readers[name]
  SweepBuf[name] = generate("local read = ... return function(self) local v = read(self, self.seekpos) return v end", read, width)
  SweepBuf["next_" .. name] = generate([[local read = ... return function(self)
    local at = self.seekpos
    local v = read(self, at)
    self.seekpos = at + WIDTH
    return v
  end]], read, width)
  SweepBuf["peek_" .. name] = generate([[local read = ... return function(self, offset)
    local v = read(self, self.seekpos + (offset or 0))
    return v
  end]], read, width)
  if width > 1 then
    SweepBuf["next_" .. name .. "_arr"] = generate([[local read = ... return function(self, count)
      local list, at = {}, self.seekpos
      for i = 1, count do
        list[i] = read(self, at)
        at = at + WIDTH
      end
      self.seekpos = at
      return list
    end]], read, width)
  end
end

-- The spelling without underscore is in use too.
SweepBuf.u8le, SweepBuf.u16le, SweepBuf.u24le, SweepBuf.u32le = SweepBuf.u8_le, SweepBuf.u16_le, SweepBuf.u24_le, SweepBuf.u32_le

-- Bytes may be fewer than asked for; the list then holds those there are.
function SweepBuf:next_u8_arr(count)
  local list, at = {}, self.seekpos
  local last = at + floor(count) - 1
  if last > #self.buff then
    self.short = true
    last = #self.buff
  end
  for i = at, last do list[#list + 1] = byte(self.buff, i) end
  self.seekpos = at + floor(count)
  return list
end

local function by_width(self, count, suffix)
  if count == 1 then return self:next_u8() end
  if count == 2 or count == 3 or count == 4 then
    local value = self["next_u" .. count * 8 .. suffix](self)
    return value
  end
  error(format("sweepbuf: numbers have 1 to 4 bytes, not %s", tostring(count)), 3)
end

function SweepBuf:next_uN(count)
  local value = by_width(self, count, "")
  return value
end

-- A number of no bytes is nil: prefixes of routing protocols can have a length of zero.
function SweepBuf:next_uN_le(count)
  if count == 0 then return nil end
  local value = by_width(self, count, "_le")
  return value
end

local function named_value(value, names)
  return { value, names[value] or "" }
end

function SweepBuf:next_u8_enum(names)
  return named_value(self:next_u8(), names)
end

function SweepBuf:next_u16_enum(names)
  return named_value(self:next_u16(), names)
end

function SweepBuf:next_uN_enum(count, names)
  return named_value(self:next_uN(count), names)
end

function SweepBuf:next_u8_enum_arr(count, names)
  local list = self:next_u8_arr(count)
  for i = 1, #list do list[i] = named_value(list[i], names) end
  return list
end

-- Bit fields, most significant first.
local function bit_fields(value, bits, widths, names)
  local fields = {}
  for i = 1, #widths do
    if bits <= 0 then break end
    local width = widths[i]
    bits = bits - width
    fields[names and names[i] or i] = floor(value / 2 ^ bits) % 2 ^ width
  end
  return fields
end

function SweepBuf:next_bitfield_u8(widths)
  local value = self:next_u8()
  if not value then past_end(self, 1, self.seekpos - 1, 3) end
  return bit_fields(value, 8, widths)
end

function SweepBuf:next_bitfield_u16(widths)
  return bit_fields(self:next_u16(), 16, widths)
end

function SweepBuf:next_bitfield_u32(widths)
  return bit_fields(self:next_u32(), 32, widths)
end

function SweepBuf:next_bitfield_u8_named(widths, names)
  local value = self:next_u8()
  if not value then past_end(self, 1, self.seekpos - 1, 3) end
  return bit_fields(value, 8, widths, names)
end

function SweepBuf:next_bitfield_u16_named(widths, names)
  return bit_fields(self:next_u16(), 16, widths, names)
end

function SweepBuf:next_bitfield_u32_named(widths, names)
  return bit_fields(self:next_u32(), 32, widths, names)
end

function SweepBuf:next_ipv4()
  local at = self.seekpos
  if at < 1 or at + 3 > #self.buff then past_end(self, 4, at, 3) end
  self.seekpos = at + 4
  return format("%d.%d.%d.%d", byte(self.buff, at, at + 3))
end

function SweepBuf:next_ipv4_arr(count)
  local list = {}
  for i = 1, count do list[i] = self:next_ipv4() end
  return list
end

function SweepBuf:next_mac()
  local at = self.seekpos
  if at < 1 or at + 5 > #self.buff then past_end(self, 6, at, 3) end
  self.seekpos = at + 6
  return format("%02X:%02X:%02X:%02X:%02X:%02X", byte(self.buff, at, at + 5))
end

--- So many bytes, or nil without moving if there are fewer.
function SweepBuf:next_str_to_len(length)
  local at = self.seekpos
  if length < 0 or at < 1 or at + length - 1 > #self.buff then
    self.short = true
    return nil
  end
  self.seekpos = at + length
  return sub(self.buff, at, at + length - 1)
end

function SweepBuf:next_hex_str_to_len(length)
  local text = self:next_str_to_len(length)
  if not text then return nil end
  return (gsub(text, ".", function(c) return format("%02X", byte(c)) end))
end

-- Delimiters are plain text in most scripts (MIME boundaries are full of characters that are special in patterns) and
-- Lua patterns in some. Without an explicit choice, text with a `%` or a bracketed set is a pattern, unless it occurs
-- as it stands.
function SweepBuf.is_pattern(delimiter)
  return find(delimiter, "%", 1, true) ~= nil or find(delimiter, "%[.+%]") ~= nil
end

local function find_delimiter(self, delimiter, is_plain, from)
  if from < 1 then return nil end
  if is_plain ~= false then
    local first, last = find(self.buff, delimiter, from, true)
    if first or is_plain or not SweepBuf.is_pattern(delimiter) then return first, last end
  end
  local ok, first, last = pcall(find, self.buff, delimiter, from)
  -- A match of nothing would not move on; a malformed pattern cannot match.
  if not ok or not first or last < first then return nil end
  return first, last
end

--- Text up to and including the delimiter, or nil without moving.
function SweepBuf:next_str_to_pattern(delimiter, is_plain)
  local at = self.seekpos
  local first, last = find_delimiter(self, delimiter, is_plain, at)
  if not first then return nil end
  self.seekpos = last + 1
  return sub(self.buff, at, last)
end

--- Text up to the next delimiter after the current position, which is where reading goes on; nil without moving.
function SweepBuf:next_str_to_pattern_exclude(delimiter, is_plain)
  local at = self.seekpos
  local first = find_delimiter(self, delimiter, is_plain, at + 1)
  if not first then return nil end
  self.seekpos = first
  return sub(self.buff, at, first - 1)
end

function SweepBuf:inc(count)
  self.seekpos = self.seekpos + count
end

--- As `inc`; true, so that it can be part of a condition.
function SweepBuf:skip(count)
  self.seekpos = self.seekpos + count
  return true
end

function SweepBuf:reset()
  self.seekpos = 1
  self.fence = { #self.buff }
end

--- Cuts the buffer to its first bytes.
function SweepBuf:clip(length)
  if length < #self.buff then
    self.buff = sub(self.buff, 1, length)
    self.right = self.left + #self.buff
    self.fence[1] = #self.buff
  end
end

function SweepBuf:top_fence()
  return self.fence[#self.fence]
end

--- Whether the innermost fence lies ahead. Without a fence a lone last byte does not count: scripts that loop over
--- type-length-value items rely on stopping before an end marker of one byte.
function SweepBuf:has_more()
  local at = self.seekpos
  return at < self.fence[#self.fence] and at <= #self.buff
end

function SweepBuf:push_fence(count)
  self.fence[#self.fence + 1] = self.seekpos + count
end

function SweepBuf:pop_fence()
  if #self.fence > 1 then self.fence[#self.fence] = nil end
end

function SweepBuf:bytes_left_to_fence()
  return self.fence[#self.fence] - self.seekpos
end

function SweepBuf:bytes_left()
  return #self.buff - self.seekpos + 1
end

function SweepBuf:buffer_left()
  local at = self.seekpos
  return sub(self.buff, at < 1 and 1 or at)
end

--- Position in the stream of the next byte.
function SweepBuf:abs_seek()
  return self.left + self.seekpos - 1
end

--- The parts of a text between delimiters, empty ones left out.
function SweepBuf:split(text, delimiter)
  delimiter = delimiter or ","
  local list, from = {}, 1
  if delimiter == "" then return { text } end
  while true do
    local first, last = find(text, delimiter, from, true)
    local part = sub(text, from, first and first - 1)
    if part ~= "" then list[#list + 1] = part end
    if not first then return list end
    from = last + 1
  end
end

--- Fields found by a pattern with two captures, name and value, anywhere in the buffer.
function SweepBuf:split_fields(pattern)
  local fields = {}
  for name, value in gmatch(self.buff, pattern) do fields[name] = value end
  return fields
end

--- Fields of records with plain delimiters, from the current position to an empty record or the end.
function SweepBuf:split_fields_fast(name_delimiter, record_delimiter)
  local fields, text, at = {}, self.buff, self.seekpos
  while at <= #text do
    local first, last = find(text, record_delimiter, at, true)
    local record = sub(text, at, first and first - 1)
    if record == "" then break end
    local name_end, value_start = find(record, name_delimiter, 1, true)
    if name_end then fields[sub(record, 1, name_end - 1)] = sub(record, value_start + 1) end
    if not first then break end
    at = last + 1
  end
  return fields
end

--- Prints the buffer, from the given position (the first is 1) or the beginning to the end.
function SweepBuf:hexdump(from)
  local lines, text = {}, self.buff
  for at = from or 1, #text, 16 do
    local row = sub(text, at, at + 15)
    local columns = gsub(row, ".", function(c) return format("%02X ", byte(c)) end)
    lines[#lines + 1] = format("%08X  %-48s  %s", at - 1, columns, (gsub(row, "[^\32-\126]", ".")))
  end
  print(concat(lines, "\n"))
end

--- Prints what is not read yet.
function SweepBuf:hexdump_left()
  self:hexdump(self.seekpos)
end

function SweepBuf:to_string()
  return format("SweepBuf: %d bytes, next at offset %d, %d left, fence at %d, stream %d to %d", #self.buff,
    self.seekpos - 1, self:bytes_left(), self:top_fence(), self.left, self.right)
end

metatable.__tostring = SweepBuf.to_string

--- Whether one buffer covers no more of the stream than the other.
function metatable.__le(one, other)
  return one.left >= other.left and one.right <= other.right
end

local function new(text, position)
  if type(text) ~= "string" then
    -- A buffer object instead of its bytes.
    text = text:tostring()
  end
  position = position or 1
  return setmetatable({
    buff = text,
    left = position,
    right = position + #text,
    seekpos = 1,
    fence = { #text },
    short = false,
  }, metatable)
end

--- What is left of the first buffer, then what the second adds to it.
function metatable.__add(one, other)
  local known = one.right - other.left
  local added = known > 0 and sub(other.buff, known + 1) or other.buff
  return new(one:buffer_left() .. added, one:abs_seek())
end

return { new = new, is_pattern = SweepBuf.is_pattern }
