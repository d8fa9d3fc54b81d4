//! The files of an SQLite database.

use std::path::{Path, PathBuf};

/// The file itself, its write-ahead log and the index of that; the latter two are there while it is open, or was left open.
#[must_use]
pub fn database_files(file: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}
