//! File operations, which need no VM.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::model::JobKind;

/// Bytes copied between two looks at the deadline.
const PIECE: u64 = 1 << 20;

/// One operation on files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Replaces `to` by the contents of `from`.
    Copy {
        /// The file read.
        from: PathBuf,
        /// The file written.
        to: PathBuf,
    },
    /// Appends the contents of `from` to `to`.
    Cat {
        /// The file read.
        from: PathBuf,
        /// The file appended to, created if needed.
        to: PathBuf,
    },
    /// Deletes a file; that it does not exist is fine.
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Appends bytes to a file or writes them at a position.
    CopyBuffer {
        /// The bytes.
        bytes: Vec<u8>,
        /// The file, created if needed.
        path: PathBuf,
        /// Where to write; `None` appends.
        position: Option<u64>,
    },
}

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
pub struct FileError {
    operation: String,
    source: io::Error,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.source)
    }
}

impl FileOp {
    /// A path as Lua gives it: bytes up to the first NUL.
    #[must_use]
    pub fn path_of(bytes: &[u8]) -> PathBuf {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        PathBuf::from(OsString::from_vec(bytes[..end].to_vec()))
    }

    /// What kind of job it is.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Copy { .. } => JobKind::Copy,
            Self::Cat { .. } => JobKind::Cat,
            Self::Remove { .. } => JobKind::Remove,
            Self::CopyBuffer { .. } => JobKind::CopyBuffer,
        }
    }

    /// Every file it touches.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let (first, second): (&Path, Option<&Path>) = match self {
            Self::Copy { from, to } | Self::Cat { from, to } => (from, Some(to)),
            Self::Remove { path } | Self::CopyBuffer { path, .. } => (path, None),
        };
        std::iter::once(first).chain(second)
    }

    pub(super) fn size(&self) -> usize {
        let bytes = if let Self::CopyBuffer { bytes, .. } = self { bytes.len() } else { 0 };
        bytes + self.paths().map(|path| path.as_os_str().len()).sum::<usize>()
    }

    /// Does it. `go_on` is asked between pieces of a large file.
    ///
    /// # Errors
    /// When the system refuses, a file is neither regular nor a device, or `go_on` says no.
    pub fn run(&self, mut go_on: impl FnMut() -> bool) -> Result<(), FileError> {
        self.attempt(&mut go_on).map_err(|source| FileError { operation: self.to_string(), source })
    }

    fn attempt(&self, go_on: &mut dyn FnMut() -> bool) -> io::Result<()> {
        match self {
            Self::Copy { from, to } => {
                let mut source = open_source(from)?;
                let metadata = source.metadata()?;
                let target = open_target(to, OpenOptions::new().write(true))?;
                let same = target.metadata()?;
                if (same.dev(), same.ino()) == (metadata.dev(), metadata.ino()) {
                    // Emptying the target would empty the source.
                    return Ok(());
                }
                target.set_len(0)?;
                copy(&mut source, &target, u64::MAX, go_on)
            }
            Self::Cat { from, to } => {
                let mut source = open_source(from)?;
                let target = open_target(to, OpenOptions::new().append(true))?;
                // A file appended to itself grows while it is read, so it is read up to its length now.
                let metadata = source.metadata()?;
                let length = if metadata.is_file() { metadata.len() } else { u64::MAX };
                copy(&mut source, &target, length, go_on)
            }
            Self::Remove { path } => match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            Self::CopyBuffer { bytes, path, position: None } => {
                open_target(path, OpenOptions::new().append(true))?.write_all(bytes)
            }
            Self::CopyBuffer { bytes, path, position: Some(position) } => {
                let mut target = open_target(path, OpenOptions::new().write(true))?;
                target.seek(SeekFrom::Start(*position))?;
                target.write_all(bytes)
            }
        }
    }
}

impl fmt::Display for FileOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind().name();
        match self {
            Self::Copy { from, to } | Self::Cat { from, to } => {
                write!(f, "{name} {} {}", from.display(), to.display())
            }
            Self::Remove { path } | Self::CopyBuffer { path, .. } => write!(f, "{name} {}", path.display()),
        }
    }
}

fn open_source(path: &Path) -> io::Result<File> {
    // Opening a FIFO would wait for its other end, for ever if there is none.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    check(&file).map(|()| file)
}

fn open_target(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let file = how.create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    check(&file).map(|()| file)
}

fn check(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a character device"))
}

fn copy(source: &mut File, mut target: &File, length: u64, go_on: &mut dyn FnMut() -> bool) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        if !go_on() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "given up before it was complete"));
        }
        let copied = io::copy(&mut source.take(left.min(PIECE)), &mut target)?;
        if copied == 0 {
            break;
        }
        left -= copied;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::FileOp;

    #[test]
    fn operations_do_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let run = |operation: FileOp| operation.run(|| true);
        let buffer = |bytes: &[u8], position| FileOp::CopyBuffer { bytes: bytes.to_vec(), path: a.clone(), position };
        run(buffer(b"one", None)).unwrap();
        run(buffer(b"two", None)).unwrap();
        run(buffer(b"N", Some(1))).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"oNetwo");
        run(FileOp::Copy { from: a.clone(), to: b.clone() }).unwrap();
        run(FileOp::Cat { from: a.clone(), to: b.clone() }).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"oNetwooNetwo");
        run(FileOp::Cat { from: a.clone(), to: a.clone() }).unwrap();
        run(FileOp::Copy { from: a.clone(), to: a.clone() }).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"oNetwooNetwo", "a file copied to itself stays");
        run(FileOp::Copy { from: a.clone(), to: b.clone() }).unwrap();
        assert_eq!(fs::read(&b).unwrap().len(), 12, "the target is replaced");
        run(FileOp::Remove { path: a.clone() }).unwrap();
        run(FileOp::Remove { path: a.clone() }).unwrap();
        assert!(!a.exists());
        let error = run(FileOp::Cat { from: a, to: b.clone() }).unwrap_err().to_string();
        assert!(error.starts_with("cat ") && error.contains("No such file"), "{error}");
        let directory = FileOp::Cat { from: dir.path().to_owned(), to: b }.run(|| true).unwrap_err().to_string();
        assert!(directory.contains("neither a regular file"), "{directory}");
    }

    #[test]
    fn a_large_copy_can_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, vec![7; 5 << 20]).unwrap();
        let mut asked = 0;
        let error = FileOp::Copy { from: a, to: b }.run(|| {
            asked += 1;
            asked < 3
        });
        assert!(error.unwrap_err().to_string().contains("given up"));
        assert_eq!(asked, 3);
    }

    #[test]
    fn paths_end_at_the_first_nul() {
        assert_eq!(FileOp::path_of(b"/tmp/x\0.png").to_str(), Some("/tmp/x"));
    }
}
