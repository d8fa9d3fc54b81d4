-- Packet, Layer, Buffer and FlowID; `objects.rs` makes the packets.
local cases = require "cases"
local case, equal, results, fails = cases.case, cases.equal, cases.results, cases.fails

local ETHERNET, IPV4 = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}", "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local TCP, UDP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}", "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
local IPV6, ICMP = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}", "{7DDD65F2-A316-43B5-A103-368E700E045E}"

local packets = {}

-- The SYN of the first example.
packets[1] = function(engine, layer)
  local p = layer:packet()
  local tcp = p:find_layer(TCP)
  case("packet_timestamp_is_seconds_and_microseconds", function() results({ 100, 250 }, p:timestamp()) end)
  case("packet_wire_length_and_capture_length", function() results({ 74, 74 }, p:wire_length(), p:capture_length()) end)
  case("packet_rawbytes_are_all_captured_bytes", function()
    equal(p:rawbytes():size(), 74)
    equal(p:rawbytes():tostring(0, 6), "\2\0\0\0\0\15")
  end)
  case("packet_num_layers", function() equal(p:num_layers(), 3) end)
  case("packet_get_layer_counts_from_zero", function()
    results({ ETHERNET, IPV4, TCP }, p:get_layer(0):protocol_id(), p:get_layer(1):protocol_id(),
      p:get_layer("2"):protocol_id())
  end)
  case("packet_get_layer_outside_is_nil", function()
    results({ n = 5, nil, nil, nil, nil, nil }, p:get_layer(3), p:get_layer(-1), p:get_layer(1e9), p:get_layer(0 / 0),
      p:get_layer(1 / 0))
  end)
  case("packet_find_layer_by_guid_in_any_case", function()
    equal(p:find_layer(TCP:lower()):layer_bytes(), 40)
    results({ n = 4, nil, nil, nil, nil }, p:find_layer(UDP), p:find_layer("nonsense"), p:find_layer(nil), p:find_layer(5))
  end)
  case("packet_flowid_is_a_new_equal_value", function()
    local a, b = p:flowid(), p:flowid()
    equal(a == b, true)
    equal(rawequal(a, b), false)
    local t = { [a] = 1 }
    equal(t[b], nil, "as table keys they are distinct")
  end)
  case("packet_originid", function() equal(p:originid(), 0) end)
  case("packet_set_packetstore_policy_accepts_hints", function()
    for flags = 0, 2 do results({}, p:set_packetstore_policy(flags)) end
    results({}, p:set_packetstore_policy("1"))
  end)
  case("layer_bytes_of_headers", function()
    results({ 14, 20, 40 }, layer:layer_bytes(), p:get_layer(1):layer_bytes(), tcp:layer_bytes())
  end)
  case("layer_total_bytes_is_the_wire_length", function() equal(tcp:total_bytes(), 74) end)
  case("layer_protocol_id_is_in_normal_form", function() equal(tcp:protocol_id(), TCP) end)
  case("layer_rawbytes_covers_the_layer_only", function()
    local b = tcp:rawbytes()
    results({ 40, 2964, 22 }, b:size(), b:hval_16(0), b:hval_16(2))
  end)
  case("layer_packet_is_the_packet", function() equal(tcp:packet():wire_length(), 74) end)
  case("layer_getbyte_reads_bytes_and_zero_outside", function()
    results({ 0x0B, 0x94, 0, 0, 2 }, tcp:getbyte(0), tcp:getbyte("1"), tcp:getbyte(40), tcp:getbyte(-1), tcp:getbyte(13))
  end)
  case("layer_testbit_counts_from_the_most_significant_bit", function()
    -- 0x0B94 is 0000 1011 1001 0100; the SYN flag is bit 110, RST bit 109.
    local bits = {}
    for i = 0, 15 do bits[i + 1] = tcp:testbit(i) and "1" or "0" end
    equal(table.concat(bits), "0000101110010100")
    results({ true, false, true }, tcp:testbit(110), tcp:testbit(109), tcp:testbit("110"))
  end)
  case("layer_testbit_outside_is_false", function()
    results({ false, false, false, false, false }, tcp:testbit(-1), tcp:testbit(320), tcp:testbit(1e12), tcp:testbit(0 / 0),
      tcp:testbit(1 / 0))
  end)
  case("layer_flowkey_is_the_id_of_the_packets_flow", function()
    equal(tcp:flowkey(), "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016")
    equal(tcp:flowkey(), p:flowid():id())
  end)
  case("flowid_methods_of_type_a", function()
    local f = p:flowid()
    equal(f:id(), "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016")
    equal(f:key(), f:id())
    results({ "A", "06" }, f:flow_type(), f:protocol())
    results({ "C0.A8.01.02", "D1.D8.F9.3A" }, f:ipa(), f:ipz())
    results({ "192.168.1.2", "209.216.249.58" }, f:ipa_readable(), f:ipz_readable())
    results({ "p-0B94", "p-0016", "2964", "22" }, f:porta(), f:portz(), f:porta_readable(), f:portz_readable())
    equal(type(f:portz_readable()), "string")
    equal(f:to_s(), "TCP  192.168.1.2     2964  209.216.249.58  22   ")
  end)
  case("flowid_netflow_methods_of_type_a_are_empty", function()
    local f = p:flowid()
    results({ "", "", "", "", "", "" }, f:netflow_router(), f:netflow_router_readable(), f:netflow_ifindex_in(),
      f:netflow_ifindex_out(), f:netflow_ifindex_in_readable(), f:netflow_ifindex_out_readable())
  end)
  case("tostring_of_objects_names_their_type", function()
    for name, object in pairs { Packet = p, Layer = tcp, Buffer = tcp:rawbytes(), FlowID = p:flowid(), engine = engine,
      re2 = T.re2("x"), ac = T.ac({ "x" }) } do
      local text = tostring(object)
      equal(text:sub(1, #name + 2), name .. ": ", text)
    end
  end)
  case("an_unknown_method_is_an_error", function()
    for _, object in ipairs { p, tcp, tcp:rawbytes(), p:flowid(), engine } do
      equal((pcall(function() return object:no_such_method() end)), false)
    end
  end)
end

-- UDP with the bytes of the dump example.
packets[2] = function(_, layer)
  local p = layer:packet()
  local raw = p:rawbytes()
  local function payload(off, n) return raw:tostring(42 + (off or 0), n) end
  case("buffer_size_and_length", function() results({ 62, 62 }, raw:size(), raw:length()) end)
  case("buffer_hval_reads_big_endian_numbers", function()
    results({ 0x16, 0x1603, 0x160301, 0x16030100 }, raw:hval_8(42), raw:hval_16(42), raw:hval_24(42), raw:hval_32(42))
    results({ 0x16, 0x1603 }, raw:hval_8("42"), raw:hval_16("0x2a"))
  end)
  case("buffer_hval_8_and_16_past_the_end_read_zero", function()
    results({ 0x0A, 0, 0, 0 }, raw:hval_8(61), raw:hval_8(62), raw:hval_8(-1), raw:hval_8(1e15))
    results({ 0x0A00, 0, 0x02 }, raw:hval_16(61), raw:hval_16(62), raw:hval_16(-1))
  end)
  case("buffer_hval_24_and_32_past_the_end_read_zero", function()
    results({ 0x0A0000, 0x0A000000, 0x650A0000 }, raw:hval_24(61), raw:hval_32(61), raw:hval_32(60))
    results({ 0, 0, 0, 0x0200 }, raw:hval_24(1e9), raw:hval_32(-10), raw:hval_32(-4), raw:hval_24(-1))
  end)
  case("buffer_numbers_that_are_none_read_zero", function()
    for _, off in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
      results({ 0, 0, 0, 0 }, raw:hval_8(off), raw:hval_16(off), raw:hval_24(off), raw:hval_32(off))
    end
  end)
  case("buffer_tostring_whole_part_and_clipped", function()
    equal(#raw:tostring(), 62)
    equal(raw:tostring(53), "millrace\n")
    equal(raw:tostring(53, 4), "mill")
    equal(raw:tostring("53", "4"), "mill")
    equal(raw:tostring(53, 1000), "millrace\n")
    results({ "", "", "", "" }, raw:tostring(62), raw:tostring(-1), raw:tostring(0, 0), raw:tostring(0, -5))
  end)
  case("buffer_tostring_of_numbers_that_are_none", function()
    for _, off in ipairs { 0 / 0, 1 / 0, -1 / 0 } do equal(raw:tostring(off, 4), "", tostring(off)) end
    equal(raw:tostring(53, 0 / 0), "")
    equal(raw:tostring(53, 1 / 0), "millrace\n")
  end)
  case("buffer_hexdump_has_lines_of_sixteen", function()
    local want = "00000000   16 03 01 00 2f 01 00 00 2b 03 03 6d 69 6c 6c 72    ..../...+..millr\n" ..
      "00000010   61 63 65 0a                                        ace.\n"
    equal(raw:hexdump(42), want)
    equal(raw:hexdump(42, 100), want)
    equal(raw:hexdump(62), "")
    equal(raw:hexdump(58, 3), "00000000   61 63 65                                           ace\n")
    equal(payload():hexdump(), want, "of a string")
  end)
end

packets[3] = function(_, layer)
  local p = layer:packet()
  case("flowid_methods_of_type_b", function()
    local f = p:flowid()
    equal(f:id(), "11B:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF0200000000000000000000000000FB:p-14E9")
    results({ "B", "11" }, f:flow_type(), f:protocol())
    results({ "FE80000000000000BA2A72FFFECC5E33", "fe80::ba2a:72ff:fecc:5e33", "ff02::fb", "5353" }, f:ipa(),
      f:ipa_readable(), f:ipz_readable(), f:porta_readable())
    equal(f:to_s(), "UDP  fe80::ba2a:72ff:fecc:5e33 5353  ff02::fb        5353 ")
  end)
  case("ipv6_is_layer_one", function()
    results({ IPV6, 40, UDP }, p:get_layer(1):protocol_id(), p:get_layer(1):layer_bytes(), p:get_layer(2):protocol_id())
  end)
end

packets[4] = function(_, layer)
  local p = layer:packet()
  case("protocols_without_ports_have_port_zero_and_the_lower_address_first", function()
    local f = p:flowid()
    equal(f:id(), "01A:0A.00.00.01:p-0000_0A.00.00.09:p-0000")
    results({ "p-0000", "0" }, f:porta(), f:porta_readable())
    equal(f:to_s(), "ICMP 10.0.0.1        0     10.0.0.9        0    ")
  end)
  case("icmp_covers_the_whole_message", function() equal(p:find_layer(ICMP):layer_bytes(), 8) end)
end

packets[5] = function(_, layer)
  case("flowid_of_a_packet_that_is_not_ip", function()
    equal(layer:packet():flowid():id(), "00A:00.00.00.00:p-0000_00.00.00.00:p-0000")
    equal(layer:flowkey(), "00A:00.00.00.00:p-0000_00.00.00.00:p-0000")
  end)
end

packets[6] = function(_, layer)
  local p = layer:packet()
  case("vlan_tags_belong_to_layer_zero", function()
    results({ 22, IPV4, TCP, 3 }, layer:layer_bytes(), p:get_layer(1):protocol_id(), p:get_layer(2):protocol_id(),
      p:num_layers())
  end)
  case("tcp_reset_is_bit_109", function()
    local tcp = p:find_layer(TCP)
    results({ true, false, 20 }, tcp:testbit(109), tcp:testbit(110), tcp:layer_bytes())
  end)
end

packets[7] = function(_, layer)
  local p = layer:packet()
  case("a_cut_packet_has_the_layers_that_are_whole", function()
    results({ 74, 30, 1, 30 }, p:wire_length(), p:capture_length(), p:num_layers(), p:rawbytes():size())
    equal(layer:total_bytes(), 74)
    equal(p:rawbytes():hval_32(28), p:rawbytes():hval_16(28) * 65536)
  end)
end

packets[8] = function(_, layer)
  local p = layer:packet()
  case("find_layer_gives_the_outermost", function()
    local outer = p:find_layer(IPV4)
    equal(outer:rawbytes():hval_32(12), 0x09090909)
    results({ IPV4, IPV4 }, p:get_layer(1):protocol_id(), p:get_layer(2):protocol_id())
  end)
end

packets[9] = function(_, layer)
  local p = layer:packet()
  case("padding_is_in_no_layer", function()
    local bytes = 0
    for i = 0, p:num_layers() - 1 do bytes = bytes + p:get_layer(i):layer_bytes() end
    results({ 60, 42 }, p:wire_length(), bytes)
  end)
end

packets[10] = function(_, layer)
  case("to_s_names_known_protocols", function()
    equal(layer:packet():flowid():to_s(), "OSPF 10.0.0.1        0     10.0.0.2        0    ")
  end)
end

packets[11] = function(_, layer)
  case("to_s_of_other_protocols_is_their_number", function()
    equal(layer:packet():flowid():to_s(), "253  10.0.0.1        0     10.0.0.2        0    ")
  end)
end

packets[12] = function(_, layer)
  case("a_method_that_is_missing_is_named_with_its_object", function()
    local p, b = layer:packet(), layer:rawbytes()
    local text = "attempt to call method '%s' (a nil value): a %s has no such method"
    fails(text:format("match", "Buffer"), function() return b:match("x") end)
    fails(text:format("flow", "Packet"), function() return p:flow() end)
    fails(text:format("hval_8", "Layer"), function() return layer:hval_8(0) end)
  end)
  case("with_equal_ports_the_lower_address_is_a", function()
    equal(layer:flowkey(), "11A:0A.00.00.05:p-1267_0A.00.00.09:p-1267")
  end)
  case("fails_names_the_argument_of_a_wrong_type", function()
    local p, b = layer:packet(), layer:rawbytes()
    fails("bad argument #1 to 'get_layer' (number expected, got table)", p.get_layer, p, {})
    fails("bad argument #1 to 'find_layer' (string expected, got boolean)", p.find_layer, p, true)
    fails("bad argument #1 to 'hval_8' (number expected, got function)", b.hval_8, b, print)
    fails("bad argument #2 to 'tostring' (number expected, got thread)", b.tostring, b, 0, coroutine.create(print))
    fails("bad argument #1 to 'testbit' (number expected, got string)", layer.testbit, layer, "x")
  end)
end

local n = 0
TrisulPlugin = {
  id = { name = "objects", description = "" },
  simplecounter = {
    protocol_guid = ETHERNET,
    onpacket = function(engine, layer)
      n = n + 1
      packets[n](engine, layer)
    end,
  },
}
