//! What the store is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::sink::WhenFull;

/// What a window that was flushed outlasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it ends. After a power failure the file is whole, and the last windows may be missing.
    Process,
    /// A power failure too.
    #[default]
    PowerFailure,
}

/// A write-ahead log of this size is worth a warning.
const LARGE_LOG: u64 = 1 << 30;

/// Where rows are stored, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The file; made if it is not there.
    pub file: PathBuf,
    /// The oldest rows are deleted while the file holds more than this.
    pub total_bytes: Option<u64>,
    /// Rows that are older than the latest one by more than this are deleted.
    pub age: Option<Duration>,
    /// What happens when the writer is slower than the rows.
    pub when_full: WhenFull,
    /// What is promised of rows that are written. Where the sender waits, rows can be made again.
    pub durability: Durability,
    /// A write-ahead log that grows beyond is told of.
    pub large_log: u64,
}

impl StoreOptions {
    /// A store that deletes nothing.
    #[must_use]
    pub const fn new(file: PathBuf, when_full: WhenFull) -> Self {
        let durability = match when_full {
            WhenFull::Block => Durability::Process,
            WhenFull::DropNewest => Durability::PowerFailure,
        };
        Self { file, total_bytes: None, age: None, when_full, durability, large_log: LARGE_LOG }
    }
}
