//! Updates of keys that another shard has, on their way there.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::GroupIndex;
use super::owners::{OwnPart, Owners};

/// Updates that may wait for one other shard, and bytes of their keys.
const MAX_UPDATES: usize = 1_000_000;
const MAX_TEXT: usize = 64 << 20;

/// One update, or several that only add up.
#[derive(Clone, Debug)]
struct Entry {
    group: GroupIndex,
    meter: u32,
    /// Where its key lies.
    from: u32,
    to: u32,
    value: f64,
    updates: u64,
    hash: u64,
}

/// How the updates of a meter come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// Only their sum counts.
    Sum,
    /// Each counts as it was made.
    Each,
}

/// Updates of keys of one other shard, in their order.
#[derive(Clone, Debug, Default)]
pub struct Updates {
    list: Vec<Entry>,
    texts: Vec<u8>,
    /// Those that sum up, by group, meter and key.
    sums: HashTable<u32>,
    hasher: RandomState,
    dropped: u64,
}

impl Updates {
    /// Adds so many updates of a key, whose sum is given where there are several.
    pub fn add(
        &mut self,
        (group, meter): (GroupIndex, u32),
        key: &[u8],
        (value, updates): (f64, u64),
        folding: Folding,
    ) {
        let hash = match folding {
            Folding::Sum => self.hasher.hash_one((group.0, meter, key)),
            Folding::Each => 0,
        };
        if folding == Folding::Sum {
            let (list, texts) = (&self.list, &self.texts);
            let is_same = |&at: &u32| {
                let entry = &list[at as usize];
                (entry.group, entry.meter) == (group, meter) && &texts[entry.from as usize..entry.to as usize] == key
            };
            if let Some(&at) = self.sums.find(hash, is_same) {
                let entry = &mut self.list[at as usize];
                entry.value += value;
                entry.updates += updates;
                return;
            }
        }
        if self.list.len() >= MAX_UPDATES || self.texts.len() + key.len() > MAX_TEXT {
            self.dropped += updates;
            return;
        }
        let (at, from) = (self.list.len() as u32, self.texts.len() as u32);
        self.texts.extend_from_slice(key);
        self.list.push(Entry { group, meter, from, to: self.texts.len() as u32, value, updates, hash });
        if folding == Folding::Sum {
            let list = &self.list;
            self.sums.insert_unique(hash, at, |&at| list[at as usize].hash);
        }
    }

    /// Puts those that come later behind these; returns how many updates there was no room for.
    pub fn append(&mut self, later: &Self) -> u64 {
        let before = self.dropped;
        later.for_each(|group, meter, key, value, updates| {
            // What was summed up there was found to be a sum.
            let folding = if updates > 1 { Folding::Sum } else { Folding::Each };
            self.add((group, meter), key, (value, updates), folding);
        });
        self.dropped - before
    }

    /// Calls `read` with the group, meter and key of each, its value, and the number of updates that this is the sum of.
    pub fn for_each(&self, mut read: impl FnMut(GroupIndex, u32, &[u8], f64, u64)) {
        for entry in &self.list {
            let key = &self.texts[entry.from as usize..entry.to as usize];
            read(entry.group, entry.meter, key, entry.value, entry.updates);
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// What a shard does with updates of keys that are not its own.
#[derive(Clone, Debug)]
pub(super) struct Away {
    owners: Owners,
    updates: Vec<Updates>,
    dropped: u64,
}

impl Away {
    pub fn new(part: OwnPart) -> Self {
        let owners = part.owners;
        Self { owners, updates: (0..owners.count()).map(|_| Updates::default()).collect(), dropped: 0 }
    }

    pub fn add(&mut self, of: (GroupIndex, u32), key: &[u8], value: (f64, u64), folding: Folding) {
        self.updates[self.owners.place(key)].add(of, key, value, folding);
    }

    /// What waits for each shard, by its number.
    pub fn take(&mut self) -> Vec<Updates> {
        self.dropped += self.updates.iter().map(|updates| updates.dropped).sum::<u64>();
        self.updates.iter_mut().map(std::mem::take).collect()
    }

    /// Updates for which there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.updates.iter().map(|updates| updates.dropped).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Away, Folding, MAX_TEXT, MAX_UPDATES, Updates};
    use crate::metrics::owners::{OwnPart, Owners};
    use crate::metrics::{
        GroupIndex, Growth, KeyRef, RunTotals, Shard, ShardConfig, Snapshot, Tallies, Vartype, rehearsal,
    };
    use crate::time::Timestamp;

    fn listed(updates: &Updates) -> Vec<(u32, String, f64, u64)> {
        let mut list = Vec::new();
        updates.for_each(|_, meter, key, value, n| {
            list.push((meter, String::from_utf8_lossy(key).into_owned(), value, n));
        });
        list
    }

    #[test]
    fn sums_come_together_and_what_there_is_no_room_for_is_counted() {
        let mut updates = Updates::default();
        let group = GroupIndex(3);
        updates.add((group, 0), b"k", (1.0, 1), Folding::Sum);
        updates.add((group, 1), b"k", (5.0, 1), Folding::Each);
        updates.add((group, 0), b"k", (2.0, 4), Folding::Sum);
        updates.add((group, 1), b"k", (4.0, 1), Folding::Each);
        let k = || "k".to_owned();
        assert_eq!(listed(&updates), [(0, k(), 3.0, 5), (1, k(), 5.0, 1), (1, k(), 4.0, 1)]);
        for _ in 0..MAX_UPDATES {
            updates.add((group, 1), b"", (0.0, 1), Folding::Each);
        }
        assert_eq!((updates.len(), updates.dropped), (MAX_UPDATES, 3));
        updates.add((group, 0), b"k", (1.0, 1), Folding::Sum);
        assert_eq!(listed(&updates)[0].2, 4.0, "a sum needs no room");
        assert_eq!(Updates::default().append(&updates), 0);
    }

    #[test]
    fn what_found_no_room_stays_counted_when_the_others_have_gone() {
        let mut away = Away::new(OwnPart { owners: Owners::new(2), own: 0 });
        let (of, too_long) = ((GroupIndex(0), 0), vec![0; MAX_TEXT + 1]);
        for round in 1..=2 {
            away.add(of, b"k", (1.0, 1), Folding::Each);
            away.add(of, &too_long, (1.0, 1), Folding::Each);
            away.add(of, &too_long, (9.0, 4), Folding::Each);
            assert_eq!(away.dropped(), 5 * round, "before");
            let taken = away.take();
            assert_eq!(taken.iter().map(Updates::len).sum::<usize>(), 1);
            assert_eq!(away.dropped(), 5 * round, "after");
        }
    }

    /// Two shards that share the keys, and what one shard without others would have.
    fn shards(meters: &[Vartype], tallies: Tallies) -> ([Shard; 2], Shard, GroupIndex) {
        shards_of(meters, &ShardConfig { tallies, ..ShardConfig::default() })
    }

    fn shards_of(meters: &[Vartype], config: &ShardConfig) -> ([Shard; 2], Shard, GroupIndex) {
        let of = |part| rehearsal::shard(meters, ShardConfig { part, ..config.clone() });
        let part = |own| Some(OwnPart { owners: Owners::new(2), own });
        let (whole, group) = of(None);
        let mut all = ([of(part(0)).0, of(part(1)).0], whole, group);
        let start = Timestamp::new(100, 0);
        all.0.iter_mut().chain([&mut all.1]).for_each(|shard| shard.advance(start, |_| {}));
        all
    }

    fn exchange(shards: &mut [Shard; 2]) {
        for from in 0..2 {
            let away = shards[from].take_away();
            assert!(away[from].is_empty(), "its own are counted at once");
            for (to, updates) in away.iter().enumerate() {
                shards[to].take_in(updates);
            }
        }
    }

    fn rows(shards: &mut [Shard]) -> Vec<(String, Vec<f64>)> {
        let mut closed = Vec::new();
        shards.iter_mut().for_each(|shard| shard.finish(|snapshot| closed.push(snapshot)));
        let mut rows = Vec::new();
        for snapshot in Snapshot::merge(closed) {
            snapshot.for_each(|key, values| rows.push((String::from_utf8_lossy(key).into_owned(), values.to_vec())));
        }
        rows
    }

    #[test]
    fn every_key_is_in_the_shard_that_owns_it_whichever_was_asked_to_count_it() {
        for tallies in [Tallies::Off, Tallies::On] {
            let meters = [Vartype::Counter, Vartype::Average, Vartype::RunningCounter, Vartype::Maximum];
            let (mut two, mut one, group) = shards(&meters, tallies);
            let keys = ["C0.A8.01.02", "p-0050", "plain", "a text of more than sixteen bytes", "cut\0off", "x", "y"];
            for round in 0..50_u32 {
                for (n, key) in keys.iter().enumerate() {
                    let (at, meter) = ((round as usize + n) % 2, round % 4);
                    let value = f64::from(round) - if meter == 2 { 30.0 } else { 0.0 };
                    two[at].update(group, key.as_bytes(), meter, value);
                    one.update(group, key.as_bytes(), meter, value);
                    let both = [(0, 1.0), (1, f64::from(round))];
                    two[at].update_meters(group, KeyRef::Text(key.as_bytes()), &both);
                    one.update_meters(group, KeyRef::Text(key.as_bytes()), &both);
                    exchange(&mut two);
                }
            }
            for shard in &mut two {
                assert!(shard.open_keys(group) > 0);
            }
            assert_eq!(two.iter().map(|shard| shard.open_keys(group)).sum::<usize>(), keys.len());
            let updates = |shard: &Shard| shard.key_counts(group).updates;
            assert_eq!(two.iter().map(updates).sum::<u64>(), updates(&one));
            assert_eq!(rows(&mut two), rows(std::slice::from_mut(&mut one)));
            let totals = RunTotals::merge(two.iter().map(RunTotals::of).collect()).unwrap();
            let (mut several, mut alone) = (Vec::new(), Vec::new());
            totals
                .group(group)
                .unwrap()
                .for_each_tally(|key, meter, tally| several.push((key.to_vec(), meter, *tally)));
            let totals = RunTotals::of(&one);
            totals.group(group).unwrap().for_each_tally(|key, meter, tally| alone.push((key.to_vec(), meter, *tally)));
            assert_eq!(several, alone);
            assert_eq!(alone.is_empty(), tallies == Tallies::Off);
        }
    }

    #[test]
    fn sums_of_words_go_where_their_key_belongs() {
        let (mut two, mut one, group) = shards(&[Vartype::Counter], Tallies::Off);
        for word in 0..20 {
            let cells: Vec<bool> = two
                .iter_mut()
                .map(|shard| shard.update_sum(group, crate::key::KeyKind::Port, word, 0, 3.0, 3).is_some())
                .collect();
            assert_eq!(cells.iter().filter(|known| **known).count(), 1, "only one lets it be counted by its place");
            let _ = one.update_sum(group, crate::key::KeyKind::Port, word, 0, 6.0, 6);
        }
        exchange(&mut two);
        assert_eq!(rows(&mut two), rows(std::slice::from_mut(&mut one)));
        assert_eq!(two.iter().map(|shard| shard.key_counts(group).updates).sum::<u64>(), 120);
    }

    #[test]
    fn what_is_refused_is_refused_at_once() {
        use crate::metrics::Outcome;
        let (mut two, _, group) = shards(&[Vartype::Counter], Tallies::Off);
        for shard in &mut two {
            assert_eq!(shard.update(group, b"SYS:GROUP_TOTALS", 0, 1.0), Outcome::Reserved);
            assert_eq!(shard.update(group, b"k", 9, 1.0), Outcome::UnknownMeter);
            assert_eq!(shard.update(group, b"k", 0, f64::NAN), Outcome::NotFinite);
            assert_eq!(shard.update(group, b"k", 0, 1.0), Outcome::Counted);
            assert_eq!(shard.away_dropped(), 0);
        }
        let outcome = two[0].update_meters(group, KeyRef::Text(b"k"), &[(0, 1.0), (9, 1.0)]);
        assert_eq!(outcome, Outcome::UnknownMeter);
        assert_eq!(two[1].update_meters(group, KeyRef::Text(b"k"), &[(0, 1.0), (9, 1.0)]), Outcome::UnknownMeter);
        exchange(&mut two);
        let found = rows(&mut two);
        assert_eq!(found[0], ("k".to_owned(), vec![4.0]), "{found:?}");
    }

    #[test]
    fn each_of_several_updates_of_a_key_beyond_a_limit_is_counted_by_its_owner() {
        let capped = ShardConfig { hard_cap: 0, ..ShardConfig::default() };
        let fixed = ShardConfig { high_water: 0, growth: Growth::Fixed, ..ShardConfig::default() };
        for (config, is_kept) in [(capped, true), (fixed, false)] {
            let (mut two, mut one, group) = shards_of(&[Vartype::Counter, Vartype::Average], &config);
            for key in [&b"C0.A8.01.02"[..], b"p-0050", b"a text of more than sixteen bytes", b"x", b"y"] {
                for (at, meter) in [(0, 0), (0, 0), (1, 0), (0, 1), (1, 1)] {
                    two[at].update(group, key, meter, 2.0);
                    one.update(group, key, meter, 2.0);
                }
            }
            exchange(&mut two);
            let counts = |shard: &Shard| {
                let keys = shard.key_counts(group);
                [keys.overflowed, keys.rejected, shard.counts().rejected, keys.updates]
            };
            let sum: Vec<u64> = (0..4).map(|at| two.iter().map(|shard| counts(shard)[at]).sum()).collect();
            assert_eq!(sum, counts(&one));
            assert_eq!(sum, if is_kept { [25, 0, 0, 25] } else { [0, 25, 25, 0] });
            assert_eq!(rows(&mut two), rows(std::slice::from_mut(&mut one)));
        }
    }
}
