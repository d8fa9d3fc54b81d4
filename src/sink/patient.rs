//! A stream that waits for its reader, but not when the run is to end.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

/// How long one look takes whether a reader has made room.
const LOOK: Duration = Duration::from_millis(100);
/// Looks without room before a reader counts as stalled: two seconds.
pub(super) const STALLED: u32 = 20;
/// Bytes that a pipe takes at once if it takes any, without waiting.
pub(super) const PIPE_BYTES: usize = 4_096;

/// Waits a little until there is room for [`PIPE_BYTES`]; false if there is none.
///
/// # Errors
/// When the stream cannot be asked.
pub(super) fn has_room(stream: &impl AsFd) -> io::Result<bool> {
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
    match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&look)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether a run was asked to end, for those that wait for a reader.
#[derive(Clone, Debug, Default)]
pub struct Haste(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: AtomicBool,
    /// Somebody was given up. Nobody else is waited for as long, or what is written one after the other would add up.
    met_stalled: AtomicBool,
}

impl Haste {
    /// From now on readers that stall are not waited for.
    pub fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Whether to give up behind so many looks since it began.
    fn gives_up(&self, looks: u32) -> bool {
        let gives_up = looks >= STALLED || looks > 0 && self.0.met_stalled.load(Ordering::Relaxed);
        self.0.met_stalled.fetch_or(gives_up, Ordering::Relaxed);
        gives_up
    }
}

/// Writes to a file, or to whoever is at the other end of a pipe, terminal or socket. In haste a reader that makes no room for
/// two seconds is given up, and after one a tenth of a second is enough, with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Patient {
    stream: File,
    has_reader: bool,
    haste: Haste,
}

impl Patient {
    /// Around an open file.
    #[must_use]
    pub fn new(stream: File, haste: Haste) -> Self {
        let has_reader =
            fstat(&stream).is_ok_and(|about| FileType::from_raw_mode(about.st_mode) != FileType::RegularFile);
        Self { stream, has_reader, haste }
    }

    /// Standard output or standard error, past the buffer and the lock of the standard library: one thread that waits keeps
    /// no other one.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn of(standard: &impl AsFd, haste: Haste) -> io::Result<Self> {
        Ok(Self::new(standard.as_fd().try_clone_to_owned()?.into(), haste))
    }

    fn wait(&self) -> io::Result<()> {
        let mut looks = 0;
        while !has_room(&self.stream)? {
            looks += u32::from(self.haste.0.has_begun.load(Ordering::Relaxed));
            if self.haste.gives_up(looks) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads what is written there"));
            }
        }
        Ok(())
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_reader {
            return self.stream.write(bytes);
        }
        self.wait()?;
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
}
