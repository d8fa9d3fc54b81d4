//! What the store is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::sink::WhenFull;

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
}

impl StoreOptions {
    /// A store that deletes nothing.
    #[must_use]
    pub const fn new(file: PathBuf, when_full: WhenFull) -> Self {
        Self { file, total_bytes: None, age: None, when_full }
    }
}
