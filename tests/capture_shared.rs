//! One file input read by several engines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::path::PathBuf;

use capture_support::{MICROS, Order, Pcap, Scratch, Seen, drain, gzip, read, read_with, real_captures};
use std::num::NonZeroU64;
use std::time::Duration;

use millstream::capture::{
    FileOptions, FileSource, Fill, Limit, Limits, SharedReader, Source, SourceStats, TimeBase, open_split,
};
use millstream::packet::{Batch, Captured, Clock, Share, Tick, deal_by, engine_of};
use millstream::time::Timestamp;

/// Flow of a packet for these tests: its last byte, spread over all bits.
fn last_byte(bytes: &[u8]) -> u32 {
    u32::from(bytes.last().copied().unwrap_or(0)).wrapping_mul(0x9E37_79B9)
}

fn last_bytes(packets: &[Captured], bytes: &[u8], shares: &mut [Share], ticks: &mut Vec<Tick>) {
    deal_by(|_, bytes| last_byte(bytes), packets, bytes, shares, ticks);
}

fn numbered(scratch: &Scratch, count: u32) -> PathBuf {
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..count {
        let mut data = vec![(i * 7) as u8; (i as usize * 13) % 300 + 4];
        data[..4].copy_from_slice(&i.to_le_bytes());
        file = file.packet(i, 0, &data);
    }
    scratch.file("numbered", &file.bytes)
}

fn split(paths: &[PathBuf], engines: usize) -> Vec<impl Source + Send + 'static> {
    SharedReader::split(FileSource::open(paths, &FileOptions::default()).unwrap(), engines, last_bytes)
}

/// The ways in which engines share an input: one reads for all, or as is best for these files.
fn ways(paths: &[PathBuf], engines: usize) -> [Vec<Box<dyn Source + Send>>; 2] {
    let shared = split(paths, engines).into_iter().map(|source| Box::new(source) as Box<dyn Source + Send>);
    [shared.collect(), open_split(paths, &FileOptions::default(), engines, last_bytes).unwrap()]
}

/// Reads with one thread per engine.
fn drain_all(sources: Vec<Box<dyn Source + Send>>) -> Vec<Vec<Seen>> {
    let threads: Vec<_> =
        sources.into_iter().map(|mut source| std::thread::spawn(move || drain(&mut *source).0)).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Every engine has exactly the packets of its flows, in the order of the file.
fn assert_dealt(engines: &[Vec<Seen>], all: &[Seen]) {
    for (engine, packets) in engines.iter().enumerate() {
        let share = |packet: &&Seen| {
            let hash = last_byte(&packet.bytes);
            (u64::from(hash) * engines.len() as u64) >> 32 == engine as u64
        };
        assert!(packets.iter().eq(all.iter().filter(share)), "engine {engine}");
    }
    assert_eq!(engines.iter().map(Vec::len).sum::<usize>(), all.len());
}

#[test]
fn engines_together_get_every_packet_in_order() {
    let scratch = Scratch::new();
    let path = numbered(&scratch, 40_000);
    let (all, _) = read(&path).unwrap();
    for engines in 1..=4 {
        for sources in ways(std::slice::from_ref(&path), engines) {
            assert_dealt(&drain_all(sources), &all);
        }
    }
}

#[test]
fn merged_and_compressed_files_are_dealt_out_too() {
    let scratch = Scratch::new();
    let plain = numbered(&scratch, 9_000);
    let packed = scratch.file("packed", &gzip(&std::fs::read(&plain).unwrap()));
    let large = Pcap::with(Order::Big, MICROS, (2, 4), 262_144, 1)
        .packet(3, 0, &vec![1; 262_144])
        .packet(4, 0, &vec![2; 262_144])
        .packet(20_000, 0, b"after the others");
    let paths = [plain, packed, scratch.file("large", &large.bytes)];
    let (all, _) = read_with(&paths, &FileOptions::default()).unwrap();
    for engines in 1..=3 {
        for sources in ways(&paths, engines) {
            assert_dealt(&drain_all(sources), &all);
        }
    }
    let (alone, _) = read(&paths[2]).unwrap();
    assert_eq!(alone.len(), 3);
    for sources in ways(&paths[2..], 2) {
        assert_dealt(&drain_all(sources), &alone);
    }
}

/// A packet, by its number, or a tick, by its time and whether flows grow older by it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Packet(u32),
    Tick(Timestamp, bool),
}

/// What an engine is told, in order.
fn told(mut source: Box<dyn Source + Send>) -> Vec<Told> {
    let (mut batch, mut told) = (Batch::new(), Vec::new());
    loop {
        let fill = source.fill(&mut batch).unwrap();
        let mut ticks = batch.ticks.iter().peekable();
        for packet in batch.packets() {
            while let Some(tick) = ticks.next_if(|tick| tick.offset <= packet.offset) {
                told.push(Told::Tick(tick.time, tick.ages));
            }
            let number = batch.packet_bytes(packet)[..4].try_into().unwrap();
            told.push(Told::Packet(u32::from_le_bytes(number)));
        }
        assert!(batch.is_empty() || ticks.peek().is_none(), "none is behind the packets");
        told.extend(ticks.map(|tick| Told::Tick(tick.time, tick.ages)));
        if fill == Fill::End {
            return told;
        }
    }
}

#[test]
fn every_engine_is_told_of_the_ticks_of_all_between_its_packets() {
    let scratch = Scratch::new();
    // Close together, then with gaps, and some late; one flow alone in between, long enough for several chunks.
    let millis = |i: u32| {
        let gaps = match i % 4_000 {
            0..2_000 => 0,
            at @ 2_000..2_100 => (at - 2_000) * 700,
            at => 70_000 - at % 50 * 40,
        };
        i * 13 + i / 4_000 * 70_000 + gaps
    };
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..24_000_u32 {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&i.to_le_bytes());
        data[63] = if i / 8_000 == 1 { 7 } else { (i * i % 23) as u8 };
        file = file.packet(1_000 + millis(i) / 1_000, millis(i) % 1_000 * 1_000, &data);
    }
    let plain = scratch.file("plain", &file.bytes);
    let packed = scratch.file("packed", &gzip(&file.bytes));
    let (all, _) = read(&plain).unwrap();
    for engines in 1..=3 {
        for sources in [&plain, &packed].into_iter().flat_map(|path| ways(std::slice::from_ref(path), engines)) {
            let threads: Vec<_> = sources.into_iter().map(|source| std::thread::spawn(move || told(source))).collect();
            for (engine, thread) in threads.into_iter().enumerate() {
                let (mut clock, mut expected) = (Clock::default(), Vec::new());
                for (number, packet) in (0..).zip(&all) {
                    let (time, hash) = (Timestamp::from_nanos(packet.nanos), last_byte(&packet.bytes));
                    let tick = Tick { time, offset: 0, ages: hash != 0 };
                    expected.extend(clock.strike(&tick).then_some(Told::Tick(time, tick.ages)));
                    let is_own = engine_of(hash, engines) == engine;
                    expected.extend(is_own.then_some(Told::Packet(number)));
                }
                let is_tick = |told: &&Told| matches!(told, Told::Tick(..));
                assert!(expected.iter().filter(is_tick).count() > 1_000);
                assert!(thread.join().unwrap() == expected, "engine {engine} of {engines}");
            }
        }
    }
}

#[test]
fn real_captures_are_dealt_out() {
    let Some(directory) = real_captures() else { return };
    for name in
        ["good/g-mix.pcap", "good/g-keys.pcap", "bad/g-pcap-cut-rechdr.pcap", "good/g-pcapng-two-sections.pcapng"]
    {
        let path = directory.join(name);
        let (all, _) = read(&path).unwrap();
        for engines in 1..=4 {
            for sources in ways(std::slice::from_ref(&path), engines) {
                assert_dealt(&drain_all(sources), &all);
            }
        }
    }
}

#[test]
fn engines_that_take_turns_on_one_thread_do_not_block() {
    let scratch = Scratch::new();
    let path = numbered(&scratch, 60_000);
    let (all, _) = read(&path).unwrap();
    for sources in ways(&[path], 3) {
        assert_dealt(&take_turns(sources), &all);
    }
}

fn take_turns(mut sources: Vec<Box<dyn Source + Send>>) -> Vec<Vec<Seen>> {
    let mut batches = [Batch::new(), Batch::new(), Batch::new()];
    let mut engines = vec![Vec::new(); 3];
    // The first reads until it is held back by the full queues of the others.
    let mut ended = [false; 3];
    while ended != [true; 3] {
        for (engine, (source, batch)) in sources.iter_mut().zip(&mut batches).enumerate() {
            loop {
                match source.fill(batch).unwrap() {
                    Fill::Packets => engines[engine].extend(batch.packets().iter().map(|packet| Seen {
                        nanos: packet.ts.as_nanos(),
                        bytes: batch.packet_bytes(packet).to_vec(),
                        wirelen: packet.wirelen,
                        linktype: packet.linktype.0,
                        origin: packet.origin,
                    })),
                    Fill::Idle => break,
                    Fill::End => {
                        ended[engine] = true;
                        break;
                    }
                }
            }
        }
    }
    engines
}

#[test]
fn an_engine_that_stops_early_does_not_hold_up_the_others() {
    let scratch = Scratch::new();
    let path = numbered(&scratch, 60_000);
    let (all, _) = read(&path).unwrap();
    let mut sources = split(&[path], 2);
    let limits = Limits { count: Some(10), duration: None, time_base: TimeBase::Packets };
    let second = sources.pop().unwrap();
    let stopping = std::thread::spawn(move || drain(&mut Limit::new(second, limits)).0.len());
    let mut first = sources.pop().unwrap();
    let (packets, _) = drain(&mut first);
    assert_eq!(stopping.join().unwrap(), 10);
    let stats = first.stats();
    // Ten delivered, the rest of that batch beyond the limit, all others for an engine that had gone.
    let other = all.len() - packets.len();
    assert!(stats.engine_gone as usize >= other - 256 && stats.engine_gone as usize <= other - 10);
}

#[test]
fn the_first_engine_tells_of_the_source_as_a_whole() {
    let scratch = Scratch::new();
    let path = numbered(&scratch, 1_000);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.pop();
    for mut sources in ways(&[scratch.file("cut", &bytes)], 2) {
        let mut second = sources.pop().unwrap();
        let mut first = sources.pop().unwrap();
        let other = std::thread::spawn(move || drain(&mut *second).1);
        let (_, stats) = drain(&mut *first);
        let other = other.join().unwrap();
        assert_eq!((stats.packets + other.packets, stats.damage.len(), other.damage.len()), (999, 1, 0));
        assert_eq!(first.progress().map(|progress| progress.bytes), Some(bytes.len() as u64));
    }
}

#[test]
fn engines_that_read_for_themselves_agree_on_rounds_and_on_what_the_filter_rejects() {
    let scratch = Scratch::new();
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..5_000_u32 {
        // Every third packet is no IP, and so are the first and the last; the clock goes back now and then.
        let kind: [u8; 2] = if i % 3 == 0 || i == 4_999 { [0x08, 0x06] } else { [0x08, 0x00] };
        let mut data = vec![0; 40 + i as usize % 200];
        data[12..14].copy_from_slice(&kind);
        data[14] = 0x45;
        let last = data.len() - 1;
        data[last] = i as u8;
        file = file.packet(if i % 1_000 == 999 { i - 5 } else { i }, 0, &data);
    }
    let path = scratch.file("rounds", &file.bytes);
    let options = FileOptions { filter: Some("ip".to_owned()), snaplen: Some(60), rounds: NonZeroU64::new(3).unwrap() };
    let (all, whole) = read_with(std::slice::from_ref(&path), &options).unwrap();
    assert!(whole.filtered > 0 && whole.time_back > 0);
    for engines in 1..=3 {
        let mut sources = open_split(std::slice::from_ref(&path), &options, engines, last_bytes).unwrap();
        let (seen, stats): (Vec<_>, Vec<_>) = sources.iter_mut().map(|source| drain(&mut **source)).unzip();
        assert_dealt(&seen, &all);
        let sum = |of: fn(&SourceStats) -> u64| stats.iter().map(of).sum::<u64>();
        assert_eq!(sum(|stats| stats.packets), whole.packets);
        assert_eq!(sum(|stats| stats.bytes), whole.bytes);
        assert_eq!((sum(|stats| stats.filtered), sum(|stats| stats.time_back)), (whole.filtered, whole.time_back));
    }
}

#[test]
fn an_engine_waits_for_one_that_is_far_behind_and_for_none_that_has_gone() {
    let scratch = Scratch::new();
    // 24 MB: three times what one engine may be ahead.
    let path = numbered(&scratch, 140_000);
    let mut sources = open_split(&[path], &FileOptions::default(), 2, last_bytes).unwrap();
    let second = sources.pop().unwrap();
    let mut first = sources.pop().unwrap();
    let mut batch = Batch::new();
    while first.fill(&mut batch).unwrap() != Fill::Idle {}
    let ahead = first.progress().unwrap();
    assert!(ahead.bytes > 7 << 20 && ahead.bytes < 10 << 20, "{ahead:?}");
    drop(second);
    while first.fill(&mut batch).unwrap() != Fill::End {}
    assert_eq!(first.progress().unwrap().bytes, ahead.total);
}

#[test]
fn an_engine_without_packets_tells_how_far_it_has_read() {
    let scratch = Scratch::new();
    let mut file = Pcap::new(Order::Little, MICROS);
    for i in 0..100_000 {
        file = file.packet(i, 0, &[7; 200]);
    }
    let path = scratch.file("one flow", &file.bytes);
    for way in ways(&[path], 2) {
        let busy = usize::from(last_byte(&[7]) >> 31 == 1);
        let mut threads = Vec::new();
        let mut told = Vec::new();
        let mut idle = None;
        // The busy one waits in the middle of the file until it was told how far that is, or for long enough.
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let mut waits = Some(waits);
        for (engine, mut source) in way.into_iter().enumerate() {
            if engine == busy {
                let waits = waits.take().unwrap();
                threads.push(std::thread::spawn(move || {
                    let (mut batch, mut count) = (Batch::new(), 0);
                    loop {
                        match source.fill(&mut batch).unwrap() {
                            Fill::End => return count,
                            Fill::Idle => continue,
                            Fill::Packets if count == 0 => drop(waits.recv_timeout(Duration::from_secs(5))),
                            Fill::Packets => {}
                        }
                        count += batch.len();
                    }
                }));
            } else {
                idle = Some(source);
            }
        }
        let (mut source, mut batch) = (idle.unwrap(), Batch::new());
        while source.fill(&mut batch).unwrap() == Fill::Idle {
            told.extend(source.reached().map(|time| time.secs()));
            if !told.is_empty() {
                let _ = go_on.send(());
            }
        }
        assert_eq!(threads.pop().unwrap().join().unwrap(), 100_000);
        assert!(told.is_sorted() && told.first().is_some_and(|first| *first < 99_999), "{told:?}");
    }
}

#[test]
fn an_engine_without_packets_returns_soon_from_files_that_overlap() {
    let scratch = Scratch::new();
    let of_one_flow = |name: &str| {
        let file = (0..40_000).fold(Pcap::new(Order::Little, MICROS), |file, i| file.packet(i, 0, &[0]));
        scratch.file(name, &file.bytes)
    };
    let paths = [of_one_flow("one"), of_one_flow("two")];
    let mut sources = open_split(&paths, &FileOptions::default(), 2, last_bytes).unwrap();
    let mut without = sources.remove(1);
    let mut batch = Batch::new();
    let mut looks = 0;
    let mut before = 0;
    while without.fill(&mut batch).unwrap() == Fill::Idle {
        let read = without.progress().unwrap().bytes;
        // Two reads of a file may lie ahead of the packets.
        assert!(read - before <= 16_384 * 17 + 4 * 65_536, "{read} {before}");
        before = read;
        looks += 1;
    }
    assert!((4..=12).contains(&looks), "{looks}");
}
