//! Packets dealt out to engines.

use super::{Captured, LinkType};

/// The packets of one engine among those that were read together.
#[derive(Debug, Default)]
pub struct Share {
    /// Places behind `len` are left from earlier, so that adding a packet never makes room.
    places: Vec<Captured>,
    len: usize,
}

/// Leaves in the share of each engine the packets of its flows, in their order. The bytes are those that the packets point
/// into.
pub type Deal = fn(packets: &[Captured], bytes: &[u8], shares: &mut [Share]);

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

/// A [`Deal`] by some hash. One loop does it all: while one packet is written to its list, the next one is hashed.
#[inline(always)]
pub fn deal_by(hash: impl Fn(LinkType, &[u8]) -> u32, packets: &[Captured], bytes: &[u8], shares: &mut [Share]) {
    let engines = shares.len();
    for share in &mut *shares {
        share.begin(packets.len());
    }
    for packet in packets {
        let start = packet.offset as usize;
        let hash = hash(packet.linktype, &bytes[start..start + packet.caplen as usize]);
        shares[engine_of(hash, engines)].push(*packet);
    }
}
