//! `protocol_handler`: what a handler may answer, and where it is asked.

use crate::support::frames::{ACK, ether, ethernet, ipv4, ipv6, tcp, udp, udp_packet};
use crate::support::{Bench, Capture, ETHERNET, IPV4, Outcome, TCP, UDP};

const P: &str = "{AAAAAAAA-0000-0000-0000-000000000001}";
const Q: &str = "{AAAAAAAA-0000-0000-0000-000000000002}";

/// A handler for protocol `guid` on `host` and `numbers`, with `body` as its answer.
fn handler(guid: &str, host: &str, numbers: &str, body: &str) -> String {
    let host = if host.is_empty() {
        String::new()
    } else {
        format!("host_protocol_guid = '{host}', host_protocol_ports = {{ {numbers} }}")
    };
    format!(
        "local n = 0
         TrisulPlugin = {{ id = {{ name = 'handler' }}, protocol_handler = {{
           control = {{ guid = '{guid}', name = 'PROTO', description = 'test', {host} }},
           parselayer = function(layer) n = n + 1 {body} end }} }}"
    )
}

/// Shows the layers of every packet: name or GUID and bytes.
const SHOW: &str = r#"
local names = { ["{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"] = "eth", ["{0A2C724B-5B9F-4BA6-9C97-B05080558574}"] = "ip",
  ["{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"] = "ip6", ["{14D7AB53-CC51-47E9-8814-9C06AAE60189}"] = "udp",
  ["{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"] = "tcp", ["{AAAAAAAA-0000-0000-0000-000000000001}"] = "P",
  ["{AAAAAAAA-0000-0000-0000-000000000002}"] = "Q" }
TrisulPlugin = { id = { name = "show" }, simplecounter = {
  protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
  onpacket = function(engine, layer)
    local p, t = layer:packet(), {}
    for i = 0, p:num_layers() - 1 do
      local l = p:get_layer(i)
      t[#t + 1] = (names[l:protocol_id()] or "opaque") .. " " .. l:layer_bytes()
    end
    print(table.concat(t, ", "))
  end } }"#;

/// Layers of a UDP packet to port 4711 with 10 bytes, when the handler of P answers `body`.
fn answered(body: &str) -> Outcome {
    Bench::new()
        .plugin("p.lua", &handler(P, UDP, "4711, 4712", body))
        .plugin("q.lua", &handler(Q, "", "", "return 3"))
        .plugin("show.lua", SHOW)
        .run(&Capture::new().at(100, udp_packet((9, 4711), b"0123456789")))
}

#[test]
fn parselayer_answers_and_their_layers() {
    for (answer, layers) in [
        ("return layer:layer_bytes(), nil", "P 10"),
        ("return 4", "P 4"),
        ("return '4'", "P 4"),
        ("return 4, nil", "P 4"),
        ("", ""),
        ("return nil", ""),
        ("return nil, 'x'", ""),
        ("return {}", ""),
        ("return 99", "P 10"),
        ("return -5", "P 0"),
        ("return 0", "P 0"),
        ("return 2.9", "P 2"),
        ("return 1/0", "P 10"),
        (&format!("return 4, '{Q}'"), "P 4, Q 3"),
        (&format!("return 4, '{}'", Q.to_lowercase()), "P 4, Q 3"),
        (&format!("return 0, '{Q}'"), "Q 3"),
        ("return 4, '{DEADBEEF-0000-4000-8000-000000000001}'", "P 4, opaque 6"),
        ("return 4, 'nonsense'", "P 4, opaque 6"),
        (&format!("return 4, '{ETHERNET}'"), "P 4"),
        ("return 4, false", "P 4"),
        ("return 0, false", "P 0"),
    ] {
        let outcome = answered(answer);
        let all = if layers.is_empty() {
            "eth 14, ip 20, udp 8".to_owned()
        } else {
            format!("eth 14, ip 20, udp 8, {layers}")
        };
        outcome.exits(0);
        assert_eq!(outcome.lines(), [all.as_str()], "{answer}: {}", outcome.stderr);
    }
}

#[test]
fn a_next_protocol_that_nobody_knows_has_the_guid_that_the_handler_named() {
    const UNKNOWN: &str = "{DEADBEEF-0000-4000-8000-00000000000A}";
    let show = format!(
        "local p = layer:packet()
         local found, last = p:find_layer('{UNKNOWN}'), p:get_layer(p:num_layers() - 1)
         if n > 300 then print(found and found:layer_bytes(), last:protocol_id(), last:layer_bytes()) end"
    );
    // The first batch has no such layer.
    let others = (0..300).fold(Capture::new(), |capture, _| capture.at(1, udp_packet((9, 10), b"x")));
    let capture = others.at(2, udp_packet((9, 4711), b"0123456789")).at(2, udp_packet((9, 10), b"x"));
    Bench::new()
        .plugin("p.lua", &handler(P, UDP, "4711", &format!("return 4, '{}'", UNKNOWN.to_lowercase())))
        .counter("show.lua", ETHERNET, "", &show)
        .run(&capture)
        .prints(&[&format!("6\t{UNKNOWN}\t6"), &format!("nil\t{UDP}\t8")]);
}

#[test]
fn parselayer_sees_all_bytes_not_yet_claimed_and_the_lower_layers() {
    let outcome = answered(
        "print(layer:layer_bytes(), layer:rawbytes():tostring(), layer:protocol_id(), layer:total_bytes(), layer:getbyte(1),
           layer:testbit(2), layer:packet():num_layers(), layer:packet():find_layer('{14D7AB53-CC51-47E9-8814-9C06AAE60189}'):layer_bytes())
         return 10",
    );
    outcome.prints(&[&format!("10\t0123456789\t{P}\t52\t49\ttrue\t3\t8"), "eth 14, ip 20, udp 8, P 10"]);
}

#[test]
fn parselayer_is_asked_before_any_simplecounter_and_gets_no_engine() {
    let outcome = Bench::new()
        .counter("a.lua", IPV4, "", "print('counter', layer:packet():num_layers())")
        .plugin(
            "p.lua",
            &handler(P, UDP, "4711", "print('handler') return 1")
                .replace("function(layer)", "function(layer, ...) assert(select('#', ...) == 0)"),
        )
        .counter("z.lua", P, "", "print('on P', layer:layer_bytes())")
        .run(&Capture::new().at(1, udp_packet((4711, 80), b"abc")));
    outcome.prints(&["handler", "counter\t4", "on P\t1"]);
}

#[test]
fn udp_and_tcp_attach_by_destination_first_then_source() {
    let bench = Bench::new()
        .plugin("p.lua", &handler(P, UDP, "4711", "return 1"))
        .plugin("q.lua", &handler(Q, UDP, "4712", "return 2"))
        .plugin("show.lua", SHOW);
    let capture = Capture::new()
        .at(1, udp_packet((4711, 4712), b"abc"))
        .at(2, udp_packet((4712, 4711), b"abc"))
        .at(3, udp_packet((4711, 9), b"abc"))
        .at(4, udp_packet((8, 9), b"abc"));
    bench.run(&capture).prints(&[
        "eth 14, ip 20, udp 8, Q 2",
        "eth 14, ip 20, udp 8, P 1",
        "eth 14, ip 20, udp 8, P 1",
        "eth 14, ip 20, udp 8",
    ]);
}

#[test]
fn a_handler_on_tcp_port_179() {
    let bench =
        Bench::new().plugin("bgp.lua", &handler(P, TCP, "179", "return layer:layer_bytes()")).plugin("show.lua", SHOW);
    let segment = tcp((40_000, 179), ACK, &[1, 1, 1, 1], b"BGP message");
    bench
        .run(&Capture::new().at(1, ether(&ipv4("10.0.0.5", "10.0.0.9", 6, &segment))))
        .prints(&["eth 14, ip 20, tcp 24, P 11"]);
}

#[test]
fn handlers_on_ip_protocols_ethertypes_and_ipv6() {
    let bench = Bench::new()
        .plugin("ospf.lua", &handler(P, IPV4, "89", "return 4"))
        .plugin("arp.lua", &handler(Q, ETHERNET, "0x0806", "return 2"))
        .plugin(
            "six.lua",
            &handler(
                "{AAAAAAAA-0000-0000-0000-000000000003}",
                "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}",
                "89",
                "return 1",
            ),
        )
        .plugin("show.lua", SHOW);
    let capture = Capture::new()
        .at(1, ether(&ipv4("10.0.0.1", "10.0.0.2", 89, b"ospf hello")))
        .at(2, ethernet(0x0806, &[0; 28]))
        .at(3, ether(&ipv6("fe80::1", "fe80::2", 89, b"six")));
    bench.run(&capture).prints(&["eth 14, ip 20, P 4", "eth 14, Q 2", "eth 14, ip6 40, opaque 1"]);
}

#[test]
fn the_first_definition_of_a_protocol_and_of_a_port_wins() {
    let outcome = Bench::new()
        .plugin("a.lua", &handler(P, UDP, "4711", "print('first') return 1"))
        .plugin("b.lua", &handler(&P.to_lowercase(), UDP, "4711, 4712", "print('second definition') return 2"))
        .plugin("c.lua", &handler(Q, UDP, "4711", "print('second claim') return 3"))
        .plugin("show.lua", SHOW)
        .run(&Capture::new().at(1, udp_packet((9, 4711), b"abcd")));
    outcome.prints(&["first", "eth 14, ip 20, udp 8, P 1"]);
    assert!(!outcome.logged("INFO", "").is_empty(), "told at INFO: {}", outcome.stderr);
}

#[test]
fn a_director_sends_packets_to_other_handlers() {
    let director = format!(
        "local first = layer:rawbytes():hval_8(0) if first == 80 then return 0, '{Q}' elseif first == 88 then return end return 0, '{UDP}'"
    );
    let bench = Bench::new()
        .plugin("director.lua", &handler(P, UDP, "4711", &director))
        .plugin("q.lua", &handler(Q, "", "", "return layer:layer_bytes()"))
        .plugin("show.lua", SHOW);
    let inner = udp((1, 2), b"in");
    let capture = Capture::new()
        .at(1, udp_packet((1, 4711), b"Pxyz"))
        .at(2, udp_packet((1, 4711), b"Xxyz"))
        .at(3, udp_packet((1, 4711), &inner));
    bench.run(&capture).prints(&["eth 14, ip 20, udp 8, Q 4", "eth 14, ip 20, udp 8", "eth 14, ip 20, udp 8, udp 8"]);
}

#[test]
fn a_packet_has_at_most_32_layers() {
    let outcome = Bench::new()
        .plugin("p.lua", &handler(P, UDP, "4711", &format!("return 1, '{P}'")))
        .counter("n.lua", ETHERNET, "", "print(layer:packet():num_layers())")
        .run(&Capture::new().at(1, udp_packet((1, 4711), &[0; 200])).at(2, udp_packet((1, 4711), &[0; 200])));
    outcome.prints(&["32", "32"]);
    assert_eq!(outcome.logged("WARN", "32 layers").len(), 1, "{}", outcome.stderr);
}

#[test]
fn a_handler_that_claims_nothing_for_ever_ends() {
    let outcome = Bench::new()
        .plugin("p.lua", &handler(P, UDP, "4711", &format!("return 0, '{Q}'")))
        .plugin("q.lua", &handler(Q, "", "", &format!("return 0, '{P}'")))
        .plugin("show.lua", SHOW)
        .run(&Capture::new().at(1, udp_packet((1, 4711), b"abc")));
    outcome.prints(&["eth 14, ip 20, udp 8"]);
}

#[test]
fn handlers_see_many_packets_of_many_batches_in_order() {
    let outcome = Bench::new()
        .plugin(
            "p.lua",
            &handler(
                P,
                UDP,
                "6000",
                "local got = layer:rawbytes():hval_32(0) if got ~= n - 1 then print('out of order', got) end return 4",
            ),
        )
        .counter(
            "c.lua",
            P,
            "",
            "if layer:rawbytes():hval_32(0) ~= n - 1 then print('counter', n) end if n == 1000 then print('all') end",
        )
        .run(&Capture::udp(1000, 100));
    outcome.prints(&["all"]);
}

#[test]
fn a_packet_of_an_unknown_link_type_is_one_opaque_layer() {
    const OPAQUE: &str = "{B3F0A6E4-27D9-4B8A-8F46-0C9D51E2A7B8}";
    let show = "local p = layer:packet()
        print(p:num_layers(), p:get_layer(0):protocol_id(), layer:layer_bytes(), p:rawbytes():tostring(), p:wire_length())";
    let bench =
        || Bench::new().counter("show.lua", OPAQUE, "", show).counter("other.lua", ETHERNET, "", "print('eth')");
    // In a file, where others of the same file are known.
    let mut capture =
        Capture::of_link(147).at(100, b"some bytes".to_vec()).cut(101, b"only some", 4).at(102, Vec::new());
    bench().run(&capture).prints(&[&format!("1\t{OPAQUE}\t10\tsome bytes\t10"), &format!("1\t{OPAQUE}\t4\tonly\t9")]);
    capture = Capture::new().at(100, udp_packet((9, 4711), b""));
    bench().run(&capture).prints(&["eth"]);
    // From an input filter.
    let filter = "local n = 0 TrisulPlugin = { id = { name = 'in' }, inputfilter = { step = function(packet)
        n = n + 1 packet:set_packet(n, 0, 147, 'built') return n < 2 end } }";
    let line = format!("1\t{OPAQUE}\t5\tbuilt\t5");
    bench().plugin("input.lua", filter).run_with(&[]).prints(&[&line, &line]);
}
