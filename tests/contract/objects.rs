//! Packet, Layer, Buffer, FlowID, re2, ac and strings, method by method.

use std::fs;

use crate::support::frames::{
    ACK, MAC_A, MAC_Z, RST, ether, ethernet, example_syn, icmp, ipv4, ipv6, tcp, udp, udp_packet, vlan,
};
use crate::support::{Bench, Capture, ETHERNET, TCP, UDP, run_cases};

/// The bytes of the contract's example of a dump.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03millrace\n";

/// One packet for each number that `objects.lua` asks about, in this order.
fn capture() -> Capture {
    let padded = {
        let mut frame = udp_packet((7, 9), b"p");
        frame.resize(60, 0xEE);
        frame
    };
    let inner = ipv4("1.1.1.1", "2.2.2.2", 17, &udp((1000, 2000), b"in"));
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([&MAC_A[..], &[10, 0, 0, 1], &MAC_Z, &[10, 0, 0, 2]].concat());
    Capture::new()
        .at_micros(100, 250, example_syn())
        .at(101, udp_packet((4711, 9), HELLO))
        .at(102, ether(&ipv6("fe80::ba2a:72ff:fecc:5e33", "ff02::fb", 17, &udp((5353, 5353), b"mdns"))))
        .at(103, ether(&ipv4("10.0.0.9", "10.0.0.1", 1, &icmp(0, 0, b"pong"))))
        .at(104, ethernet(0x0806, &arp))
        .at(105, vlan(&[5, 7], &ipv4("10.0.0.5", "10.0.0.9", 6, &tcp((40000, 25), RST | ACK, &[], b"data"))))
        .cut(106, &example_syn(), 30)
        .at(107, ether(&ipv4("9.9.9.9", "8.8.8.8", 4, &inner)))
        .at(108, padded)
        .at(109, ether(&ipv4("10.0.0.1", "10.0.0.2", 89, b"ospf")))
        .at(110, ether(&ipv4("10.0.0.1", "10.0.0.2", 253, b"test")))
        .at(111, ether(&ipv4("10.0.0.9", "10.0.0.5", 17, &udp((4711, 4711), b"equal ports"))))
}

#[test]
fn every_method_of_the_packet_objects() {
    run_cases(Bench::new(), "contract/objects.lua", &capture()).exits(0);
}

#[test]
fn strings_patterns_and_matchers() {
    run_cases(Bench::new(), "contract/strings.lua", &Capture::udp(1, 100)).exits(0);
}

#[test]
fn raw_ip_has_no_link_layer() {
    let packet = ipv4("10.0.0.5", "10.0.0.9", 6, &tcp((1234, 80), ACK, &[], b""));
    let outcome = Bench::new()
        .counter("raw.lua", TCP, "", "local p = layer:packet() print(p:num_layers(), p:get_layer(0):protocol_id())")
        .run(&Capture::of_link(101).at(1, packet));
    outcome.prints(&["2\t{0A2C724B-5B9F-4BA6-9C97-B05080558574}"]);
}

#[test]
fn originid_is_the_index_of_the_file() {
    let bench = Bench::new().counter("o.lua", ETHERNET, "", "print(layer:packet():originid())");
    let (a, b) = (bench.path("a.pcap"), bench.path("b.pcap"));
    fs::write(&a, Capture::udp(2, 100).to_pcap()).expect("a writable directory");
    fs::write(&b, Capture::udp(1, 200).to_pcap()).expect("a writable directory");
    let outcome = bench.run_with(&["-r", &a.display().to_string(), "-r", &b.display().to_string()]);
    outcome.prints(&["0", "0", "1"]);
}

#[test]
fn set_timestamp_changes_what_later_scripts_see_of_the_packet() {
    let outcome = Bench::new()
        .counter(
            "a.lua",
            UDP,
            "",
            "local p = layer:packet()
             p:set_timestamp('2000', 7) print(p:timestamp())
             p:set_timestamp('3000.25') print(p:timestamp())
             p:set_timestamp(4000) print(p:timestamp())",
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&["2000\t7", "3000\t250000", "4000\t0"]);
}

#[test]
fn set_packet_is_for_input_filters() {
    let outcome = Bench::new()
        .counter("a.lua", UDP, "", "print(select(2, pcall(layer:packet().set_packet, layer:packet(), 1, 2, 1, 'x')))")
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert!(outcome.lines()[0].contains("ERR_NOTAVAIL: set_packet() is not available here"), "{:?}", outcome.lines());
}

#[test]
fn buffers_are_appended_and_written_to_files() {
    let bench = Bench::new().counter(
        "files.lua",
        UDP,
        "",
        "local b = layer:packet():rawbytes()
         local tail = layer:rawbytes()
         tail:appendtofile('append.bin') ; tail:appendtofile('append.bin')
         tail:writetofile('write.bin', 4) ; tail:writetofile('write.bin', '0')
         ; ('text'):appendtofile('string.bin') ; ('X'):writetofile('string.bin', 1)
         ; ('x'):appendtofile('no/such/dir/file') ; tail:appendtofile('no/such/dir/file')",
    );
    let outcome = bench.run(&Capture::new().at(1, udp_packet((1, 2), b"")));
    outcome.exits(0);
    let header = [0, 1, 0, 2, 0, 8, 0, 0];
    let read = |name: &str| fs::read(bench.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(read("append.bin"), [header, header].concat());
    assert_eq!(read("write.bin"), [&header[..], &header[4..]].concat());
    assert_eq!(read("string.bin"), b"tXxt");
    let told: usize = ["ERROR", "WARN"].iter().map(|level| outcome.logged(level, "no/such/dir/file").len()).sum();
    assert!((1..=2).contains(&told), "a failure is told in the log: {}", outcome.stderr);
}

/// Keeps objects beyond their callback and uses them in a later packet.
const KEEPER: &str = r#"
local kept, n = {}, 0
local use = {
  packet = { "timestamp", "rawbytes", "wire_length", "capture_length", "num_layers", "get_layer", "find_layer", "flowid",
             "originid", "set_timestamp", "set_packetstore_policy" },
  layer = { "layer_bytes", "total_bytes", "protocol_id", "rawbytes", "packet", "getbyte", "testbit", "flowkey" },
  buffer = { "size", "length", "hval_8", "hval_16", "hval_24", "hval_32", "tostring", "hexdump", "appendtofile",
             "writetofile" },
}
local type_name = { packet = "Packet", layer = "Layer", buffer = "Buffer" }
TrisulPlugin = {
  id = { name = "keeper", description = "" },
  simplecounter = {
    protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}",
    onpacket = function(engine, layer)
      n = n + 1
      if n == 1 then
        kept = { layer = layer, packet = layer:packet(), buffer = layer:rawbytes(), flow = layer:packet():flowid(),
                 upvalue = function() return layer:layer_bytes() end, inner = layer:packet():get_layer(0),
                 engine = engine }
      elseif n == STALE_AT then
        local bad = 0
        for kind, methods in pairs(use) do
          local want = "ERR_STALE: " .. type_name[kind] .. " used outside its callback"
          for _, method in ipairs(methods) do
            local ok, e = pcall(kept[kind][method], kept[kind], "name", 1)
            if ok or not tostring(e):find(want, 1, true) then
              bad = bad + 1
              print(kind, method, ok, e)
            end
          end
        end
        for _, f in ipairs { kept.upvalue, function() return kept.inner:layer_bytes() end } do
          local ok, e = pcall(f)
          if ok or not e:find("ERR_STALE: Layer used outside its callback", 1, true) then bad = bad + 1 end
        end
        print("bad", bad, kept.flow:id(), rawequal(kept.engine, engine), (tostring(kept.layer):match("^%a+: ")))
      end
    end,
  },
}"#;

#[test]
fn stale_objects_are_refused_in_the_same_batch_and_batches_later() {
    // Packets beyond 256 are in further batches; the rings of slots have been used anew by 1,500.
    for at in ["2", "300", "1500", "2900"] {
        let outcome = Bench::new().plugin("keeper.lua", &KEEPER.replace("STALE_AT", at)).run(&Capture::udp(3000, 100));
        outcome.prints(&["bad\t0\t11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388\ttrue\tLayer: "]);
    }
}

#[test]
fn a_stale_object_in_a_message_callback_and_at_unloading() {
    let outcome = Bench::new()
        .plugin(
            "late.lua",
            r#"
            local kept
            local function try(where) print(where, (select(2, pcall(kept.layer_bytes, kept)):match("ERR_STALE.*"))) end
            TrisulPlugin = {
              id = { name = "late" },
              onmessage = function() try("onmessage") end,
              onunload = function() try("onunload") end,
              simplecounter = { protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}",
                onpacket = function(engine, layer) kept = layer; engine:post_message_frontend("x") end },
            }"#,
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&[
        "onmessage\tERR_STALE: Layer used outside its callback",
        "onunload\tERR_STALE: Layer used outside its callback",
    ]);
}
