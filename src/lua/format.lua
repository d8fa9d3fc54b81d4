-- string.format, quicker for formats of bytes and words in hexadecimal, which make most of the keys that scripts count by.
--
-- A format of nothing but text, %02X, %02x, %04X and %04x gets a function of its own, which fills in a buffer. Whatever
-- that cannot do (other conversions, arguments that are no integers in range) goes to the library, by a tail call, so
-- that errors name the line and the function of the script.
local format, ffi, tobit = string.format, require "ffi", bit.tobit
local loadstring, concat, type = loadstring, table.concat, type
local find, sub, byte, match = string.find, string.sub, string.byte, string.match

local MAX_FORMATS, MAX_LENGTH, MAX_ARGUMENTS = 128, 64, 16

-- The two digits of every byte, as they lie in memory; made when the first format is learned.
local upper, lower
local function digits(form)
  local table = ffi.new("uint16_t[256]")
  local bytes = ffi.cast("uint8_t *", table)
  for i = 0, 255 do
    local text = format(form, i)
    bytes[i * 2], bytes[i * 2 + 1] = byte(text, 1, 2)
  end
  return table
end

-- Source text of the function of a format, its text with zeros for the digits; nil for other formats.
local function source(form)
  local names, checks, stores, text, at, arguments = {}, {}, {}, "", 1, 0
  while at <= #form do
    local literal = match(form, "^[^%%%z]+", at)
    if literal then
      text, at = text .. literal, at + #literal
    else
      local width, case = match(form, "^%%0([24])([Xx])", at)
      if not width then return end
      arguments, at = arguments + 1, at + 4
      local name, offset, set = "a" .. arguments, #text, case == "X" and "upper" or "lower"
      names[arguments] = name
      checks[arguments] = format("tobit(%s) == %s and %s >= 0 and %s <= %d", name, name, name, name, width == "2" and 255 or 65535)
      if width == "2" then
        stores[#stores + 1] = format("cast(half, buffer + %d)[0] = %s[%s]", offset, set, name)
      else
        stores[#stores + 1] = format("cast(half, buffer + %d)[0] = %s[rshift(%s, 8)]", offset, set, name)
        stores[#stores + 1] = format("cast(half, buffer + %d)[0] = %s[band(%s, 255)]", offset + 2, set, name)
      end
      text = text .. (width == "2" and "00" or "0000")
    end
  end
  if arguments == 0 or arguments > MAX_ARGUMENTS or #text > MAX_LENGTH then return end
  local list = concat(names, ", ")
  local numbers = {}
  for i, name in ipairs(names) do numbers[i] = format("type(%s) == 'number'", name) end
  return concat({
    "local buffer, upper, lower, library, tobit, rshift, band, cast, text_of, half, type = ...",
    "return function(form, ...)",
    "  local " .. list .. " = ...",
    "  if " .. concat(numbers, " and ") .. " and " .. concat(checks, " and ") .. " then",
    "    " .. concat(stores, "\n    "),
    format("    return text_of(buffer, %d)", #text),
    "  end",
    "  return library(form, ...)",
    "end",
  }, "\n"), text
end

local half, cast, text_of, rshift, band = ffi.typeof("uint16_t *"), ffi.cast, ffi.string, bit.rshift, bit.band
local fast, known = {}, 0

local function learn(form)
  if type(form) ~= "string" or known >= MAX_FORMATS or #form > MAX_LENGTH then return end
  known = known + 1
  fast[form] = false
  local code, text = source(form)
  if not code then return end
  if not upper then upper, lower = digits("%02X"), digits("%02x") end
  local buffer = ffi.new("uint8_t[?]", #text, { byte(text, 1, -1) })
  fast[form] = loadstring(code, "=millstream.format")(
    buffer, upper, lower, format, tobit, rshift, band, cast, text_of, half, type)
end

-- Nothing but dots for parameters: no argument and nil are not the same to the library.
string.format = function(...)
  local form = ...
  local quick = fast[form]
  if quick == nil then
    learn(form)
    quick = form ~= nil and fast[form]
  end
  if quick then return quick(...) end
  return format(...)
end
