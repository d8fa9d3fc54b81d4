//! Every real capture gives the number of packets that its list says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::collections::HashMap;

use capture_support::{read, real_captures};
use millstream::capture::{DamageReason, OpenError};

/// What the list calls a clean end and we report as damage, with the reason: these follow what the list says of the
/// packets, and stop where it does.
const DAMAGE_AT_A_CLEAN_END: [(&str, &str); 5] = [
    ("bad/g-pcap-version-9.pcap", "version"),
    ("bad/g-pcapng-version-9.pcapng", "version"),
    ("bad/g-pcapng-cap-over-block.pcapng", "caplen_over_block"),
    ("bad/g-pcapng-no-idb.pcapng", "unknown_interface"),
    ("bad/g-pcapng-opt-overrun.pcapng", "option_overrun"),
];

#[test]
fn packet_counts_are_those_of_the_list() {
    let Some(directory) = real_captures() else { return };
    let list = std::fs::read_to_string(directory.join("MANIFEST.tsv")).unwrap();
    let mut lines = list.lines();
    let columns: HashMap<&str, usize> = lines.next().unwrap().split('\t').zip(0..).collect();
    let mut failures = Vec::new();
    let mut files = 0;
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |name: &str| fields[columns[name]];
        let (name, end) = (field("file"), field("end"));
        let expected: u64 = field("packets").parse().unwrap();
        files += 1;
        let (packets, time_back, reason) = match read(&directory.join(name)) {
            Ok((_, stats)) => {
                assert!(stats.damage.len() <= 1);
                let reason = stats.damage.first().map(|damage| damage.reason.label());
                (stats.packets, stats.time_back, reason)
            }
            Err(OpenError::NotACapture { .. }) => (0, 0, Some("not a capture")),
            Err(error) => panic!("{name}: {error}"),
        };
        let named = DAMAGE_AT_A_CLEAN_END.iter().find(|(file, _)| *file == name).map(|(_, reason)| *reason);
        let reason_fits = match (end, named) {
            (_, Some(named)) => reason == Some(named),
            ("clean", None) => reason.is_none(),
            // The compressed one is read here and was not by whoever made the list.
            ("unknown magic", None) => (reason == Some("not a capture")) == (expected == 0),
            _ => reason.is_some_and(|reason| reason != "not a capture"),
        };
        let expected_back: u64 = field("time_back").parse().unwrap();
        if packets != expected || time_back != expected_back || !reason_fits {
            failures.push(format!(
                "{name}: {packets} of {expected} packets, {time_back} of {expected_back} back, end {end}: {reason:?}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(files > 700, "{files}");
}

#[test]
fn damage_is_where_the_records_end() {
    let Some(directory) = real_captures() else { return };
    let damage_of = |name: &str| read(&directory.join(name)).unwrap().1.damage.remove(0);
    let glued = damage_of("bad/g-pcap-two-glued.pcap");
    assert_eq!((glued.offset, glued.reason), (540, DamageReason::SecondFile));
    let huge = damage_of("bad/g-pcap-caplen-2g.pcap");
    assert_eq!((huge.offset, huge.reason), (540, DamageReason::Caplen { caplen: 0x7FFF_FFFF, limit: 262_144 }));
    let looped = damage_of("bad/g-pcapng-len-0.pcapng");
    assert_eq!(looped.reason, DamageReason::BlockLength { len: 0, minimum: 32 });
    let text = looped.to_string();
    assert!(text.ends_with(&format!("damaged at byte {}: {}", looped.offset, looped.reason)), "{text}");
}
