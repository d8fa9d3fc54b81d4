//! The pcap file format: both byte orders, microseconds and nanoseconds, and the old variants libpcap still reads.

use super::record::{ByteOrder, Cut, DamageReason, Format, MAX_CAPLEN, Record, Step, linktype_from, u16_at, u32_at};
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Bytes of the file header.
pub(super) const FILE_HEADER_LEN: usize = 24;
/// A record above this is damage even if the snaplen of the file allows for it: no such packet exists.
const MAX_PLAUSIBLE_CAPLEN: u32 = 16 * 1024 * 1024;

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Written by a patched libpcap of the 1990s; its record headers are 8 bytes longer.
const MAGIC_PATCHED: u32 = 0xa1b2_cd34;

/// Which of the two lengths of a record header comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LengthOrder {
    /// Captured, then on the wire: since version 2.4.
    CapturedFirst,
    /// On the wire, then captured: before version 2.3.
    WireFirst,
    /// Either: version 2.3. The smaller one is the captured length.
    Unclear,
}

/// How the headers of a file's records are laid out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    order: ByteOrder,
    header_len: u32,
    length_order: LengthOrder,
}

/// What nearly all files have that were written on a machine like this one.
const USUAL: Shape = Shape { order: ByteOrder::Host, header_len: 16, length_order: LengthOrder::CapturedFirst };

/// Reads records of a pcap file.
#[derive(Debug)]
pub(super) struct PcapFile {
    shape: Shape,
    nanos_per_tick: i64,
    snaplen: u32,
    linktype: LinkType,
}

/// A file with the usual headers: a loop over its records asks none of them how it is laid out.
#[derive(Debug)]
pub(super) struct UsualPcap<'a>(&'a mut PcapFile);

/// True if `magic`, as read in host order, starts a pcap file of either byte order.
pub(super) const fn is_magic(magic: u32) -> bool {
    is_native_magic(magic) || is_native_magic(magic.swap_bytes())
}

const fn is_native_magic(magic: u32) -> bool {
    matches!(magic, MAGIC_MICROS | MAGIC_NANOS | MAGIC_PATCHED)
}

/// Byte order of a file from its first four bytes, which are a magic number.
fn order_of(header: &[u8]) -> ByteOrder {
    if is_native_magic(u32_at(header, 0, ByteOrder::Host)) { ByteOrder::Host } else { ByteOrder::Foreign }
}

impl Shape {
    /// Captured length and length on the wire.
    #[inline(always)]
    fn lengths(self, header: &[u8; 16]) -> (u32, u32) {
        let (first, second) = (u32_at(header, 8, self.order), u32_at(header, 12, self.order));
        match self.length_order {
            LengthOrder::CapturedFirst => (first, second),
            LengthOrder::WireFirst => (second, first),
            LengthOrder::Unclear => (first.min(second), first.max(second)),
        }
    }
}

impl PcapFile {
    /// From the file header.
    pub fn new(header: &[u8; FILE_HEADER_LEN]) -> Result<Self, DamageReason> {
        let order = order_of(header);
        let magic = u32_at(header, 0, order);
        let (major, minor) = (u16_at(header, 4, order), u16_at(header, 6, order));
        // 543.0 was written by one vendor's monitor, with the lengths in the old order.
        if major != 2 && (major, minor) != (543, 0) {
            return Err(DamageReason::Version { major, minor });
        }
        let length_order = match minor {
            _ if major == 543 => LengthOrder::WireFirst,
            0..3 => LengthOrder::WireFirst,
            3 => LengthOrder::Unclear,
            _ => LengthOrder::CapturedFirst,
        };
        Ok(Self {
            shape: Shape { order, header_len: if magic == MAGIC_PATCHED { 24 } else { 16 }, length_order },
            nanos_per_tick: if magic == MAGIC_NANOS { 1 } else { 1_000 },
            snaplen: u32_at(header, 16, order),
            linktype: linktype_from(u32_at(header, 20, order)),
        })
    }

    /// The same for a file with the usual headers.
    pub fn usual(&mut self) -> Option<UsualPcap<'_>> {
        (self.shape == USUAL).then_some(UsualPcap(self))
    }

    /// Type of the first layer of all packets.
    pub const fn linktype(&self) -> LinkType {
        self.linktype
    }

    /// The packet of a record whose lengths have been checked.
    #[inline(always)]
    fn record(&self, shape: Shape, header: &[u8; 16], caplen: u32, wirelen: u32) -> Record {
        // Fractions above one second carry over, as written by tools that add to a time without normalising it. Both
        // parts are 32-bit numbers: no overflow, so none of the checks of other constructors.
        let fraction = i64::from(u32_at(header, 4, shape.order)) * self.nanos_per_tick;
        let secs = i64::from(u32_at(header, 0, shape.order));
        Record {
            len: shape.header_len + caplen,
            data: shape.header_len,
            caplen,
            wirelen: wirelen.max(caplen),
            ts: Timestamp::from_nanos(secs * 1_000_000_000 + fraction),
            linktype: self.linktype,
        }
    }

    /// The packet at the start of `bytes` in the plain case. Apart from [`Format::step`] because the compiler builds a step
    /// in memory before it looks at it.
    #[inline(always)]
    fn plain(&self, shape: Shape, bytes: &[u8]) -> Option<Record> {
        let header = bytes.first_chunk::<16>()?;
        let (caplen, wirelen) = shape.lengths(header);
        let is_plain = caplen > 0 && caplen <= MAX_CAPLEN && bytes.len() >= (shape.header_len + caplen) as usize;
        is_plain.then(|| self.record(shape, header, caplen, wirelen))
    }

    /// A record whose captured length is above [`MAX_CAPLEN`].
    #[cold]
    fn oversize(&self, caplen: u32) -> Step {
        // Many writers leave 0 or all ones in the snaplen field; that promises nothing.
        let promised = if self.snaplen > MAX_PLAUSIBLE_CAPLEN { 0 } else { self.snaplen };
        let limit = promised.max(MAX_CAPLEN);
        if caplen > limit {
            return Step::Damaged(DamageReason::Caplen { caplen, limit });
        }
        Step::Oversize(u64::from(self.shape.header_len) + u64::from(caplen))
    }

    /// True if what looks like a record without bytes is the header of another file: magic number, then version 2.4.
    #[cold]
    fn is_second_file(header: &[u8]) -> bool {
        let order = order_of(header);
        is_magic(u32_at(header, 0, ByteOrder::Host)) && u16_at(header, 4, order) == 2 && u16_at(header, 6, order) == 4
    }
}

impl Format for PcapFile {
    fn step(&mut self, bytes: &[u8]) -> Step {
        let shape = self.shape;
        let Some(header) = bytes.first_chunk::<16>() else {
            return Step::More { needed: shape.header_len as usize, cut: Cut::RecordHeader };
        };
        let (caplen, wirelen) = shape.lengths(header);
        if caplen > MAX_CAPLEN {
            return self.oversize(caplen);
        }
        if caplen == 0 && wirelen == 0 && Self::is_second_file(header) {
            return Step::Damaged(DamageReason::SecondFile);
        }
        let len = shape.header_len + caplen;
        if bytes.len() < len as usize {
            let cut = if bytes.len() < shape.header_len as usize { Cut::RecordHeader } else { Cut::Record };
            return Step::More { needed: len as usize, cut };
        }
        Step::Packet(self.record(shape, header, caplen, wirelen))
    }

    #[inline(always)]
    fn packet(&mut self, bytes: &[u8]) -> Option<Record> {
        self.plain(self.shape, bytes)
    }
}

impl Format for UsualPcap<'_> {
    fn step(&mut self, bytes: &[u8]) -> Step {
        self.0.step(bytes)
    }

    #[inline(always)]
    fn packet(&mut self, bytes: &[u8]) -> Option<Record> {
        self.0.plain(USUAL, bytes)
    }
}
