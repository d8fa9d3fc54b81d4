//! What the two file formats have in common: one step through the bytes, and what can be wrong with them.

use std::fmt;
use std::io;

use super::sniff::Compression;
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Most captured bytes of one packet, the largest snaplen of libpcap. A larger record is passed over and counted where
/// the file's own headers allow for it, and damage where they do not.
pub const MAX_CAPLEN: u32 = 262_144;

/// Most bytes a container may put around a packet; a block with more is passed over without being held.
pub(super) const MAX_BLOCK: u32 = MAX_CAPLEN + 65_536;

/// What the bytes at the current position are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A packet.
    Packet(Record),
    /// Something without a packet; move on by that much.
    Skip(u64),
    /// A packet above the limit; move on by that much and count it.
    Oversize(u64),
    /// The record needs that many bytes in view.
    More {
        /// Bytes from the current position.
        needed: usize,
        /// What would be cut if no more bytes came.
        cut: Cut,
    },
    /// The record is wrong.
    Damaged(DamageReason),
}

/// A packet within the bytes in view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    /// Bytes of the whole record or block.
    pub len: u32,
    /// Offset of the packet's first byte from the start of the record.
    pub data: u32,
    /// Bytes held.
    pub caplen: u32,
    /// Bytes on the wire, not below `caplen`.
    pub wirelen: u32,
    /// Time.
    pub ts: Timestamp,
    /// Type of the first layer.
    pub linktype: LinkType,
}

/// A file format: turns bytes into steps.
pub(super) trait Format {
    /// Reads the record at the start of `bytes`, which may be cut anywhere.
    fn step(&mut self, bytes: &[u8]) -> Step;

    /// The packet at the start of `bytes` in the plain case; `None` leaves it to [`Format::step`].
    #[inline(always)]
    fn packet(&mut self, _bytes: &[u8]) -> Option<Record> {
        None
    }
}

/// Which part of a file its end cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// The header of the file.
    FileHeader,
    /// The header of a record or block.
    #[default]
    RecordHeader,
    /// The body of a record or block.
    Record,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileHeader => "file header",
            Self::RecordHeader => "record header",
            Self::Record => "record",
        })
    }
}

/// What is wrong with a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageReason {
    /// The file ends too early.
    #[error("the file ends inside a {cut}: {found} of {needed} bytes")]
    Truncated {
        /// The part that is cut.
        cut: Cut,
        /// Bytes of it that there are.
        found: u64,
        /// Bytes it should have.
        needed: u64,
    },
    /// A captured length beyond what the file's header promises.
    #[error("captured length {caplen} is above the limit of {limit}")]
    Caplen {
        /// The length claimed.
        caplen: u32,
        /// The largest that makes sense here.
        limit: u32,
    },
    /// A captured length beyond the block it is in.
    #[error("captured length {caplen} does not fit its block of {block} bytes")]
    CaplenOverBlock {
        /// The length claimed.
        caplen: u32,
        /// Length of the block.
        block: u32,
    },
    /// A block length that cannot be.
    #[error("block length {len} is not a multiple of 4 from {minimum} up")]
    BlockLength {
        /// The length claimed.
        len: u32,
        /// The least a block of this type has.
        minimum: u32,
    },
    /// The length at a block's end differs from the one at its start.
    #[error("block length is {start} at its start and {end} at its end")]
    BlockLengthMismatch {
        /// Length at the start.
        start: u32,
        /// Length at the end.
        end: u32,
    },
    /// An option reaches beyond its block.
    #[error("option {code} of {len} bytes does not fit its block")]
    OptionOverrun {
        /// The option.
        code: u16,
        /// Length claimed.
        len: u16,
    },
    /// A byte-order mark that is none.
    #[error("byte-order mark {mark:#010x} is unknown")]
    ByteOrderMark {
        /// The mark.
        mark: u32,
    },
    /// A version of the format that is not known.
    #[error("format version {major}.{minor} is not supported")]
    Version {
        /// Major number.
        major: u16,
        /// Minor number.
        minor: u16,
    },
    /// A packet of an interface that the file has not described.
    #[error("packet of interface {interface}, but the section has only {described}")]
    UnknownInterface {
        /// The interface.
        interface: u32,
        /// How many the section described.
        described: u32,
    },
    /// More interfaces in one section than can be kept.
    #[error("more than {limit} interfaces in one section")]
    TooManyInterfaces {
        /// The limit.
        limit: u32,
    },
    /// The header of another file where a record should be.
    #[error("a second capture file is glued on; split the file here")]
    SecondFile,
    /// The compressed stream is broken or ends early.
    #[error("the {compression} stream is broken: {kind}")]
    Compressed {
        /// The compression.
        compression: Compression,
        /// What the decompressor met.
        kind: io::ErrorKind,
    },
    /// The system could not read on.
    #[error("reading failed: {kind}")]
    Read {
        /// The system's answer.
        kind: io::ErrorKind,
    },
}

impl DamageReason {
    /// A short name for counters.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Caplen { .. } => "caplen",
            Self::CaplenOverBlock { .. } => "caplen_over_block",
            Self::BlockLength { .. } => "block_length",
            Self::BlockLengthMismatch { .. } => "block_length_mismatch",
            Self::OptionOverrun { .. } => "option_overrun",
            Self::ByteOrderMark { .. } => "byte_order_mark",
            Self::Version { .. } => "version",
            Self::UnknownInterface { .. } => "unknown_interface",
            Self::TooManyInterfaces { .. } => "too_many_interfaces",
            Self::SecondFile => "second_file",
            Self::Compressed { .. } => "compressed",
            Self::Read { .. } => "read",
        }
    }
}

/// The link type for a number found in a file or reported by libpcap.
///
/// Bits above the low 16 tell the length of a frame check sequence, which stays in the packet as recorded.
pub(super) const fn linktype_from(number: u32) -> LinkType {
    // Some old files and every live handle carry the numbers of the platform instead of those of the registry.
    match number as u16 {
        12 | 14 => LinkType::RAW,
        11 => LinkType(100),
        other => LinkType(other),
    }
}

/// The number libpcap knows a link type by on this platform.
pub(super) fn platform_linktype(linktype: LinkType) -> i32 {
    match linktype.0 {
        100 => 11,
        101 => 12,
        102 => 15,
        103 => 16,
        106 => 19,
        other => i32::from(other),
    }
}

/// Byte order of a file or section, as seen from this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ByteOrder {
    /// The host's own.
    #[default]
    Host,
    /// The other one.
    Foreign,
}

/// The 16-bit number at `at`; the caller has checked the length.
#[inline(always)]
pub(super) fn u16_at(bytes: &[u8], at: usize, order: ByteOrder) -> u16 {
    let value = bytes[at..].first_chunk().map_or(0, |&chunk| u16::from_ne_bytes(chunk));
    if order == ByteOrder::Foreign { value.swap_bytes() } else { value }
}

/// The 32-bit number at `at`; the caller has checked the length.
#[inline(always)]
pub(super) fn u32_at(bytes: &[u8], at: usize, order: ByteOrder) -> u32 {
    let value = bytes[at..].first_chunk().map_or(0, |&chunk| u32::from_ne_bytes(chunk));
    if order == ByteOrder::Foreign { value.swap_bytes() } else { value }
}
