//! A file of lines: opened with care, never left with half a line in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread;
use std::time::Duration;

use crate::time::Stopwatch;

/// Whoever writes lines goes through it, so that a process that ends leaves no half of one.
static GATE: Gate = Gate::new();
/// Between two looks whether somebody writes.
const LOOK: Duration = Duration::from_millis(1);

/// Has no line be written any more, for a process that ends: waits for those that are being written, but not longer than that.
pub fn hold_files(limit: Duration) {
    GATE.close(limit);
}

/// Lets writers in until it is closed.
struct Gate {
    writing: RwLock<()>,
    is_closing: AtomicBool,
}

impl Gate {
    const fn new() -> Self {
        Self { writing: RwLock::new(()), is_closing: AtomicBool::new(false) }
    }

    /// To be held while something is written. Of a gate that is closed it does not come back.
    fn enter(&self) -> RwLockReadGuard<'_, ()> {
        while self.is_closing.load(Ordering::Relaxed) {
            thread::park();
        }
        self.writing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nobody in any more, for ever, and waits until all are out; false if they are not by then.
    fn close(&self, limit: Duration) -> bool {
        // Of writers that take turns there would be one in at each look.
        self.is_closing.store(true, Ordering::Relaxed);
        let since = Stopwatch::start();
        loop {
            match self.writing.try_write() {
                Ok(held) => break mem::forget(held),
                Err(TryLockError::Poisoned(held)) => break mem::forget(held.into_inner()),
                Err(TryLockError::WouldBlock) if since.elapsed() >= limit => return false,
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK),
            }
        }
        true
    }
}

/// Why an output cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is there, and no plain file.
    #[error("{}: is a {kind}; name a plain file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Anything else.
    #[error("{}: cannot be written: {error}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

/// What becomes of lines that are in the file already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// They are deleted.
    Anew,
    /// They stay.
    Append,
}

/// What becomes of a name that leads to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// It is not opened.
    Refused,
    /// What it leads to is opened.
    Followed,
}

/// A file of lines that this process writes.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    // It had a name when it was opened: without one, nobody finds what is written.
    is_named: bool,
}

impl LineFile {
    /// Opens a plain file or a device; makes a file that only owner and group may read.
    pub fn open(path: &Path, begin: Begin, links: Links) -> Result<Self, OutputError> {
        let failed = |error| OutputError::Failed { path: path.to_owned(), error };
        let refused = |kind| OutputError::NoFile { path: path.to_owned(), kind };
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        // A pipe must not hold the open call up until somebody reads.
        let follow = if links == Links::Refused { libc::O_NOFOLLOW } else { 0 };
        options.custom_flags(follow | libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file = match options.open(path) {
            Ok(file) => file,
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(refused("link")),
            Err(e) if e.raw_os_error() == Some(libc::EISDIR) => return Err(refused("directory")),
            // A pipe without a reader, or a socket.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Err(refused("pipe or socket")),
            Err(e) => return Err(failed(e)),
        };
        let about = file.metadata().map_err(failed)?;
        let kind = about.file_type();
        if kind.is_fifo() {
            return Err(refused("pipe"));
        }
        if !kind.is_file() && !kind.is_char_device() {
            return Err(refused("device that cannot take lines"));
        }
        // Of a file that has been cut the system writes everything to the disk before it is closed.
        if kind.is_file() && begin == Begin::Anew && about.size() > 0 {
            file.set_len(0).map_err(failed)?;
        }
        Ok(Self { file, is_named: about.nlink() > 0 })
    }

    /// Around an open file, if it is a plain one.
    ///
    /// # Errors
    /// When it is none: gives it back.
    pub fn of(file: File) -> Result<Self, File> {
        let is_plain = file.metadata().is_ok_and(|about| about.is_file());
        if is_plain { Ok(Self { file, is_named: false }) } else { Err(file) }
    }

    /// True if there is nothing in it yet.
    pub fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.size() == 0)
    }

    /// Writes lines; on failure, how many of the bytes are in the file as whole lines. What is there of the next line is
    /// taken back.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        self.write_whole(lines, |written| {
            lines[..written].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
        })
    }

    /// The same for records that may have line ends in them: `whole` tells how many of so many bytes are whole ones.
    pub fn write_whole(&mut self, lines: &[u8], whole: impl FnOnce(usize) -> usize) -> Result<(), (usize, io::Error)> {
        if self.is_named && self.file.metadata().is_ok_and(|about| about.nlink() == 0) {
            return Err((0, io::Error::new(io::ErrorKind::NotFound, "the file was deleted; SIGHUP makes a new one")));
        }
        let _writing = GATE.enter();
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err((self.take_back(written, whole(written)), io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((self.take_back(written, whole(written)), e)),
            }
        }
        Ok(())
    }

    fn take_back(&mut self, written: usize, whole: usize) -> usize {
        if written > whole
            && let Ok(about) = self.file.metadata()
            && about.is_file()
        {
            let end = about.size().saturating_sub((written - whole) as u64);
            // A file that cannot be cut either has a broken line; nothing more can be done. One that others opened may
            // stand behind its new end, and would have a hole there.
            let _ = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::{Begin, Gate, LineFile, Links, OutputError};
    use crate::time::Stopwatch;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_file_belongs_to_its_owner_and_begins_as_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        LineFile::open(&path, Begin::Anew, Links::Refused).unwrap().write(b"one\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        LineFile::open(&path, Begin::Append, Links::Refused).unwrap().write(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        LineFile::open(&path, Begin::Anew, Links::Refused).unwrap().write(b"three\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn links_directories_and_sockets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("target"), b"keep").unwrap();
        symlink(dir.path().join("target"), dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for name in ["link", "folder", "socket"] {
            let refused = LineFile::open(&dir.path().join(name), Begin::Anew, Links::Refused);
            assert!(matches!(refused, Err(OutputError::NoFile { .. })), "{name}: {refused:?}");
        }
        assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"keep");
        let mut followed = LineFile::open(&dir.path().join("link"), Begin::Anew, Links::Followed).unwrap();
        followed.write(b"line\n").unwrap();
        assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"line\n");
    }

    #[test]
    fn what_nobody_can_find_any_more_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("lines"), dir.path().join("moved"));
        let mut file = LineFile::open(&path, Begin::Anew, Links::Refused).unwrap();
        fs::rename(&path, &other).unwrap();
        file.write(b"found\n").unwrap();
        fs::remove_file(&other).unwrap();
        let (written, error) = file.write(b"lost\n").unwrap_err();
        assert_eq!((written, error.kind()), (0, std::io::ErrorKind::NotFound));
        // Whoever passes a file without a name on knows what it is.
        LineFile::of(tempfile::tempfile().unwrap()).unwrap().write(b"line\n").unwrap();
    }

    #[test]
    fn a_process_that_ends_does_not_wait_for_writers_that_take_turns() {
        static GATE: Gate = Gate::new();
        static CAME: AtomicUsize = AtomicUsize::new(0);
        let take_turns = || {
            loop {
                let _writing = GATE.enter();
                let mine = CAME.fetch_add(1, Ordering::Relaxed) + 1;
                let since = Stopwatch::start();
                // Goes when the other one has come, or will not.
                while CAME.load(Ordering::Relaxed) == mine && since.elapsed() < Duration::from_millis(300) {
                    thread::yield_now();
                }
            }
        };
        (0..2).for_each(|_| drop(thread::spawn(take_turns)));
        while CAME.load(Ordering::Relaxed) < 10 {
            thread::yield_now();
        }
        assert!(GATE.close(Duration::from_secs(4)));
        let came = CAME.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
        assert_eq!(CAME.load(Ordering::Relaxed), came, "nobody comes any more");
    }

    #[test]
    fn a_full_device_is_told_of_with_what_was_written() {
        let mut full = LineFile::open(std::path::Path::new("/dev/full"), Begin::Anew, Links::Refused).unwrap();
        let (written, error) = full.write(b"line\n").unwrap_err();
        assert_eq!((written, error.raw_os_error()), (0, Some(libc::ENOSPC)));
    }
}
