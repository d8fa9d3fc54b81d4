//! Makes the large captures of the benchmarks: `mixed.pcap` and `small.pcap` out of small ones, and `flows.pcap`,
//! `live-1000.pcap`, `live-1000000.pcap` and `http.pcap`, which are made up.
//!
//! Run as `bench-captures FOLDER [MIXED_MIB] [SMALL_PACKETS] [FLOW_PACKETS] [HTTP_MIB]`; with 0 for a number its captures
//! are not made. `flows.pcap` has a flow for every five packets, the last two half as many packets. Packets of the first two come from the captures beside the checkout, where
//! they exist, and from `pcaps/`. Only plain ones are taken: Ethernet with up to two VLAN tags, whole, IP without
//! extension headers, fragments or tunnels, so that a simple program can decode all of them. They are repeated in
//! rounds; each round has other addresses and later times. Checksums are left as they were. The same input gives the
//! same output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

#[path = "captures/flows.rs"]
mod flows;
#[path = "captures/http.rs"]
mod http;

/// Average length the mixed capture aims at.
const MIXED_AVERAGE: u64 = 550;
/// Distinct hosts to stay below, so that no table of either side has to drop keys.
const MAX_HOSTS: usize = 40_000;
/// First second of both captures, and the time between two packets in microseconds.
const START_SECS: u32 = 1_768_467_600;
const STEP_MICROS: u64 = 20;

/// The usable packets of one small capture.
struct Source {
    packets: Vec<Vec<u8>>,
    bytes: u64,
}

impl Source {
    fn average(&self) -> u64 {
        self.bytes / self.packets.len() as u64
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "target/bench".to_owned()));
    let mut number = |default: u64| match args.next() {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| io::Error::other(format!("not a number: {text}"))),
    };
    let (mixed_bytes, small_packets) = (number(1_000)? << 20, number(10_000_000)?);
    let (flow_packets, http_bytes) = (number(10_000_000)?, number(500)? << 20);
    fs::create_dir_all(&folder)?;
    if mixed_bytes + small_packets > 0 {
        let sources = load_sources()?;
        if mixed_bytes > 0 {
            mixed(&folder.join("mixed.pcap"), &sources, mixed_bytes)?;
        }
        if small_packets > 0 {
            small(&folder.join("small.pcap"), &sources, small_packets)?;
        }
    }
    if flow_packets > 0 {
        flows::many(&folder.join("flows.pcap"), flow_packets)?;
        for count in [1_000, 1_000_000] {
            flows::live(&folder.join(format!("live-{count}.pcap")), count, flow_packets / 2)?;
        }
    }
    if http_bytes > 0 {
        http::downloads(&folder.join("http.pcap"), http_bytes)?;
    }
    Ok(())
}

fn load_sources() -> io::Result<Vec<Source>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["../shared/pcaps/good", "pcaps"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries {
            paths.push(entry?.path());
        }
    }
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "pcap")) {
        let packets = packets_of(&fs::read(path)?);
        if !packets.is_empty() {
            let bytes = packets.iter().map(|p| p.len() as u64).sum();
            sources.push(Source { packets, bytes });
        }
    }
    if sources.is_empty() {
        return Err(io::Error::other("no captures found; run cargo run --example make-pcaps"));
    }
    Ok(sources)
}

/// Plain, complete packets of a little-endian Ethernet pcap; none of any other file.
fn packets_of(file: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| file.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let magic = word(0);
    if !matches!(magic, Some(0xA1B2_C3D4 | 0xA1B2_3C4D)) || word(20) != Some(1) {
        return Vec::new();
    }
    let mut packets = Vec::new();
    let mut at = 24;
    while let (Some(kept), Some(original)) = (word(at + 8), word(at + 12)) {
        let Some(bytes) = file.get(at + 16..at + 16 + kept as usize) else {
            break;
        };
        if kept == original && is_plain(bytes) {
            packets.push(bytes.to_vec());
        }
        at += 16 + kept as usize;
    }
    packets
}

/// Where the IP header starts, and its version; nothing for packets without one.
fn ip_header(packet: &[u8]) -> Option<(usize, u8)> {
    let mut at = 12;
    for _ in 0..=2 {
        match packet.get(at..at + 2)? {
            [0x81, 0x00] | [0x88, 0xA8] => at += 4,
            [0x08, 0x00] => return Some((at + 2, 4)),
            [0x86, 0xDD] => return Some((at + 2, 6)),
            _ => return None,
        }
    }
    None
}

fn is_plain(packet: &[u8]) -> bool {
    if !(60..=1_518).contains(&packet.len()) {
        return false;
    }
    let Some((ip, version)) = ip_header(packet) else {
        return packet[12..14] == [0x08, 0x06];
    };
    let Some(header) = packet.get(ip..ip + if version == 4 { 20 } else { 40 }) else {
        return false;
    };
    let be16 = |b: &[u8]| usize::from(u16::from_be_bytes([b[0], b[1]]));
    let (length, total, protocol) = if version == 4 {
        if header[0] >> 4 != 4 || be16(&header[6..8]) & 0x3FFF != 0 {
            return false;
        }
        (usize::from(header[0] & 15) * 4, be16(&header[2..4]), header[9])
    } else {
        if header[0] >> 4 != 6 {
            return false;
        }
        (40, 40 + be16(&header[4..6]), header[6])
    };
    if length < 20 || total < length || ip + total > packet.len() {
        return false;
    }
    let transport = &packet[ip + length..ip + total];
    match protocol {
        1 | 58 => transport.len() >= 8,
        6 => {
            let words = transport.get(12).map_or(0, |b| usize::from(b >> 4));
            words >= 5 && transport.len() >= words * 4
        }
        17 => {
            // Ports of tunnels, which a full decoder would look into.
            let tunnel = |port| matches!(port, 2_152 | 4_789 | 6_081 | 3_544 | 4_754 | 8_472);
            transport.len() >= 8
                && be16(&transport[4..6]) <= transport.len()
                && !tunnel(be16(&transport[0..2]))
                && !tunnel(be16(&transport[2..4]))
        }
        _ => false,
    }
}

/// Changes both addresses in the same way, so that the two directions of a flow stay one flow.
fn vary(packet: &mut [u8], variant: u32) {
    let mask = variant.wrapping_mul(0x9E37_79B1).to_be_bytes();
    let flip = |bytes: &mut [u8]| bytes.iter_mut().zip(&mask[..2]).for_each(|(b, m)| *b ^= m);
    match ip_header(packet) {
        // The middle bytes: first and last keep what kind of address it is.
        Some((at, 4)) => {
            flip(&mut packet[at + 13..at + 15]);
            flip(&mut packet[at + 17..at + 19]);
        }
        Some((at, 6)) => {
            flip(&mut packet[at + 8 + 4..at + 8 + 6]);
            flip(&mut packet[at + 24 + 4..at + 24 + 6]);
        }
        _ => {}
    }
}

struct Output {
    file: BufWriter<File>,
    packets: u64,
    bytes: u64,
    step_micros: u64,
    scratch: Vec<u8>,
}

impl Output {
    fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        for word in [0xA1B2_C3D4u32, 0x0004_0002, 0, 0, 262_144, 1] {
            file.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { file, packets: 0, bytes: 24, step_micros: STEP_MICROS, scratch: Vec::new() })
    }

    fn packet(&mut self, packet: &[u8], variant: u32) -> io::Result<()> {
        let micros = self.packets * self.step_micros;
        let length = packet.len() as u32;
        let secs = START_SECS + (micros / 1_000_000) as u32;
        for word in [secs, (micros % 1_000_000) as u32, length, length] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(packet);
        vary(&mut self.scratch, variant);
        self.packets += 1;
        self.bytes += 16 + u64::from(length);
        self.file.write_all(&self.scratch)
    }

    fn finish(mut self, path: &Path) -> io::Result<()> {
        self.file.flush()?;
        let average = (self.bytes - 24 - 16 * self.packets) / self.packets.max(1);
        let (packets, bytes) = (self.packets, self.bytes);
        writeln!(io::stdout().lock(), "{}: {packets} packets, {bytes} bytes, average {average}", path.display())
    }
}

/// How often the addresses of these packets can be varied before there are too many hosts.
fn variants<'a>(packets: impl Iterator<Item = &'a Vec<u8>>) -> u32 {
    let mut hosts = std::collections::HashSet::new();
    for packet in packets {
        match ip_header(packet) {
            Some((at, 4)) => hosts.extend([packet[at + 12..at + 16].to_vec(), packet[at + 16..at + 20].to_vec()]),
            Some((at, 6)) => hosts.extend([packet[at + 8..at + 24].to_vec(), packet[at + 24..at + 40].to_vec()]),
            _ => {}
        }
    }
    (MAX_HOSTS / hosts.len().max(1)).max(1) as u32
}

/// Whole captures in turn: one of small packets when the average is above the aim, one of large packets otherwise.
fn mixed(path: &Path, sources: &[Source], wanted: u64) -> io::Result<()> {
    let (large, small): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| source.average() >= MIXED_AVERAGE);
    let variants = variants(sources.iter().flat_map(|source| &source.packets));
    let mut next = [0usize; 2];
    let mut output = Output::create(path)?;
    while output.bytes < wanted {
        let average = (output.bytes - 16 * output.packets) / output.packets.max(1);
        let pick = usize::from(average > MIXED_AVERAGE);
        let list = match pick {
            _ if large.is_empty() => &small,
            _ if small.is_empty() => &large,
            0 => &large,
            _ => &small,
        };
        let source = list[next[pick] % list.len()];
        let round = next[pick] / list.len();
        next[pick] += 1;
        for packet in &source.packets {
            output.packet(packet, round as u32 % variants)?;
        }
    }
    output.finish(path)
}

/// All packets of 60 to 100 bytes, over and over.
fn small(path: &Path, sources: &[Source], wanted: u64) -> io::Result<()> {
    let pool: Vec<&Vec<u8>> = sources.iter().flat_map(|source| &source.packets).filter(|p| p.len() <= 100).collect();
    let variants = variants(pool.iter().copied());
    let mut output = Output::create(path)?;
    'all: for round in 0.. {
        for packet in &pool {
            if output.packets == wanted {
                break 'all;
            }
            output.packet(packet, round % variants)?;
        }
    }
    output.finish(path)
}
