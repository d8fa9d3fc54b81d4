//! Flows of which the first packet seen is one of the server's, with something in it: who asks is told by the content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::run::{capture, events, noisy, of, report};

/// Ports of servers in the captures of the project.
const SERVERS: [u16; 4] = [22, 53, 80, 443];

/// What is looked at of a packet.
struct Packet<'a> {
    /// Addresses and ports, the sender's first.
    ends: [(&'a [u8], u16); 2],
    payload: usize,
}

impl<'a> Packet<'a> {
    /// TCP or UDP over IPv4 over Ethernet.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let ip = (number(12)? == 0x0800).then_some(14)?;
        let transport = ip + usize::from(bytes.get(ip)? & 15) * 4;
        let header = match bytes.get(ip + 9)? {
            6 => usize::from(bytes.get(transport + 12)? >> 4) * 4,
            17 => 8,
            _ => return None,
        };
        let payload = (ip + usize::from(number(ip + 2)?)).checked_sub(transport + header)?;
        let end = |address: usize, port: usize| Some((bytes.get(ip + address..ip + address + 4)?, number(port)?));
        Some(Self { ends: [end(12, transport)?, end(16, transport + 2)?], payload })
    }
}

/// Leaves out of each flow what comes before the first payload of the server; of how many flows something was left.
fn cut(from: &Path, to: &Path) -> usize {
    let file = fs::read(from).unwrap();
    assert!(file.starts_with(&[0xD4, 0xC3, 0xB2, 0xA1]) || file.starts_with(&[0x4D, 0x3C, 0xB2, 0xA1]));
    let (head, mut rest) = file.split_at(24);
    let (mut kept, mut begun) = (head.to_vec(), BTreeSet::new());
    while let Some(length) = rest.get(8..12) {
        let length = 16 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (record, behind) = rest.split_at(length);
        rest = behind;
        let Some(Packet { ends, payload }) = Packet::of(&record[16..]) else { continue };
        let mut flow = ends;
        flow.sort_unstable();
        if begun.contains(&flow) || payload > 0 && SERVERS.contains(&ends[0].1) && begun.insert(flow) {
            kept.extend_from_slice(record);
        }
    }
    fs::write(to, kept).unwrap();
    begun.len()
}

/// Events of a capture, and of the same one without the beginnings of its flows.
fn whole_and_cut(name: &str) -> [Vec<Value>; 2] {
    let dir = TempDir::new().unwrap();
    let (part, eve, plugin) = (dir.path().join("part.pcap"), dir.path().join("eve.json"), noisy(dir.path(), 300));
    assert!(cut(Path::new(&capture(name)), &part) > 0);
    [&capture(name), part.to_str().unwrap()].map(|file| {
        report(&["-r", file, "-p", &plugin, "--eve", eve.to_str().unwrap()], 0);
        events(&eve)
    })
}

/// Source and destination of an event.
fn ends(event: &Value) -> String {
    ["src_ip", "src_port", "dest_ip", "dest_port"].map(|field| event[field].to_string()).join(" ")
}

/// The number of the flow of an event.
fn id_of(event: &&Value) -> u64 {
    event["flow_id"].as_u64().unwrap()
}

/// The sources and destinations of each kind of events of each flow.
fn ends_of(events: &[Value]) -> BTreeMap<(u64, String), BTreeSet<String>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["flow_id"].is_u64()) {
        let kind = event["event_type"].as_str().unwrap().to_owned();
        all.entry((id_of(&event), kind)).or_default().insert(ends(event));
    }
    all
}

/// Checks that all that is told of flows cut short names the same ends as what is told of whole ones; the rest of both.
fn compared(name: &str, kinds: &[&str]) -> [Vec<Value>; 2] {
    let [whole, part] = whole_and_cut(name);
    let expected = ends_of(&whole);
    let mut found = ends_of(&part);
    // Of a flow whose protocol is not known nothing tells who asks.
    let known: BTreeSet<_> = of(&part, "flow").iter().filter(|flow| flow["app_proto"].is_string()).map(id_of).collect();
    found.retain(|(flow, _), _| known.contains(flow));
    for (flow, ends) in &found {
        let expected = expected.get(flow).unwrap_or_else(|| panic!("{name}: {flow:?} is new"));
        assert!(ends.is_subset(expected), "{name}: {flow:?}: {ends:?} of {expected:?}");
    }
    for kind in kinds {
        assert!(found.keys().any(|(_, found)| found == kind), "{name}: no {kind}");
    }
    [whole, part]
}

#[test]
fn http_names_the_same_ends_where_the_response_is_seen_first() {
    let [whole, part] = compared("http-files.pcap", &["http", "fileinfo", "flow", "alert", "plugin"]);
    // The first response of each flow has no request.
    assert!(of(&part, "http").iter().any(|event| event["http"]["url"].is_null()));
    let sizes = |events: &[Value]| -> Vec<u64> {
        let downloads = of(events, "fileinfo").into_iter().filter(|file| file["src_port"] == 80);
        let mut sizes: Vec<_> = downloads.map(|file| file["fileinfo"]["size"].as_u64().unwrap()).collect();
        sizes.sort_unstable();
        sizes
    };
    // One flow is met with the answer to a HEAD: nothing tells that it has no body, and what follows is taken for that.
    let (found, expected) = (sizes(&part), sizes(&whole));
    assert!(found.len() + 2 == expected.len() && found.iter().all(|size| expected.contains(size)), "{found:?}");
    // Requests have the responses that they have in whole flows.
    let exchanges = |events: &[Value]| -> BTreeSet<String> {
        let known = of(events, "http").into_iter().filter(|event| {
            let http = &event["http"];
            http["url"].is_string() && http["status"].is_u64()
        });
        known.map(|event| format!("{} {}", id_of(&event), event["http"])).collect()
    };
    let found = exchanges(&part);
    assert!(found.len() >= 5 && found.is_subset(&exchanges(&whole)), "{found:?}");
    for flow in of(&part, "flow") {
        let whole = of(&whole, "flow").into_iter().find(|whole| whole["flow_id"] == flow["flow_id"]).unwrap();
        for field in ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"] {
            let [part, whole] = [flow, whole].map(|flow| flow["flow"][field].as_u64().unwrap());
            assert!((1..=whole).contains(&part), "{field}: {part} of {whole}");
        }
    }
}

#[test]
fn tls_names_the_same_ends_where_the_hello_of_the_server_is_seen_first() {
    let [_, part] = compared("tls-hello.pcap", &["tls", "flow"]);
    assert!(of(&part, "tls").iter().all(|event| event["tls"]["ja3s"].is_object() && event["tls"]["ja3"].is_null()));
}

#[test]
fn ssh_and_dns_name_the_same_ends_where_the_server_is_seen_first() {
    let [whole, part] = compared("ssh-session.pcap", &["ssh", "flow"]);
    let versions = |events: &[Value]| of(events, "ssh")[0]["ssh"]["server"].clone();
    assert_eq!(versions(&part), versions(&whole));
    compared("dns.pcap", &["dns", "flow"]);
}

#[test]
fn a_file_comes_from_the_end_that_sends_it_whoever_opened_the_connection() {
    let dir = TempDir::new().unwrap();
    let eve = dir.path().join("eve.json");
    report(&["-r", &capture("ftp.pcap"), "--eve", eve.to_str().unwrap()], 0);
    let events = events(&eve);
    let sender = |name: &str| {
        let file = of(&events, "fileinfo").into_iter().find(|file| file["fileinfo"]["filename"] == name).unwrap();
        ends(file)
    };
    // Fetched over a connection of the client's, and sent over one of the server's.
    assert_eq!(sender("pub/page.html"), r#""192.0.2.21" 50001 "10.20.0.15" 51023"#);
    assert_eq!(sender("notes.txt"), r#""10.20.0.15" 51025 "192.0.2.21" 20"#);
}
