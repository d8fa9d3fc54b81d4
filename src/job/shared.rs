//! What the threads of a pool share: the queue, the slots, the counts, and the ways a job goes between them.

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lua::PluginError;
use crate::time::Stopwatch;

use super::completion::CompletionQueue;
use super::counts::{Counters, Pending};
use super::histogram::Spans;
use super::model::{BoxedJob, Job, JobId, JobStatus, Place, Work};
use super::orphans::Orphans;
use super::patience::Patience;
use super::pool::{PoolOptions, VmFactory};
use super::queue::{Lanes, Queue, Queued};
use super::slot::{Assignment, Life, Slot, State, between};
use super::state::{JobState, Step};

/// Most jobs a sole worker takes at once.
const TAKE: usize = 64;

/// How far a cancellation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Jobs that no worker has started.
    Waiting,
    /// Those that run as well; their workers finish them for nobody.
    Running,
}

/// What the threads of a pool share.
pub(super) struct Shared {
    pub options: PoolOptions,
    pub factory: VmFactory,
    waiting: Mutex<Waiting>,
    /// Jobs ready in the queue, to be looked at without the lock.
    ready: AtomicUsize,
    /// Whether one with a priority is among them: a sole worker must not finish first what it has taken.
    urgent: AtomicBool,
    stopped: AtomicBool,
    /// How often the workers were told to begin with new VMs.
    pub(super) renewals: AtomicU64,
    arrived: Condvar,
    /// One idle worker at a time looks for jobs; the others sleep.
    looking: AtomicBool,
    patience: Patience,
    slots: Mutex<Vec<Arc<Slot>>>,
    pub pending: Pending,
    pub counters: Counters,
    /// Atomic sections that wait for owners.
    pub asked: Arc<AtomicUsize>,
    /// Bytes of results and output that wait for delivery.
    held: AtomicUsize,
    /// Times of workers that were given up.
    pub(super) past: Mutex<Spans>,
    /// Tells the supervisor that the pool has stopped.
    pub(super) stop_signal: Condvar,
    pub(super) orphans: Orphans,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub queue: Queue,
    sleepers: usize,
    pub workers: Workers,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Workers {
    #[default]
    NotStarted,
    Started,
    /// There are none: why.
    Unavailable(String),
}

impl Shared {
    pub(super) fn new(options: PoolOptions, factory: VmFactory) -> Self {
        let waiting = Mutex::new(Waiting { queue: Queue::new(options.workers), ..Waiting::default() });
        Self {
            options,
            factory,
            waiting,
            ready: AtomicUsize::new(0),
            urgent: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            renewals: AtomicU64::new(0),
            arrived: Condvar::new(),
            looking: AtomicBool::new(false),
            patience: Patience::default(),
            slots: Mutex::default(),
            counters: Counters::default(),
            asked: Arc::default(),
            pending: Pending::default(),
            held: AtomicUsize::new(0),
            past: Mutex::default(),
            stop_signal: Condvar::new(),
            orphans: Orphans::default(),
        }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current slots; never locked while a slot is.
    pub(super) fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the workers were told to begin with new VMs.
    pub(super) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Hands over jobs; starts the workers with the first.
    pub(super) fn submit(self: &Arc<Self>, jobs: &mut Vec<BoxedJob>) {
        if let Some(answers) = &self.options.answers {
            answers.meet(self, jobs);
            if jobs.is_empty() {
                return;
            }
        }
        let mut waiting = self.waiting();
        if self.is_stopped() {
            drop(waiting);
            jobs.drain(..).for_each(|job| self.end(job, JobState::Cancelled, None));
            return;
        }
        if matches!(waiting.workers, Workers::NotStarted) {
            waiting.workers = self.start_workers();
        }
        if let Workers::Unavailable(reason) = &waiting.workers {
            let error = PluginError::caught(reason.as_bytes(), b"");
            drop(waiting);
            self.counters.no_worker.fetch_add(jobs.len() as u64, Ordering::Relaxed);
            jobs.drain(..).for_each(|job| self.end(job, JobState::Failed, Some(error.clone())));
            return;
        }
        for mut job in jobs.drain(..) {
            job.step(Step::Accept);
            waiting.queue.push(job);
        }
        self.publish(&waiting);
    }

    /// Makes what is ready visible to workers that look and wakes as many that sleep.
    pub(super) fn publish(&self, waiting: &Waiting) {
        let ready = waiting.queue.ready();
        self.ready.store(ready, Ordering::Release);
        self.note_urgent(waiting);
        match waiting.sleepers.min(ready) {
            0 => {}
            // The one that looks takes the first.
            count if count < waiting.sleepers => (0..count).for_each(|_| self.arrived.notify_one()),
            _ => self.arrived.notify_all(),
        }
    }

    /// Written only when it changes: the workers read it before every job.
    fn note_urgent(&self, waiting: &Waiting) {
        let urgent = waiting.queue.is_urgent();
        if self.urgent.load(Ordering::Relaxed) != urgent {
            self.urgent.store(urgent, Ordering::Relaxed);
        }
    }

    /// Whether a job with a priority waits.
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// The next job for a worker, which waits for one; `None` when the pool has stopped.
    pub(super) fn fetch(&self, slot: &Slot) -> Option<Assignment> {
        let mut idle = None;
        loop {
            let mut waiting = self.waiting();
            if let Some((first, mut state)) = self.next_of(&mut waiting, slot) {
                // More than one only if there is no other worker: jobs start in the order they were scheduled.
                if self.options.workers == 1 {
                    waiting.queue.pop_many(TAKE, &mut state.local);
                }
                self.ready.store(waiting.queue.ready(), Ordering::Release);
                self.note_urgent(&waiting);
                drop(waiting);
                state.local.iter_mut().for_each(|queued| queued.job.touch());
                let now = Stopwatch::start();
                if let Some(since) = idle.take() {
                    self.patience.note(between(since, now));
                }
                if let Some(assignment) = slot.start(&mut state, first, now) {
                    return Some(assignment);
                }
                continue;
            }
            if self.is_stopped() {
                return None;
            }
            let since = *idle.get_or_insert_with(Stopwatch::start);
            if self.looking.swap(true, Ordering::AcqRel) {
                self.sleep(waiting);
                continue;
            }
            drop(waiting);
            self.look(since);
            self.looking.store(false, Ordering::Release);
            let waiting = self.waiting();
            if waiting.queue.ready() == 0 && !self.is_stopped() {
                self.sleep(waiting);
            }
        }
    }

    /// Takes the job to be started next, and locks the slot for it. What the slot has left over from before comes first,
    /// but for what is urgent.
    fn next_of<'a>(&self, waiting: &mut Waiting, slot: &'a Slot) -> Option<(Queued, MutexGuard<'a, State>)> {
        let mut state = slot.lock();
        if state.life != Life::Serving {
            return None;
        }
        let next = waiting.queue.pop_urgent().or_else(|| state.local.pop_front()).or_else(|| waiting.queue.pop())?;
        Some((next, state))
    }

    /// Puts the running job of a slot back into the queue for another attempt. Gives its work back if it is not to be:
    /// somebody else has ended it, or the pool has stopped.
    pub(super) fn retry(&self, slot: &Slot, work: Work, now: Stopwatch) -> Result<(), Work> {
        let mut waiting = self.waiting();
        if self.is_stopped() {
            return Err(work);
        }
        let again = Slot::take_for_retry(&mut slot.lock(), work, now)?;
        let pause = again
            .job
            .options()
            .map_or(Duration::ZERO, |options| options.backoff.pause(again.job.id, again.job.life.attempts()));
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        waiting.queue.push_again(again, (!pause.is_zero()).then(|| now.deadline(pause)));
        self.publish(&waiting);
        // Its sleep was planned without this one.
        self.stop_signal.notify_all();
        Ok(())
    }

    fn sleep(&self, mut waiting: MutexGuard<'_, Waiting>) {
        waiting.sleepers += 1;
        let mut waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        waiting.sleepers -= 1;
    }

    /// Looks for jobs for a short while without the lock.
    fn look(&self, since: Stopwatch) {
        let limit = self.patience.limit();
        loop {
            for _ in 0..32 {
                if self.ready.load(Ordering::Acquire) > 0 || self.is_stopped() {
                    return;
                }
                hint::spin_loop();
            }
            if since.elapsed() >= limit {
                return;
            }
        }
    }

    /// Leaves the lanes of a file operation that has ended.
    pub(super) fn release(&self, lanes: &Lanes) {
        let mut waiting = self.waiting();
        waiting.queue.release(lanes);
        self.publish(&waiting);
    }

    /// Ends a job: from here on it is counted and on its way home. Called once for each job, by whoever took it.
    pub(super) fn end(&self, mut job: Box<Job>, state: JobState, error: Option<PluginError>) {
        job.step(if state == JobState::Dropped { Step::Drop } else { Step::End(state) });
        if error.is_some() {
            job.remains().error = error;
        }
        let home = Arc::clone(&job.home);
        self.deliver(job, &home);
    }

    /// Sends home a job whose completion is filled in. `home` is the job's own: the caller may have it at hand, and
    /// counting references to it from two threads would cost more than the rest.
    pub(super) fn deliver(&self, mut job: Box<Job>, home: &CompletionQueue) {
        debug_assert!(std::ptr::eq(&raw const *job.home, home));
        if let Some(remains) = &mut job.remains {
            remains.keep = None;
        }
        if let Some(answers) = &self.options.answers {
            answers.hear(&job);
        }
        debug_assert!(job.life.state().is_end(), "job {} goes home before its end", job.id);
        if let Some(error) = job.remains.as_ref().and_then(|remains| remains.error.as_ref())
            && job.life.state() == JobState::Failed
        {
            self.counters.failed(error);
        }
        let size = job.brings();
        if size > 0 && self.held.fetch_add(size, Ordering::Relaxed) + size > self.options.max_result_bytes {
            self.held.fetch_sub(size, Ordering::Relaxed);
            self.refuse_result(&mut job);
        }
        self.counters.ended(job.life.state());
        if let Err(job) = home.push(job) {
            self.orphan(&job);
        }
    }

    #[cold]
    fn refuse_result(&self, job: &mut Job) {
        self.counters.results_over_limit.fetch_add(1, Ordering::Relaxed);
        let limit = self.options.max_result_bytes;
        job.result = None;
        let done = job.life.state() == JobState::Done;
        let remains = job.remains();
        remains.value = None;
        remains.output_cut += std::mem::take(&mut remains.output).len() as u64;
        if done {
            let message = format!("result refused: more than {limit} bytes of results wait for delivery");
            remains.error = Some(PluginError::caught(message.as_bytes(), b""));
            job.life = job.life.refused();
        }
    }

    /// A completion that nobody will fetch.
    pub(super) fn orphan(&self, job: &Job) {
        self.counters.orphaned(job.life.state());
        self.orphans.add(job);
        // One that made room for others has left its place already.
        let (jobs, bytes) = if job.place == Place::Left { (0, 0) } else { (1, job.size) };
        self.delivered(jobs, bytes, job.brings());
    }

    /// Completions were fetched: they count as pending no longer.
    pub(super) fn delivered(&self, jobs: usize, bytes: usize, held: usize) {
        self.pending.release(jobs, bytes);
        if held > 0 {
            self.held.fetch_sub(held, Ordering::Relaxed);
        }
    }

    /// Takes back the jobs of one home, or all; gives their number.
    pub(super) fn cancel(&self, home: Option<&Arc<CompletionQueue>>, reach: Reach) -> usize {
        self.cancel_where(|job| home.is_none_or(|home| Arc::ptr_eq(home, &job.home)), reach)
    }

    /// Takes back one job; false if it has ended.
    pub(super) fn cancel_one(&self, id: JobId) -> bool {
        let job = {
            let mut waiting = self.waiting();
            // Those of the workers first: they are few, and a job that is not in the queue has to be looked for in all of it.
            let at_worker = self.slots().iter().find_map(|slot| slot.take_one(id));
            let found = at_worker.or_else(|| waiting.queue.remove_one(id));
            // Without it, operations on the same file may have become ready.
            self.publish(&waiting);
            found
        };
        let found = job.is_some();
        job.into_iter().for_each(|job| self.end(job, JobState::Cancelled, None));
        found
    }

    /// What is known of a job that waits or runs.
    pub(super) fn status(&self, id: JobId) -> Option<JobStatus> {
        let waiting = self.waiting();
        if let Some(job) = waiting.queue.find(id) {
            return Some(job.status());
        }
        let slots = self.slots();
        slots.iter().find_map(|slot| {
            let state = slot.lock();
            let local = state.local.iter().find(|queued| queued.id == id).map(|queued| queued.job.status());
            let running = || state.running.as_ref()?.job.as_deref().filter(|job| job.id == id).map(Job::status);
            local.or_else(running)
        })
    }

    fn cancel_where(&self, wanted: impl Fn(&Job) -> bool, reach: Reach) -> usize {
        let mut jobs = {
            let mut waiting = self.waiting();
            let mut jobs = waiting.queue.remove(&wanted);
            for slot in self.slots().iter() {
                jobs.extend(slot.take_waiting(&wanted));
                if reach == Reach::Running {
                    jobs.extend(slot.take_running(&wanted));
                }
            }
            // Without these, operations of other homes may have become ready.
            self.publish(&waiting);
            jobs
        };
        jobs.sort_by_key(|job| job.id);
        let count = jobs.len();
        jobs.into_iter().for_each(|job| self.end(job, JobState::Cancelled, None));
        count
    }

    /// Ends the job of a home that has waited longest, to make room for another; false if none waits.
    pub(super) fn evict(&self, home: &Arc<CompletionQueue>) -> bool {
        let evicted = self.waiting().queue.remove_oldest(|job| Arc::ptr_eq(home, &job.home));
        let Some(mut job) = evicted else { return false };
        self.pending.release(1, job.size);
        job.place = Place::Left;
        self.end(job, JobState::Dropped, None);
        true
    }

    /// Shows every job that waits or runs.
    pub(super) fn each_job(&self, mut see: impl FnMut(&Job)) {
        let waiting = self.waiting();
        waiting.queue.jobs().for_each(&mut see);
        for slot in self.slots().iter() {
            let state = slot.lock();
            state.local.iter().for_each(|queued| see(&queued.job));
            if let Some(job) = state.running.as_ref().and_then(|running| running.job.as_deref()) {
                see(job);
            }
        }
    }

    pub(super) fn stop(&self) {
        let waiting = self.waiting();
        self.stopped.store(true, Ordering::Release);
        self.arrived.notify_all();
        self.stop_signal.notify_all();
        drop(waiting);
    }
}
