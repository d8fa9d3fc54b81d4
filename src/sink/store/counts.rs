//! What became of the rows offered to the store.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared by the senders and the writer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) written: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) disk_full: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) deleted: AtomicU64,
    pub(super) windows: AtomicU64,
    pub(super) largest_log: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn get(&self) -> StoreTally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreTally {
            written: read(&self.written),
            queue_full: read(&self.queue_full),
            disk_full: read(&self.disk_full),
            failed: read(&self.failed),
            deleted: read(&self.deleted),
            windows: read(&self.windows),
            largest_log: read(&self.largest_log),
        }
    }
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTally {
    /// Rows written; a key of a bucket is one.
    pub written: u64,
    /// Rows dropped because the writer was slower than the packets.
    pub queue_full: u64,
    /// Rows lost because the disk was full.
    pub disk_full: u64,
    /// Rows lost because writing failed in another way.
    pub failed: u64,
    /// Rows deleted at a limit.
    pub deleted: u64,
    /// Flushes.
    pub windows: u64,
    /// Most bytes of the write-ahead log.
    pub largest_log: u64,
}

impl StoreTally {
    /// Rows not stored, by reason, as drop counters name them.
    #[must_use]
    pub const fn drops(&self) -> [(&'static str, u64); 3] {
        [("store_queue_full", self.queue_full), ("store_disk_full", self.disk_full), ("store_failed", self.failed)]
    }

    /// Rows not stored.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.queue_full + self.disk_full + self.failed
    }
}
