//! How completions are handed out: as they arrive, or where the owner settles.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::time::Stopwatch;

use super::completion::Wait;
use super::model::{Completion, Ended, JobKind, Place, Work};
use super::scheduler::{BATCH, PATIENCE, Scheduler};

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

/// How often an owner that waits looks whether workers wait for another.
pub(super) const LOOK_ELSEWHERE: Duration = Duration::from_millis(20);

/// What [`Scheduler::drain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Completions handed over, cancelled jobs included.
    pub delivered: u64,
    /// Jobs cancelled because the wait ended first.
    pub cancelled: u64,
}

impl Scheduler {
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
}

fn remaining<'a>(wait: &Wait<'a>, since: Stopwatch) -> Wait<'a> {
    Wait { limit: wait.limit.map(|limit| limit.saturating_sub(since.elapsed())), cancel: wait.cancel }
}
