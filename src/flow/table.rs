//! Where flows are kept: dense slots, and an index from tuples to slots.
//!
//! The hash is seeded at random, so that nobody can choose colliding tuples; nothing that can be seen depends on it.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::event::FlowHandle;
use super::record::{Flow, own};
use super::timer::Link;
use crate::key::{FlowTuple, IpVersion};
use crate::memory::{Index, ask_large_pages, prefetch_whole};
use crate::time::Timestamp;

const NONE: u32 = u32::MAX;
/// Bits of a flow's number; it wraps after 268 million flows.
const GENERATION_BITS: u32 = 28;
const GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// Nobody wants datagrams of the flow.
const STOPPED: u32 = 1;
/// The upper half has type and code of the first message of ICMP.
const HAS_ICMP: u32 = 2;

/// A place for a flow: two lines of the cache, which lie side by side.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
pub(super) struct Slot {
    pub(super) flow: Flow,
    // Number of the flow, and above it what the lone SYN said of the window scale: 0 for nothing.
    mark: u32,
    /// Index of the connection with [`own::CONNECTION`], else the sequence number of the lone SYN; of what is not TCP,
    /// [`STOPPED`] and [`HAS_ICMP`] or 0; of a free slot, the next free one.
    pub(super) tcp: u32,
    pub(super) link: Link,
    // Milliseconds from the last packet of a flow that has ended to the last one that came late.
    late: u32,
}

/// Bytes of the table for each flow, without its part of the index.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

/// Slots that there is room for at first, at most: 1 GiB. Memory that nothing was written to costs nothing.
const MOST_ROOM: usize = 1 << 23;

/// The flows.
#[derive(Debug)]
pub(super) struct Table {
    // All that there have ever been. The room is taken at once, so that they stay where they are.
    slots: Vec<Slot>,
    // Where the first packets of flows came from, by slot. Most runs have one source: those beyond the end are of the first.
    origins: Vec<u16>,
    index: Index,
    hasher: RandomState,
    free: u32,
    used: usize,
    // Number of the next flow; wraps.
    serial: u32,
}

impl Table {
    /// A table for so many bytes of flows; if there are more, it moves once in a while.
    pub(super) fn new(bytes: usize) -> Self {
        let mut slots = Vec::new();
        // Where so much is refused, it grows as it must.
        if slots.try_reserve_exact((bytes / SLOT_BYTES).min(MOST_ROOM)).is_ok() {
            ask_large_pages(&slots);
        }
        Self {
            slots,
            origins: Vec::new(),
            index: Index::new(),
            hasher: RandomState::default(),
            free: NONE,
            used: 0,
            serial: 0,
        }
    }

    #[inline]
    pub(super) fn hash(&self, tuple: &FlowTuple) -> u32 {
        (hash(&self.hasher, tuple) >> 32) as u32
    }

    #[inline]
    pub(super) fn find(&self, hash: u32, tuple: &FlowTuple) -> Option<u32> {
        self.index.find(hash, |slot| self.get(slot).flow.tuple == *tuple)
    }

    /// Asks the memory for what [`Table::find`] reads first.
    #[inline]
    pub(super) fn prefetch_index(&self, hash: u32) {
        self.index.prefetch(hash);
    }

    /// The slot that [`Table::find`] is likely to find, both lines of which are asked for; without one there is none.
    #[inline]
    pub(super) fn guess(&self, hash: u32) -> Option<u32> {
        let slot = self.index.find(hash, |_| true)?;
        prefetch_whole(self.get(slot));
        Some(slot)
    }

    /// What [`Table::find`] finds, after a guess that is as new as the index.
    #[inline]
    pub(super) fn confirm(&self, guess: u32, hash: u32, tuple: &FlowTuple) -> Option<u32> {
        if self.get(guess).flow.tuple == *tuple { Some(guess) } else { self.find(hash, tuple) }
    }

    /// Takes a flow in whose tuple is not in the index.
    pub(super) fn insert(&mut self, hash: u32, flow: Flow, tcp: u32) -> u32 {
        let mark = self.serial & GENERATION;
        self.serial = self.serial.wrapping_add(1);
        let new = Slot { flow, mark, tcp, link: Link::NOWHERE, late: 0 };
        let slot = if self.free != NONE {
            let slot = self.free;
            self.free = self.get(slot).tcp;
            *self.get_mut(slot) = new;
            // The one that is used next was left long ago.
            self.prefetch(self.free);
            slot
        } else {
            self.slots.push(new);
            self.slots.len() as u32 - 1
        };
        self.used += 1;
        self.index.insert(hash, slot);
        slot
    }

    /// Takes a flow out of the index; its slot stays until it is freed.
    pub(super) fn forget(&mut self, slot: u32) {
        let hash = self.hash(&self.get(slot).flow.tuple);
        self.index.remove(hash, slot);
    }

    /// Makes a forgotten slot free for another flow.
    pub(super) fn free(&mut self, slot: u32) {
        let free = std::mem::replace(&mut self.free, slot);
        let place = self.get_mut(slot);
        debug_assert!(place.flow.state != 0, "freed once");
        place.flow.state = 0;
        place.tcp = free;
        self.used -= 1;
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// Asks the memory for a slot, which is needed soon.
    #[inline]
    pub(super) fn prefetch(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot as usize) {
            prefetch_whole(slot);
        }
    }

    #[inline]
    pub(super) fn handle(&self, slot: u32) -> FlowHandle {
        FlowHandle { slot, generation: self.get(slot).mark & GENERATION }
    }

    #[inline]
    pub(super) fn of_handle(&self, handle: FlowHandle) -> Option<&Slot> {
        let slot = self.slots.get(handle.slot as usize)?;
        (slot.mark & GENERATION == handle.generation && slot.flow.state != 0).then_some(slot)
    }

    /// Notes the window scale of the lone SYN.
    pub(super) fn set_syn_scale(&mut self, slot: u32, scale: Option<u8>) {
        let mark = &mut self.get_mut(slot).mark;
        *mark = *mark & GENERATION | scale.map_or(0, |scale| u32::from(scale.min(14)) + 1) << GENERATION_BITS;
    }

    /// The window scale of the lone SYN.
    pub(super) fn syn_scale(&self, slot: u32) -> Option<u8> {
        ((self.get(slot).mark >> GENERATION_BITS) as u8).checked_sub(1)
    }

    /// Nobody wants datagrams of a flow, which is not TCP.
    pub(super) fn stop_datagrams(&mut self, slot: u32) {
        self.get_mut(slot).tcp |= STOPPED;
    }

    /// Whether datagrams of a flow, which is not TCP, are unwanted.
    #[inline]
    pub(super) fn is_stopped(&self, slot: u32) -> bool {
        self.get(slot).tcp & STOPPED != 0
    }

    /// Notes type and code of the first message of a flow of ICMP.
    pub(super) fn set_icmp(&mut self, slot: u32, [kind, code]: [u8; 2]) {
        self.get_mut(slot).tcp |= HAS_ICMP | u32::from(kind) << 24 | u32::from(code) << 16;
    }

    /// Type and code of the first message of a flow, which is not TCP.
    pub(super) fn icmp(&self, slot: u32) -> Option<[u8; 2]> {
        let [kind, code, ..] = self.get(slot).tcp.to_be_bytes();
        (self.get(slot).tcp & HAS_ICMP != 0).then_some([kind, code])
    }

    /// Notes where the first packet of a flow came from.
    #[inline]
    pub(super) fn set_origin(&mut self, slot: u32, origin: u16) {
        let index = slot as usize;
        if index >= self.origins.len() {
            if origin == 0 {
                return;
            }
            self.origins.resize(index + 1, 0);
        }
        self.origins[index] = origin;
    }

    /// Where the first packet of a flow came from.
    pub(super) fn origin(&self, slot: u32) -> u16 {
        self.origins.get(slot as usize).copied().unwrap_or_default()
    }

    /// Notes when the last packet of a flow that has ended came, which is not counted there.
    pub(super) fn note_late(&mut self, slot: u32, now: Timestamp) {
        let place = self.get_mut(slot);
        place.late = u32::try_from(now.since(place.flow.last).as_millis()).unwrap_or(u32::MAX);
    }

    /// When the last packet of a flow came, late ones included.
    pub(super) fn heard(&self, slot: u32) -> Timestamp {
        let place = self.get(slot);
        Timestamp::from_nanos(place.flow.last.as_nanos().saturating_add(i64::from(place.late) * 1_000_000))
    }

    /// How many flows were created since this one.
    pub(super) fn age(&self, slot: u32) -> u32 {
        self.serial.wrapping_sub(self.get(slot).mark) & GENERATION
    }

    /// Number of slots there have ever been.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Number of slots in use.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.used * SLOT_BYTES + self.index.bytes() + size_of_val(&self.origins[..])
    }

    /// True for a slot that is in the wheel.
    #[inline]
    pub(super) fn is_awaited(&self, slot: u32) -> bool {
        self.get(slot).link.is_somewhere()
    }

    /// True for a slot whose flow can still be found, ended or not.
    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.get(slot).flow.state != 0
    }

    /// The connection of a slot.
    #[inline]
    pub(super) fn connection(&self, slot: u32) -> Option<u32> {
        let place = self.get(slot);
        place.flow.has(own::CONNECTION).then_some(place.tcp)
    }
}

#[inline]
fn hash(hasher: &RandomState, tuple: &FlowTuple) -> u64 {
    let mut hasher = hasher.build_hasher();
    let word = |bytes: &[u8; 16], at: usize| {
        u64::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
            bytes[at + 4],
            bytes[at + 5],
            bytes[at + 6],
            bytes[at + 7],
        ])
    };
    let (a, z) = (&tuple.a, &tuple.z);
    let rest = u64::from(tuple.port_a) << 32
        | u64::from(tuple.port_z) << 16
        | u64::from(tuple.proto) << 8
        | tuple.version as u64;
    hasher.write_u64(rest);
    if tuple.version == IpVersion::V4 {
        hasher.write_u64(word(a, 0) & 0xFFFF_FFFF | word(z, 0) << 32);
    } else {
        hasher.write_u64(word(a, 0));
        hasher.write_u64(word(a, 8));
        hasher.write_u64(word(z, 0));
        hasher.write_u64(word(z, 8));
    }
    hasher.finish()
}

const _: () = assert!(SLOT_BYTES <= 128, "a million flows and their index fit 160 MiB");
