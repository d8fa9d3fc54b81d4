//! The way home: completions of one scheduling thread.

use std::collections::VecDeque;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Stopwatch;

use super::board::Letter;
use super::model::{BoxedJob, Job};

/// How long a thread that waits for a completion looks before it sleeps: waking it again costs more than a short job.
const SPIN: Duration = Duration::from_micros(20);
/// How often a thread that sleeps looks whether it was told to give up.
const PATIENCE: Duration = Duration::from_millis(20);

/// When waiting for completions ends although some are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait<'a> {
    /// After this time; `None` waits as long as it takes.
    pub limit: Option<Duration>,
    /// As soon as this is set, as by a signal.
    pub cancel: Option<&'a AtomicBool>,
}

impl Wait<'_> {
    /// Whether it ends now, `since` it began.
    pub(super) fn is_over(&self, since: Stopwatch) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.limit.is_some_and(|limit| since.elapsed() >= limit)
    }
}

/// Jobs that have ended and whose scheduler has not fetched them.
#[derive(Debug, Default)]
pub(super) struct CompletionQueue {
    /// Length of the list, so that looking into an empty queue is one load.
    ready: AtomicUsize,
    list: Mutex<VecDeque<BoxedJob>>,
    /// Whether the owner sleeps; changed under the lock of the list.
    sleeping: AtomicBool,
    arrived: Condvar,
    closed: AtomicBool,
    /// Completions of deferred executions; taken after the list where both are held.
    letters: Mutex<Vec<Letter>>,
    /// Their number, so that looking is one load.
    mail: AtomicUsize,
}

impl CompletionQueue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<BoxedJob>> {
        // A panic while the lock is held leaves a list that is whole: pushing and swapping are its only uses.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job that has ended. Gives it back if the owner is gone.
    pub(super) fn push(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        let mut list = self.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(job);
        }
        list.push_back(job);
        self.ready.store(list.len(), Ordering::Release);
        let sleeping = self.sleeping.load(Ordering::Relaxed);
        drop(list);
        if sleeping {
            self.arrived.notify_one();
        }
        Ok(())
    }

    fn letters(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a letter; false if the owner is gone.
    pub(super) fn post(&self, letter: Letter) -> bool {
        let list = self.lock();
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        let mut letters = self.letters();
        letters.push(letter);
        self.mail.store(letters.len(), Ordering::Release);
        drop(letters);
        drop(list);
        self.arrived.notify_one();
        true
    }

    /// Whether there are letters.
    pub(super) fn has_mail(&self) -> bool {
        self.mail.load(Ordering::Acquire) > 0
    }

    /// Takes the letters that are wanted, in the order of the executions they are about.
    pub(super) fn take_mail(&self, wanted: impl Fn(&Letter) -> bool) -> Vec<Letter> {
        let mut letters = self.letters();
        let (mut taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut *letters).into_iter().partition(|l| wanted(l));
        *letters = rest;
        self.mail.store(letters.len(), Ordering::Release);
        taken.sort_by_key(|letter| letter.id);
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.load(Ordering::Acquire) == 0
    }

    /// Moves everything that has arrived to the end of `into`.
    pub(super) fn take(&self, into: &mut VecDeque<BoxedJob>) {
        if self.is_empty() {
            return;
        }
        let mut list = self.lock();
        if into.is_empty() {
            std::mem::swap(&mut *list, into);
        } else {
            into.append(&mut list);
        }
        self.ready.store(0, Ordering::Release);
    }

    /// Waits until something has arrived; false if the wait ended first.
    pub(super) fn wait(&self, wait: &Wait<'_>) -> bool {
        let since = Stopwatch::start();
        loop {
            for _ in 0..64 {
                if !self.is_empty() {
                    return true;
                }
                hint::spin_loop();
            }
            if wait.is_over(since) {
                return false;
            }
            if since.elapsed() >= SPIN {
                break;
            }
        }
        loop {
            let list = self.lock();
            if !list.is_empty() {
                return true;
            }
            self.sleeping.store(true, Ordering::Relaxed);
            let left = wait.limit.map_or(PATIENCE, |limit| limit.saturating_sub(since.elapsed()).min(PATIENCE));
            let (list, _) = self.arrived.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner);
            self.sleeping.store(false, Ordering::Relaxed);
            let arrived = !list.is_empty();
            drop(list);
            if arrived {
                return true;
            }
            if wait.is_over(since) {
                return false;
            }
        }
    }

    /// Refuses everything from now on and gives what had arrived.
    pub(super) fn close(&self) -> VecDeque<BoxedJob> {
        let mut list = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.ready.store(0, Ordering::Release);
        std::mem::take(&mut *list)
    }
}
