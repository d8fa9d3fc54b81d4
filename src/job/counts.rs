//! How many jobs are where, kept so that both sides can count without waiting for each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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
    /// Given up because the VM that scheduled them was gone before it heard of their end.
    pub orphaned: u64,
    /// Results refused because too much waited for delivery; counted under `failed` as well.
    pub results_over_limit: u64,
    /// Workers given up because they did not return from C.
    pub workers_abandoned: u64,
    /// VMs replaced because their memory was full.
    pub vms_replaced: u64,
    /// Half of the jobs waited no longer.
    pub wait_p50: Duration,
    /// 99 of 100 jobs waited no longer.
    pub wait_p99: Duration,
    /// Half of the jobs ran no longer.
    pub run_p50: Duration,
    /// 99 of 100 jobs ran no longer.
    pub run_p99: Duration,
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
}

impl Pending {
    /// A job that a limit kept out.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Release);
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
    pub workers_abandoned: AtomicU64,
    /// Workers given up whose threads have not ended.
    pub workers_stuck: AtomicU64,
    pub vms_replaced: AtomicU64,
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
        ];
        let [orphaned, done, failed, timed_out, cancelled, evicted, refused] =
            counters.map(|counter| counter.load(Ordering::Acquire));
        let dropped = evicted + refused;
        let scheduled = pending.scheduled.load(Ordering::Acquire);
        let open = scheduled - (orphaned + done + failed + timed_out + cancelled + dropped);
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
            orphaned,
            results_over_limit: self.results_over_limit.load(Ordering::Relaxed),
            workers_abandoned: self.workers_abandoned.load(Ordering::Relaxed),
            vms_replaced: self.vms_replaced.load(Ordering::Relaxed),
            ..Summary::default()
        }
    }
}
