-- require "sweepbuf": every method, on hand-made messages
local SweepBuf = require "sweepbuf"
local new = SweepBuf.new

local all = hex "01 0203 040506 0708090a 01 0203 040506 0708090a"
local sw = new(all)
expect(sw:u8(), 1)
expect(sw:next_u8(), 1)
expect(sw:u16(), 0x0203)
expect(sw:next_u16(), 0x0203)
expect(sw:u24(), 0x040506)
expect(sw:next_u24(), 0x040506)
expect(sw:u32(), 0x0708090a)
expect(sw:next_u32(), 0x0708090a)
expect(sw:u8_le() + sw:u8le(), 2)
expect(sw:next_u8_le(), 1)
expect(sw:u16_le(), 0x0302)
expect(sw:u16le(), 0x0302)
expect(sw:next_u16_le(), 0x0302)
expect(sw:u24_le(), 0x060504)
expect(sw:u24le(), 0x060504)
expect(sw:next_u24_le(), 0x060504)
expect(sw:u32_le(), 0x0a090807)
expect(sw:u32le(), 0x0a090807)
expect(sw:next_u32_le(), 0x0a090807)
expect(sw:bytes_left(), 0)
sw:reset()
expect(sw:peek_u8(1), 2)
expect(sw:peek_u16(1), 0x0203)
expect(sw:peek_u24(3), 0x040506)
expect(sw:peek_u32(6), 0x0708090a)
expect(sw:peek_u16_le(1), 0x0302)
expect(sw:bytes_left(), #all)
sw:inc(3)
sw:inc(-2)
expect(sw:skip(0), true)
expect(sw:next_uN(2), 0x0203)
expect(sw:next_uN_le(3), 0x060504)
expect(sw:next_uN_le(0), nil)
expect(sw:next_uN(1), 7)
expect(sw:next_uN(4), 0x08090a01)
expect_error("numbers have 1 to 4 bytes", function() sw:next_uN(5) end)

-- Arrays, enumerations, bit fields.
sw = new(hex "0102 0003 0004 00000005 00000006 ff")
expect(sw:next_u8_arr(2), { 1, 2 })
expect(sw:next_u16_arr(2), { 3, 4 })
expect(sw:next_u32_arr(2), { 5, 6 })
expect(sw:next_u8_arr(3), { 255 })
sw = new(hex "01 02 0003 01 02")
expect(sw:next_u8_enum { "ONE" }, { 1, "ONE" })
expect(sw:next_u8_enum { "ONE" }, { 2, "" })
expect(sw:next_uN_enum(2, { [3] = "THREE" }), { 3, "THREE" })
expect(sw:next_u8_enum_arr(2, { "A", "B" }), { { 1, "A" }, { 2, "B" } })
sw = new(hex "a5 5018 80000001 c3")
expect(sw:next_bitfield_u8 { 1, 3, 4 }, { 1, 2, 5 })
expect(sw:next_bitfield_u16 { 4, 6, 1, 1, 1, 1, 1, 1 }, { 5, 0, 0, 1, 1, 0, 0, 0 })
expect(sw:next_bitfield_u32 { 1, 30, 1 }, { 1, 0, 1 })
expect(sw:next_bitfield_u8_named({ 2, 4, 2 }, { "x", "y", "z" }), { x = 3, y = 0, z = 3 })

-- Addresses and strings.
sw = new(hex "c0a80102 0a000001 0a000002 001122aabbcc" .. "GET / HTTP/1.1\r\nrest")
expect(sw:next_ipv4(), "192.168.1.2")
expect(sw:next_ipv4_arr(2), { "10.0.0.1", "10.0.0.2" })
expect(sw:next_mac(), "00:11:22:AA:BB:CC")
expect(sw:next_str_to_pattern(" "), "GET ")
expect(sw:next_str_to_pattern_exclude(" "), "/")
expect(sw:next_str_to_pattern("\r\n"), " HTTP/1.1\r\n")
expect(sw:next_str_to_pattern("\r\n"), nil)
expect(sw:next_str_to_len(99), nil)
expect(sw:next_str_to_len(0), "")
expect(sw:next_hex_str_to_len(2), "7265")
expect(sw:buffer_left(), "st")
expect(new("8=FIX|9=61|35=A|"):next_str_to_pattern("9=%d+|"), "8=FIX|9=61|")
expect(new("a--b.c--b+c"):next_str_to_pattern("--b+c"), "a--b.c--b+c")
expect(new("a%db"):next_str_to_pattern("%d"), "a%d")
expect(new("aXb"):next_str_to_pattern("%u", true), nil)
expect(new("a1b"):next_str_to_pattern(".b", false), "a1b")
expect(new("abc"):next_str_to_pattern("%", false), nil)
expect(new("a"):split("x,,y", ","), { "x", "y" })
expect(new("a"):split(""), {})
expect(new("a"):split("x;y,z", ";"), { "x", "y,z" })
expect(new("A: 1\r\nB: 2\r\n"):split_fields("(%w+): (.-)\r\n"), { A = "1", B = "2" })
sw = new("GET\r\nHost: a: b\r\nEmpty:\r\nX: y\r\n\r\nNot: this")
sw:next_str_to_pattern("\r\n")
expect(sw:split_fields_fast(": ", "\r\n"), { Host = "a: b", X = "y" })

-- The end of the buffer.
sw = new("\1")
expect(sw:has_more(), false)
expect(sw:bytes_left(), 1)
expect(sw:next_u8(), 1)
expect(sw:next_u8(), nil)
expect(sw:bytes_left(), -1)
for _, method in ipairs { "next_u16", "next_u24", "next_u32", "next_u16_le", "u32", "peek_u16", "next_ipv4", "next_mac" } do
  local reason = expect_error("sweepbuf: ", function()
    local _ = new("\1")[method](sw)
  end)
  assert(reason:find("tests/api/sweepbuf.lua", 1, true), reason)
end
sw = new("ab")
sw:inc(-1)
expect(sw:u8(), nil)
expect_error("bytes wanted", function() sw:next_u16() end)
expect_error("bytes wanted", function() new("ab"):next_u16_arr(65535) end)
expect_error("bytes wanted", function() new(""):next_bitfield_u8 { 1 } end)

-- Fences.
sw = new(hex "03 aabbcc 02 01dd 99")
sw:push_fence(sw:next_u8())
expect(sw:bytes_left_to_fence(), 3)
sw:skip(2)
expect(sw:has_more(), true)
sw:skip(1)
expect(sw:has_more(), false)
sw:pop_fence()
sw:push_fence(sw:next_u8())
sw:push_fence(sw:next_u8())
expect(sw:has_more(), true)
sw:next_u8()
expect(sw:has_more(), false)
sw:pop_fence()
sw:pop_fence()
sw:pop_fence()
expect(sw:top_fence(), 8)
expect(sw:bytes_left(), 1)
sw = new("abc")
sw:push_fence(4294967295)
sw:skip(3)
expect(sw:has_more(), false)

-- Joining, cutting, showing.
sw = new("abcdef", 0)
sw:skip(2)
local both = sw + new("efgh", 4)
expect(both.buff, "cdefgh")
expect(both:abs_seek(), 2)
expect(new("bc", 1) <= new("abcd", 0), true)
expect(new("abcd", 0) <= new("bc", 1), false)
both:clip(3)
expect(both:buffer_left(), "cde")
expect(both:bytes_left(), 3)
assert(tostring(both):find("3 bytes", 1, true) and both:to_string() == tostring(both))
local printed = {}
local old_print = print
print = function(text) printed[#printed + 1] = text end
new("0123456789abcdefXY\n"):hexdump()
local rest = new("0123456789abcdefXY\n")
rest:skip(16)
rest:hexdump_left()
rest:skip(9)
rest:hexdump_left()
print = old_print
assert(printed[1]:find("00000010  58 59 0A", 1, true), printed[1])
assert(printed[2]:find("^00000010  58 59 0A"), printed[2])
expect(printed[3], "")

-- A client hello of TLS: server name, ciphers, groups.
local sni = "www.example.org"
local function u16(n) return string.char(math.floor(n / 256), n % 256) end
local name = "\0" .. u16(#sni) .. sni
local extensions = u16(0) .. u16(#name + 2) .. u16(#name) .. name
  .. u16(10) .. u16(6) .. u16(4) .. u16(29) .. u16(23) .. u16(11) .. u16(2) .. "\1\0" .. u16(0xff01) .. u16(1) .. "\0"
local body = u16(0x303) .. ("R"):rep(32) .. "\4sess" .. u16(6) .. u16(0x1301) .. u16(0xc02b) .. u16(0xff) .. "\1\0" .. u16(#extensions) .. extensions
local record = "\22" .. u16(0x301) .. u16(#body + 4) .. "\1\0" .. u16(#body) .. body
local hello = new(record)
expect({ hello:next_u8(), hello:next_u16(), hello:bytes_left() - hello:next_u16() }, { 22, 0x301, 2 })
expect({ hello:next_u8(), hello:next_u24() }, { 1, #record - 9 })
expect(hello:next_u16(), 771)
expect(hello:skip(32) and hello:next_str_to_len(hello:next_u8()), "sess")
hello:push_fence(hello:next_u16())
local ciphers = {}
while hello:has_more() do ciphers[#ciphers + 1] = hello:next_u16() end
hello:pop_fence()
expect(ciphers, { 0x1301, 0xc02b, 0xff })
expect(hello:next_u8_arr(hello:next_u8()), { 0 })
hello:push_fence(hello:next_u16())
local kinds, host = {}, nil
while hello:has_more() do
  local kind = hello:next_u16()
  kinds[#kinds + 1] = kind
  hello:push_fence(hello:next_u16())
  if kind == 0 then
    expect(hello:next_u16(), #sni + 3)
    expect(hello:next_u8(), 0)
    host = hello:next_str_to_len(hello:next_u16())
  elseif kind == 10 then
    expect(hello:next_u16_arr(hello:next_u16() / 2), { 29, 23 })
  else
    hello:skip(hello:bytes_left_to_fence())
  end
  expect(hello:has_more(), false)
  hello:pop_fence()
end
expect(host, sni)
expect(kinds, { 0, 10, 11, 0xff01 })
expect(hello:bytes_left(), 0)

-- A DNS answer.
local dns = new(hex "1234 8180 0001 0001 0000 0000" .. "\3www\7example\3org\0" .. hex "0001 0001 c00c 0001 0001 0000012c 0004 5db8d822")
expect(dns:next_u16(), 0x1234)
expect(dns:next_bitfield_u16 { 1, 4, 1, 1, 1, 1, 3, 4 }, { 1, 0, 0, 0, 1, 1, 0, 0 })
expect(dns:next_u16_arr(4), { 1, 1, 0, 0 })
local labels = {}
while dns:u8() > 0 do labels[#labels + 1] = dns:next_str_to_len(dns:next_u8()) end
dns:skip(1)
expect(table.concat(labels, "."), "www.example.org")
dns:skip(4)
expect(dns:next_bitfield_u16 { 2, 14 }, { 3, 12 })
dns:skip(4)
expect(dns:next_u32(), 300)
dns:push_fence(dns:next_u16())
expect(dns:next_ipv4(), "93.184.216.34")
expect(dns:has_more(), false)

-- DHCP options end in a lone byte, which does not count as more.
sw = new(hex "35 01 02 33 04 00000e10 ff")
local options = {}
while sw:has_more() do
  local kind, length = sw:next_u8_enum { [53] = "TYPE" }, sw:next_u8()
  options[#options + 1] = { kind[1], sw:next_hex_str_to_len(length) }
end
expect(options, { { 53, "02" }, { 51, "00000E10" } })
