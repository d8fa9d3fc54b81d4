-- The extra functions of the `string` library: strings used as buffers. Offsets are zero-based.
local library, arguments, native_hexdump, append, write = ...
local byte, floor, sub, type = string.byte, math.floor, string.sub, type
local optional_number, text = arguments.optional_number, arguments.text

-- One byte, 0 outside. Written so that NaN and infinities fail the comparison instead of reaching `byte`.
local function at(s, offset)
  if offset >= 0 and offset < #s then return byte(s, offset + 1) end
  return 0
end

-- The clipped part: an offset outside gives "", a size beyond the end is cut.
local function part(s, offset, size)
  if not offset and not size then return s end
  offset = offset and floor(offset) or 0
  local length = #s
  if not (offset >= 0 and offset < length) then return "" end
  if not size then return sub(s, offset + 1) end
  size = floor(size)
  if not (size > 0) then return "" end
  if size > length - offset then size = length - offset end
  return sub(s, offset + 1, offset + size)
end

function library.size(s)
  if type(s) ~= "string" then s = text(s, 1, "size") or "" end
  return #s
end

function library.length(s)
  if type(s) ~= "string" then s = text(s, 1, "length") or "" end
  return #s
end

function library.tostring(s, offset, size)
  if type(s) ~= "string" then s = text(s, 1, "tostring") or "" end
  return part(s, optional_number(offset, 1, "tostring"), optional_number(size, 2, "tostring"))
end

function library.hval_8(s, offset)
  if type(s) ~= "string" then s = text(s, 1, "hval_8") or "" end
  offset = floor(optional_number(offset, 1, "hval_8") or 0)
  return at(s, offset)
end

function library.hval_16(s, offset)
  if type(s) ~= "string" then s = text(s, 1, "hval_16") or "" end
  offset = floor(optional_number(offset, 1, "hval_16") or 0)
  return at(s, offset) * 256 + at(s, offset + 1)
end

function library.hval_24(s, offset)
  if type(s) ~= "string" then s = text(s, 1, "hval_24") or "" end
  offset = floor(optional_number(offset, 1, "hval_24") or 0)
  return at(s, offset) * 65536 + at(s, offset + 1) * 256 + at(s, offset + 2)
end

function library.hval_32(s, offset)
  if type(s) ~= "string" then s = text(s, 1, "hval_32") or "" end
  offset = floor(optional_number(offset, 1, "hval_32") or 0)
  return at(s, offset) * 16777216 + at(s, offset + 1) * 65536 + at(s, offset + 2) * 256 + at(s, offset + 3)
end

function library.hexdump(s, offset, size)
  if type(s) ~= "string" then s = text(s, 1, "hexdump") or "" end
  return native_hexdump(part(s, optional_number(offset, 1, "hexdump"), optional_number(size, 2, "hexdump")))
end

function library.appendtofile(s, filename)
  if type(s) ~= "string" then s = text(s, 1, "appendtofile") or "" end
  filename = text(filename, 1, "appendtofile")
  if filename then append(s, filename) end
end

function library.writetofile(s, filename, offset)
  if type(s) ~= "string" then s = text(s, 1, "writetofile") or "" end
  filename = text(filename, 1, "writetofile")
  offset = optional_number(offset, 2, "writetofile") or 0
  if filename then write(s, filename, offset) end
end
