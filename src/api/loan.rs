//! What scripts see of the packets of a batch: slots that are lent for one callback.
//!
//! The structs have the layout declared in `lua/objects.lua`. A slot carries the sequence number of its packet; scripts
//! can use it while that number is the one stored in the VM's progress word. The slots form rings of several batches, so
//! that what is lent of one batch stays while others look at it.
//!
//! A slot is used again. A callback that may keep what it is lent is given a value instead, which names a slot, its number
//! at the time and the round (`lua/values.lua`): numbers start anew after a thousand million packets, rounds do not.

use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::decode::MAX_LAYERS;
use crate::packet::{Batch, Layer, MAX_BATCH, Packet, ProtocolId};
use crate::time::Timestamp;

/// Bytes a script may read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BufferSlot {
    data: *const u8,
    len: i32,
    seq: i32,
}

/// A packet as scripts see it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PacketSlot {
    raw: BufferSlot,
    wirelen: i32,
    layer_count: i32,
    origin: i32,
    reserved: i32,
    /// Capture time; taken apart only when a script asks.
    nanos: i64,
}

/// A layer as scripts see it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LayerSlot {
    buf: BufferSlot,
    /// Filled once somebody asks for the packet.
    packet: *const PacketSlot,
    protocol: i32,
    /// Of the packet: what scripts ask of it most often.
    wirelen: i32,
}

impl BufferSlot {
    /// Shows nothing, to nobody.
    pub(super) const EMPTY: Self = Self { data: ptr::null(), len: 0, seq: 0 };

    /// Shows bytes to the callback with a sequence number.
    pub(super) fn new(bytes: &[u8], seq: i32) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() as i32, seq }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The slot has been filled, and what it shows is still there.
    #[expect(unsafe_code, reason = "a view for scripts has no lifetime")]
    pub(super) const unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: they are those of a slice, which is still there, as the caller says.
        unsafe { std::slice::from_raw_parts(self.data, self.len as usize) }
    }
}

const EMPTY_BUFFER: BufferSlot = BufferSlot::EMPTY;
const EMPTY_PACKET: PacketSlot =
    PacketSlot { raw: EMPTY_BUFFER, wirelen: 0, layer_count: 0, origin: 0, reserved: 0, nanos: 0 };
const EMPTY_LAYER: LayerSlot = LayerSlot { buf: EMPTY_BUFFER, packet: ptr::null(), protocol: 0, wirelen: 0 };

/// Batches a ring holds before a slot is used again.
const RING_BATCHES: usize = 4;
/// Slots of a ring: a prime offset short of whole batches keeps a packet's place in the batch from meeting the same slot.
const RING: usize = MAX_BATCH * RING_BATCHES - 3;
/// Packets whose layers are handed out on request (`get_layer`, `find_layer`) before a slot is used again. Each has a slot for
/// every layer it may have, so that however often a script asks, none shows another layer meanwhile.
const POOL_PACKETS: usize = 64;
/// Numbers beyond this start anew with the next batch, which leaves room for all that one batch leads to.
const LAST_SEQ: i32 = i32::MAX / 2;

/// A ring of layer slots for one protocol, shared by all plugins attached to it.
#[derive(Debug)]
pub struct LayerRing {
    protocol: ProtocolId,
    // INVARIANT: all show the protocol.
    slots: Box<[LayerSlot]>,
    next: usize,
    /// Sequence number of the batch that was filled last.
    filled_for: i32,
    /// First slot and number of slots of that batch.
    range: (usize, usize),
}

/// A run of filled slots, as 0-based indices into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// First slot.
    pub first: usize,
    /// Number of slots.
    pub count: usize,
}

/// All slots of one engine.
#[derive(Debug)]
pub struct Loans {
    packets: Box<[PacketSlot]>,
    packet_base: usize,
    rings: Vec<LayerRing>,
    pool: Box<[LayerSlot]>,
    /// First slot of the packet that layers were asked of last, and its number.
    pool_base: usize,
    pool_seq: i32,
    /// Layers that protocol handlers are asked about.
    pending: Box<[LayerSlot]>,
    round: Box<AtomicI32>,
    /// Packets of the batch that were asked for one by one.
    asked: usize,
    /// Whether packets are filled along with their layers: from when every second one of a batch was asked for.
    fills_ahead: bool,
    base_seq: i32,
    /// Packets of the batch.
    count: usize,
    next_seq: i32,
}

impl Default for Loans {
    fn default() -> Self {
        Self::new()
    }
}

impl Loans {
    /// Empty rings; sequence numbers start at 1, 0 is "no packet".
    #[must_use]
    pub fn new() -> Self {
        Self {
            packets: vec![EMPTY_PACKET; RING].into_boxed_slice(),
            packet_base: 0,
            rings: Vec::new(),
            pool: vec![EMPTY_LAYER; POOL_PACKETS * MAX_LAYERS].into_boxed_slice(),
            pool_base: 0,
            pool_seq: 0,
            pending: vec![EMPTY_LAYER; MAX_BATCH].into_boxed_slice(),
            round: Box::default(),
            asked: 0,
            fills_ahead: false,
            base_seq: 1,
            count: 0,
            next_seq: 1,
        }
    }

    /// Number of slots a ring has; a VM makes one pointer for each.
    #[must_use]
    pub const fn ring_len() -> usize {
        RING
    }

    /// Starts lending the packets of a new batch; numbers from `free` on were not given out by others.
    pub fn begin(&mut self, count: usize, free: i32) {
        self.next_seq = self.next_seq.max(free);
        if self.next_seq > LAST_SEQ {
            self.start_over();
        }
        self.fills_ahead |= self.asked * 2 > self.count;
        self.asked = 0;
        self.packet_base = (self.packet_base + MAX_BATCH) % (RING - MAX_BATCH);
        self.base_seq = self.next_seq;
        self.count = count;
        self.next_seq += count.max(1) as i32;
    }

    /// Numbers start anew. No slot may be taken for one that was filled in this round, and no value for one of it.
    #[cold]
    fn start_over(&mut self) {
        self.next_seq = 1;
        self.pool_seq = 0;
        self.next_round();
        self.packets.fill(EMPTY_PACKET);
        for ring in &mut self.rings {
            ring.filled_for = 0;
            ring.range = (0, 0);
            ring.slots.iter_mut().for_each(|slot| slot.buf = BufferSlot::EMPTY);
        }
        for slots in [&mut self.pool, &mut self.pending] {
            slots.fill(EMPTY_LAYER);
        }
    }

    /// Makes every value that was given to a script stale, although the numbers of their packets may come again.
    pub fn next_round(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    /// Address of the number of the round. It stays where it is.
    #[must_use]
    pub fn round_address(&self) -> *const i32 {
        self.round.as_ptr()
    }

    /// The first number behind those of the batch.
    #[must_use]
    pub fn next_seq(&self) -> i32 {
        self.next_seq
    }

    /// Sequence number of a packet of the current batch.
    #[inline]
    #[must_use]
    pub fn seq(&self, index: usize) -> i32 {
        self.base_seq + index as i32
    }

    /// Index in the current batch of a sequence number.
    #[inline]
    #[must_use]
    pub fn index_of(&self, seq: i32) -> Option<usize> {
        let index = seq.wrapping_sub(self.base_seq);
        (seq > 0 && index >= 0 && (index as usize) < self.count).then_some(index as usize)
    }

    /// The slot of a packet, filled if it is not yet.
    #[inline]
    pub fn packet(&mut self, batch: &Batch, index: usize) -> *mut PacketSlot {
        let seq = self.seq(index);
        let slot = &mut self.packets[self.packet_base + index];
        if slot.raw.seq != seq {
            let packet = &batch.packets()[index];
            fill_packet(slot, batch.packet_bytes(packet), packet, seq);
            self.asked += 1;
        }
        slot
    }

    /// Makes the slot of the only packet of a batch show it as it has become, under a new sequence number, which is
    /// returned: whatever else was lent of it is stale.
    pub fn renew(&mut self, batch: &Batch) -> i32 {
        self.base_seq = self.next_seq;
        self.next_seq += 1;
        let packet = &batch.packets()[0];
        fill_packet(&mut self.packets[self.packet_base], batch.packet_bytes(packet), packet, self.base_seq);
        self.base_seq
    }

    /// Whether the slot of a packet is filled.
    #[cfg(test)]
    fn shows(&self, index: usize) -> bool {
        self.packets[self.packet_base + index].raw.seq == self.seq(index)
    }

    /// The ring of a protocol; made on first use. The index stays valid.
    pub fn ring(&mut self, protocol: ProtocolId) -> usize {
        if let Some(found) = self.rings.iter().position(|ring| ring.protocol == protocol) {
            return found;
        }
        let empty = LayerSlot { protocol: i32::from(protocol.0), ..EMPTY_LAYER };
        self.rings.push(LayerRing {
            protocol,
            slots: vec![empty; RING].into_boxed_slice(),
            next: 0,
            filled_for: 0,
            range: (0, 0),
        });
        self.rings.len() - 1
    }

    /// Address of a ring's first slot.
    #[must_use]
    pub fn ring_address(&self, ring: usize) -> *const LayerSlot {
        self.rings[ring].slots.as_ptr()
    }

    /// Lends the outermost layer of the ring's protocol of every packet in `from..to` that has one. The slots are filled
    /// once per batch, whoever asks.
    pub fn lend(&mut self, ring: usize, batch: &Batch, from: usize, to: usize) -> Lent {
        let stamp = self.base_seq;
        if self.rings[ring].filled_for != stamp {
            self.fill_ring(ring, batch);
            self.rings[ring].filled_for = stamp;
        }
        let (first, count) = self.rings[ring].range;
        if from == 0 && to >= batch.len() {
            return Lent { first, count };
        }
        let slots = &self.rings[ring].slots[first..first + count];
        let (low, high) = (self.seq(from), self.seq(to));
        let start = slots.partition_point(|slot| slot.buf.seq < low);
        let end = slots.partition_point(|slot| slot.buf.seq < high);
        Lent { first: first + start, count: end - start }
    }

    fn fill_ring(&mut self, ring: usize, batch: &Batch) {
        let Self { packets, rings, packet_base, base_seq, fills_ahead, .. } = self;
        let ring = &mut rings[ring];
        if ring.next + MAX_BATCH > RING {
            ring.next = 0;
        }
        let first = ring.next;
        let (bytes, protocol) = (batch.bytes(), ring.protocol);
        let packets = &mut packets[*packet_base..][..batch.len()];
        let mut free = ring.slots[first..].iter_mut();
        for (seq, (packet, packet_slot)) in (*base_seq..).zip(batch.packets().iter().zip(packets)) {
            if let Some(layer) = batch.find_layer(packet, protocol)
                && let Some(slot) = free.next()
            {
                let bytes = &bytes[packet.offset as usize..][..packet.caplen as usize];
                if *fills_ahead && packet_slot.raw.seq != seq {
                    fill_packet(packet_slot, bytes, packet, seq);
                }
                show_layer(slot, bytes, layer, (packet, packet_slot), seq);
            }
        }
        ring.next = RING - free.len();
        ring.range = (first, ring.next - first);
    }

    /// Lends a layer of a packet on request: the one with this place among its layers, which it has.
    pub fn lend_layer(&mut self, batch: &Batch, index: usize, place: usize) -> *const LayerSlot {
        let seq = self.seq(index);
        if self.pool_seq != seq {
            self.pool_base = (self.pool_base + MAX_LAYERS) % self.pool.len();
            self.pool_seq = seq;
        }
        let packet = &batch.packets()[index];
        let layer = batch.layers(packet)[place];
        let slot = &mut self.pool[self.pool_base + place.min(MAX_LAYERS - 1)];
        slot.protocol = i32::from(layer.protocol.0);
        show_layer(slot, batch.packet_bytes(packet), layer, (packet, &self.packets[self.packet_base + index]), seq);
        slot
    }

    /// Lends what a protocol handler is asked about: the bytes behind the layers of a packet. `entry` is its place in the list,
    /// which has no more entries than a batch has packets.
    pub fn lend_pending(&mut self, batch: &Batch, entry: usize, index: usize, layer: Layer) -> *const LayerSlot {
        let seq = self.seq(index);
        let slot = &mut self.pending[entry % MAX_BATCH];
        let packet = &batch.packets()[index];
        slot.protocol = i32::from(layer.protocol.0);
        show_layer(slot, batch.packet_bytes(packet), layer, (packet, &self.packets[self.packet_base + index]), seq);
        slot
    }

    /// Changes the time that scripts see of a packet.
    pub fn set_time(&mut self, batch: &Batch, index: usize, time: Timestamp) {
        self.packet(batch, index);
        self.packets[self.packet_base + index].nanos = time.as_nanos();
    }

    /// The slot of a ring that was lent with a sequence number.
    #[must_use]
    pub fn slot_of(&self, ring: usize, seq: i32) -> Option<usize> {
        let (first, count) = self.rings[ring].range;
        self.rings[ring].slots[first..first + count]
            .binary_search_by_key(&seq, |slot| slot.buf.seq)
            .ok()
            .map(|i| first + i)
    }

    /// The sequence number of a slot.
    #[must_use]
    pub fn slot_seq(&self, ring: usize, slot: usize) -> i32 {
        self.rings[ring].slots[slot].buf.seq
    }

    /// Index in the batch of the packet that a slot of the current batch shows.
    #[must_use]
    pub fn packet_of_slot(&self, ring: usize, slot: usize) -> usize {
        self.index_of(self.rings[ring].slots[slot].buf.seq).unwrap_or(0)
    }

    /// Makes the slots of a packet show layers added after they were filled.
    pub fn refresh(&mut self, batch: &Batch, index: usize) {
        let (seq, packet) = (self.seq(index), &batch.packets()[index]);
        let slot = &mut self.packets[self.packet_base + index];
        if slot.raw.seq == seq {
            slot.layer_count = i32::from(packet.layer_count);
        }
    }
}

#[inline]
fn fill_packet(slot: &mut PacketSlot, bytes: &[u8], packet: &Packet, seq: i32) {
    *slot = PacketSlot {
        raw: BufferSlot { data: bytes.as_ptr(), len: bytes.len() as i32, seq },
        wirelen: packet.wirelen as i32,
        layer_count: i32::from(packet.layer_count),
        origin: i32::from(packet.origin),
        reserved: 0,
        nanos: packet.ts.as_nanos(),
    };
}

/// Makes a slot for layers of this protocol show one of the packet with these bytes.
#[inline]
fn show_layer(
    slot: &mut LayerSlot,
    bytes: &[u8],
    layer: Layer,
    (packet, packet_slot): (&Packet, *const PacketSlot),
    seq: i32,
) {
    let bytes = &bytes[layer.offset as usize..][..layer.len as usize];
    slot.buf = BufferSlot { data: bytes.as_ptr(), len: bytes.len() as i32, seq };
    slot.packet = packet_slot;
    slot.wirelen = packet.wirelen as i32;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{LAST_SEQ, Loans, POOL_PACKETS, RING};
    use crate::packet::{Batch, Layer, LinkType, MAX_BATCH, Packet, builtin};
    use crate::time::Timestamp;

    fn batch_of(count: usize) -> Batch {
        let mut batch = Batch::new();
        batch.buffer = vec![7; 64];
        for i in 0..count {
            batch.push(Packet::new(Timestamp::new(i as i64, 0), 0, 64, 70, LinkType::ETHERNET, 0));
            if i % 2 == 0 {
                batch.append_layer(i, Layer { protocol: builtin::ETHERNET, offset: 0, len: 14 });
            }
        }
        batch
    }

    #[test]
    fn every_second_packet_is_lent_once_per_batch() {
        let batch = batch_of(10);
        let mut loans = Loans::new();
        let ring = loans.ring(builtin::ETHERNET);
        loans.begin(batch.len(), 0);
        let all = loans.lend(ring, &batch, 0, 10);
        assert_eq!(all.count, 5);
        assert_eq!(loans.lend(ring, &batch, 0, 10), all);
        let part = loans.lend(ring, &batch, 3, 7);
        assert_eq!((part.first, part.count), (all.first + 2, 2));
    }

    #[test]
    fn packets_are_filled_when_asked_for_and_ahead_once_many_were() {
        let batch = batch_of(10);
        let mut loans = Loans::new();
        let ring = loans.ring(builtin::ETHERNET);
        let filled = |loans: &Loans| (0..10).filter(|&i| loans.shows(i)).collect::<Vec<_>>();
        loans.begin(batch.len(), 0);
        loans.lend(ring, &batch, 0, 10);
        assert!(filled(&loans).is_empty());
        for index in 0..5 {
            loans.packet(&batch, index);
            loans.packet(&batch, index);
        }
        assert_eq!(filled(&loans), [0, 1, 2, 3, 4]);
        loans.begin(batch.len(), 0);
        loans.lend(ring, &batch, 0, 10);
        assert!(filled(&loans).is_empty(), "half of the packets are not many");
        for index in 0..6 {
            loans.packet(&batch, index);
        }
        loans.begin(batch.len(), 0);
        loans.lend(ring, &batch, 0, 10);
        assert_eq!(filled(&loans), [0, 2, 4, 6, 8], "those that have the layer");
    }

    #[test]
    fn a_slot_meets_another_number_before_it_is_used_again() {
        let batch = batch_of(MAX_BATCH);
        let mut loans = Loans::new();
        let ring = loans.ring(builtin::ETHERNET);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..50 {
            loans.begin(batch.len(), 0);
            let lent = loans.lend(ring, &batch, 0, MAX_BATCH);
            assert!(lent.first + lent.count <= RING);
            for i in lent.first..lent.first + lent.count {
                let seq = loans.rings[ring].slots[i].buf.seq;
                assert_ne!(seen.insert(i, seq), Some(seq));
                assert_eq!(loans.index_of(seq).map(|i| i % 2), Some(0));
            }
        }
    }

    #[test]
    fn a_layer_that_is_asked_for_again_is_the_same_however_many_were() {
        let mut batch = batch_of(2);
        batch.append_layer(0, Layer { protocol: builtin::IPV4, offset: 14, len: 20 });
        let mut loans = Loans::new();
        loans.begin(batch.len(), 0);
        let first = [0, 1].map(|place| loans.lend_layer(&batch, 0, place));
        assert_ne!(first[0], first[1]);
        for _ in 0..100 * POOL_PACKETS {
            assert_eq!([0, 1].map(|place| loans.lend_layer(&batch, 0, place)), first);
        }
        loans.begin(batch.len(), 0);
        assert_ne!(loans.lend_layer(&batch, 0, 0), first[0], "the next packet's");
    }

    #[test]
    fn numbers_that_start_anew_belong_to_another_round_and_meet_no_filled_slot() {
        let batch = batch_of(10);
        let mut loans = Loans::new();
        let ring = loans.ring(builtin::ETHERNET);
        loans.begin(batch.len(), 0);
        assert_eq!(loans.lend(ring, &batch, 0, 10).count, 5);
        loans.packet(&batch, 0);
        let (first, round) = (loans.seq(0), loans.round.load(Ordering::Relaxed));
        loans.begin(batch.len(), LAST_SEQ);
        assert_eq!((loans.seq(0), loans.round.load(Ordering::Relaxed)), (LAST_SEQ, round));
        let shorter = batch_of(1);
        loans.begin(shorter.len(), 0);
        assert_eq!((loans.seq(0), loans.round.load(Ordering::Relaxed)), (first, round + 1));
        assert_eq!(loans.lend(ring, &shorter, 0, 1).count, 1, "not what was lent under this number before");
    }
}
