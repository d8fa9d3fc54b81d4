//! Whether a VM may write at the moment: functions that were registered to read only may not.
//!
//! Their engine has no methods that write; a method that was kept from before is refused here, where it writes.

use std::cell::Cell;

use super::record::Record;

/// Held while such a function runs.
#[derive(Debug, Default)]
pub struct WriteLock {
    is_held: Cell<bool>,
    was_tried: Cell<bool>,
}

impl WriteLock {
    /// Nothing is written from now on.
    pub fn hold(&self) {
        self.is_held.set(true);
        self.was_tried.set(false);
    }

    /// Whether something was to be written since; it may be from now on.
    pub fn release(&self) -> bool {
        self.is_held.set(false);
        self.was_tried.take()
    }

    /// Whether what is to be written now must not be.
    #[inline]
    #[must_use]
    pub fn refuses(&self) -> bool {
        if self.is_held.get() {
            self.was_tried.set(true);
        }
        self.is_held.get()
    }

    /// The same of a record: what a function prints or logs is always told.
    #[inline]
    #[must_use]
    pub fn refuses_record(&self, record: &Record) -> bool {
        let is_said = |record: &Record| {
            matches!(record, Record::Print { .. } | Record::Log { .. } | Record::Fault { .. } | Record::Job { .. })
        };
        self.is_held.get() && !is_said(record) && self.refuses()
    }
}
