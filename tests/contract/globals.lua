-- The table T of a frontend VM.
local cases = require "cases"
local case, equal, results, fails = cases.case, cases.equal, cases.results, cases.fails

local function run(engine)
  case("t_identity_fields", function()
    equal(type(T.contextid), "number")
    equal(T.execution_contextid, T.contextid)
    equal(string.format("%d", T.contextid), tostring(T.contextid))
    results({ "probe0", "context0", "context0", "frontend" }, T.probeid, T.context_name, T.contextname, T.enginetype)
    equal(T.probeversion:match("^%d+%.%d+%.%d+$") ~= nil, true)
    equal(T.args, "some text")
  end)
  case("t_k_loglevel", function()
    local L = T.K.loglevel
    results({ 0, 1, 2, 3, 4, 5, 6, 7, 8 }, L.EMERG, L.FATAL, L.ALERT, L.CRIT, L.ERROR, L.WARN, L.NOTICE, L.INFO, L.DEBUG)
    equal(L.NOSUCH, nil)
  end)
  case("t_k_vartype", function()
    local V = T.K.vartype
    results({ 2, 4, 5, 8, 9, 10, 11, 12 }, V.COUNTER, V.RATE_COUNTER, V.GAUGE, V.RUNNING_COUNTER, V.AVERAGE,
      V.DELTA_RATE_COUNTER, V.MAXIMUM, V.MINIMUM)
    results({ n = 2, true, nil }, T.K.vartypes == V, V.NOSUCH)
  end)
  case("t_util_ntop_and_pton", function()
    local u = T.util
    results({ "192.168.1.2", "255.255.255.255", "0.0.0.0", "0.0.0.1" }, u.ntop(3232235778), u.ntop(4294967295), u.ntop("0"),
      u.ntop(4294967297))
    results({ n = 5, 3232235778, nil, nil, nil, nil }, u.pton("192.168.1.2"), u.pton("nonsense"), u.pton("1.2.3"),
      u.pton("1.2.3.256"), u.pton(nil))
  end)
  case("t_util_bor_and_band", function()
    local u = T.util
    results({ 4294967295, 7, 4, 2147483648 }, u.bor(0xFFFF0000, 0xFFFF), u.bor("3", 4), u.band(6, 12), u.band(0x80000000, -1))
  end)
  case("t_util_testbit32_and_bitval32", function()
    local u = T.util
    results({ true, false, true, false, false }, u.testbit32(4, 2), u.testbit32(4, 1), u.testbit32(2 ^ 31, 31),
      u.testbit32(1, 32), u.testbit32(1, -1))
    results({ 10, 11, 1, 0xAB }, u.bitval32(0xAB, 7, 4), u.bitval32(0xAB, 3, 4), u.bitval32(0x80000000, 31, 1),
      u.bitval32(0xAB, 31, 32))
  end)
  case("t_util_split_and_splitm", function()
    local u = T.util
    local function list(...) return table.concat(u.split(...), "/") end
    results({ "a//b/", "", "x", "a/b/c", "a.b/c" }, list("a,,b,", ","), list("", ","), list("x", ","), list("abc", ""),
      list("a.b::c", "::"))
    results({ 1, 0 }, #u.split("", "x"), #u.split(nil, "x"))
    results({ "f", "", "p" }, u.splitm("f||p", "|"))
    equal(select("#", u.splitm(nil, "|")), 0)
  end)
  case("t_util_hash", function()
    local h = T.util.hash
    results({ 0, 2456313694, 324500635, 1390564934, 1151865881, 3673435302 }, h(""), h("a"), h("abc"), h("Mystring"),
      h("hello world"), h("192.168.2.1"))
    results({ 22086, 1, 0, 324500635, 1 }, h("Mystring", 16), h("abc", 1), h(nil), h("abc", 99), h("abc", -5))
  end)
  case("t_util_bin2hex_and_hex2bin", function()
    local u = T.util
    results({ "00ff", "", "\0\255", "\171", "" }, u.bin2hex("\0\255"), u.bin2hex(""), u.hex2bin("00fF"), u.hex2bin("abx1"),
      u.hex2bin("zz"))
  end)
  case("t_functions_accept_their_table_first", function()
    results({ "0.0.0.5", 7, true, 10 }, T.util:ntop(5), T.util:bor(3, 4), T.util:testbit32(4, 2), T.util:bitval32(0xAB, 7, 4))
    results({ 324500635, "ff", "f" }, T.util:hash("abc"), T.util:bin2hex("\255"), (T.util:splitm("f|p", "|")))
    results({ "/db/root", "/db/root" }, T.env.get_config("App>DBRoot"), T.env:get_config("App>DBRoot"))
  end)
  case("t_host_is_homenet", function()
    local h = T.host
    results({ true, true, true, false, false }, h:is_homenet("10.1.2.3"), h:is_homenet(3232235778), h.is_homenet("172.31.0.1"),
      h:is_homenet("172.32.0.1"), h:is_homenet("nonsense"))
    results({ true, true, false, false }, h:is_homenet("fe80::1"), h:is_homenet("fc00::1"), h:is_homenet("2001:db8::1"),
      h:is_homenet(nil))
  end)
  case("t_host_is_homenet_key", function()
    local h = T.host
    results({ true, false, true, false, false }, h:is_homenet_key("C0.A8.07.07"), h.is_homenet_key("08.08.08.08"),
      h:is_homenet_key("FE800000000000000000000000000001"), h:is_homenet_key("192.168.1.1"), h:is_homenet_key(nil))
  end)
  case("t_host_paths_and_homenets", function()
    equal(T.host:get_configpath(), "/db/root/config")
    equal(T.host.get_datapath(), T.env.get_config("App>DataDirectory"))
    equal(#T.host:get_homenets(), 3)
    results({ "10.0.0.0", "255.0.0.0" }, T.host:get_homenets()[1].ip, T.host:get_homenets()[1].netmask)
  end)
  case("t_host_functions_take_arguments_as_the_engine_does", function()
    local host, group = T.host, "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
    results({ n = 0 }, host:createkey(group, nil, "x"))
    results({ n = 0 }, host.createkey(group, "k"))
    results({ n = 0 }, host:createkey())
    fails("globals.lua:", function() local z = host:createkey(group, {}, "x") return z end)
    fails("bad argument #2 to 'createkey' (string expected, got table)", function() host:createkey(group, {}, "x") end)
    results({ n = 0 }, host:broadcast())
    results({ n = 0 }, host.broadcast(nil, nil, nil))
    results({ n = 0 }, host:broadcast(1, 2, 3))
    fails("bad argument #3 to 'broadcast' (string expected, got table)", function() host.broadcast(group, group, {}) end)
    results({ n = 0 }, host:log())
    results({ n = 0 }, host:log(nil, nil))
    results({ n = 0 }, host:log({}, true))
  end)
  case("t_host_id_is_the_engines", function() equal(T.host:id(), engine:instanceid()) end)
  case("t_env_get_config", function()
    local get = T.env.get_config
    results({ "", "", "value", "value" }, get("No>Such>Path"), get(nil), get("My>Own"), get("  My  >  Own "))
    equal(get("my>own"), "", "names are compared exactly")
    for _, path in ipairs { "App>DataDirectory", "App>RunStateDirectory", "App>PluginsLibDirectory", "App>TempFolder",
      "Logging>Logdir" } do
      local value = get(path)
      equal(value ~= "" and value:sub(-1) ~= "/", true, path .. " = " .. value)
    end
    results({ "TAP", "2", "60000", "true", "true", "false" }, get("App>TrisulMode"), get("Tuning>InflightTokens"),
      get("Tuning>StreamingWindowMSecs"), get("Edges>Enabled"):lower(), get("Ring>Enabled"):lower(),
      get("Reassembly>FileExtraction>Enabled"):lower())
    equal(get("Reassembly>FileExtraction>ChunkSizeMB"), "5")
  end)
  case("t_env_domain_and_config_files", function()
    results({ "string", "string", "" }, type(T.env.configfile), type(T.env.domain_configfile), T.env.get_domain_config("a>b"))
  end)
  case("t_re2_and_t_ac_make_objects", function()
    results({ true, 2 }, T.re2("a"):partial_match("ba"), T.ac({ "a" }):match_all("ba").a)
    fails("bad argument #1 to 're2' (string expected, got table)", T.re2, {})
    equal(T.re2("[", { log_errors = false }):full_match("["), false)
  end)
  case("t_takes_fields_of_scripts", function()
    T.flowtable = { 1 }
    equal(T.flowtable[1], 1)
  end)
end

local done = false
TrisulPlugin = {
  id = { name = "globals", description = "" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine)
      if not done then
        done = true
        run(engine)
      end
    end,
  },
}
