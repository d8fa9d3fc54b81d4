//! One counter group of one shard: the open bucket, what outlives it, and its limits.

use std::sync::Arc;

use super::GroupIndex;
use super::cell::{Generation, SumCell};
use super::layout::{Layout, Slot};
use super::packed::{GROUP_TOTALS, OVERFLOW_KEY, Packed, Probe, probe};
use super::second::{Attention, SecondKeys};
use super::shard::{Buckets, Growth, Outcome, ShardConfig, Tallies};
use super::snapshot::Snapshot;
use super::table::{Found, HEADER, KeyTable, Record};
use super::tally::{Tally, TallyColumn};
use super::vartype::{Combine, Vartype};

/// Empty buckets that are still closed one by one for the sake of running totals; a longer gap closes only its last one.
const MAX_GAP: i64 = 60;

/// Most words a group's meters take in one bucket: 32 averages of two words.
const MAX_WORDS: usize = 2 * super::layout::MAX_METERS;

/// Exact counts of what happened to a group's keys: `seen = kept + pruned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Keys created, a pruned key that came back counted again.
    pub seen: u64,
    /// Keys held now.
    pub kept: u64,
    /// Keys dropped at a high-water mark.
    pub pruned: u64,
    /// Updates of new keys refused at the mark (fixed growth).
    pub rejected: u64,
    /// Updates of new keys counted under the overflow key.
    pub overflowed: u64,
    /// Updates taken.
    pub updates: u64,
}

impl KeyCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.kept += other.kept;
        self.pruned += other.pruned;
        self.rejected += other.rejected;
        self.overflowed += other.overflowed;
        self.updates += other.updates;
    }
}

/// Where a key's value of one meter is kept, until the bucket closes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub record: Record,
    pub slot: Slot,
}

#[derive(Clone, Debug)]
pub(super) struct Accumulator {
    layout: Arc<Layout>,
    table: KeyTable,
    tallies: Option<TallyColumn>,
    /// Number of the open bucket, from 1; a record with another stamp has not been touched in it.
    /// Where somebody follows the group second by second, every second moves the number on.
    epoch: u32,
    /// The number with which the open bucket began.
    first_epoch: u32,
    touched: Vec<Record>,
    /// What is told of each second.
    attention: Attention,
    /// Touched since the last second was taken, with [`Attention::updates`].
    second: Vec<Record>,
    /// Keys of the open bucket that were told of as new.
    told: usize,
    /// Whether closed buckets are handed out.
    buckets: Buckets,
    /// Start of the open bucket in seconds; `None` until the first time is known.
    start: Option<i64>,
    size: i64,
    /// Run words of pruned keys, so that totals stay exact.
    pruned_run: Vec<f64>,
    /// Running totals of pruned keys, by bucket word.
    pruned_running: Vec<f64>,
    counts: KeyCounts,
    /// Updates made through cells, by slot: a number that every meter adds to would have each addition of a packet wait
    /// for the one before.
    cell_updates: Box<[f64]>,
    generation: Generation,
}

impl Accumulator {
    pub fn new(layout: Layout, bucketsize: u32, config: &ShardConfig, generation: &Generation) -> Self {
        let run = layout.template[layout.bucket..].to_vec();
        Self {
            table: KeyTable::new(layout.bucket + layout.run, generation.clone()),
            tallies: match config.tallies {
                Tallies::Off => None,
                Tallies::On => Some(TallyColumn::new(layout.slots().len())),
            },
            epoch: 1,
            first_epoch: 1,
            touched: Vec::new(),
            attention: Attention::default(),
            second: Vec::new(),
            told: 0,
            buckets: config.buckets,
            start: None,
            size: i64::from(bucketsize.max(1)),
            pruned_run: run,
            pruned_running: vec![0.0; layout.bucket],
            cell_updates: vec![0.0; layout.slots().len()].into_boxed_slice(),
            layout: Arc::new(layout),
            counts: KeyCounts::default(),
            generation: generation.clone(),
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub fn table(&self) -> &KeyTable {
        &self.table
    }

    /// What pruned keys contributed to a slot's total of the run.
    pub fn pruned_words(&self, slot: &Slot) -> [f64; 2] {
        let from = match slot.vartype {
            Vartype::RunningCounter => &self.pruned_running[usize::from(slot.bucket)..],
            _ => &self.pruned_run[usize::from(slot.run)..],
        };
        let mut words = [0.0; 2];
        words.iter_mut().zip(&from[..slot.vartype.bucket_words()]).for_each(|(word, &value)| *word = value);
        words
    }

    pub fn has_tallies(&self) -> bool {
        self.tallies.is_some()
    }

    pub fn counts(&self) -> KeyCounts {
        let updates = self.counts.updates + self.cell_updates.iter().sum::<f64>() as u64;
        KeyCounts { kept: self.table.len() as u64, updates, ..self.counts }
    }

    pub fn bytes(&self) -> usize {
        let tallies = self.tallies.as_ref().map_or(0, TallyColumn::bytes);
        self.table.bytes() + self.touched.capacity() * size_of::<Record>() + tallies
    }

    /// Number of keys in the open bucket.
    pub fn open_keys(&self) -> usize {
        self.touched.len()
    }

    /// End of the open bucket.
    pub fn end(&self) -> Option<i64> {
        self.start.map(|start| start.saturating_add(self.size))
    }

    /// Puts the open bucket where `secs` lies, if it has no place yet.
    pub fn open_at(&mut self, secs: i64) {
        if self.start.is_none() {
            self.start = Some(self.aligned(secs));
        }
    }

    fn aligned(&self, secs: i64) -> i64 {
        secs - secs.rem_euclid(self.size)
    }

    /// Counts one update in the open bucket; also where it went.
    #[inline(always)]
    pub fn update(&mut self, key: &Probe<'_>, meter: u32, value: f64, config: &ShardConfig) -> Result<Place, Outcome> {
        let Some((_, slot)) = self.layout.find(meter) else { return Err(Outcome::UnknownMeter) };
        let record = self.record_for(key, 1, config)?;
        let place = Place { record, slot };
        self.apply(place, value);
        Ok(place)
    }

    /// Asks the memory for what tells where a key's record is; returns the key's hash.
    #[inline]
    pub fn ask_for(&self, key: &Packed) -> u32 {
        self.table.ask_for(key)
    }

    /// As [`Accumulator::ask_for`], for a long text.
    #[inline]
    pub fn ask_for_text(&self, text: &[u8]) -> u32 {
        self.table.ask_for_text(text)
    }

    /// Asks the memory for the text of the record for which [`Accumulator::ask_for_record`] asked, when that has come.
    #[inline]
    pub fn ask_for_stored_text(&self, hash: u32) {
        self.table.ask_for_stored_text(hash);
    }

    /// Asks the memory for the record of a key with this hash, when what tells where it is has come.
    #[inline]
    pub fn ask_for_record(&self, hash: u32) {
        self.table.ask_for_record(hash);
    }

    /// Counts updates of several meters of one key in the open bucket, up to the first meter the group does not have;
    /// otherwise also how many of them were not counted.
    #[inline]
    pub fn update_meters(
        &mut self,
        key: &Probe<'_>,
        updates: &[(u32, f64)],
        config: &ShardConfig,
    ) -> Result<(), (Outcome, usize)> {
        let Some(&(first, _)) = updates.first() else { return Ok(()) };
        if self.layout.find(first).is_none() {
            return Err((Outcome::UnknownMeter, updates.len()));
        }
        let record = self.record_for(key, updates.len() as u64, config).map_err(|outcome| (outcome, updates.len()))?;
        for (at, &(meter, value)) in updates.iter().enumerate() {
            let Some((_, slot)) = self.layout.find(meter) else {
                return Err((Outcome::UnknownMeter, updates.len() - at));
            };
            self.apply(Place { record, slot }, value);
        }
        Ok(())
    }

    /// The record that so many updates of a key go to: its own, or the one of keys without.
    #[inline(always)]
    fn record_for(&mut self, key: &Probe<'_>, updates: u64, config: &ShardConfig) -> Result<Record, Outcome> {
        match self.table.find(key) {
            Found::Record(record) => Ok(record),
            Found::Absent(hash) => self.admit(key, hash, updates, config),
        }
    }

    /// Counts one update at a place that [`Accumulator::update`] named since the last bucket closed.
    #[inline(always)]
    pub fn apply(&mut self, Place { record, slot }: Place, value: f64) {
        self.counts.updates += 1;
        if self.tallies.is_some() {
            self.add_tally(record, slot, value);
        }
        let words = self.table.record_mut(record);
        let stamp = (words[2] >> 32) as u32;
        if stamp != self.epoch {
            words[2] = u64::from(words[2] as u32) | u64::from(self.epoch) << 32;
            if stamp < self.first_epoch {
                for (word, reset) in words[HEADER..].iter_mut().zip(&self.layout.template[..self.layout.reset]) {
                    *word = reset.to_bits();
                }
                self.touched.push(record);
            }
            if self.attention.updates {
                self.second.push(record);
            }
        }
        let at = HEADER + usize::from(slot.bucket);
        let old = f64::from_bits(words[at]);
        // The most frequent first, and apart from the others: no jump through a table.
        if matches!(slot.vartype, Vartype::Counter | Vartype::RateCounter) {
            words[at] = (old + value).to_bits();
            return;
        }
        let new = match slot.vartype {
            Vartype::Counter | Vartype::RateCounter => old + value,
            Vartype::Gauge | Vartype::DeltaRateCounter => value,
            Vartype::Maximum => old.max(value),
            Vartype::Minimum => old.min(value),
            Vartype::Average => {
                words[at + 1] = (f64::from_bits(words[at + 1]) + 1.0).to_bits();
                old + value
            }
            Vartype::RunningCounter => {
                let total = old + value;
                if total < 0.0 {
                    // What a key lost by pruning owes is taken from what pruning put aside, so that the total stays right.
                    let aside = &mut self.pruned_running[usize::from(slot.bucket)];
                    *aside = (*aside + total).max(0.0);
                }
                total.max(0.0)
            }
        };
        words[at] = new.to_bits();
    }

    /// Whether a record is the key's own, and not the one that takes the updates of keys without.
    #[inline]
    pub fn is_record_of(&self, record: Record, key: &Packed) -> bool {
        self.table.key(record) == *key
    }

    /// Where the sum of a key lies that was updated in the open bucket. `None` where an update is more than an addition.
    pub fn sum_cell(&mut self, key: &Probe<'_>, meter: u32) -> Option<SumCell> {
        let (index, slot) = self.summed(meter)?;
        match self.table.find(key) {
            Found::Record(record) if self.table.epoch(record) == self.epoch => Some(self.cell(record, index, slot)),
            _ => None,
        }
    }

    /// The slot of a meter and its index, if its updates are only added up.
    #[inline]
    pub fn summed(&self, meter: u32) -> Option<(usize, Slot)> {
        let sums = |slot: &Slot| matches!(slot.vartype, Vartype::Counter | Vartype::RateCounter);
        self.layout.find(meter).filter(|(_, slot)| self.tallies.is_none() && sums(slot))
    }

    #[inline]
    fn cell(&mut self, record: Record, index: usize, slot: Slot) -> SumCell {
        let value = self.table.word_address(record, HEADER + usize::from(slot.bucket)).cast();
        let updates = &raw mut self.cell_updates[index];
        SumCell { value, updates, generation: self.generation.number(), reserved: 0 }
    }

    /// Counts updates of a meter that only adds them up, by their sum; also where that lies, if the key has a record.
    #[inline]
    pub fn update_sum(
        &mut self,
        packed: &Packed,
        meter: u32,
        sum: f64,
        updates: u64,
        config: &ShardConfig,
    ) -> Result<Option<SumCell>, Outcome> {
        let Some((index, slot)) = self.summed(meter) else { return Err(Outcome::UnknownMeter) };
        let record = self.record_for(&Probe::Inline(*packed), updates, config)?;
        self.apply(Place { record, slot }, sum);
        self.counts.updates += updates - 1;
        Ok(self.is_record_of(record, packed).then(|| self.cell(record, index, slot)))
    }

    /// Counts updates of a key that another shard was asked to count: one, or several that are only added up, by their sum.
    pub fn take_in(
        &mut self,
        key: &Probe<'_>,
        meter: u32,
        (value, updates): (f64, u64),
        config: &ShardConfig,
    ) -> Result<(), Outcome> {
        let Some((_, slot)) = self.layout.find(meter) else { return Err(Outcome::UnknownMeter) };
        let record = self.record_for(key, updates, config)?;
        self.apply(Place { record, slot }, value);
        self.counts.updates += updates - 1;
        Ok(())
    }

    /// What is to be told of every second, and of every bucket.
    pub fn attend(&mut self, attention: Attention) {
        if self.attention != attention {
            // Scripts that add to known places do so without being seen.
            self.generation.move_on();
        }
        self.attention = attention;
        if attention.buckets {
            self.buckets = Buckets::Keep;
        }
    }

    /// The keys that were touched since the last call, as far as somebody wants to know; ends a second.
    pub fn take_second(&mut self, group: GroupIndex) -> Option<SecondKeys> {
        let records = if self.attention.updates {
            std::mem::take(&mut self.second)
        } else if self.attention.new_keys {
            self.touched[self.told.min(self.touched.len())..].to_vec()
        } else {
            return None;
        };
        self.told = self.touched.len();
        if records.is_empty() {
            return None;
        }
        let mut keys = SecondKeys::new(group, if self.attention.updates { self.layout.width } else { 0 });
        let (mut raw, mut values) = ([0.0; MAX_WORDS], vec![0.0; self.layout.width]);
        for &record in &records {
            let words = self.table.record(record);
            let key = Packed { hi: words[0], lo: words[1], tag: words[2] as u32 };
            if self.attention.updates {
                for (value, &word) in raw.iter_mut().zip(&words[HEADER..HEADER + self.layout.bucket]) {
                    *value = f64::from_bits(word);
                }
                for slot in self.layout.slots() {
                    // As if the bucket were a second long: nothing is divided by its size.
                    values[usize::from(slot.id)] = slot.vartype.finish(&raw[usize::from(slot.bucket)..], 1.0);
                }
            }
            key.with_text(self.table.texts(), |text| keys.push(text, &values));
        }
        if self.attention.updates {
            // Whatever is touched from here on counts as touched anew; sums known by their place are asked for again.
            self.epoch = self.epoch.wrapping_add(1);
            self.generation.move_on();
        }
        Some(keys)
    }

    #[cold]
    fn add_tally(&mut self, record: Record, slot: Slot, value: f64) {
        if let (Some(tallies), Some((index, _))) = (&mut self.tallies, self.layout.find(u32::from(slot.id))) {
            tallies.add(record, index, value);
        }
    }

    /// A record for so many updates of a key that has none, within the limits.
    #[cold]
    #[inline(never)]
    fn admit(&mut self, key: &Probe<'_>, hash: u32, updates: u64, config: &ShardConfig) -> Result<Record, Outcome> {
        if is_totals(key) {
            return Err(Outcome::Reserved);
        }
        if config.part.is_some_and(|part| !key.with_text(|text| part.has(text))) {
            return Err(Outcome::Elsewhere);
        }
        if config.growth == Growth::Fixed && self.table.len() >= config.high_water {
            self.counts.rejected += updates;
            return Err(Outcome::Rejected);
        }
        if self.table.len() >= config.hard_cap {
            self.counts.overflowed += updates;
            let overflow = probe(OVERFLOW_KEY);
            return Ok(match self.table.find(&overflow) {
                Found::Record(record) => record,
                Found::Absent(hash) => self.create(&overflow, hash),
            });
        }
        Ok(self.create(key, hash))
    }

    fn create(&mut self, key: &Probe<'_>, hash: u32) -> Record {
        self.counts.seen += 1;
        if let Some(tallies) = &mut self.tallies {
            tallies.grow();
        }
        self.table.insert(key, hash, &self.layout.template)
    }

    /// Closes the open bucket and opens the next one that `now` calls for. Returns the closed one if any key was touched.
    pub fn close(&mut self, now: i64, group: GroupIndex, config: &ShardConfig) -> Option<Snapshot> {
        let start = self.start?;
        let closed = self.fold(start, group, self.buckets);
        self.carry_running();
        if self.table.len() > config.high_water {
            self.prune(config.low_water);
        }
        let target = self.aligned(now);
        let next = start.saturating_add(self.size);
        let gap = target.saturating_sub(next) / self.size;
        self.start = Some(if self.touched.is_empty() || gap <= 0 {
            target.max(next)
        } else if gap <= MAX_GAP {
            next
        } else {
            target - self.size
        });
        closed
    }

    /// Folds the touched records into their run words.
    fn fold(&mut self, start: i64, group: GroupIndex, buckets: Buckets) -> Option<Snapshot> {
        if self.touched.is_empty() {
            return None;
        }
        let layout = &*self.layout;
        let mut snapshot = match buckets {
            Buckets::Keep => {
                let mut snapshot = Snapshot::new(group, start, self.size, Arc::clone(&self.layout), self.touched.len());
                snapshot.seed_totals(&self.pruned_running);
                Some(snapshot)
            }
            Buckets::Discard => None,
        };
        let mut raw = [0.0; MAX_WORDS];
        for &record in &self.touched {
            let words = self.table.record_mut(record);
            let key = Packed { hi: words[0], lo: words[1], tag: words[2] as u32 };
            let (bucket, run) = words[HEADER..].split_at_mut(layout.bucket);
            for (value, &word) in raw.iter_mut().zip(&*bucket) {
                *value = f64::from_bits(word);
            }
            for slot in layout.slots() {
                fold_slot(slot, &mut raw, run, start);
            }
            if let Some(snapshot) = &mut snapshot {
                snapshot.push(key, self.table.texts(), &raw[..layout.bucket]);
            }
        }
        snapshot
    }

    /// Opens the next bucket; keys with a running total are in it from the start.
    fn carry_running(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        self.epoch = self.epoch.wrapping_add(1);
        self.first_epoch = self.epoch;
        self.generation.move_on();
        self.second.clear();
        self.told = 0;
        if self.layout.running().next().is_none() {
            // Keeps the memory of the list.
            self.touched = touched;
            self.touched.clear();
            return;
        }
        let (layout, table, epoch) = (&self.layout, &mut self.table, self.epoch);
        self.touched = touched;
        self.touched.retain(|&record| {
            let words = table.record_mut(record);
            let running = layout.running().any(|slot| f64::from_bits(words[HEADER + usize::from(slot.bucket)]) != 0.0);
            if running {
                words[2] = u64::from(words[2] as u32) | u64::from(epoch) << 32;
                for (word, reset) in words[HEADER..].iter_mut().zip(&layout.template[..layout.reset]) {
                    *word = reset.to_bits();
                }
            }
            running
        });
        self.told = self.touched.len();
        if self.attention.updates {
            // Being carried over is no update: the first one of the new bucket is to be told of.
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Drops the least recently updated keys down to `keep`; of equally old ones the latest created. A key with a running
    /// total counts as updated in every bucket.
    fn prune(&mut self, keep: usize) {
        let mut order: Vec<(std::cmp::Reverse<u32>, Record)> =
            (0..self.table.len() as Record).map(|r| (std::cmp::Reverse(self.table.epoch(r)), r)).collect();
        if keep < order.len() {
            order.select_nth_unstable(keep);
        }
        let mut dropped = vec![false; order.len()];
        for &(_, record) in order.iter().skip(keep) {
            dropped[record as usize] = true;
            self.put_aside(record);
            self.counts.pruned += 1;
        }
        let moved = self.table.retain(|record| !dropped[record as usize]);
        if let Some(tallies) = &mut self.tallies {
            tallies.retain(|record| !dropped[record as usize]);
        }
        self.touched = self.touched.iter().filter_map(|&record| moved[record as usize]).collect();
        self.told = self.told.min(self.touched.len());
    }

    /// Adds a record that is about to go to what pruning keeps.
    fn put_aside(&mut self, record: Record) {
        let words = &self.table.record(record)[HEADER..];
        let mut values = [0.0; 2];
        for slot in self.layout.slots() {
            let (from, into) = match slot.vartype {
                Vartype::RunningCounter => {
                    (usize::from(slot.bucket), &mut self.pruned_running[usize::from(slot.bucket)..])
                }
                _ => (self.layout.bucket + usize::from(slot.run), &mut self.pruned_run[usize::from(slot.run)..]),
            };
            let n = slot.vartype.bucket_words();
            for (value, &word) in values.iter_mut().zip(&words[from..from + n]) {
                *value = f64::from_bits(word);
            }
            slot.vartype.combine(&mut into[..n], &values[..n], Combine::Total);
        }
    }

    /// The tallies of a record, by slot.
    pub fn tally(&self, record: Record, slot: usize) -> Option<Tally> {
        self.tallies.as_ref().and_then(|t| t.read(record, slot))
    }

    /// The words of a record that make up a slot's value for the run.
    pub fn run_words(&self, record: Record, slot: &Slot) -> [f64; 2] {
        let words = &self.table.record(record)[HEADER..];
        let at = match slot.vartype {
            Vartype::RunningCounter => usize::from(slot.bucket),
            _ => self.layout.bucket + usize::from(slot.run),
        };
        let mut values = [0.0; 2];
        for (value, &word) in values.iter_mut().zip(&words[at..at + slot.vartype.bucket_words()]) {
            *value = f64::from_bits(word);
        }
        values
    }
}

/// Turns a slot's bucket words into raw ones in place and folds them into its run words.
fn fold_slot(slot: &Slot, raw: &mut [f64], run: &mut [u64], start: i64) {
    let n = slot.vartype.bucket_words();
    let raw = &mut raw[usize::from(slot.bucket)..][..n];
    let run = &mut run[usize::from(slot.run)..][..slot.vartype.run_words()];
    if slot.vartype == Vartype::DeltaRateCounter {
        raw[0] = delta(raw[0], &mut run[1..], start);
    }
    let mut folded = [0.0; 3];
    for (value, &word) in folded.iter_mut().zip(&*run) {
        *value = f64::from_bits(word);
    }
    slot.vartype.fold(&mut folded, raw);
    for (word, value) in run.iter_mut().zip(folded) {
        *word = value.to_bits();
    }
}

/// The rate between the base and a sample, which becomes the next base. `base`: last sample, start of its bucket.
fn delta(sample: f64, base: &mut [u64], start: i64) -> f64 {
    if sample.is_nan() {
        return sample;
    }
    let (last, since) = (f64::from_bits(base[0]), f64::from_bits(base[1]));
    base[0] = sample.to_bits();
    base[1] = (start as f64).to_bits();
    let secs = start as f64 - since;
    if last.is_nan() || sample < last || secs <= 0.0 { 0.0 } else { (sample - last) / secs }
}

/// True for the reserved key. Checked only when a key is new: it never gets a record.
fn is_totals(key: &Probe<'_>) -> bool {
    match key {
        Probe::Inline(_) => key.with_text(|text| text == GROUP_TOTALS),
        Probe::Long(_) => false,
    }
}
