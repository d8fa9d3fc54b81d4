//! The end of a pool that one scheduling VM holds.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lua::Portable;
use crate::time::Stopwatch;

use super::completion::{CompletionQueue, Wait};
use super::model::{BoxedJob, Completion, Job, JobId, JobIds, JobKind, JobState, Keep, Work};
use super::native::FileOp;
use super::pool::{Handle, Pool, Reach};

/// Jobs collected before they are handed over without being asked to.
const BATCH: usize = 64;

/// When completions are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As jobs finish.
    AsFinished,
    /// Only where the owner settles, in the order scheduled, so that runs over files repeat exactly.
    InOrder,
}

/// A function to be run by a worker.
#[derive(Debug)]
pub struct JobRequest {
    /// The function.
    pub function: Portable,
    /// Its argument.
    pub data: Vec<u8>,
    /// Comes back with the completion.
    pub token: u64,
    /// How long it may run; `None` for the pool's default.
    pub timeout: Option<Duration>,
}

/// Why a job was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// This many jobs are pending already.
    Jobs(usize),
    /// Pending jobs hold this many bytes already.
    Bytes(usize),
}

/// A job that was dropped: counted as scheduled and as dropped, without a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Rejected {
    /// The job.
    pub id: JobId,
    /// Which limit it ran into.
    pub overflow: Overflow,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.overflow {
            Overflow::Jobs(limit) => write!(f, "job {} dropped: {limit} jobs are pending", self.id),
            Overflow::Bytes(limit) => write!(f, "job {} dropped: pending jobs hold {limit} bytes", self.id),
        }
    }
}

/// What [`Scheduler::drain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Completions handed over, cancelled jobs included.
    pub delivered: u64,
    /// Jobs cancelled because the wait ended first.
    pub cancelled: u64,
}

/// Schedules jobs for one VM and takes their completions. Stays on the VM's thread. Dropping it cancels what has not
/// started; what runs is finished for nobody.
#[derive(Debug)]
pub struct Scheduler {
    pool: Arc<Handle>,
    home: Arc<CompletionQueue>,
    ids: JobIds,
    delivery: Delivery,
    /// Collected and not handed over.
    batch: RefCell<Vec<BoxedJob>>,
    /// Fetched from home and not handed out.
    arrived: RefCell<Vec<BoxedJob>>,
    /// Accepted and not handed out.
    outstanding: Cell<usize>,
    keeper: Keeper,
}

/// Says what a job that is being scheduled keeps.
struct Keeper(Box<dyn Fn() -> Option<Keep>>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl Scheduler {
    /// A scheduler for one VM of the plugin that `pool` belongs to.
    #[must_use]
    pub fn new(pool: &Pool, ids: &JobIds, delivery: Delivery) -> Self {
        Self {
            pool: Arc::clone(&pool.0),
            home: Arc::default(),
            ids: ids.clone(),
            delivery,
            batch: RefCell::new(Vec::with_capacity(BATCH)),
            arrived: RefCell::default(),
            outstanding: Cell::new(0),
            keeper: Keeper(Box::new(|| None)),
        }
    }

    /// The same, with jobs that keep what `keeper` says when they are scheduled, until they have ended.
    #[must_use]
    pub fn keeping(mut self, keeper: impl Fn() -> Option<Keep> + 'static) -> Self {
        self.keeper = Keeper(Box::new(keeper));
        self
    }

    /// Schedules a function. It is handed over with the next [`Scheduler::flush`], at the latest when 64 are collected.
    ///
    /// # Errors
    /// When too many jobs of the plugin are pending. The job is counted as dropped then.
    pub fn schedule(&self, request: JobRequest) -> Result<JobId, Rejected> {
        let JobRequest { function, data, token, timeout } = request;
        let location = Arc::clone(function.code().location());
        let size = function.size() + data.len();
        self.accept(JobKind::Schedule, location, Work::Lua { function, data }, size, token, timeout)
    }

    /// Schedules a file operation. Operations on the same file run in the order scheduled.
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn schedule_file(&self, operation: FileOp, token: u64) -> Result<JobId, Rejected> {
        let (kind, size) = (operation.kind(), operation.size());
        self.accept(kind, Arc::from(kind.name()), Work::File(operation), size, token, None)
    }

    fn accept(
        &self,
        kind: JobKind,
        function: Arc<str>,
        work: Work,
        size: usize,
        token: u64,
        timeout: Option<Duration>,
    ) -> Result<JobId, Rejected> {
        let shared = &self.pool.shared;
        let id = self.ids.next();
        shared.counters.scheduled.fetch_add(1, Ordering::Release);
        let size = size + size_of::<Job>();
        let limits = &shared.options;
        // Add first, look then: two threads that find the last place free must not both take it.
        let jobs = shared.pending.fetch_add(1, Ordering::Relaxed);
        let bytes = shared.pending_bytes.fetch_add(size, Ordering::Relaxed);
        let overflow = if jobs >= limits.max_jobs {
            Some(Overflow::Jobs(limits.max_jobs))
        } else if bytes + size > limits.max_bytes {
            Some(Overflow::Bytes(limits.max_bytes))
        } else {
            None
        };
        if let Some(overflow) = overflow {
            shared.delivered(1, size, 0);
            shared.counters.ended(JobState::Dropped);
            return Err(Rejected { id, overflow });
        }
        self.outstanding.set(self.outstanding.get() + 1);
        let completion = Completion {
            id,
            kind,
            // Overwritten by whoever ends the job.
            state: JobState::Cancelled,
            token,
            function,
            data: Vec::new(),
            result: None,
            error: None,
            output: Vec::new(),
            output_cut: 0,
            waited: Duration::ZERO,
            ran: Duration::ZERO,
        };
        let job = Box::new(Job {
            completion,
            work: Some(work),
            home: Arc::clone(&self.home),
            created: Stopwatch::start(),
            deadline: timeout.unwrap_or(limits.deadline),
            size,
            keep: (self.keeper.0)(),
        });
        let mut batch = self.batch.borrow_mut();
        batch.push(job);
        if batch.len() >= BATCH {
            shared.submit(&mut batch);
        }
        Ok(id)
    }

    /// Hands over what was scheduled since the last time. To be called at the end of every batch of packets.
    pub fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            self.pool.shared.submit(&mut batch);
        }
    }

    /// Jobs of the plugin that are queued, running or not delivered yet, those of its other VMs included.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pool.shared.pending.load(Ordering::Relaxed)
    }

    /// Jobs of this scheduler whose completions were not handed out yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    /// Hands out up to `max` completions that have arrived; their number. One load of an atomic if there are none. Gives
    /// none if delivery is [`Delivery::InOrder`].
    pub fn poll(&self, max: usize, into: &mut Vec<Completion>) -> usize {
        if self.delivery == Delivery::InOrder {
            return 0;
        }
        self.hand_out(max, into)
    }

    /// Waits until all jobs have ended and hands out their completions, in the order scheduled. Jobs that are missing when
    /// the wait ends early stay outstanding.
    pub fn settle(&self, wait: &Wait<'_>) -> Vec<Completion> {
        self.flush();
        let since = Stopwatch::start();
        loop {
            let complete = {
                let mut arrived = self.arrived.borrow_mut();
                self.home.take(&mut arrived);
                arrived.len() >= self.outstanding.get()
            };
            if complete || !self.home.wait(&remaining(wait, since)) {
                break;
            }
        }
        self.arrived.borrow_mut().sort_by_key(|job| job.completion.id);
        let mut completions = Vec::new();
        self.hand_out(usize::MAX, &mut completions);
        completions
    }

    /// Waits until some completion has arrived; false if the wait ended first or nothing is outstanding.
    #[must_use]
    pub fn wait(&self, wait: &Wait<'_>) -> bool {
        self.flush();
        !self.arrived.borrow().is_empty() || (self.outstanding.get() > 0 && self.home.wait(wait))
    }

    /// At the end of input: hands out completions until none is outstanding, those included that `deliver` schedules. When
    /// the wait ends first, the rest is cancelled and handed out as such.
    pub fn drain(&self, wait: &Wait<'_>, mut deliver: impl FnMut(Completion)) -> Drained {
        let since = Stopwatch::start();
        let mut drained = Drained::default();
        while self.outstanding.get() > 0 {
            let left = remaining(wait, since);
            let completions = match self.delivery {
                Delivery::InOrder => self.settle(&left),
                Delivery::AsFinished => {
                    let mut completions = Vec::new();
                    if self.wait(&left) {
                        self.hand_out(BATCH, &mut completions);
                    }
                    completions
                }
            };
            drained.delivered += completions.len() as u64;
            completions.into_iter().for_each(&mut deliver);
            if self.outstanding.get() > 0 && wait.is_over(since) {
                drained.cancelled += self.cancel() as u64;
                let rest = self.settle(&Wait::default());
                drained.delivered += rest.len() as u64;
                rest.into_iter().for_each(&mut deliver);
                // What `deliver` has scheduled in the meantime is taken back the next time around.
            }
        }
        drained
    }

    /// Takes back every job that has not ended; their number. They end as cancelled, those on a worker at once: what the
    /// worker returns later is ignored.
    pub fn cancel(&self) -> usize {
        self.flush();
        self.pool.shared.cancel(Some(&self.home), Reach::Running)
    }

    fn hand_out(&self, max: usize, into: &mut Vec<Completion>) -> usize {
        let mut arrived = self.arrived.borrow_mut();
        self.home.take(&mut arrived);
        let count = arrived.len().min(max);
        if count == 0 {
            return 0;
        }
        let (mut bytes, mut held) = (0, 0);
        into.reserve(count);
        for job in arrived.drain(..count) {
            bytes += job.size;
            held += job.completion.size();
            into.push(job.completion);
        }
        self.pool.shared.delivered(count, bytes, held);
        self.outstanding.set(self.outstanding.get() - count);
        count
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let shared = &self.pool.shared;
        // Closed first: what is cancelled now has no home any more.
        let mut unclaimed = self.home.close();
        unclaimed.append(&mut self.arrived.borrow_mut());
        unclaimed.iter().for_each(|job| shared.orphan(job));
        self.batch.borrow_mut().drain(..).for_each(|job| shared.end(job, JobState::Cancelled, None));
        shared.cancel(Some(&self.home), Reach::Waiting);
    }
}

fn remaining<'a>(wait: &Wait<'a>, since: Stopwatch) -> Wait<'a> {
    Wait { limit: wait.limit.map(|limit| limit.saturating_sub(since.elapsed())), cancel: wait.cancel }
}
