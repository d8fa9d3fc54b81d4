//! Where slots are found by the hash of what they hold: an open-addressing table of words, half hash and half slot.
//!
//! A look-up compares hashes before it reads a slot; growing and taking out read no slot at all. Words that lie farther from
//! where they belong go before those that lie nearer (Robin Hood hashing), so the table can be nearly full, and a word that
//! is taken out leaves no trace: those behind it move up.

use super::{prefetch, zeros};

/// Words at first.
const FIRST_WORDS: usize = 64;

/// Slots by hash. The same hash may lead to several; the same slot is in it once.
#[derive(Debug)]
pub struct Index {
    // INVARIANT: a power of two in number, some of them free; 0 is free, otherwise the upper half is the hash and the lower
    // half the slot plus one.
    words: Box<[u64]>,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// One without slots.
    #[must_use]
    pub fn new() -> Self {
        Self { words: vec![0; FIRST_WORDS].into(), used: 0 }
    }

    /// Bytes held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    #[inline]
    const fn mask(&self) -> usize {
        self.words.len() - 1
    }

    /// How far a word lies from where it belongs.
    #[inline]
    const fn distance(&self, word: u64, at: usize) -> usize {
        at.wrapping_sub(hash_of(word) as usize) & self.mask()
    }

    /// Asks the memory for what a look-up reads first.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch(&self.words[hash as usize & self.mask()]);
    }

    /// The first slot with this hash that is the one looked for.
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        let mut distance = 0;
        loop {
            let word = self.words[at];
            if hash_of(word) == hash && word != 0 && is_it(slot_of(word)) {
                return Some(slot_of(word));
            }
            if word == 0 || self.distance(word, at) < distance {
                return None;
            }
            (at, distance) = ((at + 1) & mask, distance + 1);
        }
    }

    /// Adds a slot that is not in it.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        if self.used >= room(self.words.len()) {
            let grown = zeros(self.words.len() * 2).into();
            for word in std::mem::replace(&mut self.words, grown) {
                if word != 0 {
                    self.place(word);
                }
            }
        }
        self.place(word_of(hash, slot));
        self.used += 1;
    }

    fn place(&mut self, mut word: u64) {
        let mask = self.mask();
        let mut at = hash_of(word) as usize & mask;
        let mut distance = 0;
        loop {
            let other = self.words[at];
            if other == 0 {
                self.words[at] = word;
                return;
            }
            let others = self.distance(other, at);
            if others < distance {
                self.words[at] = std::mem::replace(&mut word, other);
                distance = others;
            }
            (at, distance) = ((at + 1) & mask, distance + 1);
        }
    }

    /// Takes a slot out, if it is in it under this hash.
    pub fn remove(&mut self, hash: u32, slot: u32) {
        let (word, mask) = (word_of(hash, slot), self.mask());
        let mut at = hash as usize & mask;
        let mut distance = 0;
        while self.words[at] != word {
            if self.words[at] == 0 || self.distance(self.words[at], at) < distance {
                return;
            }
            (at, distance) = ((at + 1) & mask, distance + 1);
        }
        loop {
            let behind = (at + 1) & mask;
            let next = self.words[behind];
            if next == 0 || self.distance(next, behind) == 0 {
                break;
            }
            self.words[at] = next;
            at = behind;
        }
        self.words[at] = 0;
        self.used -= 1;
    }
}

/// How many of the words may be in use.
const fn room(words: usize) -> usize {
    words / 8 * 7
}

#[inline]
const fn word_of(hash: u32, slot: u32) -> u64 {
    (hash as u64) << 32 | (slot as u64 + 1)
}

#[inline]
const fn hash_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Of a word that is not free.
#[inline]
const fn slot_of(word: u64) -> u32 {
    (word as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, proptest};

    use super::Index;

    fn slots(index: &Index, hash: u32) -> BTreeSet<u32> {
        let found = std::cell::RefCell::new(BTreeSet::new());
        let none = index.find(hash, |slot| {
            assert!(found.borrow_mut().insert(slot), "each slot once");
            false
        });
        assert_eq!(none, None);
        found.into_inner()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_of_pairs_holds(
            steps in proptest::collection::vec((any::<bool>(), 0..40u32, 0..6u32), 0..800),
            spread in 1..u32::MAX,
        ) {
            // Few hashes, all of which may belong to the same place.
            let (mut index, mut twin) = (Index::new(), BTreeSet::new());
            for (adds, hash, slot) in steps {
                let (hash, slot) = (hash.wrapping_mul(spread), slot + 10 * hash);
                if adds && twin.insert((hash, slot)) {
                    index.insert(hash, slot);
                } else if !adds {
                    twin.remove(&(hash, slot));
                    index.remove(hash, slot);
                }
            }
            for hash in (0..40u32).map(|hash| hash.wrapping_mul(spread)) {
                let expected = twin.iter().filter(|(other, _)| *other == hash).map(|&(_, slot)| slot).collect();
                assert_eq!(slots(&index, hash), expected);
            }
            assert_eq!(index.used, twin.len());
        }
    }

    #[test]
    fn it_grows_when_little_is_free_and_keeps_everything() {
        let mut index = Index::new();
        for slot in 0..10_000 {
            index.insert(u32::wrapping_mul(slot, 0x9E37_79B1), slot);
        }
        assert_eq!(index.bytes(), 16_384 * 8);
        for slot in 0..10_000 {
            let hash = u32::wrapping_mul(slot, 0x9E37_79B1);
            assert_eq!(index.find(hash, |other| other == slot), Some(slot));
            index.remove(hash, slot);
        }
        assert!(index.words.iter().all(|&word| word == 0));
    }

    #[test]
    fn the_last_slot_and_hash_there_are_fit() {
        let mut index = Index::new();
        index.insert(u32::MAX, u32::MAX - 1);
        assert_eq!(index.find(u32::MAX, |_| true), Some(u32::MAX - 1));
        index.remove(u32::MAX, u32::MAX - 1);
        assert_eq!(index.find(u32::MAX, |_| true), None);
    }
}
