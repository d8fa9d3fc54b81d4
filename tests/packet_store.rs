//! The packet store: what goes in by policy, what comes out by flow, host and time, and what happens when the disk fills up,
//! a run is killed, or the index is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use millstream::key::{FlowTuple, Host};
use millstream::packet::LinkType;
use millstream::sink::{
    Offer, PacketStore, Selection, StoreConfig, StoreCounts, StoreError, StoreFeed, WhenFull, flow_mark, host_mark,
    query_packets,
};
use millstream::time::Timestamp;
use proptest::prelude::{ProptestConfig, proptest};
use serde_json::Value;
use tempfile::TempDir;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap");

fn millstream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millstream")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the demo capture into a store; gives back its section of the report.
fn store_demo(folder: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["run", "-r", DEMO, "--json", "--packets", folder.to_str().unwrap()];
    arguments.extend(more);
    let output = millstream(&arguments);
    json(&output)["packet_store"].clone()
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "pcap"))
        .collect();
    found.sort();
    found
}

fn packets_of(arguments: &[&str]) -> u64 {
    json(&millstream(&[&["packets", "--json"], arguments].concat()))["packets"].as_u64().unwrap()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn everything_is_stored_and_comes_out_again_the_same() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let report = store_demo(&store, &[]);
    let all = json(&millstream(&["run", "-r", DEMO, "--json"]))["run"]["packets"].as_u64().unwrap();
    assert_eq!(report["packets"].as_u64(), Some(all));
    assert_eq!(report["skipped_by_policy"].as_u64(), Some(0));
    let copy = folder.path().join("copy.pcap");
    let written = millstream(&["packets", store.to_str().unwrap(), "-w", copy.to_str().unwrap()]);
    assert!(written.status.success());
    // One file, the same link type, the same order: nothing but the container's header may differ.
    let (stored, copied) = (fs::read(&captures(&store)[0]).unwrap(), fs::read(&copy).unwrap());
    assert_eq!(captures(&store).len(), 1);
    assert!(stored == copied);
    if has("tshark") {
        let shown = |path: &str| {
            let fields =
                ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "ip.src", "-e", "tcp.seq_raw"];
            Command::new("tshark").args(["-r", path]).args(fields).output().unwrap().stdout
        };
        assert!(shown(DEMO) == shown(copy.to_str().unwrap()));
    } else {
        eprintln!("skipped in part: tshark is not installed");
    }
}

#[test]
fn packets_are_found_by_flow_host_port_time_and_filter() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().to_str().unwrap();
    store_demo(folder.path(), &[]);
    let all = json(&millstream(&["packets", store, "--json"]));
    let (first, last) = (all["first"].as_f64().unwrap(), all["last"].as_f64().unwrap());
    let flows = all["flows"].as_array().unwrap();
    assert!(flows.len() > 10);
    for flow in flows.iter().step_by(flows.len() / 7) {
        let (id, count) = (flow["flow"].as_str().unwrap(), flow["packets"].as_u64().unwrap());
        assert_eq!(packets_of(&[store, "--flow", id]), count, "{id}");
    }
    let tcp = flows.iter().find(|flow| flow["flow"].as_str().unwrap().starts_with("06A")).unwrap();
    let tuple = FlowTuple::from_id(tcp["flow"].as_str().unwrap().as_bytes()).unwrap();
    let Host::V4(a) = tuple.host(millstream::key::End::A) else { panic!("an IPv4 flow") };
    let host = a.map(|byte| byte.to_string()).join(".");
    let port = tuple.port_z.to_string();
    let by_host = packets_of(&[store, "--host", &host]);
    assert_eq!(by_host, packets_of(&[store, "--filter", &format!("ip host {host}")]));
    let both = packets_of(&[store, "--host", &host, "--port", &port]);
    assert_eq!(both, packets_of(&[store, "--filter", &format!("ip host {host} and port {port}")]));
    let middle = format!("{:.3}", (first + last) / 2.0);
    let (early, late) = (packets_of(&[store, "--to", &middle]), packets_of(&[store, "--from", &middle]));
    assert!(early > 0 && late > 0);
    assert_eq!(early + late, all["packets"].as_u64().unwrap());
    // A report's times are floating-point numbers, which tell microseconds apart but not nanoseconds.
    let just_before = format!("{:.6}", last - 2e-6);
    assert_eq!(packets_of(&[store, "--from=-0s"]), packets_of(&[store, "--from", &just_before]));
}

#[test]
fn a_question_that_makes_no_sense_is_answered_with_what_to_type() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    store_demo(&store, &[]);
    let store = store.to_str().unwrap();
    let said = |arguments: &[&str]| {
        let output = millstream(&[&["packets"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&[store, "--flow", "10.0.0.1:80"]).contains("06A:C0.A8.01.02"));
    assert!(said(&[store, "--host", "example.com"]).contains("192.168.1.2"));
    assert!(said(&[store, "--from", "yesterday"]).contains("-10m"));
    assert!(said(&[store, "--filter", "no such thing"]).contains("pcap-filter"));
    assert!(said(&[folder.path().to_str().unwrap()]).contains("--packets"));
    let missing = said(&["/nonexistent"]);
    assert!(missing.contains("/nonexistent") && missing.contains("run --packets"), "{missing}");
}

#[test]
fn times_are_those_of_the_packets_and_a_reader_that_goes_away_is_no_failure() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    store_demo(&store, &[]);
    let store = store.to_str().unwrap();
    let listed = millstream(&["packets", store]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let first = listed.lines().nth(1).unwrap();
    assert!(first.starts_with("2026-01-15T09:00:01.001000Z  "), "{first}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["packets", store, "-w", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn the_default_mode_says_how_much_of_a_flow_is_kept() {
    let folder = TempDir::new().unwrap();
    let all = store_demo(&folder.path().join("full"), &[]);
    let headers = store_demo(&folder.path().join("headers"), &["--packets-mode", "headers"]);
    assert_eq!(headers["packets"], all["packets"]);
    assert!(headers["bytes"].as_u64().unwrap() * 2 < all["bytes"].as_u64().unwrap());
    let some = store_demo(&folder.path().join("10k"), &["--packets-mode", "10k"]);
    let skipped = some["skipped_by_policy"].as_u64().unwrap();
    assert!(skipped > 0);
    assert_eq!(some["packets"].as_u64().unwrap() + skipped, all["packets"].as_u64().unwrap());
    let none = store_demo(&folder.path().join("none"), &["--set", "Ring>DefaultMode=none"]);
    assert_eq!((none["packets"].as_u64(), &none["skipped_by_policy"]), (Some(0), &all["packets"]));
}

#[test]
fn scripts_decide_by_flow_and_by_packet() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("policy.lua");
    fs::write(
        &script,
        r#"TrisulPlugin = { id = { name = "policy", description = "d" },
          packet_storage = {
            filter = function(engine, timestamp, flow) if flow:protocol() == "06" then return 2 end return 0 end,
          } }"#,
    )
    .unwrap();
    let hints = folder.path().join("hints.lua");
    fs::write(
        &hints,
        r#"TrisulPlugin = { id = { name = "hints", description = "d" },
          simplecounter = { protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}",
            onpacket = function(engine, layer) layer:packet():set_packetstore_policy(1) end } }"#,
    )
    .unwrap();
    let (script, hints) = (script.to_str().unwrap(), hints.to_str().unwrap());
    let by_flow = folder.path().join("flow");
    let report = store_demo(&by_flow, &["-p", script]);
    let store = by_flow.to_str().unwrap();
    assert_eq!(packets_of(&[store, "--filter", "tcp"]), report["headers_only"].as_u64().unwrap());
    assert_eq!(packets_of(&[store, "--filter", "udp or icmp or icmp6"]), 0);
    assert_eq!(packets_of(&[store, "--filter", "tcp and greater 2000"]), 0);
    let by_packet = folder.path().join("packet");
    store_demo(&by_packet, &["-p", script, "-p", hints]);
    let everything = folder.path().join("all");
    store_demo(&everything, &[]);
    let udp = |folder: &Path| packets_of(&[folder.to_str().unwrap(), "--filter", "udp"]);
    assert!(udp(&by_packet) > 0);
    assert_eq!(udp(&by_packet), udp(&everything));
}

/// A packet of one of 50 flows.
fn flow(number: u32) -> FlowTuple {
    FlowTuple::v4(17, [10, 0, 0, (number % 50) as u8], [10, 0, 1, 1], 1_000 + (number % 50) as u16, 53).0
}

/// Offers numbered packets, ten milliseconds apart.
fn offer(feed: &mut StoreFeed, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let mut bytes = vec![0x5A; 200];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let flow = flow(number);
        let time = Timestamp::new(1_700_000_000, 0).plus(Duration::from_millis(u64::from(number) * 10));
        let linktype = if number % 97 == 0 { LinkType::IPV4 } else { LinkType::RAW };
        feed.add(&Offer { time, wirelen: 300, linktype, bytes: &bytes, flow: Some(&flow) });
    }
    feed.flush();
}

/// Stores them through the library.
fn fill(config: &StoreConfig, numbers: std::ops::Range<u32>) -> StoreCounts {
    let store = PacketStore::open(config).unwrap();
    offer(&mut store.feed(), numbers);
    store.close()
}

/// Numbers of the packets that a selection yields.
fn numbers(folder: &Path, selection: Selection) -> Vec<u32> {
    let mut store = query_packets(folder).unwrap();
    store.select(selection);
    let mut found = Vec::new();
    while let Some(packet) = store.next_packet().unwrap() {
        assert_eq!((packet.bytes.len(), packet.wirelen), (200, 300));
        found.push(u32::from_be_bytes(*packet.bytes.first_chunk().unwrap()));
    }
    found
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig { segment_bytes: 256 << 10, ..StoreConfig::new(folder.to_owned(), WhenFull::Block) }
}

#[test]
fn files_roll_and_the_oldest_are_deleted_at_the_limit() {
    let folder = TempDir::new().unwrap();
    let config = StoreConfig { total_bytes: Some(1 << 20), ..config(folder.path()) };
    let counts = fill(&config, 0..20_000);
    assert_eq!(counts.written, 20_000);
    assert!(counts.deleted_files > 5 && counts.files > counts.deleted_files);
    let sizes: Vec<u64> = captures(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 256 << 10));
    assert!(sizes.iter().sum::<u64>() <= 1 << 20);
    assert_eq!(sizes.len() as u64, counts.files - counts.deleted_files);
    let left = numbers(folder.path(), Selection::default());
    assert!(left.is_sorted() && left.last() == Some(&19_999));
    // A later run goes on in the same folder, and what is there counts towards its limit.
    let more = fill(&config, 20_000..21_000);
    assert!(more.deleted_files > 0);
    let left = numbers(folder.path(), Selection::default());
    assert!(left.is_sorted() && left.last() == Some(&20_999) && left.contains(&19_999));
    let old = StoreConfig { age: Some(Duration::from_secs(1)), ..config };
    let aged = fill(&old, 30_000..30_001);
    assert!(aged.deleted_files > 0);
    assert_eq!(numbers(folder.path(), Selection::default()), [30_000]);
}

#[test]
fn packets_that_are_too_old_do_not_wait_for_a_file_to_be_full() {
    let folder = TempDir::new().unwrap();
    let stored = store_demo(folder.path(), &["--packets-age", "20s"]);
    assert!(stored["deleted_files"].as_u64().unwrap() > 5, "{stored}");
    let left = json(&millstream(&["packets", folder.path().to_str().unwrap(), "--json"]));
    let [first, last] = ["first", "last"].map(|end| left[end].as_f64().unwrap());
    assert_eq!(last, 1_768_467_684.439_404);
    assert!((15.0..=25.0).contains(&(last - first)), "{}", last - first);
}

#[test]
fn a_packet_from_the_future_makes_no_other_packet_old() {
    let folder = TempDir::new().unwrap();
    let config = StoreConfig { age: Some(Duration::from_secs(20 * 365 * 86_400)), ..config(folder.path()) };
    fill(&config, 0..1_000);
    let store = PacketStore::open(&config).unwrap();
    let (mut feed, flow, year_2096) = (store.feed(), flow(1), Timestamp::new(4_000_000_000, 0));
    feed.add(&Offer { time: year_2096, wirelen: 300, linktype: LinkType::RAW, bytes: &[0; 200], flow: Some(&flow) });
    drop(feed);
    assert_eq!(store.close().deleted_files, 0);
    assert_eq!(numbers(folder.path(), Selection::default()).len(), 1_001);
}

#[test]
fn a_store_has_one_writer() {
    let folder = TempDir::new().unwrap();
    let open = PacketStore::open(&config(folder.path())).unwrap();
    assert!(matches!(PacketStore::open(&config(folder.path())), Err(StoreError::InUse { .. })));
    assert_eq!(open.close(), StoreCounts::default());
    assert!(PacketStore::open(&config(folder.path())).is_ok());
}

#[test]
fn a_file_cut_anywhere_loses_only_the_packet_that_was_cut() {
    let folder = TempDir::new().unwrap();
    fill(&StoreConfig { segment_bytes: 64 << 20, ..config(folder.path()) }, 1..97);
    let file = captures(folder.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in (24..whole.len()).step_by(97) {
        fs::write(&file, &whole[..cut]).unwrap();
        let left = (cut - 24) / 216;
        let found = if left == 0 { Vec::new() } else { numbers(folder.path(), Selection::default()) };
        assert_eq!(found, (1..=left as u32).collect::<Vec<_>>(), "cut at {cut}");
        let store = PacketStore::open(&config(folder.path())).unwrap();
        let _ = store.close();
        assert_eq!(fs::metadata(&file).unwrap().len(), (24 + left * 216) as u64);
    }
}

#[test]
fn a_damaged_file_is_told_of_and_what_can_be_read_is_given() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    store_demo(&store, &[]);
    let file = captures(&store).remove(0);
    let whole = fs::read(&file).unwrap();
    let said = |arguments: &[&str]| {
        let output = millstream(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let begin = format!("{}: damaged at byte ", file.display());
        let told = error.find(&begin).unwrap_or_else(|| panic!("{error}"));
        (out, error[told + begin.len()..].lines().next().unwrap().to_owned())
    };
    let name = store.to_str().unwrap();
    // Cut short: as run says it.
    fs::write(&file, &whole[..500_000]).unwrap();
    let (listed, told) = said(&["packets", name]);
    assert!(listed.starts_with("1529 packets, "), "{listed}");
    assert_eq!(told, said(&["run", "-r", file.to_str().unwrap(), "-q"]).1);
    let copy = folder.path().join("copy.pcap");
    said(&["packets", name, "-w", copy.to_str().unwrap()]);
    assert!(fs::metadata(&copy).unwrap().len() > 490_000);
    // Within its header.
    fs::write(&file, &whole[..7]).unwrap();
    let (listed, told) = said(&["packets", name]);
    assert!(listed.starts_with("0 packets, "), "{listed}");
    assert_eq!(told, "0: the file ends inside a file header: 7 of 24 bytes");
    // In the middle, where the index says that there are packets.
    let mut changed = whole.clone();
    changed[24..40].fill(0xFF);
    fs::write(&file, &changed).unwrap();
    assert_eq!(said(&["packets", name]).1, "24: what is there is no packet");
    fs::write(&file, &whole).unwrap();
    assert!(millstream(&["packets", name]).status.success());
}

#[test]
fn what_a_run_is_writing_is_not_damaged_at_its_end() {
    let folder = TempDir::new().unwrap();
    let damaged = || query_packets(folder.path()).unwrap().damage().iter().map(|damage| damage.file.clone()).collect();
    let store = PacketStore::open(&config(folder.path())).unwrap();
    let mut open = fs::read(DEMO).unwrap();
    open[..4].copy_from_slice(&0xA1B2_3C4D_u32.to_le_bytes());
    let names = [1, 2].map(|number| folder.path().join(format!("packets-1-{number:08}.pcap")));
    names.iter().for_each(|name| fs::write(name, &open[..5_000]).unwrap());
    // The earlier one of a link type is closed when the next one begins.
    let found: Vec<PathBuf> = damaged();
    assert_eq!(found, names[..1]);
    let _ = store.close();
    let found: Vec<PathBuf> = damaged();
    assert_eq!(found, names);
}

#[test]
fn without_its_index_a_file_is_read_packet_by_packet() {
    let folder = TempDir::new().unwrap();
    fill(&config(folder.path()), 0..5_000);
    let wanted = || Selection { marks: vec![flow_mark(&flow(7))], ..Selection::default() };
    let of_flow = |numbers: Vec<u32>| numbers.into_iter().filter(|number| number % 50 == 7).count();
    let indexed = numbers(folder.path(), wanted());
    assert_eq!(of_flow(indexed), 100);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "idx") {
            fs::write(&path, b"MSIX\x01\0\0\0 nothing of sense behind the head").unwrap();
        }
    }
    assert_eq!(of_flow(numbers(folder.path(), wanted())), 100);
}

#[test]
fn the_index_leaves_out_what_cannot_match() {
    let folder = TempDir::new().unwrap();
    let store = PacketStore::open(&config(folder.path())).unwrap();
    let mut feed = store.feed();
    let (rare, common) = (flow(3), flow(4));
    for number in 0..20_000_u32 {
        let tuple = if number == 15_000 { &rare } else { &common };
        let mut bytes = vec![1; 200];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let time = Timestamp::new(i64::from(number), 0);
        feed.add(&Offer { time, wirelen: 300, linktype: LinkType::RAW, bytes: &bytes, flow: Some(tuple) });
    }
    drop(feed);
    assert_eq!(store.close().index_lost, 0);
    let by_flow = numbers(folder.path(), Selection { marks: vec![flow_mark(&rare)], ..Selection::default() });
    assert!(by_flow.contains(&15_000) && by_flow.len() <= 4_096);
    let host = host_mark(&Host::V4([10, 0, 0, 3]));
    assert_eq!(numbers(folder.path(), Selection { marks: vec![host], ..Selection::default() }), by_flow);
    assert!(numbers(folder.path(), Selection { marks: vec![host, 12_345], ..Selection::default() }).is_empty());
    let secs = |secs| Some(Timestamp::new(secs, 0));
    let between = Selection { from: secs(100), to: secs(109), ..Selection::default() };
    assert_eq!(numbers(folder.path(), between), (100..110).collect::<Vec<_>>());
}

#[test]
fn nothing_is_written_through_links() {
    let folder = TempDir::new().unwrap();
    let (store, outside) = (folder.path().join("store"), folder.path().join("outside"));
    fs::create_dir(&store).unwrap();
    fs::write(&outside, b"untouched").unwrap();
    symlink(&outside, store.join("packets.lock")).unwrap();
    assert!(matches!(PacketStore::open(&config(&store)), Err(StoreError::Folder { .. })));
    fs::remove_file(store.join("packets.lock")).unwrap();
    symlink(&outside, store.join("packets-1-00000001.pcap")).unwrap();
    assert_eq!(fill(&config(&store), 0..10).written, 10);
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    assert_eq!(numbers(&store, Selection::default()).len(), 10);
}

#[test]
fn a_full_disk_costs_packets_that_are_counted_and_storing_goes_on_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let mount = folder.path().join("small");
    fs::create_dir(&mount).unwrap();
    let target = mount.to_str().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", target]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let store = PacketStore::open(&config(&mount)).unwrap();
        let ballast = mount.join("ballast");
        fs::write(&ballast, vec![0; 600 << 10]).unwrap();
        let mut feed = store.feed();
        let mut send = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                let time = Timestamp::new(i64::from(number), 0);
                let bytes = [7; 200];
                feed.add(&Offer { time, wirelen: 300, linktype: LinkType::RAW, bytes: &bytes, flow: None });
            }
            feed.flush();
        };
        send(0..10_000);
        std::thread::sleep(Duration::from_millis(200));
        fs::remove_file(&ballast).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        send(10_000..10_500);
        drop(feed);
        let counts = store.close();
        assert!(counts.disk_full > 0 && counts.written > 500, "{counts:?}");
        assert_eq!(counts.written + counts.disk_full, 10_500);
        // Every packet said to be written is there, whole.
        let mut found = query_packets(&mount).unwrap();
        let mut read = 0;
        while found.next_packet().unwrap().is_some() {
            read += 1;
        }
        assert_eq!(read, counts.written);
    });
    assert!(Command::new("umount").arg(target).status().unwrap().success());
    outcome.unwrap();
}

/// Waits until a capture with so many packets is written, and deletes it.
fn delete_written(folder: &Path, packets: u64) {
    let is_written = |path: &PathBuf| fs::metadata(path).unwrap().len() == 24 + packets * (16 + 200);
    let written = (0..4_000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        captures(folder).into_iter().find(is_written)
    });
    fs::remove_file(written.unwrap()).unwrap();
}

fn indexes(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "idx")).count()
}

#[test]
fn a_file_that_is_deleted_while_it_is_written_costs_only_what_was_in_it() {
    let folder = TempDir::new().unwrap();
    let store = PacketStore::open(&config(folder.path())).unwrap();
    let mut feed = store.feed();
    offer(&mut feed, 1..90);
    delete_written(folder.path(), 89);
    offer(&mut feed, 100..190);
    drop(feed);
    let counts = store.close();
    assert_eq!((counts.written, counts.written_bytes, counts.files), (90, 90 * (16 + 200), 2), "{counts:?}");
    assert!(counts.drops().contains(&("packet_store_file_deleted", 89)), "{counts:?}");
    assert_eq!(numbers(folder.path(), Selection::default()), (100..190).collect::<Vec<_>>());
    assert_eq!(indexes(folder.path()), 1);
}

#[test]
fn a_deleted_file_that_takes_no_more_packets_counts_as_lost_too() {
    let folder = TempDir::new().unwrap();
    let store = PacketStore::open(&config(folder.path())).unwrap();
    let mut feed = store.feed();
    offer(&mut feed, 1..90);
    delete_written(folder.path(), 89);
    // It makes room for another one.
    for number in 0..8 {
        let time = Timestamp::new(1_700_000_000, 0);
        let linktype = LinkType(200 + number);
        feed.add(&Offer { time, wirelen: 300, linktype, bytes: &[7; 200], flow: None });
    }
    offer(&mut feed, 100..150);
    delete_written(folder.path(), 50);
    // It is the last.
    drop(feed);
    let counts = store.close();
    assert_eq!((counts.written, counts.written_bytes, counts.files), (8, 8 * (16 + 200), 10), "{counts:?}");
    assert!(counts.drops().contains(&("packet_store_file_deleted", 89 + 50)), "{counts:?}");
    assert_eq!((captures(folder.path()).len(), indexes(folder.path())), (8, 8));
}

#[test]
fn a_live_store_that_cannot_keep_up_counts_what_it_drops() {
    let folder = TempDir::new().unwrap();
    let config = StoreConfig::new(folder.path().to_owned(), WhenFull::DropNewest);
    let store = PacketStore::open(&config).unwrap();
    let mut feed = store.feed();
    let bytes = vec![9; 60_000];
    for number in 0..4_000 {
        let time = Timestamp::new(number, 0);
        feed.add(&Offer { time, wirelen: 60_000, linktype: LinkType::RAW, bytes: &bytes, flow: None });
    }
    drop(feed);
    let counts = store.close();
    assert_eq!(counts.written + counts.queue_full, 4_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_index_finds_what_a_scan_finds(start in 0..3_000_u32, len in 1..2_000_u32, which in 0..60_u32, file in 64..400_u64) {
        let folder = TempDir::new().unwrap();
        let config = StoreConfig { segment_bytes: file << 10, ..config(folder.path()) };
        fill(&config, start..start + len);
        let flow = flow(which);
        let secs = |number: u32| Timestamp::new(1_700_000_000, 0).plus(Duration::from_millis(u64::from(number) * 10));
        let (from, to) = (secs(start + len / 4), secs(start + len / 2));
        let selection = Selection { marks: vec![flow_mark(&flow)], from: Some(from), to: Some(to) };
        let found: Vec<u32> =
            numbers(folder.path(), selection).into_iter().filter(|number| number % 50 == which % 50).collect();
        let expected: Vec<u32> = (start + len / 4..=start + len / 2)
            .filter(|number| *number < start + len && number % 50 == which % 50)
            .collect();
        assert_eq!(found, expected);
    }
}
