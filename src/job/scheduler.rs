//! The end of a pool that one scheduling VM holds.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lua::Portable;
use crate::time::Stopwatch;

use super::admission::WhenCrowded;
use super::board::{Board, Decided, Letter};
use super::completion::CompletionQueue;
use super::counts::Summary;
use super::delivery::{Delivery, Settling};
use super::model::{BoxedJob, Job, JobId, JobIds, JobKind, JobStatus, Keep, Nanos, Place, Work};
use super::native::FileOp;
use super::options::{JobOptions, JobShape};
use super::pool::{Handle, Pool};
use super::rejected::Rejected;
use super::section::{Section, SectionError};
use super::shared::Reach;
use super::spilling::Spilling;
use super::state::{JobState, Life, Step};

/// Jobs collected before they are handed over without being asked to.
pub(super) const BATCH: usize = 64;

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

/// How long a worker waits for its owner to come to a section: where results are handed out as they come, and over files,
/// where that is at the end of the input.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_IN_ORDER: Duration = Duration::from_secs(300);

/// Schedules jobs for one VM and takes their completions. Stays on the VM's thread. Dropping it cancels what has not
/// started; what runs is finished for nobody.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) pool: Arc<Handle>,
    pub(super) home: Arc<CompletionQueue>,
    pub(super) ids: JobIds,
    pub(super) delivery: Cell<Delivery>,
    /// Collected and not handed over.
    pub(super) batch: RefCell<Vec<BoxedJob>>,
    /// Fetched from home and not handed out.
    pub(super) arrived: RefCell<VecDeque<BoxedJob>>,
    /// Handed out and given back: memory for the next ones.
    pub(super) spare: RefCell<Vec<BoxedJob>>,
    /// Accepted and not handed out.
    pub(super) outstanding: Cell<usize>,
    /// Of those, the ones that are on the disk.
    pub(super) on_disk: Cell<usize>,
    pub(super) spilling: OnceCell<Spilling>,
    /// Of those, the ones that made room for others.
    pub(super) evicted: Cell<usize>,
    pub(super) when_crowded: Cell<WhenCrowded>,
    /// Most jobs of this scheduler that are outstanding, below the limit of the pool.
    pub(super) most: Cell<usize>,
    pub(super) keeper: Keeper,
    board: Board,
}

/// Says what a job that is being scheduled keeps.
pub(super) struct Keeper(pub(super) Box<dyn Fn() -> Option<Keep>>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl Scheduler {
    /// A scheduler for one VM of the plugin that `pool` belongs to.
    #[must_use]
    pub fn new(pool: &Pool, ids: &JobIds, delivery: Delivery) -> Self {
        let scheduler = Self {
            pool: Arc::clone(&pool.0),
            home: Arc::default(),
            ids: ids.clone(),
            delivery: Cell::new(delivery),
            batch: RefCell::new(Vec::with_capacity(BATCH)),
            arrived: RefCell::default(),
            spare: RefCell::default(),
            outstanding: Cell::new(0),
            on_disk: Cell::new(0),
            spilling: OnceCell::new(),
            evicted: Cell::new(0),
            when_crowded: Cell::default(),
            most: Cell::new(usize::MAX),
            keeper: Keeper(Box::new(|| None)),
            board: pool.0.shared.options.board.clone(),
        };
        scheduler.set_patience(if delivery == Delivery::InOrder { PATIENCE_IN_ORDER } else { PATIENCE });
        scheduler
    }

    /// Says how long workers wait for this owner to come to their sections.
    pub fn set_patience(&self, patience: Duration) {
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.home.patience.store(millis, Ordering::Relaxed);
    }

    /// Whether workers ask for atomic sections.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.home.is_asked()
    }

    /// Takes the section of the job with the lowest number. Whoever takes one begins and finishes it.
    #[must_use]
    pub fn take_section(&self) -> Option<Arc<Section>> {
        self.home.take_section()
    }

    /// Takes no more sections: workers that wait are told so.
    pub fn refuse_sections(&self) {
        self.home.refuse_sections(&SectionError::ShuttingDown);
    }

    /// The same, with jobs that keep what `keeper` says when they are scheduled, until they have ended.
    #[must_use]
    pub fn keeping(mut self, keeper: impl Fn() -> Option<Keep> + 'static) -> Self {
        self.keeper = Keeper(Box::new(keeper));
        self
    }

    /// The same, with jobs that can tell on which side their owner is.
    #[must_use]
    pub fn on_side(self, side: &'static str) -> Self {
        self.home.side.get_or_init(|| side);
        self
    }

    /// Schedules a function. It is handed over with the next [`Scheduler::flush`], at the latest when 64 are collected.
    ///
    /// # Errors
    /// When too many jobs of the plugin are pending. The job is counted as dropped then.
    pub fn schedule(&self, request: JobRequest) -> Result<JobId, Rejected> {
        self.schedule_with(request, None)
    }

    /// The same for a function that is to be treated in a way of its own.
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn schedule_with(&self, request: JobRequest, options: Option<Arc<JobOptions>>) -> Result<JobId, Rejected> {
        let id = self.admit(request.function.size() + request.data.len())?;
        Ok(self.collect_request(id, request, options))
    }

    /// Collects a job that has its number and its place.
    pub(super) fn collect_request(&self, id: JobId, request: JobRequest, options: Option<Arc<JobOptions>>) -> JobId {
        let JobRequest { function, data, token, timeout } = request;
        let size = function.size() + data.len();
        let name = options.as_ref().and_then(|options| options.name.clone());
        let location = name.unwrap_or_else(|| Arc::clone(function.code().location()));
        let work = Work::Lua { function: Arc::new(function), data, room: Vec::new() };
        let mut job = self.job(id, JobKind::Schedule, location, work, (token, timeout), size);
        job.options = options;
        self.collect(job);
        id
    }

    /// Begins an execution that has no worker: it is completed by way of the board, or by its owner. It counts as running
    /// until [`Scheduler::close`].
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn open(&self) -> Result<JobId, Rejected> {
        let id = self.admit(0)?;
        self.board.open(id, &self.home, self.delivery.get());
        Ok(id)
    }

    /// Takes an execution off the board for its owner, as when its time is over; false if somebody else has completed it,
    /// whose letter is on its way.
    #[must_use]
    pub fn withdraw(&self, id: JobId) -> bool {
        self.board.withdraw(id)
    }

    /// Ends an execution that was begun with [`Scheduler::open`]. To be called once for each, by its owner.
    pub fn close(&self, end: JobState) {
        let shared = &self.pool.shared;
        shared.counters.ended(end);
        shared.delivered(1, size_of::<Job>(), 0);
    }

    /// Number of the engine whose jobs these are.
    #[must_use]
    pub fn engine(&self) -> u16 {
        self.ids.engine()
    }

    /// The board on which executions without a worker are completed.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Whether letters have come.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.home.has_mail()
    }

    /// Takes the letters that stand. Those of other threads stand, with delivery in order, only where `everything` is
    /// settled; what came too late is left out.
    #[must_use]
    pub fn take_mail(&self, everything: Settling) -> Vec<Letter> {
        let wanted = |letter: &Letter| everything == Settling::Yes || letter.decided == Decided::Yes;
        let mut letters = self.home.take_mail(wanted);
        letters.retain(|letter| letter.decided == Decided::Yes || self.board.withdraw(letter.id));
        letters
    }

    /// Takes back one job of the plugin, wherever it is; false if it has ended. With delivery in order a job has ended when
    /// its completion is handed out, whatever its worker has done by then: what becomes of it must not depend on how fast
    /// that was.
    pub fn cancel_one(&self, id: JobId) -> bool {
        self.flush();
        if self.pool.shared.cancel_one(id) || self.cancel_on_disk(id) {
            return true;
        }
        if self.delivery() == Delivery::AsFinished {
            return false;
        }
        let mut arrived = self.arrived.borrow_mut();
        self.home.take(&mut arrived);
        let Some(job) = arrived.iter_mut().find(|job| job.id == id) else { return false };
        let before = job.life.state();
        if job.life.step(Step::Overrule).is_err() {
            return false;
        }
        let held = job.brings();
        job.result = None;
        if let Some(remains) = &mut job.remains {
            (remains.value, remains.error) = (None, None);
        }
        self.pool.shared.counters.overruled(before);
        self.pool.shared.delivered(0, 0, held - job.brings());
        true
    }

    /// What is known of a job of the plugin that has not been handed out. With delivery in order, what nobody could know
    /// in another run is left out: such a job is queued until it is handed out.
    #[must_use]
    pub fn status(&self, id: JobId) -> Option<JobStatus> {
        let collected = self.batch.borrow().iter().find(|job| job.id == id).map(|job| job.status());
        let mut status = collected.or_else(|| self.status_on_disk(id)).or_else(|| {
            let mut found = None;
            self.pool.shared.each_job(|job| {
                if job.id == id {
                    found = Some(job.status());
                }
            });
            found
        });
        if status.is_none() {
            let mut arrived = self.arrived.borrow_mut();
            self.home.take(&mut arrived);
            status = arrived.iter().find(|job| job.id == id).map(|job| job.status());
        }
        if self.delivery() == Delivery::InOrder
            && let Some(status) = &mut status
        {
            let created = status.state == JobState::Created;
            status.state = if created { JobState::Created } else { JobState::Queued };
            (status.attempts, status.worker, status.data, status.result) = (0, None, 0, 0);
            (status.age, status.waited, status.ran) = Default::default();
            status.error = None;
        }
        status
    }

    /// What became of the jobs of the plugin so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Pool(Arc::clone(&self.pool)).summary()
    }

    /// Schedules a function that is scheduled often: as [`Scheduler::schedule`], with the data copied into the memory of a
    /// job that was given back.
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn schedule_again(&self, function: &Arc<Portable>, data: &[u8], token: u64) -> Result<JobId, Rejected> {
        self.schedule_one(function, None, None, data, token)
    }

    /// The same for one of many jobs that are treated alike in a way of their own.
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn schedule_shaped(&self, shape: &JobShape, data: &[u8], token: u64) -> Result<JobId, Rejected> {
        self.schedule_one(&shape.function, shape.options.as_ref(), shape.timeout, data, token)
    }

    fn schedule_one(
        &self,
        function: &Arc<Portable>,
        options: Option<&Arc<JobOptions>>,
        timeout: Option<Duration>,
        data: &[u8],
        token: u64,
    ) -> Result<JobId, Rejected> {
        let size = function.size() + data.len();
        let id = self.admit(size)?;
        let spare = self.spare.borrow_mut().pop();
        let mut job = match spare {
            Some(job) => self.reuse(job, id, function, data, token, size),
            None => {
                let location = Arc::clone(function.code().location());
                let work = Work::Lua { function: Arc::clone(function), data: data.to_vec(), room: Vec::new() };
                self.job(id, JobKind::Schedule, location, work, (token, None), size)
            }
        };
        if let Some(timeout) = timeout {
            job.deadline = timeout.into();
        }
        match (&mut job.options, options) {
            (Some(last), Some(options)) if Arc::ptr_eq(last, options) => {}
            (last, options) => *last = options.map(Arc::clone),
        }
        if let Some(name) = options.and_then(|options| options.name.as_ref()) {
            job.function = Arc::clone(name);
        }
        self.collect(job);
        Ok(id)
    }

    /// Schedules a file operation. Operations on the same file run in the order scheduled.
    ///
    /// # Errors
    /// As for [`Scheduler::schedule`].
    pub fn schedule_file(&self, operation: FileOp, token: u64) -> Result<JobId, Rejected> {
        let (kind, size) = (operation.kind(), operation.size());
        let id = self.admit(size)?;
        let work = Work::File(Box::new(operation));
        self.collect(self.job(id, kind, Arc::from(kind.name()), work, (token, None), size));
        Ok(id)
    }

    pub(super) fn job(
        &self,
        id: JobId,
        kind: JobKind,
        function: Arc<str>,
        work: impl Into<Option<Work>>,
        (token, timeout): (u64, Option<Duration>),
        size: usize,
    ) -> BoxedJob {
        Box::new(Job {
            id,
            kind,
            life: Life::new(),
            worker: 0,
            place: Place::Held,
            token,
            function,
            work: work.into(),
            options: None,
            result: None,
            remains: None,
            home: Arc::clone(&self.home),
            created: Stopwatch::start(),
            deadline: timeout.unwrap_or(self.pool.shared.options.deadline).into(),
            size: size + size_of::<Job>(),
            waited: Nanos::default(),
            ran: Nanos::default(),
        })
    }

    /// The memory of an ended job as another job. Spare jobs are functions of this scheduler, without results.
    fn reuse(
        &self,
        mut job: BoxedJob,
        id: JobId,
        function: &Arc<Portable>,
        bytes: &[u8],
        token: u64,
        size: usize,
    ) -> BoxedJob {
        (job.id, job.token, job.life, job.place) = (id, token, Life::new(), Place::Held);
        match &mut job.work {
            Some(Work::Lua { function: last, data, .. }) => {
                data.clear();
                data.extend_from_slice(bytes);
                if !Arc::ptr_eq(last, function) {
                    *last = Arc::clone(function);
                }
                let location = function.code().location();
                if !Arc::ptr_eq(&job.function, location) {
                    job.function = Arc::clone(location);
                }
            }
            work => {
                job.function = Arc::clone(function.code().location());
                *work = Some(Work::Lua { function: Arc::clone(function), data: bytes.to_vec(), room: Vec::new() });
            }
        }
        job.created = Stopwatch::start();
        job.deadline = self.pool.shared.options.deadline.into();
        job.size = size + size_of::<Job>();
        job
    }

    fn collect(&self, mut job: BoxedJob) {
        if let Some(keep) = (self.keeper.0)() {
            job.remains().keep = Some(keep);
        }
        self.outstanding.set(self.outstanding.get() + 1);
        self.enter_batch(job);
    }

    pub(super) fn enter_batch(&self, job: BoxedJob) {
        let mut batch = self.batch.borrow_mut();
        batch.push(job);
        if batch.len() >= BATCH {
            self.pool.shared.submit(&mut batch);
        }
    }

    /// Hands over what was scheduled since the last time. To be called at the end of every batch of packets.
    pub fn flush(&self) {
        if self.delivery.get() == Delivery::AsFinished {
            self.refill();
        }
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            self.pool.shared.submit(&mut batch);
        }
    }

    /// Jobs of the plugin that are queued, running or not delivered yet, those of its other VMs included.
    #[must_use]
    pub fn pending(&self) -> usize {
        Pool(Arc::clone(&self.pool)).pending()
    }

    /// Takes back every job that has not ended; their number. They end as cancelled, those on a worker at once: what the
    /// worker returns later is ignored.
    pub fn cancel(&self) -> usize {
        self.flush();
        let on_disk = self.leave_on_disk();
        self.pool.shared.cancel(Some(&self.home), Reach::Running) + on_disk
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.pool.shared);
        // Closed first: what is cancelled now has no home any more.
        let mut unclaimed = self.home.close();
        (0..self.board.forget(&self.home)).for_each(|_| self.close(JobState::Cancelled));
        unclaimed.append(&mut self.arrived.borrow_mut());
        unclaimed.iter().for_each(|job| shared.orphan(job));
        self.batch.borrow_mut().drain(..).for_each(|job| shared.end(job, JobState::Cancelled, None));
        shared.cancel(Some(&self.home), Reach::Waiting);
        self.leave_on_disk();
        if let Some(spilling) = self.spilling.get() {
            spilling.release();
        }
    }
}
