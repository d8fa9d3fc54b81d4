-- A million calls with arguments of any type: each either works or raises a string.
local seed = 7
local function random(limit)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % limit + 1
end

local ffi = require "ffi"
local values = {
  0, 1, -1, 1.5, 31, 32, 33, 255, 65536, 2 ^ 31, 2 ^ 32, 2 ^ 53, -2 ^ 53, 1e300, 0 / 0, 1 / 0, -1 / 0,
  "", "a", "abc", "10.0.0.1", "C0.A8.01.02", "::1", "fe80::1", "0x1f", " 12 ", "\0\255", "nan", ("x"):rep(100), "a,b,c", "App>DBRoot",
  ("FF"):rep(16), "{", "[1,2", '{"a":[1,null]}', "%", "[", "(a)(b)?", "a{2,1}", "\\Q", true, false,
  {}, { 1, 2 }, { "a", "" }, { {} }, { utf8 = false }, { longest_match = true, never_nl = 1 }, { encoding = {} },
  print, function() end, coroutine.create(function() end), io.stdout,
  ffi.new("uint64_t", 42), ffi.new("int64_t", -1), ffi.new("int[4]"), null_test,
  T, T.util, T.host, T.env, T.re2("(a)"), T.re2("("), T.ac({ "a" }), string,
}
local count = 0
for i in pairs(values) do count = math.max(count, i) end

local functions = {}
local function collect(name, table_of)
  for key, value in pairs(table_of) do
    if type(value) == "function" then functions[#functions + 1] = { name .. "." .. key, value } end
  end
end
collect("util", T.util)
collect("env", T.env)
for _, name in ipairs { "get_homenets", "is_homenet", "is_homenet_key", "get_configpath", "get_datapath", "id" } do
  functions[#functions + 1] = { "host." .. name, T.host[name] }
end
for _, name in ipairs { "tostring", "size", "length", "hval_8", "hval_16", "hval_24", "hval_32", "hexdump" } do
  functions[#functions + 1] = { "string." .. name, string[name] }
end
for _, name in ipairs { "partial_match", "full_match", "partial_match_c1", "partial_match_c2", "partial_match_n", "full_match_n" } do
  functions[#functions + 1] = { "re2." .. name, T.re2("a")[name] }
end
for _, name in ipairs { "match_all", "match_one" } do
  functions[#functions + 1] = { "ac." .. name, T.ac({})[name] }
end
local JSON = require "JSON"
for _, name in ipairs { "decode", "encode", "encode_pretty" } do
  functions[#functions + 1] = { "JSON." .. name, JSON[name] }
end
functions[#functions + 1] = { "T.re2", T.re2 }
functions[#functions + 1] = { "T.ac", T.ac }

local calls_made, failed = 0, 0
local function value()
  -- One in count is nil.
  return values[random(count + 1)]
end
while calls_made < 1000000 do
  local entry = functions[random(#functions)]
  local ok, reason = pcall(entry[2], value(), value(), value(), value())
  calls_made = calls_made + 1
  if not ok then
    failed = failed + 1
    if type(reason) ~= "string" then
      error(entry[1] .. " raised a " .. type(reason) .. ": " .. tostring(reason))
    end
  end
  if calls_made % 1000 == 0 then
    for i = #calls, 1, -1 do calls[i] = nil end
    take_log()
  end
end
assert(failed > 1000 and failed < calls_made)
