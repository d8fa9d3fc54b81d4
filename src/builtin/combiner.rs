//! Adds up what packets count under one key, so that each key costs few look-ups in the shard, whatever its packets.

use std::fmt::Debug;

use crate::memory::{filled, prefetch};

/// Sums handed out together.
const PART: usize = 16;

/// Places of a table at first, and at most: room for the hosts of a busy network in some megabytes.
const FIRST_PLACES: usize = 256;
const MOST_PLACES: usize = 1 << 16;

/// What sums are kept under.
pub(super) trait Key: Copy + Eq + Debug {
    /// Stands in places that are free; no key is like it.
    const NONE: Self;

    /// All of its bits, one over the other.
    fn folded(self) -> u64;
}

impl Key for u64 {
    const NONE: Self = Self::MAX;

    #[inline]
    fn folded(self) -> u64 {
        self
    }
}

impl Key for Option<u128> {
    const NONE: Self = None;

    #[inline]
    fn folded(self) -> u64 {
        let number = self.unwrap_or_default();
        (number as u64) ^ ((number >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A table of keys with their sums, kept until it is drained. A key has two places, side by side; one that finds both taken
/// sends another one's sums to the shard first, so that no choice of keys makes it slow. The table grows with its keys, up
/// to a limit.
#[derive(Debug)]
pub(super) struct Combiner<K, S> {
    // INVARIANT: their number is a power of two, and `shift` leaves as many bits of a hash.
    places: Box<[Place<K, S>]>,
    shift: u32,
    // INVARIANT: the places in use, each once, in order of first use.
    used: Vec<u32>,
    /// Calls until everything is handed out, lest a sum of 32 bits that each call adds one to overflows.
    left: u32,
}

/// A line of the cache for sums of up to seven words.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Place<K, S> {
    key: K,
    sums: S,
}

impl<K: Key, S: Copy + Default> Combiner<K, S> {
    pub fn new() -> Self {
        Self { places: free_places(FIRST_PLACES), shift: shift_of(FIRST_PLACES), used: Vec::new(), left: u32::MAX }
    }

    /// The sums of a key, to be added to. `flush` takes those of a key that has to make room.
    #[inline]
    pub fn sums(&mut self, key: K, mut flush: impl FnMut(K, &S)) -> &mut S {
        if self.left == 0 {
            self.drain(&mut flush);
        }
        self.left -= 1;
        let home = home_of(key, self.shift);
        let at = if self.places[home].key == key {
            home
        } else if self.places[home ^ 1].key == key {
            home ^ 1
        } else {
            self.take_place(key, flush)
        };
        &mut self.places[at].sums
    }

    /// Gives a key a place.
    #[inline(never)]
    fn take_place(&mut self, key: K, mut flush: impl FnMut(K, &S)) -> usize {
        let mut home = home_of(key, self.shift);
        let is_taken = |places: &[Place<K, S>], at: usize| places[at].key != K::NONE;
        if is_taken(&self.places, home) && is_taken(&self.places, home ^ 1) && self.places.len() < MOST_PLACES {
            self.grow();
            home = home_of(key, self.shift);
        }
        let at = if is_taken(&self.places, home) && !is_taken(&self.places, home ^ 1) { home ^ 1 } else { home };
        let place = &mut self.places[at];
        if place.key == K::NONE {
            self.used.push(at as u32);
        } else {
            flush(place.key, &place.sums);
        }
        *place = Place { key, sums: S::default() };
        at
    }

    /// Doubles the table. The two keys of a pair of places find room in the two pairs that it becomes.
    #[cold]
    fn grow(&mut self) {
        let mut grown = free_places(self.places.len() * 2);
        self.shift -= 1;
        for at in &mut self.used {
            let place = self.places[*at as usize];
            let home = home_of(place.key, self.shift);
            let new = if grown[home].key == K::NONE { home } else { home ^ 1 };
            grown[new] = place;
            *at = new as u32;
        }
        self.places = grown;
    }

    /// Asks the memory for the place of a key that is counted soon.
    #[inline]
    pub fn ask_for(&self, key: K) {
        prefetch(&self.places[home_of(key, self.shift)]);
    }

    /// Hands out all sums and forgets them.
    #[inline]
    pub fn drain(&mut self, mut flush: impl FnMut(K, &S)) {
        self.drain_parts(|part| part.iter().for_each(|(key, sums)| flush(*key, sums)));
    }

    /// As [`Combiner::drain`], some at a time, so that what they are added to can be asked for together.
    #[inline]
    pub fn drain_parts(&mut self, mut flush: impl FnMut(&[(K, S)])) {
        let mut part = [(K::NONE, S::default()); PART];
        for chunk in self.used.chunks(PART) {
            chunk.iter().for_each(|at| prefetch(&self.places[*at as usize]));
            for (at, sums) in chunk.iter().zip(&mut part) {
                let place = &mut self.places[*at as usize];
                *sums = (place.key, place.sums);
                place.key = K::NONE;
            }
            flush(&part[..chunk.len()]);
        }
        self.used.clear();
        self.left = u32::MAX;
    }
}

fn free_places<K: Key, S: Copy + Default>(count: usize) -> Box<[Place<K, S>]> {
    filled(count, Place { key: K::NONE, sums: S::default() }).into()
}

const fn shift_of(places: usize) -> u32 {
    u64::BITS - places.trailing_zeros()
}

/// Multiplication spreads the bits upwards, so the top ones choose.
#[inline]
fn home_of<K: Key>(key: K, shift: u32) -> usize {
    (key.folded().wrapping_mul(0xD6E8_FEB8_6659_FD93) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::proptest;

    use super::{Combiner, FIRST_PLACES, Key, MOST_PLACES};

    fn check<K: Key + Ord>(keys: impl Iterator<Item = (K, u64)>, drained_every: usize) -> usize {
        let (mut combiner, mut flushed, mut expected) =
            (Combiner::<K, [u64; 2]>::new(), BTreeMap::new(), BTreeMap::new());
        for (index, (key, amount)) in keys.enumerate() {
            *expected.entry(key).or_insert(0) += amount;
            let sums = combiner.sums(key, |key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
            sums[0] += amount;
            if index % drained_every == drained_every - 1 {
                combiner.drain(|key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
            }
        }
        combiner.drain(|key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
        combiner.drain(|_, _| panic!("nothing is left"));
        assert_eq!(flushed, expected);
        combiner.places.len()
    }

    proptest! {
        #[test]
        fn sums_are_those_of_adding_one_by_one(
            keys in proptest::collection::vec((0..2_000u64, 0..9u64), 0..3_000),
            drained_every in 100..4_000usize,
        ) {
            check(keys.iter().copied(), drained_every);
            check(keys.iter().map(|&(key, amount)| (Some(u128::from(key) << 64 | u128::from(key)), amount)), drained_every);
        }
    }

    #[test]
    fn the_table_grows_with_its_keys_up_to_the_limit() {
        assert_eq!(check((0..10u64).map(|key| (key, 1)), usize::MAX), FIRST_PLACES);
        assert_eq!(check((0..300_000u64).map(|i| (i * 7_919 % 200_003, i)), usize::MAX), MOST_PLACES);
        assert_eq!(
            check([Some(u128::MAX), Some(0), None.or(Some(u128::MAX))].map(|key| (key, 1)).into_iter(), 10),
            FIRST_PLACES
        );
    }

    #[test]
    fn sums_are_handed_out_before_they_can_overflow() {
        let mut combiner = Combiner::<u64, u32>::new();
        *combiner.sums(1, |_, _| panic!("too early")) += 1;
        combiner.left = 0;
        let mut flushed = Vec::new();
        *combiner.sums(2, |key, &sums| flushed.push((key, sums))) += 1;
        assert_eq!(flushed, [(1, 1)]);
        assert_eq!(combiner.left, u32::MAX - 1);
    }
}
