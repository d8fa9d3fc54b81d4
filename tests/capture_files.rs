//! Capture files made byte by byte: every variant of both formats, cut anywhere, compressed, merged, filtered, repeated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use capture_support::{
    MICROS, NANOS, Order, PATCHED, Pcap, Pcapng, Scratch, Seen, drain, gzip, read, read_with, real_captures, zstd,
};
use millstream::capture::{
    Cut, DamageReason, FileOptions, FileSource, Fill, Limit, Limits, OpenError, Paced, Source, SourceError, TimeBase,
};
use millstream::packet::Batch;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

const BOTH: [Order; 2] = [Order::Little, Order::Big];

fn seen(nanos: i64, bytes: &[u8], wirelen: u32, linktype: u16) -> Seen {
    Seen { nanos, bytes: bytes.to_vec(), wirelen, linktype, origin: 0 }
}

fn read_bytes(bytes: &[u8]) -> (Vec<Seen>, millstream::capture::SourceStats) {
    let scratch = Scratch::new();
    read(&scratch.file("capture", bytes)).unwrap()
}

fn packets_of(bytes: &[u8]) -> Vec<Seen> {
    let (packets, stats) = read_bytes(bytes);
    assert_eq!(stats.damage, []);
    packets
}

fn reason_of(bytes: &[u8]) -> DamageReason {
    let (_, mut stats) = read_bytes(bytes);
    assert_eq!(stats.damage.len(), 1);
    stats.damage.remove(0).reason
}

#[test]
fn pcap_in_both_orders_and_resolutions() {
    for order in BOTH {
        for (magic, unit) in [(MICROS, 1_000), (NANOS, 1)] {
            let file = Pcap::new(order, magic).packet(5, 7, b"abc").packet(u32::MAX, 999_999, b"").bytes;
            let last = i64::from(u32::MAX) * 1_000_000_000 + 999_999 * unit;
            assert_eq!(
                packets_of(&file),
                [seen(5_000_000_000 + 7 * unit, b"abc", 3, 1), seen(last, b"", 0, 1)],
                "{order:?} {magic:x}"
            );
        }
    }
}

#[test]
fn old_pcap_variants() {
    let patched = Pcap::new(Order::Little, PATCHED).record(1, 0, (2, 9), b"\0\0\0\0\0\0\0\0ab").bytes;
    assert_eq!(packets_of(&patched), [seen(1_000_000_000, b"ab", 9, 1)]);
    for version in [(2, 2), (2, 3), (543, 0)] {
        let swapped = Pcap::with(Order::Big, MICROS, version, 65_535, 1).record(1, 0, (9, 2), b"ab").bytes;
        assert_eq!(packets_of(&swapped), [seen(1_000_000_000, b"ab", 9, 1)], "{version:?}");
    }
    let unclear = Pcap::with(Order::Big, MICROS, (2, 3), 65_535, 1).record(1, 0, (2, 9), b"ab").bytes;
    assert_eq!(packets_of(&unclear), [seen(1_000_000_000, b"ab", 9, 1)]);
}

#[test]
fn pcap_lengths_times_and_link_types_at_their_edges() {
    // Length on the wire below the captured length; fraction above one second; check sequence bits; raw IP's old number.
    let file =
        Pcap::with(Order::Little, MICROS, (2, 4), 0, 0x3400_0000 | 12).record(1, 2_500_000, (3, 0), b"abc").bytes;
    assert_eq!(packets_of(&file), [seen(3_500_000_000, b"abc", 3, 101)]);
    let unknown = Pcap::with(Order::Little, MICROS, (2, 4), 0, 64_999).packet(1, 0, b"abc").bytes;
    assert_eq!(packets_of(&unknown)[0].linktype, 64_999);
}

#[test]
fn large_records_are_read_passed_over_or_damage() {
    let large: Vec<u8> = (0..262_144_u32).map(|i| i as u8).collect();
    let huge = vec![0; 300_000];
    let file = |snaplen| {
        Pcap::with(Order::Little, MICROS, (2, 4), snaplen, 1)
            .packet(1, 0, b"small")
            .packet(2, 0, &large)
            .packet(3, 0, &huge)
            .packet(4, 0, b"last")
            .bytes
    };
    let (packets, stats) = read_bytes(&file(1_000_000));
    assert_eq!(packets.iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>(), [5, 262_144, 4]);
    assert_eq!((packets[1].bytes == large, stats.oversize, stats.damage.len()), (true, 1, 0));
    for snaplen in [0, 65_535, u32::MAX] {
        let (packets, stats) = read_bytes(&file(snaplen));
        assert_eq!((packets.len(), stats.oversize), (2, 0));
        assert_eq!(stats.damage[0].reason, DamageReason::Caplen { caplen: 300_000, limit: 262_144 });
        assert_eq!(stats.damage[0].offset, 24 + 16 + 5 + 16 + 262_144);
    }
    let ng = Pcapng::new(Order::Little)
        .interface(1, 0, &[])
        .packet(0, 1_000_000, b"small")
        .packet(0, 2_000_000, &huge)
        .packet(0, 3_000_000, &vec![0; 400_000])
        .packet(0, 4_000_000, &large)
        .bytes;
    let (packets, stats) = read_bytes(&ng);
    assert_eq!((packets.len(), stats.oversize, stats.damage), (2, 2, vec![]));
    assert_eq!(packets[1].bytes, large);
}

/// Most memory this process has had so far, in bytes.
fn peak() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

#[test]
fn what_a_length_claims_takes_no_memory_whether_it_is_there_or_not() {
    const CLAIM: u32 = 128 << 20;
    let scratch = Scratch::new();
    let start = || Pcapng::new(Order::Little).interface(1, 0, &[]).packet(0, 1, b"first");
    // Written over a hole, so that it takes no room on the disk either.
    let with_hole = |name: &str, before: &[u8], hole: u64, behind: &[u8]| {
        let path = scratch.file(name, before);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(before.len() as u64 + hole).unwrap();
        file.write_all(behind).unwrap();
        path
    };
    let head = |kind: u32, lengths: &[u32]| {
        [&[kind, CLAIM], lengths].concat().iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
    };
    let unknown = head(0x0999, &[]);
    let large = head(6, &[0, 0, 2, CLAIM - 32, CLAIM - 32]);
    let tail = [&CLAIM.to_le_bytes()[..], &Pcapng { order: Order::Little, bytes: vec![] }.packet(0, 3, b"last").bytes]
        .concat();
    let before = peak();
    for (name, block) in [("unknown", &unknown), ("large", &large)] {
        let head = [&start().bytes[..], block].concat();
        let whole = with_hole(name, &head, u64::from(CLAIM) - block.len() as u64 - 4, &tail);
        let (packets, stats) = read(&whole).unwrap();
        assert_eq!((packets.len(), stats.damage), (2, vec![]), "{name}");
        let (packets, stats) = read(&scratch.file("cut", &head)).unwrap();
        assert_eq!((packets.len(), stats.damage.len()), (1, 1), "{name}");
    }
    for caplen in [CLAIM, u32::MAX] {
        let file = Pcap::with(Order::Little, MICROS, (2, 4), u32::MAX, 1).packet(1, 0, b"first");
        let bytes = file.record(2, 0, (caplen, caplen), b"").bytes;
        let (packets, stats) = read(&with_hole("pcap", &bytes, u64::from(CLAIM), b"")).unwrap();
        assert_eq!((packets.len(), stats.damage.len()), (1, 1), "{caplen}");
    }
    let taken = peak() - before;
    assert!(taken < 64 << 20, "{taken} bytes");
}

#[test]
fn pcapng_blocks_of_all_kinds_in_both_orders() {
    for order in BOTH {
        let file = Pcapng::new(order)
            .block(4, b"names")
            .interface(1, 96, &[])
            .block(0xBAD, b"custom block")
            .packet(0, 1_500_000, b"enhanced")
            .old_packet(0, 2_500_000, b"old")
            .simple(200, &[7; 96])
            .block(5, b"statistics")
            .block(0x8000_1234, &vec![0; 500_000])
            .enhanced(0, 3_000_000, 60, b"cut", &[])
            .bytes;
        assert_eq!(
            packets_of(&file),
            [
                seen(1_500_000_000, b"enhanced", 8, 1),
                seen(2_500_000_000, b"old", 3, 1),
                // Without a time of its own: that of the packet before.
                seen(2_500_000_000, &[7; 96], 200, 1),
                seen(3_000_000_000, b"cut", 60, 1),
            ],
            "{order:?}"
        );
    }
}

#[test]
fn pcapng_interfaces_have_their_own_link_type_and_clock() {
    for order in BOTH {
        let start = Pcapng::new(order);
        let (nanos, binary, slow) = (start.option(9, &[9]), start.option(9, &[0x80 | 10]), start.option(9, &[0]));
        let offset = start.option(14, &order.u64(100));
        let negative = start.option(14, &order.u64(-1_i64 as u64));
        let comment = start.option(1, b"a comment of odd length");
        let file = start
            .interface(1, 0, &[comment.clone(), nanos, vec![0; 4]])
            .interface(101, 0, &[binary, offset])
            .interface(113, 0, &[slow, negative])
            .packet(2, 10, b"c")
            .packet(0, 1, b"a")
            .enhanced(1, 3 << 9, 1, b"b", &comment)
            .bytes;
        assert_eq!(
            packets_of(&file),
            [seen(9_000_000_000, b"c", 1, 113), seen(1, b"a", 1, 1), seen(101_500_000_000, b"b", 1, 101)],
            "{order:?}"
        );
    }
}

#[test]
fn a_section_forgets_interfaces_and_may_change_byte_order() {
    let file = Pcapng::new(Order::Little)
        .interface(1, 0, &[])
        .packet(0, 1, b"a")
        .section(Order::Big)
        .interface(101, 0, &[])
        .packet(0, 2, b"b")
        .bytes;
    assert_eq!(packets_of(&file), [seen(1_000, b"a", 1, 1), seen(2_000, b"b", 1, 101)]);
    let forgotten = Pcapng::new(Order::Little).interface(1, 0, &[]).section(Order::Little).packet(0, 1, b"a").bytes;
    assert_eq!(reason_of(&forgotten), DamageReason::UnknownInterface { interface: 0, described: 0 });
}

#[test]
fn pcapng_damage_has_a_reason() {
    let good = Pcapng::new(Order::Little).interface(1, 0, &[]).packet(0, 1, b"abcd");
    let patched = |at: usize, value: u32| {
        let mut bytes = good.bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        reason_of(&bytes)
    };
    // The packet block starts at 48, its captured length is at 48 + 20, its second length at 48 + 32.
    assert_eq!(patched(52, 0), DamageReason::BlockLength { len: 0, minimum: 32 });
    assert_eq!(patched(52, 35), DamageReason::BlockLength { len: 35, minimum: 32 });
    assert_eq!(patched(68, 5), DamageReason::CaplenOverBlock { caplen: 5, block: 36 });
    assert_eq!(patched(68, u32::MAX), DamageReason::CaplenOverBlock { caplen: u32::MAX, block: 36 });
    assert_eq!(patched(80, 40), DamageReason::BlockLengthMismatch { start: 36, end: 40 });
    assert_eq!(patched(56, 1), DamageReason::UnknownInterface { interface: 1, described: 1 });
    assert_eq!(
        patched(52, u32::MAX - 3),
        DamageReason::Truncated { cut: Cut::Record, found: 36, needed: u64::from(u32::MAX - 3) }
    );
    assert_eq!(patched(8, 1), DamageReason::ByteOrderMark { mark: 1 });
    assert_eq!(patched(12, 2), DamageReason::Version { major: 2, minor: 0 });
    let interfaces = (0..70_000).fold(Pcapng::new(Order::Little), |file, _| file.interface(1, 0, &[]));
    assert_eq!(reason_of(&interfaces.bytes), DamageReason::TooManyInterfaces { limit: 65_536 });
}

/// A file of each format with the offsets at which its records end.
fn samples() -> Vec<(Vec<u8>, Vec<usize>, usize)> {
    let mut samples = Vec::new();
    for order in BOTH {
        for magic in [MICROS, NANOS, PATCHED] {
            let mut file = Pcap::new(order, magic);
            let mut ends = Vec::new();
            for (secs, data) in [(1, &b"first"[..]), (2, b""), (3, b"third one")] {
                let extra: &[u8] = if magic == PATCHED { &[0; 8] } else { &[] };
                file = file.record(secs, 0, (data.len() as u32, 60), &[extra, data].concat());
                ends.push(file.bytes.len());
            }
            samples.push((file.bytes, ends, 24));
        }
        let mut file = Pcapng::new(order).interface(1, 0, &[]);
        let mut ends = Vec::new();
        file = file.packet(0, 1, b"first");
        ends.push(file.bytes.len());
        file = file.simple(6, b"second");
        ends.push(file.bytes.len());
        file = file.block(9, b"unknown").old_packet(0, 3, b"third");
        ends.push(file.bytes.len());
        samples.push((file.bytes, ends, 0));
    }
    samples
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_records() {
    let scratch = Scratch::new();
    for (bytes, ends, header) in samples() {
        let whole = packets_of(&bytes);
        assert_eq!(whole.len(), 3);
        for len in 0..=bytes.len() {
            let path = scratch.file("cut", &bytes[..len]);
            let outcome = read(&path);
            if len < 4 {
                assert!(matches!(outcome, Err(OpenError::NotACapture { .. })), "{len}");
                continue;
            }
            let (packets, stats) = outcome.unwrap();
            let expected = ends.iter().filter(|&&end| end <= len).count();
            assert_eq!(packets, whole[..expected], "{len}");
            // Every boundary of records or blocks is a clean end.
            let boundary = boundaries(&bytes, &ends, header).into_iter().filter(|&end| end <= len).max().unwrap_or(0);
            if boundary == len {
                assert_eq!(stats.damage, [], "{len}");
            } else {
                assert_eq!(stats.damage.len(), 1, "{len}");
                assert_eq!(stats.damage[0].offset, boundary as u64, "{len}");
                assert!(matches!(stats.damage[0].reason, DamageReason::Truncated { .. }), "{len}");
                assert_eq!(stats.damage[0].file, path);
            }
        }
    }
}

/// Offsets between records: those of packets, and for pcapng those of all blocks.
fn boundaries(bytes: &[u8], ends: &[usize], header: usize) -> Vec<usize> {
    let mut all = ends.to_vec();
    if header > 0 {
        all.push(header);
        return all;
    }
    let little = bytes[8] == 0x4D;
    let mut at = 0;
    while at < bytes.len() {
        let len: [u8; 4] = bytes[at + 4..at + 8].try_into().unwrap();
        at += if little { u32::from_le_bytes(len) } else { u32::from_be_bytes(len) } as usize;
        all.push(at);
    }
    all
}

#[test]
fn compressed_files_cut_anywhere_give_what_could_be_unpacked() {
    let scratch = Scratch::new();
    let (bytes, _, _) = samples().swap_remove(0);
    let whole = packets_of(&bytes);
    for packed in [gzip(&bytes), zstd(&bytes), [gzip(&bytes[..30]), gzip(&bytes[30..])].concat()] {
        assert_eq!(packets_of(&packed), whole);
        for len in 4..packed.len() {
            let path = scratch.file("cut", &packed[..len]);
            match read(&path) {
                Err(OpenError::NotACapture { .. }) => {}
                Err(error) => panic!("{error}"),
                Ok((packets, stats)) => {
                    assert_eq!(packets, whole[..packets.len()]);
                    assert_eq!(stats.damage.len(), 1, "{len}");
                }
            }
        }
    }
}

#[test]
fn files_that_are_no_captures_are_named() {
    let scratch = Scratch::new();
    let text_of = |bytes: &[u8]| read(&scratch.file("it", bytes)).unwrap_err().to_string();
    assert!(text_of(b"").contains("not a capture file: the file is empty;"));
    assert!(text_of(b"\x7fELF\x02\x01\x01").contains("looks like an ELF executable"));
    assert!(text_of(b"hello\n").contains("looks like a text file"));
    assert!(text_of(&[0, 1, 2, 3, 4]).contains("unknown bytes 00 01 02 03"));
    assert!(text_of(b"\xfd7zXZ\0abc").contains("unpack it first: xz -dc FILE"));
    assert!(text_of(&gzip(b"hello\n")).contains("looks like a text file"));
    assert!(text_of(&gzip(&gzip(b"x"))).contains("another gzip file"));
    let missing = read(&scratch.0.path().join("missing")).unwrap_err();
    assert!(matches!(missing, OpenError::NoSuchFile { .. }));
    assert!(matches!(FileSource::open(&[], &FileOptions::default()), Err(OpenError::NoInput)));
}

#[test]
fn more_packets_than_a_batch_and_records_across_reads() {
    let scratch = Scratch::new();
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..5_000_u32 {
        file = file.packet(i, 0, &vec![i as u8; (i as usize * 37) % 1_500]);
    }
    let plain = file.bytes.clone();
    let expected: Vec<Vec<u8>> = (0..5_000_u32).map(|i| vec![i as u8; (i as usize * 37) % 1_500]).collect();
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let (packets, _) = read(&scratch.file("many", &bytes)).unwrap();
        assert!(packets.iter().map(|packet| &packet.bytes).eq(&expected));
    }
}

#[test]
fn overlapping_files_are_merged_by_time() {
    let scratch = Scratch::new();
    let file = |times: &[u32], mark: u8| {
        times.iter().fold(Pcap::new(Order::Little, MICROS), |file, &secs| file.packet(secs, 0, &[mark])).bytes
    };
    let paths = [
        scratch.file("late", &file(&[20, 21, 22], 0)),
        scratch.file("a", &file(&[1, 3, 5, 7], 1)),
        scratch.file("b.pcap", &gzip(&file(&[2, 3, 4, 20], 2))),
        scratch.file("none", &Pcap::new(Order::Big, MICROS).bytes),
    ];
    let (packets, stats) = read_with(&paths, &FileOptions::default()).unwrap();
    let order: Vec<(i64, u8, u16)> = packets.iter().map(|p| (p.nanos / 1_000_000_000, p.bytes[0], p.origin)).collect();
    assert_eq!(
        order,
        [
            (1, 1, 1),
            (2, 2, 2),
            (3, 1, 1),
            (3, 2, 2),
            (4, 2, 2),
            (5, 1, 1),
            (7, 1, 1),
            (20, 2, 2),
            (20, 0, 0),
            (21, 0, 0),
            (22, 0, 0)
        ]
    );
    assert_eq!(stats.time_back, 0);
    let source = FileSource::open(&paths, &FileOptions::default()).unwrap();
    assert_eq!(source.origins()[1].to_string(), paths[1].display().to_string());
}

#[test]
fn merging_keeps_every_packet_of_large_files() {
    let scratch = Scratch::new();
    let mut files = Vec::new();
    for k in 0..5_u32 {
        let mut file = Pcap::new(Order::Little, MICROS);
        for i in 0..4_000_u32 {
            file = file.packet(i * 5 + k + if k == 4 { 15_000 } else { 0 }, 0, &(i * 5 + k).to_le_bytes().repeat(10));
        }
        files.push(scratch.file(&format!("{k}"), &file.bytes));
    }
    let (packets, stats) = read_with(&files, &FileOptions::default()).unwrap();
    assert_eq!((packets.len(), stats.time_back), (20_000, 0));
    assert!(packets.is_sorted_by_key(|packet| packet.nanos));
}

#[test]
fn a_directory_stands_for_its_captures() {
    let scratch = Scratch::new();
    scratch.file("2.pcap", &Pcap::new(Order::Little, MICROS).packet(2, 0, b"b").bytes);
    scratch.file("1.pcap", &Pcap::new(Order::Little, MICROS).packet(9, 0, b"a").bytes);
    let notes = scratch.file("notes.txt", b"notes\n");
    scratch.file(".hidden", b"hidden\n");
    std::fs::create_dir(scratch.0.path().join("deeper")).unwrap();
    let (packets, stats) = read(scratch.0.path()).unwrap();
    assert_eq!(packets.iter().map(|packet| packet.bytes[0]).collect::<Vec<_>>(), b"ba");
    assert_eq!(stats.skipped.iter().map(|skipped| &skipped.file).collect::<Vec<_>>(), [&notes]);
    let empty = read(&scratch.0.path().join("deeper")).err().unwrap();
    assert!(matches!(empty, OpenError::EmptyDirectory { .. }));
}

#[test]
fn damage_in_one_file_does_not_stop_the_others() {
    let scratch = Scratch::new();
    let good = Pcap::new(Order::Little, MICROS).packet(1, 0, b"a").packet(3, 0, b"c").bytes;
    let cut = Pcap::new(Order::Little, MICROS).packet(2, 0, b"b").packet(4, 0, b"dddd").bytes;
    let paths = [scratch.file("cut", &cut[..cut.len() - 1]), scratch.file("good", &good)];
    let (packets, stats) = read_with(&paths, &FileOptions::default()).unwrap();
    assert_eq!(packets.iter().map(|packet| packet.bytes[0]).collect::<Vec<_>>(), b"abc");
    assert_eq!(stats.damage.len(), 1);
    assert_eq!(stats.damage[0].offset, 41);
}

/// An Ethernet frame with an IPv4 packet of the given protocol.
fn frame(protocol: u8) -> Vec<u8> {
    [&[2; 12][..], &[8, 0], &ip(protocol)].concat()
}

fn ip(protocol: u8) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ip.resize(40, 0);
    ip
}

#[test]
fn a_filter_works_on_mixed_link_types() {
    let scratch = Scratch::new();
    let file = Pcapng::new(Order::Little)
        .interface(1, 0, &[])
        .interface(101, 0, &[])
        .interface(64_999, 0, &[])
        .packet(0, 1, &frame(6))
        .packet(1, 2, &ip(6))
        .packet(0, 3, &frame(17))
        .packet(1, 4, &ip(17))
        .packet(2, 5, &ip(6))
        .bytes;
    let path = scratch.file("mixed", &file);
    let options = FileOptions { filter: Some("tcp".to_owned()), ..FileOptions::default() };
    let (packets, stats) = read_with(std::slice::from_ref(&path), &options).unwrap();
    assert_eq!(
        packets.iter().map(|packet| (packet.nanos, packet.linktype)).collect::<Vec<_>>(),
        [(1_000, 1), (2_000, 101)]
    );
    assert_eq!((stats.filtered, stats.filter_linktype), (2, 1));
    let wrong = FileOptions { filter: Some("tcp prt 80".to_owned()), ..FileOptions::default() };
    let error = read_with(&[path], &wrong).unwrap_err();
    assert!(matches!(error, OpenError::Filter(_)), "{error}");
}

#[test]
fn a_filter_that_matches_nothing_gives_the_caller_its_turn() {
    let scratch = Scratch::new();
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..4_000 {
        file = file.packet(i, 0, &[frame(17), vec![0; 1_000]].concat());
    }
    let options = FileOptions { filter: Some("tcp".to_owned()), ..FileOptions::default() };
    let mut source = FileSource::open(&[scratch.file("many", &file.bytes)], &options).unwrap();
    let mut batch = Batch::new();
    assert_eq!(source.fill(&mut batch).unwrap(), Fill::Idle);
    let (packets, stats) = drain(&mut source);
    assert_eq!((packets.len(), stats.filtered), (0, 4_000));
}

#[test]
fn snaplen_cuts_after_the_filter() {
    let scratch = Scratch::new();
    let path = scratch.file("one", &Pcap::new(Order::Little, MICROS).packet(1, 0, &frame(6)).bytes);
    let options = FileOptions { filter: Some("tcp".to_owned()), snaplen: Some(10), ..FileOptions::default() };
    let (packets, _) = read_with(&[path], &options).unwrap();
    assert_eq!((packets[0].bytes.len(), packets[0].wirelen), (10, 54));
}

#[test]
fn rounds_go_forward_in_time() {
    let scratch = Scratch::new();
    let cut = Pcap::new(Order::Little, MICROS).packet(10, 0, b"a").packet(14, 0, b"c").bytes;
    let paths = [
        scratch.file("a", &[&cut[..], b"?"].concat()),
        scratch.file("b", &Pcap::new(Order::Little, MICROS).packet(12, 0, b"b").bytes),
    ];
    let options = FileOptions { rounds: NonZeroU64::new(3).unwrap(), ..FileOptions::default() };
    let (packets, stats) = read_with(&paths, &options).unwrap();
    assert_eq!(packets.iter().map(|packet| packet.bytes[0]).collect::<Vec<_>>(), b"abcabcabc");
    assert!(packets.is_sorted_by(|a, b| a.nanos < b.nanos));
    assert_eq!(packets[3].nanos, 14_000_001_000);
    assert_eq!((stats.time_back, stats.damage.len()), (0, 1));
    let empty = scratch.file("empty", &Pcap::new(Order::Little, MICROS).bytes);
    let endless = FileOptions { rounds: NonZeroU64::MAX, ..FileOptions::default() };
    assert_eq!(read_with(&[empty], &endless).unwrap().0, []);
}

fn numbered(scratch: &Scratch) -> PathBuf {
    let file = (0..1_000).fold(Pcap::new(Order::Little, MICROS), |file, i| file.packet(i / 100, i % 100, b"abc"));
    scratch.file("numbered", &file.bytes)
}

#[test]
fn count_and_duration_end_a_source_early() {
    let scratch = Scratch::new();
    let path = numbered(&scratch);
    let limited = |count, duration| {
        let source = FileSource::open(std::slice::from_ref(&path), &FileOptions::default()).unwrap();
        drain(&mut Limit::new(source, Limits { count, duration, time_base: TimeBase::Packets }))
    };
    for count in [0, 1, 255, 256, 257, 999, 1_000, 2_000] {
        assert_eq!(limited(Some(count), None).0.len() as u64, count.min(1_000));
    }
    let (packets, stats) = limited(None, Some(Duration::from_secs(3)));
    assert_eq!((packets.len(), stats.over_limit), (300, 212));
    assert_eq!(limited(Some(7), Some(Duration::from_secs(3))).0.len(), 7);
    assert_eq!(limited(None, Some(Duration::from_secs(30))).0.len(), 1_000);
}

#[test]
fn a_paced_source_keeps_to_the_recorded_time() {
    let scratch = Scratch::new();
    let path = numbered(&scratch);
    let open = || FileSource::open(std::slice::from_ref(&path), &FileOptions::default()).unwrap();
    let expected = drain(&mut open()).0;
    let clock = millstream::time::Stopwatch::start();
    assert_eq!(drain(&mut Paced::new(open(), 60.0).unwrap()).0, expected);
    // Nine seconds of recording, sixty times as fast.
    assert!(clock.elapsed() >= Duration::from_millis(150), "{:?}", clock.elapsed());
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Paced::new(open(), speed), Err(OpenError::Speed { .. })));
    }
}

#[test]
fn another_batch_in_the_middle_is_an_error() {
    let scratch = Scratch::new();
    let mut source = FileSource::open(&[numbered(&scratch)], &FileOptions::default()).unwrap();
    source.fill(&mut Batch::new()).unwrap();
    assert!(matches!(source.fill(&mut Batch::new()), Err(SourceError::ForeignBatch)));
}

#[test]
fn progress_ends_at_the_total() {
    let scratch = Scratch::new();
    let plain = numbered(&scratch);
    let packed = scratch.file("packed", &gzip(&std::fs::read(&plain).unwrap()));
    let size = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    let total = size(&plain) + size(&packed);
    let mut source = FileSource::open(&[plain, packed], &FileOptions::default()).unwrap();
    assert_eq!(source.progress().map(|progress| (progress.bytes, progress.total)), Some((0, total)));
    drain(&mut source);
    assert_eq!(source.progress().map(|progress| (progress.bytes, progress.total)), Some((total, total)));
}

#[test]
fn a_pipe_is_read_as_bytes_arrive() {
    let scratch = Scratch::new();
    let path = scratch.0.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    let bytes = zstd(&Pcap::new(Order::Little, MICROS).packet(1, 0, b"a").packet(2, 0, b"b").bytes);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            for part in bytes.chunks(7) {
                std::io::Write::write_all(&mut pipe, part).unwrap();
                std::thread::sleep(Duration::from_millis(12));
            }
        }
    });
    let mut source = FileSource::open(std::slice::from_ref(&path), &FileOptions::default()).unwrap();
    let mut batch = Batch::new();
    assert_eq!(source.fill(&mut batch).unwrap(), Fill::Idle);
    let (packets, stats) = drain(&mut source);
    assert_eq!((packets.len(), stats.damage.len(), source.progress()), (2, 0, None));
    writer.join().unwrap();
    let options = FileOptions { rounds: NonZeroU64::new(2).unwrap(), ..FileOptions::default() };
    let opener = std::thread::spawn({
        let path = path.clone();
        move || std::fs::OpenOptions::new().write(true).open(path)
    });
    assert!(matches!(FileSource::open(&[path], &options), Err(OpenError::StdinTwice)));
    drop(opener.join().unwrap());
}

/// Runs in a process of its own, started by the test below with a capture on its standard input.
#[test]
#[ignore = "the child of standard_input_is_a_source"]
fn child_that_reads_standard_input() {
    let twice = FileSource::open(&["-".into(), "-".into()], &FileOptions::default());
    assert!(matches!(twice, Err(OpenError::StdinTwice)));
    let (packets, stats) = read(std::path::Path::new("-")).unwrap();
    assert_eq!((packets.len(), packets[1].bytes.as_slice(), stats.damage.len()), (2, &b"b"[..], 1));
    assert_eq!(stats.damage[0].file, PathBuf::from("-"));
}

#[test]
fn standard_input_is_a_source() {
    let mut bytes = Pcap::new(Order::Little, MICROS).packet(1, 0, b"a").packet(2, 0, b"b").bytes;
    bytes.push(0);
    for bytes in [bytes.clone(), gzip(&bytes)] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_that_reads_standard_input"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut pipe, &bytes).unwrap();
        drop(pipe);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        // Under another name it would not run at all, and end well.
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// Runs in a process of its own, started by the test below with a file on its standard input.
#[test]
#[ignore = "the child of a_file_on_standard_input_is_read_from_where_it_is"]
fn child_that_reads_a_file_on_standard_input() {
    let options = FileOptions { rounds: NonZeroU64::new(2).unwrap(), ..FileOptions::default() };
    let mut source = FileSource::open(&["-".into()], &options).unwrap();
    let (packets, stats) = drain(&mut source);
    assert_eq!((packets.len(), packets[3].bytes.as_slice(), stats.damage.len()), (4, &b"b"[..], 0));
    assert!(source.progress().is_some_and(|progress| progress.bytes == progress.total));
}

#[test]
fn a_file_on_standard_input_is_read_from_where_it_is() {
    let scratch = Scratch::new();
    let plain = Pcap::new(Order::Little, MICROS).packet(1, 0, b"a").packet(2, 0, b"b").bytes;
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        for before in ["", "read by somebody else"] {
            let path = scratch.file("stdin", &[before.as_bytes(), &bytes].concat());
            let mut file = std::fs::File::open(path).unwrap();
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(before.len() as u64)).unwrap();
            let ended = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "child_that_reads_a_file_on_standard_input"])
                .stdin(file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        }
    }
}

#[test]
fn what_was_opened_is_read_whatever_becomes_of_its_name() {
    let scratch = Scratch::new();
    let plain = Pcap::new(Order::Little, MICROS).packet(1, 0, b"a").packet(2, 0, b"b").bytes;
    let paths = [scratch.file("plain", &plain), scratch.file("packed", &gzip(&plain))];
    let options = FileOptions { rounds: NonZeroU64::new(3).unwrap(), ..FileOptions::default() };
    let mut source = FileSource::open(&paths, &options).unwrap();
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(drain(&mut source).0.len(), 12);
}

#[test]
fn more_files_are_read_than_are_kept_open() {
    let scratch = Scratch::new();
    for number in 0..300 {
        let file = Pcap::new(Order::Little, MICROS).packet(number, 0, b"a").packet(number, 1, b"b");
        scratch.file(&format!("{number:03}"), &file.bytes);
    }
    let options = FileOptions { rounds: NonZeroU64::new(2).unwrap(), ..FileOptions::default() };
    assert_eq!(read_with(&[scratch.0.path().to_owned()], &options).unwrap().0.len(), 1_200);
}

#[test]
fn real_captures_are_the_same_compressed() {
    let Some(directory) = real_captures() else { return };
    let scratch = Scratch::new();
    for name in ["good/g-mix.pcap", "good/g-pcapng-two-sections.pcapng", "bad/g-pcapng-len-0.pcapng"] {
        let plain = std::fs::read(directory.join(name)).unwrap();
        let (expected, stats) = read(&directory.join(name)).unwrap();
        for packed in [gzip(&plain), zstd(&plain)] {
            let (packets, packed_stats) = read(&scratch.file("packed", &packed)).unwrap();
            assert!(packets == expected, "{name}");
            assert_eq!(
                packed_stats.damage.iter().map(|damage| (damage.offset, damage.reason)).collect::<Vec<_>>(),
                stats.damage.iter().map(|damage| (damage.offset, damage.reason)).collect::<Vec<_>>()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_after_a_header_never_panic(
        kind in 0..6_usize,
        chunks in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..64)), 0..40),
    ) {
        let little = Pcapng::new(Order::Little).interface(1, 0, &[]);
        let mut bytes = match kind {
            0 => Pcap::new(Order::Little, MICROS).bytes,
            1 => Pcap::with(Order::Big, NANOS, (2, 3), 1 << 20, 1).bytes,
            2 => Pcap::new(Order::Little, PATCHED).bytes,
            3 => Pcapng::new(Order::Big).interface(1, 0, &[]).bytes,
            _ => little.bytes,
        };
        for (shape, chunk) in chunks {
            match shape % 6 {
                0 => bytes.extend(Pcap { order: Order::Little, bytes: Vec::new() }.packet(1, 2, &chunk).bytes),
                1 => bytes.extend(Pcapng { order: Order::Little, bytes: Vec::new() }.packet(0, 5, &chunk).bytes),
                2 => bytes.extend(Pcapng { order: Order::Big, bytes: Vec::new() }.block(u32::from(shape) / 16, &chunk).bytes),
                3 => bytes.extend(Pcapng { order: Order::Little, bytes: Vec::new() }.block(u32::from(shape) / 16, &chunk).bytes),
                4 => bytes.extend([shape & 7, 0, 0, 0, chunk.len() as u8, 0, 0, 0]),
                _ => bytes.extend(chunk),
            }
        }
        let (_, stats) = read_bytes(&bytes);
        assert!(stats.damage.iter().all(|damage| damage.offset <= bytes.len() as u64));
    }
}
