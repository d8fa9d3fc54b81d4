//! One file input read by several engines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::path::PathBuf;

use capture_support::{MICROS, Order, Pcap, Scratch, Seen, drain, gzip, read, read_with, real_captures};
use millstream::capture::{FileOptions, FileSource, Fill, Limit, Limits, SharedReader, Source, TimeBase};
use millstream::packet::{Batch, LinkType};

/// Flow of a packet for these tests: its last byte, spread over all bits.
fn last_byte(_: LinkType, bytes: &[u8]) -> u32 {
    u32::from(bytes.last().copied().unwrap_or(0)).wrapping_mul(0x9E37_79B9)
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
    SharedReader::split(FileSource::open(paths, &FileOptions::default()).unwrap(), engines, last_byte)
}

/// Reads with one thread per engine.
fn drain_all(sources: Vec<impl Source + Send + 'static>) -> Vec<Vec<Seen>> {
    let threads: Vec<_> =
        sources.into_iter().map(|mut source| std::thread::spawn(move || drain(&mut source).0)).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Every engine has exactly the packets of its flows, in the order of the file.
fn assert_dealt(engines: &[Vec<Seen>], all: &[Seen]) {
    for (engine, packets) in engines.iter().enumerate() {
        let share = |packet: &&Seen| {
            let hash = last_byte(LinkType(packet.linktype), &packet.bytes);
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
        assert_dealt(&drain_all(split(std::slice::from_ref(&path), engines)), &all);
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
        assert_dealt(&drain_all(split(&paths, engines)), &all);
    }
    let (alone, _) = read(&paths[2]).unwrap();
    assert_eq!(alone.len(), 3);
    assert_dealt(&drain_all(split(&paths[2..], 2)), &alone);
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
            assert_dealt(&drain_all(split(std::slice::from_ref(&path), engines)), &all);
        }
    }
}

#[test]
fn engines_that_take_turns_on_one_thread_do_not_block() {
    let scratch = Scratch::new();
    let path = numbered(&scratch, 60_000);
    let (all, _) = read(&path).unwrap();
    let mut sources = split(&[path], 3);
    let mut batch = Batch::new();
    let mut engines = vec![Vec::new(); 3];
    // The first reads until it is held back by the full queues of the others.
    let mut ended = [false; 3];
    while ended != [true; 3] {
        for (engine, source) in sources.iter_mut().enumerate() {
            loop {
                match source.fill(&mut batch).unwrap() {
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
    assert_dealt(&engines, &all);
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
    let mut sources = split(&[scratch.file("cut", &bytes)], 2);
    let mut second = sources.pop().unwrap();
    let mut first = sources.pop().unwrap();
    let other = std::thread::spawn(move || drain(&mut second).1);
    let (_, stats) = drain(&mut first);
    let other = other.join().unwrap();
    assert_eq!((stats.packets + other.packets, stats.damage.len(), other.damage.len()), (999, 1, 0));
    assert_eq!(first.progress().map(|progress| progress.bytes), Some(bytes.len() as u64));
}
