//! The place of one worker in its pool: what it does now, seen by the worker, the supervisor and whoever cancels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::time::Stopwatch;

use super::completion::CompletionQueue;
use super::histogram::Histogram;
use super::model::{BoxedJob, Job, Work};
use super::process::Children;
use super::queue::{Lanes, Queued};

/// One worker's place. A worker that is given up keeps its slot to itself; its successor gets a new one.
#[derive(Debug)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// What runs now has been cancelled or given up: host functions return as soon as they can.
    disowned: AtomicBool,
    pub children: Children,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Jobs taken from the queue and not started.
    pub local: VecDeque<Queued>,
    pub running: Option<Running>,
    pub life: Life,
    pub waits: Histogram,
    pub runs: Histogram,
}

/// Whether the worker is still counted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Serving,
    /// Given up by the supervisor: whatever it returns is of no interest.
    Abandoned,
    /// Its thread has ended.
    Ended,
}

/// The job a worker runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Taken by whoever ends the job first: the worker, the supervisor, or a cancellation.
    pub job: Option<Box<Job>>,
    pub lanes: Option<Box<Lanes>>,
    pub started: Stopwatch,
    pub deadline: Duration,
}

/// What a worker has to do next.
#[derive(Debug)]
pub(super) struct Assignment {
    pub work: Work,
    pub started: Stopwatch,
    pub deadline: Duration,
}

/// A job that its worker has brought to its end.
#[derive(Debug)]
pub(super) struct Finished {
    /// Absent if somebody else ended it first.
    pub job: Option<Box<Job>>,
    pub lanes: Option<Box<Lanes>>,
}

impl Slot {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), disowned: AtomicBool::new(false), children: Children::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_disowned(&self) -> bool {
        self.disowned.load(Ordering::Relaxed)
    }

    pub(super) fn disown(&self) {
        self.disowned.store(true, Ordering::Relaxed);
    }

    /// Takes the running job from the worker if it belongs to `home` (or whomever it belongs to).
    pub(super) fn take_running(&self, home: Option<&Arc<CompletionQueue>>) -> Option<Box<Job>> {
        let mut state = self.lock();
        let job = &mut state.running.as_mut()?.job;
        let taken = job.take_if(|job| home.is_none_or(|home| Arc::ptr_eq(home, &job.home)));
        if taken.is_some() {
            self.disown();
            // Its commands end with it, before the worker notices. It cannot begin another job meanwhile.
            self.children.end();
        }
        taken
    }

    /// Takes the jobs of `home` (or all) that were not started.
    pub(super) fn take_waiting(&self, home: Option<&Arc<CompletionQueue>>) -> Vec<BoxedJob> {
        let mut state = self.lock();
        let wanted = |queued: &Queued| home.is_none_or(|home| Arc::ptr_eq(home, &queued.job.home));
        let (taken, rest) = std::mem::take(&mut state.local).into_iter().partition(wanted);
        state.local = rest;
        let taken: VecDeque<Queued> = taken;
        taken.into_iter().map(|queued| queued.job).collect()
    }

    /// Makes a job the running one. The clock is read once: `now` may be the end of the job before.
    pub(super) fn start(&self, state: &mut State, queued: Queued, now: Stopwatch) -> Option<Assignment> {
        let Queued { mut job, lanes } = queued;
        let work = job.work.take()?;
        let deadline = job.deadline.into();
        let waited = between(job.created, now);
        job.waited = waited.into();
        state.waits.record(waited);
        self.disowned.store(false, Ordering::Relaxed);
        state.running = Some(Running { job: Some(job), lanes, started: now, deadline });
        Some(Assignment { work, started: now, deadline })
    }

    /// Ends the running job, unless somebody else has.
    pub(super) fn finish(state: &mut State, now: Stopwatch) -> Finished {
        let Some(Running { mut job, lanes, started, .. }) = state.running.take() else {
            return Finished { job: None, lanes: None };
        };
        let ran = between(started, now);
        state.runs.record(ran);
        if let Some(job) = &mut job {
            job.ran = ran.into();
        }
        Finished { job, lanes }
    }
}

/// Time from one moment to the other.
pub(super) fn between(earlier: Stopwatch, later: Stopwatch) -> Duration {
    let instant = |stopwatch: Stopwatch| -> Instant { stopwatch.deadline(Duration::ZERO) };
    instant(later).saturating_duration_since(instant(earlier))
}
