//! Jobs that are taken back: all of a scheduler, one among many, those of a VM that goes.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use millstream::job::{Delivery, FileOp, JobIds, JobState, Pool, Wait};
use millstream::time::Stopwatch;

use super::{Side, adds_up, contents, factory, on_lua_thread, options, result, wait_until};

#[test]
fn cancelling_ends_everything_at_once() {
    on_lua_thread(|| {
        let pool = Pool::new(options(2), factory());
        let mut side = Side::of(&pool, &JobIds::new(0), Delivery::AsFinished);
        side.schedule_many("return function(d) os.execute('sleep 30') end", 100);
        wait_until("two jobs run", || pool.summary().running == 2);
        let begin = Stopwatch::start();
        let flag = AtomicBool::new(true);
        let mut cancelled = 0;
        let drained = side.scheduler.drain(&Wait { limit: None, cancel: Some(&flag) }, |completion| {
            assert_eq!(completion.state, JobState::Cancelled);
            cancelled += 1;
        });
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert_eq!((drained.cancelled, drained.delivered, cancelled), (100, 100, 100));
        assert_eq!((pool.summary().cancelled, side.scheduler.pending()), (100, 0));
        // The workers are free again soon, as their commands were ended.
        assert_eq!(result(&side.run("return function(d) return d end", "alive")), "alive");
        adds_up(&pool);
    });
}

#[test]
fn each_of_many_waiting_jobs_is_taken_back_by_itself_wherever_it_stands() {
    on_lua_thread(|| {
        let pool = Pool::new(options(1), factory());
        // Jobs of two engines by turns, so that their numbers do not rise along the queue.
        let mut sides = [0, 1].map(|engine| Side::of(&pool, &JobIds::new(engine), Delivery::AsFinished));
        let slow = sides.each_ref().map(|side| side.function("return function(d) os.execute('sleep 30') end"));
        let request = sides[0].request(&slow[0], "");
        sides[0].scheduler.schedule(request).unwrap();
        let mut ids = Vec::new();
        for n in 0..200 {
            let side = &mut sides[n % 2];
            let request = side.request(&slow[n % 2], "");
            ids.push(side.scheduler.schedule(request).unwrap());
            // The first go to the worker with the one that runs, the others wait in the queue.
            if n >= 20 {
                side.scheduler.flush();
            }
            if n == 20 {
                wait_until("a job runs", || pool.summary().running == 1);
            }
        }
        for at in (0..200).map(|n| n * 73 % 200) {
            assert!(sides[at % 2].scheduler.cancel_one(ids[at]), "{at}");
            assert!(!sides[at % 2].scheduler.cancel_one(ids[at]), "{at}");
        }
        let summary = pool.summary();
        assert_eq!((summary.cancelled, summary.queued, summary.running), (200, 0, 1));
        sides.iter().for_each(|side| _ = side.scheduler.cancel());
        adds_up(&pool);
    });
}

#[test]
fn when_the_scheduling_vm_goes_its_jobs_are_taken_back() {
    on_lua_thread(|| {
        let pool = Pool::new(options(1), factory());
        let mut side = Side::of(&pool, &JobIds::new(0), Delivery::AsFinished);
        side.schedule_many("return function(d) os.execute('sleep 0.2') return d end", 10);
        wait_until("one runs", || pool.summary().running == 1);
        drop(side);
        wait_until("the running one has finished", || pool.summary().orphaned == 10);
        wait_until("nothing is pending", || pool.pending() == 0);
        let summary = pool.summary();
        assert_eq!((summary.done, summary.cancelled, summary.orphaned), (0, 0, 10));
        adds_up(&pool);
    });
}

#[test]
fn cancelled_file_operations_make_room_for_those_behind() {
    on_lua_thread(|| {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::new(options(1), factory());
        let ids = JobIds::new(0);
        let mut first = Side::of(&pool, &ids, Delivery::InOrder);
        let second = Side::of(&pool, &ids, Delivery::InOrder);
        let write = |text: &str| FileOp::CopyBuffer { bytes: text.into(), path: dir.path().join("f"), position: None };
        first.schedule("return function() os.execute('sleep 0.3') end", "");
        first.scheduler.flush();
        wait_until("it runs", || pool.summary().running == 1);
        first.scheduler.schedule_file(write("never"), 0).unwrap();
        first.scheduler.flush();
        second.scheduler.schedule_file(write("written"), 0).unwrap();
        second.scheduler.flush();
        assert_eq!(first.scheduler.cancel(), 2);
        assert_eq!(second.settle()[0].state, JobState::Done);
        assert_eq!(contents(&dir.path().join("f")), "written");
        adds_up(&pool);
    });
}
