//! The captures of the project cut at every length: what is whole is read and decoded as ever, what is cut is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use capture_support::{Scratch, gzip, zstd};
use millstream::capture::{Damage, DamageReason, FileOptions, FileSource, Fill, OpenError, Source};
use millstream::decode::{Counters, Decoder, Registry};
use millstream::packet::{Batch, Layer};

/// Most bytes that the lengths of one file add up to: a larger file is cut at fewer lengths.
const WORK: usize = 64 << 20;

/// What reader and decoder make of a file.
#[derive(Debug, PartialEq)]
struct Read {
    /// Time, length on the wire, bytes and layers of each packet.
    packets: Vec<(i64, u32, Vec<u8>, Vec<Layer>)>,
    counters: Counters,
    damage: Vec<Damage>,
}

fn read(path: &Path, registry: &Registry) -> Result<Read, OpenError> {
    let mut source = FileSource::open(&[path.to_owned()], &FileOptions::default())?;
    let (mut batch, mut decoder, mut packets, mut bytes) = (Batch::new(), Decoder::new(), Vec::new(), 0);
    loop {
        match source.fill(&mut batch).unwrap() {
            Fill::End => break,
            Fill::Idle => assert!(batch.is_empty()),
            Fill::Packets => {
                decoder.decode(registry, &mut batch);
                for packet in batch.packets() {
                    bytes += u64::from(packet.wirelen);
                    let (data, layers) = (batch.packet_bytes(packet).to_vec(), batch.layers(packet).to_vec());
                    packets.push((packet.ts.as_nanos(), packet.wirelen, data, layers));
                }
            }
        }
    }
    let stats = source.stats();
    assert_eq!((stats.packets, stats.bytes, stats.oversize), (packets.len() as u64, bytes, 0));
    Ok(Read { packets, counters: decoder.counters().clone(), damage: stats.damage })
}

/// Where records end, and whether each is a packet; the first is the header of a pcap file.
fn records(bytes: &[u8]) -> Vec<(usize, bool)> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut ends = Vec::new();
    let mut at = 0;
    if word(0) == 0x0A0D_0D0A {
        while at < bytes.len() {
            let kind = word(at);
            at += word(at + 4);
            ends.push((at, [2, 3, 6].contains(&kind)));
        }
    } else {
        at = 24;
        ends.push((at, false));
        while at < bytes.len() {
            at += 16 + word(at + 8);
            ends.push((at, true));
        }
    }
    assert_eq!(at, bytes.len());
    ends
}

/// All lengths; of a large file those at its start and its end, and those around every so manieth end of a record.
fn lengths(ends: &[(usize, bool)], len: usize) -> Vec<usize> {
    if len * len / 2 <= WORK {
        return (0..=len).collect();
    }
    let step = (ends.len() * len * 3).div_ceil(WORK).max(1);
    let around = |&(end, _): &(usize, bool)| [end - 1, end, end + 1, end + 15, end + 16, end + 40];
    let mut lengths: Vec<usize> = ends.iter().step_by(step).flat_map(around).collect();
    lengths.extend((0..300).chain(len - 40..=len));
    lengths.retain(|&at| at <= len);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng")).collect();
    files.sort();
    assert!(files.len() > 20);
    files
}

/// Cuts every so manieth of the captures, from one on.
fn cut_those_from(first: usize) {
    let (scratch, registry) = (Scratch::new(), Registry::new());
    for path in captures().into_iter().skip(first).step_by(4) {
        let bytes = fs::read(&path).unwrap();
        let (ends, whole) = (records(&bytes), read(&path, &registry).unwrap());
        assert_eq!(whole.damage, []);
        assert_eq!(whole.packets.len(), ends.iter().filter(|(_, is_packet)| *is_packet).count());
        // Writing it anew each time would wait for the disk.
        let cut = scratch.file("cut", &bytes);
        let file = OpenOptions::new().write(true).open(&cut).unwrap();
        for len in lengths(&ends, bytes.len()).into_iter().rev() {
            file.set_len(len as u64).unwrap();
            let here = format!("{} cut at {len}", path.display());
            let outcome = read(&cut, &registry);
            if len < 4 {
                assert!(matches!(outcome, Err(OpenError::NotACapture { .. })), "{here}");
                continue;
            }
            let found = outcome.unwrap();
            let within = ends.iter().take_while(|(end, _)| *end <= len);
            let packets = within.clone().filter(|(_, is_packet)| *is_packet).count();
            assert!(found.packets == whole.packets[..packets], "{here}");
            let last = within.last().map_or(0, |(end, _)| *end);
            if last == len {
                assert_eq!(found.damage, [], "{here}");
            } else {
                let [damage] = &found.damage[..] else { panic!("{here}: {:?}", found.damage) };
                assert_eq!((&damage.file, damage.offset, damage.packed), (&cut, last as u64, None), "{here}");
                let is_told =
                    |reason| matches!(reason, DamageReason::Truncated { found, needed, .. } if found < needed);
                assert!(is_told(damage.reason), "{here}: {damage}");
            }
            if len == bytes.len() {
                assert_eq!(found.counters, whole.counters, "{here}");
            }
        }
    }
}

#[test]
fn captures_cut_anywhere_give_their_whole_packets() {
    cut_those_from(0);
}

#[test]
fn captures_cut_anywhere_give_their_whole_packets_2() {
    cut_those_from(1);
}

#[test]
fn captures_cut_anywhere_give_their_whole_packets_3() {
    cut_those_from(2);
}

#[test]
fn captures_cut_anywhere_give_their_whole_packets_4() {
    cut_those_from(3);
}

#[test]
fn the_place_of_damage_in_a_compressed_file_is_one_of_what_is_unpacked() {
    let (scratch, registry) = (Scratch::new(), Registry::new());
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/ping.pcap")).unwrap();
    let ends = records(&bytes);
    // The capture is cut, and what packs it is whole.
    for (name, packed) in [("cut.gz", gzip(&bytes[..1_000])), ("cut.zst", zstd(&bytes[..1_000]))] {
        let found = read(&scratch.file(name, &packed), &registry).unwrap();
        let last = ends.iter().take_while(|(end, _)| *end <= 1_000).last().unwrap().0;
        let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
        assert_eq!(damage.offset, last as u64);
        let begin = format!("{name}: damaged at byte {last} of what is unpacked: the file ends inside a record");
        assert!(damage.to_string().contains(&begin), "{damage}");
    }
    // What packs it is cut. A small capture is unpacked as a whole or not at all.
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/incidents.pcap")).unwrap();
    let (ends, whole) = (records(&bytes), read(&scratch.file("whole", &bytes), &registry).unwrap());
    for packed in [gzip(&bytes), zstd(&bytes)] {
        let mut most = 0;
        for len in (4..packed.len()).step_by(packed.len() / 16).chain([packed.len() - 1]) {
            match read(&scratch.file("cut", &packed[..len]), &registry) {
                Err(OpenError::NotACapture { .. }) => {}
                Err(error) => panic!("{len}: {error}"),
                Ok(found) => {
                    assert_eq!(found.packets, whole.packets[..found.packets.len()], "{len}");
                    most = most.max(found.packets.len());
                    let [damage] = &found.damage[..] else { panic!("{len}: {:?}", found.damage) };
                    assert!(
                        damage.packed.is_some() && damage.to_string().contains(" of what is unpacked: "),
                        "{damage}"
                    );
                    let end = (!found.packets.is_empty()).then(|| ends[found.packets.len()].0);
                    assert_eq!(damage.offset, end.map_or(damage.offset, |end| end as u64), "{len}");
                }
            }
        }
        assert!(most > 0, "some packets come before the end");
    }
}
