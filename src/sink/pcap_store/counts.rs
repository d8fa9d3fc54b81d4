//! What became of the packets offered to the store.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared by the feeds and the writer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) written: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) disk_full: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) file_deleted: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) deleted_files: AtomicU64,
    pub(super) deleted_bytes: AtomicU64,
    pub(super) index_lost: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Takes away from a counter what it counted before.
pub(super) fn take_back(counter: &AtomicU64, by: u64) {
    counter.fetch_sub(by, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn get(&self) -> StoreCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounts {
            written: read(&self.written),
            written_bytes: read(&self.written_bytes),
            queue_full: read(&self.queue_full),
            disk_full: read(&self.disk_full),
            failed: read(&self.failed),
            file_deleted: read(&self.file_deleted),
            files: read(&self.files),
            deleted_files: read(&self.deleted_files),
            deleted_bytes: read(&self.deleted_bytes),
            index_lost: read(&self.index_lost),
        }
    }
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Packets written, in files that are there.
    pub written: u64,
    /// Bytes of files written for them, record headers included.
    pub written_bytes: u64,
    /// Packets dropped because the disk was slower than the packets.
    pub queue_full: u64,
    /// Packets dropped because the disk was full.
    pub disk_full: u64,
    /// Packets dropped because writing failed in another way.
    pub failed: u64,
    /// Packets lost because their file was deleted while it was written.
    pub file_deleted: u64,
    /// Files begun.
    pub files: u64,
    /// Files deleted at a limit.
    pub deleted_files: u64,
    /// Bytes in them.
    pub deleted_bytes: u64,
    /// Parts of files without an index, because it could not be written.
    pub index_lost: u64,
}

impl StoreCounts {
    /// Packets not stored, by reason, as drop counters name them.
    #[must_use]
    pub const fn drops(&self) -> [(&'static str, u64); 4] {
        [
            ("packet_store_queue_full", self.queue_full),
            ("packet_store_disk_full", self.disk_full),
            ("packet_store_failed", self.failed),
            ("packet_store_file_deleted", self.file_deleted),
        ]
    }
}
