//! Groups counted by what is found in flows, and flow counters.

use crate::capture_support::Seen;
use crate::frames::{ether, ipv4, udp};
use crate::harness::{Setup, run, seen};
use millstream::builtin::{CounterCommand, CounterTarget, CounterWhat, FactKind};
use millstream::flow::{FlowCounter, FlowEvents};
use millstream::metrics::{CountedDirection, GroupIndex, Registry};

const FLOW: &[u8] = b"11A:0A.00.00.05:p-1770_0A.00.00.09:p-0035";

/// Packets of one flow of 100, 101, 102... bytes; the odd ones are answers.
fn conversation(count: usize) -> Vec<Seen> {
    let packet = |i: usize| {
        let (client, server) = ("10.0.0.5", "10.0.0.9");
        let payload = vec![0; 58 + i];
        let bytes = if i.is_multiple_of(2) {
            ether(&ipv4(client, server, 17, &udp((6000, 53), &payload)))
        } else {
            ether(&ipv4(server, client, 17, &udp((53, 6000), &payload)))
        };
        seen(0, bytes)
    };
    (0..count).map(packet).collect()
}

fn sum(range: std::ops::Range<usize>) -> f64 {
    range.map(|i| 100.0 + i as f64).sum()
}

#[test]
fn a_host_has_all_bytes_of_its_flow_from_its_header_on() {
    let facts = vec![
        (2, FactKind::HttpHost(b"a.example")),
        (4, FactKind::HttpHost(b"a.example")),
        (6, FactKind::HttpHost(b"b.example")),
    ];
    for batch in [1, 3, 256] {
        let run = run(&conversation(10), &Setup { facts: facts.clone(), batch, ..Setup::of(&["all"]) });
        assert_eq!(run.key("HTTP Hosts", "a.example"), [(0, sum(2..10))]);
        assert_eq!(run.keys("HTTP Hosts"), ["a.example"]);
    }
}

#[test]
fn bytes_belong_to_the_content_type_of_the_latest_response() {
    let facts = vec![
        (1, FactKind::ContentType(b"text/html; charset=utf-8")),
        (3, FactKind::ContentType(b"image/png")),
        (5, FactKind::ContentType(b"text/html")),
        (5, FactKind::ContentType(b"")),
    ];
    let run = run(&conversation(8), &Setup { facts, ..Setup::of(&["HTTP Content Types"]) });
    assert_eq!(run.key("HTTP Content Types", "text/html"), [(0, sum(1..3) + sum(5..8)), (1, 2.0)]);
    assert_eq!(run.key("HTTP Content Types", "image/png"), [(0, sum(3..5)), (1, 1.0)]);
}

#[test]
fn methods_status_codes_and_certificates_are_hits() {
    let facts = vec![
        (0, FactKind::HttpMethod(b"GET")),
        (2, FactKind::HttpMethod(b"GET")),
        (3, FactKind::HttpStatus(b"404")),
        (3, FactKind::TlsOrganisation(b"Example Corp")),
        (3, FactKind::TlsCipher(b"C02F")),
        (3, FactKind::TlsRoot(b"Root")),
        (3, FactKind::TlsIntermediate(b"Middle")),
        (4, FactKind::TlsIntermediate(b"")),
    ];
    let run = run(&conversation(6), &Setup { facts, ..Setup::of(&["all"]) });
    assert_eq!(run.key("HTTP Methods", "GET"), [(0, 2.0)]);
    assert_eq!(run.key("HTTP Status Codes", "404"), [(0, 1.0)]);
    assert_eq!(run.key("TLS Orgs", "Example Corp"), [(0, sum(3..6)), (1, 1.0)]);
    assert_eq!(run.key("TLS Ciphers", "C02F"), [(0, sum(3..6)), (1, 1.0)]);
    assert_eq!(run.key("TLS CAs", "Root"), [(1, 1.0)]);
    assert_eq!(run.key("TLS CAs", "Middle"), [(0, 1.0)]);
}

#[test]
fn names_of_hosts_become_labels_of_their_keys() {
    let name = FactKind::HostName { mac: [2, 0, 0, 0, 0, 1], ip: Some([10, 0, 0, 5]), name: b"printer" };
    let run = run(&conversation(1), &Setup { facts: vec![(0, name)], ..Setup::of(&["default"]) });
    let labels: Vec<(String, &[u8], &[u8])> =
        run.labels.iter().map(|l| (l.group.to_string(), &l.key[..], &l.label[..])).collect();
    let hosts = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}".to_owned();
    let macs = "{4B09BD22-3B99-40FC-8215-94A430EA0A35}".to_owned();
    let expected = [(macs, &b"02:00:00:00:00:01"[..], &b"printer"[..]), (hosts, b"0A.00.00.05", b"printer")];
    assert_eq!(labels, expected);
}

fn index(name: &str) -> GroupIndex {
    let registry = Registry::new();
    let at = registry.counter_groups().position(|group| group.name == name.as_bytes()).unwrap();
    GroupIndex(at as u16)
}

fn attach(id: &[u8], key: &[u8], direction: CountedDirection) -> CounterCommand {
    let counter = FlowCounter { group: index("Country"), key: key.into(), meter: 0, direction };
    let target = CounterTarget::Id(id.into());
    CounterCommand { packet: FlowEvents::NO_PACKET, target, what: CounterWhat::Attach(counter) }
}

#[test]
fn a_script_counts_from_the_current_packet_on_by_direction() {
    let detach = CounterWhat::Detach(index("Country"));
    let commands = vec![
        (1, attach(FLOW, b"both", CountedDirection::Both)),
        (1, attach(FLOW, b"out", CountedDirection::Out)),
        (2, attach(FLOW, b"in", CountedDirection::In)),
        (2, attach(FLOW, b"both", CountedDirection::Both)),
        (5, CounterCommand { what: detach, ..attach(FLOW, b"", CountedDirection::Both) }),
        (6, attach(FLOW, b"again", CountedDirection::Both)),
    ];
    for batch in [1, 4, 256] {
        let run = run(&conversation(8), &Setup { commands: commands.clone(), batch, ..Setup::of(&["Hosts"]) });
        assert_eq!(run.key("Country", "both"), [(0, sum(1..5))]);
        assert_eq!(run.key("Country", "out"), [(0, 102.0 + 104.0)]);
        assert_eq!(run.key("Country", "in"), [(0, 103.0)]);
        assert_eq!(run.key("Country", "again"), [(0, sum(6..8))]);
    }
}

#[test]
fn a_counter_waits_for_its_flow() {
    let mut packets = vec![seen(0, ether(&ipv4("10.1.1.1", "10.1.1.2", 17, &udp((1, 2), b""))))];
    packets.extend(conversation(4));
    let commands = vec![(0, attach(FLOW, b"waited", CountedDirection::Both))];
    let run = run(&packets, &Setup { commands, batch: 1, ..Setup::of(&["Hosts"]) });
    assert_eq!(run.key("Country", "waited"), [(0, sum(0..4))]);
}
