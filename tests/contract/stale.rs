//! Objects that a script keeps beyond their callback: refused for ever, however many packets later. And what callbacks that may
//! keep them see of them meanwhile.

use crate::support::conversation::Conversation;
use crate::support::frames::{ACK, ether, ipv4, tcp, udp_packet};
use crate::support::{Bench, Capture, ETHERNET, GROUP, IPV4, UDP};

const P: &str = "{AAAAAAAA-0000-0000-0000-000000000001}";

/// Whether using `object` with `method` is refused as a use of a `what`.
const REFUSED: &str = r#"
local function refused(what, object, method)
  local ok, e = pcall(function() return object[method](object, 0, 0) end)
  return not ok and e:find("ERR_STALE: " .. what .. " used outside its callback", 1, true) ~= nil
end
"#;

#[test]
fn objects_of_the_first_packet_are_stale_at_each_of_thousands() {
    let body = r#"
      if n == 1 then
        local packet = layer:packet()
        kept = {
          { "Layer", layer, "getbyte" }, { "Packet", packet, "num_layers" }, { "Buffer", layer:rawbytes(), "tostring" },
          { "Buffer", packet:rawbytes(), "size" }, { "Layer", packet:get_layer(0), "layer_bytes" },
          { "Layer", packet:find_layer("{0A2C724B-5B9F-4BA6-9C97-B05080558574}"), "packet" },
          { "Buffer", packet:get_layer(1):rawbytes(), "hval_8" }, { "Packet", packet:get_layer(1):packet(), "get_layer" },
        }
        closure = function() return layer:layer_bytes() end
        return
      end
      for i, entry in ipairs(kept) do
        local what, object, method = entry[1], entry[2], entry[3]
        if not refused(what, object, method) then print(n, i, what) bad = bad + 1 end
        if rawequal(object, layer) or object == layer or object == layer:packet() or object == layer:rawbytes() then
          print("same", n, i) bad = bad + 1
        end
      end
      if pcall(closure) then print("closure", n) bad = bad + 1 end
      if pcall(engine.update_counter_at, engine, G, kept[1][2], 0, 4, 0, 1) then print("counted", n) bad = bad + 1 end
      -- Of every kind of slot some are used meanwhile, as a script that keeps nothing uses them.
      local p = layer:packet()
      for i = 0, p:num_layers() - 1 do p:get_layer(i) end
      if n == 5001 then print("bad", bad) end"#;
    let head = format!("local kept, closure, bad, G = nil, nil, 0, '{GROUP}'\n{REFUSED}");
    let outcome = Bench::new().group().counter("keeper.lua", UDP, &head, body).run(&Capture::udp(5001, 100));
    outcome.prints(&["bad\t0"]);
}

#[test]
fn functions_in_the_place_of_the_engines_methods_can_keep_nothing() {
    // A function of the engine's file hands them over, another callback puts it there, in one of these ways.
    let ways = [
        "engine.update_counter = keep",
        "engine.update_counter, x = keep, 1",
        "rawset(engine, 'update_counter', keep)",
        "engine['update_counter'] = setmetatable({}, { __call = function(_, ...) keep(...) end })",
        "setfenv(function() update_counter = keep end, engine)()",
        "engine.update_counter_raw = engine.update_counter engine.update_counter = keep",
    ];
    for way in ways {
        let head = format!(
            "{REFUSED}
             kept = {{}}
             local function keep(_, layer, packet, buffer, n)
               kept[#kept + 1] = {{ 'Layer', layer, 'getbyte' }} kept[#kept + 1] = {{ 'Packet', packet, 'num_layers' }}
               kept[#kept + 1] = {{ 'Buffer', buffer, 'size' }}
               print(n, layer:getbyte(0) == packet:get_layer(layer == nil and 0 or 1):getbyte(0), buffer:size())
             end
             function replace(engine) {way} end
             function look(n)
               for i, entry in ipairs(kept) do if not refused(unpack(entry)) then print(n, i, 'lives') end end
             end"
        );
        let body = "look(n) if n == 1 then replace(engine) end
            engine:update_counter(layer, layer:packet(), layer:rawbytes(), n)";
        let outcome = Bench::new().counter("wrapper.lua", IPV4, &head, body).run(&Capture::udp(3, 100));
        let lines: Vec<_> = outcome.stdout.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>()).collect();
        assert_eq!(lines, [["1", "true"], ["2", "true"], ["3", "true"]], "{way}: {}", outcome.stderr);
    }
}

#[test]
fn fields_of_the_engine_that_are_no_methods_are_the_scripts_own() {
    let body = "print(engine.mine, rawget(engine, 'mine'))
        engine.mine = layer:getbyte(0) rawset(engine, 'other', n)
        print(engine.mine == layer:getbyte(0), engine.other, pcall(rawset, engine), pcall(rawset, 1, 2, 3))
        local t = rawset({}, 1, nil) print(next(t), rawset(t, 'a', 2).a, engine.timestamp and 1)
        engine.timestamp = nil print(engine.timestamp)";
    let outcome = Bench::new().counter("own.lua", IPV4, "", body).run(&Capture::udp(1, 100));
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "nil\tnil", "{}", outcome.stderr);
    assert!(lines[1].starts_with("true\t1\tfalse\tfalse\tbad argument #1"), "{lines:?}");
    assert_eq!(lines[2..], ["nil\t2\t1", "nil"]);
}

#[test]
fn no_field_of_what_is_lent_can_be_written() {
    let body = "local p, b = layer:packet(), layer:rawbytes()
        local function written(object, field)
          return pcall(function() object[field] = object[field] end) and field or nil
        end
        for _, lent in ipairs { layer, p, b, layer._slot, p._slot, b._slot, layer._slot.buf, p._slot.raw } do
          for _, field in ipairs { '_seq', '_round', '_slot', 'seq', 'len', 'data', 'buf', 'raw', 'packet_slot', 'wirelen',
              'protocol', 'nlayers', 'nanos', 'origin', 'reserved' } do
            print(written(lent, field))
          end
        end
        kept = layer";
    let outcome = Bench::new().counter("writer.lua", IPV4, "", body).run(&Capture::udp(1, 100));
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines, ["nil"; 8 * 15], "{}", outcome.stderr);
}

#[test]
fn a_kept_object_is_refused_in_the_line_that_uses_it_and_under_its_name() {
    // One line for each, behind the five of the head of every counter and one of its own.
    let uses = [
        ("k.layer:getbyte(1)", "Layer"),
        ("k.packet:get_layer(1)", "Packet"),
        ("k.packet:set_timestamp(1)", "Packet"),
        ("k.buffer:tostring(1)", "Buffer"),
        ("k.inner:rawbytes()", "Layer"),
        ("engine:update_counter_at(G, k.buffer, 0, 4, 0, 1)", "Buffer"),
        ("engine:update_counter_end(G, k.packet, 'ipa', 0, 1)", "Packet"),
    ];
    let lines = uses
        .iter()
        .enumerate()
        .fold(String::new(), |text, (i, (code, _))| text + &format!("if n == {} then {code} return end\n", i + 2));
    let body = format!(
        "if n == 1 then k = {{ layer = layer, packet = layer:packet(), buffer = layer:rawbytes(), inner = \
         layer:packet():get_layer(0) }} end\n{lines}"
    );
    let head = format!("local k, G = nil, '{GROUP}'");
    let outcome =
        Bench::new().group().counter("late.lua", UDP, &head, &body).run(&Capture::udp(uses.len() as u32 + 1, 100));
    outcome.exits(1);
    for (i, (code, what)) in uses.iter().enumerate() {
        let part = format!("late.lua:{}: ERR_STALE: {what} used outside its callback", i + 7);
        assert!(outcome.stderr.contains(&part), "{code}: {}", outcome.stderr);
    }
}

#[test]
fn what_a_callback_that_keeps_it_is_lent_can_be_used_in_it_like_any_other() {
    let body = "kept = layer
      local p, b = layer:packet(), layer:rawbytes()
      print(layer:packet() == p, layer:rawbytes() == b, p:get_layer(0) == p:get_layer(0), p == nil, layer ~= nil)
      print(layer == p, p:get_layer(0) == p:get_layer(1), layer == p:get_layer(1), b == p:rawbytes(), nil == b, 1 == layer)
      print(layer:layer_bytes(), layer:getbyte(0), layer:testbit(1), layer:total_bytes(), layer:protocol_id(), layer:flowkey())
      print(b:size(), b:length(), b:hval_8(0), b:hval_16(0), b:hval_24(0), b:hval_32(0), #b:tostring(1, 3), #b:hexdump() > 60)
      print(p:wire_length(), p:capture_length(), p:num_layers(), p:originid(), p:flowid():ipa(), p:timestamp())
      print(p:find_layer('{14D7AB53-CC51-47E9-8814-9C06AAE60189}'):rawbytes():hval_16(0), p:get_layer(9), p:find_layer('x'))
      p:set_timestamp(7, 8) print(layer:packet():timestamp())
      print(tostring(layer):match('^%a+: '), tostring(p):match('^%a+: '), tostring(b):match('^%a+: '))
      print(select(2, pcall(function() layer:nothing() end)):match('attempt.*'))
      engine:update_counter_at(G, layer, 16, 4, 0, 1) engine:update_counter_at(G, b, 16, 4, 0, 1)
      engine:update_counter_at(G, p, 30, 4, 0, 1) engine:update_counter_end(G, p, 'ipa', 0, 1)
      print(select(2, pcall(engine.update_counter_at, engine, G, 'x', 0, 4, 0, 1)))";
    let head = format!("local kept, G = nil, '{GROUP}'");
    let run = |body: &str| {
        Bench::new().group().counter("keeper.lua", IPV4, &head, body).run(&Capture::new().at_micros(
            100,
            5,
            udp_packet((4711, 9), b"pay"),
        ))
    };
    let outcome = run(body);
    let id = "11A:0A.00.00.05:p-1267_0A.00.00.09:p-0009";
    outcome.prints(&[
        "true\ttrue\ttrue\tfalse\ttrue",
        "false\tfalse\tfalse\tfalse\tfalse\tfalse",
        &format!("20\t69\ttrue\t45\t{IPV4}\t{id}"),
        "20\t20\t69\t17664\t4521984\t1157627935\t3\ttrue",
        "45\t45\t3\t0\t0A.00.00.05\t100\t5",
        "4711\tnil\tnil",
        "7\t8",
        "Layer: \tPacket: \tBuffer: ",
        "attempt to call method 'nothing' (a nil value): a Layer has no such method",
        "bad argument #2 to 'update_counter_at' (layer, buffer or packet expected, got string)",
    ]);
    assert_eq!(outcome.total(GROUP, "0A.00.00.09", 0).map(|total| total.sum), Some(3.0));
    assert_eq!(outcome.total(GROUP, "0A.00.00.05", 0).map(|total| total.sum), Some(1.0));
}

#[test]
fn layers_that_are_asked_for_again_and_again_go_on_showing_themselves() {
    let body = "local p, list = layer:packet(), {}
      for i = 1, 6000 do list[i] = p:get_layer(i % 3) end
      local wrong = 0
      for i = 1, 6000 do if list[i]:layer_bytes() ~= ({ [0] = 14, 20, 8 })[i % 3] then wrong = wrong + 1 end end
      print(wrong)";
    Bench::new().counter("many.lua", ETHERNET, "", body).run(&Capture::udp(2, 100)).prints(&["0", "0"]);
}

#[test]
fn a_callback_that_keeps_nothing_is_lent_the_struct_itself() {
    // What `debug` shows of a caller's variables is beyond what is looked at, unless the file names it.
    let head = "local getlocal = loadstring('return debug')().getlocal
      local function shown()
        local _, object = getlocal(2, 2)
        return tostring(require('ffi').typeof(object)):find('*', 1, true) ~= nil
      end";
    let run = |body: &str| Bench::new().counter("t.lua", UDP, head, body).run(&Capture::udp(1, 100));
    run("print(shown(), layer:getbyte(1))").prints(&["true\t136"]);
    run("print(shown(), (layer:getbyte(1))) T.kept = layer").prints(&["false\t136"]);
    run("print(shown(), layer:getbyte(1)) local d = debug").prints(&["false\t136"]);
}

#[test]
fn a_layer_of_a_handler_is_stale_when_it_is_asked_about_the_packet_again() {
    let text = format!(
        "local kept, n, bad = {{}}, 0, 0
         {REFUSED}
         TrisulPlugin = {{ id = {{ name = 'handler' }},
           onunload = function() print(n, bad) end,
           protocol_handler = {{
           control = {{ guid = '{P}', name = 'P', description = 'test', host_protocol_guid = '{UDP}',
             host_protocol_ports = {{ 4711 }} }},
           parselayer = function(layer)
             n = n + 1
             for i = 1, #kept do if not refused('Layer', kept[i], 'layer_bytes') then bad = bad + 1 end end
             kept[n] = layer
             if layer:layer_bytes() > 2 then return 2, '{P}' end
             return 2
           end }} }}"
    );
    let capture = (0..60).fold(Capture::new(), |capture, i| capture.at(100 + i, udp_packet((9, 4711), b"123456")));
    Bench::new().plugin("p.lua", &text).run(&capture).prints(&["180\t0"]);
}

#[test]
fn layers_that_a_handler_asks_for_do_not_take_the_place_of_those_it_is_asked_about() {
    // A batch of packets is asked about at a time.
    let text = format!(
        "local n, wrong = 0, 0
         TrisulPlugin = {{ id = {{ name = 'handler' }},
           onunload = function() print(n, wrong) end,
           protocol_handler = {{
           control = {{ guid = '{P}', name = 'P', description = 'test', host_protocol_guid = '{UDP}',
             host_protocol_ports = {{ 4711 }} }},
           parselayer = function(layer)
             n = n + 1
             if layer:rawbytes():hval_16(0) ~= n then wrong = wrong + 1 end
             for i = 1, 20 do local inner = layer:packet():get_layer(i % 3) end
             return 2
           end }} }}"
    );
    let capture =
        (1..=600_u16).fold(Capture::new(), |capture, i| capture.at(100, udp_packet((9, 4711), &i.to_be_bytes())));
    Bench::new().plugin("p.lua", &text).run(&capture).prints(&["600\t0"]);
}

#[test]
fn payload_of_a_stream_is_stale_at_each_of_thousands_of_events() {
    let text = format!(
        "local kept, n, bad = nil, 0, 0
         {REFUSED}
         TrisulPlugin = {{ id = {{ name = 't' }},
           onunload = function() print(n, bad) end,
           reassembly_handler = {{ onpayload = function(engine, ts, flow, dir, pos, buf)
             n = n + 1
             if buf:hval_16(0) ~= n then bad = bad + 1 end
             if kept and (not refused('Buffer', kept, 'tostring') or rawequal(kept, buf) or kept == buf) then bad = bad + 1 end
             kept = kept or buf
           end }} }}"
    );
    let stream = (1..=3000_u16).fold(Conversation::open(40000, 25), |stream, i| stream.client(&i.to_be_bytes()));
    Bench::new().plugin("t.lua", &text).run(&stream.close().capture()).prints(&["3000\t0"]);
}

#[test]
fn headers_of_http_are_stale_at_each_of_thousands_of_events() {
    let text = format!(
        "local kept, n, bad = nil, 0, 0
         {REFUSED}
         TrisulPlugin = {{ id = {{ name = 't' }},
           onunload = function() print(n, bad) end,
           filex_monitor = {{ onpayload_http = function(engine, ts, flow, path, request, response, dir, pos, buf)
             n = n + 1
             if request:get_path() ~= '/' or tostring(response:get_status()) ~= '200' or #buf:tostring() > 0 and buf:tostring() ~= 'x'
               then bad = bad + 1 end
             if request ~= request or request == response then bad = bad + 1 end
             kept = kept or {{ request, response, buf }}
             if n > 1 and not (refused('HTTPHeader', kept[1], 'get_path') and refused('HTTPHeader', kept[2], 'get_status')
               and refused('Buffer', kept[3], 'size')) then bad = bad + 1 end
           end }} }}"
    );
    // Each body ends with an empty buffer.
    let web = (0..1200).fold(Conversation::open(40000, 80), |web, _| {
        web.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    });
    let bench = Bench::new().plugin("t.lua", &text).args(&["--set", "Reassembly>FileExtraction>Enabled=true"]);
    bench.run(&web.close().capture()).prints(&["2400\t0"]);
}

#[test]
fn structs_and_values_show_the_same_in_one_run() {
    let packet = ether(&ipv4("10.0.0.5", "10.0.0.9", 6, &tcp((1234, 80), ACK, &[], b"abc")));
    let capture = (0..900).fold(Capture::new(), |capture, _| capture.at(1, packet.clone()));
    let line = "if n == 900 then print(layer:getbyte(9), layer:packet():get_layer(2):rawbytes():hval_16(0)) end";
    Bench::new()
        .counter("a.lua", IPV4, "", line)
        .counter("b.lua", IPV4, "local kept", &format!("kept = layer {line}"))
        .run(&capture)
        .prints(&["6\t1234", "6\t1234"]);
}
