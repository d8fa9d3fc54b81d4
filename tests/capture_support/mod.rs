//! Builds capture files byte by byte and reads sources to their end.
#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};

use millstream::capture::{FileOptions, FileSource, Fill, OpenError, Source, SourceStats};
use millstream::packet::{Batch, MAX_BATCH};

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// A pcap file under construction.
#[derive(Clone, Debug)]
pub struct Pcap {
    pub order: Order,
    pub bytes: Vec<u8>,
}

pub const MICROS: u32 = 0xa1b2_c3d4;
pub const NANOS: u32 = 0xa1b2_3c4d;
pub const PATCHED: u32 = 0xa1b2_cd34;

impl Pcap {
    pub fn new(order: Order, magic: u32) -> Self {
        Self::with(order, magic, (2, 4), 65_535, 1)
    }

    pub fn with(order: Order, magic: u32, version: (u16, u16), snaplen: u32, linktype: u32) -> Self {
        let mut bytes = order.u32(magic).to_vec();
        bytes.extend(order.u16(version.0));
        bytes.extend(order.u16(version.1));
        bytes.extend([0; 8]);
        bytes.extend(order.u32(snaplen));
        bytes.extend(order.u32(linktype));
        Self { order, bytes }
    }

    /// Adds a record; `fraction` in the file's unit.
    pub fn record(mut self, secs: u32, fraction: u32, lengths: (u32, u32), rest: &[u8]) -> Self {
        for value in [secs, fraction, lengths.0, lengths.1] {
            self.bytes.extend(self.order.u32(value));
        }
        self.bytes.extend(rest);
        self
    }

    pub fn packet(self, secs: u32, fraction: u32, data: &[u8]) -> Self {
        self.record(secs, fraction, (data.len() as u32, data.len() as u32), data)
    }
}

/// A pcapng file under construction.
#[derive(Clone, Debug)]
pub struct Pcapng {
    pub order: Order,
    pub bytes: Vec<u8>,
}

impl Pcapng {
    pub fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new() }.section(order)
    }

    pub fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let padded = body.len().next_multiple_of(4);
        let len = self.order.u32(padded as u32 + 12);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(len);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(len);
        self
    }

    pub fn section(mut self, order: Order) -> Self {
        self.order = order;
        let mut body = order.u32(0x1A2B_3C4D).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0A0D_0D0A, &body)
    }

    pub fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = self.order.u16(code).to_vec();
        option.extend(self.order.u16(value.len() as u16));
        option.extend(value);
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    pub fn interface(self, linktype: u16, snaplen: u32, options: &[Vec<u8>]) -> Self {
        let mut body = self.order.u16(linktype).to_vec();
        body.extend([0; 2]);
        body.extend(self.order.u32(snaplen));
        body.extend(options.concat());
        self.block(1, &body)
    }

    pub fn enhanced(self, interface: u32, ticks: u64, wirelen: u32, data: &[u8], options: &[u8]) -> Self {
        let mut body = Vec::new();
        for value in [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wirelen] {
            body.extend(self.order.u32(value));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body)
    }

    pub fn packet(self, interface: u32, ticks: u64, data: &[u8]) -> Self {
        self.enhanced(interface, ticks, data.len() as u32, data, &[])
    }

    pub fn old_packet(self, interface: u16, ticks: u64, data: &[u8]) -> Self {
        let mut body = self.order.u16(interface).to_vec();
        body.extend(self.order.u16(7));
        for value in [(ticks >> 32) as u32, ticks as u32, data.len() as u32, data.len() as u32] {
            body.extend(self.order.u32(value));
        }
        body.extend(data);
        self.block(2, &body)
    }

    pub fn simple(self, wirelen: u32, data: &[u8]) -> Self {
        let mut body = self.order.u32(wirelen).to_vec();
        body.extend(data);
        self.block(3, &body)
    }
}

/// A packet as a source delivered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub nanos: i64,
    pub bytes: Vec<u8>,
    pub wirelen: u32,
    pub linktype: u16,
    pub origin: u16,
}

/// Everything a source delivers, and its statistics afterwards.
pub fn drain(source: &mut dyn Source) -> (Vec<Seen>, SourceStats) {
    let mut batch = Batch::new();
    let mut seen = Vec::new();
    loop {
        match source.fill(&mut batch).unwrap() {
            Fill::End => break,
            Fill::Idle => assert!(batch.is_empty()),
            Fill::Packets => {
                assert!(!batch.is_empty() && batch.len() <= MAX_BATCH);
                seen.extend(batch.packets().iter().map(|packet| Seen {
                    nanos: packet.ts.as_nanos(),
                    bytes: batch.packet_bytes(packet).to_vec(),
                    wirelen: packet.wirelen,
                    linktype: packet.linktype.0,
                    origin: packet.origin,
                }));
            }
        }
    }
    assert!(batch.is_empty());
    let stats = source.stats();
    assert_eq!(stats.packets, seen.len() as u64);
    assert_eq!(stats.bytes, seen.iter().map(|packet| u64::from(packet.wirelen)).sum::<u64>());
    (seen, stats)
}

/// Reads files with options.
pub fn read_with(paths: &[PathBuf], options: &FileOptions) -> Result<(Vec<Seen>, SourceStats), OpenError> {
    Ok(drain(&mut FileSource::open(paths, options)?))
}

/// Reads one file.
pub fn read(path: &Path) -> Result<(Vec<Seen>, SourceStats), OpenError> {
    read_with(&[path.to_owned()], &FileOptions::default())
}

/// A directory for the files of one test.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Real captures, or `None` with a note where they are absent.
pub fn real_captures() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    if directory.join("MANIFEST.tsv").is_file() {
        return Some(directory);
    }
    let note = format!("skipped: no captures in {}\n", directory.display());
    std::io::stderr().write_all(note.as_bytes()).unwrap();
    None
}
