//! A store that was cut off within a page: SQLite reads what is missing of that page as zeros, and takes these for values.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sink::database_files;

/// Where the size of a page stands in a file.
const SIZE_AT: u64 = 16;

/// A copy of such a store as far as its pages are whole; deleted with this.
#[derive(Debug)]
pub(super) struct WholePages {
    pub(super) path: PathBuf,
}

impl WholePages {
    /// Copies them to a new file; `None` if the store does not end within a page.
    pub(super) fn of(store: &Path, path: PathBuf) -> io::Result<Option<Self>> {
        let file = File::open(store)?;
        let len = file.metadata()?.len();
        let mut size = [0; 2];
        file.read_exact_at(&mut size, SIZE_AT)?;
        let size = match u16::from_be_bytes(size) {
            // The largest size has one bit too many.
            1 => 1 << 16,
            size => u64::from(size),
        };
        let Some(rest) = len.checked_rem(size).filter(|rest| *rest > 0) else { return Ok(None) };
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path)?;
        let pages = Self { path };
        io::copy(&mut file.take(len - rest), &mut copy)?;
        let ([_, log, _], [_, copied, _]) = (database_files(store), database_files(&pages.path));
        if log.exists() {
            fs::copy(log, copied)?;
        }
        Ok(Some(pages))
    }
}

impl Drop for WholePages {
    fn drop(&mut self) {
        for file in database_files(&self.path) {
            // There may be no log.
            let _ = fs::remove_file(file);
        }
    }
}
