//! Keys of a word, which are hosts and ports, that a VM counted lately: where their sums lie.
//!
//! A key that is not among them has its place in the tables far away as a rule. It waits until some others have come, and
//! is added up meanwhile, while the memory fetches what tells where its record is. Whoever looks at the metrics settles
//! that first: see [`KeyCells::settle`]. Where most keys are new, all of that costs more than it saves, and is let be for a
//! while.
//!
//! Long texts wait in the same row, so that all keys are counted in the order in which they came. Each waits for itself:
//! to find those that wait already would cost as much as to count them.
#![expect(unsafe_code, reason = "sums are added to where they lie")]

use std::cell::{Cell, RefCell};

use crate::key::KeyKind;
use crate::metrics::{GroupIndex, MAX_KEY_LEN, Shard, SumCell};

/// Keys that are known at a time, at most.
const CELLS: usize = 256;
/// Keys that wait at a time, at most.
const WAITING: usize = 8;
/// Keys that came after one until what tells where its record is has come, and until the record has.
const FOUND: usize = WAITING / 2;
const THERE: usize = WAITING * 3 / 4;
/// Keys that were not known in one call of the VM, from which on the next calls do without.
const MANY: usize = 100;
/// So many of them.
const CALLS_WITHOUT: usize = 15;

/// A key of up to four bytes, or the length of a text, with its group and a meter below 4,096, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordKey(u64);

impl WordKey {
    const NONE: Self = Self(0);

    /// A host.
    #[inline]
    #[must_use]
    pub fn host(address: [u8; 4], group: GroupIndex, meter: u32) -> Self {
        Self::new(KeyKind::Host4, u32::from_be_bytes(address), group, meter)
    }

    /// A port.
    #[inline]
    #[must_use]
    pub fn port(port: u16, group: GroupIndex, meter: u32) -> Self {
        Self::new(KeyKind::Port, u32::from(port), group, meter)
    }

    /// A text that lies elsewhere.
    #[inline]
    fn text(len: usize, group: GroupIndex, meter: u32) -> Self {
        Self::new(KeyKind::Text, len as u32, group, meter)
    }

    #[inline]
    fn new(kind: KeyKind, word: u32, group: GroupIndex, meter: u32) -> Self {
        Self(u64::from(word) << 32 | u64::from(group.0) << 16 | u64::from(meter & 0xFFF) << 4 | kind as u64)
    }

    #[inline]
    fn group(self) -> GroupIndex {
        GroupIndex((self.0 >> 16) as u16)
    }

    #[inline]
    fn meter(self) -> u32 {
        (self.0 >> 4) as u32 & 0xFFF
    }

    #[inline]
    fn kind(self) -> KeyKind {
        if self.0 & 0xF == KeyKind::Port as u64 { KeyKind::Port } else { KeyKind::Host4 }
    }

    #[inline]
    fn is_text(self) -> bool {
        self.0 & 0xF == KeyKind::Text as u64
    }

    #[inline]
    fn word(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Spreads keys over the cells.
    #[inline]
    fn place(self) -> usize {
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize % CELLS
    }
}

/// A key and where its sum lies, as long as its generation is the current one.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: WordKey,
    sum: SumCell,
}

/// A key that is yet to be looked up, and what it has come to meanwhile.
#[derive(Debug)]
struct Waiting {
    key: Cell<WordKey>,
    /// What the memory is asked by.
    hash: Cell<u32>,
    sum: Cell<f64>,
    updates: Cell<f64>,
    /// What begins with the key, if that is a text.
    text: RefCell<[u8; MAX_KEY_LEN]>,
}

/// The keys of a VM.
#[derive(Debug)]
pub struct KeyCells {
    known: Box<[Cell<Known>; CELLS]>,
    // A ring: the first of them came first.
    waiting: Box<[Waiting; WAITING]>,
    first: Cell<usize>,
    count: Cell<usize>,
    /// Keys that came to wait in this call of the VM.
    unknown: Cell<usize>,
    /// Calls in which no key is looked for here.
    calls_without: Cell<usize>,
}

impl Default for KeyCells {
    fn default() -> Self {
        const UNKNOWN: Known = Known { key: WordKey::NONE, sum: SumCell::NONE };
        let waiting = || Waiting {
            key: Cell::new(WordKey::NONE),
            hash: Cell::new(0),
            sum: Cell::new(0.0),
            updates: Cell::new(0.0),
            text: RefCell::new([0; MAX_KEY_LEN]),
        };
        Self {
            known: Box::new([const { Cell::new(UNKNOWN) }; CELLS]),
            waiting: Box::new(std::array::from_fn(|_| waiting())),
            first: Cell::new(0),
            count: Cell::new(0),
            unknown: Cell::new(0),
            calls_without: Cell::new(0),
        }
    }
}

impl KeyCells {
    /// Whether keys are looked for here in this call of the VM.
    #[inline]
    #[must_use]
    pub fn are_used(&self) -> bool {
        self.calls_without.get() == 0
    }

    /// Counts an update of a key that is known in this generation. False if it is not; then nothing happened.
    #[inline(always)]
    pub fn add(&self, key: WordKey, value: f64, generation: i32) -> bool {
        let known = self.known[key.place()].get();
        let holds = known.key == key && known.sum.generation == generation && value.is_finite();
        if holds {
            // SAFETY: in the current generation the sum is where it was, in a record of this thread's shard or in `waiting`,
            // which is as old as `known`; nobody refers to it but by address.
            unsafe { *known.sum.value += value };
            // SAFETY: as above; it lies with the group or in `waiting`.
            unsafe { *known.sum.updates += 1.0 };
        }
        holds
    }

    /// Has a key wait that is not known. False if its updates are more than additions, or nothing at all; then nothing
    /// happened.
    #[inline]
    pub fn wait(&self, key: WordKey, value: f64, generation: i32, shard: &mut Shard) -> bool {
        if !value.is_finite() {
            return false;
        }
        let Some(hash) = shard.ask_for_sum(key.group(), key.kind(), key.word(), key.meter()) else { return false };
        let place = self.queue(key, hash, value, shard);
        self.unknown.set(self.unknown.get() + 1);
        let sum = SumCell { value: place.sum.as_ptr(), updates: place.updates.as_ptr(), generation, reserved: 0 };
        self.known[key.place()].set(Known { key, sum });
        true
    }

    /// Has a text wait that no record holds as it is. False if its updates are more than additions, or nothing at all; then
    /// nothing happened.
    #[inline]
    pub fn wait_text(&self, group: GroupIndex, text: &[u8], meter: u32, value: f64, shard: &mut Shard) -> bool {
        if !value.is_finite() {
            return false;
        }
        let Some((text, hash)) = shard.ask_for_text(group, text, meter) else { return false };
        let place = self.queue(WordKey::text(text.len(), group, meter), hash, value, shard);
        place.text.borrow_mut()[..text.len()].copy_from_slice(text);
        true
    }

    /// Takes the next place, and asks the memory for more of what those before are about.
    #[inline]
    fn queue(&self, key: WordKey, hash: u32, value: f64, shard: &mut Shard) -> &Waiting {
        if self.count.get() == WAITING {
            self.settle_first(shard);
        }
        if let Some(earlier) = self.earlier(FOUND) {
            shard.ask_for_record(earlier.key.get().group(), earlier.hash.get());
        }
        if let Some(earlier) = self.earlier(THERE).filter(|earlier| earlier.key.get().is_text()) {
            shard.ask_for_stored_text(earlier.key.get().group(), earlier.hash.get());
        }
        let place = &self.waiting[(self.first.get() + self.count.get()) % WAITING];
        place.key.set(key);
        place.hash.set(hash);
        place.sum.set(value);
        place.updates.set(1.0);
        self.count.set(self.count.get() + 1);
        place
    }

    /// The one that so many others came after, itself included.
    #[inline]
    fn earlier(&self, places: usize) -> Option<&Waiting> {
        let earlier = self.count.get().checked_sub(places)?;
        Some(&self.waiting[(self.first.get() + earlier) % WAITING])
    }

    /// Whether [`KeyCells::settle`] has anything to do.
    #[inline]
    #[must_use]
    pub fn have_waiting(&self) -> bool {
        self.count.get() > 0
    }

    /// Counts all that wait, in the order in which they came. To be called before anybody else reads or writes the shard.
    pub fn settle(&self, shard: &mut Shard) {
        while self.have_waiting() {
            self.settle_first(shard);
        }
    }

    /// A call of the VM has ended.
    #[inline]
    pub fn end_call(&self) {
        let many = self.unknown.replace(0) >= MANY;
        self.calls_without.set(if many { CALLS_WITHOUT } else { self.calls_without.get().saturating_sub(1) });
    }

    #[inline]
    fn settle_first(&self, shard: &mut Shard) {
        let first = self.first.get();
        let Waiting { key, sum, updates, text, .. } = &self.waiting[first];
        self.first.set((first + 1) % WAITING);
        self.count.set(self.count.get() - 1);
        let key = key.get();
        if key.is_text() {
            shard.update_asked_text(key.group(), &text.borrow()[..key.word() as usize], key.meter(), sum.get());
            return;
        }
        let updates = updates.get() as u64;
        let cell = shard.update_sum(key.group(), key.kind(), key.word(), key.meter(), sum.get(), updates);
        let place = &self.known[key.place()];
        if place.get().sum.value == sum.as_ptr() {
            place.set(Known { key, sum: cell.unwrap_or(SumCell::NONE) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Growth, Outcome, ShardConfig, Tallies, Vartype, rehearsal};
    use crate::time::Timestamp;

    fn shard(config: ShardConfig) -> (Shard, GroupIndex) {
        let (mut shard, group) = rehearsal::shard(&[Vartype::Counter, Vartype::Maximum], config);
        shard.advance(Timestamp::new(100, 0), |_| {});
        (shard, group)
    }

    /// As a VM counts: through the cells where they take it.
    fn count(cells: &KeyCells, shard: &mut Shard, group: GroupIndex, address: [u8; 4], meter: u32, value: f64) {
        let key = WordKey::host(address, group, meter);
        let generation = shard.generation().number();
        if cells.are_used() && (cells.add(key, value, generation) || cells.wait(key, value, generation, shard)) {
            return;
        }
        cells.settle(shard);
        shard.update_binary(group, KeyKind::Host4, &address, meter, value);
    }

    /// The same for a text.
    fn count_text(cells: &KeyCells, shard: &mut Shard, group: GroupIndex, text: &[u8], meter: u32, value: f64) {
        if !cells.wait_text(group, text, meter, value, shard) {
            cells.settle(shard);
            shard.update(group, text, meter, value);
        }
    }

    fn closed(shard: &mut Shard, secs: i64) -> Vec<(Vec<u8>, Vec<f64>)> {
        let mut rows = Vec::new();
        shard.advance(Timestamp::new(secs, 0), |snapshot| {
            snapshot.for_each(|key, values| rows.push((key.to_vec(), values.to_vec())));
        });
        rows
    }

    /// Ends a call of the VM, and the bucket, where both ways must have led to the same.
    fn end_call(cells: &KeyCells, through: &mut Shard, direct: &mut Shard, group: GroupIndex, round: u32) {
        cells.settle(through);
        cells.end_call();
        assert_eq!(through.key_counts(group), direct.key_counts(group), "round {round}");
        assert_eq!(through.counts(), direct.counts(), "round {round}");
        let secs = i64::from(100 + round * 4);
        assert_eq!(closed(through, secs), closed(direct, secs), "round {round}");
    }

    /// Keys that come in runs, among them ones that share a cell, and buckets that close in between.
    #[test]
    fn counting_through_cells_is_counting() {
        let (cells, mut through) = (KeyCells::default(), shard(ShardConfig::default()).0);
        let (mut direct, group) = shard(ShardConfig::default());
        for round in 0..40_u32 {
            for step in 0..500_u32 {
                let [_, _, high, low] = (round * 37 + step / 7 * 13).to_be_bytes();
                let (address, meter) = ([10, 0, high, low], u32::from(step % 11 == 0));
                let value = if step % 50 == 0 { f64::NAN } else { f64::from(step % 9) };
                count(&cells, &mut through, group, address, meter, value);
                direct.update_binary(group, KeyKind::Host4, &address, meter, value);
            }
            end_call(&cells, &mut through, &mut direct, group, round);
        }
        assert!(direct.counts().not_finite > 0);
    }

    /// Texts of any length and kind, some of them twice in a row, with hosts and short texts among them.
    #[test]
    fn texts_that_wait_are_counted_in_the_order_in_which_they_came() {
        let (cells, mut through) = (KeyCells::default(), shard(ShardConfig::default()).0);
        let (mut direct, group) = shard(ShardConfig::default());
        for round in 0..40_u32 {
            for step in 0..200_u32 {
                let number = (round * 31 + step / 2 * 17) % 900;
                let mut text = format!("a name that is too long to be held inline {number}").into_bytes();
                match step % 23 {
                    3 => text = format!("short {number}").into_bytes(),
                    5 => text = b"20010DB8000000000000000000000001".to_vec(),
                    7 => text.push(0),
                    11 => text.resize(300, b'x'),
                    _ => {}
                }
                let (meter, value) = (u32::from(step % 29 == 0), if step % 50 == 0 { f64::NAN } else { 0.1 });
                count_text(&cells, &mut through, group, &text, meter, value);
                direct.update(group, &text, meter, value);
                if step % 13 == 0 {
                    count(&cells, &mut through, group, [10, 0, 0, step as u8], 0, 1.0);
                    direct.update_binary(group, KeyKind::Host4, &[10, 0, 0, step as u8], 0, 1.0);
                }
            }
            end_call(&cells, &mut through, &mut direct, group, round);
        }
        assert!(direct.counts().not_finite > 0 && direct.counts().cut > 0);
    }

    #[test]
    fn texts_that_need_no_text_store_do_not_wait() {
        let (cells, (mut shard, group)) = (KeyCells::default(), shard(ShardConfig::default()));
        let mut waits = |text: &[u8], meter| cells.wait_text(group, text, meter, 1.0, &mut shard);
        assert!(!waits(b"short", 0));
        assert!(!waits(b"cut at its NUL\0, which makes it short", 0));
        assert!(!waits(b"20010DB8000000000000000000000001", 0), "an address");
        assert!(!waits(&[b'x'; MAX_KEY_LEN + 1], 0), "it is cut");
        assert!(!waits(b"seventeen letters", 1), "a maximum");
        assert!(!waits(b"seventeen letters", 2), "no such meter");
        assert!(waits(b"seventeen letters", 0));
        assert!(waits(&[b'x'; MAX_KEY_LEN], 0));
    }

    #[test]
    fn updates_of_keys_that_are_not_kept_are_counted_one_by_one() {
        for growth in [Growth::Fixed, Growth::Flexible] {
            let config = || ShardConfig { growth, high_water: 3, low_water: 2, hard_cap: 4, ..ShardConfig::default() };
            let (cells, mut through) = (KeyCells::default(), shard(config()).0);
            let (mut direct, group) = shard(config());
            for step in 0..60_u8 {
                let address = [10, 0, 0, step / 5];
                count(&cells, &mut through, group, address, 0, 2.0);
                direct.update_binary(group, KeyKind::Host4, &address, 0, 2.0);
            }
            cells.settle(&mut through);
            let counts = direct.key_counts(group);
            assert!(counts.rejected > 20 || counts.overflowed > 20, "{counts:?}");
            assert_eq!(through.key_counts(group), counts);
            assert_eq!(through.counts(), direct.counts());
            assert_eq!(closed(&mut through, 111), closed(&mut direct, 111));
        }
    }

    #[test]
    fn only_sums_without_tallies_wait() {
        let mut tallied = shard(ShardConfig { tallies: Tallies::On, ..ShardConfig::default() }).0;
        let (mut plain, group) = shard(ShardConfig::default());
        let cells = KeyCells::default();
        let key = |meter| WordKey::host([10, 0, 0, 1], group, meter);
        assert!(!cells.wait(key(0), 1.0, 1, &mut tallied));
        assert!(!cells.wait(key(1), 1.0, 1, &mut plain), "a maximum");
        assert!(!cells.wait(key(2), 1.0, 1, &mut plain), "no such meter");
        assert!(!cells.wait(key(0), f64::INFINITY, 1, &mut plain));
        assert!(!cells.have_waiting());
        assert_eq!(plain.update_binary(group, KeyKind::Host4, &[10, 0, 0, 1], 0, 1.0), Outcome::Counted);
    }

    #[test]
    fn where_most_keys_are_new_the_next_calls_do_without() {
        let (cells, (mut shard, group)) = (KeyCells::default(), shard(ShardConfig::default()));
        for i in 0..MANY as u8 {
            count(&cells, &mut shard, group, [10, 0, 0, i], 0, 1.0);
        }
        cells.settle(&mut shard);
        cells.end_call();
        for _ in 0..CALLS_WITHOUT {
            assert!(!cells.are_used());
            cells.end_call();
        }
        assert!(cells.are_used());
    }
}
