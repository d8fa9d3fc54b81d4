//! Bounds of what the jobs of one plugin take, and those of all plugins together.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod jobs_support;

use std::sync::Arc;
use std::time::Duration;

use jobs_support::{Side, on_lua_thread, pool};
use millstream::job::{Allowance, Delivery, Ended, JobLimits, JobOptions, JobRequest, JobState, PoolOptions, Returns};

fn request(side: &mut Side, text: &str, data: &str) -> JobRequest {
    JobRequest { function: side.portable(text), data: data.as_bytes().to_vec(), token: 0, timeout: None }
}

fn text(ended: &Ended) -> &str {
    std::str::from_utf8(ended.result().unwrap()).unwrap()
}

#[test]
fn all_plugins_together_have_no_more_workers_than_they_may_and_each_has_one() {
    on_lua_thread(|| {
        let limits = JobLimits { all_workers: Allowance::of(4), workers: 3, ..JobLimits::default() };
        let mut sides = Vec::new();
        for name in ["a", "b", "c"] {
            let pool = pool(PoolOptions::within(name, 10, &limits));
            let mut side = Side::of(&pool, Delivery::InOrder);
            let job = request(&mut side, "return function(d) return d end", name);
            side.scheduler.schedule(job).unwrap();
            side.scheduler.flush();
            sides.push((pool, side));
        }
        // Three, one of the four that is left, and the one that each has.
        assert_eq!(limits.all_workers.taken(), 5);
        for (_, side) in &sides {
            assert_eq!(side.settle()[0].state(), JobState::Done);
        }
        drop(sides);
        while limits.all_workers.taken() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn commands_beyond_the_bound_are_refused_and_those_that_have_ended_make_room() {
    on_lua_thread(|| {
        let limits = JobLimits { children: 2, ..JobLimits::default() };
        let pool = pool(PoolOptions::within("plugin", 1, &limits));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let three = "return function()
            local a, b = io.popen('sleep 9'), io.popen('sleep 9')
            local c, why = io.popen('sleep 9')
            return tostring(c) .. ' ' .. tostring(why) .. ' ' .. os.execute('true')
          end";
        let many = "return function() local n = 0 for i = 1, 10 do n = n + os.execute('exit 0') end return n end";
        for job in [three, many] {
            let job = request(&mut side, job, "");
            side.scheduler.schedule(job).unwrap();
        }
        let ended = side.settle();
        assert!(text(&ended[0]).starts_with("nil") && text(&ended[0]).ends_with("-1"), "{}", text(&ended[0]));
        assert!(text(&ended[0]).contains("--job-children"), "{}", text(&ended[0]));
        assert_eq!(text(&ended[1]), "0", "one after the other");
        assert_eq!(limits.all_children.taken(), 0, "all ended with their jobs");
    });
}

#[test]
fn a_result_that_is_too_large_is_told_by_its_size_and_counted_by_its_reason() {
    on_lua_thread(|| {
        let limits = JobLimits { result: 1000, ..JobLimits::default() };
        let pool = pool(PoolOptions::within("plugin", 1, &limits));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let long = request(&mut side, "return function() return ('x'):rep(1001) end", "");
        side.scheduler.schedule(long).unwrap();
        let table = request(&mut side, "return function() return { ('x'):rep(1001) } end", "");
        let any = JobOptions { returns: Returns::Any, ..JobOptions::default() };
        side.scheduler.schedule_with(table, Some(Arc::new(any))).unwrap();
        let fits = request(&mut side, "return function() return ('x'):rep(1000) end", "");
        side.scheduler.schedule(fits).unwrap();
        let mut ended = side.settle();
        for job in &mut ended[..2] {
            let why = job.take_error().unwrap().message;
            assert!(why.contains("exceeds the limit of 1000"), "{why}");
        }
        assert_eq!(text(&ended[2]).len(), 1000);
        let summary = pool.summary();
        assert_eq!((summary.failed, summary.result_too_large, summary.done), (2, 2, 1));
        assert_eq!((summary.waits.count, summary.runs.count), (3, 3));
        assert!(summary.runs.p50 <= summary.runs.p90 && summary.runs.p90 <= summary.runs.p99);
        assert!(summary.runs.p99 <= summary.runs.max && !summary.runs.max.is_zero());
    });
}
