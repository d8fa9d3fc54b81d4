//! Jobs in the memory of earlier ones, functions that are scheduled over and over, and a great many jobs of all kinds.

mod jobs_support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jobs_support::{Side, on_lua_thread, pool, sum};
use millstream::job::{Delivery, Ended, FileOp, JobRequest, JobState, Overflow, PoolOptions, Scheduler, Wait};
use millstream::lua::Portable;

#[test]
fn a_job_in_the_memory_of_another_has_nothing_of_it() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let echo = side.shared("return function(d) print(d) return d .. d end");
        let silent = side.shared("return function(d) end");
        let failing = side.shared("return function(d) error('no') end");
        let long = "x".repeat(10_000);
        let rounds = [(&echo, "abc"), (&silent, "longer than before"), (&failing, ""), (&echo, &long), (&echo, "")];
        let mut ids = HashSet::new();
        for (function, data) in rounds.into_iter().cycle().take(50) {
            let id = side.scheduler.schedule_again(function, data.as_bytes(), 7).unwrap();
            assert!(ids.insert(id.to_string()), "{id} was given twice");
            let mut ended = side.settle();
            assert_eq!(ended.len(), 1);
            let job = &mut ended[0];
            assert_eq!((job.id(), job.token(), job.data()), (id, 7, data.as_bytes()));
            let (output, cut) = job.take_output();
            if Arc::ptr_eq(function, &echo) {
                assert_eq!((job.state(), job.result()), (JobState::Done, Some(data.repeat(2).as_bytes())));
                assert_eq!((output.len(), cut), (1, 0));
            } else if Arc::ptr_eq(function, &silent) {
                assert_eq!((job.state(), job.result(), output.len()), (JobState::Done, None, 0));
            } else {
                assert_eq!((job.state(), job.result(), output.len()), (JobState::Failed, None, 0));
                assert!(job.take_error().unwrap().message.ends_with("no"));
            }
            side.scheduler.give_back(&mut ended);
        }
        let summary = pool.summary();
        assert_eq!((summary.done, summary.failed, summary.scheduled), (40, 10, 50));
        assert_eq!((pool.pending(), side.scheduler.outstanding()), (0, 0));
    });
}

#[test]
fn a_function_that_is_kept_begins_every_job_afresh() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let text = "return function(d)
            local seen = tostring(only_here)
            setfenv(1, setmetatable({ only_here = d }, { __index = _G }))
            return seen .. tostring(only_here)
          end";
        let function = side.shared(text);
        for n in 0..5 {
            let data = n.to_string();
            side.scheduler.schedule_again(&function, data.as_bytes(), 0).unwrap();
            let mut ended = side.settle();
            assert_eq!(ended[0].result(), Some(format!("nil{data}").as_bytes()));
            side.scheduler.give_back(&mut ended);
        }
    });
}

#[test]
fn many_different_functions_do_not_fill_the_worker() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let mut ended = Vec::new();
        for n in 0..2500 {
            let function = side.shared(&format!("return function(d) return d .. '{n}' end"));
            for _ in 0..2 {
                side.scheduler.schedule_again(&function, b"n=", n).unwrap();
            }
            if n % 100 == 99 {
                ended.append(&mut side.settle());
            }
        }
        assert_eq!(ended.len(), 5000);
        assert!(ended.iter().all(|job| job.result() == Some(format!("n={}", job.token()).as_bytes())));
        assert_eq!(pool.summary().vms_replaced, 0);
    });
}

#[test]
fn bounds_hold_for_jobs_in_reused_memory() {
    on_lua_thread(|| {
        let options = PoolOptions { max_jobs: 10, max_bytes: 100_000, ..PoolOptions::new("plugin", 1) };
        let pool = pool(options);
        let mut side = Side::of(&pool, Delivery::InOrder);
        let function = side.shared("return function(d) return d end");
        for _ in 0..3 {
            for n in 0..10 {
                side.scheduler.schedule_again(&function, b"small", n).unwrap();
            }
            let rejected = side.scheduler.schedule_again(&function, b"small", 10).unwrap_err();
            assert_eq!(rejected.overflow, Overflow::Jobs(10));
            let mut ended = side.settle();
            assert_eq!(ended.len(), 10);
            side.scheduler.give_back(&mut ended);
            let rejected = side.scheduler.schedule_again(&function, &[0; 100_000], 11).unwrap_err();
            assert_eq!(rejected.overflow, Overflow::Bytes(100_000));
        }
        let summary = pool.summary();
        assert_eq!((summary.done, summary.dropped, summary.scheduled), (30, 6, 36));
        assert_eq!(pool.pending(), 0);
    });
}

#[test]
fn a_job_with_a_deadline_of_its_own_does_not_hand_it_on() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let mut side = Side::of(&pool, Delivery::InOrder);
        let endless = side.portable("return function() while true do end end");
        let timeout = Some(Duration::from_millis(50));
        side.scheduler.schedule(JobRequest { function: endless, data: Vec::new(), token: 1, timeout }).unwrap();
        let mut ended = side.settle();
        assert_eq!(ended[0].state(), JobState::TimedOut);
        side.scheduler.give_back(&mut ended);
        let slow = "return function() local t = os.clock() while os.clock() - t < 0.2 do end return 'in time' end";
        let slow = side.shared(slow);
        side.scheduler.schedule_again(&slow, b"", 2).unwrap();
        let ended = side.settle();
        assert_eq!((ended[0].state(), ended[0].result()), (JobState::Done, Some(&b"in time"[..])));
    });
}

/// Every kind of job and every way to end, mixed: all are accounted for, at every moment and in the end.
#[test]
fn a_million_mixed_jobs_add_up() {
    on_lua_thread(|| {
        let total: u64 = if cfg!(debug_assertions) { 60_000 } else { 1_000_000 };
        for workers in [1, 3] {
            let options = PoolOptions {
                max_jobs: 5_000,
                deadline: Duration::from_millis(200),
                ..PoolOptions::new("plugin", workers)
            };
            let pool = pool(options);
            let mut side = Side::of(&pool, Delivery::AsFinished);
            let plain = side.shared("return function(d) return d end");
            let nothing = side.shared("return function(d) end");
            let failing = side.shared("return function(d) error(d) end");
            let printing = side.shared("return function(d) print(d) return 1 end");
            let captured = side.portable("local t = { 'x', { y = 2 } } return function(d) return t[1] .. d end");
            let endless = side.portable("return function() while true do end end");
            let file = tempfile::tempdir().unwrap().path().join("missing").join("file");
            let (mut accepted, mut dropped, mut handed_out, mut cancelled) = (0_u64, 0_u64, 0_u64, 0_u64);
            let (mut ids, mut ended) = (HashSet::new(), Vec::new());
            let mut take = |ended: &mut Vec<Ended>, scheduler: &Scheduler| {
                for job in ended.iter() {
                    assert!(ids.insert(job.id()), "{} ended twice", job.id());
                    let result = match (job.token() % 1000, job.state()) {
                        (_, JobState::Cancelled) => None,
                        (0..400, _) => Some(job.data().to_vec()),
                        (700..800, _) => Some(b"1".to_vec()),
                        (800..900, _) => Some([b"x", job.data()].concat()),
                        _ => None,
                    };
                    assert_eq!(job.result().map(<[u8]>::to_vec), result, "{} of {}", job.state().name(), job.token());
                }
                handed_out += ended.len() as u64;
                scheduler.give_back(ended);
            };
            for n in 0..total {
                let data = n.to_string();
                let request = |function: &Portable, timeout| JobRequest {
                    function: function.clone(),
                    data: data.clone().into_bytes(),
                    token: n,
                    timeout,
                };
                let scheduled = match n % 1000 {
                    0..400 => side.scheduler.schedule_again(&plain, data.as_bytes(), n),
                    400..600 => side.scheduler.schedule_again(&nothing, data.as_bytes(), n),
                    600..700 => side.scheduler.schedule_again(&failing, data.as_bytes(), n),
                    700..800 => side.scheduler.schedule_again(&printing, data.as_bytes(), n),
                    800..900 => side.scheduler.schedule(request(&captured, None)),
                    // Rare, as each takes its time.
                    999 if n % 50_000 == 999 => {
                        side.scheduler.schedule(request(&endless, Some(Duration::from_millis(20))))
                    }
                    _ => side.scheduler.schedule_file(FileOp::Remove { path: file.clone() }, n),
                };
                match scheduled {
                    Ok(_) => accepted += 1,
                    Err(_) => dropped += 1,
                }
                if n % 256 == 255 {
                    side.scheduler.flush();
                    side.scheduler.poll_ended(1024, &mut ended);
                    take(&mut ended, &side.scheduler);
                    // Not so fast that most are dropped.
                    while side.scheduler.outstanding() > 4_000 && side.scheduler.wait(&Wait::default()) {
                        side.scheduler.poll_ended(1024, &mut ended);
                        take(&mut ended, &side.scheduler);
                    }
                }
                if n % (total / 7) == total / 7 - 1 {
                    cancelled += side.scheduler.cancel() as u64;
                }
                if n % (total / 50) == 0 {
                    let summary = pool.summary();
                    assert_eq!((summary.scheduled, sum(&summary)), (n + 1, n + 1));
                }
            }
            side.scheduler.settle_ended(&Wait::default(), &mut ended);
            take(&mut ended, &side.scheduler);
            let summary = pool.summary();
            assert_eq!(handed_out, accepted, "{workers} workers");
            assert_eq!((summary.scheduled, summary.dropped), (total, dropped));
            assert_eq!((sum(&summary), summary.queued, summary.running), (total, 0, 0));
            assert_eq!((summary.cancelled, summary.orphaned), (cancelled, 0));
            assert!(summary.done > 0 && summary.failed > 0, "{summary:?}");
            assert_eq!((pool.pending(), side.scheduler.outstanding()), (0, 0));
        }
    });
}
