//! The largest and smallest keys of a meter over an interval of several buckets.
//!
//! Exact while the distinct keys fit; from there on a key that comes in takes the place of the smallest one and starts with
//! its value (space-saving), so that no large key is missed and no value is too large by more than the error that is told.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use hashbrown::HashTable;

use super::vartype::Vartype;

/// Keys kept exactly for each that is asked for; and at least so many in all.
const KEPT_PER_PLACE: usize = 10;
const KEPT_AT_LEAST: usize = 10_000;

#[derive(Clone, Debug)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    value: f64,
    /// Buckets it was in, for means.
    buckets: u32,
    error: f64,
}

/// A key, its value, and by how much the value may be too large.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The key as text.
    pub key: Box<[u8]>,
    /// Its value in the interval.
    pub value: f64,
    /// 0 where the value is exact.
    pub error: f64,
}

/// Keys of one meter in one interval.
#[derive(Debug)]
pub struct TopperTrack {
    vartype: Vartype,
    most: usize,
    entries: Vec<Entry>,
    index: HashTable<u32>,
    /// The entries by value when they were put here, the smallest first; made when a place is needed. Values of sums only
    /// grow, so one that is out of date comes too early, is noticed, and is put back.
    smallest: BinaryHeap<Reverse<(i64, u32)>>,
    displaced: u64,
}

impl TopperTrack {
    /// Tracks a meter of which `count` keys will be asked for.
    #[must_use]
    pub fn new(vartype: Vartype, count: usize) -> Self {
        Self::with_room(vartype, count.saturating_mul(KEPT_PER_PLACE).max(KEPT_AT_LEAST))
    }

    fn with_room(vartype: Vartype, most: usize) -> Self {
        Self { vartype, most, entries: Vec::new(), index: HashTable::new(), smallest: BinaryHeap::new(), displaced: 0 }
    }

    /// Takes in the value of a key in one bucket; `hash` is the key's, the same each time.
    pub fn add(&mut self, hash: u64, key: &[u8], value: f64) {
        let entries = &self.entries;
        if let Some(&at) = self.index.find(hash, |&at| *entries[at as usize].key == *key) {
            let entry = &mut self.entries[at as usize];
            entry.value = fold(self.vartype, entry, value);
            entry.buckets += 1;
            return;
        }
        if self.entries.len() < self.most {
            self.entries.push(Entry { hash, key: key.into(), value, buckets: 1, error: 0.0 });
            return self.enter(self.entries.len() as u32 - 1);
        }
        self.displace(hash, key, value);
    }

    fn enter(&mut self, at: u32) {
        let entries = &self.entries;
        self.index.insert_unique(entries[at as usize].hash, at, |&at| entries[at as usize].hash);
    }

    /// Puts a key in the place of the smallest one, if it may be larger.
    fn displace(&mut self, hash: u64, key: &[u8], value: f64) {
        let adds = matches!(self.vartype, Vartype::Counter | Vartype::RateCounter);
        if adds && value <= 0.0 {
            // It cannot be larger: it is the one that gives way.
            self.displaced += 1;
            return;
        }
        if self.smallest.is_empty() {
            let entries = self.entries.iter().zip(0..);
            self.smallest = entries.map(|(entry, at)| Reverse((ordered(entry.value), at))).collect();
        }
        // Values are changed where they lie: taking one out and putting another one in would go through the heap twice.
        let (mut place, at) = loop {
            let Some(mut place) = self.smallest.peek_mut() else { return };
            let Reverse((known, at)) = *place;
            let now = ordered(self.entries[at as usize].value);
            if now <= known {
                break (place, at);
            }
            *place = Reverse((now, at));
            drop(place);
        };
        self.displaced += 1;
        let entry = &mut self.entries[at as usize];
        let base = if adds { entry.value.max(0.0) } else { 0.0 };
        if let Ok(found) = self.index.find_entry(entry.hash, |&other| other == at) {
            found.remove();
        }
        if entry.key.len() == key.len() {
            entry.key.copy_from_slice(key);
        } else {
            entry.key = key.into();
        }
        (entry.hash, entry.value, entry.buckets, entry.error) = (hash, base + value, 1, base);
        *place = Reverse((ordered(base + value), at));
        drop(place);
        self.enter(at);
    }

    /// Keys that had to give way since the interval began; 0 means that everything is exact.
    #[must_use]
    pub const fn displaced(&self) -> u64 {
        self.displaced
    }

    /// The `top` largest, largest first, and the `bottom` smallest, smallest first; of equal ones the first by key.
    #[must_use]
    pub fn ranked(&self, top: usize, bottom: usize) -> (Vec<Ranked>, Vec<Ranked>) {
        let mut all: Vec<(f64, &Entry)> = self.entries.iter().map(|entry| (self.finished(entry), entry)).collect();
        let by_key = |a: &Entry, b: &Entry| a.key.cmp(&b.key);
        let largest = first(&mut all, top, |a, b| b.0.total_cmp(&a.0).then_with(|| by_key(a.1, b.1)));
        let smallest = first(&mut all, bottom, |a, b| a.0.total_cmp(&b.0).then_with(|| by_key(a.1, b.1)));
        (largest, smallest)
    }

    /// The value in the interval.
    fn finished(&self, entry: &Entry) -> f64 {
        match self.vartype {
            Vartype::Average => entry.value / f64::from(entry.buckets.max(1)),
            _ => entry.value,
        }
    }

    /// Begins another interval.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
        self.smallest.clear();
        self.displaced = 0;
    }
}

/// The first so many in an order. Only these are put in order: there are thousands of others.
fn first(
    all: &mut [(f64, &Entry)],
    count: usize,
    order: impl Fn(&(f64, &Entry), &(f64, &Entry)) -> Ordering,
) -> Vec<Ranked> {
    let count = count.min(all.len());
    if (1..all.len()).contains(&count) {
        all.select_nth_unstable_by(count - 1, &order);
    }
    let head = &mut all[..count];
    head.sort_unstable_by(&order);
    head.iter().map(|(value, entry)| Ranked { key: entry.key.clone(), value: *value, error: entry.error }).collect()
}

/// A number that orders as the value does.
fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The value of an interval from what it was and the value of one more bucket.
fn fold(vartype: Vartype, entry: &Entry, value: f64) -> f64 {
    match vartype {
        Vartype::Counter | Vartype::RateCounter | Vartype::Average => entry.value + value,
        Vartype::Gauge | Vartype::RunningCounter | Vartype::DeltaRateCounter => value,
        Vartype::Maximum => entry.value.max(value),
        Vartype::Minimum => entry.value.min(value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::proptest;

    use super::TopperTrack;
    use crate::metrics::Vartype;

    #[test]
    fn values_combine_by_vartype() {
        for (vartype, expected) in [
            (Vartype::Counter, 9.0),
            (Vartype::RateCounter, 9.0),
            (Vartype::Gauge, 2.0),
            (Vartype::Average, 3.0),
            (Vartype::Maximum, 4.0),
            (Vartype::Minimum, 2.0),
        ] {
            let mut track = TopperTrack::new(vartype, 1);
            [3.0, 4.0, 2.0].into_iter().for_each(|value| track.add(0, b"k", value));
            assert_eq!(track.ranked(1, 0).0[0].value, expected, "{vartype}");
        }
    }

    #[test]
    fn the_smallest_come_smallest_first() {
        let mut track = TopperTrack::new(Vartype::Counter, 2);
        for (key, value) in [(&b"a"[..], 3.0), (b"b", 1.0), (b"c", 2.0), (b"d", 1.0)] {
            track.add(u64::from(key[0] % 2), key, value);
        }
        let keys = |list: Vec<super::Ranked>| list.iter().map(|r| r.key[0] as char).collect::<String>();
        let (top, bottom) = track.ranked(2, 3);
        assert_eq!((keys(top), keys(bottom)), ("ac".to_owned(), "bdc".to_owned()));
    }

    proptest! {
        #[test]
        fn small_sets_are_exact_and_large_ones_err_by_what_they_say(
            updates in proptest::collection::vec((0u8..40, 0u8..50), 0..300), room in 5usize..60,
        ) {
            let mut track = TopperTrack::with_room(Vartype::Counter, room);
            let mut twin = BTreeMap::<u8, f64>::new();
            for (key, value) in updates {
                // Keys may share a hash.
                track.add(u64::from(key % 8), &[key], f64::from(value));
                *twin.entry(key).or_default() += f64::from(value);
            }
            let (all, _) = track.ranked(usize::MAX, 0);
            for ranked in &all {
                let exact = twin[&ranked.key[0]];
                assert!(ranked.value >= exact && ranked.value - ranked.error <= exact);
            }
            if twin.len() <= room {
                assert_eq!((all.len(), track.displaced()), (twin.len(), 0));
            }
        }
    }
}
