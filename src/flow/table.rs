//! Where flows are kept: dense slots, and an index from tuples to slots.
//!
//! The hash is seeded at random, so that nobody can choose colliding tuples; nothing that can be seen depends on it.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::event::FlowHandle;
use super::record::{Flow, own};
use super::timer::LINK_BYTES;
use crate::key::{FlowTuple, IpVersion};

const NONE: u32 = u32::MAX;
/// Bits of a flow's number; it wraps after 268 million flows.
const GENERATION_BITS: u32 = 28;
const GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// Nobody wants datagrams of the flow.
const STOPPED: u32 = 1;

/// A place for a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) flow: Flow,
    // Number of the flow, and above it what the lone SYN said of the window scale: 0 for nothing.
    mark: u32,
    /// Index of the connection with [`own::CONNECTION`], else the sequence number of the lone SYN; of what is not TCP,
    /// [`STOPPED`] or 0; of a free slot, the next free one.
    pub(super) tcp: u32,
}

/// Bytes of the table for each flow, without its part of the index.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>() + LINK_BYTES;

/// The flows.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    free: u32,
    used: usize,
    // Number of the next flow; wraps.
    serial: u32,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            free: NONE,
            used: 0,
            serial: 0,
        }
    }

    #[inline]
    pub(super) fn hash(&self, tuple: &FlowTuple) -> u64 {
        hash(&self.hasher, tuple)
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, tuple: &FlowTuple) -> Option<u32> {
        self.index.find(hash, |&slot| self.slots[slot as usize].flow.tuple == *tuple).copied()
    }

    /// Takes a flow in whose tuple is not in the index.
    pub(super) fn insert(&mut self, hash: u64, flow: Flow, tcp: u32) -> u32 {
        let (slot, mark) = (self.free, self.serial & GENERATION);
        self.serial = self.serial.wrapping_add(1);
        let slot = if let Some(place) = self.slots.get_mut(slot as usize) {
            self.free = place.tcp;
            *place = Slot { flow, mark, tcp };
            slot
        } else {
            self.slots.push(Slot { flow, mark, tcp });
            self.slots.len() as u32 - 1
        };
        self.used += 1;
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, slot, |&slot| self::hash(hasher, &slots[slot as usize].flow.tuple));
        slot
    }

    /// Takes a flow out of the index; its slot stays until it is freed.
    pub(super) fn forget(&mut self, slot: u32) {
        let hash = self.hash(&self.slots[slot as usize].flow.tuple);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }

    /// Makes a forgotten slot free for another flow.
    pub(super) fn free(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        debug_assert!(place.flow.state != 0, "freed once");
        place.flow.state = 0;
        place.tcp = std::mem::replace(&mut self.free, slot);
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

    #[inline]
    pub(super) fn handle(&self, slot: u32) -> FlowHandle {
        FlowHandle { slot, generation: self.slots[slot as usize].mark & GENERATION }
    }

    #[inline]
    pub(super) fn of_handle(&self, handle: FlowHandle) -> Option<&Slot> {
        let slot = self.slots.get(handle.slot as usize)?;
        (slot.mark & GENERATION == handle.generation && slot.flow.state != 0).then_some(slot)
    }

    /// Notes the window scale of the lone SYN.
    pub(super) fn set_syn_scale(&mut self, slot: u32, scale: Option<u8>) {
        let mark = &mut self.slots[slot as usize].mark;
        *mark = *mark & GENERATION | scale.map_or(0, |scale| u32::from(scale.min(14)) + 1) << GENERATION_BITS;
    }

    /// The window scale of the lone SYN.
    pub(super) fn syn_scale(&self, slot: u32) -> Option<u8> {
        ((self.slots[slot as usize].mark >> GENERATION_BITS) as u8).checked_sub(1)
    }

    /// Nobody wants datagrams of a flow, which is not TCP.
    pub(super) fn stop_datagrams(&mut self, slot: u32) {
        self.slots[slot as usize].tcp = STOPPED;
    }

    /// Whether datagrams of a flow, which is not TCP, are unwanted.
    #[inline]
    pub(super) fn is_stopped(&self, slot: u32) -> bool {
        self.slots[slot as usize].tcp == STOPPED
    }

    /// How many flows were created since this one.
    pub(super) fn age(&self, slot: u32) -> u32 {
        self.serial.wrapping_sub(self.slots[slot as usize].mark) & GENERATION
    }

    /// Number of slots there have ever been.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.used * SLOT_BYTES + self.index.allocation_size()
    }

    /// True for a slot whose flow can still be found, ended or not.
    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.slots[slot as usize].flow.state != 0
    }

    /// The connection of a slot.
    #[inline]
    pub(super) fn connection(&self, slot: u32) -> Option<u32> {
        let place = &self.slots[slot as usize];
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

const _: () = assert!(SLOT_BYTES <= 128, "a million flows fit 128 MiB, nearly");
