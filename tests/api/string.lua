-- string: tostring, size, length, hval_8, hval_16, hval_24, hval_32, hexdump, appendtofile, writetofile
expect(("abc"):hval_16(1), 25187)
expect(("abc"):tostring(1, 1), "b")
expect(("abc"):tostring(), "abc")
expect(("abc"):tostring(1), "bc")
expect(("abc"):tostring(0, 99), "abc")
expect(("abc"):tostring(3), "")
expect(("abc"):tostring(-1), "")
expect(("abc"):tostring(-1, 2), "")
expect(("abc"):tostring(1, -1), "")
expect(("abc"):tostring(1, 0), "")
expect(("abc"):tostring(nil, 2), "ab")
expect(("abc"):tostring("1", "1"), "b")
expect((""):tostring(), "")
expect(("abc"):tostring(0 / 0), "")
expect(("abc"):tostring(1 / 0, 1 / 0), "")
expect(("abc"):size(), 3)
expect((""):length(), 0)
expect(("a\0b"):size(), 3)
local s = "\255\254\253\252"
expect(s:hval_8(0), 255)
expect(s:hval_8(4), 0)
expect(s:hval_8(-1), 0)
expect(s:hval_8("1"), 254)
expect(s:hval_16(0), 65534)
expect(s:hval_16(3), 252 * 256)
expect(s:hval_16(-1), 255)
expect(s:hval_24(0), 0xFFFEFD)
expect(s:hval_24(2), 0xFDFC00)
expect(s:hval_32(0), 0xFFFEFDFC)
expect(s:hval_32(-2), 0xFFFE)
expect(s:hval_32(100), 0)
expect(s:hval_32(0 / 0), 0)
expect(s:hval_32(1 / 0), 0)
expect((""):hval_32(0), 0)

expect(("\22\3\1\0\47\1\0\0\43\3\3millrace\n"):hexdump(),
  "00000000   16 03 01 00 2f 01 00 00 2b 03 03 6d 69 6c 6c 72    ..../...+..millr\n" ..
  "00000010   61 63 65 0a" .. (" "):rep(36) .. "    ace.\n")
expect((""):hexdump(), "")
expect(("abc"):hexdump(1, 1), "00000000   62" .. (" "):rep(45) .. "    b\n")
expect(("abc"):hexdump(3), "")

local name = DIR .. "/bytes"
;("abc"):appendtofile(name)
;("def\0"):appendtofile(name)
;("XY"):writetofile(name, 1)
expect(read_file(name), "aXYdef\0")
;("!"):writetofile(name, "9")
expect(read_file(name), "aXYdef\0\0\0!")
take_log()
for _ = 1, 3 do ("x"):appendtofile(DIR .. "/no/such/dir") end
;("x"):writetofile(name, -1)
;("x"):appendtofile("a\0b")
local log = take_log()
expect(#log, 3)
assert(log[1]:find("^ERROR appendtofile: .*/no/such/dir: "), log[1])
assert(log[2]:find("^ERROR writetofile: "), log[2])
expect(read_file(name), "aXYdef\0\0\0!")
;("x"):appendtofile(nil)

expect_error("bad argument #1 to 'hval_8' (number expected, got table)", function() ("a"):hval_8({}) end)
expect_error("bad argument #1 to 'hval_16' (number expected, got string)", function() ("a"):hval_16("x") end)
expect_error("bad argument #1 to 'size' (string expected, got table)", function() string.size({}) end)
expect_error("bad argument #1 to 'appendtofile' (string expected, got table)", function() ("a"):appendtofile({}) end)
string.hex2bin = function(text) return T.util.hex2bin(text) end
expect(("4142"):hex2bin(), "AB")
expect(("abc"):sub(2), "bc")

-- Compiled code agrees.
local sum = 0
for i = 0, 999 do sum = sum + s:hval_8(i % 8) + s:hval_32(i % 8 - 2) end
local again = 0
jit.off()
for i = 0, 999 do again = again + s:hval_8(i % 8) + s:hval_32(i % 8 - 2) end
jit.on()
expect(sum, again)
