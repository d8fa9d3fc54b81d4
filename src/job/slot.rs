//! The place of one worker in its pool: what it does now, seen by the worker, the supervisor and whoever cancels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::time::Stopwatch;

use super::completion::CompletionQueue;
use super::histogram::Spans;
use super::limits::Allowance;
use super::model::{BoxedJob, Job, JobId, Work};
use super::options::Returns;
use super::process::Children;
use super::queue::{Lanes, Queued, take_from};
use super::state::{JobState, Step};

/// One worker's place. A worker that is given up keeps its slot to itself; its successor gets a new one.
#[derive(Debug)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// What runs now has been cancelled or given up: host functions return as soon as they can.
    disowned: AtomicBool,
    pub children: Children,
    /// Number of the worker.
    number: u8,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Jobs taken from the queue and not started.
    pub local: VecDeque<Queued>,
    pub running: Option<Running>,
    pub life: Life,
    pub spans: Spans,
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
    pub returns: Returns,
    /// Whether there may be another attempt if this one fails.
    pub again: Again,
    /// On which side its owner is, if that was said.
    pub side: Option<&'static str>,
}

/// Whether an attempt may be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    IfItFails,
}

/// A job that its worker has brought to its end, or was given up with.
#[derive(Debug)]
pub(super) struct Finished {
    /// Absent if somebody else ended it first.
    pub job: Option<Box<Job>>,
    pub lanes: Option<Box<Lanes>>,
}

impl Slot {
    pub(super) fn new(number: usize, allowances: [Arc<Allowance>; 2]) -> Arc<Self> {
        // There are at most 64 workers.
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        let (state, children) = (Mutex::default(), Children::within(allowances));
        Arc::new(Self { state, disowned: AtomicBool::new(false), children, number })
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

    /// The running job and its home; nothing if somebody else has ended it.
    pub(super) fn running_job(&self) -> Option<(JobId, Arc<CompletionQueue>)> {
        let state = self.lock();
        let job = state.running.as_ref()?.job.as_ref()?;
        Some((job.id, Arc::clone(&job.home)))
    }

    /// Gives the running job more time.
    pub(super) fn extend(&self, by: Duration) {
        if let Some(running) = &mut self.lock().running {
            running.deadline = running.deadline.saturating_add(by);
        }
    }

    /// Takes the running job from the worker if it is wanted.
    pub(super) fn take_running(&self, wanted: impl Fn(&Job) -> bool) -> Option<Box<Job>> {
        let mut state = self.lock();
        let job = &mut state.running.as_mut()?.job;
        let taken = job.take_if(|job| wanted(job));
        if taken.is_some() {
            self.disown();
            // Its commands end with it, before the worker notices. It cannot begin another job meanwhile.
            self.children.end();
        }
        taken
    }

    /// Takes the wanted ones of the jobs that were not started.
    pub(super) fn take_waiting(&self, wanted: impl Fn(&Job) -> bool) -> Vec<BoxedJob> {
        let mut state = self.lock();
        let (taken, rest) = std::mem::take(&mut state.local).into_iter().partition(|queued| wanted(&queued.job));
        state.local = rest;
        let taken: VecDeque<Queued> = taken;
        taken.into_iter().map(|queued| queued.job).collect()
    }

    /// Takes one job, whether it was started or not.
    pub(super) fn take_one(&self, id: JobId) -> Option<BoxedJob> {
        let waiting = take_from(&mut self.lock().local, id).map(|queued| queued.job);
        waiting.or_else(|| self.take_running(|job| job.id == id))
    }

    /// Makes a job the running one. The clock is read once: `now` may be the end of the job before.
    pub(super) fn start(&self, state: &mut State, queued: Queued, now: Stopwatch) -> Option<Assignment> {
        let Queued { mut job, lanes, .. } = queued;
        let work = job.work.take()?;
        let deadline = job.deadline.into();
        job.step(Step::Start);
        job.worker = self.number;
        let (returns, again) = match job.options() {
            Some(options) if job.life.attempts() <= options.retries => (options.returns, Again::IfItFails),
            Some(options) => (options.returns, Again::Never),
            None => (Returns::Text, Again::Never),
        };
        let waited = between(job.created, now);
        job.waited = waited.into();
        state.spans.waits.record(waited);
        self.disowned.store(false, Ordering::Relaxed);
        let side = job.home.side.get().copied();
        state.running = Some(Running { job: Some(job), lanes, started: now, deadline });
        Some(Assignment { work, started: now, deadline, returns, again, side })
    }

    /// Takes the running job and its lanes out for another attempt, unless somebody else has ended it or the worker was
    /// given up. To be called with the queue it goes to locked.
    pub(super) fn take_for_retry(state: &mut State, work: Work, now: Stopwatch) -> Result<Queued, Work> {
        if state.life == Life::Abandoned {
            return Err(work);
        }
        let Some(running) = state.running.as_mut() else { return Err(work) };
        let Some(mut job) = running.job.take() else { return Err(work) };
        let ran = between(running.started, now);
        let lanes = running.lanes.take();
        state.spans.runs.record(ran);
        state.running = None;
        job.ran = ran.into();
        job.work = Some(work);
        job.step(Step::Retry);
        debug_assert_eq!(job.life.state(), JobState::Queued);
        Ok(Queued { id: job.id, job, lanes })
    }

    /// Ends the running job, unless somebody else has, and notes its times.
    pub(super) fn finish(state: &mut State, now: Stopwatch) -> Finished {
        let Some(Running { mut job, lanes, started, .. }) = state.running.take() else {
            return Finished { job: None, lanes: None };
        };
        let ran = between(started, now);
        state.spans.runs.record(ran);
        if let Some(job) = &mut job {
            state.spans.whole.record(between(job.created, now));
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
