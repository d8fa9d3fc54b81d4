-- T.util: ntop, pton, bor, band, testbit32, bitval32, split, splitm, hash, bin2hex, hex2bin, sha256, md5 and those of files
local util = T.util
expect(util.ntop(3232235778), "192.168.1.2")
expect(util.ntop("3232235778"), "192.168.1.2")
expect(util.ntop(" 0xC0A80102 "), "192.168.1.2")
expect(util:ntop(0), "0.0.0.0")
expect(util.ntop(4294967295), "255.255.255.255")
expect(util.ntop(4294967297), "0.0.0.1")
expect(util.ntop(-1), "255.255.255.255")
expect(util.ntop(0 / 0), "0.0.0.0")
expect(util.ntop(require "ffi".new("uint64_t", 16909060)), "1.2.3.4")
expect(util.pton("192.168.1.2"), 3232235778)
expect(util:pton("255.255.255.255"), 4294967295)
for _, bad in ipairs { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "1.2.3.", ".1.2.3", "a.b.c.d", "1.2.3.4 ", "01.2.3.4", "::1", "1.2.3.1000" } do
  expect(util.pton(bad), nil)
end
expect(util.pton(nil), nil)
for n = 0, 4294967295, 99999989 do expect(util.pton(util.ntop(n)), n) end

expect(util.bor(0x80000000, 1), 0x80000001)
expect(util:band(0xFFFFFFFF, -1), 4294967295)
expect(util.band("0xF0", 0x3C), 0x30)
expect(util.band(2 ^ 40 + 5, 7), 5)
expect(util.testbit32(4, 2), true)
expect(util:testbit32(4, 1), false)
expect(util.testbit32(0x80000000, 31), true)
expect(util.testbit32(0xFFFFFFFF, 32), false)
expect(util.testbit32(0xFFFFFFFF, -1), false)
expect(util.bitval32(0xAB, 7, 4), 10)
expect(util:bitval32(0xFFFFFFFF, 31, 32), 4294967295)
expect(util.bitval32(0xAB, 3, 4), 11)
expect(util.bitval32(0xAB, 1, 4), 3)
expect(util.bitval32(0xAB, 7, 0), 0)
expect(util.bitval32(0xAB, -1, 4), 0)
expect(util.bitval32(0xAB, 40, 4), 0)
expect(util.bitval32(0xAB, 0 / 0, 4), 0)

expect(util.split("a,,b,", ","), { "a", "", "b", "" })
expect(util.split("", ","), { "" })
expect(util.split("", ""), { "" })
expect(util.split(nil, ","), {})
expect(util.split("abc", ""), { "a", "b", "c" })
expect(util:split("a.b|c", "."), { "a", "b|c" })
expect(util.split("a--b", "--"), { "a", "b" })
expect(util.split(1.5, "."), { "1", "5" })
expect_results({ "f", "p" }, util.splitm("f|p", "|"))
expect_results({ "f", "p" }, util:splitm("f|p", "|"))
expect_results({}, util.splitm(nil, "|"))
expect_results({ "" }, util.splitm("", "|"))

local vectors = { [""] = 0, a = 2456313694, abc = 324500635, Mystring = 1390564934, ["hello world"] = 1151865881, ["192.168.2.1"] = 3673435302 }
for text, expected in pairs(vectors) do
  expect(util.hash(text), expected)
  expect(util:hash(text, 32), expected)
  expect(util.hash(text, 99), expected)
  expect(util.hash(text, -5), expected % 2)
  expect(util.hash(text, "8"), expected % 256)
end
expect(util.hash("Mystring", 16), 22086)
expect(util.hash("abc", 1), 1)
expect(util.hash(nil), 0)
expect(util.hash(12), util.hash("12"))

expect(util.bin2hex("\0\255"), "00ff")
expect(util:hex2bin("00fF"), "\0\255")
expect(util.hex2bin("41x2"), "A")
expect(util.hex2bin("414"), "A")
expect(util.hex2bin("4g41"), "")
expect(util.bin2hex(""), "")
expect(util.bin2hex(nil), "")
local all = {}
for i = 0, 255 do all[i + 1] = string.char(i) end
all = table.concat(all)
expect(util.hex2bin(util.bin2hex(all)), all)
expect(util.hex2bin(util.bin2hex(all):upper()), all)

local reason = expect_error("bad argument #1 to 'ntop' (number expected, got table)", function() util.ntop({}) end)
assert(reason:find("tests/api/t_util.lua:77:", 1, true), reason)
expect_error("bad argument #1 to 'ntop' (number expected, got nil)", function() util:ntop() end)
expect_error("bad argument #1 to 'ntop' (number expected, got string)", function() util.ntop("x") end)
expect_error("bad argument #2 to 'band' (number expected, got boolean)", function() util:band(1, true) end)
expect_error("bad argument #2 to 'split' (string expected, got table)", function() util.split("a", {}) end)
expect_error("bad argument #1 to 'bin2hex' (string expected, got function)", function() util.bin2hex(print) end)

-- Compiled and interpreted code agree.
for _ = 1, 200 do
  assert(util.hash("hello world") == 1151865881 and util.pton("1.2.3.4") == 16909060 and util.bor(2 ^ 31, 1) == 2 ^ 31 + 1)
end

-- Vectors of FIPS 180-4 and RFC 1321.
local EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
local ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
expect(util.sha256(""), EMPTY)
expect(util:sha256("abc"), ABC)
expect(
  util.sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
)
expect(util.sha256(("a"):rep(1000000)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
expect(util.md5(""), "d41d8cd98f00b204e9800998ecf8427e")
expect(util.md5("message digest"), "f96b697d7cb7938d525a2f31aaf161d0")
expect(util.md5(("1234567890"):rep(8)), "57edf4a22be3c955ac49da2e2107b67a")
expect(util.sha256(12), util.sha256("12"))
expect({ util.sha256(nil), util.md5(nil), util.sha256_file(nil), util.md5_file(nil) }, {})
expect(util.md5("\0"), "93b885adfe0da089cdf634904fd59f71")

local path = DIR .. "/hashed"
local file = assert(io.open(path, "wb"))
file:write("abc")
file:close()
expect(util.sha256_file(path), ABC)
expect(util:md5_file(path), "900150983cd24fb0d6963f7d28e17f72")
expect({ util.sha256_file(DIR) }, { nil, DIR .. ": not a regular file" })
expect({ util.md5_file(path .. "x") }, { nil, path .. "x: No such file or directory (os error 2)" })
expect_error("bad argument #1 to 'sha256' (string expected, got table)", function() util.sha256({}) end)
expect_error("bad argument #1 to 'md5_file' (string expected, got boolean)", function() util.md5_file(true) end)
