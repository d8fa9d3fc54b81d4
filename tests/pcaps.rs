//! The captures in `pcaps/` are what their generator makes today, byte for byte, and stay small.

#[path = "../pcaps/generator/mod.rs"]
mod generator;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")
}

#[test]
fn regenerating_gives_the_committed_bytes() {
    for capture in generator::captures() {
        let committed = fs::read(folder().join(capture.name))
            .unwrap_or_else(|e| panic!("pcaps/{}: {e}; run cargo run --example make-pcaps", capture.name));
        assert!(
            committed == capture.bytes,
            "pcaps/{} differs from what the generator makes; run cargo run --example make-pcaps",
            capture.name
        );
    }
}

#[test]
fn folder_and_readme_list_exactly_the_generated_files() {
    let made: BTreeSet<String> = generator::captures().iter().map(|c| c.name.to_owned()).collect();
    let present: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".pcap"))
        .collect();
    assert_eq!(made, present);
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for capture in generator::captures() {
        let row = format!("| `{}` | {} |", capture.name, capture.packets);
        assert!(readme.contains(&row), "pcaps/README.md has no row starting with {row}");
    }
}

#[test]
fn captures_stay_small() {
    let sizes: Vec<usize> = generator::captures().iter().map(|c| c.bytes.len()).collect();
    assert!(sizes.iter().all(|&size| size < 1_000_000), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() < 2_000_000, "{sizes:?}");
}

#[test]
fn timestamps_of_a_pcap_never_go_back() {
    for capture in generator::captures().iter().filter(|c| c.name.ends_with(".pcap")) {
        let word = |at: usize| u32::from_le_bytes(capture.bytes[at..at + 4].try_into().unwrap());
        let (mut at, mut last, mut packets) = (24, (0, 0), 0);
        while at < capture.bytes.len() {
            let time = (word(at), word(at + 4));
            assert!(time >= last, "{}: packet {}", capture.name, packets + 1);
            last = time;
            packets += 1;
            at += 16 + word(at + 8) as usize;
        }
        assert_eq!((at, packets), (capture.bytes.len(), capture.packets), "{}", capture.name);
    }
}

/// Where an independent decoder says what it makes of a packet: 0 is a wrong checksum.
const VERDICTS: [&str; 7] = [
    "_ws.malformed",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "gre.checksum.status",
];

#[test]
fn tshark_finds_every_packet_and_no_fault() {
    for capture in generator::captures() {
        let mut command = std::process::Command::new("tshark");
        for protocol in ["ip", "tcp", "udp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        command.args(["-T", "fields"]);
        command.args(VERDICTS.iter().flat_map(|field| ["-e", field]));
        let Ok(output) = command.arg("-r").arg(folder().join(capture.name)).output() else {
            eprintln!("skipped: tshark is not here");
            return;
        };
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {problem}", capture.name);
        let text = String::from_utf8(output.stdout).unwrap();
        for (number, line) in text.lines().enumerate() {
            let mut verdicts = line.split('\t');
            let whole = verdicts.next() == Some("");
            let right = verdicts.all(|verdict| !verdict.contains('0'));
            assert!(whole && right, "{}: packet {}: {line}", capture.name, number + 1);
        }
        assert_eq!(text.lines().count(), capture.packets, "{}", capture.name);
    }
}
