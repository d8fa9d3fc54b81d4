//! Which jobs are let in: how many may be pending, and what becomes of one for which there is no room.

use std::sync::atomic::Ordering;

use super::completion::Wait;
use super::delivery::LOOK_ELSEWHERE;
use super::model::{Job, JobId, Place};
use super::rejected::{Overflow, Rejected};
use super::scheduler::Scheduler;

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

impl Scheduler {
    /// Whether another job would be refused or push out one that waits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_crowded(0)
    }

    /// Says how many jobs of this scheduler may be outstanding, and what becomes of further ones.
    pub fn set_limit(&self, most: usize, when_crowded: WhenCrowded) {
        self.most.set(most);
        self.when_crowded.set(when_crowded);
    }

    /// Gives a job its number and its place among the pending ones, or counts it as dropped.
    pub(super) fn admit(&self, size: usize) -> Result<JobId, Rejected> {
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
}
