//! Records of flows and edges: states, ids that scripts make, what settings switch off.

use crate::support::conversation::{Conversation, Side};
use crate::support::frames::{ACK, FIN, RST, SYN, ether, ipv4, udp_packet};
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome};

/// State and reason of the flows of a capture, in the order of their ends.
fn states(capture: &Capture) -> Vec<(u64, String)> {
    let outcome = Bench::new().counter("c.lua", IPV4, "", "").args(&["--flows"]).run(capture);
    outcome.exits(0);
    let of = |event: &&serde_json::Value| {
        (event["state"].as_u64().unwrap_or_default(), event["reason"].as_str().unwrap_or_default().to_owned())
    };
    outcome.of("flow").iter().map(of).collect()
}

fn talk() -> Conversation {
    Conversation::open(40000, 25)
}

const INIT: u64 = 0x0001;
const SHAKEN: u64 = 0x0002 | 0x0004 | 0x0008;
const A_SERVER: u64 = 0x0010;
const Z_SERVER: u64 = 0x0020;
const SEEN_FIN: u64 = 0x0040;
const SEEN_RST: u64 = 0x0080;
const TIMED_OUT: u64 = 0x0100;
const INCOMPLETE: u64 = 0x0400;
const TERMINATED: u64 = 0x0800;
const FLOW_END: u64 = 0x09C0;

#[test]
fn the_state_of_a_flow_tells_how_it_began_and_ended() {
    let one = |capture: Capture| {
        let all = states(&capture);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    };
    let is = |state: u64, reason: &str| (state, reason.to_owned());
    let base = INIT | SHAKEN | Z_SERVER;
    assert_eq!(one(talk().client(b"x").close().capture()), is(base | SEEN_FIN | TERMINATED, "fin"));
    assert_eq!(one(talk().client(b"x").reset().capture()), is(base | SEEN_RST, "rst"));
    assert_eq!(one(talk().client(b"x").capture()), is(base, "end"), "a running flow has no bit of its end");
    assert_eq!(base & FLOW_END, 0);
    assert_eq!(one(talk().flags(Side::Client, FIN | ACK).capture()), is(base | SEEN_FIN | INCOMPLETE, "end"));
    let refused = Conversation::new(40000, 25).flags(Side::Client, SYN).flags(Side::Server, RST | ACK).capture();
    assert_eq!(one(refused), is(INIT | 0x0002 | Z_SERVER | SEEN_RST, "rst"));
    let low = Conversation::open(25, 40000).client(b"x").capture();
    assert_eq!(one(low), is(INIT | SHAKEN | A_SERVER, "end"), "the lower port is Z, and it sent the SYN");
    // Without a SYN and for other protocols, the server is a guess.
    assert_eq!(one(Conversation::new(40000, 25).client(b"x").capture()), is(INIT | Z_SERVER, "end"));
    assert_eq!(one(Capture::new().at(1, udp_packet((5000, 6000), b"x"))), is(INIT | Z_SERVER, "end"));
    let silent = Capture::new()
        .at(1, udp_packet((5000, 6000), b"x"))
        .at(1_000, ether(&ipv4("10.0.0.1", "10.0.0.2", 1, b"ping")));
    assert_eq!(states(&silent)[0], is(INIT | Z_SERVER | TIMED_OUT, "idle"));
}

#[test]
fn a_flow_that_a_script_ends_is_terminated() {
    let body = "if n == 4 then engine:terminate_flow(layer:packet():flowid()) end";
    let outcome = Bench::new().counter("c.lua", IPV4, "", body).args(&["--flows"]).run(&talk().client(b"x").capture());
    let flows = outcome.of("flow");
    assert_eq!((flows.len(), &flows[0]["reason"]), (1, &"script".into()));
    assert_ne!(flows[0]["state"].as_u64().unwrap_or_default() & TERMINATED, 0);
}

/// What the methods of the FlowID of a key that a script made give.
fn methods(key: &str) -> Vec<String> {
    let names = [
        "id",
        "key",
        "flow_type",
        "protocol",
        "ipa",
        "ipz",
        "ipa_readable",
        "ipz_readable",
        "porta",
        "portz",
        "porta_readable",
        "portz_readable",
        "netflow_router",
        "netflow_router_readable",
        "netflow_ifindex_in",
        "netflow_ifindex_out",
        "netflow_ifindex_in_readable",
        "netflow_ifindex_out_readable",
        "to_s",
    ];
    let list = names.map(|name| format!("'{name}'")).join(", ");
    let text = format!(
        "TrisulPlugin = {{ id = {{}},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) engine:new_flow_record('{key}', 1, 2, 3, 4) end }},
           messagemonitor = {{ onnewflowrecord = function(engine, flow)
             for _, name in ipairs {{ {list} }} do print('=' .. flow[name](flow)) end
           end }} }}"
    );
    let outcome = Bench::new().plugin("t.lua", &text).run(&Capture::udp(1, 100));
    outcome.exits(0);
    outcome.lines().into_iter().map(|line| line[1..].to_owned()).collect()
}

#[test]
fn interfaces_of_fewer_digits_in_an_id_are_told_as_they_are() {
    let told = methods("11C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_0A.81.4A.92_0003_001F");
    for part in ["11", "74.207.234.90", "36774", "10.129.74.146", "0003", "3", "001F", "31"] {
        assert!(told.iter().any(|text| text == part), "{part} in {told:?}");
    }
}

#[test]
fn flow_ids_of_exporters_tell_router_and_interfaces() {
    let key = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_0A.81.4A.92_0000000A_0000001F";
    let line = "TCP  74.207.234.90   80    192.168.1.33    36774 10.129.74.146   10      31      ";
    assert_eq!(
        methods(key),
        [
            key,
            key,
            "C",
            "06",
            "4A.CF.EA.5A",
            "C0.A8.01.21",
            "74.207.234.90",
            "192.168.1.33",
            "p-0050",
            "p-8FA6",
            "80",
            "36774",
            "0A.81.4A.92",
            "10.129.74.146",
            "0000000A",
            "0000001F",
            "10",
            "31",
            line,
        ]
    );
    let (a, z) = ("FE80000000000000BA2A72FFFECC5E33", "FF0200000000000000000000000000FB");
    let key = format!("11D:{a}:p-14E9_{z}:p-14E9_0A.81.4A.92_00000001_FFFFFFFF");
    let all = methods(&key);
    assert_eq!(all[2..8], ["D", "11", a, z, "fe80::ba2a:72ff:fecc:5e33", "ff02::fb"]);
    assert_eq!(all[16..18], ["1", "4294967295"]);
}

#[test]
fn ports_that_are_none_stay_and_a_malformed_id_is_only_an_id() {
    let all = methods("01A:0A.00.00.01:ICMP00_0A.00.00.09:p-0000");
    assert_eq!(all[8..12], ["ICMP00", "p-0000", "icmp00", "0"]);
    assert_eq!(all[12..18], [""; 6]);
    let all = methods("no flow");
    assert_eq!(all[..2], ["no flow"; 2]);
    assert_eq!(all[2..], [""; 17]);
}

/// What is left of two edges and the eight of a flow.
fn edges(set: &[&str]) -> Outcome {
    let body = format!(
        "engine:add_edge('{GROUP}', 'a', '{GROUP}', 'b') engine:add_edge('{GROUP}', 'a', '{GROUP}', 'b')
         engine:add_flow_edges(layer:packet():flowid(), '{GROUP}', 'v')"
    );
    let outcome = Bench::new().group().counter("c.lua", IPV4, "", &body).args(set).run(&Capture::udp(1, 100));
    outcome.exits(0);
    outcome
}

#[test]
fn edges_can_be_switched_off() {
    let on = edges(&[]);
    assert_eq!((on.of("edge").len(), on.of("flow_edges").len()), (2, 1));
    let off = edges(&["--set", "Edges>Enabled=False"]);
    assert_eq!((off.of("edge").len(), off.of("flow_edges").len()), (0, 0));
}

#[test]
fn edges_of_backend_scripts_can_be_switched_off_as_well() {
    let text = format!(
        "TrisulPlugin = {{ id = {{ name = 'e' }}, engine_monitor = {{ onendflush = function(engine)
         engine:add_edge('{GROUP}', 'a', '{GROUP}', 'b') end }} }}"
    );
    let edges = |set: &[&str]| {
        let outcome = Bench::new().group().plugin("e.lua", &text).args(set).run(&Capture::udp(1, 100));
        outcome.exits(0);
        outcome.of("edge").len()
    };
    assert_eq!((edges(&[]), edges(&["--set", "Edges>Enabled=false"])), (1, 0));
}
