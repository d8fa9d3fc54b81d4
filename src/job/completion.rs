//! The way home: completions of one scheduling thread.

use std::collections::VecDeque;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::time::Stopwatch;

use super::board::Letter;
use super::model::{BoxedJob, Job};
use super::section::{MAX_SECTIONS, Section, SectionError};

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
    /// Whether there is no waiting at all.
    #[must_use]
    pub fn is_over_at_once(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.limit.is_some_and(|limit| limit.is_zero())
    }

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
    sections: Mutex<Sections>,
    /// Number of sections that wait.
    asked: AtomicUsize,
    /// How long a section waits for the owner, in milliseconds.
    pub patience: AtomicU64,
    /// On which side the owner is, as its jobs name it.
    pub side: OnceLock<&'static str>,
}

/// The atomic sections that wait for the owner, and whether it takes any.
#[derive(Debug, Default)]
struct Sections {
    list: Vec<Arc<Section>>,
    refused: Option<SectionError>,
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

    fn sections(&self) -> MutexGuard<'_, Sections> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the owner for an atomic section.
    pub(super) fn ask(&self, section: &Arc<Section>) -> Result<(), SectionError> {
        let list = self.lock();
        let mut sections = self.sections();
        if let Some(why) = &sections.refused {
            return Err(why.clone());
        }
        if sections.list.len() >= MAX_SECTIONS {
            return Err(SectionError::Crowded);
        }
        sections.list.push(Arc::clone(section));
        self.asked.store(sections.list.len(), Ordering::Release);
        drop(sections);
        drop(list);
        self.arrived.notify_one();
        Ok(())
    }

    /// Whether sections wait.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) > 0
    }

    /// Takes the section of the job with the lowest number.
    pub(super) fn take_section(&self) -> Option<Arc<Section>> {
        let mut sections = self.sections();
        let first = (0..sections.list.len()).min_by_key(|index| sections.list[*index].job())?;
        let section = sections.list.remove(first);
        self.asked.store(sections.list.len(), Ordering::Release);
        Some(section)
    }

    /// Takes no more sections; those that wait are told why.
    pub(super) fn refuse_sections(&self, why: &SectionError) {
        let waiting = {
            let mut sections = self.sections();
            sections.refused.get_or_insert_with(|| why.clone());
            self.asked.store(0, Ordering::Release);
            std::mem::take(&mut sections.list)
        };
        waiting.iter().for_each(|section| section.finish(Err(why.clone())));
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
                if !self.is_empty() || self.is_asked() {
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
            if !list.is_empty() || self.is_asked() {
                return true;
            }
            self.sleeping.store(true, Ordering::Relaxed);
            let left = wait.limit.map_or(PATIENCE, |limit| limit.saturating_sub(since.elapsed()).min(PATIENCE));
            let (list, _) = self.arrived.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner);
            self.sleeping.store(false, Ordering::Relaxed);
            let arrived = !list.is_empty() || self.is_asked();
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
        self.refuse_sections(&SectionError::Unloaded);
        let mut list = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.ready.store(0, Ordering::Release);
        std::mem::take(&mut *list)
    }
}
