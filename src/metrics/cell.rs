//! Sums that compiled code adds to without a call: where they lie, and for how long.

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

    pub(super) fn move_on(&self) {
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
    /// Updates made this way to any key of the group.
    pub updates: *mut f64,
    /// The cell is of no use once the number has moved on.
    pub generation: i32,
    /// Padding.
    pub reserved: i32,
}
