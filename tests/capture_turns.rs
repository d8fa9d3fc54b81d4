//! Plain files read by several engines by turns, against the same files read by one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use capture_support::{MICROS, NANOS, Order, Pcap, Pcapng, Scratch, Seen, drain, real_captures};
use millstream::capture::{FileOptions, FileSource, Fill, Source, SourceStats, TurnSource};
use millstream::packet::{Batch, Captured, Share, Tick, deal_by};
use proptest::prelude::*;

/// Flow of a packet for these tests: its last byte, spread over all bits.
fn last_byte(bytes: &[u8]) -> u32 {
    u32::from(bytes.last().copied().unwrap_or(0)).wrapping_mul(0x9E37_79B9)
}

fn last_bytes(packets: &[Captured], bytes: &[u8], shares: &mut [Share], ticks: &mut Vec<Tick>) {
    deal_by(|_, bytes| last_byte(bytes), packets, bytes, shares, ticks);
}

/// How engines are to read.
#[derive(Clone, Debug)]
struct Way {
    engines: usize,
    block: u32,
    /// Microseconds that each engine pauses now and then, as one does that has much to do.
    pauses: Vec<u64>,
}

fn open(paths: &[PathBuf], options: &FileOptions, way: &Way) -> Vec<TurnSource> {
    let source = FileSource::open(paths, options).unwrap();
    TurnSource::split_in_blocks(source, way.engines, last_bytes, NonZeroU32::new(way.block).unwrap())
}

/// A source whose engine pauses now and then.
struct Slow(TurnSource, Duration);

impl Source for Slow {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, millstream::capture::SourceError> {
        if !self.1.is_zero() && self.0.stats().packets % 7 == 3 {
            std::thread::sleep(self.1);
        }
        self.0.fill(batch)
    }

    fn stats(&self) -> SourceStats {
        self.0.stats()
    }

    fn progress(&self) -> Option<millstream::capture::Progress> {
        self.0.progress()
    }

    fn origins(&self) -> &[millstream::capture::Origin] {
        self.0.origins()
    }
}

/// What all engines together read is what one reads, each has the packets of its flows in order, and the first tells of
/// everything else what the only one tells.
fn assert_same(paths: &[PathBuf], options: &FileOptions, way: &Way) {
    let mut alone = FileSource::open(paths, options).unwrap();
    let (all, whole) = drain(&mut alone);
    let threads: Vec<_> = open(paths, options, way)
        .into_iter()
        .enumerate()
        .map(|(engine, source)| {
            let pause = Duration::from_micros(way.pauses[engine % way.pauses.len()]);
            std::thread::spawn(move || {
                let mut source = Slow(source, pause);
                let (seen, stats) = drain(&mut source);
                (seen, stats, source.progress())
            })
        })
        .collect();
    let engines: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (mut packets, mut bytes) = (0, 0);
    for (engine, (seen, stats, progress)) in engines.iter().enumerate() {
        let share = |packet: &&Seen| {
            let hash = last_byte(&packet.bytes);
            (u64::from(hash) * way.engines as u64) >> 32 == engine as u64
        };
        assert!(seen.iter().eq(all.iter().filter(share)), "engine {engine}");
        // How much was read behind a place that is damaged differs.
        assert!(!whole.damage.is_empty() || *progress == alone.progress(), "{progress:?}");
        packets += stats.packets;
        bytes += stats.bytes;
        let others = SourceStats { packets: stats.packets, bytes: stats.bytes, ..SourceStats::default() };
        assert!(engine == 0 || *stats == others, "{stats:?}");
    }
    assert_eq!(SourceStats { packets, bytes, ..engines[0].1.clone() }, whole);
}

/// A record of a file: seconds since the one before, which may be negative, bytes held, and the last of them.
type Sketch = (i8, u32, u8);

fn lengths() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => 0_u32..200,
        4 => 200_u32..2_000,
        1 => 2_000_u32..70_000,
        // The largest that is taken, and the smallest that is passed over.
        1 => 262_144_u32..262_146,
    ]
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    proptest::collection::vec((-1_i8..4, lengths(), any::<u8>()), 0..120)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Pcap(Order),
    Pcapng,
}

/// What becomes of the end of a file.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    /// That share of it is missing.
    Cut(f64),
    /// That share of it is followed by what is no record.
    Broken(f64),
}

#[derive(Clone, Debug)]
struct Sketched {
    kind: Kind,
    begin: u32,
    records: Vec<Sketch>,
    fate: Fate,
}

impl Sketched {
    fn bytes(&self) -> Vec<u8> {
        let mut secs = i64::from(self.begin);
        let mut records = Vec::new();
        for (index, &(step, len, last)) in self.records.iter().enumerate() {
            secs = (secs + i64::from(step)).max(0);
            let mut data = vec![index as u8; len as usize];
            if let Some(byte) = data.last_mut() {
                *byte = last;
            }
            records.push((secs as u32, data));
        }
        let mut bytes = match self.kind {
            Kind::Pcap(order) => {
                let magic = if order == Order::Little { MICROS } else { NANOS };
                let file = Pcap::with(order, magic, (2, 4), 300_000, 1);
                records.iter().fold(file, |file, (secs, data)| file.packet(*secs, 5, data)).bytes
            }
            Kind::Pcapng => {
                let file = Pcapng::new(Order::Little).interface(1, 0, &[]);
                let add = |file: Pcapng, (secs, data): &(u32, Vec<u8>)| {
                    // Blocks without packets lie between those with.
                    let file = if data.len() % 3 == 0 { file.block(0x0BAD, &vec![0; data.len() / 2]) } else { file };
                    file.packet(0, u64::from(*secs) * 1_000_000, data)
                };
                records.iter().fold(file, add).bytes
            }
        };
        let keep = |share: f64| ((bytes.len() as f64 * share) as usize).max(24);
        match self.fate {
            Fate::Whole => {}
            Fate::Cut(share) => bytes.truncate(keep(share)),
            Fate::Broken(share) => {
                bytes.truncate(keep(share));
                bytes.extend([0xEE; 40]);
            }
        }
        bytes
    }
}

fn files() -> impl Strategy<Value = Vec<Sketched>> {
    let kind = prop_oneof![Just(Kind::Pcap(Order::Little)), Just(Kind::Pcap(Order::Big)), Just(Kind::Pcapng)];
    let fate = prop_oneof![
        3 => Just(Fate::Whole),
        1 => (0.1..1.0).prop_map(Fate::Cut),
        1 => (0.1..1.0).prop_map(Fate::Broken),
    ];
    let file = (kind, 0_u32..200, sketches(), fate).prop_map(|(kind, begin, records, fate)| Sketched {
        kind,
        begin,
        records,
        fate,
    });
    proptest::collection::vec(file, 1..4)
}

fn ways() -> impl Strategy<Value = Way> {
    // What tells a capture from other files is in the first block.
    let block = prop_oneof![4_u32..100, 100_u32..5_000, 5_000_u32..300_000];
    let pauses = proptest::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1_u64..3_000], 1..4);
    (1_usize..6, block, pauses).prop_map(|(engines, block, pauses)| Way { engines, block, pauses })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn engines_read_by_turns_what_one_reads(
        files in files(),
        way in ways(),
        filter in prop_oneof![3 => Just(None), 1 => Just(Some("greater 100".to_owned()))],
        snaplen in prop_oneof![3 => Just(None), 1 => Just(Some(60))],
        rounds in 1_u64..3,
    ) {
        let scratch = Scratch::new();
        let paths: Vec<_> = files.iter().enumerate().map(|(i, file)| scratch.file(&i.to_string(), &file.bytes())).collect();
        let options = FileOptions { filter, snaplen, rounds: NonZeroU64::new(rounds).unwrap() };
        // Blocks of a few bytes make many chunks out of a large file.
        let total: usize = files.iter().map(|file| file.bytes().len()).sum();
        let way = Way { block: way.block.max(total as u32 / 5_000), ..way };
        assert_same(&paths, &options, &way);
    }
}

#[test]
fn damaged_and_odd_captures_end_where_they_end_for_one_engine() {
    let Some(directory) = real_captures() else { return };
    let mut count = 0;
    for folder in ["good", "bad"] {
        for entry in std::fs::read_dir(directory.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_small = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() < 4 << 20);
            if !is_small || FileSource::open(std::slice::from_ref(&path), &FileOptions::default()).is_err() {
                continue;
            }
            let is_plain = path.extension().is_none_or(|kind| kind != "gz" && kind != "zst");
            if is_plain {
                assert_same(&[path], &FileOptions::default(), &Way { engines: 3, block: 1_000, pauses: vec![0] });
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// Packets of two flows by turns, 200 bytes each.
fn of_two_flows(scratch: &Scratch, count: u32) -> PathBuf {
    let file = (0..count).fold(Pcap::new(Order::Little, MICROS), |file, i| {
        let mut data = [0; 200];
        data[..4].copy_from_slice(&i.to_le_bytes());
        // These two hashes lie in different halves.
        data[199] = (i % 2) as u8;
        file.packet(i, 0, &data)
    });
    scratch.file("two flows", &file.bytes)
}

#[test]
fn a_chunk_whose_reader_does_not_come_for_it_is_read_by_whoever_waits() {
    let scratch = Scratch::new();
    let path = of_two_flows(&scratch, 60_000);
    let way = Way { engines: 3, block: 4_096, pauses: vec![0] };
    for gone in 0..3 {
        let mut sources = open(std::slice::from_ref(&path), &FileOptions::default(), &way);
        // It has taken on chunks when it goes.
        let mut batch = Batch::new();
        let mut leaving = sources.remove(gone);
        let _ = leaving.fill(&mut batch).unwrap();
        drop(leaving);
        let threads: Vec<_> =
            sources.into_iter().map(|mut source| std::thread::spawn(move || drain(&mut source).0.len())).collect();
        let read: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(read >= 30_000, "{read}");
    }
}

#[test]
fn an_engine_in_the_hands_of_a_slow_script_holds_nobody_up_before_the_lead_is_used_up() {
    let scratch = Scratch::new();
    // 6 MB, less than one engine may be ahead.
    let path = of_two_flows(&scratch, 28_000);
    let mut sources = TurnSource::split(FileSource::open(&[path], &FileOptions::default()).unwrap(), 2, last_bytes);
    let mut slow = sources.pop().unwrap();
    let mut fast = sources.pop().unwrap();
    let mut batch = Batch::new();
    assert_eq!(slow.fill(&mut batch).unwrap(), Fill::Packets);
    // The slow one does not move until the fast one is through.
    assert_eq!(drain(&mut fast).0.len(), 14_000);
    let rest = drain_rest(&mut slow);
    assert_eq!(batch.len() + rest, 14_000);
}

fn drain_rest(source: &mut TurnSource) -> usize {
    let (mut batch, mut count) = (Batch::new(), 0);
    loop {
        match source.fill(&mut batch).unwrap() {
            Fill::End => return count,
            _ => count += batch.len(),
        }
    }
}
