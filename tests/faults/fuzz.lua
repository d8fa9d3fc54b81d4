-- Calls every function of the API at random with random values, 100,000 times. The arguments of the command line are the
-- seed. An error is a fine answer; the process must live, and the number of calls is printed at the end.
local CALLS, PER_PACKET = 100000, 500

-- Numbers from a seed, the same on every machine (the library's generator is not).
local state = tonumber(T.args) or 1
local function random(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n + 1
end
local function one_of(list) return list[random(#list)] end

local G = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"
local values = {
  function() return nil end,
  function() return random(2) == 1 end,
  function() return one_of { 0, 1, -1, 2, 7, 31, 32, 33, 255, 256, 65535, 1e9, 2 ^ 31, 2 ^ 32, 2 ^ 53, 2 ^ 63, 1e300, -1e300,
    0.5, -0.5, 1 / 0, -1 / 0, 0 / 0, 1.9999, 61.5 } end,
  function() return random(100) - 20 end,
  function() return one_of { "", "k", "0", " 12 ", "0x1f", "nan", "inf", "1e999", "x\0y", "\255\254", ("l"):rep(300), "%s%d%n",
    "(", "(a)|(b)", "[[:alpha:]]", "a{1000}", "Host:", "192.168.1.1", "::1", "C0.A8.07.07", "file.bin", "SYS:GROUP_TOTALS",
    "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016", "99Z:::__", "App>DBRoot", "a>b>c" } end,
  function() return one_of { G, G:lower(), "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}", "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}",
    "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}", "{DEADBEEF-0000-4000-8000-000000000001}", "{", "{77E462AB}" } end,
  function() return one_of { {}, { 1, 2, 3 }, { "a", "b" }, { data = "x" }, { literal = true, utf8 = false, case_sensitive = 5 },
    setmetatable({}, { __index = function() error("index") end }), setmetatable({}, { __tostring = function() error("text") end }) } end,
  function() return one_of { print, function() error("called") end, math.floor, coroutine.create(print), 5ULL, -5LL, io.stdout,
    newproxy(true) } end,
}

local kept, last = {}, 0
local function keep(v)
  local t = type(v)
  if t == "cdata" or t == "table" or t == "userdata" then
    last = last % 200 + 1
    kept[last] = v
  end
end

local function value()
  if random(8) == 1 and #kept > 0 then return kept[random(#kept)] end
  return one_of(values)()
end

local methods = {
  engine = { "update_counter", "update_counter_raw", "update_counter_bytes", "update_counter_at", "update_counter_end",
    "update_key_info", "set_key_attribute", "add_alert", "add_alert_full", "add_alert_ids", "add_alert_tca", "add_resource",
    "add_flow_counter", "reset_flow_counter", "tag_flow", "update_flow", "update_flow_raw", "new_flow_record",
    "set_flow_duration", "terminate_flow", "disable_reassembly", "add_flow_attribute", "add_edge", "add_flow_edges",
    "post_message_frontend", "post_message_backend", "timestamp", "instanceid", "id", "probeid" },
  packet = { "timestamp", "rawbytes", "wire_length", "capture_length", "num_layers", "get_layer", "find_layer", "flowid",
    "originid", "set_timestamp", "set_packet", "set_packetstore_policy" },
  layer = { "layer_bytes", "total_bytes", "protocol_id", "rawbytes", "packet", "getbyte", "testbit", "flowkey" },
  buffer = { "size", "length", "hval_8", "hval_16", "hval_24", "hval_32", "tostring", "hexdump", "appendtofile", "writetofile" },
  flow = { "id", "key", "flow_type", "protocol", "ipa", "ipz", "ipa_readable", "ipz_readable", "porta", "portz",
    "porta_readable", "portz_readable", "netflow_router", "netflow_router_readable", "netflow_ifindex_in",
    "netflow_ifindex_out", "netflow_ifindex_in_readable", "netflow_ifindex_out_readable", "to_s" },
  re2 = { "partial_match", "full_match", "partial_match_c1", "partial_match_c2", "partial_match_n", "full_match_n" },
  ac = { "match_all", "match_one" },
  text = { "tostring", "size", "length", "hval_8", "hval_16", "hval_24", "hval_32", "hexdump", "appendtofile", "writetofile" },
}
local functions = {
  [T.util] = { "ntop", "pton", "bor", "band", "testbit32", "bitval32", "split", "splitm", "hash", "bin2hex", "hex2bin",
    "sha256", "sha256_file", "md5", "md5_file" },
  [T.host] = { "get_homenets", "is_homenet", "is_homenet_key", "get_configpath", "get_datapath", "createkey", "prepare_config",
    "broadcast", "log", "id" },
  [T.env] = { "get_config", "get_domain_config" },
  [T.async] = { "cat", "copy", "cp", "rm", "copybuffer", "schedule", "pending_items" },
  [T] = { "re2", "ac", "log", "logerror", "logwarning", "loginfo", "logdebug" },
}
local tables = { T.util, T.host, T.env, T.async, T }

local objects = {}
local function call()
  local args = { value(), value(), value(), value(), value(), value(), value() }
  local count = random(8) - 1
  local results
  if random(3) == 1 then
    local t = one_of(tables)
    results = { pcall(t[one_of(functions[t])], unpack(args, 1, count)) }
  else
    local kind = one_of { "engine", "packet", "layer", "buffer", "flow", "re2", "ac", "text" }
    local name = one_of(methods[kind])
    local object = objects[kind]
    -- Now and then the method of one object on another, or on no object at all.
    local self = random(10) == 1 and value() or object
    results = { pcall(object[name], self, unpack(args, 1, count)) }
  end
  for i = 2, #results do keep(results[i]) end
  pcall(tostring, results[2])
end

local calls = 0
TrisulPlugin = {
  id = { name = "fuzz", description = "random calls" },
  onunload = function() print("calls", calls) end,
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local packet = layer:packet()
      objects = { engine = engine, packet = packet, layer = layer, buffer = layer:rawbytes(), flow = packet:flowid(),
        re2 = T.re2("(a)|(b)"), ac = T.ac({ "a", "b" }), text = one_of { "", "abc", "\0\1\2\3\4\5" } }
      for _ = 1, PER_PACKET do
        if calls >= CALLS then return end
        calls = calls + 1
        call()
      end
    end,
  },
}
