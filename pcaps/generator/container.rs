//! A list of timed frames and the two file formats it can be written in.

use super::wire;

/// First second of every capture: 2026-01-15 09:00:00 UTC.
pub const START: i64 = 1_768_467_600 * SECOND;
pub const SECOND: i64 = 1_000_000_000;
pub const MILLISECOND: i64 = 1_000_000;
pub const MICROSECOND: i64 = 1_000;

/// One captured packet; `at` counts nanoseconds since the epoch.
pub struct Frame {
    pub at: i64,
    pub bytes: Vec<u8>,
}

/// What one file holds.
#[derive(Default)]
pub struct Trace {
    pub frames: Vec<Frame>,
}

impl Trace {
    /// Adds an Ethernet frame, padded to the 60 bytes that every card sends at least.
    pub fn frame(&mut self, at: i64, mut bytes: Vec<u8>) {
        let length = bytes.len().max(60);
        bytes.resize(length, 0);
        self.frames.push(Frame { at, bytes });
    }

    /// Adds an IP packet as a frame on the office network.
    pub fn packet(&mut self, at: i64, ip: &[u8]) {
        self.frame(at, wire::on_lan(ip));
    }

    /// Adds all packets of a conversation.
    pub fn datagrams(&mut self, datagrams: &[super::conversation::Datagram]) {
        for datagram in datagrams {
            self.packet(datagram.at, &datagram.bytes);
        }
    }

    /// Puts the frames in time order; equal times keep the order in which they were added.
    pub fn sort(&mut self) {
        self.frames.sort_by_key(|frame| frame.at);
    }

    /// A little-endian pcap file of Ethernet frames with microseconds.
    pub fn to_pcap(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [0xA1B2_C3D4u32, 0x0004_0002, 0, 0, 262_144, 1] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for frame in &self.frames {
            let length = word(frame.bytes.len());
            let micros = frame.at % SECOND / MICROSECOND;
            for field in [word(frame.at / SECOND), word(micros), length, length] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            out.extend_from_slice(&frame.bytes);
        }
        out
    }
}

/// A number as the 32-bit word of a file header.
pub fn word(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or_else(|_| panic!("fields of generated files fit 32 bits"))
}

/// One block of a pcapng file: type, length, body padded to words, length again.
pub fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = word(padded + 12).to_le_bytes();
    let mut out = [&kind.to_le_bytes()[..], &length, body].concat();
    out.resize(8 + padded, 0);
    out.extend_from_slice(&length);
    out
}

/// One option of a pcapng block, padded to words.
pub fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut out = [&code.to_le_bytes()[..], &wire::len16(value).to_le_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
