//! The workers of one plugin as others see them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lua::{PluginError, Profiler, Vm};

use super::board::Board;
use super::counts::Summary;
use super::errand::Doors;
use super::host::Owner;
use super::limits::{Allowance, JobLimits};
use super::model::{JobId, JobStatus};
use super::orphans::Orphan;
use super::output::JobOutput;
use super::recording::Answers;
use super::shared::{Reach, Shared};
use super::spill::SpillStore;

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
        self.0.shared.status(id)
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
