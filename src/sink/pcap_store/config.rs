//! What the store is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::sink::WhenFull;

/// Where packets are stored, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Folder of the store; made if it is not there.
    pub directory: PathBuf,
    /// A file is closed when it would become larger than this.
    pub segment_bytes: u64,
    /// A file is closed when its packets are further apart than this.
    pub segment_span: Duration,
    /// Files are deleted, the oldest first, while all of them together are larger.
    pub total_bytes: Option<u64>,
    /// Files whose last packet is older than the latest packet by more than this are deleted.
    pub age: Option<Duration>,
    /// What happens when the disk is slower than the packets.
    pub when_full: WhenFull,
}

impl StoreConfig {
    /// The usual limits: files of 64 MiB or an hour, none deleted.
    #[must_use]
    pub const fn new(directory: PathBuf, when_full: WhenFull) -> Self {
        Self {
            directory,
            segment_bytes: 64 << 20,
            segment_span: Duration::from_secs(3_600),
            total_bytes: None,
            age: None,
            when_full,
        }
    }
}
