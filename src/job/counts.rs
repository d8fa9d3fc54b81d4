//! How many jobs are where, kept so that both sides can count without waiting for each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::lua::{FaultKind, PluginError};

use super::histogram::Times;
use super::rejected::Overflow;
use super::state::JobState;

/// What became of the jobs of a pool. `scheduled` is the sum of all states at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs ever scheduled, those dropped included.
    pub scheduled: u64,
    /// Waiting for a worker.
    pub queued: u64,
    /// On a worker.
    pub running: u64,
    /// Ran to their end.
    pub done: u64,
    /// Raised an error or had their result refused.
    pub failed: u64,
    /// Exceeded their deadline.
    pub timed_out: u64,
    /// Taken back.
    pub cancelled: u64,
    /// Refused because too many were pending.
    pub dropped: u64,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
    /// What became of jobs that went to the disk; those kept there are the rest of the sum.
    pub spill: SpillCounts,
    /// Given up because the VM that scheduled them was gone before it heard of their end.
    pub orphaned: u64,
    /// Results refused because too much waited for delivery; counted under `failed` as well.
    pub results_over_limit: u64,
    /// Workers given up because they did not return from C.
    pub workers_abandoned: u64,
    /// VMs replaced because their memory was full.
    pub vms_replaced: u64,
    /// Failed because the memory of the worker's VM was full; this and the next two are part of `failed`.
    pub out_of_memory: u64,
    /// Failed because one result was too large.
    pub result_too_large: u64,
    /// Failed because no worker was there to do them.
    pub no_worker: u64,
    /// How long jobs waited from scheduling to each start.
    pub waits: Times,
    /// How long attempts ran.
    pub runs: Times,
    /// How long it took from scheduling to the end, of the jobs that a worker brought there.
    pub whole: Times,
}

/// Jobs on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpillCounts {
    /// There now; they are queued.
    pub on_disk: u64,
    /// Ever put there.
    pub ever: u64,
    /// Taken up from an earlier run or an earlier version of the script; scheduled once more here.
    pub adopted: u64,
    /// Left there for the next run: that is where they end.
    pub kept: u64,
    /// Dropped because the script's bytes there are used up; these and the next three count as dropped as well.
    pub full: u64,
    /// Dropped because the disk does not keep up.
    pub slow: u64,
    /// Dropped because the disk would not take them.
    pub failed: u64,
    /// Failed because they could not be read back.
    pub unreadable: u64,
}

/// What the scheduling threads write for every job. Lines of their own: the workers write theirs as often, and a line that
/// two processors write costs more than all the rest of a job.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Pending {
    pub scheduled: AtomicU64,
    dropped: AtomicU64,
    /// Accepted and not delivered.
    pub jobs: AtomicUsize,
    /// Bytes of data of those.
    pub bytes: AtomicUsize,
    /// Accepted and on the disk.
    pub spilled: AtomicUsize,
}

impl Pending {
    /// A job that a limit kept out.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Release);
    }

    /// A job that is pending from now on, whatever the limits.
    pub(super) fn admit(&self, bytes: usize) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Jobs that are pending no longer.
    pub(super) fn release(&self, jobs: usize, bytes: usize) {
        self.jobs.fetch_sub(jobs, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Counts of jobs that ended, and of what went wrong.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    done: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    /// Made room for others after they were accepted.
    evicted: AtomicU64,
    pub retries: AtomicU64,
    orphaned: AtomicU64,
    pub results_over_limit: AtomicU64,
    out_of_memory: AtomicU64,
    pub result_too_large: AtomicU64,
    pub no_worker: AtomicU64,
    pub workers_abandoned: AtomicU64,
    /// Workers given up whose threads have not ended.
    pub workers_stuck: AtomicU64,
    pub vms_replaced: AtomicU64,
    pub spills: AtomicU64,
    pub adopted: AtomicU64,
    pub kept: AtomicU64,
    spill_full: AtomicU64,
    spill_slow: AtomicU64,
    spill_failed: AtomicU64,
    pub spill_lost: AtomicU64,
}

impl Counters {
    fn of(&self, end: JobState) -> &AtomicU64 {
        match end {
            JobState::Done => &self.done,
            JobState::Failed => &self.failed,
            JobState::TimedOut => &self.timed_out,
            // Those that were never accepted end with the scheduler, see `Pending::dropped`.
            JobState::Dropped => &self.evicted,
            JobState::Cancelled | JobState::Created | JobState::Queued | JobState::Running => &self.cancelled,
        }
    }

    /// Why a job has failed, if that has a name.
    pub(super) fn failed(&self, error: &PluginError) {
        if error.kind == FaultKind::Memory {
            self.out_of_memory.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A job for which there was no room on the disk either.
    pub(super) fn spill_drop(&self, overflow: Overflow) {
        let reason = match overflow {
            Overflow::DiskSlow => &self.spill_slow,
            Overflow::DiskFailed | Overflow::DiskClosed => &self.spill_failed,
            Overflow::Disk(_) | Overflow::Jobs(_) | Overflow::Bytes(_) => &self.spill_full,
        };
        reason.fetch_add(1, Ordering::Relaxed);
    }

    /// A job has come to its end.
    pub(super) fn ended(&self, end: JobState) {
        debug_assert!(end.is_end(), "{end:?}");
        // Release: whoever sees this count also sees that the job was scheduled.
        self.of(end).fetch_add(1, Ordering::Release);
    }

    /// An end that nobody was told of is replaced. It counts as not ended for a moment, and never twice.
    pub(super) fn overruled(&self, before: JobState) {
        self.of(before).fetch_sub(1, Ordering::Release);
        self.cancelled.fetch_add(1, Ordering::Release);
    }

    /// A job that has come to its end turns out to belong to nobody: that is how it ended.
    pub(super) fn orphaned(&self, end: JobState) {
        // In this order: a job that is counted nowhere for a moment is taken for a queued one.
        self.of(end).fetch_sub(1, Ordering::AcqRel);
        self.orphaned.fetch_add(1, Ordering::Release);
    }

    /// All counts; `running` is how many jobs are on a worker.
    pub(super) fn summary(&self, pending: &Pending, running: u64) -> Summary {
        // The ended first: whatever has ended by then has been scheduled by the time `scheduled` is read.
        let counters = [
            &self.orphaned,
            &self.done,
            &self.failed,
            &self.timed_out,
            &self.cancelled,
            &self.evicted,
            &pending.dropped,
            &self.kept,
        ];
        let [orphaned, done, failed, timed_out, cancelled, evicted, refused, kept] =
            counters.map(|counter| counter.load(Ordering::Acquire));
        let dropped = evicted + refused;
        let scheduled = pending.scheduled.load(Ordering::Acquire);
        let open = scheduled - (orphaned + done + failed + timed_out + cancelled + dropped + kept);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let running = running.min(open);
        Summary {
            scheduled,
            queued: open - running,
            running,
            done,
            failed,
            timed_out,
            cancelled,
            dropped,
            retries: self.retries.load(Ordering::Relaxed),
            spill: SpillCounts {
                on_disk: pending.spilled.load(Ordering::Relaxed) as u64,
                ever: load(&self.spills),
                adopted: load(&self.adopted),
                kept,
                full: load(&self.spill_full),
                slow: load(&self.spill_slow),
                failed: load(&self.spill_failed),
                unreadable: load(&self.spill_lost),
            },
            orphaned,
            results_over_limit: self.results_over_limit.load(Ordering::Relaxed),
            workers_abandoned: self.workers_abandoned.load(Ordering::Relaxed),
            vms_replaced: self.vms_replaced.load(Ordering::Relaxed),
            out_of_memory: load(&self.out_of_memory),
            result_too_large: load(&self.result_too_large),
            no_worker: load(&self.no_worker),
            ..Summary::default()
        }
    }
}
