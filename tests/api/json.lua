-- require "JSON": decode, encode, encode_pretty
local JSON = require "JSON"
local text = [[ { "a": [1, 2.5, -3e2, true, false, null, "x\n\u00e9\ud83d\ude00\/"], "b": {"c": {}}, "d": [] } ]]
local value = JSON:decode(text)
expect(value.a[3], -300)
expect(value.a[6], nil)
expect(value.a[7], "x\n\195\169\240\159\152\128/")
expect(value.b.c, {})
expect(JSON.decode("[1]"), { 1 })
expect(JSON:decode("12345678901234567890"), 12345678901234567890)
expect(JSON:decode("1e400"), math.huge)
expect(JSON:decode('{"a":1,"a":2}').a, 2)
expect(JSON:decode('"\255"'), "\255")
expect(JSON:decode('"\\ud800"'), "\239\191\189")
expect(JSON:decode("\239\187\191[]"), {})
expect(JSON:decode("[null]", nil, { null = "N" }), { "N" })
for _, bad in ipairs { "", "{", "[1,]", "{a:1}", "nul", "1 2", ("["):rep(100000) } do
  expect_error("JSON:decode: ", function() JSON:decode(bad) end)
end
expect_error("JSON:decode: expected ':' at line 1, column 5 (byte 5)", function() JSON:decode('{"a"}') end)
expect_error("JSON:decode: nil is not JSON text", function() JSON:decode(nil) end)
expect_error("JSON:decode: expected a string, got table", function() JSON:decode({}) end)

expect(JSON:encode({ b = 1, a = { true, false }, c = "x\"\\\n\0\127" }), [[{"a":[true,false],"b":1,"c":"x\"\\\n\u0000\u007f"}]])
expect(JSON:encode({}), "[]")
expect(JSON:encode(JSON:newObject {}), "{}")
expect(JSON:encode(JSON:newArray {}), "[]")
expect(JSON:encode("\255"), [["\u00ff"]])
expect(JSON:encode(nil), "null")
expect(JSON:encode({ 1, nil, 3 }), "[1,null,3]")
expect(JSON:encode({ 0 / 0, math.huge, -math.huge, 2 ^ 53, 0.1 }), "[null,1e+9999,-1e+9999,9007199254740992,0.1]")
expect(JSON:encode({ 18446744073709551615ULL, -5LL }), "[18446744073709551615,-5]")
expect(JSON:encode({ [10] = 1, x = 2, [1.5] = 3 }), [[{"1.5":3,"10":1,"x":2}]])
expect(JSON:encode({ "N" }, nil, { null = "N" }), "[null]")
expect(JSON.encode({ 1 }), "[1]")
expect(JSON:encode_pretty({ a = { 1, 2 }, b = {} }), '{\n  "a": [\n    1,\n    2\n  ],\n  "b": []\n}')
expect(JSON:decode(JSON:encode_pretty(value)).a[2], 2.5)

local loop = {}
loop[1] = loop
expect_error("JSON:encode: a table contains itself", function() JSON:encode(loop) end)
expect_error("JSON:encode: cannot encode a value of type function", function() JSON:encode({ print }) end)
expect_error("JSON:encode: cannot encode a table with a key of type boolean", function() JSON:encode({ [true] = 1 }) end)
local deep = {}
for _ = 1, 10000 do deep = { deep } end
expect_error("JSON:encode: tables nest deeper than 256 levels", function() JSON:encode(deep) end)

-- Copies with handlers of their own, and kinds kept over a round trip.
local mine = JSON:new()
mine.strictTypes = true
function mine:onDecodeError(message, bad, location) return "failed at " .. location end
expect(mine:decode("[1,"), "failed at 4")
expect(mine:encode(mine:decode('{"a":{},"b":[]}')), '{"a":{},"b":[]}')
expect_error("JSON:decode", function() JSON:decode("[1,") end)
