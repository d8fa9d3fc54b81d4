//! Packets dealt out to engines.

use super::{Captured, Clock, LinkType, Tick};

/// The packets of one engine among those that were read together.
#[derive(Debug, Default)]
pub struct Share {
    /// Places behind `len` are left from earlier, so that adding a packet never makes room.
    places: Vec<Captured>,
    len: usize,
}

/// Leaves in the share of each engine the packets of its flows, in their order, and says which of them all begin a tick of
/// the clock. The bytes are those that the packets point into.
pub type Deal = fn(packets: &[Captured], bytes: &[u8], shares: &mut [Share], ticks: &mut Vec<Tick>);

impl Share {
    /// The packets.
    #[inline]
    #[must_use]
    pub fn packets(&self) -> &[Captured] {
        &self.places[..self.len]
    }

    /// Forgets them.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Begins anew, with room for so many packets.
    fn begin(&mut self, most: usize) {
        self.len = 0;
        if self.places.len() < most {
            self.places.resize(most, Captured::default());
        }
    }

    #[inline(always)]
    fn push(&mut self, packet: Captured) {
        self.places[self.len] = packet;
        self.len += 1;
    }
}

/// The engine that packets of a flow hash belong to. The high bits decide, as engines use the low ones again for their own
/// tables.
#[inline]
#[must_use]
pub fn engine_of(hash: u32, engines: usize) -> usize {
    ((u64::from(hash) * engines as u64) >> 32) as usize
}

/// A [`Deal`] by some hash, 0 for packets without a flow.
#[inline(always)]
pub fn deal_by(
    hash: impl Fn(LinkType, &[u8]) -> u32,
    packets: &[Captured],
    bytes: &[u8],
    shares: &mut [Share],
    ticks: &mut Vec<Tick>,
) {
    let engines = shares.len();
    for share in &mut *shares {
        share.begin(packets.len());
    }
    // One loop does it all: while one packet is written to its list, the next one is hashed.
    for packet in packets {
        let hash = hash_of(&hash, packet, bytes);
        shares[engine_of(hash, engines)].push(*packet);
    }
    ticks.clear();
    let mut clock = Clock::default();
    let mut due = clock.due();
    for packet in packets {
        if packet.ts >= due {
            strike(&hash, packet, bytes, &mut clock, ticks);
            due = clock.due();
        }
    }
}

#[inline(always)]
fn hash_of(hash: &impl Fn(LinkType, &[u8]) -> u32, packet: &Captured, bytes: &[u8]) -> u32 {
    let start = packet.offset as usize;
    hash(packet.linktype, &bytes[start..start + packet.caplen as usize])
}

/// Notes a packet with which a tick begins.
// By itself, as the loop over all packets has the only other copy of the hash.
#[inline(never)]
fn strike(
    hash: &impl Fn(LinkType, &[u8]) -> u32,
    packet: &Captured,
    bytes: &[u8],
    clock: &mut Clock,
    ticks: &mut Vec<Tick>,
) {
    let tick = Tick { time: packet.ts, offset: packet.offset, ages: hash_of(hash, packet, bytes) != 0 };
    if clock.strike(&tick) {
        ticks.push(tick);
    }
}
