//! The pcapng file format: sections of either byte order, interfaces with their own link type and clock, and the three
//! kinds of packet blocks. All other blocks are passed over.

use super::record::{
    ByteOrder, Cut, DamageReason, Format, MAX_BLOCK, MAX_CAPLEN, Record, Step, linktype_from, u16_at, u32_at,
};
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Type of a section header block; reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MARK: u32 = 0x1A2B_3C4D;
/// Block type, length in front, length at the end.
const BLOCK_OVERHEAD: u32 = 12;
/// Bytes before the packet in an enhanced or old packet block.
const PACKET_DATA: u32 = 28;
/// Bytes before the packet in a simple packet block.
const SIMPLE_PACKET_DATA: u32 = 12;
/// Bytes before the options of an interface description.
const INTERFACE_OPTIONS: usize = 16;
/// Most interfaces of one section; a bound against files made to fill memory.
const MAX_INTERFACES: usize = 65_536;

const OPTION_END: u16 = 0;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// How many nanoseconds a tick of an interface's clock is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tick {
    /// That many nanoseconds.
    Nanos(u64),
    /// That many ticks are one nanosecond.
    PerNano(u64),
    /// 2 to the power of that many ticks are one second.
    Binary(u8),
    /// So short that no 64-bit count of them reaches a nanosecond.
    Nothing,
}

impl Tick {
    /// From the value of option `if_tsresol`.
    const fn new(resolution: u8) -> Self {
        match resolution {
            0..=9 => Self::Nanos(10u64.pow(9 - resolution as u32)),
            10..=28 => Self::PerNano(10u64.pow(resolution as u32 - 9)),
            29..=127 => Self::Nothing,
            128.. => Self::Binary(resolution & 0x7F),
        }
    }

    /// Time of that many ticks since the epoch, `offset` seconds added; saturates.
    fn timestamp(self, ticks: u64, offset: i64) -> Timestamp {
        let nanos = match self {
            Self::Nanos(nanos) => ticks.saturating_mul(nanos),
            Self::PerNano(ticks_per_nano) => ticks / ticks_per_nano,
            Self::Binary(bits) => u64::try_from((u128::from(ticks) * 1_000_000_000) >> bits).unwrap_or(u64::MAX),
            Self::Nothing => 0,
        };
        Timestamp::new(offset, i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    linktype: LinkType,
    snaplen: u32,
    tick: Tick,
    offset: i64,
}

/// Reads blocks of a pcapng file.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Time of the last packet, for simple packet blocks, which have none of their own.
    last: Timestamp,
}

impl Pcapng {
    /// Before the first section.
    pub fn new() -> Self {
        Self::default()
    }

    /// Link types of the interfaces described so far in this section.
    pub fn linktypes(&self) -> impl Iterator<Item = LinkType> + '_ {
        self.interfaces.iter().map(|interface| interface.linktype)
    }

    fn interface(&self, index: u32) -> Result<Interface, DamageReason> {
        self.interfaces
            .get(index as usize)
            .copied()
            .ok_or(DamageReason::UnknownInterface { interface: index, described: self.interfaces.len() as u32 })
    }

    fn section(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < 16 {
            return Step::More { needed: 16, cut: Cut::RecordHeader };
        }
        let mark = u32_at(bytes, 8, ByteOrder::Host);
        let order = match mark {
            BYTE_ORDER_MARK => ByteOrder::Host,
            _ if mark.swap_bytes() == BYTE_ORDER_MARK => ByteOrder::Foreign,
            _ => return Step::Damaged(DamageReason::ByteOrderMark { mark }),
        };
        let len = u32_at(bytes, 4, order);
        let (major, minor) = (u16_at(bytes, 12, order), u16_at(bytes, 14, order));
        if major != 1 {
            return Step::Damaged(DamageReason::Version { major, minor });
        }
        match whole_block(bytes, len, 28, order) {
            Ok(()) | Err(Step::Skip(_)) => {
                self.order = order;
                self.interfaces.clear();
                Step::Skip(u64::from(len))
            }
            Err(step) => step,
        }
    }

    fn describe_interface(&mut self, block: &[u8]) -> Result<(), DamageReason> {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(DamageReason::TooManyInterfaces { limit: MAX_INTERFACES as u32 });
        }
        let order = self.order;
        let mut interface = Interface {
            linktype: linktype_from(u32::from(u16_at(block, 8, order))),
            snaplen: u32_at(block, 12, order),
            tick: Tick::new(6),
            offset: 0,
        };
        each_option(&block[INTERFACE_OPTIONS..block.len() - 4], order, |code, value| match (code, value) {
            (OPTION_TIME_RESOLUTION, &[resolution, ..]) => interface.tick = Tick::new(resolution),
            (OPTION_TIME_OFFSET, &[_, _, _, _, _, _, _, _, ..]) => {
                let (first, second) = (u32_at(value, 0, order), u32_at(value, 4, order));
                let big = (order == ByteOrder::Foreign) != cfg!(target_endian = "big");
                let (high, low) = if big { (first, second) } else { (second, first) };
                interface.offset = ((u64::from(high) << 32) | u64::from(low)) as i64;
            }
            _ => {}
        })?;
        self.interfaces.push(interface);
        Ok(())
    }

    /// An enhanced packet block, or the old packet block, which differs in two fields.
    fn packet(&mut self, block: &[u8], interface: u32) -> Result<Step, DamageReason> {
        let order = self.order;
        let interface = self.interface(interface)?;
        let len = block.len() as u32;
        let (caplen, wirelen) = (u32_at(block, 20, order), u32_at(block, 24, order));
        // The caller made sure of the block's minimal length.
        if caplen > len - PACKET_DATA - 4 {
            return Err(DamageReason::CaplenOverBlock { caplen, block: len });
        }
        let options = (PACKET_DATA + caplen.next_multiple_of(4)).min(len - 4) as usize;
        if options < block.len() - 4 {
            each_option(&block[options..block.len() - 4], order, |_, _| {})?;
        }
        if caplen > MAX_CAPLEN {
            return Ok(Step::Oversize(u64::from(len)));
        }
        let ticks = (u64::from(u32_at(block, 12, order)) << 32) | u64::from(u32_at(block, 16, order));
        self.last = interface.tick.timestamp(ticks, interface.offset);
        Ok(Step::Packet(Record {
            len,
            data: PACKET_DATA,
            caplen,
            wirelen: wirelen.max(caplen),
            ts: self.last,
            linktype: interface.linktype,
        }))
    }

    fn simple_packet(&self, block: &[u8]) -> Result<Step, DamageReason> {
        let interface = self.interface(0)?;
        let len = block.len() as u32;
        let wirelen = u32_at(block, 8, self.order);
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        // The block does not say how many bytes it holds: as many as there are on the wire, up to the snaplen. A writer
        // that cut further left nothing but the block's length to go by.
        let caplen = wirelen.min(snaplen).min(len - SIMPLE_PACKET_DATA - 4);
        if caplen > MAX_CAPLEN {
            return Ok(Step::Oversize(u64::from(len)));
        }
        Ok(Step::Packet(Record {
            len,
            data: SIMPLE_PACKET_DATA,
            caplen,
            wirelen,
            ts: self.last,
            linktype: interface.linktype,
        }))
    }
}

impl Format for Pcapng {
    fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < 8 {
            return Step::More { needed: BLOCK_OVERHEAD as usize, cut: Cut::RecordHeader };
        }
        let order = self.order;
        let kind = u32_at(bytes, 0, order);
        if kind == SECTION_HEADER {
            return self.section(bytes);
        }
        let len = u32_at(bytes, 4, order);
        let minimum = match kind {
            INTERFACE_DESCRIPTION => 20,
            PACKET | ENHANCED_PACKET => PACKET_DATA + 4,
            SIMPLE_PACKET => SIMPLE_PACKET_DATA + 4,
            _ => BLOCK_OVERHEAD,
        };
        if let Err(step) = whole_block(bytes, len, minimum, order) {
            return match step {
                Step::Skip(len) if matches!(kind, PACKET | ENHANCED_PACKET | SIMPLE_PACKET) => Step::Oversize(len),
                step => step,
            };
        }
        let block = &bytes[..len as usize];
        let step = match kind {
            ENHANCED_PACKET => self.packet(block, u32_at(block, 8, order)),
            PACKET => self.packet(block, u32::from(u16_at(block, 8, order))),
            SIMPLE_PACKET => self.simple_packet(block),
            INTERFACE_DESCRIPTION => self.describe_interface(block).map(|()| Step::Skip(u64::from(len))),
            _ => Ok(Step::Skip(u64::from(len))),
        };
        step.unwrap_or_else(Step::Damaged)
    }
}

/// Checks that a block of `len` is in view as a whole and that its two lengths agree; answers with the step to take if
/// not: damage, more bytes, or passing over a block too long to hold.
#[inline]
fn whole_block(bytes: &[u8], len: u32, minimum: u32, order: ByteOrder) -> Result<(), Step> {
    if len < minimum || !len.is_multiple_of(4) {
        return Err(Step::Damaged(DamageReason::BlockLength { len, minimum }));
    }
    let size = len as usize;
    if bytes.len() < size {
        return Err(if len > MAX_BLOCK {
            Step::Skip(u64::from(len))
        } else {
            Step::More { needed: size, cut: Cut::Record }
        });
    }
    let end = u32_at(bytes, size - 4, order);
    if end != len {
        return Err(Step::Damaged(DamageReason::BlockLengthMismatch { start: len, end }));
    }
    Ok(())
}

/// Calls `visit` with every option of a block.
#[inline]
fn each_option(mut options: &[u8], order: ByteOrder, mut visit: impl FnMut(u16, &[u8])) -> Result<(), DamageReason> {
    while options.len() >= 4 {
        let (code, len) = (u16_at(options, 0, order), u16_at(options, 2, order));
        if code == OPTION_END {
            break;
        }
        let rest = &options[4..];
        let Some(value) = rest.get(..usize::from(len)) else {
            return Err(DamageReason::OptionOverrun { code, len });
        };
        visit(code, value);
        options = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Tick;
    use crate::time::Timestamp;

    #[test]
    fn every_resolution_gives_a_time_without_overflow() {
        for resolution in 0..=255 {
            for ticks in [0, 1, 1 << 20, u64::MAX] {
                for offset in [i64::MIN, -1, 0, i64::MAX] {
                    let _ = Tick::new(resolution).timestamp(ticks, offset);
                }
            }
        }
        assert_eq!(Tick::new(6).timestamp(1_500_000, 2), Timestamp::new(3, 500_000_000));
        assert_eq!(Tick::new(0).timestamp(7, 0), Timestamp::new(7, 0));
        assert_eq!(Tick::new(12).timestamp(5_000, 0), Timestamp::from_nanos(5));
        assert_eq!(Tick::new(0x80 | 20).timestamp(3 << 19, 0), Timestamp::new(1, 500_000_000));
        assert_eq!(Tick::new(127).timestamp(u64::MAX, 0), Timestamp::EPOCH);
    }
}
