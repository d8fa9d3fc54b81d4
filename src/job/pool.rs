//! The workers of one plugin and what they share.

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lua::{PluginError, Profiler, Vm, spawn_lua_thread};
use crate::time::Stopwatch;

use super::board::Board;
use super::completion::CompletionQueue;
use super::counts::{Counters, Pending, Summary};
use super::errand::Doors;
use super::histogram::Histogram;
use super::host::Owner;
use super::limits::{Allowance, JobLimits, Permit};
use super::model::{BoxedJob, Job, JobId, JobStatus, Place, Work};
use super::orphans::{Orphan, Orphans};
use super::output::JobOutput;
use super::patience::Patience;
use super::queue::{Lanes, Queue, Queued};
use super::recording::Answers;
use super::slot::{Assignment, Life, Slot, State, between};
use super::spill::SpillStore;
use super::state::{JobState, Step};
use super::{supervisor, worker};

/// Most jobs a sole worker takes at once.
const TAKE: usize = 64;
/// Most workers that may be stuck at a time; with more, their successors would not fare better.
const MAX_STUCK: u64 = 16;

/// Makes the VM of a worker, on the worker's thread.
pub type VmFactory = Arc<dyn Fn(&WorkerContext) -> Result<Vm, PluginError> + Send + Sync>;

/// What a [`VmFactory`] is told of the worker.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// Number of the worker in its pool, from 0.
    pub worker: usize,
    /// Where functions of the VM put log records of the job that runs. `print` is in place already when a job runs.
    pub output: JobOutput,
    /// Where executions without a worker are completed.
    pub board: Board,
    /// The way to the owner of the job that runs.
    pub owner: Owner,
}

/// Limits of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Name of the plugin, for threads and messages.
    pub name: String,
    /// Worker threads, 1 to 64.
    pub workers: usize,
    /// How long a job may run unless it has a deadline of its own.
    pub deadline: Duration,
    /// How long after its deadline a job that does not return costs the worker its place.
    pub grace: Duration,
    /// Most jobs that are pending: not delivered yet.
    pub max_jobs: usize,
    /// Most bytes of data that pending jobs hold.
    pub max_bytes: usize,
    /// Most bytes of results and output that wait for delivery.
    pub max_result_bytes: usize,
    /// Most bytes of one result.
    pub max_result: usize,
    /// Most child processes at a time.
    pub children: Arc<Allowance>,
    /// Worker threads of all plugins, and their child processes.
    pub all_workers: Arc<Allowance>,
    /// Child processes of all plugins.
    pub all_children: Arc<Allowance>,
    /// Where jobs go for which there is no room, if anywhere.
    pub spill: Option<Arc<dyn SpillStore>>,
    /// What records the answers of jobs, or gives them; usually nothing.
    pub answers: Option<Arc<Answers>>,
    /// What looks on while functions run; usually nothing.
    pub profiler: Option<Arc<Profiler>>,
    /// Where executions without a worker are completed: one for all plugins of a run.
    pub board: Board,
    /// Where the VMs that schedule can be reached from outside.
    pub doors: Doors,
}

impl PoolOptions {
    /// The defaults, with as many workers as the plugin asks for within the limits.
    #[must_use]
    pub fn new(name: &str, requested_workers: i64) -> Self {
        Self::within(name, requested_workers, &JobLimits::default())
    }

    /// The same within limits of the run.
    #[must_use]
    pub fn within(name: &str, requested_workers: i64, limits: &JobLimits) -> Self {
        Self {
            name: name.to_owned(),
            workers: (requested_workers.clamp(1, 64) as usize).min(limits.workers),
            deadline: Duration::from_secs(60),
            grace: Duration::from_secs(2),
            max_jobs: limits.jobs,
            max_bytes: limits.bytes,
            max_result_bytes: limits.results,
            max_result: limits.result,
            children: Allowance::of(limits.children),
            all_workers: Arc::clone(&limits.all_workers),
            all_children: Arc::clone(&limits.all_children),
            spill: limits.spill.clone(),
            answers: None,
            profiler: None,
            board: Board::default(),
            doors: Doors::default(),
        }
    }
}

/// The workers of one plugin. Clones are handles to the same pool; with the last one, and the last scheduler, it stops.
#[derive(Clone, Debug)]
pub struct Pool(pub(super) Arc<Handle>);

impl Pool {
    /// A pool whose threads start with the first job.
    #[must_use]
    pub fn new(options: PoolOptions, factory: VmFactory) -> Self {
        Self(Arc::new(Handle { shared: Arc::new(Shared::new(options, factory)) }))
    }

    /// Where executions of its run without a worker are completed.
    #[must_use]
    pub fn board(&self) -> Board {
        self.0.shared.options.board.clone()
    }

    /// Where the VMs of the plugin can be reached from outside.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.0.shared.options.doors
    }

    /// Jobs of the plugin that are queued, running or not delivered yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let pending = &self.0.shared.pending;
        pending.jobs.load(Ordering::Relaxed) + pending.spilled.load(Ordering::Relaxed)
    }

    /// What became of the jobs so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.0.shared.summary()
    }

    /// The script or a library of it has changed: each worker does its next job in a new VM.
    pub fn renew(&self) {
        self.0.shared.renewals.fetch_add(1, Ordering::Release);
    }

    /// Takes back one job, wherever it waits or runs; false if it has ended, or was not handed over by its scheduler yet.
    #[must_use]
    pub fn cancel(&self, id: JobId) -> bool {
        self.0.shared.cancel_one(id)
    }

    /// What is known of a job that waits or runs.
    #[must_use]
    pub fn status(&self, id: JobId) -> Option<JobStatus> {
        let mut found = None;
        self.0.shared.each_job(|job| {
            if job.id == id {
                found = Some(job.status());
            }
        });
        found
    }

    /// The first `count` jobs that wait or run, in the order of their ids.
    #[must_use]
    pub fn jobs(&self, count: usize) -> Vec<JobStatus> {
        let mut ids = Vec::new();
        self.0.shared.each_job(|job| ids.push(job.id));
        ids.sort_unstable();
        ids.truncate(count);
        let mut jobs = Vec::with_capacity(ids.len());
        self.0.shared.each_job(|job| {
            if ids.binary_search(&job.id).is_ok() {
                jobs.push(job.status());
            }
        });
        jobs.sort_by_key(|job| job.id);
        jobs.dedup_by_key(|job| job.id);
        jobs
    }

    /// The jobs that have ended since the last time when nobody was left who could hear of it. Each is given once.
    #[must_use]
    pub fn take_orphans(&self) -> Vec<Orphan> {
        self.0.shared.orphans.take()
    }

    /// Cancels every job and ends all child processes, for the end of the process. The pool takes no jobs afterwards.
    pub fn abort(&self) {
        let shared = &self.0.shared;
        shared.stop();
        shared.cancel(None, Reach::Running);
        shared.slots().iter().for_each(|slot| slot.children.close());
    }
}

/// Stops the pool when nobody can schedule any more.
#[derive(Debug)]
pub(super) struct Handle {
    pub shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.cancel(None, Reach::Waiting);
    }
}

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
    renewals: AtomicU64,
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
    /// Wait and run times of workers that were given up.
    past: Mutex<(Histogram, Histogram)>,
    /// Tells the supervisor that the pool has stopped.
    stop_signal: Condvar,
    orphans: Orphans,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    queue: Queue,
    sleepers: usize,
    workers: Workers,
}

#[derive(Clone, Debug, Default)]
enum Workers {
    #[default]
    NotStarted,
    Started,
    /// There are none: why.
    Unavailable(String),
}

impl Shared {
    fn new(options: PoolOptions, factory: VmFactory) -> Self {
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

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
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
    fn publish(&self, waiting: &Waiting) {
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

    fn start_workers(self: &Arc<Self>) -> Workers {
        let mut failure = None;
        for worker in 0..self.options.workers {
            // Each plugin has one.
            let permit = if worker == 0 {
                Some(self.options.all_workers.take_anyway())
            } else {
                self.options.all_workers.take()
            };
            let Some(permit) = permit else {
                let most = self.options.all_workers.most();
                log::warn!(
                    "{}: {worker} workers instead of {}: {most} run for all plugins",
                    self.options.name,
                    self.options.workers
                );
                break;
            };
            let slot = self.slot(worker);
            match self.start_worker(worker, &slot, permit) {
                Ok(()) => self.slots().push(slot),
                Err(error) => failure = Some(error),
            }
        }
        if self.slots().is_empty() {
            let reason = failure.map_or_else(String::new, |error| error.to_string());
            return Workers::Unavailable(format!("no worker thread can be started: {reason}"));
        }
        match supervisor::start(self) {
            Ok(()) => Workers::Started,
            Err(error) => {
                self.stop();
                Workers::Unavailable(format!("no supervisor thread can be started: {error}"))
            }
        }
    }

    fn slot(&self, number: usize) -> Arc<Slot> {
        Slot::new(number, [&self.options.children, &self.options.all_children].map(Arc::clone))
    }

    fn start_worker(self: &Arc<Self>, number: usize, slot: &Arc<Slot>, permit: Permit) -> std::io::Result<()> {
        let (shared, slot) = (Arc::clone(self), Arc::clone(slot));
        let name = format!("job{number}-{}", self.options.name);
        // The kernel shows fifteen bytes of a thread's name.
        let name: String = name.chars().filter(|c| *c != '\0').take(15).collect();
        let run = move || {
            let _permit = permit;
            worker::run(&shared, &slot, number);
        };
        spawn_lua_thread(&name, run).map(drop)
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

    /// Makes ready the jobs whose next attempt is due.
    pub(super) fn release_due(&self) {
        let mut waiting = self.waiting();
        if waiting.queue.next_due().is_some() && waiting.queue.release_due(Stopwatch::start().deadline(Duration::ZERO))
        {
            self.publish(&waiting);
        }
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
        self.cancel_where(|job| job.id == id, Reach::Running) > 0
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

    fn stop(&self) {
        let waiting = self.waiting();
        self.stopped.store(true, Ordering::Release);
        self.arrived.notify_all();
        self.stop_signal.notify_all();
        drop(waiting);
    }

    /// Waits for the given time, until the pool stops, or until a job is due again.
    pub(super) fn wait_for_stop(&self, pause: Duration) {
        let waiting = self.waiting();
        let now = || Stopwatch::start().deadline(Duration::ZERO);
        let due = waiting.queue.next_due().map(|due| due.saturating_duration_since(now()));
        let pause = due.map_or(pause, |due| due.min(pause)).max(Duration::from_micros(100));
        if !self.is_stopped() {
            drop(self.stop_signal.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Gives up the worker of a slot and puts another in its place. Its job ends as `state`, what it had taken and not
    /// started goes back to the queue.
    pub(super) fn replace(self: &Arc<Self>, number: usize, state: JobState, error: &PluginError) {
        let mut waiting = self.waiting();
        let Some(slot) = self.slots().get(number).map(Arc::clone) else { return };
        let (running, local) = {
            let mut own = slot.lock();
            if own.life == Life::Abandoned {
                return;
            }
            own.life = Life::Abandoned;
            let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            past.0.merge(&own.waits);
            past.1.merge(&own.runs);
            (own.waits, own.runs) = (Histogram::default(), Histogram::default());
            (own.running.take(), std::mem::take(&mut own.local))
        };
        slot.disown();
        slot.children.close();
        self.counters.workers_abandoned.fetch_add(1, Ordering::Relaxed);
        let stuck = self.counters.workers_stuck.fetch_add(1, Ordering::Relaxed) + 1;
        waiting.queue.put_back(local);
        let (job, lanes) = running.map_or((None, None), |running| (running.job, running.lanes));
        if let Some(lanes) = lanes {
            waiting.queue.release(&lanes);
        }
        let successor = self.slot(number);
        let started = if stuck > MAX_STUCK {
            Err(std::io::Error::other(format!("{MAX_STUCK} workers do not return from C functions")))
        } else if self.is_stopped() {
            Ok(())
        } else {
            // It takes the place of one that was counted already.
            self.start_worker(number, &successor, self.options.all_workers.take_anyway())
        };
        let mut refused = Vec::new();
        match started {
            Ok(()) => self.slots()[number] = successor,
            Err(error) if self.slots().iter().all(|slot| slot.lock().life != Life::Serving) => {
                let reason = format!("no worker is left: {error}");
                refused = waiting.queue.remove(|_| true);
                waiting.workers = Workers::Unavailable(reason);
            }
            Err(_) => {}
        }
        self.publish(&waiting);
        let reason = match &waiting.workers {
            Workers::Unavailable(reason) => reason.clone(),
            _ => String::new(),
        };
        drop(waiting);
        if let Some(job) = job {
            self.end(job, state, Some(error.clone()));
        }
        let error = PluginError::caught(reason.as_bytes(), b"");
        self.counters.no_worker.fetch_add(refused.len() as u64, Ordering::Relaxed);
        refused.into_iter().for_each(|job| self.end(job, JobState::Failed, Some(error.clone())));
    }

    fn summary(&self) -> Summary {
        let (mut waits, mut runs) = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut running = 0;
        for slot in self.slots().iter() {
            let state = slot.lock();
            waits.merge(&state.waits);
            runs.merge(&state.runs);
            running += u64::from(state.running.as_ref().is_some_and(|running| running.job.is_some()));
        }
        Summary { waits: waits.times(), runs: runs.times(), ..self.counters.summary(&self.pending, running) }
    }
}
