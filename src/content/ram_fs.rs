//! The directory of extracted files: who may write how much there, and when a file goes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::name::is_safe_directory;

/// Where memory is a file system on most machines.
const SHARED_MEMORY: &str = "/dev/shm";
/// Runs of one user that may be under way at a time.
const MAX_RUNS: usize = 1_000;
/// Held by the run a directory belongs to; names of extracted files begin with no dot.
const LOCK: &str = ".lock";

/// What becomes of a file when nobody needs it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoDelete {
    /// It is deleted.
    On,
    /// It stays.
    Off,
}

/// Where files are written, and how much.
#[derive(Clone, Debug)]
pub struct RamFsOptions {
    /// The directory; `None` for a private one of the run.
    pub directory: Option<String>,
    /// Most bytes in it.
    pub limit: u64,
    /// What becomes of files.
    pub auto_delete: AutoDelete,
}

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum RamFsError {
    /// Names of files in it could not be pasted into a shell command.
    #[error(
        "'{0}' cannot hold extracted files: an absolute path of letters, digits, '.', '_' and '-' is needed, because \
         scripts paste names of files into shell commands"
    )]
    Unsafe(String),
    /// The system refused.
    #[error("{}: {source}", path.display())]
    System {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The directory, shared by the engines of a run. Dropping the last handle removes what the run has made.
#[derive(Debug)]
pub struct RamFs {
    directory: String,
    limit: u64,
    auto_delete: AutoDelete,
    /// The run's own, to be removed with everything in it.
    private: Option<File>,
    /// Made by the run, to be removed if it is empty.
    made: bool,
    used: AtomicU64,
    /// Files that somebody holds.
    handed: AtomicUsize,
    freed: (Mutex<()>, Condvar),
}

impl RamFs {
    /// Makes the directory ready.
    ///
    /// # Errors
    /// When its name is not safe or the system refuses.
    pub fn open(options: &RamFsOptions) -> Result<Arc<Self>, RamFsError> {
        let (directory, private, made) = match &options.directory {
            Some(directory) => {
                if !is_safe_directory(directory) {
                    return Err(RamFsError::Unsafe(directory.clone()));
                }
                (directory.clone(), None, make_named(directory)?)
            }
            None => {
                let (directory, lock) = claim_private()?;
                (directory, Some(lock), true)
            }
        };
        Ok(Arc::new(Self {
            directory,
            limit: options.limit,
            auto_delete: options.auto_delete,
            private,
            made,
            used: AtomicU64::new(0),
            handed: AtomicUsize::new(0),
            freed: (Mutex::new(()), Condvar::new()),
        }))
    }

    /// Its full name.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Bytes of the files in it.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Room for more bytes; false if there is none.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    pub(super) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        let _guard = self.freed.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.freed.1.notify_all();
    }

    /// Creates a file for writing, in place of one of the same name that an earlier run left; never through a link.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let open = || {
            let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
            OpenOptions::new().append(true).create_new(true).mode(0o640).custom_flags(flags).open(path)
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                open()
            }
            other => other,
        }
    }

    /// Opens a file of this run again.
    pub(super) fn reopen(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
    }

    /// True if more than half of the room is taken and waiting may free some.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.used() > self.limit / 2 && self.handed.load(Ordering::Relaxed) > 0 && self.auto_delete == AutoDelete::On
    }

    /// Waits until a file goes, at most this long.
    pub fn wait(&self, limit: Duration) {
        let guard = self.freed.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_crowded() {
            let _unused = self.freed.1.wait_timeout(guard, limit);
        }
    }
}

impl Drop for RamFs {
    fn drop(&mut self) {
        // Whatever fails here, nothing can be done about it.
        if self.private.is_some() && self.auto_delete == AutoDelete::On {
            let _gone = fs::remove_dir_all(&self.directory);
        } else if self.made {
            let _lock = fs::remove_file(Path::new(&self.directory).join(LOCK));
            let _gone = fs::remove_dir(&self.directory);
        }
    }
}

/// Makes a directory that was named, unless it is there; true if it was made.
fn make_named(directory: &str) -> Result<bool, RamFsError> {
    let system = |source| RamFsError::System { path: PathBuf::from(directory), source };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(system).map(|()| true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::metadata(directory).map_err(system)?;
            if metadata.is_dir() {
                return Ok(false);
            }
            Err(system(io::Error::new(io::ErrorKind::NotADirectory, "not a directory")))
        }
        Err(error) => Err(system(error)),
    }
}

/// A directory that no other run has. Numbered from 0, so that two runs one after the other write under the same names.
fn claim_private() -> Result<(String, File), RamFsError> {
    let temporary = std::env::temp_dir();
    let temporary = temporary.to_str().filter(|path| is_safe_directory(path)).unwrap_or("/tmp");
    let mut last = None;
    for place in [SHARED_MEMORY, temporary.trim_end_matches('/')] {
        let Ok(probe) = tempfile_owner(place) else { continue };
        for number in 0..MAX_RUNS {
            let directory = format!("{place}/millstream-{probe}-{number}");
            match claim(Path::new(&directory), probe) {
                Ok(Some(lock)) => return Ok((directory, lock)),
                Ok(None) => {}
                Err(source) => {
                    last = Some(RamFsError::System { path: PathBuf::from(directory), source });
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| RamFsError::System {
        path: PathBuf::from(temporary),
        source: io::Error::from(io::ErrorKind::NotFound),
    }))
}

/// The user on whose behalf files are made, if that is possible in a directory at all.
fn tempfile_owner(place: &str) -> io::Result<u32> {
    if !fs::metadata(place)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    fs::metadata("/proc/self").map(|metadata| metadata.uid())
}

/// Takes a directory: a new one, or one whose run is gone. `None` if it belongs to somebody else.
fn claim(directory: &Path, owner: u32) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(directory)?;
            if !found.is_dir() || found.uid() != owner || found.permissions().mode() & 0o077 != 0 {
                return Ok(None);
            }
        }
        Err(error) => return Err(error),
    }
    let path = directory.join(LOCK);
    if fs::symlink_metadata(&path).is_err() && fs::read_dir(directory)?.next().is_some() {
        // A run left its files there on purpose.
        return Ok(None);
    }
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path);
    let lock = match lock {
        Ok(lock) => lock,
        // Its run is just removing it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    // Between opening and locking the run before may have removed it all.
    let same = fs::symlink_metadata(&path).is_ok_and(|found| lock.metadata().is_ok_and(|own| own.ino() == found.ino()));
    if !same {
        return Ok(None);
    }
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_name() != LOCK {
            let _left = fs::remove_file(entry.path());
        }
    }
    Ok(Some(lock))
}

/// A complete file or chunk. It is deleted when the last holder lets it go, on whatever thread that is.
#[derive(Debug)]
pub struct RamFile {
    ram: Arc<RamFs>,
    path: String,
    bytes: u64,
}

impl RamFile {
    pub(super) fn new(ram: &Arc<RamFs>, path: String, bytes: u64) -> Self {
        ram.handed.fetch_add(1, Ordering::Relaxed);
        Self { ram: Arc::clone(ram), path, bytes }
    }

    /// Its full name.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its length.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.bytes
    }

    /// True without bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Drop for RamFile {
    fn drop(&mut self) {
        self.ram.handed.fetch_sub(1, Ordering::Relaxed);
        if self.ram.auto_delete == AutoDelete::On {
            // A script may have moved it away.
            let _gone = fs::remove_file(&self.path);
            self.ram.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AutoDelete, RamFile, RamFs, RamFsError, RamFsOptions, claim};
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn options(directory: Option<String>) -> RamFsOptions {
        RamFsOptions { directory, limit: 100, auto_delete: AutoDelete::On }
    }

    #[test]
    fn a_private_directory_is_for_one_run_and_gone_afterwards() {
        let first = RamFs::open(&options(None)).unwrap();
        let second = RamFs::open(&options(None)).unwrap();
        assert_ne!(first.directory(), second.directory());
        let metadata = fs::metadata(first.directory()).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
        let path = first.directory().to_owned();
        drop(first);
        assert!(fs::metadata(path).is_err());
    }

    #[test]
    fn what_a_dead_run_left_is_taken_over_and_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("run");
        let owner = fs::metadata(dir.path()).unwrap().uid();
        let lock = claim(&place, owner).unwrap().unwrap();
        fs::write(place.join("left"), "x").unwrap();
        assert!(claim(&place, owner).unwrap().is_none(), "its run is under way");
        drop(lock);
        assert!(claim(&place, owner + 1).unwrap().is_none(), "it belongs to somebody else");
        let _lock = claim(&place, owner).unwrap().unwrap();
        assert!(!place.join("left").exists());
    }

    #[test]
    fn files_that_a_run_was_to_keep_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("run");
        let owner = fs::metadata(dir.path()).unwrap().uid();
        drop(claim(&place, owner).unwrap().unwrap());
        fs::remove_file(place.join(super::LOCK)).unwrap();
        fs::write(place.join("kept"), "x").unwrap();
        assert!(claim(&place, owner).unwrap().is_none() && place.join("kept").exists());
    }

    #[test]
    fn links_and_open_directories_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let owner = fs::metadata(dir.path()).unwrap().uid();
        let (open, link) = (dir.path().join("open"), dir.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        assert!(claim(&open, owner).unwrap().is_none());
        assert!(claim(&link, owner).unwrap().is_none());
    }

    #[test]
    fn a_named_directory_must_be_safe_and_stays_if_it_was_there() {
        assert!(matches!(RamFs::open(&options(Some("/tmp/a b".into()))), Err(RamFsError::Unsafe(_))));
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("deep/er").to_str().unwrap().replace(".tmp", "tmp");
        let ram = RamFs::open(&options(Some(name.clone()))).unwrap();
        drop(ram);
        assert!(!std::path::Path::new(&name).exists());
    }

    #[test]
    fn a_file_goes_with_its_last_holder_and_gives_back_its_room() {
        let ram = RamFs::open(&options(None)).unwrap();
        let path = format!("{}/x", ram.directory());
        assert!(ram.reserve(60) && !ram.reserve(50));
        drop(ram.create(path.as_ref()).unwrap());
        let file = std::sync::Arc::new(RamFile::new(&ram, path.clone(), 60));
        let held = std::sync::Arc::clone(&file);
        assert!(ram.is_crowded());
        drop(file);
        assert!(fs::metadata(&path).is_ok());
        std::thread::spawn(move || drop(held)).join().unwrap();
        assert!(fs::metadata(&path).is_err() && ram.used() == 0 && !ram.is_crowded());
    }
}
