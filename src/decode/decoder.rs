//! Decoding of whole batches, and continuing where a script stood in.

use super::counters::{Counters, Malformed};
use super::fast;
use super::registry::Registry;
use super::walk::{Next, Walk};
use crate::memory::prefetch_from;
use crate::packet::{Batch, Layer, LinkType, Packet, ProtocolId, builtin};

/// Bytes of a packet that are read of nearly every one: those of Ethernet, IPv4 and TCP.
const HEADERS: usize = 54;
/// Packets ahead of the one at hand that memory is asked for.
const AHEAD: usize = 16;

/// A place in a packet where a script has to say how far its protocol goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Index of the packet in its batch.
    pub packet: u32,
    /// The protocol a script parses.
    pub protocol: ProtocolId,
    /// Where it starts in the packet.
    pub offset: u32,
    /// How many bytes nobody has claimed yet; padding and bytes beyond a length field are not among them.
    pub available: u32,
    /// Tunnels passed on the way.
    pub tunnels: u8,
}

impl Pending {
    /// The place behind `eaten` bytes (clamped to those available), where `next` starts.
    #[must_use]
    pub fn after(self, eaten: u32, next: ProtocolId) -> Self {
        let eaten = eaten.min(self.available);
        Self { protocol: next, offset: self.offset + eaten, available: self.available - eaten, ..self }
    }

    /// The layer of the script's protocol with `eaten` bytes (clamped to those available).
    #[must_use]
    pub fn layer(self, eaten: u32) -> Layer {
        Layer { protocol: self.protocol, offset: self.offset, len: eaten.min(self.available) }
    }
}

/// Finds layers, counts what is odd, and lists where scripts have to go on.
#[derive(Debug, Default)]
pub struct Decoder {
    counters: Counters,
    last_malformed: Option<Malformed>,
    pending: Vec<Pending>,
}

impl Decoder {
    /// A decoder with counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the layers of every packet; those found before are dropped. Replaces the list of pending places.
    pub fn decode(&mut self, registry: &Registry, batch: &mut Batch) {
        self.pending.clear();
        // Most of what engines share was read on another core, and each packet would be waited for.
        let is_far = batch.shared.is_some();
        let (bytes, packets, layers) = batch.decode_parts();
        layers.clear();
        let is_plain = registry.is_plain();
        if is_far {
            let first = packets.iter().take(AHEAD);
            first.for_each(|packet| prefetch_from::<HEADERS>(bytes, packet.offset as usize));
        }
        for index in 0..packets.len() {
            if is_far && let Some(later) = packets.get(index + AHEAD) {
                prefetch_from::<HEADERS>(bytes, later.offset as usize);
            }
            let packet = &mut packets[index];
            let data = &bytes[packet.offset as usize..][..packet.caplen as usize];
            if is_plain && packet.linktype == LinkType::ETHERNET && fast::decode(registry, data, packet, layers) {
                continue;
            }
            self.walk(registry, index, data, packet, layers);
        }
    }

    #[cold]
    fn walk(&mut self, registry: &Registry, index: usize, data: &[u8], packet: &mut Packet, layers: &mut Vec<Layer>) {
        packet.first_layer = layers.len() as u32;
        packet.layer_count = 0;
        packet.outermost = [0xFF; 8];
        let start = Pending {
            packet: index as u32,
            protocol: builtin::LINK,
            offset: 0,
            available: data.len() as u32,
            tunnels: 0,
        };
        if let Some(pending) = self.run(registry, data, packet, layers, start, Next::Link(packet.linktype)) {
            self.pending.push(pending);
        }
    }

    fn run(
        &mut self,
        registry: &Registry,
        data: &[u8],
        packet: &mut Packet,
        layers: &mut Vec<Layer>,
        from: Pending,
        next: Next,
    ) -> Option<Pending> {
        let mut walk = Walk {
            registry,
            data,
            wirelen: packet.wirelen,
            end: (from.offset as usize + from.available as usize).min(data.len()),
            fragmented: false,
            tunnels: from.tunnels,
            layers,
            first: packet.first_layer as usize,
            outermost: packet.outermost,
            counters: &mut self.counters,
            last_malformed: &mut self.last_malformed,
        };
        let stopped_at = walk.run(next, from.offset as usize);
        packet.outermost = walk.outermost;
        let found = &walk.layers[walk.first..];
        packet.layer_count = found.len() as u8;
        packet.has_others = found.iter().any(|layer| !layer.protocol.is_covered());
        stopped_at.map(|(protocol, at)| Pending {
            packet: from.packet,
            protocol,
            offset: at as u32,
            available: walk.end.saturating_sub(at) as u32,
            tunnels: walk.tunnels,
        })
    }

    /// Goes on as `from.protocol` at `from`, typically `pending.after(eaten, next)`. Returns the next place for a script:
    /// at once if `from.protocol` is a script's.
    ///
    /// Protocols that are names only, opaque bytes included, become one layer of all bytes that are left.
    #[must_use]
    pub fn resume(&mut self, registry: &Registry, batch: &mut Batch, from: Pending) -> Option<Pending> {
        if registry.is_script(from.protocol) {
            return Some(from);
        }
        let next = match from.protocol {
            builtin::ETHERNET => Next::Ethernet,
            builtin::IPV4 => Next::Ipv4,
            builtin::IPV6 => Next::Ipv6,
            builtin::ICMP => Next::Icmp(4),
            builtin::UDP => Next::Udp,
            builtin::TCP => Next::Tcp,
            other => Next::Rest(other),
        };
        let (bytes, packets, layers) = batch.decode_parts();
        let packet = packets.get_mut(from.packet as usize)?;
        let (first, count) = (packet.first_layer as usize, usize::from(packet.layer_count));
        if first + count != layers.len() {
            packet.first_layer = layers.len() as u32;
            layers.extend_from_within(first..first + count);
        }
        let data = &bytes[packet.offset as usize..][..packet.caplen as usize];
        self.run(registry, data, packet, layers, from, next)
    }

    /// Where scripts have to go on, in packet order.
    #[must_use]
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// Exchanges the list of pending places with one of the caller's, so that both keep their memory.
    pub fn swap_pending(&mut self, list: &mut Vec<Pending>) {
        std::mem::swap(&mut self.pending, list);
    }

    /// What was met so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The latest malformed header.
    #[must_use]
    pub const fn last_malformed(&self) -> Option<Malformed> {
        self.last_malformed
    }

    /// Decodes without the fast path: the reference that tests compare it with.
    #[cfg(test)]
    pub(super) fn decode_slowly(&mut self, registry: &Registry, batch: &mut Batch) {
        self.pending.clear();
        let (bytes, packets, layers) = batch.decode_parts();
        layers.clear();
        for (index, packet) in packets.iter_mut().enumerate() {
            let data = &bytes[packet.offset as usize..][..packet.caplen as usize];
            self.walk(registry, index, data, packet, layers);
        }
    }
}
