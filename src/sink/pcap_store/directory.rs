//! The folder of the store: who may write to it, which files are in it, which are deleted.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::segment::{ClosedSegment, FoundSegment, index_path};
use crate::time::{Stopwatch, Timestamp};

const LOCK: &str = "packets.lock";
/// How long somebody may take who only looks whether a folder is in use.
const LOOKS_AT_MOST: Duration = Duration::from_millis(500);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or written to.
    #[error("packet store {}: {error}; name a folder that can be written to", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The folder cannot be read.
    #[error("packet store {}: {error}; name a folder that millstream run --packets wrote to", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Another run writes to it.
    #[error("packet store {}: in use by another run; name another folder, or stop that run first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There are no packets in it.
    #[error("packet store {}: no packets here; millstream run --packets {} stores some", path.display(), path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// A folder this process writes to.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Held while the store is written; the lock ends with the process, however that ends.
    _lock: File,
    /// Files nobody writes to, oldest first.
    pub(super) closed: Vec<ClosedSegment>,
    next: u64,
    /// Bytes cut off files that ended within a packet.
    pub(super) repaired: u64,
}

/// Whether a run writes to a folder, as far as can be told.
pub(super) fn is_in_use(path: &Path) -> bool {
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path.join(LOCK)) {
        Ok(lock) => matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Takes the lock of a folder. Whoever only looks whether it is taken holds it for a moment: it is tried again as long as
/// `is_worth_it` says so, which may take its time.
fn take(lock: &File, mut is_worth_it: impl FnMut() -> bool) -> Result<(), TryLockError> {
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if is_worth_it() => {}
            taken => return taken,
        }
    }
}

/// Waits a little while somebody may still be looking.
fn waiting() -> impl FnMut() -> bool {
    let since = Stopwatch::start();
    move || {
        let goes_on = since.elapsed() < LOOKS_AT_MOST;
        if goes_on {
            thread::sleep(Duration::from_millis(1));
        }
        goes_on
    }
}

/// What a deletion freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Directory {
    /// Takes a folder for writing; makes it if it is not there, and repairs files that end within a packet.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_while(path, waiting())
    }

    fn open_while(path: &Path, is_worth_it: impl FnMut() -> bool) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Folder { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).mode(0o640);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        match take(&lock, is_worth_it) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut directory = Self { path: path.to_owned(), _lock: lock, closed: Vec::new(), next: 1, repaired: 0 };
        for (sequence, file) in captures(path).map_err(failed)? {
            directory.next = directory.next.max(sequence + 1);
            // What is no capture of ours is left alone.
            let Ok(found) = FoundSegment::open(&file) else { continue };
            if found.end < found.len {
                let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&file);
                if file.and_then(|file| file.set_len(found.end)).is_ok() {
                    directory.repaired += found.len - found.end;
                }
            }
            let last = found.last().unwrap_or(Timestamp::EPOCH);
            directory.closed.push(ClosedSegment { path: file, len: found.end, last });
        }
        Ok(directory)
    }

    /// Name for a file whose first packet has this time.
    pub(super) fn new_name(&mut self, first: Timestamp) -> PathBuf {
        let name = format!("packets-{}-{:08}.pcap", first.secs().max(0), self.next);
        self.next += 1;
        self.path.join(name)
    }

    /// Deletes files, the oldest first, until the limits hold. `open` bytes are in files that are being written.
    pub(super) fn prune(&mut self, open: u64, total: Option<u64>, age: Option<Duration>, now: Timestamp) -> Freed {
        let mut freed = Freed::default();
        let mut sum = open + self.closed.iter().map(|segment| segment.len).sum::<u64>();
        loop {
            let too_large = total.is_some_and(|total| sum > total) && !self.closed.is_empty();
            // A file with a packet from the future does not keep those behind it.
            let too_old = |segment: &ClosedSegment| age.is_some_and(|age| now.since(segment.last) > age);
            let place = if too_large { Some(0) } else { self.closed.iter().position(too_old) };
            let Some(place) = place else { break };
            let oldest = self.closed.remove(place);
            sum -= oldest.len;
            // A file that is gone already is as good as deleted.
            let _ = fs::remove_file(index_path(&oldest.path));
            let _ = fs::remove_file(&oldest.path);
            freed.files += 1;
            freed.bytes += oldest.len;
        }
        freed
    }
}

/// The capture files of a folder by their sequence number, which is the order in which they were begun.
pub(super) fn captures(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let sequence = name
            .to_str()
            .and_then(|name| name.strip_prefix("packets-")?.strip_suffix(".pcap")?.split_once('-'))
            .and_then(|(_, sequence)| sequence.parse().ok());
        if let Some(sequence) = sequence {
            found.push((sequence, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::PermissionsExt;

    use super::{Directory, LOCK, StoreError, is_in_use};

    #[test]
    fn a_folder_is_taken_while_somebody_looks_at_it_and_refused_while_somebody_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        assert!(!is_in_use(path), "nobody was here");
        drop(Directory::open(path).expect("nobody has it"));
        assert!(!is_in_use(path), "nobody has it any more");
        let looks = File::open(path.join(LOCK)).expect("the lock");
        looks.lock_shared().expect("nobody has it");
        let (mut looks, mut tries) = (Some(looks), 0);
        let taken = Directory::open_while(path, || {
            tries += 1;
            if tries == 3 {
                looks = None;
            }
            true
        });
        let taken = taken.expect("whoever looked is gone");
        assert_eq!(tries, 3);
        assert!(is_in_use(path));
        let mut tries = 0;
        let refused = Directory::open_while(path, || {
            tries += 1;
            tries < 5
        });
        assert!(matches!(refused, Err(StoreError::InUse { .. })) && tries == 5);
        drop(taken);
    }

    #[test]
    fn a_folder_whose_lock_cannot_be_read_may_be_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = OpenOptions::new().write(true).create_new(true).open(folder.path().join(LOCK)).expect("a file");
        lock.set_permissions(PermissionsExt::from_mode(0o000)).expect("it is ours");
        // There are users who may read everything.
        let can_read = File::open(folder.path().join(LOCK)).is_ok();
        assert!(can_read || is_in_use(folder.path()));
    }
}
