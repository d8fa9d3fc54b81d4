//! What events say of where packets come from, of ICMP, and of flows that alerts are about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;

use super::events::other_community_ids;
use super::run::{DEMO, capture, events, noisy, of, report};

/// Events of a run with an alert for every packet.
fn events_of(files: &[&str], more: &[&str]) -> Vec<Value> {
    let dir = TempDir::new().unwrap();
    let (plugin, eve) = (noisy(dir.path(), 0), dir.path().join("eve.json"));
    let files: Vec<String> = files.iter().map(|name| capture(name)).collect();
    let mut arguments: Vec<&str> = files.iter().flat_map(|file| ["-r", file]).collect();
    arguments.extend(["-p", &plugin, "--eve", eve.to_str().unwrap()]);
    report(&[&arguments, more].concat(), 0);
    events(&eve)
}

fn id_of(event: &Value) -> Option<u64> {
    event["flow_id"].as_u64()
}

#[test]
fn each_event_names_the_file_that_it_comes_from() {
    let files = ["smtp.pcap", "http-files.pcap", "ssh-session.pcap", "ping.pcap"];
    let mut homes = BTreeMap::new();
    for name in files {
        for id in events_of(&[name], &[]).iter().filter_map(id_of).collect::<BTreeSet<_>>() {
            assert!(homes.insert(id, capture(name)).is_none(), "{name}: a flow of two files");
        }
    }
    for engines in ["1", "2"] {
        let events = events_of(&files, &["--engines", engines]);
        let mut kinds = BTreeSet::new();
        for event in &events {
            let expected = id_of(event).map(|id| homes[&id].as_str());
            assert_eq!(event["pcap_filename"].as_str(), expected, "{event}");
            kinds.insert(event["event_type"].as_str().unwrap());
        }
        let all = ["alert", "fileinfo", "flow", "http", "plugin", "ssh", "stats"];
        assert!(all.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    }
}

#[test]
fn echo_messages_have_a_type_and_the_community_id_of_another_tool() {
    let events = events_of(&["ping.pcap"], &[]);
    let flows = of(&events, "flow");
    let kinds: BTreeSet<_> =
        flows.iter().map(|flow| (flow["icmp_type"].as_u64(), flow["icmp_code"].as_u64())).collect();
    assert_eq!(kinds, BTreeSet::from([(Some(8), Some(0)), (Some(128), Some(0))]));
    for alert in of(&events, "alert") {
        let flow = flows.iter().find(|flow| id_of(flow) == id_of(alert)).unwrap();
        assert_eq!(
            ["icmp_type", "community_id"].map(|field| &alert[field]),
            ["icmp_type", "community_id"].map(|field| &flow[field])
        );
    }
    let Some(expected) = other_community_ids(&capture("ping.pcap"), "icmp or icmpv6") else { return };
    let found: BTreeSet<String> =
        flows.iter().filter_map(|flow| flow["community_id"].as_str()).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_alert_says_what_its_flow_had_counted_by_then() {
    let events = events_of(&["demo.pcap"], &[]);
    let by_flow = |kind: &str| {
        let mut all: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        for event in of(&events, kind) {
            all.entry(id_of(event).unwrap()).or_default().push(event);
        }
        all
    };
    let (alerts, flows) = (by_flow("alert"), by_flow("flow"));
    let packets = |event: &Value| {
        ["pkts_toserver", "pkts_toclient"]
            .map(|field| event["flow"][field].as_u64().unwrap_or_default())
            .iter()
            .sum::<u64>()
    };
    let mut compared = 0;
    for (id, alerts) in alerts {
        let [flow] = flows[&id][..] else { continue };
        // The plugin sees every packet of it.
        if packets(flow) != alerts.len() as u64 {
            continue;
        }
        compared += 1;
        for (number, alert) in (1..).zip(&alerts) {
            assert_eq!(packets(alert), number, "{alert}");
            assert_eq!(alert["direction"], "to_server", "{alert}");
            for field in ["src_ip", "src_port", "dest_ip", "dest_port"] {
                assert_eq!(alert["flow"][field], flow[field], "{alert}");
            }
            assert_eq!(alert["flow"]["start"], flow["flow"]["start"], "{alert}");
        }
        let last = alerts[alerts.len() - 1];
        for field in ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"] {
            assert_eq!(last["flow"][field], flow["flow"][field], "{last}");
        }
    }
    assert!(compared > 100, "{compared} flows");
}

#[test]
fn statistics_count_what_events_show() {
    let dir = TempDir::new().unwrap();
    let (plugin, eve) = (noisy(dir.path(), 1_000), dir.path().join("eve.json"));
    report(&["-r", DEMO, "-p", &plugin, "--eve", eve.to_str().unwrap()], 0);
    let events = events(&eve);
    let stats = &events.last().unwrap()["stats"];
    assert_eq!(stats["detect"]["alert"].as_u64(), Some(of(&events, "alert").len() as u64));
    let flows = of(&events, "flow");
    let with = |field: &str, value: &str| flows.iter().filter(|flow| flow[field] == value).count() as u64;
    for (name, proto) in [("tcp", "TCP"), ("udp", "UDP"), ("icmpv4", "ICMP"), ("icmpv6", "IPv6-ICMP")] {
        assert_eq!(stats["flow"][name].as_u64(), Some(with("proto", proto)), "{name}");
    }
    for name in ["http", "tls", "ssh", "dns_udp"] {
        let flows = with("app_proto", name.trim_end_matches("_udp"));
        assert_eq!(stats["app_layer"]["flow"][name].as_u64(), Some(flows).filter(|count| *count > 0), "{name}");
    }
}
