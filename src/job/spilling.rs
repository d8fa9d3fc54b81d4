//! The jobs of one scheduler that are on a disk, because there was no room for them.
//!
//! What is on the disk is younger than all the scheduler has in memory, and comes back in the order it went: as long as
//! something is there, further jobs go there too. A job there counts as queued and not as pending; it is admitted when it
//! comes back. With delivery in order that happens only where the owner settles, so that what a run does never
//! depends on how fast the disk is.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lua::{PluginError, Portable, Stored};
use crate::time::Stopwatch;

use super::admission::WhenCrowded;
use super::completion::Wait;
use super::delivery::Delivery;
use super::model::{BoxedJob, Job, JobId, JobKind, JobStatus, Keep, Work};
use super::options::JobOptions;
use super::rejected::{Overflow, Rejected};
use super::scheduler::{JobRequest, Scheduler};
use super::spill::{self, PutJob, SpillAnswer, SpillFate, SpillPace, SpillRefused, SpillReturns, SpillStore, Written};
use super::state::{JobState, Step};

/// What jobs that an earlier owner left behind have for a token: nothing waits for them here.
pub const LEFT_TOKEN: u64 = u32::MAX as u64;
/// Most jobs that are on their way back at a time.
const FETCH: usize = 256;
/// How often a thread that waits for jobs to come back looks whether it still should.
const LOOK: Duration = Duration::from_millis(20);
/// How long an owner that can do nothing else waits for the disk to give anything at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place for jobs on a disk, and how much of it there is.
#[derive(Debug)]
pub(super) struct Spilling {
    store: Arc<dyn SpillStore>,
    owner: u64,
    returns: Arc<SpillReturns>,
    /// What tells the VM's bytecode from that of other builds.
    mark: u32,
    most_bytes: Cell<usize>,
    bytes: Cell<usize>,
    /// Jobs that are on the disk or on their way back, in the order of their ids.
    jobs: RefCell<VecDeque<OnDisk>>,
    /// How many of the first of these are on their way back.
    asked: Cell<usize>,
    answers: RefCell<HashMap<u64, SpillAnswer>>,
    stored: RefCell<Stored>,
}

/// What is kept in memory of a job on the disk.
#[derive(Debug)]
struct OnDisk {
    id: JobId,
    place: u64,
    token: u64,
    size: usize,
    function: Arc<str>,
    created: Stopwatch,
    fate: SpillFate,
    keep: Option<Keep>,
    /// It has ended meanwhile: what comes back is thrown away.
    over: bool,
}

/// What a job takes with it to the disk.
pub struct Luggage {
    /// The script's callbacks and data as a function that gives them; without it the job ends with its owner.
    pub callbacks: Option<Box<Portable>>,
}

impl std::fmt::Debug for Luggage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luggage").field("travels", &self.callbacks.is_some()).finish()
    }
}

impl Scheduler {
    /// Says that jobs beyond the limits go to the disk, up to so many bytes. `mark` tells the bytecode of the VM from that of
    /// other builds. The first time, jobs that an earlier owner of the same block left behind are taken up; gives their
    /// number.
    ///
    /// # Errors
    /// When there is no place for jobs; the text says what to do about it.
    pub fn spill_to_disk(&self, block: &str, mark: u32, most_bytes: usize) -> Result<usize, String> {
        if let Some(spilling) = self.spilling.get() {
            spilling.most_bytes.set(most_bytes);
            return Ok(0);
        }
        let options = &self.pool.shared.options;
        let Some(store) = options.spill.clone() else {
            return Err("there is no disk to put jobs on: run with --store FILE".to_owned());
        };
        let returns = Arc::new(SpillReturns::default());
        let attached = store.attach(&options.name, block, Arc::clone(&returns))?;
        let taken = attached.left.len();
        let mut jobs = VecDeque::with_capacity(taken);
        let mut bytes = 0;
        for left in attached.left {
            self.pool.shared.pending.scheduled.fetch_add(1, Ordering::Release);
            bytes += left.size;
            jobs.push_back(OnDisk {
                id: self.ids.next(),
                place: left.place,
                token: LEFT_TOKEN,
                size: left.size,
                function: Arc::from(left.function),
                created: Stopwatch::start(),
                fate: SpillFate::Survives,
                keep: None,
                over: false,
            });
        }
        self.pool.shared.counters.adopted.fetch_add(taken as u64, Ordering::Relaxed);
        self.count_on_disk(taken as isize);
        let spilling = Spilling {
            store,
            owner: attached.owner,
            returns,
            mark,
            most_bytes: Cell::new(most_bytes),
            bytes: Cell::new(bytes),
            jobs: RefCell::new(jobs),
            asked: Cell::new(0),
            answers: RefCell::default(),
            stored: RefCell::default(),
        };
        // It was empty a moment ago, on this thread.
        let _ = self.spilling.set(spilling);
        Ok(taken)
    }

    /// Jobs that are on the disk or on their way back.
    #[must_use]
    pub fn on_disk(&self) -> usize {
        self.on_disk.get()
    }

    /// Jobs of this scheduler in memory whose completions were not handed out yet.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.outstanding.get() - self.on_disk.get()
    }

    /// As [`Scheduler::schedule_with`], for a job that goes to the disk if there is no room and that is where such jobs go.
    /// What it takes along is asked for only then.
    ///
    /// # Errors
    /// When there is no room on the disk either.
    pub fn schedule_or_spill(
        &self,
        request: JobRequest,
        options: Option<Arc<JobOptions>>,
        luggage: impl FnOnce() -> Luggage,
    ) -> Result<JobId, Rejected> {
        let size = request.function.size() + request.data.len();
        match self.spilling.get() {
            Some(spilling) if self.when_crowded.get() == WhenCrowded::Spill => {
                if self.on_disk.get() == 0 && self.reserve(size).is_ok() {
                    return Ok(self.collect_request(self.count_id(), request, options));
                }
                self.spill(spilling, request, options, luggage())
            }
            _ => self.schedule_with(request, options),
        }
    }

    fn spill(
        &self,
        spilling: &Spilling,
        request: JobRequest,
        options: Option<Arc<JobOptions>>,
        luggage: Luggage,
    ) -> Result<JobId, Rejected> {
        let id = self.count_id();
        let refused = |overflow| {
            self.pool.shared.pending.dropped();
            self.pool.shared.counters.spill_drop(overflow);
            Err(Rejected { id, overflow })
        };
        let JobRequest { function, data, token, timeout } = request;
        let name = options.as_ref().and_then(|options| options.name.clone());
        let location = name.unwrap_or_else(|| Arc::clone(function.code().location()));
        let fate = if luggage.callbacks.is_some() { SpillFate::Survives } else { SpillFate::EndsWithOwner };
        let written = Written { function, data, timeout, options, callbacks: luggage.callbacks };
        let bytes = spill::write(&written, spilling.mark);
        let size = bytes.len();
        let most = spilling.most_bytes.get();
        if spilling.bytes.get() + size > most {
            return refused(Overflow::Disk(most));
        }
        // Over files nothing may depend on how fast the disk is, and nobody waits for the packets.
        let pace = if self.delivery.get() == Delivery::InOrder { SpillPace::Wait } else { SpillPace::Never };
        let put = PutJob { bytes, function: Arc::clone(&location), fate };
        let place = match spilling.store.put(spilling.owner, put, pace) {
            Ok(place) => place,
            Err(SpillRefused::Slow) => return refused(Overflow::DiskSlow),
            Err(SpillRefused::Closed) => return refused(Overflow::DiskClosed),
        };
        spilling.bytes.set(spilling.bytes.get() + size);
        let keep = (self.keeper.0)();
        let created = Stopwatch::start();
        let job = OnDisk { id, place, token, size, function: location, created, fate, keep, over: false };
        spilling.jobs.borrow_mut().push_back(job);
        self.pool.shared.counters.spills.fetch_add(1, Ordering::Relaxed);
        self.count_on_disk(1);
        Ok(id)
    }

    /// Jobs go to the disk, or leave it.
    fn count_on_disk(&self, change: isize) {
        self.outstanding.set(self.outstanding.get().wrapping_add_signed(change));
        self.moved_on_disk(change);
    }

    /// The same, for jobs that are outstanding before and after.
    fn moved_on_disk(&self, change: isize) {
        self.on_disk.set(self.on_disk.get().wrapping_add_signed(change));
        let spilled = &self.pool.shared.pending.spilled;
        if change >= 0 {
            spilled.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            spilled.fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    /// Takes in what has come back from the disk, and asks for more as far as there is room. Two loads if nothing is there.
    pub(super) fn refill(&self) {
        if self.on_disk.get() == 0 {
            return;
        }
        let Some(spilling) = self.spilling.get() else { return };
        self.take_back(spilling);
        self.ask_for_more(spilling);
    }

    /// The same, and waits for what was asked for.
    pub(super) fn refill_now(&self, wait: &Wait<'_>) {
        let Some(spilling) = self.spilling.get() else { return };
        let since = Stopwatch::start();
        let mut silent = (spilling.asked.get(), Stopwatch::start());
        while !wait.is_over(since) {
            self.refill();
            let asked = spilling.asked.get();
            if asked == 0 {
                return;
            }
            if asked != silent.0 {
                silent = (asked, Stopwatch::start());
            } else if silent.1.elapsed() > PATIENCE {
                spilling.give_up();
            }
            spilling.returns.wait(LOOK);
        }
    }

    fn ask_for_more(&self, spilling: &Spilling) {
        let (pending, limits) = (&self.pool.shared.pending, &self.pool.shared.options);
        let asked = spilling.asked.get();
        let jobs = limits.max_jobs.saturating_sub(pending.jobs.load(Ordering::Relaxed));
        let own = self.most.get().saturating_sub(self.waiting());
        let mut room = limits.max_bytes.saturating_sub(pending.bytes.load(Ordering::Relaxed));
        let most = jobs.min(own).min(FETCH).saturating_sub(asked);
        let list = spilling.jobs.borrow();
        let mut places = Vec::new();
        let mut passed = 0;
        for job in list.range(asked.min(list.len())..) {
            // One that is larger than all the room there ever is comes alone.
            let alone = places.is_empty() && asked == 0 && self.in_memory() == 0;
            if places.len() >= most.max(usize::from(alone)) || (job.size > room && !alone) {
                break;
            }
            passed += 1;
            if !job.over {
                room = room.saturating_sub(job.size);
                places.push(job.place);
            }
        }
        spilling.asked.set(asked + passed);
        drop(list);
        if !places.is_empty() {
            spilling.store.fetch(spilling.owner, places);
        }
        if passed > 0 {
            // Those that have ended meanwhile are passed over at once.
            self.take_back(spilling);
        }
    }

    fn take_back(&self, spilling: &Spilling) {
        let mut answers = spilling.answers.borrow_mut();
        spilling.returns.take(&mut answers);
        if answers.is_empty() && spilling.asked.get() == 0 {
            return;
        }
        self.forget_unwritten(spilling, &mut answers);
        let mut back = Vec::new();
        {
            let mut jobs = spilling.jobs.borrow_mut();
            while spilling.asked.get() > 0
                && let Some(first) = jobs.front()
                && (first.over || answers.contains_key(&first.place))
            {
                let answer = answers.remove(&first.place);
                back.extend(jobs.pop_front().filter(|job| !job.over).zip(answer));
                spilling.asked.set(spilling.asked.get() - 1);
            }
            if jobs.is_empty() {
                answers.clear();
            }
        }
        drop(answers);
        for (job, answer) in back {
            spilling.bytes.set(spilling.bytes.get().saturating_sub(job.size));
            let written = match answer {
                SpillAnswer::Job(bytes) => {
                    spill::read(&bytes, spilling.mark, &mut spilling.stored.borrow_mut()).map_err(|e| e.to_string())
                }
                SpillAnswer::Unwritten(why) | SpillAnswer::Unread(why) => Err(why),
            };
            match written {
                Ok(written) => self.come_back(job, written),
                Err(why) => {
                    self.pool.shared.counters.spill_lost.fetch_add(1, Ordering::Relaxed);
                    let text = format!("the job cannot be read back from the disk: {why}");
                    self.end_on_disk(job, JobState::Failed, Some(PluginError::caught(text.as_bytes(), b"")));
                }
            }
        }
    }

    /// Jobs that never reached the disk make room there, and end as dropped.
    fn forget_unwritten(&self, spilling: &Spilling, answers: &mut HashMap<u64, SpillAnswer>) {
        let mut lost = Vec::new();
        {
            let mut jobs = spilling.jobs.borrow_mut();
            answers.retain(|place, answer| {
                let SpillAnswer::Unwritten(_) = answer else { return true };
                let found = jobs.binary_search_by_key(place, |job| job.place).ok();
                if let Some(job) = found.and_then(|at| jobs.get_mut(at)).filter(|job| !job.over) {
                    job.over = true;
                    lost.push(OnDisk { keep: job.keep.take(), function: Arc::clone(&job.function), ..*job });
                }
                false
            });
        }
        for job in lost {
            spilling.bytes.set(spilling.bytes.get().saturating_sub(job.size));
            self.pool.shared.counters.spill_drop(Overflow::DiskFailed);
            self.end_on_disk(job, JobState::Dropped, None);
        }
    }

    /// A job is in memory again, under the id it has had all along.
    fn come_back(&self, on_disk: OnDisk, written: Written) {
        let Written { function, data, timeout, options, callbacks } = written;
        let size = function.size() + data.len();
        self.moved_on_disk(-1);
        self.pool.shared.pending.admit(size + size_of::<Job>());
        let work = Work::Lua { function: Arc::new(function), data, room: Vec::new() };
        let place = (on_disk.token, timeout);
        let mut job = self.job(on_disk.id, JobKind::Schedule, on_disk.function, work, place, size);
        job.created = on_disk.created;
        let left = on_disk.token == LEFT_TOKEN;
        job.options = options;
        if left || on_disk.keep.is_some() {
            let remains = job.remains();
            remains.keep = on_disk.keep;
            remains.callbacks = callbacks.filter(|_| left);
        }
        self.enter_batch(job);
    }

    /// Ends a job that is not in memory: what is known of it goes home.
    fn end_on_disk(&self, on_disk: OnDisk, end: JobState, error: Option<PluginError>) {
        let job = self.stub(on_disk);
        self.moved_on_disk(-1);
        self.pool.shared.end(job, end, error);
    }

    fn stub(&self, on_disk: OnDisk) -> BoxedJob {
        self.pool.shared.pending.admit(size_of::<Job>());
        let mut job = self.job(on_disk.id, JobKind::Schedule, on_disk.function, None, (on_disk.token, None), 0);
        job.created = on_disk.created;
        if on_disk.keep.is_some() {
            job.remains().keep = on_disk.keep;
        }
        job.step(Step::Accept);
        job
    }

    /// Takes back a job that is on the disk; false if it is not there.
    pub(super) fn cancel_on_disk(&self, id: JobId) -> bool {
        let Some(spilling) = self.spilling.get() else { return false };
        let cancelled = {
            let mut jobs = spilling.jobs.borrow_mut();
            let found = jobs.binary_search_by_key(&id, |job| job.id).ok();
            let Some(job) = found.and_then(|at| jobs.get_mut(at)).filter(|job| !job.over) else { return false };
            job.over = true;
            OnDisk { keep: job.keep.take(), function: Arc::clone(&job.function), ..*job }
        };
        spilling.bytes.set(spilling.bytes.get().saturating_sub(cancelled.size));
        spilling.store.discard(cancelled.place);
        self.end_on_disk(cancelled, JobState::Cancelled, None);
        true
    }

    /// What is known of a job on the disk.
    pub(super) fn status_on_disk(&self, id: JobId) -> Option<JobStatus> {
        let jobs = self.spilling.get()?.jobs.borrow();
        let at = jobs.binary_search_by_key(&id, |job| job.id).ok()?;
        let job = jobs.get(at).filter(|job| !job.over)?;
        Some(JobStatus {
            id,
            kind: JobKind::Schedule,
            state: JobState::Queued,
            attempts: 0,
            worker: None,
            function: Arc::clone(&job.function),
            data: 0,
            size: job.size,
            result: 0,
            age: job.created.elapsed(),
            waited: Duration::ZERO,
            ran: Duration::ZERO,
            error: None,
        })
    }

    /// Leaves what is on the disk to the next owner, as far as it survives this one; the rest is taken back. Gives the
    /// number of those.
    pub(super) fn leave_on_disk(&self) -> usize {
        let Some(spilling) = self.spilling.get() else { return 0 };
        let asked = spilling.asked.take();
        let (mut kept, mut cancelled) = (0, 0);
        let jobs = std::mem::take(&mut *spilling.jobs.borrow_mut());
        for (number, job) in jobs.into_iter().enumerate().filter(|(_, job)| !job.over) {
            spilling.bytes.set(spilling.bytes.get().saturating_sub(job.size));
            // What is on its way back has left the disk.
            if number >= asked && job.fate == SpillFate::Survives {
                kept += 1;
                continue;
            }
            if number >= asked {
                spilling.store.discard(job.place);
            }
            cancelled += 1;
            self.end_on_disk(job, JobState::Cancelled, None);
        }
        self.pool.shared.counters.kept.fetch_add(kept, Ordering::Release);
        self.count_on_disk(-(kept as isize));
        cancelled
    }
}

impl Spilling {
    /// Nothing comes back any more: what was asked for is lost.
    fn give_up(&self) {
        for job in self.jobs.borrow().range(..self.asked.get().min(self.jobs.borrow().len())) {
            self.returns.give(job.place, SpillAnswer::Unread("the disk does not answer".to_owned()));
        }
    }

    /// The owner is gone.
    pub(super) fn release(&self) {
        self.store.release(self.owner);
    }
}
