//! What a whole run counted, per key and meter: taken from shards at the end and merged.

use std::sync::Arc;

use super::accumulator::{Accumulator, KeyCounts};
use super::layout::{Layout, Slot};
use super::packed::Packed;
use super::shard::{Shard, ShardCounts};
use super::table::Record;
use super::tally::Tally;
use super::vartype::Combine;
use super::{GroupIndex, topper};
use crate::processor::side_by_side;

/// Words of a (key, meter) for the run.
type Words = [f64; 2];

/// The totals of all groups, and what was not counted.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
    groups: Vec<GroupTotals>,
    counts: ShardCounts,
}

/// The totals of one group, keys in byte order of their text.
#[derive(Clone, Debug)]
pub struct GroupTotals {
    layout: Arc<Layout>,
    // INVARIANT: sorted by text without duplicates; each names its row of `words` and `tallies`. Some rows may have no key.
    keys: Vec<(Packed, u32)>,
    words: Vec<Words>,
    tallies: Vec<Option<Tally>>,
    texts: Vec<u8>,
    /// What pruned keys contributed, by slot.
    pruned: Vec<Words>,
    counts: KeyCounts,
}

impl RunTotals {
    /// Of one shard. What is still in open buckets is not in them: call [`Shard::finish`] first.
    #[must_use]
    pub fn of(shard: &Shard) -> Self {
        Self { groups: shard.groups().iter().map(GroupTotals::of).collect(), counts: shard.counts() }
    }

    /// Merges the totals of shards that were made from the same registry.
    ///
    /// Counters, rates, averages, maxima and minima give what one shard would have, however updates were spread. Gauges,
    /// running and delta meters need the updates of a key in one shard; otherwise running totals add up, and of two last
    /// values that of the later argument stays. A counter is exact as long as no shard's bucket sum is negative.
    #[must_use]
    pub fn merge(all: Vec<Self>) -> Option<Self> {
        let mut counts = ShardCounts::default();
        let mut columns: Vec<Vec<GroupTotals>> = Vec::new();
        for totals in all {
            counts.add(&totals.counts);
            columns.resize_with(columns.len().max(totals.groups.len()), Vec::new);
            for (column, group) in columns.iter_mut().zip(totals.groups) {
                column.push(group);
            }
        }
        // A single shard leaves nothing to merge.
        let shared = columns.iter().filter(|column| column.len() > 1).flatten();
        let keys = shared.map(GroupTotals::len).sum();
        let groups: Vec<_> = side_by_side(columns, keys, GroupTotals::merge).into_iter().flatten().collect();
        (!groups.is_empty()).then_some(Self { groups, counts })
    }

    /// The totals of a group.
    #[must_use]
    pub fn group(&self, index: GroupIndex) -> Option<&GroupTotals> {
        self.groups.get(usize::from(index.0))
    }

    /// What was not counted as asked.
    #[must_use]
    pub fn counts(&self) -> ShardCounts {
        self.counts
    }
}

impl GroupTotals {
    fn empty(layout: &Arc<Layout>, keys: usize) -> Self {
        Self {
            layout: Arc::clone(layout),
            keys: Vec::with_capacity(keys),
            words: Vec::with_capacity(keys * layout.slots().len()),
            tallies: Vec::new(),
            texts: Vec::new(),
            pruned: Vec::new(),
            counts: KeyCounts::default(),
        }
    }

    fn of(accumulator: &Accumulator) -> Self {
        let (layout, table) = (accumulator.layout(), accumulator.table());
        let mut totals = Self::empty(layout, table.len());
        for record in 0..table.len() as Record {
            totals.push_key(table.key(record), table.texts());
            for (index, slot) in layout.slots().iter().enumerate() {
                totals.words.push(accumulator.run_words(record, slot));
                totals.tallies.extend(accumulator.has_tallies().then(|| accumulator.tally(record, index)));
            }
        }
        totals.pruned = layout.slots().iter().map(|slot| accumulator.pruned_words(slot)).collect();
        totals.counts = accumulator.counts();
        totals.sort();
        totals
    }

    fn push_key(&mut self, mut key: Packed, texts: &[u8]) {
        if key.is_long() {
            let text = &texts[key.range()];
            key.hi = self.texts.len() as u64;
            self.texts.extend_from_slice(text);
        }
        self.keys.push((key, self.keys.len() as u32));
    }

    fn sort(&mut self) {
        let texts = &self.texts;
        self.keys.sort_unstable_by(|(a, _), (b, _)| a.cmp_text(texts, *b, texts));
    }

    /// The rows of all parts stay as they are, one part behind the other; of a key that several have, only the row of the
    /// first remains in use.
    fn merge(mut parts: Vec<Self>) -> Option<Self> {
        if parts.len() < 2 {
            return parts.pop();
        }
        let lists: Vec<Vec<(Packed, u32)>> = parts.iter_mut().map(|part| std::mem::take(&mut part.keys)).collect();
        let mut parts = parts.into_iter();
        let mut merged = parts.next()?;
        let mut starts = vec![Start::default()];
        for part in parts {
            starts.push(merged.append(part));
        }
        merged.keys = Vec::with_capacity(lists.iter().map(Vec::len).sum());
        let mut rest: Vec<&[(Packed, u32)]> = lists.iter().map(|list| &list[..]).collect();
        while let Some((first, key, row)) = least(&merged.texts, &starts, &rest) {
            merged.keys.push((key, row));
            rest[first] = &rest[first][1..];
            // In those before it every key is greater.
            for (start, rest) in starts.iter().zip(&mut rest).skip(first + 1) {
                if let Some((&same, behind)) = rest.split_first() {
                    let (same, other) = start.moved(same);
                    if key.cmp_text(&merged.texts, same, &merged.texts).is_eq() {
                        merged.take_in(row, other);
                        *rest = behind;
                    }
                }
            }
        }
        merged.counts.seen = merged.keys.len() as u64 + merged.counts.pruned;
        merged.counts.kept = merged.keys.len() as u64;
        Some(merged)
    }

    /// Puts the rows of another shard behind the own ones; says where they begin. Its keys have been taken out.
    fn append(&mut self, part: Self) -> Start {
        let slots = self.layout.slots();
        let start = Start { row: (self.words.len() / slots.len().max(1)) as u32, text: self.texts.len() as u64 };
        self.words.extend(part.words);
        self.tallies.extend(part.tallies);
        self.texts.extend(part.texts);
        for ((slot, into), from) in slots.iter().zip(&mut self.pruned).zip(&part.pruned) {
            combine(slot, into, from, Combine::Total);
        }
        self.counts.add(&part.counts);
        start
    }

    /// Adds a row to one before it.
    fn take_in(&mut self, row: u32, other: u32) {
        let (row, other) = (self.row(row), self.row(other));
        let (into, from) = self.words.split_at_mut(other.start);
        for ((slot, into), other) in self.layout.slots().iter().zip(&mut into[row.clone()]).zip(from) {
            combine(slot, into, other, Combine::SameKey);
        }
        if self.tallies.is_empty() {
            return;
        }
        let (into, from) = self.tallies.split_at_mut(other.start);
        for (into, other) in into[row].iter_mut().zip(&from[..other.len()]) {
            match (into, other) {
                (Some(into), Some(other)) => into.merge(other),
                (into @ None, other) => *into = *other,
                (Some(_), None) => {}
            }
        }
    }

    fn row(&self, row: u32) -> std::ops::Range<usize> {
        let slots = self.layout.slots().len();
        row as usize * slots..(row as usize + 1) * slots
    }

    /// Number of keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What happened to the keys.
    #[must_use]
    pub fn counts(&self) -> KeyCounts {
        self.counts
    }

    /// Calls `read` with each key and its value per meter id (gaps 0), in byte order of the keys.
    pub fn for_each(&self, mut read: impl FnMut(&[u8], &[f64])) {
        let mut values = vec![0.0; self.layout.width];
        for &(key, row) in &self.keys {
            for (slot, words) in self.layout.slots().iter().zip(&self.words[self.row(row)]) {
                values[usize::from(slot.id)] = slot.vartype.finish_run(words);
            }
            key.with_text(&self.texts, |text| read(text, &values));
        }
    }

    /// Calls `read` with the updates of each (key, meter) as they were made, in byte order of the keys and by meter id.
    /// Empty unless the shards kept tallies; those of pruned keys are gone.
    pub fn for_each_tally(&self, mut read: impl FnMut(&[u8], u8, &Tally)) {
        let mut slots: Vec<(usize, &Slot)> = self.layout.slots().iter().enumerate().collect();
        slots.sort_by_key(|(_, slot)| slot.id);
        for &(key, row) in &self.keys {
            let Some(tallies) = self.tallies.get(self.row(row)) else { return };
            key.with_text(&self.texts, |text| {
                for (index, slot) in &slots {
                    if let Some(tally) = &tallies[*index] {
                        read(text, slot.id, tally);
                    }
                }
            });
        }
    }

    /// The value of the whole group for a meter, pruned keys included.
    #[must_use]
    pub fn total(&self, meter: u32) -> f64 {
        let Some((index, slot)) = self.layout.find(meter) else { return 0.0 };
        let mut words = self.pruned[index];
        for &(_, row) in &self.keys {
            combine(&slot, &mut words, &self.words[self.row(row)][index], Combine::Total);
        }
        slot.vartype.finish_run(&words)
    }

    /// The `count` keys with the largest or smallest values of a meter, in that order; equal ones by key.
    #[must_use]
    pub fn ranked(&self, meter: u32, count: usize, rank: topper::Rank) -> Vec<topper::Topper> {
        let Some((index, slot)) = self.layout.find(meter) else { return Vec::new() };
        let values = self.keys.iter().map(|&(_, row)| slot.vartype.finish_run(&self.words[self.row(row)][index]));
        let chosen = topper::ranked(values, count, rank);
        let named = |(at, value): (usize, f64)| {
            let key = self.keys[at].0.with_text(&self.texts, <[u8]>::to_vec);
            topper::Topper { key, value }
        };
        chosen.into_iter().map(named).collect()
    }
}

/// Where the rows and the long texts of a part begin among those of all.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    row: u32,
    text: u64,
}

impl Start {
    fn moved(self, (mut key, row): (Packed, u32)) -> (Packed, u32) {
        if key.is_long() {
            key.hi += self.text;
        }
        (key, self.row + row)
    }
}

/// The first key of what is left of sorted parts: its part, the first of those that have it, and the key and its row among
/// those of all.
fn least(texts: &[u8], starts: &[Start], rest: &[&[(Packed, u32)]]) -> Option<(usize, Packed, u32)> {
    let heads = rest.iter().zip(starts).enumerate().filter_map(|(part, (keys, start))| {
        let (key, row) = start.moved(*keys.first()?);
        Some((part, key, row))
    });
    // Of equal ones it is the first.
    heads.min_by(|a, b| a.1.cmp_text(texts, b.1, texts))
}

fn combine(slot: &Slot, into: &mut Words, other: &Words, what: Combine) {
    let n = slot.vartype.bucket_words();
    slot.vartype.combine(&mut into[..n], &other[..n], what);
}
