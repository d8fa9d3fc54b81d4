//! A stream that waits for its reader, but not when the run is to end.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use crate::time::Stopwatch;

/// How long one look takes whether a reader has made room.
const LOOK: Duration = Duration::from_millis(100);
/// A reader that takes nothing for so long counts as stalled.
pub(super) const STALLED: Duration = Duration::from_secs(2);
/// Bytes that a pipe takes at once if it takes any, without waiting.
pub(super) const PIPE_BYTES: usize = 4_096;

/// How long a reader is waited for in haste.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// While it takes nothing.
    at_once: Duration,
    /// Altogether: one that takes a little now and then would hold the end up for hours.
    in_all: Duration,
}

/// Those of a reader that nothing is known of.
const FIRST: Bounds = Bounds { at_once: STALLED, in_all: Duration::from_secs(10) };
/// Those of all others once a reader was given up: what is written one after the other would add up.
const OTHERS: Bounds = Bounds { at_once: LOOK, in_all: Duration::from_secs(1) };

/// Whether a run was asked to end, for those that wait for a reader.
#[derive(Clone, Debug, Default)]
pub struct Haste(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: AtomicBool,
    /// Somebody was given up.
    met_stalled: AtomicBool,
}

impl Haste {
    /// From now on readers that stall are not waited for.
    pub fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end.
    pub(super) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }

    fn bounds(&self) -> Option<Bounds> {
        let bounds = || if self.0.met_stalled.load(Ordering::Relaxed) { OTHERS } else { FIRST };
        self.has_begun().then(bounds)
    }
}

/// What a reader that was given up is told of as.
pub(super) fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nobody reads what is written there")
}

/// How long the reader of one output has been waited for since the run was asked to end.
#[derive(Debug)]
pub(super) struct Patience {
    haste: Haste,
    /// Since it took something.
    at_once: Duration,
    in_all: Duration,
}

impl Patience {
    /// Nobody was waited for yet.
    pub const fn new(haste: Haste) -> Self {
        Self { haste, at_once: Duration::ZERO, in_all: Duration::ZERO }
    }

    /// Waits a little until there is room for [`PIPE_BYTES`]; false if there is none.
    ///
    /// # Errors
    /// When the stream cannot be asked, or the reader is given up: [`io::ErrorKind::TimedOut`].
    pub fn look(&mut self, stream: &impl AsFd) -> io::Result<bool> {
        let Some(bounds) = self.haste.bounds() else { return has_room(stream, LOOK) };
        let since = Stopwatch::start();
        let has_room = has_room(stream, LOOK.min(bounds.in_all.saturating_sub(self.in_all)))?;
        let took = since.elapsed();
        self.in_all += took;
        self.at_once = if has_room { Duration::ZERO } else { self.at_once + took };
        if !has_room && (self.at_once >= bounds.at_once || self.in_all >= bounds.in_all) {
            self.haste.0.met_stalled.store(true, Ordering::Relaxed);
            return Err(given_up());
        }
        Ok(has_room)
    }
}

/// Whether a stream takes [`PIPE_BYTES`], or does so within a time.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn has_room(stream: &impl AsFd, limit: Duration) -> io::Result<bool> {
    let look = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&look)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes to a file, or to whoever is at the other end of a pipe, terminal or socket. In haste a reader that makes no room for
/// two seconds, or is waited for ten in all, is given up with [`io::ErrorKind::TimedOut`]; after one others have less time.
#[derive(Debug)]
pub struct Patient {
    stream: File,
    has_reader: bool,
    patience: Patience,
}

impl Patient {
    /// Around an open file.
    #[must_use]
    pub fn new(stream: File, haste: Haste) -> Self {
        let has_reader =
            fstat(&stream).is_ok_and(|about| FileType::from_raw_mode(about.st_mode) != FileType::RegularFile);
        Self { stream, has_reader, patience: Patience::new(haste) }
    }

    /// Standard output or standard error, past the buffer and the lock of the standard library: one thread that waits keeps
    /// no other one.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn of(standard: &impl AsFd, haste: Haste) -> io::Result<Self> {
        Ok(Self::new(standard.as_fd().try_clone_to_owned()?.into(), haste))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_reader {
            return self.stream.write(bytes);
        }
        while !self.patience.look(&self.stream)? {}
        self.stream.write(&bytes[..bytes.len().min(PIPE_BYTES)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Haste, Patient};
    use crate::time::Stopwatch;
    use std::fs::File;
    use std::io::{ErrorKind, PipeReader, Read, Write, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::Duration;

    fn written_into_a_pipe(haste: &Haste) -> (PipeReader, Patient) {
        let (reader, writer) = pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        (reader, Patient::new(file, haste.clone()))
    }

    #[test]
    fn a_reader_is_waited_for() {
        let (mut reader, mut patient) = written_into_a_pipe(&Haste::default());
        let text = vec![b'x'; 1 << 20];
        let expected = text.len();
        let writer = thread::spawn(move || patient.write_all(&text));
        thread::sleep(Duration::from_millis(300));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(read.len(), expected);
    }

    #[test]
    fn in_haste_a_reader_that_stalls_is_given_up() {
        let haste = Haste::default();
        let (_reader, mut patient) = written_into_a_pipe(&haste);
        let writer = thread::spawn(move || patient.write_all(&vec![b'x'; 1 << 20]));
        thread::sleep(Duration::from_millis(300));
        assert!(!writer.is_finished(), "without haste it waits");
        haste.begin();
        let clock = Stopwatch::start();
        assert_eq!(writer.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(clock.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn in_haste_a_reader_that_takes_a_little_is_given_up_as_well() {
        let haste = Haste::default();
        haste.begin();
        let (mut reader, mut patient) = written_into_a_pipe(&haste);
        let writer = thread::spawn(move || patient.write_all(&vec![b'x'; 1 << 20]));
        let clock = Stopwatch::start();
        while !writer.is_finished() {
            assert!(clock.elapsed() < Duration::from_secs(15));
            reader.read_exact(&mut [0; 4 << 10]).unwrap();
            thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(writer.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(clock.elapsed() > Duration::from_secs(9), "it had its time");
    }
}
