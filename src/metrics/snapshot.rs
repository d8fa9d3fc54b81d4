//! A closed bucket of one group: read-only, self-contained, mergeable.

use std::sync::Arc;

use super::GroupIndex;
use super::Vartype;
use super::layout::Layout;
use super::packed::{GROUP_TOTALS, Packed};
use super::vartype::{Combine, plain};
use crate::processor::side_by_side;
use crate::time::Timestamp;

/// The touched keys of one bucket, after [`Snapshot::merge`] in byte order of their text, and the group's totals.
#[derive(Clone, Debug)]
pub struct Snapshot {
    group: GroupIndex,
    start: i64,
    size: i64,
    layout: Arc<Layout>,
    // INVARIANT: without duplicates; each names its raw words by row.
    keys: Vec<(Packed, u32)>,
    raw: Vec<f64>,
    texts: Vec<u8>,
    totals: Vec<f64>,
    /// Whether the totals are to be read.
    shows_totals: bool,
}

/// What becomes of one key of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It stays with these finished values, one per meter id.
    Change(Box<[f64]>),
    /// It goes.
    Drop,
}

/// Where the raw words of a meter lie in a row of [`Snapshot::for_each_raw`]: one word, two for an average (sum and number
/// of updates). NaN is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawMeter {
    /// Meter.
    pub id: u8,
    /// How it accumulates.
    pub vartype: Vartype,
    /// Its first word.
    pub at: usize,
}

impl RawMeter {
    /// The word at a place of a raw row; NaN where the row has none.
    #[inline]
    #[must_use]
    pub fn word(raw: &[f64], at: usize) -> f64 {
        raw.get(at).map_or(f64::NAN, |word| plain(*word))
    }
}

impl Snapshot {
    pub(super) fn new(group: GroupIndex, start: i64, size: i64, layout: Arc<Layout>, keys: usize) -> Self {
        Self {
            group,
            start,
            size,
            keys: Vec::with_capacity(keys),
            raw: Vec::with_capacity(keys * layout.bucket),
            texts: Vec::new(),
            totals: layout.template[..layout.bucket].to_vec(),
            shows_totals: true,
            layout,
        }
    }

    /// Starts the totals with running totals of keys that are gone.
    pub(super) fn seed_totals(&mut self, running: &[f64]) {
        for slot in self.layout.running() {
            self.totals[usize::from(slot.bucket)] = running[usize::from(slot.bucket)];
        }
    }

    pub(super) fn push(&mut self, key: Packed, texts: &[u8], raw: &[f64]) {
        let mut key = key;
        if key.is_long() {
            let text = &texts[key.range()];
            key.hi = self.texts.len() as u64;
            self.texts.extend_from_slice(text);
        }
        combine(&self.layout, &mut self.totals, raw, Combine::Total);
        self.keys.push((key, self.keys.len() as u32));
        self.raw.extend_from_slice(raw);
    }

    fn sort(&mut self) {
        let texts = &self.texts;
        self.keys.sort_unstable_by(|(a, _), (b, _)| a.cmp_text(texts, *b, texts));
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupIndex {
        self.group
    }

    /// Start of the bucket in seconds.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.start
    }

    /// End of the bucket.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        Timestamp::new(self.start.saturating_add(self.size), 0)
    }

    /// Seconds of the bucket.
    #[must_use]
    pub fn size(&self) -> i64 {
        self.size
    }

    /// Memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keys.len() * size_of::<(Packed, u32)>() + self.raw.len() * size_of::<f64>() + self.texts.len()
    }

    /// Where the words of each meter lie in a raw row.
    pub fn raw_meters(&self) -> impl Iterator<Item = RawMeter> {
        let meter =
            |slot: &super::layout::Slot| RawMeter { id: slot.id, vartype: slot.vartype, at: usize::from(slot.bucket) };
        self.layout.slots().iter().map(meter)
    }

    /// As [`Snapshot::for_each`], with words that can still be combined in place of finished values: [`RawMeter::word`] reads
    /// one.
    pub fn for_each_raw(&self, mut read: impl FnMut(&[u8], &[f64])) {
        for &(key, row) in &self.keys {
            key.with_text(&self.texts, |text| read(text, self.raw_row(row)));
        }
        if self.shows_totals {
            read(GROUP_TOTALS, &self.totals);
        }
    }

    /// What is left of the bucket after verdicts on its keys, in the order of [`Snapshot::for_each`]: the last one is on the
    /// totals, which are not added up again. Keys without a verdict stay.
    #[must_use]
    pub fn judged(mut self, verdicts: Vec<Verdict>) -> Self {
        let (mut keys, width) = (std::mem::take(&mut self.keys), self.layout.bucket);
        let mut verdicts = verdicts.into_iter();
        keys.retain(|&(_, row)| match verdicts.next() {
            None | Some(Verdict::Keep) => true,
            Some(Verdict::Change(values)) => {
                let raw = &mut self.raw[row as usize * width..][..width];
                change(&self.layout, raw, &values, self.size as f64);
                true
            }
            Some(Verdict::Drop) => false,
        });
        match verdicts.next() {
            None | Some(Verdict::Keep) => {}
            Some(Verdict::Change(values)) => change(&self.layout, &mut self.totals, &values, self.size as f64),
            Some(Verdict::Drop) => self.shows_totals = false,
        }
        self.keys = keys;
        self
    }

    /// Number of keys, the totals not among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Calls `read` with each key and its finished values (one per meter id, gaps 0), after [`Snapshot::merge`] in byte order
    /// of the keys, and last with `SYS:GROUP_TOTALS`.
    pub fn for_each(&self, mut read: impl FnMut(&[u8], &[f64])) {
        let mut values = vec![0.0; self.layout.width];
        for &(key, row) in &self.keys {
            self.values(self.raw_row(row), &mut values);
            key.with_text(&self.texts, |text| read(text, &values));
        }
        if self.shows_totals {
            self.values(&self.totals, &mut values);
            read(GROUP_TOTALS, &values);
        }
    }

    /// As [`Snapshot::for_each`] without the totals, with the values of these meters in their order, and NaN in the place of
    /// one that was not updated.
    pub fn for_each_updated(&self, meters: impl Iterator<Item = u8>, mut read: impl FnMut(&[u8], &[f64])) {
        let slots: Vec<_> = meters.map(|id| self.layout.find(u32::from(id)).map(|(_, slot)| slot)).collect();
        let (mut values, secs) = (vec![f64::NAN; slots.len()], self.size as f64);
        for &(key, row) in &self.keys {
            let raw = self.raw_row(row);
            for (value, slot) in values.iter_mut().zip(&slots) {
                let Some(slot) = slot else { continue };
                let words = &raw[usize::from(slot.bucket)..];
                *value = if slot.vartype.is_updated(words) { slot.vartype.finish(words, secs) } else { f64::NAN };
            }
            key.with_text(&self.texts, |text| read(text, &values));
        }
    }

    /// Deals the keys out to several snapshots of the same bucket, which merge into this one again. What totals owe to keys
    /// that are gone stays with the first.
    #[must_use]
    pub fn split(self, parts: usize, part_of: impl Fn(&[u8]) -> usize) -> Vec<Self> {
        if parts < 2 {
            return vec![self];
        }
        let empty = || Self::new(self.group, self.start, self.size, Arc::clone(&self.layout), 0);
        let mut split: Vec<Self> = (0..parts).map(|_| empty()).collect();
        for slot in self.layout.running() {
            let at = usize::from(slot.bucket);
            split[0].totals[at] = Self::pruned_running(at)(&self);
        }
        // In their order, which stays.
        for &(key, row) in &self.keys {
            let part = key.with_text(&self.texts, &part_of).min(parts - 1);
            split[part].push(key, &self.texts, self.raw_row(row));
        }
        split
    }

    fn raw_row(&self, row: u32) -> &[f64] {
        &self.raw[row as usize * self.layout.bucket..][..self.layout.bucket]
    }

    fn values(&self, raw: &[f64], values: &mut [f64]) {
        for slot in self.layout.slots() {
            values[usize::from(slot.id)] = slot.vartype.finish(&raw[usize::from(slot.bucket)..], self.size as f64);
        }
    }

    /// Joins the snapshots of several shards: those of the same bucket and group become one, with its keys in order. The
    /// result is in order of bucket end, then group.
    ///
    /// Exact for every vartype whose updates of one key all came to one shard; counters, rates, averages, maxima and minima
    /// may be spread freely. The keys of one shard win over those of earlier ones where only one value can be kept.
    #[must_use]
    pub fn merge(mut snapshots: Vec<Self>) -> Vec<Self> {
        snapshots.sort_by_key(|s| (s.start.saturating_add(s.size), s.group, s.start));
        let mut buckets: Vec<Vec<Self>> = Vec::new();
        for snapshot in snapshots {
            match buckets.last_mut().filter(|b| b[0].group == snapshot.group && b[0].start == snapshot.start) {
                Some(bucket) => bucket.push(snapshot),
                None => buckets.push(vec![snapshot]),
            }
        }
        let keys = buckets.iter().flatten().map(Self::len).sum();
        side_by_side(buckets, keys, Self::merge_bucket)
    }

    fn merge_bucket(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            let mut only = parts.swap_remove(0);
            only.sort();
            return only;
        }
        let mut rows: Vec<(usize, Packed, u32)> = Vec::with_capacity(parts.iter().map(Self::len).sum());
        for (part, snapshot) in parts.iter().enumerate() {
            rows.extend(snapshot.keys.iter().map(|&(key, row)| (part, key, row)));
        }
        let order = |a: &(usize, Packed, u32), b: &(usize, Packed, u32)| {
            a.1.cmp_text(&parts[a.0].texts, b.1, &parts[b.0].texts).then(a.0.cmp(&b.0))
        };
        rows.sort_unstable_by(order);
        let first = &parts[0];
        let mut merged = Self::new(first.group, first.start, first.size, Arc::clone(&first.layout), rows.len());
        for slot in first.layout.running() {
            let at = usize::from(slot.bucket);
            merged.totals[at] = parts.iter().map(Self::pruned_running(at)).sum();
        }
        let mut raw = Vec::new();
        let mut at = 0;
        while let Some(&(part, key, row)) = rows.get(at) {
            raw.clear();
            raw.extend_from_slice(parts[part].raw_row(row));
            at += 1;
            while let Some(&(other, same, row)) = rows.get(at) {
                if key.cmp_text(&parts[part].texts, same, &parts[other].texts).is_ne() {
                    break;
                }
                combine(&merged.layout, &mut raw, parts[other].raw_row(row), Combine::SameKey);
                at += 1;
            }
            merged.push(key, &parts[part].texts, &raw);
        }
        merged
    }

    /// What of a running total belongs to keys that are not in the snapshot.
    fn pruned_running(at: usize) -> impl Fn(&Self) -> f64 {
        move |s| s.totals[at] - (0..s.keys.len() as u32).map(|row| s.raw_row(row)[at]).sum::<f64>()
    }
}

/// Puts finished values into the place of raw words, where they differ.
fn change(layout: &Layout, raw: &mut [f64], values: &[f64], secs: f64) {
    for slot in layout.slots() {
        let words = &mut raw[usize::from(slot.bucket)..][..slot.vartype.bucket_words()];
        let value = values.get(usize::from(slot.id)).copied();
        if let Some(value) = value.filter(|value| *value != slot.vartype.finish(words, secs)) {
            slot.vartype.unfinish(value, words, secs);
        }
    }
}

fn combine(layout: &Layout, into: &mut [f64], other: &[f64], what: Combine) {
    for slot in layout.slots() {
        let at = usize::from(slot.bucket)..usize::from(slot.bucket) + slot.vartype.bucket_words();
        slot.vartype.combine(&mut into[at.clone()], &other[at], what);
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{RawMeter, ShardConfig, Vartype, rehearsal};
    use crate::time::Timestamp;

    #[test]
    fn a_meter_with_updates_of_zero_is_told_from_one_without() {
        let (mut shard, group) = rehearsal::shard(&Vartype::ALL, ShardConfig::default());
        shard.advance(Timestamp::new(100, 0), |_| {});
        for meter in 0..Vartype::ALL.len() {
            shard.update(group, &[b'a' + meter as u8], meter as u32, 0.0);
        }
        let (mut updated, mut words) = (Vec::new(), Vec::new());
        shard.advance(Timestamp::new(111, 0), |snapshot| {
            // Backwards, and one that the group does not have.
            let meters = (0..Vartype::ALL.len() as u8).rev().chain([31]);
            snapshot.for_each_updated(meters, |_, values| {
                updated.push(values.iter().map(|value| !value.is_nan()).collect::<Vec<_>>());
            });
            snapshot.for_each_raw(|_, raw| words.extend((0..raw.len()).map(|at| RawMeter::word(raw, at))));
            snapshot.for_each(|_, values| words.extend_from_slice(values));
        });
        let own =
            |key: usize| (0..Vartype::ALL.len()).rev().map(|meter| meter == key).chain([false]).collect::<Vec<_>>();
        assert_eq!(updated, (0..Vartype::ALL.len()).map(own).collect::<Vec<_>>());
        assert!(words.iter().all(|word| word.is_nan() || word.is_sign_positive()), "{words:?}");
    }
}
