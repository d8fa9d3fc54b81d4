//! Very many jobs of all kinds, with options: every one of them is accounted for once.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod jobs_support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jobs_support::{Side, on_lua_thread, pool, pool_with, sum};
use millstream::job::{
    Backoff, Delivery, Ended, Handled, JobId, JobOptions, JobRequest, JobState, PoolOptions, Returns, Scheduler, Wait,
};
use millstream::lua::Portable;

/// Memory of a worker's VM: little, as some jobs fill it.
const MEMORY: usize = 6 << 20;

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn request(function: &Portable, token: u64, timeout: Option<Duration>) -> JobRequest {
    JobRequest { function: function.clone(), data: token.to_string().into_bytes(), token, timeout }
}

#[derive(Default)]
struct Seen {
    ends: HashMap<JobState, u64>,
    unexpected: Vec<String>,
    count: u64,
    last: HashMap<u64, JobId>,
}

impl Seen {
    fn take(&mut self, ended: &mut Vec<Ended>, scheduler: &Scheduler) {
        for job in ended.iter() {
            self.count += 1;
            *self.ends.entry(job.state()).or_default() += 1;
            let token = job.token();
            let expected: &[JobState] = match token % 1000 {
                0..100 => &[JobState::Failed],
                100..150 => &[JobState::TimedOut],
                150..160 => &[JobState::Failed],
                _ => &[JobState::Done],
            };
            if job.state() != JobState::Cancelled && !expected.contains(&job.state()) {
                self.unexpected.push(format!("{token} ended as {}", job.state().name()));
            }
            if token % 1000 < 50 && job.state() == JobState::Failed && job.attempts() != 2 {
                self.unexpected.push(format!("{token} was tried {} times", job.attempts()));
            }
            // Jobs of a key end in the order scheduled.
            if let (250..300, JobState::Done) = (token % 1000, job.state()) {
                let before = self.last.insert(token % 5, job.id());
                if before.is_some_and(|before| before > job.id()) {
                    self.unexpected.push(format!("{token} came before one of its key"));
                }
            }
        }
        scheduler.give_back(ended);
    }
}

fn mixed(total: u64, workers: i64) {
    let options = PoolOptions {
        max_jobs: 100_000,
        deadline: Duration::from_secs(20),
        max_bytes: 1 << 30,
        ..PoolOptions::new("plugin", workers)
    };
    let pool = pool_with(MEMORY, options);
    let mut side = Side::of(&pool, Delivery::AsFinished);
    let plain = Arc::new(side.portable("return function(d) return d end"));
    let value = side.portable("local t = { 1, { x = 2 } } return function() return t end");
    let failing = side.portable("return function(d) error(d) end");
    let endless = side.portable("return function() while true do end end");
    // Fills the memory of its worker's VM with what a collection cannot free: the VM is replaced.
    let killer = side.portable(
        "return function() held = held or {} while true do held[#held + 1] = ('x'):rep(300000) .. #held end end",
    );
    let (mut seen, mut ended, mut cancelled, mut accepted) = (Seen::default(), Vec::new(), 0, 0);
    let options = |change: &dyn Fn(&mut JobOptions)| {
        let mut options = JobOptions::default();
        change(&mut options);
        Some(Arc::new(options))
    };
    let before = resident();
    for n in 0..total {
        let s = &side.scheduler;
        let scheduled = match n % 1000 {
            0..50 => s.schedule_with(
                request(&failing, n, None),
                options(&|o| (o.retries, o.backoff) = (1, Backoff::Fixed(Duration::from_micros(200)))),
            ),
            50..100 => s.schedule_with(request(&failing, n, None), options(&|o| o.handled = Handled::Both)),
            100 if n % 20_000 == 100 => s.schedule(request(&endless, n, Some(Duration::from_millis(10)))),
            100..150 => s.schedule(request(&plain, n, Some(Duration::ZERO))),
            // One in a hundred, as each fills a VM: fewer where the build is slow.
            150..160 if n % 1000 == 150 || !cfg!(debug_assertions) => s.schedule(request(&killer, n, None)),
            150..160 => s.schedule(request(&failing, n, None)),
            200..250 => s.schedule_with(request(&value, n, None), options(&|o| o.returns = Returns::Any)),
            250..300 => s.schedule_with(
                request(&plain, n, None),
                options(&|o| o.key = Some(Box::from((n % 5).to_string().as_bytes()))),
            ),
            300..320 => s.schedule_with(request(&plain, n, None), options(&|o| o.priority = (n % 7) as i8 - 3)),
            _ => s.schedule_again(&plain, b"data", n),
        };
        let id = scheduled.unwrap();
        accepted += 1;
        if n % 100 == 99 {
            cancelled += u64::from(s.cancel_one(id));
        }
        if n % 256 == 255 {
            s.flush();
            s.poll_ended(1024, &mut ended);
            seen.take(&mut ended, s);
            while s.outstanding() > 20_000 && s.wait(&Wait::default()) {
                s.poll_ended(1024, &mut ended);
                seen.take(&mut ended, s);
            }
        }
        if n % (total / 20) == 0 {
            let summary = pool.summary();
            assert_eq!((summary.scheduled, sum(&summary)), (n + 1, n + 1), "{summary:?}");
        }
    }
    side.scheduler.settle_ended(&Wait::default(), &mut ended);
    seen.take(&mut ended, &side.scheduler);
    let summary = pool.summary();
    assert_eq!(seen.unexpected, Vec::<String>::new());
    assert_eq!((seen.count, summary.scheduled, sum(&summary)), (accepted, total, total));
    let ends = |state| seen.ends.get(&state).copied().unwrap_or_default();
    assert_eq!(
        [summary.done, summary.failed, summary.timed_out, summary.cancelled, summary.dropped],
        [JobState::Done, JobState::Failed, JobState::TimedOut, JobState::Cancelled, JobState::Dropped].map(ends),
    );
    assert_eq!((summary.queued, summary.running, summary.orphaned), (0, 0, 0));
    assert!(summary.cancelled >= cancelled && cancelled > 0, "{summary:?}");
    assert!(summary.vms_replaced > 0 && summary.retries > 0, "{summary:?}");
    assert_eq!((pool.pending(), side.scheduler.outstanding(), pool.jobs(10).len()), (0, 0, 0));
    let grown = resident().saturating_sub(before);
    assert!(grown < 512 << 20, "{} MiB more than before", grown >> 20);
}

#[test]
fn mixed_jobs_are_all_accounted_for() {
    on_lua_thread(|| {
        let total = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
        mixed(total, 1);
        mixed(total, 4);
    });
}

#[test]
fn a_queued_job_takes_less_than_400_bytes() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions { max_jobs: 200_000, ..PoolOptions::new("plugin", 1) });
        let mut side = Side::of(&pool, Delivery::InOrder);
        let plain = Arc::new(side.portable("return function(d) return d end"));
        let before = resident();
        for n in 0..100_000 {
            side.scheduler.schedule_again(&plain, b"", n).unwrap();
        }
        let each = resident().saturating_sub(before) / 100_000;
        assert!(each < 400, "{each} bytes a job");
        side.scheduler.cancel();
    });
}

#[test]
fn with_delivery_in_order_a_job_can_be_taken_back_until_it_is_handed_out() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let plain = Arc::new(side.portable("return function(d) return d end"));
        let id = side.scheduler.schedule_again(&plain, b"x", 1).unwrap();
        side.scheduler.flush();
        while pool.summary().done == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(side.scheduler.status(id).unwrap().state, JobState::Queued, "nobody has been told");
        assert!(side.scheduler.cancel_one(id));
        assert!(!side.scheduler.cancel_one(id));
        let mut ended = Vec::new();
        side.scheduler.settle_ended(&Wait::default(), &mut ended);
        assert_eq!((ended[0].state(), ended[0].result()), (JobState::Cancelled, None));
        let summary = pool.summary();
        assert_eq!((summary.done, summary.cancelled, sum(&summary)), (0, 1, 1));
    });
}
