-- T.util. Arithmetic on doubles instead of the bit library where values may exceed 32 bits: `bit` normalises only
-- numbers up to 2^51.
local util, arguments, digests = ...
local band, bor, bxor, rshift, tobit = bit.band, bit.bor, bit.bxor, bit.rshift, bit.tobit
local byte, char, find, format, gsub, sub = string.byte, string.char, string.find, string.format, string.gsub, string.sub
local floor, pairs, rawequal, setmetatable, tonumber, unpack = math.floor, pairs, rawequal, setmetatable, tonumber, unpack
local number, optional_number, text = arguments.number, arguments.optional_number, arguments.text

local TWO_32 = 4294967296

-- Modulo 2^32; NaN and infinities, which have no remainder, count as 0.
local function to_u32(value)
  local rest = floor(value) % TWO_32
  if rest ~= rest then return 0 end
  return rest
end

-- Dotted IPv4 text to a number; nil for anything else. Leading zeros are refused: they mean octal to some parsers.
local function parse_ipv4(s)
  local length = #s
  if length < 7 or length > 15 then return nil end
  local value, octet, digits, dots = 0, 0, 0, 0
  for i = 1, length do
    local c = byte(s, i)
    if c == 46 then
      if digits == 0 then return nil end
      value, octet, digits, dots = value * 256 + octet, 0, 0, dots + 1
    elseif c >= 48 and c <= 57 then
      if digits > 0 and octet == 0 then return nil end
      octet, digits = octet * 10 + c - 48, digits + 1
      if octet > 255 then return nil end
    else
      return nil
    end
  end
  if dots ~= 3 or digits == 0 then return nil end
  return value * 256 + octet
end

function util.ntop(n, ...)
  if rawequal(n, util) then n = ... end
  local v = to_u32(number(n, 1, "ntop"))
  return format("%d.%d.%d.%d", floor(v / 16777216), floor(v / 65536) % 256, floor(v / 256) % 256, v % 256)
end

function util.pton(s, ...)
  if rawequal(s, util) then s = ... end
  s = text(s, 1, "pton")
  if not s then return nil end
  return parse_ipv4(s)
end

function util.bor(p, q, extra)
  if rawequal(p, util) then p, q = q, extra end
  local a, b = number(p, 1, "bor"), number(q, 2, "bor")
  return bor(tobit(to_u32(a)), tobit(to_u32(b))) % TWO_32
end

function util.band(p, q, extra)
  if rawequal(p, util) then p, q = q, extra end
  local a, b = number(p, 1, "band"), number(q, 2, "band")
  return band(tobit(to_u32(a)), tobit(to_u32(b))) % TWO_32
end

function util.testbit32(n, bitno, extra)
  if rawequal(n, util) then n, bitno = bitno, extra end
  local value, index = number(n, 1, "testbit32"), number(bitno, 2, "testbit32")
  if not (index >= 0 and index < 32) then return false end
  return floor(to_u32(value) / 2 ^ floor(index)) % 2 == 1
end

function util.bitval32(n, high, width, extra)
  if rawequal(n, util) then n, high, width = high, width, extra end
  local value = to_u32(number(n, 1, "bitval32"))
  high, width = floor(number(high, 2, "bitval32")), floor(number(width, 3, "bitval32"))
  -- Bits outside the 32 read as 0, so a field that hangs over either end is cut there.
  if not (high >= 0 and width > 0) then return 0 end
  local low = high - width + 1
  if low < 0 then low, width = 0, high + 1 end
  if low > 31 then return 0 end
  if width > 32 then width = 32 end
  return floor(value / 2 ^ low) % 2 ^ width
end

local function tokens(s, delim)
  local result, count = {}, 0
  if not s then return result, 0 end
  if not delim then return { s }, 1 end
  if delim == "" then
    for i = 1, #s do result[i] = sub(s, i, i) end
    if s == "" then result[1] = "" end
    return result, #result
  end
  local from = 1
  while true do
    local first, last = find(s, delim, from, true)
    count = count + 1
    if not first then
      result[count] = sub(s, from)
      return result, count
    end
    result[count] = sub(s, from, first - 1)
    from = last + 1
  end
end

function util.split(s, delim, extra)
  if rawequal(s, util) then s, delim = delim, extra end
  s, delim = text(s, 1, "split"), text(delim, 2, "split")
  return (tokens(s, delim))
end

function util.splitm(s, delim, extra)
  if rawequal(s, util) then s, delim = delim, extra end
  s, delim = text(s, 1, "splitm"), text(delim, 2, "splitm")
  local list, count = tokens(s, delim)
  return unpack(list, 1, count)
end

-- Product modulo 2^32 in doubles: both partial products stay below 2^49, where every integer is exact.
local function multiply(a, m)
  local a_low, a_high = band(a, 0xffff), rshift(a, 16)
  return tobit((a_low * m + (a_high * m % 65536) * 65536) % TWO_32)
end

local M = 0x5bd1e995

-- MurmurHash2, 32 bit, seed 0.
local function murmur2(s)
  local length = #s
  local h = tobit(length)
  local whole = length - length % 4
  for i = 1, whole, 4 do
    local b0, b1, b2, b3 = byte(s, i, i + 3)
    local k = multiply(tobit(b0 + b1 * 256 + b2 * 65536 + b3 * 16777216), M)
    k = multiply(bxor(k, rshift(k, 24)), M)
    h = bxor(multiply(h, M), k)
  end
  local left = length - whole
  if left > 0 then
    local tail = byte(s, whole + 1)
    if left > 1 then tail = tail + byte(s, whole + 2) * 256 end
    if left > 2 then tail = tail + byte(s, whole + 3) * 65536 end
    h = multiply(bxor(h, tobit(tail)), M)
  end
  h = multiply(bxor(h, rshift(h, 13)), M)
  return bxor(h, rshift(h, 15)) % TWO_32
end

function util.hash(s, nbits, extra)
  if rawequal(s, util) then s, nbits = nbits, extra end
  s, nbits = text(s, 1, "hash"), optional_number(nbits, 2, "hash")
  if not s then return 0 end
  local h = murmur2(s)
  if not nbits or not (nbits < 32) then return h end
  nbits = floor(nbits)
  if nbits < 1 then nbits = 1 end
  return h % 2 ^ nbits
end

-- Each byte is spelt once, when it first comes up.
local HEX_OF = setmetatable({}, {
  __index = function(cache, character)
    local pair = format("%02x", byte(character))
    cache[character] = pair
    return pair
  end,
})

-- Both letter cases of a pair make 484 spellings; each is worked out once.
local BYTE_OF = setmetatable({}, {
  __index = function(cache, pair)
    local value = char(tonumber(pair, 16))
    cache[pair] = value
    return value
  end,
})

function util.bin2hex(s, ...)
  if rawequal(s, util) then s = ... end
  s = text(s, 1, "bin2hex")
  if not s then return "" end
  return (gsub(s, ".", HEX_OF))
end

function util.hex2bin(s, ...)
  if rawequal(s, util) then s = ... end
  s = text(s, 1, "hex2bin")
  if not s then return "" end
  local bad = find(s, "%X")
  local good = bad and bad - 1 or #s
  return (gsub(sub(s, 1, good - good % 2), "%x%x", BYTE_OF))
end

-- sha256, sha256_file, md5, md5_file.
for name, digest in pairs(digests) do
  util[name] = function(s, ...)
    if rawequal(s, util) then s = ... end
    s = text(s, 1, name)
    if not s then return nil end
    return digest(s)
  end
end

return parse_ipv4
