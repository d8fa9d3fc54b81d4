//! Which keys were not seen lately: a Bloom filter for each group that somebody asks about.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

/// Keys a filter is made for.
const CAPACITY: usize = 1_000_000;
/// Bits for one false answer in a thousand at that number: 14.4 for each key, rounded up to a power of two.
const BITS: usize = 1 << 24;
/// Bits looked at for each key.
const PROBES: u64 = 10;

/// The keys of one group. Begins anew when it has taken as many as it was made for.
#[derive(Debug)]
pub struct NewKeys {
    bits: Vec<u64>,
    hasher: FixedState,
    taken: usize,
}

impl NewKeys {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        // A fixed seed: what is missed must not differ from run to run.
        Self { bits: vec![0; BITS / 64], hasher: FixedState::with_seed(0x6D73), taken: 0 }
    }

    /// Takes a key in; true if it was not seen since the filter began, which is wrong for one new key in a thousand.
    pub fn is_new(&mut self, key: &[u8]) -> bool {
        if self.taken >= CAPACITY {
            self.bits.fill(0);
            self.taken = 0;
        }
        let hash = self.hasher.hash_one(key);
        // Two halves make as many hashes as are needed, if the second is odd.
        let (mut at, step) = (hash, hash.rotate_left(32) | 1);
        let mut new = false;
        for _ in 0..PROBES {
            let bit = (at >> 40) as usize % BITS;
            let word = &mut self.bits[bit / 64];
            new |= *word & (1 << (bit % 64)) == 0;
            *word |= 1 << (bit % 64);
            at = at.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        self.taken += usize::from(new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, NewKeys};

    #[test]
    fn a_key_is_new_once_and_few_new_keys_are_missed() {
        let mut keys = NewKeys::new();
        let missed = (0..200_000_u32).filter(|n| !keys.is_new(&n.to_be_bytes())).count();
        assert!(missed < 200, "{missed} missed");
        assert!((0..200_000_u32).all(|n| !keys.is_new(&n.to_be_bytes())));
    }

    #[test]
    fn a_full_filter_begins_anew() {
        let mut keys = NewKeys::new();
        assert!(keys.is_new(b"first"));
        keys.taken = CAPACITY;
        assert!(keys.is_new(b"first"));
    }
}
