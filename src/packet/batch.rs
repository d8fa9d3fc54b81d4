//! The unit handed between stages: up to 256 packets, their bytes and their layers.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::Arc;

use super::{Layer, LinkType, ProtocolId, Tick, builtin};
use crate::time::Timestamp;

/// Most packets a batch holds.
pub const MAX_BATCH: usize = 256;

/// A packet as it was captured: what is known before it is decoded. In little space, as lists of them go from thread to thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Capture time.
    pub ts: Timestamp,
    /// Offset of the first byte in the bytes that it came with.
    pub offset: u32,
    /// Bytes held.
    pub caplen: u32,
    /// Bytes on the wire; never below `caplen`.
    pub wirelen: u32,
    /// Type of the first layer.
    pub linktype: LinkType,
    /// Which input it came from: index of the interface or file, from 0.
    pub origin: u16,
}

/// What is known of one packet: what was captured, and its layers. Both are ranges of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    captured: Captured,
    /// First of its layers in the batch's layer list.
    pub first_layer: u32,
    /// How many layers it has.
    pub layer_count: u8,
    /// Whether one of them is of a protocol that `outermost` does not cover.
    pub has_others: bool,
    /// Index (within the packet) of the outermost layer of each built-in protocol 0..8, 0xFF if absent.
    pub outermost: [u8; 8],
}

impl Packet {
    /// A packet without layers yet.
    #[inline]
    #[must_use]
    pub const fn new(ts: Timestamp, offset: u32, caplen: u32, wirelen: u32, linktype: LinkType, origin: u16) -> Self {
        Self::undecoded(Captured { ts, offset, caplen, wirelen, linktype, origin })
    }

    #[inline]
    const fn undecoded(captured: Captured) -> Self {
        Self { captured, first_layer: 0, layer_count: 0, has_others: false, outermost: [0xFF; 8] }
    }
}

impl Deref for Packet {
    type Target = Captured;

    #[inline]
    fn deref(&self) -> &Captured {
        &self.captured
    }
}

impl Borrow<Captured> for Packet {
    #[inline]
    fn borrow(&self) -> &Captured {
        &self.captured
    }
}

impl From<Captured> for Packet {
    #[inline]
    fn from(captured: Captured) -> Self {
        Self::undecoded(captured)
    }
}

/// Up to [`MAX_BATCH`] packets. A source fills it, the decoder adds layers, the stages read it.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes of all packets, when the batch owns them. A source reads straight into it.
    pub buffer: Vec<u8>,
    /// Bytes of all packets, when several engines share one chunk; `buffer` is unused then.
    pub shared: Option<Arc<Vec<u8>>>,
    /// Where engines share the input: what its clock struck before the packets and among them, in order.
    pub ticks: Vec<Tick>,
    packets: Vec<Packet>,
    layers: Vec<Layer>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { packets: Vec::with_capacity(MAX_BATCH), layers: Vec::with_capacity(MAX_BATCH * 4), ..Self::default() }
    }

    /// Forgets packets, their layers and ticks; the bytes stay, because the next packets may already be among them.
    pub fn clear(&mut self) {
        self.ticks.clear();
        self.packets.clear();
        self.layers.clear();
    }

    /// Adds a packet; its range must lie within [`Batch::bytes`].
    #[inline]
    pub fn push(&mut self, packet: Packet) {
        debug_assert!(self.packets.len() < MAX_BATCH);
        debug_assert!(packet.offset as usize + packet.caplen as usize <= self.bytes().len());
        self.packets.push(packet);
    }

    /// True if no further packet fits.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.packets.len() >= MAX_BATCH
    }

    /// Splits the batch into what a source needs that has read into its buffer: the bytes and the list that takes their
    /// packets, [`MAX_BATCH`] of them at most.
    #[inline]
    pub fn fill_parts(&mut self) -> (&[u8], &mut Vec<Packet>) {
        (&self.buffer, &mut self.packets)
    }

    /// Number of packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// True without packets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The bytes all packets point into.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.shared {
            Some(chunk) => chunk,
            None => &self.buffer,
        }
    }

    /// All packets.
    #[inline]
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// The captured bytes of one packet.
    #[inline]
    #[must_use]
    pub fn packet_bytes(&self, packet: &Packet) -> &[u8] {
        &self.bytes()[packet.offset as usize..packet.offset as usize + packet.caplen as usize]
    }

    /// The layers of one packet, outermost first.
    #[inline]
    #[must_use]
    pub fn layers(&self, packet: &Packet) -> &[Layer] {
        &self.layers[packet.first_layer as usize..packet.first_layer as usize + packet.layer_count as usize]
    }

    /// The outermost layer of a protocol.
    #[inline]
    #[must_use]
    pub fn find_layer(&self, packet: &Packet, protocol: ProtocolId) -> Option<Layer> {
        self.find_place(packet, protocol).map(|place| self.layers[packet.first_layer as usize + place])
    }

    /// The place of the outermost layer of a protocol among those of its packet.
    #[inline]
    #[must_use]
    pub fn find_place(&self, packet: &Packet, protocol: ProtocolId) -> Option<usize> {
        if protocol.is_covered() {
            let index = packet.outermost[protocol.0 as usize];
            return (index != 0xFF).then_some(index as usize);
        }
        if !packet.has_others {
            return None;
        }
        self.layers(packet).iter().position(|layer| layer.protocol == protocol)
    }

    /// Splits the batch into what a decoder needs: the bytes, the packets and the list that takes their layers.
    #[inline]
    pub fn decode_parts(&mut self) -> (&[u8], &mut [Packet], &mut Vec<Layer>) {
        let bytes: &[u8] = match &self.shared {
            Some(chunk) => chunk,
            None => &self.buffer,
        };
        (bytes, &mut self.packets, &mut self.layers)
    }

    /// Appends a layer to a packet after decoding, as scripts that parse protocols do. The packet's layers move to the
    /// end of the list if others follow them.
    pub fn append_layer(&mut self, index: usize, layer: Layer) {
        let packet = &mut self.packets[index];
        let (first, count) = (packet.first_layer as usize, packet.layer_count as usize);
        if first + count != self.layers.len() {
            packet.first_layer = self.layers.len() as u32;
            self.layers.extend_from_within(first..first + count);
        }
        self.layers.push(layer);
        packet.has_others |= !layer.protocol.is_covered();
        if layer.protocol.is_covered() && packet.outermost[layer.protocol.0 as usize] == 0xFF {
            packet.outermost[layer.protocol.0 as usize] = packet.layer_count;
        }
        packet.layer_count += 1;
    }

    /// The packets again that the batch came with, or some of them, without layers and ticks. Their bytes must still be there.
    pub fn put_back(&mut self, packets: &[Packet]) {
        self.clear();
        self.packets.extend_from_slice(packets);
    }

    /// Keeps the first `count` packets.
    pub fn truncate(&mut self, count: usize) {
        self.packets.truncate(count);
    }
}

const _: () = assert!(builtin::LINK.0 < 8 && builtin::OPAQUE.0 < 8, "the outermost index covers protocols below 8");
