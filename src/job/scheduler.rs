//! The end of a pool that one scheduling VM holds.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lua::Portable;
use crate::time::Stopwatch;

use super::board::{Board, Decided, Letter};
use super::completion::{CompletionQueue, Wait};
use super::counts::Summary;
use super::model::{BoxedJob, Completion, Ended, Job, JobId, JobIds, JobKind, JobStatus, Keep, Nanos, Place, Work};
use super::native::FileOp;
use super::options::{JobOptions, JobShape};
use super::pool::{Handle, Pool, Reach};
use super::rejected::{Overflow, Rejected};
use super::section::{Section, SectionError};
use super::spilling::Spilling;
use super::state::{JobState, Life, Step};

/// Jobs collected before they are handed over without being asked to.
const BATCH: usize = 64;
/// Most ended jobs whose memory is kept for others.
const SPARE: usize = 1024;
/// Most bytes of data, and of a result, that are kept with them.
const SPARE_BYTES: usize = 1024;

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

/// What becomes of a job when there is no room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenCrowded {
    /// It is dropped.
    #[default]
    DropNew,
    /// The job of this scheduler that has waited longest for a worker is dropped in its place.
    DropOld,
    /// The scheduling thread waits until a job of this scheduler has ended. Not for threads that packets wait for.
    Block,
    /// It goes to the disk, if it is a function; see [`Scheduler::spill_to_disk`]. Anything else is dropped.
    Spill,
}

/// Whether the owner is at a point where results are handed out whatever the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Between two batches.
    No,
    /// At such a point.
    Yes,
}

/// How waiting for all jobs came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All have ended, or the wait has; what has arrived was handed out.
    Yes,
    /// A worker asks this owner for an atomic section. Nothing was handed out; wait again when it was served.
    Asked,
    /// Workers wait for other owners on this thread. Nothing was handed out.
    Elsewhere,
}

/// How long a worker waits for its owner to come to a section: where results are handed out as they come, and over files,
/// where that is at the end of the input.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_IN_ORDER: Duration = Duration::from_secs(300);
/// How often an owner that waits looks whether workers wait for another.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(20);

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
    pub(super) pool: Arc<Handle>,
    pub(super) home: Arc<CompletionQueue>,
    pub(super) ids: JobIds,
    pub(super) delivery: Cell<Delivery>,
    /// Collected and not handed over.
    batch: RefCell<Vec<BoxedJob>>,
    /// Fetched from home and not handed out.
    arrived: RefCell<VecDeque<BoxedJob>>,
    /// Handed out and given back: memory for the next ones.
    spare: RefCell<Vec<BoxedJob>>,
    /// Accepted and not handed out.
    pub(super) outstanding: Cell<usize>,
    /// Of those, the ones that are on the disk.
    pub(super) on_disk: Cell<usize>,
    pub(super) spilling: OnceCell<Spilling>,
    /// Of those, the ones that made room for others.
    evicted: Cell<usize>,
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

    /// When completions are handed out.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery.get()
    }

    /// From now on completions are handed out as jobs finish: somebody outside waits for them.
    pub fn deliver_as_finished(&self) {
        if self.delivery.replace(Delivery::AsFinished) == Delivery::InOrder {
            self.set_patience(PATIENCE);
        }
    }

    /// Whether another job would be refused or push out one that waits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_crowded(0)
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

    /// Says how many jobs of this scheduler may be outstanding, and what becomes of further ones.
    pub fn set_limit(&self, most: usize, when_crowded: WhenCrowded) {
        self.most.set(most);
        self.when_crowded.set(when_crowded);
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

    /// Gives a job its number and its place among the pending ones, or counts it as dropped.
    fn admit(&self, size: usize) -> Result<JobId, Rejected> {
        if self.when_crowded.get() != WhenCrowded::DropNew && self.is_crowded(size) {
            self.flush();
            let made = match self.when_crowded.get() {
                WhenCrowded::DropOld => self.pool.shared.evict(&self.home),
                WhenCrowded::Block => self.wait_for_place(),
                WhenCrowded::Spill | WhenCrowded::DropNew => false,
            };
            if made {
                self.evicted.set(self.evicted.get() + 1);
            }
        }
        self.admit_new(size)
    }

    /// Waits until a job of this scheduler has ended, and counts it as pending no longer although it was not handed out.
    /// False if none will end, or workers wait for an owner on this thread.
    fn wait_for_place(&self) -> bool {
        loop {
            let mut arrived = self.arrived.borrow_mut();
            self.home.take(&mut arrived);
            if let Some(job) = arrived.iter_mut().find(|job| job.place == Place::Held) {
                job.place = Place::Left;
                self.pool.shared.pending.release(1, job.size);
                return true;
            }
            let under_way = arrived.len() < self.in_memory();
            drop(arrived);
            let blocked = self.pool.shared.asked.load(Ordering::Relaxed) > 0;
            if !under_way || blocked || self.pool.shared.is_stopped() {
                return false;
            }
            self.home.wait(&Wait { limit: Some(LOOK_ELSEWHERE), cancel: None });
        }
    }

    #[cold]
    fn is_crowded(&self, size: usize) -> bool {
        let (pending, limits) = (&self.pool.shared.pending, &self.pool.shared.options);
        let bytes = pending.bytes.load(Ordering::Relaxed) + size + size_of::<Job>();
        let jobs = pending.jobs.load(Ordering::Relaxed);
        jobs >= limits.max_jobs || bytes > limits.max_bytes || self.waiting() >= self.most.get()
    }

    /// Jobs of this scheduler that count against its own limit: those that made room for others no longer do.
    pub(super) fn waiting(&self) -> usize {
        self.in_memory() - self.evicted.get()
    }

    fn admit_new(&self, size: usize) -> Result<JobId, Rejected> {
        let id = self.count_id();
        self.reserve(size).map(|()| id).map_err(|overflow| {
            self.pool.shared.pending.dropped();
            Rejected { id, overflow }
        })
    }

    /// Number of a job that counts as scheduled from now on.
    pub(super) fn count_id(&self) -> JobId {
        self.pool.shared.pending.scheduled.fetch_add(1, Ordering::Release);
        self.ids.next()
    }

    /// Takes a place among the pending ones, if there is room.
    pub(super) fn reserve(&self, size: usize) -> Result<(), Overflow> {
        let shared = &self.pool.shared;
        let (pending, limits) = (&shared.pending, &shared.options);
        let size = size + size_of::<Job>();
        // Add first, look then: two threads that find the last place free must not both take it.
        let jobs = pending.jobs.fetch_add(1, Ordering::Relaxed);
        let bytes = pending.bytes.fetch_add(size, Ordering::Relaxed);
        let overflow = if jobs >= limits.max_jobs {
            Overflow::Jobs(limits.max_jobs)
        } else if self.waiting() >= self.most.get() {
            Overflow::Jobs(self.most.get())
        } else if bytes + size > limits.max_bytes {
            Overflow::Bytes(limits.max_bytes)
        } else {
            return Ok(());
        };
        pending.release(1, size);
        Err(overflow)
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

    /// Takes back jobs that were handed out: their memory serves the next ones.
    pub fn give_back(&self, ended: &mut Vec<Ended>) {
        let mut spare = self.spare.borrow_mut();
        for Ended(mut job) in ended.drain(..) {
            if spare.len() >= SPARE || job.kind != JobKind::Schedule {
                continue;
            }
            job.remains = None;
            let result = job.result.take();
            if let Some(Work::Lua { data, room, .. }) = &mut job.work {
                if let Some(result) = result {
                    *room = result;
                }
                for kept in [data, room] {
                    kept.clear();
                    kept.shrink_to(SPARE_BYTES);
                }
            }
            spare.push(job);
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

    /// Jobs of this scheduler whose completions were not handed out yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    /// Hands out up to `max` completions that have arrived; their number. One load of an atomic if there are none. Gives
    /// none if delivery is [`Delivery::InOrder`].
    pub fn poll(&self, max: usize, into: &mut Vec<Completion>) -> usize {
        if self.delivery() == Delivery::InOrder {
            return 0;
        }
        self.hand_out(max, |ended| into.push(ended.into_completion()))
    }

    /// As [`Scheduler::poll`], for an owner that gives the jobs back.
    pub fn poll_ended(&self, max: usize, into: &mut Vec<Ended>) -> usize {
        if self.delivery() == Delivery::InOrder {
            return 0;
        }
        self.hand_out(max, |ended| into.push(ended))
    }

    /// Waits until all jobs have ended and hands out their completions, in the order scheduled. Jobs that are missing when
    /// the wait ends early stay outstanding.
    pub fn settle(&self, wait: &Wait<'_>) -> Vec<Completion> {
        let mut completions = Vec::new();
        self.settle_into(wait, |ended| completions.push(ended.into_completion()));
        completions
    }

    /// As [`Scheduler::settle`], for an owner that gives the jobs back.
    pub fn settle_ended(&self, wait: &Wait<'_>, into: &mut Vec<Ended>) -> Settled {
        self.settle_into(wait, |ended| into.push(ended))
    }

    fn settle_into(&self, wait: &Wait<'_>, take: impl FnMut(Ended)) -> Settled {
        let since = Stopwatch::start();
        self.refill_now(wait);
        self.flush();
        loop {
            let complete = {
                let mut arrived = self.arrived.borrow_mut();
                self.home.take(&mut arrived);
                arrived.len() >= self.in_memory()
            };
            if complete {
                break;
            }
            if self.is_asked() {
                return Settled::Asked;
            }
            let mut piece = remaining(wait, since);
            piece.limit = Some(piece.limit.map_or(LOOK_ELSEWHERE, |limit| limit.min(LOOK_ELSEWHERE)));
            if self.home.wait(&piece) {
                continue;
            }
            if wait.is_over(since) {
                break;
            }
            if self.pool.shared.asked.load(Ordering::Relaxed) > 0 && !self.is_asked() {
                return Settled::Elsewhere;
            }
        }
        self.arrived.borrow_mut().make_contiguous().sort_by_key(|job| job.id);
        self.hand_out(usize::MAX, take);
        Settled::Yes
    }

    /// Waits until some completion has arrived; false if the wait ended first or nothing is outstanding.
    #[must_use]
    pub fn wait(&self, wait: &Wait<'_>) -> bool {
        if self.on_disk.get() > 0 {
            self.refill_now(wait);
        }
        self.flush();
        !self.arrived.borrow().is_empty() || (self.in_memory() > 0 && self.home.wait(wait))
    }

    /// At the end of input: hands out completions until none is outstanding, those included that `deliver` schedules. When
    /// the wait ends first, the rest is cancelled and handed out as such.
    pub fn drain(&self, wait: &Wait<'_>, mut deliver: impl FnMut(Completion)) -> Drained {
        let since = Stopwatch::start();
        let mut drained = Drained::default();
        while self.outstanding.get() > 0 {
            let left = remaining(wait, since);
            let completions = match self.delivery() {
                Delivery::InOrder => self.settle(&left),
                Delivery::AsFinished => {
                    let mut completions = Vec::new();
                    if self.wait(&left) {
                        self.hand_out(BATCH, |ended| completions.push(ended.into_completion()));
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
        let on_disk = self.leave_on_disk();
        self.pool.shared.cancel(Some(&self.home), Reach::Running) + on_disk
    }

    fn hand_out(&self, max: usize, mut take: impl FnMut(Ended)) -> usize {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.len() < max {
            self.home.take(&mut arrived);
        }
        let count = arrived.len().min(max);
        if count == 0 {
            return 0;
        }
        arrived.range(..count.min(BATCH)).for_each(|job| job.glance());
        let (mut bytes, mut held) = (0, 0);
        let mut released = 0;
        for job in arrived.drain(..count) {
            if job.place == Place::Left {
                released += 1;
            } else {
                bytes += job.size;
            }
            held += job.brings();
            take(Ended(job));
        }
        self.pool.shared.delivered(count - released, bytes, held);
        self.evicted.set(self.evicted.get() - released);
        self.outstanding.set(self.outstanding.get() - count);
        count
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

fn remaining<'a>(wait: &Wait<'a>, since: Stopwatch) -> Wait<'a> {
    Wait { limit: wait.limit.map(|limit| limit.saturating_sub(since.elapsed())), cancel: wait.cancel }
}
