//! What events say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run::{DEMO, IN_FLOWS, capture, events, noisy, of, output, report};
use super::schema::{add_fields, unaccounted, violations};

/// Events of a capture.
fn of_capture(name: &str) -> Vec<Value> {
    let dir = TempDir::new().unwrap();
    let eve = dir.path().join("eve.json");
    report(&["-r", &capture(name), "--eve", eve.to_str().unwrap()], 0);
    events(&eve)
}

#[test]
fn every_event_of_every_capture_has_the_names_and_types_of_the_schema() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_000);
    let (mut kinds, mut fields) = (BTreeSet::new(), BTreeSet::new());
    let mut names: Vec<_> = fs::read_dir(capture("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng"));
    for path in names {
        let eve = dir.path().join("eve.json");
        let report = report(&["-r", path.to_str().unwrap(), "-p", &plugin, "--eve", eve.to_str().unwrap()], 0);
        let events = events(&eve);
        assert_eq!(output(&report, "eve")["written"].as_u64(), Some(events.len() as u64));
        for event in &events {
            assert_eq!(violations(event), Vec::<String>::new(), "{}: {event}", path.display());
            kinds.insert(event["event_type"].as_str().unwrap().to_owned());
            add_fields("", event, &mut fields);
        }
    }
    assert_eq!(unaccounted(&fields), Vec::<String>::new());
    let expected = ["alert", "dns", "fileinfo", "flow", "http", "plugin", "quic", "ssh", "stats", "tls"];
    let missing: Vec<_> = expected.iter().filter(|kind| **kind != "quic" && !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "{missing:?} of {kinds:?}");
}

#[test]
fn captures_from_elsewhere_make_valid_events() {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pcaps/good");
    let Ok(found) = fs::read_dir(shared) else {
        return eprintln!("skipped: {shared} is not there");
    };
    let dir = TempDir::new().unwrap();
    let mut files: Vec<_> = found.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    // All of them take too long.
    for path in files.iter().step_by(files.len() / 60 + 1) {
        let eve = dir.path().join("eve.json");
        super::run::run(&["-r", path.to_str().unwrap(), "--eve", eve.to_str().unwrap(), "-q"]);
        if eve.exists() {
            for event in events(&eve) {
                assert_eq!(violations(&event), Vec::<String>::new(), "{}: {event}", path.display());
            }
        }
    }
}

#[test]
fn two_runs_write_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 600);
    let run = |name: &str| {
        let (eve, csv) = (dir.path().join(name), dir.path().join(format!("{name}-csv")));
        let (eve_text, csv_text) = (eve.to_str().unwrap(), csv.to_str().unwrap());
        report(&["-r", DEMO, "-p", &plugin, "--eve", eve_text, "--eve-stats", "10s", "--csv", csv_text], 0);
        let mut bytes = fs::read(&eve).unwrap();
        for table in ["counters", "flows", "alerts", "resources", "documents"] {
            bytes.extend(fs::read(csv.join(format!("{table}.csv"))).unwrap());
        }
        bytes
    };
    assert!(run("one") == run("two"));
}

#[test]
fn flows_add_up_and_have_one_number() {
    let dir = TempDir::new().unwrap();
    let eve = dir.path().join("eve.json");
    let report = report(&["-r", DEMO, "--eve", eve.to_str().unwrap(), "--flows"], 0);
    let events = events(&eve);
    let flows = of(&events, "flow");
    let created = report["flows"]["created"].as_u64().unwrap();
    assert_eq!(flows.len() as u64, created);
    let sum = |name: &str| flows.iter().map(|flow| flow["flow"][name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("pkts_toserver") + sum("pkts_toclient"), IN_FLOWS);
    let bytes = report["run"]["bytes"].as_u64().unwrap() - (sum("bytes_toserver") + sum("bytes_toclient"));
    assert!(bytes < (3399 - IN_FLOWS) * 100, "what is not IP is small: {bytes}");
    // An event of a protocol leads to its flow.
    let ids: BTreeSet<u64> = flows.iter().map(|flow| flow["flow_id"].as_u64().unwrap()).collect();
    for event in events.iter().filter(|event| event["event_type"] != "stats") {
        assert!(ids.contains(&event["flow_id"].as_u64().unwrap()), "{event}");
    }
    assert!(flows.iter().all(|flow| flow["pcap_filename"] == DEMO));
    assert!(flows.iter().any(|flow| flow["app_proto"] == "tls" && flow["flow"]["state"] == "closed"));
}

#[test]
fn alerts_and_resources_of_plugins_are_events() {
    let dir = TempDir::new().unwrap();
    let (plugin, eve) = (noisy(dir.path(), 1_000), dir.path().join("eve.json"));
    let report = report(&["-r", DEMO, "-p", &plugin, "--eve", eve.to_str().unwrap()], 0);
    let events = events(&eve);
    let alerts = of(&events, "alert");
    assert_eq!(alerts.len() as u64, report["records"]["alerts"]["count"].as_u64().unwrap_or(alerts.len() as u64));
    let alert = alerts[0];
    assert_eq!((&alert["alert"]["severity"], &alert["alert"]["gid"]), (&json!(2), &json!(1)));
    assert_eq!(alert["plugin"]["script"], "noisy.lua");
    assert!(alert["alert"]["signature"].as_str().unwrap().starts_with("a big \"packet\"\r\n\u{1b}[2J \u{ff}"));
    let flow = of(&events, "flow").into_iter().find(|flow| flow["flow_id"] == alert["flow_id"]).unwrap();
    assert_eq!((&flow["flow"]["alerted"], &flow["src_ip"]), (&json!(true), &alert["src_ip"]));
    assert_eq!(of(&events, "plugin").len(), alerts.len(), "a resource for every alert");
    let times: Vec<&str> = alerts.iter().map(|alert| alert["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn exchanges_of_http_and_their_files_are_events() {
    let events = of_capture("http-files.pcap");
    let http = of(&events, "http");
    assert_eq!(http.len(), 12);
    let statuses: Vec<u64> = http.iter().map(|event| event["http"]["status"].as_u64().unwrap()).collect();
    assert!(statuses.contains(&404) && statuses.contains(&304) && statuses.contains(&204), "{statuses:?}");
    for event in &http {
        assert_eq!(event["dest_port"], 80, "{event}");
    }
    let files = of(&events, "fileinfo");
    assert!(files.iter().all(|file| file["fileinfo"]["state"] == "CLOSED" && file["app_proto"] == "http"));
    let upload = files.iter().find(|file| file["dest_port"] == 80).expect("one file goes up");
    assert_eq!(upload["http"]["http_method"], "POST");
}

/// One value per packet that has the field, as tshark shows it.
fn tshark(name: &str, filter: &str, field: &str) -> Option<Vec<String>> {
    let output = Command::new("tshark")
        .args(["-r", &capture(name), "-Y", filter, "-T", "fields", "-E", "occurrence=f", "-e", field])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no tshark");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect())
}

/// The values of a field of events, sorted, against those of tshark.
fn compare(name: &str, kind: &str, pointer: &str, filter: &str, field: &str) {
    let Some(mut expected) = tshark(name, filter, field) else { return };
    let events = of_capture(name);
    let mut found: Vec<String> = of(&events, kind)
        .into_iter()
        .filter_map(|event| event.pointer(pointer))
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{name}: {pointer} against {field}");
}

#[test]
fn values_are_those_that_another_tool_finds() {
    compare("http-files.pcap", "http", "/http/url", "http.request", "http.request.uri");
    compare("http-files.pcap", "http", "/http/status", "http.response", "http.response.code");
    compare("dns.pcap", "dns", "/dns/rrname", "dns and not tcp.reassembled_in", "dns.qry.name");
    compare("tls-hello.pcap", "tls", "/tls/sni", "tls.handshake.type == 1", "tls.handshake.extensions_server_name");
    compare("tls-hello.pcap", "tls", "/tls/ja3/hash", "tls.handshake.type == 1", "tls.handshake.ja3");
    compare("tls-hello.pcap", "tls", "/tls/ja3s/hash", "tls.handshake.type == 2", "tls.handshake.ja3s");
    compare("tls-hello.pcap", "tls", "/tls/ja3/string", "tls.handshake.type == 1", "tls.handshake.ja3_full");
    compare("tls-hello.pcap", "tls", "/tls/ja3s/string", "tls.handshake.type == 2", "tls.handshake.ja3s_full");
}

#[test]
fn transactions_have_numbers_and_answers_those_of_their_questions() {
    let events = of_capture("dns.pcap");
    let mut questions: BTreeMap<(u64, u64), (u64, String)> = BTreeMap::new();
    let mut answered = 0;
    for event in of(&events, "dns") {
        let number = |field: &str| event["dns"][field].as_u64().unwrap();
        let (flow, place, name) =
            (event["flow_id"].as_u64().unwrap(), number("tx_id"), event["dns"]["rrname"].to_string());
        if event["dns"]["type"] == "query" {
            assert!(questions.insert((flow, place), (number("id"), name)).is_none(), "{event}");
        } else if let Some(question) = questions.get(&(flow, place)) {
            assert_eq!(*question, (number("id"), name), "{event}");
            answered += 1;
        }
    }
    assert!(answered > 0 && questions.keys().any(|(_, place)| *place == 0));
    let events = of_capture("http-files.pcap");
    let places = |kind: &str, pointer: &str| -> BTreeSet<(u64, u64)> {
        let place =
            |event: &&Value| (event["flow_id"].as_u64().unwrap(), event.pointer(pointer).unwrap().as_u64().unwrap());
        of(&events, kind).iter().map(place).collect()
    };
    let (exchanges, files) = (places("http", "/tx_id"), places("fileinfo", "/fileinfo/tx_id"));
    assert_eq!(exchanges.len(), of(&events, "http").len());
    assert!(!files.is_empty() && files.is_subset(&exchanges));
}

/// The community ids that tshark finds in the packets of a capture that pass a filter; without such a tshark it says so.
pub fn other_community_ids(capture: &str, filter: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("tshark")
        .args(["-r", capture, "-o", "communityid.enable:TRUE", "--enable-protocol", "communityid"])
        .args(["-Y", filter, "-T", "fields", "-E", "occurrence=f", "-e", "communityid"])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no tshark");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if found.is_empty() {
        eprintln!("skipped: this tshark knows no community ids");
        return None;
    }
    Some(found)
}

#[test]
fn community_ids_are_those_that_another_tool_finds() {
    let Some(expected) = other_community_ids(DEMO, "tcp or udp") else { return };
    let events = of_capture("demo.pcap");
    // A flow of ICMP has the id of its first message, and that tool one for each.
    let flows = of(&events, "flow").into_iter().filter(|flow| flow["icmp_type"].is_null());
    let found: BTreeSet<String> = flows.filter_map(|flow| flow["community_id"].as_str()).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_session_of_ssh_is_one_event() {
    let events = of_capture("ssh-session.pcap");
    let ssh = of(&events, "ssh");
    assert_eq!(ssh.len(), 1);
    for side in ["client", "server"] {
        let side = &ssh[0]["ssh"][side];
        assert_eq!(side["proto_version"], "2.0");
        let hash = Md5::digest(side["hassh"]["string"].as_str().unwrap());
        assert_eq!(side["hassh"]["hash"], data_encoding::HEXLOWER.encode(&hash));
    }
}

#[test]
fn files_in_mail_and_ftp_have_hashes() {
    for name in ["smtp.pcap", "ftp.pcap"] {
        let events = of_capture(name);
        let files = of(&events, "fileinfo");
        assert!(!files.is_empty(), "{name}");
        for file in files {
            assert_eq!(file["fileinfo"]["md5"].as_str().map(str::len), Some(32), "{file}");
            assert!(file["fileinfo"]["size"].as_u64().unwrap() > 0);
            assert!(file["fileinfo"]["tx_id"].is_u64());
        }
    }
}

#[test]
fn a_certificate_says_who_made_it() {
    let events = of_capture("tls-hello.pcap");
    let tls = of(&events, "tls");
    let shown: Vec<_> = tls.iter().filter(|event| event["tls"]["subject"].is_string()).collect();
    assert_eq!(shown.len(), 1);
    let tls = &shown[0]["tls"];
    assert!(tls["subject"].as_str().unwrap().contains("CN="), "{tls}");
    assert_eq!(tls["fingerprint"].as_str().unwrap().len(), 59);
    assert_eq!(tls["notbefore"].as_str().unwrap().len(), "2026-01-02T03:04:05".len());
}

#[test]
fn a_handshake_of_quic_has_the_version_seen() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pcaps/good"));
    for (name, version) in [("s-quic-v2.pcap", "6b3343cf"), ("s-ja4-quic.pcap", "1")] {
        let path = shared.join(name);
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        }
        let dir = TempDir::new().unwrap();
        let eve = dir.path().join("eve.json");
        report(&["-r", path.to_str().unwrap(), "--eve", eve.to_str().unwrap()], 0);
        let events = events(&eve);
        let quic = of(&events, "quic");
        assert!(!quic.is_empty() && quic.iter().all(|event| event["quic"]["version"] == version), "{name}: {quic:?}");
    }
}

#[test]
fn statistics_come_in_packet_time_and_at_the_end() {
    let dir = TempDir::new().unwrap();
    let eve = dir.path().join("eve.json");
    let report = report(&["-r", DEMO, "--eve", eve.to_str().unwrap(), "--eve-stats", "10s"], 0);
    let events = events(&eve);
    let stats = of(&events, "stats");
    assert!((6..=10).contains(&stats.len()), "84 seconds: {}", stats.len());
    let packets: Vec<u64> = stats.iter().map(|event| event["stats"]["decoder"]["pkts"].as_u64().unwrap()).collect();
    assert!(packets.is_sorted());
    assert_eq!(packets.last().copied(), report["run"]["packets"].as_u64());
    let end = events.last().unwrap();
    assert_eq!((&end["event_type"], &end["stats"]["flow"]["active"]), (&json!("stats"), &json!(0)));
}

#[test]
fn several_engines_write_the_same_events_in_another_order() {
    let dir = TempDir::new().unwrap();
    let run = |engines: &str| {
        let eve = dir.path().join(engines);
        report(&["-r", DEMO, "--eve", eve.to_str().unwrap(), "--engines", engines, "--eve-stats", "0"], 0);
        let mut lines: Vec<String> = fs::read_to_string(&eve).unwrap().lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains("\"event_type\":\"stats\""));
        lines.sort();
        lines
    };
    let (one, three) = (run("1"), run("3"));
    assert_eq!(one.len(), three.len());
    // What ends a flow at the end of the input may be noticed at another time.
    let kinds = |lines: &[String]| lines.iter().filter(|line| line.contains("\"http\":")).cloned().collect::<Vec<_>>();
    assert_eq!(kinds(&one), kinds(&three));
}

#[test]
fn hostile_names_of_files_and_hosts_stay_text() {
    assert!(Path::new(DEMO).exists());
    let dir = TempDir::new().unwrap();
    let odd = dir.path().join("a \"b\"\n\u{1b}c.pcap");
    fs::copy(DEMO, &odd).unwrap();
    let eve = dir.path().join("eve.json");
    report(&["-r", odd.to_str().unwrap(), "--eve", eve.to_str().unwrap()], 0);
    assert!(events(&eve).iter().any(|event| event["pcap_filename"] == odd.to_str().unwrap()));
}
