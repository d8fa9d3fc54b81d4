//! The keys of one group: an open-addressing index over records of equal size.
//!
//! A slot of the index holds 32 bits of hash and a record number, so a lookup touches one line of the index and the
//! record itself, and growing the index reads no key. Records are never removed one by one; [`KeyTable::retain`] rebuilds.

use std::hash::{BuildHasher, Hasher};

use super::cell::Generation;
use super::packed::{Packed, Probe};
use crate::memory::{filled, make_room, prefetch, prefetch_bytes, prefetch_whole};

/// Words in front of a record's own: two of key, one of epoch and tag.
pub(super) const HEADER: usize = 3;

const FIRST_SLOTS: usize = 64;

/// Up to so many slots, the index is a quarter full at most, beyond it half: a second probe is a mispredicted branch,
/// which costs more than the memory. (Three quarters full, an update took 11.0 ns with eight keys instead of 7.3; half
/// full, 15.4 ns with a thousand keys instead of 10.4.)
const SPARSE_SLOTS: usize = 1 << 16;

/// Number of a record; the order of creation.
pub(super) type Record = u32;

#[derive(Clone, Debug)]
pub(super) struct KeyTable {
    // INVARIANT: slots.len() is a power of two above the number of records; 0 is a free slot, otherwise the upper half is
    // the hash and the lower half the record number plus one.
    slots: Vec<u64>,
    // INVARIANT: words.len() is the number of records times stride; the generation moves on when they lie elsewhere.
    words: Vec<u64>,
    stride: usize,
    texts: Vec<u8>,
    hasher: foldhash::fast::RandomState,
    generation: Generation,
}

impl Drop for KeyTable {
    fn drop(&mut self) {
        self.generation.move_on();
    }
}

/// What a lookup found.
pub(super) enum Found {
    Record(Record),
    /// Nothing; the hash serves to insert.
    Absent(u32),
}

impl KeyTable {
    /// Records of `HEADER + words` words each.
    pub fn new(words: usize, generation: Generation) -> Self {
        Self {
            slots: vec![0; FIRST_SLOTS],
            words: Vec::new(),
            stride: HEADER + words,
            texts: Vec::new(),
            hasher: foldhash::fast::RandomState::default(),
            generation,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.words.len() / self.stride
    }

    pub fn texts(&self) -> &[u8] {
        &self.texts
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.slots.capacity() + self.words.capacity()) * 8 + self.texts.capacity()
    }

    #[inline]
    pub fn record(&self, record: Record) -> &[u64] {
        let at = record as usize * self.stride;
        &self.words[at..at + self.stride]
    }

    #[inline]
    pub fn record_mut(&mut self, record: Record) -> &mut [u64] {
        let at = record as usize * self.stride;
        &mut self.words[at..at + self.stride]
    }

    /// Address of a word of a record, until the generation moves on.
    pub fn word_address(&mut self, record: Record, word: usize) -> *mut u64 {
        &raw mut self.record_mut(record)[word]
    }

    pub fn key(&self, record: Record) -> Packed {
        let words = self.record(record);
        Packed { hi: words[0], lo: words[1], tag: words[2] as u32 }
    }

    /// The epoch a record was last stamped with.
    pub fn epoch(&self, record: Record) -> u32 {
        (self.record(record)[2] >> 32) as u32
    }

    #[inline(always)]
    pub fn find(&self, probe: &Probe<'_>) -> Found {
        match probe {
            Probe::Inline(key) => {
                let hash = self.hash_inline(key);
                self.search(hash, |words| words[0] == key.hi && words[1] == key.lo && words[2] as u32 == key.tag)
            }
            Probe::Long(text) => self.find_long(text),
        }
    }

    /// Asks the memory for the place in the index where the search for a key begins; returns the key's hash.
    #[inline]
    pub fn ask_for(&self, key: &Packed) -> u32 {
        self.ask_for_place(self.hash_inline(key))
    }

    /// As [`KeyTable::ask_for`], for a long text.
    #[inline]
    pub fn ask_for_text(&self, text: &[u8]) -> u32 {
        self.ask_for_place(place_of(self.hash_long(text)))
    }

    #[inline]
    fn ask_for_place(&self, hash: u32) -> u32 {
        prefetch(&self.slots[hash as usize & (self.slots.len() - 1)]);
        hash
    }

    /// Asks the memory for the record that stands in that place: most of the time it is the one that is looked for.
    #[inline]
    pub fn ask_for_record(&self, hash: u32) {
        if let Some(words) = self.likely(hash) {
            prefetch_whole(words);
        }
    }

    /// Asks the memory for the text of that record, which has come.
    #[inline]
    pub fn ask_for_stored_text(&self, hash: u32) {
        if let Some(&[hi, lo, tag, ..]) = self.likely(hash) {
            let key = Packed { hi, lo, tag: tag as u32 };
            if key.is_long()
                && let Some(text) = self.texts.get(key.range())
            {
                prefetch_bytes(text);
            }
        }
    }

    /// The record in the place where the search for a hash begins.
    #[inline]
    fn likely(&self, hash: u32) -> Option<&[u64]> {
        let slot = self.slots[hash as usize & (self.slots.len() - 1)];
        let start = (slot as u32 as usize).checked_sub(1)? * self.stride;
        self.words.get(start..start + self.stride)
    }

    fn find_long(&self, text: &[u8]) -> Found {
        let full = self.hash_long(text);
        let like = Packed::long(0, text.len(), full);
        self.search(place_of(full), |words| {
            words[1] == like.lo && words[2] as u32 == like.tag && {
                let stored = Packed { hi: words[0], ..like };
                self.texts[stored.range()] == *text
            }
        })
    }

    #[inline(always)]
    fn search(&self, hash: u32, is_it: impl Fn(&[u64]) -> bool) -> Found {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at & mask];
            if slot == 0 {
                return Found::Absent(hash);
            }
            if (slot >> 32) as u32 == hash {
                let record = slot as u32 - 1;
                if is_it(self.record(record)) {
                    return Found::Record(record);
                }
            }
            at += 1;
        }
    }

    #[inline]
    fn hash_long(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    #[inline]
    fn hash_inline(&self, key: &Packed) -> u32 {
        // The tag stays out: at most a handful of kinds share the same bytes.
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u128(u128::from(key.hi) << 64 | u128::from(key.lo));
        (hasher.finish() >> 32) as u32
    }

    /// Adds a record that [`KeyTable::find`] did not find. Its own words are those of `template`, its epoch is 0.
    #[cold]
    #[inline(never)]
    pub fn insert(&mut self, probe: &Probe<'_>, hash: u32, template: &[f64]) -> Record {
        debug_assert_eq!(template.len() + HEADER, self.stride);
        let key = match probe {
            Probe::Inline(key) => *key,
            Probe::Long(text) => {
                let key = Packed::long(self.texts.len(), text.len(), self.hash_long(text));
                self.texts.extend_from_slice(text);
                key
            }
        };
        let record = self.len() as Record;
        if (record as usize + 1) * sparseness(self.slots.len()) > self.slots.len() {
            self.grow(self.slots.len() * 2);
        }
        if self.words.capacity() - self.words.len() < self.stride {
            make_room(&mut self.words, self.stride);
            self.generation.move_on();
        }
        self.words.extend([key.hi, key.lo, u64::from(key.tag)]);
        self.words.extend(template.iter().map(|value| value.to_bits()));
        place(&mut self.slots, hash, record);
        record
    }

    fn grow(&mut self, slots: usize) {
        let mut grown = filled(slots, 0);
        for &slot in self.slots.iter().filter(|&&slot| slot != 0) {
            place(&mut grown, (slot >> 32) as u32, slot as u32 - 1);
        }
        self.slots = grown;
    }

    /// Keeps the records `keep` says, in their order, and gives memory back. Returns each old record's new number.
    pub fn retain(&mut self, keep: impl Fn(Record) -> bool) -> Vec<Option<Record>> {
        let mut moved = vec![None; self.len()];
        let kept: Vec<Record> = (0..self.len() as Record).filter(|&r| keep(r)).collect();
        let mut words = Vec::new();
        make_room(&mut words, kept.len() * self.stride);
        let mut texts = Vec::new();
        for (new, &old) in kept.iter().enumerate() {
            moved[old as usize] = Some(new as Record);
            let key = self.key(old);
            let start = words.len();
            words.extend_from_slice(self.record(old));
            if key.is_long() {
                words[start] = texts.len() as u64;
                texts.extend_from_slice(&self.texts[key.range()]);
            }
        }
        let places = (kept.len() * sparseness(kept.len() * 4)).next_power_of_two().max(FIRST_SLOTS);
        let mut slots = filled(places, 0);
        for &slot in self.slots.iter().filter(|&&slot| slot != 0) {
            if let Some(new) = moved[slot as u32 as usize - 1] {
                place(&mut slots, (slot >> 32) as u32, new);
            }
        }
        (self.slots, self.words, self.texts) = (slots, words, texts);
        self.generation.move_on();
        moved
    }
}

/// The part of the hash of a long text that the index holds.
const fn place_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Slots per record.
fn sparseness(slots: usize) -> usize {
    if slots <= SPARSE_SLOTS { 4 } else { 2 }
}

/// Puts a record in the first free slot.
fn place(slots: &mut [u64], hash: u32, record: Record) {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = u64::from(hash) << 32 | (u64::from(record) + 1);
}
