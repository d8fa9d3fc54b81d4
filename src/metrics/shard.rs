//! What one engine thread counts: all counter groups, the buckets that are open, and the stream time that closes them.

use super::GroupIndex;
use super::accumulator::{Accumulator, KeyCounts, Place};
use super::away::{Away, Folding, Updates};
use super::cell::{Generation, SumCell};
use super::layout::{Layout, Slot};
use super::owners::OwnPart;
use super::packed::{LONGEST_INLINE, MAX_KEY_LEN, Packed, Probe, probe, short};
use super::registry::Registry;
use super::second::{Attention, SecondKeys};
use super::snapshot::Snapshot;
use super::vartype::Vartype;
use crate::key::{BinaryKey, KeyKind};
use crate::time::Timestamp;

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Counted.
    Counted = 0,
    /// No group has this index.
    UnknownGroup = 1,
    /// The group has no such meter; the caller warns once.
    UnknownMeter = 2,
    /// The key is `SYS:GROUP_TOTALS`; the caller warns once.
    Reserved = 3,
    /// NaN or infinite; dropped silently.
    NotFinite = 4,
    /// A new key in a group at its mark, with fixed growth.
    Rejected = 5,
    /// The bytes do not have the length of the kind of key.
    Malformed = 6,
    /// The key is another shard's; a shard takes such updates in on the way there, and calls them counted.
    Elsewhere = 7,
}

/// What happens to new keys once a group has as many as the high-water mark says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// They are taken; the group is pruned when the bucket closes.
    #[default]
    Flexible,
    /// They are refused.
    Fixed,
}

/// Whether each (key, meter) also keeps its updates as they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tallies {
    /// No.
    #[default]
    Off,
    /// Yes: for the event stream.
    On,
}

/// Whether closed buckets are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buckets {
    /// As snapshots.
    #[default]
    Keep,
    /// Nobody reads them; only the totals of the run are kept.
    Discard,
}

/// Limits of each group and what to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Keys above which a closing bucket prunes.
    pub high_water: usize,
    /// Keys left by pruning.
    pub low_water: usize,
    /// Keys above which new ones are counted under the overflow key.
    pub hard_cap: usize,
    /// New keys at the high-water mark.
    pub growth: Growth,
    /// Updates as they were made.
    pub tallies: Tallies,
    /// Closed buckets.
    pub buckets: Buckets,
    /// The keys that are this shard's; updates of others wait for [`Shard::take_away`]. `None` for all of them.
    pub part: Option<OwnPart>,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            high_water: 100_000,
            low_water: 75_000,
            hard_cap: 2_000_000,
            growth: Growth::default(),
            tallies: Tallies::default(),
            buckets: Buckets::default(),
            part: None,
        }
    }
}

/// What a shard did not count, or not as it was asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Times earlier than the stream time.
    pub time_back: u64,
    /// Updates that were NaN or infinite.
    pub not_finite: u64,
    /// Updates of `SYS:GROUP_TOTALS`.
    pub reserved: u64,
    /// Updates of a meter the group does not have.
    pub unknown_meter: u64,
    /// Updates of a group that does not exist.
    pub unknown_group: u64,
    /// Keys of the wrong length for their kind.
    pub malformed: u64,
    /// Updates of new keys refused at the mark.
    pub rejected: u64,
    /// Updates whose key was cut to 255 bytes; they are counted under what is left.
    pub cut: u64,
}

impl ShardCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.time_back += other.time_back;
        self.not_finite += other.not_finite;
        self.reserved += other.reserved;
        self.unknown_meter += other.unknown_meter;
        self.unknown_group += other.unknown_group;
        self.malformed += other.malformed;
        self.rejected += other.rejected;
        self.cut += other.cut;
    }

    /// Each counter with the name it has in outputs.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("time_back", self.time_back),
            ("value_not_finite", self.not_finite),
            ("key_reserved", self.reserved),
            ("meter_unknown", self.unknown_meter),
            ("group_unknown", self.unknown_group),
            ("key_malformed", self.malformed),
            ("key_rejected", self.rejected),
            ("key_cut", self.cut),
        ]
    }
}

/// A key as native modules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRef<'a> {
    /// A host, port or MAC address.
    Binary(&'a BinaryKey),
    /// Text.
    Text(&'a [u8]),
}

/// Where the text that was last counted from some address lives.
#[derive(Clone, Copy, Debug)]
struct Hint {
    hi: u64,
    lo: u64,
    /// Length of the text, meter and group: see [`hint_of`].
    of: u64,
    place: Place,
}

const NO_PLACE: Place = Place { record: 0, slot: Slot { id: 0, vartype: Vartype::Counter, bucket: 0, run: 0 } };
/// No text of 16 bytes or less has this length.
const NO_HINT: Hint = Hint { hi: 0, lo: 0, of: u64::MAX, place: NO_PLACE };
const HINTS: usize = 256;

/// What a hint is for, apart from the text itself.
#[inline]
fn hint_of(key: &[u8], group: GroupIndex, meter: u32) -> u64 {
    u64::from(meter) << 32 | u64::from(group.0) << 8 | key.len() as u64
}

/// Texts lie at multiples of eight; those made one after the other lie near each other.
#[inline]
fn hint_place(key: &[u8], group: GroupIndex, meter: u32) -> usize {
    let address = key.as_ptr().addr() >> 3;
    (address ^ (address >> 8) ^ usize::from(group.0).wrapping_mul(37) ^ (meter as usize).wrapping_mul(101)) % HINTS
}

/// The metrics of one engine thread; shared with nobody.
///
/// An update goes to the bucket that is open; the shard learns the stream time only from [`Shard::advance`], so that
/// counting reads no time and divides nothing.
#[derive(Clone, Debug)]
pub struct Shard {
    groups: Vec<Accumulator>,
    config: ShardConfig,
    now: Option<Timestamp>,
    boundary: Timestamp,
    counts: ShardCounts,
    // INVARIANT: a hint names a record of its group; closing a bucket may renumber records and so forgets all hints.
    hints: Box<[Hint; HINTS]>,
    generation: Generation,
    away: Option<Box<Away>>,
}

impl Shard {
    /// A shard for the counter groups registered so far.
    #[must_use]
    pub fn new(registry: &Registry, config: ShardConfig) -> Self {
        let generation = Generation::new();
        let accumulator =
            |group: &super::Group| Accumulator::new(Layout::new(&group.meters), group.bucketsize, &config, &generation);
        Self {
            groups: registry.counter_groups().map(accumulator).collect(),
            away: config.part.map(|part| Box::new(Away::new(part))),
            config,
            now: None,
            boundary: Timestamp::from_nanos(i64::MIN),
            counts: ShardCounts::default(),
            hints: Box::new([NO_HINT; HINTS]),
            generation,
        }
    }

    /// Whether each update is kept as it is made, not only what they add up to.
    #[must_use]
    pub fn has_tallies(&self) -> bool {
        self.config.tallies == Tallies::On
    }

    /// What tells whether a [`SumCell`] still holds.
    #[must_use]
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Where the sum of a key lies, given as text, that was updated in the open bucket. `None` where an update is more
    /// than an addition: other kinds of meters, tallies, keys that are cut or not kept.
    pub fn sum_cell(&mut self, group: GroupIndex, key: &[u8], meter: u32) -> Option<SumCell> {
        if key.len() > MAX_KEY_LEN {
            return None;
        }
        self.groups.get_mut(usize::from(group.0))?.sum_cell(&probe(key), meter)
    }

    /// Counts one update of a key given as text, as scripts name keys: it ends at the first NUL and at 255 bytes.
    ///
    /// A script that counts the same text again and again hands over the same bytes at the same address, so a small
    /// table by address remembers where the last text from there was counted. The text itself is compared.
    #[inline]
    pub fn update(&mut self, group: GroupIndex, key: &[u8], meter: u32, value: f64) -> Outcome {
        if key.len() > LONGEST_INLINE || !value.is_finite() {
            return self.update_long(group, key, meter, value);
        }
        let (hi, lo) = short(key);
        let hint = &self.hints[hint_place(key, group, meter)];
        if (hint.hi, hint.lo, hint.of) == (hi, lo, hint_of(key, group, meter))
            && let Some(accumulator) = self.groups.get_mut(usize::from(group.0))
        {
            accumulator.apply(hint.place, value);
            return Outcome::Counted;
        }
        self.update_and_hint(group, key, meter, value)
    }

    #[inline(never)]
    fn update_and_hint(&mut self, group: GroupIndex, key: &[u8], meter: u32, value: f64) -> Outcome {
        let Some(accumulator) = self.groups.get_mut(usize::from(group.0)) else {
            self.note(Outcome::UnknownGroup);
            return Outcome::UnknownGroup;
        };
        let probe = probe(key);
        match accumulator.update(&probe, meter, value, &self.config) {
            Ok(place) => {
                // A key without a record is counted as such each time.
                if matches!(probe, Probe::Inline(packed) if accumulator.is_record_of(place.record, &packed)) {
                    let (hi, lo) = short(key);
                    let of = hint_of(key, group, meter);
                    self.hints[hint_place(key, group, meter)] = Hint { hi, lo, of, place };
                }
                Outcome::Counted
            }
            Err(outcome) => self.refuse(outcome, (group, meter), &probe, (value, 1)),
        }
    }

    #[inline(never)]
    fn update_long(&mut self, group: GroupIndex, key: &[u8], meter: u32, value: f64) -> Outcome {
        if key.len() > MAX_KEY_LEN {
            self.note_cut(key);
        }
        self.count(group, &probe(key), meter, value)
    }

    #[cold]
    fn note_cut(&mut self, key: &[u8]) {
        // A key that ends at a NUL before the limit loses nothing it should have kept.
        self.counts.cut += u64::from(!key[..MAX_KEY_LEN].contains(&0));
    }

    /// Counts one update of a key given by the bytes its text stands for, in network order. With [`KeyKind::Text`] the
    /// bytes are the text.
    #[inline]
    pub fn update_binary(&mut self, group: GroupIndex, kind: KeyKind, bytes: &[u8], meter: u32, value: f64) -> Outcome {
        if kind == KeyKind::Text {
            return self.update(group, bytes, meter, value);
        }
        // One length for each, so that the bytes are read without asking how many there are.
        let key = match (kind, bytes.len()) {
            (KeyKind::Host4, 4) => Packed::bytes(kind, &bytes[..4]),
            (KeyKind::Host6, 16) => Packed::bytes(kind, &bytes[..16]),
            (KeyKind::Port, 2) => Packed::bytes(kind, &bytes[..2]),
            (KeyKind::Mac, 6) => Packed::bytes(kind, &bytes[..6]),
            _ => {
                self.note(Outcome::Malformed);
                return Outcome::Malformed;
            }
        };
        self.count(group, &Probe::Inline(key), meter, value)
    }

    /// As [`Shard::update_binary`], for a key that is a value already.
    #[inline]
    pub fn update_key(&mut self, group: GroupIndex, key: &BinaryKey, meter: u32, value: f64) -> Outcome {
        self.count(group, &Probe::Inline(Packed::binary(key)), meter, value)
    }

    /// Asks the memory for the records of keys that are counted soon, the first 16 of them.
    #[inline]
    pub fn ask_for(&self, group: GroupIndex, keys: impl Iterator<Item = BinaryKey>) {
        let Some(accumulator) = self.groups.get(usize::from(group.0)) else { return };
        let mut hashes = [0; 16];
        let mut asked = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = accumulator.ask_for(&Packed::binary(&key));
            asked += 1;
        }
        hashes[..asked].iter().for_each(|hash| accumulator.ask_for_record(*hash));
    }

    /// Asks the memory for what tells where a key is that is counted in a while, by [`Shard::update_sum`]. The key is a
    /// host or port, as a number. Returns what [`Shard::ask_for_record`] takes; `None` if updates of the meter are not just
    /// added up.
    #[inline]
    pub fn ask_for_sum(&self, group: GroupIndex, kind: KeyKind, word: u32, meter: u32) -> Option<u32> {
        let accumulator = self.groups.get(usize::from(group.0))?;
        accumulator.summed(meter)?;
        Some(accumulator.ask_for(&Packed::word(kind, word)))
    }

    /// Asks the memory for what tells where a key is, given as text, that is counted in a while, by
    /// [`Shard::update_asked_text`]. Returns the text of the key and what [`Shard::ask_for_record`] takes; `None` if updates
    /// of the meter are not just added up, and for keys that are cut or need no text.
    #[inline]
    pub fn ask_for_text<'a>(&self, group: GroupIndex, text: &'a [u8], meter: u32) -> Option<(&'a [u8], u32)> {
        let accumulator = self.groups.get(usize::from(group.0))?;
        accumulator.summed(meter)?;
        match probe(text) {
            Probe::Long(key) if text.len() <= MAX_KEY_LEN => Some((key, accumulator.ask_for_text(key))),
            _ => None,
        }
    }

    /// Asks the memory for the text behind a record for which [`Shard::ask_for_record`] asked some time ago.
    #[inline]
    pub fn ask_for_stored_text(&self, group: GroupIndex, hash: u32) {
        if let Some(accumulator) = self.groups.get(usize::from(group.0)) {
            accumulator.ask_for_stored_text(hash);
        }
    }

    /// Counts one update of a key with the text that [`Shard::ask_for_text`] returned.
    #[inline]
    pub fn update_asked_text(&mut self, group: GroupIndex, text: &[u8], meter: u32, value: f64) -> Outcome {
        self.count(group, &Probe::Long(text), meter, value)
    }

    /// Asks the memory for the record of a key for which [`Shard::ask_for_sum`] asked some time ago.
    #[inline]
    pub fn ask_for_record(&self, group: GroupIndex, hash: u32) {
        if let Some(accumulator) = self.groups.get(usize::from(group.0)) {
            accumulator.ask_for_record(hash);
        }
    }

    /// Counts one or more updates of a key by their sum. Also where the sum of the key lies, as [`Shard::sum_cell`].
    #[inline]
    pub fn update_sum(
        &mut self,
        group: GroupIndex,
        kind: KeyKind,
        word: u32,
        meter: u32,
        sum: f64,
        updates: u64,
    ) -> Option<SumCell> {
        let accumulator = self.groups.get_mut(usize::from(group.0))?;
        let key = Packed::word(kind, word);
        match accumulator.update_sum(&key, meter, sum, updates, &self.config) {
            Ok(cell) => cell,
            Err(outcome) => {
                self.refuse(outcome, (group, meter), &Probe::Inline(key), (sum, updates));
                None
            }
        }
    }

    /// Counts several meters of one key with one look-up; values are finite. The outcome is that of the first one that
    /// was not counted.
    #[inline]
    pub fn update_meters(&mut self, group: GroupIndex, key: KeyRef<'_>, updates: &[(u32, f64)]) -> Outcome {
        let key = match key {
            KeyRef::Binary(key) => Probe::Inline(Packed::binary(key)),
            KeyRef::Text(text) => probe(text),
        };
        let Some(accumulator) = self.groups.get_mut(usize::from(group.0)) else {
            updates.iter().for_each(|_| self.note(Outcome::UnknownGroup));
            return Outcome::UnknownGroup;
        };
        match accumulator.update_meters(&key, updates, &self.config) {
            Ok(()) => Outcome::Counted,
            Err((Outcome::Elsewhere, _)) => self.send_meters_away(group, &key, updates),
            Err((outcome, lost)) => {
                (0..lost).for_each(|_| self.note(outcome));
                outcome
            }
        }
    }

    #[inline(always)]
    fn count(&mut self, group: GroupIndex, key: &Probe<'_>, meter: u32, value: f64) -> Outcome {
        let outcome = match self.groups.get_mut(usize::from(group.0)) {
            _ if !value.is_finite() => Outcome::NotFinite,
            Some(accumulator) => match accumulator.update(key, meter, value, &self.config) {
                Ok(_) => Outcome::Counted,
                Err(outcome) => outcome,
            },
            None => Outcome::UnknownGroup,
        };
        if outcome != Outcome::Counted {
            return self.refuse(outcome, (group, meter), key, (value, 1));
        }
        outcome
    }

    /// Notes why updates were not counted, or sends them where their key belongs; says what the caller is to be told.
    #[cold]
    #[inline(never)]
    fn refuse(
        &mut self,
        outcome: Outcome,
        (group, meter): (GroupIndex, u32),
        key: &Probe<'_>,
        (value, updates): (f64, u64),
    ) -> Outcome {
        if outcome != Outcome::Elsewhere {
            (0..updates).for_each(|_| self.note(outcome));
            return outcome;
        }
        let is_sum = |accumulator: &Accumulator| accumulator.summed(meter).is_some();
        let folding = match self.groups.get(usize::from(group.0)).is_some_and(is_sum) {
            true => Folding::Sum,
            false => Folding::Each,
        };
        if let Some(away) = &mut self.away {
            key.with_text(|text| away.add((group, meter), text, (value, updates), folding));
        }
        Outcome::Counted
    }

    #[cold]
    #[inline(never)]
    fn send_meters_away(&mut self, group: GroupIndex, key: &Probe<'_>, updates: &[(u32, f64)]) -> Outcome {
        for (at, &(meter, value)) in updates.iter().enumerate() {
            let has = |accumulator: &Accumulator| accumulator.layout().find(meter).is_some();
            if !self.groups.get(usize::from(group.0)).is_some_and(has) {
                updates[at..].iter().for_each(|_| self.note(Outcome::UnknownMeter));
                return Outcome::UnknownMeter;
            }
            self.refuse(Outcome::Elsewhere, (group, meter), key, (value, 1));
        }
        Outcome::Counted
    }

    /// Updates of keys of other shards since the last call, by the number of the shard.
    pub fn take_away(&mut self) -> Vec<Updates> {
        self.away.as_mut().map(|away| away.take()).unwrap_or_default()
    }

    /// Updates of keys of other shards for which there was no room.
    #[must_use]
    pub fn away_dropped(&self) -> u64 {
        self.away.as_ref().map_or(0, |away| away.dropped())
    }

    /// Counts what another shard was asked to count of the keys of this one.
    pub fn take_in(&mut self, updates: &Updates) {
        updates.for_each(|group, meter, key, value, updates| {
            let Some(accumulator) = self.groups.get_mut(usize::from(group.0)) else { return };
            if let Err(outcome) = accumulator.take_in(&probe(key), meter, (value, updates), &self.config) {
                (0..updates).for_each(|_| self.note(outcome));
            }
        });
    }

    #[cold]
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Counted | Outcome::Elsewhere => {}
            Outcome::UnknownGroup => self.counts.unknown_group += 1,
            Outcome::UnknownMeter => self.counts.unknown_meter += 1,
            Outcome::Reserved => self.counts.reserved += 1,
            Outcome::NotFinite => self.counts.not_finite += 1,
            Outcome::Rejected => self.counts.rejected += 1,
            Outcome::Malformed => self.counts.malformed += 1,
        }
    }

    /// Moves stream time on. Buckets whose end has come are closed, in order of their ends and then of their groups, and
    /// handed to `closed` if anything was counted in them. An earlier time changes nothing and is counted.
    ///
    /// A bucket may also be due because of running totals, which appear in every bucket; a gap of more than 60 buckets
    /// yields them once more, at its end.
    pub fn advance(&mut self, now: Timestamp, mut closed: impl FnMut(Snapshot)) {
        if self.now.is_some_and(|seen| now < seen) {
            self.counts.time_back += 1;
            return;
        }
        self.now = Some(now);
        if now < self.boundary {
            return;
        }
        for group in &mut self.groups {
            group.open_at(now.secs());
        }
        self.close_until(now.secs(), &mut closed);
    }

    /// Closes every bucket that is open, as if its end had come. Later updates fall into the buckets behind them.
    pub fn finish(&mut self, mut closed: impl FnMut(Snapshot)) {
        self.forget_hints();
        let now = self.now.unwrap_or(Timestamp::EPOCH).secs();
        for group in &mut self.groups {
            group.open_at(now);
        }
        let mut order: Vec<(Option<i64>, usize)> = self.groups.iter().map(Accumulator::end).zip(0..).collect();
        order.sort_unstable();
        for (_, index) in order {
            if let Some(snapshot) = self.groups[index].close(now, GroupIndex(index as u16), &self.config) {
                closed(snapshot);
            }
        }
        self.set_boundary();
    }

    /// Says what is to be told of a group: its keys second by second, its buckets when they close.
    pub fn attend(&mut self, group: GroupIndex, attention: Attention) {
        if let Some(accumulator) = self.groups.get_mut(usize::from(group.0)) {
            accumulator.attend(attention);
        }
    }

    /// Ends a second of stream time: the keys touched in it, of the groups of which somebody wants to know. To be called
    /// before [`Shard::advance`] closes the buckets they are in.
    pub fn take_second(&mut self) -> Vec<SecondKeys> {
        let groups = self.groups.iter_mut().enumerate();
        groups.filter_map(|(index, group)| group.take_second(GroupIndex(index as u16))).collect()
    }

    fn close_until(&mut self, now: i64, closed: &mut impl FnMut(Snapshot)) {
        self.forget_hints();
        loop {
            self.set_boundary();
            let end = self.boundary.secs();
            if self.boundary == Timestamp::from_nanos(i64::MAX) || end > now {
                return;
            }
            for index in 0..self.groups.len() {
                if self.groups[index].end() == Some(end)
                    && let Some(snapshot) = self.groups[index].close(now, GroupIndex(index as u16), &self.config)
                {
                    closed(snapshot);
                }
            }
        }
    }

    fn forget_hints(&mut self) {
        self.hints.fill(NO_HINT);
    }

    fn set_boundary(&mut self) {
        let end = self.groups.iter().filter_map(Accumulator::end).min();
        self.boundary = end.map_or(Timestamp::from_nanos(i64::MAX), |secs| Timestamp::new(secs, 0));
    }

    /// The earliest time at which a bucket ends; before it, packets need no further call of [`Shard::advance`]. Before the
    /// first call it is the beginning of time.
    #[must_use]
    pub fn next_boundary(&self) -> Timestamp {
        self.boundary
    }

    /// The latest time [`Shard::advance`] was told.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// What was not counted as asked.
    #[must_use]
    pub fn counts(&self) -> ShardCounts {
        self.counts
    }

    /// What happened to a group's keys.
    #[must_use]
    pub fn key_counts(&self, group: GroupIndex) -> KeyCounts {
        self.groups.get(usize::from(group.0)).map(Accumulator::counts).unwrap_or_default()
    }

    /// How many keys of a group are in its open bucket.
    #[must_use]
    pub fn open_keys(&self, group: GroupIndex) -> usize {
        self.groups.get(usize::from(group.0)).map_or(0, Accumulator::open_keys)
    }

    /// Bytes the shard holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(Accumulator::bytes).sum()
    }

    pub(super) fn groups(&self) -> &[Accumulator] {
        &self.groups
    }
}
