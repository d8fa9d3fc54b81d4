//! Adds up what the packets of a stretch count under one key, so that each key costs one look-up in the shard.

/// Keys told apart at a time.
const PLACES: usize = 256;

/// A table of keys with `N` sums each. Every key has one place; a key that finds its place taken by another one sends that
/// to the shard first, so that no choice of keys makes it slow.
#[derive(Debug)]
pub(super) struct Combiner<const N: usize> {
    places: Box<[Place<N>]>,
    // INVARIANT: the places in use, each once, in order of first use.
    used: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Place<const N: usize> {
    key: u128,
    sums: [u64; N],
    is_used: bool,
}

impl<const N: usize> Combiner<N> {
    pub fn new() -> Self {
        let empty = Place { key: 0, sums: [0; N], is_used: false };
        Self { places: vec![empty; PLACES].into_boxed_slice(), used: Vec::with_capacity(PLACES) }
    }

    /// The sums of a key, to be added to. `flush` takes those of a key that has to make room.
    #[inline]
    pub fn sums(&mut self, key: u128, flush: impl FnOnce(u128, &[u64; N])) -> &mut [u64; N] {
        let at = place(key);
        let place = &mut self.places[at];
        if place.is_used && place.key == key {
            return &mut place.sums;
        }
        if place.is_used {
            flush(place.key, &place.sums);
        } else {
            self.used.push(at as u16);
        }
        *place = Place { key, sums: [0; N], is_used: true };
        &mut place.sums
    }

    /// Hands out all sums and forgets them.
    #[inline]
    pub fn drain(&mut self, mut flush: impl FnMut(u128, &[u64; N])) {
        for at in self.used.drain(..) {
            let place = &mut self.places[usize::from(at)];
            flush(place.key, &place.sums);
            place.is_used = false;
        }
    }
}

/// Multiplication spreads the bits upwards, so the top ones choose.
#[inline]
fn place(key: u128) -> usize {
    let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (folded.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::proptest;

    use super::Combiner;

    proptest! {
        #[test]
        fn sums_are_those_of_adding_one_by_one(keys in proptest::collection::vec((0..2_000u128, 0..9u64), 0..1_000)) {
            let (mut combiner, mut flushed, mut expected) = (Combiner::<2>::new(), BTreeMap::new(), BTreeMap::new());
            for (index, &(key, amount)) in keys.iter().enumerate() {
                let wide = key << 64 | key;
                *expected.entry(wide).or_insert(0) += amount;
                let sums = combiner.sums(wide, |key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
                sums[0] += amount;
                if index % 256 == 255 {
                    combiner.drain(|key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
                }
            }
            combiner.drain(|key, sums| *flushed.entry(key).or_insert(0) += sums[0]);
            combiner.drain(|_, _| panic!("nothing is left"));
            assert_eq!(flushed, expected);
        }
    }
}
