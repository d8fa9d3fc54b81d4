//! Waiting for input with a bound on the time.
#![expect(unsafe_code, reason = "the standard library has no poll(2)")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Longest wait of one [`Source::fill`](super::Source::fill).
pub(super) const MAX_WAIT: Duration = Duration::from_millis(10);

/// What [`wait`] found out about one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing to read.
    Quiet,
    /// Bytes, or the end of the input.
    Readable,
    /// An error is waiting to be fetched.
    Failed,
}

/// Descriptors to wait for, kept so that waiting needs no allocation.
#[derive(Default)]
pub(super) struct PollSet {
    entries: Vec<libc::pollfd>,
}

impl PollSet {
    /// Forgets all descriptors.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a descriptor; it must stay open until the next [`PollSet::wait`] is over.
    pub fn push(&mut self, fd: BorrowedFd<'_>) {
        self.entries.push(libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    }

    /// Waits until one of the descriptors has something, a signal arrives, or the time is over; true if one has.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the pointer and the count describe the live vector `entries`, which nothing else touches meanwhile.
        let ready = unsafe { libc::poll(self.entries.as_mut_ptr(), self.entries.len() as libc::nfds_t, millis) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
    }

    /// What the last wait said about the descriptor pushed as number `index`.
    pub fn readiness(&self, index: usize) -> Readiness {
        let revents = self.entries.get(index).map_or(0, |entry| entry.revents);
        if revents & (libc::POLLERR | libc::POLLNVAL) != 0 {
            Readiness::Failed
        } else if revents != 0 {
            Readiness::Readable
        } else {
            Readiness::Quiet
        }
    }
}

/// Waits at most [`MAX_WAIT`] for one descriptor.
pub(super) fn wait(fd: BorrowedFd<'_>) -> io::Result<Readiness> {
    let mut set = PollSet::default();
    set.push(fd);
    set.wait(MAX_WAIT)?;
    Ok(set.readiness(0))
}
