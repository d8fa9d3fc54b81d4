//! Where lines go: a file, standard output, or a socket on which somebody listens.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::sender::Shared;
use crate::sink::line_file::{Begin, LineFile, Links, OutputError};
use crate::sink::patient::{Haste, PIPE_BYTES, Patience, STALLED, given_up};
use crate::time::Stopwatch;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EveTarget {
    /// Standard output.
    Output,
    /// A file.
    File(PathBuf),
    /// A socket that somebody listens on.
    Socket(PathBuf),
}

impl std::fmt::Display for EveTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Output => f.write_str("standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why lines could not be written.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes of whole lines that were written all the same.
    pub written: usize,
    /// What happened.
    pub error: io::Error,
    /// What it means.
    pub meaning: Meaning,
}

/// What a failure means for later lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The reader is gone for good.
    Over,
    /// It may work again later.
    Later,
}

/// An open target.
#[derive(Debug)]
pub(super) enum Outlet {
    Output { pipe: Pipe<File>, patience: Patience },
    File(LineFile),
    Socket { path: PathBuf, stream: Option<Pipe<UnixStream>>, patience: Patience },
}

/// Opens a file of events.
pub(super) fn open_file(path: &Path, begin: Begin) -> Result<LineFile, OutputError> {
    LineFile::open(path, begin, Links::Refused)
}

impl Outlet {
    /// Opens a target. A socket on which nobody listens yet is no failure.
    pub fn open(target: &EveTarget, begin: Begin, haste: Haste) -> Result<Self, OutputError> {
        let patience = Patience::new(haste);
        Ok(match target {
            EveTarget::Output => {
                let failed = |error| OutputError::Failed { path: target.to_string().into(), error };
                // Without the buffer of the standard library, which hides how much has gone out.
                let copy = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
                let pipe = |copy| Self::Output { pipe: Pipe::new(copy), patience };
                LineFile::of(File::from(copy)).map_or_else(pipe, Self::File)
            }
            EveTarget::File(path) => Self::File(open_file(path, begin)?),
            EveTarget::Socket(path) => {
                if let Ok(about) = path.symlink_metadata()
                    && !about.file_type().is_socket()
                {
                    return Err(OutputError::NoFile { path: path.clone(), kind: "file and no socket" });
                }
                Self::Socket { path: path.clone(), stream: connect(path).ok(), patience }
            }
        })
    }

    /// Writes whole lines.
    pub fn write(&mut self, lines: &[u8], shared: &Shared) -> Result<(), Fault> {
        match self {
            Self::File(file) => file.write(lines).map_err(|(written, error)| later(written, error)),
            Self::Output { pipe, patience } => pipe.write(lines, (shared, patience)).map_err(|(written, error)| {
                let gone = error.kind() == io::ErrorKind::BrokenPipe;
                let meaning = if gone { Meaning::Over } else { Meaning::Later };
                Fault { written, error, meaning }
            }),
            Self::Socket { path, stream, patience } => {
                if stream.is_none() {
                    *stream = Some(connect(path).map_err(|error| later(0, error))?);
                }
                let Some(open) = stream else { return Ok(()) };
                open.write(lines, (shared, patience)).map_err(|(written, error)| {
                    // A new reader begins with a whole line.
                    *stream = None;
                    later(written, error)
                })
            }
        }
    }

    /// Begins anew: with this file, or where the socket's path leads now.
    pub fn reopen(&mut self, fresh: Option<LineFile>) {
        match (self, fresh) {
            (Self::File(file), Some(fresh)) => *file = fresh,
            (Self::Socket { stream, .. }, _) => *stream = None,
            (Self::Output { .. } | Self::File(_), _) => {}
        }
    }
}

fn later(written: usize, error: io::Error) -> Fault {
    Fault { written, error, meaning: Meaning::Later }
}

fn connect(path: &Path) -> io::Result<Pipe<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(Pipe::new(stream))
}

/// A stream with a reader at the other end, who may be slow.
#[derive(Debug)]
pub(super) struct Pipe<W> {
    stream: W,
    /// Rest of a line whose beginning the reader has.
    rest: Vec<u8>,
}

impl<W: Write + AsFd> Pipe<W> {
    pub fn new(stream: W) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Writes lines; on failure, how many bytes of whole lines went out. The rest of a line that is out in part goes out
    /// with the next call, and counts as written.
    fn write(&mut self, lines: &[u8], (shared, patience): (&Shared, &mut Patience)) -> Result<(), (usize, io::Error)> {
        let rest = std::mem::take(&mut self.rest);
        if let Err((written, error)) = self.put(&rest, shared, patience) {
            self.rest = rest[written..].to_vec();
            return Err((0, error));
        }
        self.put(lines, shared, patience).map_err(|(written, error)| {
            let whole = |end: usize| lines[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            if whole(written) == written {
                return (written, error);
            }
            let end =
                lines[written..].iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| written + at + 1);
            self.rest = lines[written..end].to_vec();
            (end, error)
        })
    }

    fn put(&mut self, bytes: &[u8], shared: &Shared, patience: &mut Patience) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            self.wait(shared, patience).map_err(|error| (written, error))?;
            let piece = &bytes[written..bytes.len().min(written + PIPE_BYTES)];
            match self.stream.write(piece) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    shared.comes_on();
                    written += count;
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(e) => return Err((written, e)),
            }
        }
        Ok(())
    }

    /// Waits until there is room. While there is none senders are told not to wait; at the end of a run it is not waited
    /// for much longer.
    fn wait(&self, shared: &Shared, patience: &mut Patience) -> io::Result<()> {
        let since = Stopwatch::start();
        while !patience.look(&self.stream)? {
            if since.elapsed() >= STALLED {
                shared.is_stalled.store(true, Ordering::Relaxed);
                if shared.closing.load(Ordering::Relaxed) {
                    return Err(given_up());
                }
            }
        }
        shared.is_stalled.store(false, Ordering::Relaxed);
        Ok(())
    }
}
