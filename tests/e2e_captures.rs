//! Every real capture through the built program, with plugins that look at every byte of every packet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use e2e::{Place, events, real_captures, totals};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

const PROTOCOLS: [(&str, &str); 6] = [
    ("ethernet", "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}"),
    ("ipv4", "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"),
    ("ipv6", "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"),
    ("tcp", "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"),
    ("udp", "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"),
    ("icmp", "{7DDD65F2-A316-43B5-A103-368E700E045E}"),
];
const GROUP: &str = "{0B1C2D3E-0000-4000-8000-0000000000CA}";
/// Attached to DNS, DHCP, SNMP and a few others, which occur.
const HANDLER: &str = "protocol_handler = { control = { guid = '{AAAAAAAA-0000-0000-0000-0000000000CA}', name = 'ANY', \
    host_protocol_guid = '{14D7AB53-CC51-47E9-8814-9C06AAE60189}', host_protocol_ports = { 53, 67, 161, 443, 514 } }, \
    parselayer = function(layer) local b = layer:rawbytes() local n = layer:layer_bytes() \
    assert(b:size() == n) return b:hval_8(0) % (n + 2), nil end },";
/// Reads each byte of layer and packet in every way there is; the sums make skipping one of them visible.
const LOOK: &str = "
    local b, p = layer:rawbytes(), layer:packet()
    local all = p:rawbytes()
    local sum = 0
    for i = 0, b:size() - 1 do sum = sum + b:hval_8(i) end
    for i = 0, all:size() + 3, 4 do sum = sum + all:hval_32(i) end
    assert(#all:tostring() == p:capture_length() and b:size() == layer:layer_bytes())
    assert(p:wire_length() >= p:capture_length() and layer:total_bytes() == p:wire_length())
    local f = p:flowid()
    assert(#f:id() == 41 or #f:id() == 83)
    assert(layer:flowkey() == f:id() and #f:to_s() > 20 and f:ipa_readable() ~= '')
    local dump = b:hexdump()
    assert(#dump >= b:size() * 4)
    for i = 0, p:num_layers() do local l = p:get_layer(i) sum = sum + (l and l:layer_bytes() or 0) end
    engine:update_counter_bytes(G, NAME, 0)
    engine:update_counter(G, f:id(), 1, sum % 65536)
    engine:update_key_info(G, f:id(), f:to_s())";

fn place() -> Place {
    let meters =
        "{ 0, T.K.vartype.COUNTER, 10, 0, 'bytes', '', 'B' }, { 1, T.K.vartype.COUNTER, 10, 0, 'sum', '', '' }";
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'group', description = '' }}, {HANDLER} countergroup = {{ control = {{ \
         guid = '{GROUP}', name = 'Seen', bucketsize = 60 }}, meters = {{ {meters} }} }} }}"
    );
    PROTOCOLS.iter().fold(Place::new().plugin("a-group.lua", &group), |place, (name, guid)| {
        let head = format!("local G, NAME = '{GROUP}', '{name}'");
        place.counter(&format!("{name}.lua"), guid, &head, LOOK)
    })
}

/// File, packets, and how it ends, by the list of captures.
struct Listed {
    file: String,
    packets: u64,
    end: String,
}

fn listed(folder: &Path) -> Vec<Listed> {
    let list = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut lines = list.lines();
    let columns: HashMap<&str, usize> = lines.next().unwrap().split('\t').zip(0..).collect();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let field = |name: &str| fields[columns[name]].to_owned();
            Listed { file: field("file"), packets: field("packets").parse().unwrap(), end: field("end") }
        })
        .collect()
}

/// Runs one capture; what is wrong with the outcome.
fn examine(place: &Place, folder: &Path, listed: &Listed) -> Result<(), String> {
    let (file, written) = (folder.join(&listed.file), place.path("events.jsonl"));
    let arguments = ["-r", &file.display().to_string(), "--events", &written.display().to_string(), "-q"];
    let ended = place.run(&arguments, LIMIT);
    let wrong = |what: &str| Err(format!("{}: {what}: {:?}\n{}", listed.file, ended.status, ended.stderr));
    let unreadable = listed.end == "unknown magic" && listed.packets == 0;
    match ended.code {
        Some(2) => {
            if !unreadable || ended.stderr.lines().count() != 1 || !ended.stderr.contains("not a capture file") {
                return wrong("refused");
            }
            return Ok(());
        }
        Some(0) if listed.end == "clean" || listed.packets > 0 => {}
        Some(1) => {
            // Damaged input is told of, and plugins did not fail.
            let said = fs::read_to_string(&written).unwrap_or_default();
            if said.contains("\"ev\":\"fault\"") || !said.contains("\"ev\":\"end\"") {
                return wrong("a plugin failed");
            }
        }
        _ => return wrong("exit status"),
    }
    let events = events(&written);
    let last = events.last().unwrap();
    if last["ev"] != "end" || last["packets"].as_u64() != Some(listed.packets) {
        return wrong(&format!("expected {} packets, got {last}", listed.packets));
    }
    Ok(())
}

#[test]
fn every_capture_is_read_to_its_end() {
    let Some(folder) = real_captures() else { return };
    let all = listed(&folder);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let place = place();
                while let Some(listed) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = examine(&place, &folder, listed) {
                        failures.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), all.len(), failures.join("\n"));
    assert!(all.len() > 700);
}

/// A report without what depends on the machine and the moment.
fn timeless(mut report: Value) -> Value {
    let run = report["run"].as_object_mut().unwrap();
    for name in ["wall_secs", "wall_packets_per_sec", "wall_bytes_per_sec", "wall_longest_batch_secs"] {
        assert!(run.remove(name).is_some());
    }
    for plugin in report["plugins"].as_array_mut().unwrap() {
        for name in ["ns_per_call", "share", "memory_bytes"] {
            assert!(plugin.as_object_mut().unwrap().remove(name).is_some(), "{plugin}");
        }
    }
    report
}

#[test]
fn two_runs_over_a_directory_are_identical_and_engines_add_up() {
    let Some(folder) = real_captures() else { return };
    let place = place();
    let folder = folder.join("bad").display().to_string();
    let run = |name: &str, more: &[&str]| {
        let written = place.path(name);
        let arguments = ["-r", &folder, "--json", "--events", &written.display().to_string()];
        let ended = place.run(&[&arguments[..], more].concat(), Duration::from_secs(30));
        ended.exits(1);
        // How long a callback took is no property of the input, and neither is when millstream itself says something.
        let lines = ended.stderr.lines().filter(|line| !line.contains("slow callback"));
        let said: Vec<_> =
            lines.map(|line| line.split_once(" [millstream] ").map_or(line, |(_, said)| said).to_owned()).collect();
        (timeless(ended.report()), said, fs::read(&written).unwrap())
    };
    let (first, second) = (run("1", &[]), run("2", &[]));
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, second.1);
    assert!(first.2 == second.2, "the event streams of two runs differ");
    let (shared, _, _) = run("3", &["--engines", "2"]);
    assert_eq!(shared["run"]["packets"], first.0["run"]["packets"]);
    assert_eq!(shared["damage"], first.0["damage"]);
    let (one, two) = (totals(&events(&place.path("1"))), totals(&events(&place.path("3"))));
    assert!(one.len() > 1_000, "{}", one.len());
    let differing: Vec<_> = one.iter().filter(|(place, total)| two.get(*place) != Some(*total)).take(5).collect();
    assert!(differing.is_empty() && one.len() == two.len(), "{differing:?}");
}

/// A block of a pcapng file; the body is a multiple of four bytes.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

#[test]
fn the_bytes_of_packets_at_the_end_of_time_are_counted() {
    let section = [&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xFF; 8]].concat();
    // Ethernet, whole packets, nanoseconds.
    let interface = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let mut capture = [block(0x0A0D_0D0A, &section), block(1, &interface)].concat();
    for early in [2, 1, 0, 0] {
        let time = i64::MAX as u64 - early;
        let head = [0, (time >> 32) as u32, time as u32, 60, 60].map(u32::to_le_bytes).concat();
        capture.extend(block(6, &[&head[..], &[0; 60]].concat()));
    }
    let place = Place::new();
    fs::write(place.path("last.pcapng"), capture).unwrap();
    let ended = place.run(&["-r", "last.pcapng", "--json"], LIMIT);
    ended.exits(0);
    let run = &ended.report()["run"];
    assert_eq!((run["packets"].as_u64(), run["bytes"].as_u64()), (Some(4), Some(240)), "{run}");
}
