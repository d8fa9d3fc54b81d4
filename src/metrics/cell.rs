//! Sums that compiled code adds to without a call: where they lie, and for how long.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Moved on whenever a place in memory that a [`SumCell`] names stops being the right one: a table grows or goes away,
/// keys are pruned, a bucket closes.
///
/// Copies of a shard share the number with it; what they do at most makes others ask again.
#[derive(Clone, Debug)]
pub struct Generation(Arc<AtomicI32>);

impl Generation {
    pub(super) fn new() -> Self {
        // Cells begin at 0, which is none.
        Self(Arc::new(AtomicI32::new(1)))
    }

    /// Whoever adds by address asks for the place again.
    pub fn move_on(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The current number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Where compiled code reads the number; valid as long as this value or a clone of it lives.
    #[must_use]
    pub fn address(&self) -> *const i32 {
        self.0.as_ptr()
    }
}

/// Where the sum of a key and meter lies in the open bucket, for whoever adds to it by address.
///
/// Adding a finite value to `value` and one to `updates` is the same as an update, while `generation` is the current
/// number. The layout is declared in `api/lua/objects.lua` as well.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SumCell {
    /// The sum of the open bucket.
    pub value: *mut f64,
    /// Updates made this way to any key of the group and meter.
    pub updates: *mut f64,
    /// The cell is of no use once the number has moved on.
    pub generation: i32,
    /// Padding.
    pub reserved: i32,
}

impl SumCell {
    /// One that never holds.
    pub const NONE: Self = Self { value: ptr::null_mut(), updates: ptr::null_mut(), generation: 0, reserved: 0 };
}

#[cfg(test)]
mod tests {
    use crate::metrics::{GroupIndex, Shard, ShardConfig, Tallies, Vartype, rehearsal};
    use crate::time::Timestamp;

    fn shard(tallies: Tallies) -> (Shard, GroupIndex) {
        rehearsal::shard(&[Vartype::Counter, Vartype::Maximum], ShardConfig { tallies, ..ShardConfig::default() })
    }

    fn close(shard: &mut Shard, secs: i64) -> Vec<(Vec<u8>, Vec<f64>)> {
        let mut closed = Vec::new();
        shard.advance(Timestamp::new(secs, 0), |snapshot| {
            snapshot.for_each(|key, values| closed.push((key.to_vec(), values.to_vec())));
        });
        closed
    }

    #[test]
    #[expect(unsafe_code, reason = "stands in for compiled code, which adds by address")]
    fn adding_at_a_cell_is_an_update() {
        let (mut shard, group) = shard(Tallies::Off);
        close(&mut shard, 100);
        assert!(shard.sum_cell(group, b"key", 0).is_none(), "no such key yet");
        shard.update(group, b"key", 0, 2.0);
        let cell = shard.sum_cell(group, b"key", 0).unwrap();
        assert_eq!(cell.generation, shard.generation().number());
        // SAFETY: nothing happened to the shard since the cell was asked for.
        unsafe { *cell.value += 3.0 };
        // SAFETY: as above.
        unsafe { *cell.updates += 1.0 };
        shard.update(group, b"key", 0, 4.0);
        assert_eq!(cell.generation, shard.generation().number());
        assert_eq!(shard.key_counts(group).updates, 3);
        assert!(close(&mut shard, 111).contains(&(b"key".to_vec(), vec![9.0, 0.0])));
        assert_ne!(cell.generation, shard.generation().number(), "the bucket has closed");
        assert!(shard.sum_cell(group, b"key", 0).is_none(), "not touched in the new bucket");
    }

    #[test]
    fn cells_do_not_outlive_the_place_they_name() {
        let (mut shard, group) = shard(Tallies::Off);
        close(&mut shard, 100);
        let mut places = std::collections::HashMap::new();
        for i in 0..5_000 {
            let key = format!("key {i}");
            shard.update(group, key.as_bytes(), 0, 1.0);
            let cell = shard.sum_cell(group, b"key 0", 0).unwrap();
            let known = places.insert(cell.generation, cell.value.addr());
            assert!(known.is_none_or(|address| address == cell.value.addr()), "one generation, one place");
        }
        let generation = shard.generation().clone();
        let before = generation.number();
        drop(shard);
        assert_ne!(generation.number(), before);
    }

    #[test]
    fn only_sums_without_tallies_have_cells() {
        let (mut shard, group) = shard(Tallies::Off);
        shard.update(group, b"key", 1, 2.0);
        assert!(shard.sum_cell(group, b"key", 1).is_none(), "a maximum");
        assert!(shard.sum_cell(group, b"key", 2).is_none(), "no such meter");
        assert!(shard.sum_cell(group, &[b'x'; 300], 0).is_none(), "a key that is cut");
        let (mut shard, group) = self::shard(Tallies::On);
        shard.update(group, b"key", 0, 2.0);
        assert!(shard.sum_cell(group, b"key", 0).is_none());
    }
}
