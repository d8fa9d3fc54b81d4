//! How jobs end that something happens to on their way: no room on the disk, an owner that goes while a worker waits for it,
//! two that complete the same execution, an end of the run in every state.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod jobs_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobs_support::{Side, on_lua_thread, pool, sum};
use millstream::job::{
    Attached, Backoff, Carried, Delivery, Ended, JobOptions, JobRequest, JobState, Luggage, Overflow, Party, Pool,
    PoolOptions, PutJob, Section, SpillAnswer, SpillPace, SpillRefused, SpillReturns, SpillStore, Verdict, VmFactory,
    Wait, WhenCrowded,
};
use millstream::lua::{Packer, Portable, Vm, VmOptions};

/// A disk in memory, which may be slow, full or damaged.
#[derive(Debug, Default)]
struct Disk {
    kept: Mutex<BTreeMap<u64, Vec<u8>>>,
    returns: Mutex<Option<Arc<SpillReturns>>>,
    is_slow: AtomicBool,
    is_full: AtomicBool,
    is_damaged: AtomicBool,
    released: AtomicBool,
}

impl SpillStore for Disk {
    fn attach(&self, _: &str, _: &str, returns: Arc<SpillReturns>) -> Result<Attached, String> {
        *self.returns.lock().unwrap() = Some(returns);
        Ok(Attached::default())
    }

    fn put(&self, _: u64, job: PutJob, pace: SpillPace) -> Result<u64, SpillRefused> {
        if self.is_slow.load(Ordering::Relaxed) && pace == SpillPace::Never {
            return Err(SpillRefused::Slow);
        }
        let mut kept = self.kept.lock().unwrap();
        let place = kept.last_key_value().map_or(1, |(place, _)| place + 1);
        kept.insert(place, job.bytes);
        if self.is_full.load(Ordering::Relaxed) {
            let returns = self.returns.lock().unwrap();
            returns.as_ref().unwrap().give(place, SpillAnswer::Unwritten("no space left".to_owned()));
        }
        Ok(place)
    }

    fn fetch(&self, _: u64, places: Vec<u64>) {
        let returns = self.returns.lock().unwrap().clone().unwrap();
        for place in places {
            let mut bytes = self.kept.lock().unwrap().remove(&place).unwrap();
            if self.is_damaged.load(Ordering::Relaxed) {
                bytes[9] ^= 1;
            }
            returns.give(place, SpillAnswer::Job(bytes));
        }
    }

    fn discard(&self, place: u64) {
        self.kept.lock().unwrap().remove(&place);
    }

    fn release(&self, _: u64) {
        self.released.store(true, Ordering::Relaxed);
    }
}

fn spilling(delivery: Delivery, most: usize) -> (Arc<Disk>, Pool, Side) {
    let disk = Arc::new(Disk::default());
    let store: Arc<dyn SpillStore> = Arc::clone(&disk) as _;
    let pool = pool(PoolOptions { spill: Some(store), ..PoolOptions::new("plugin", 1) });
    let side = Side::of(&pool, delivery);
    side.scheduler.spill_to_disk("block", 7, 1 << 20).unwrap();
    side.scheduler.set_limit(most, WhenCrowded::Spill);
    (disk, pool, side)
}

fn request(function: &Portable, token: u64) -> JobRequest {
    JobRequest { function: function.clone(), data: b"x".to_vec(), token, timeout: None }
}

/// Schedules a job; what it takes along lets it survive its owner.
fn schedule(side: &Side, function: &Portable, token: u64) -> Result<millstream::job::JobId, Overflow> {
    let luggage = || Luggage { callbacks: Some(Box::new(function.clone())) };
    side.scheduler.schedule_or_spill(request(function, token), None, luggage).map_err(|rejected| rejected.overflow)
}

fn all(side: &Side) -> Vec<Ended> {
    let mut ended = Vec::new();
    while side.scheduler.outstanding() > 0 {
        side.scheduler.settle_ended(&Wait { limit: Some(Duration::from_secs(60)), cancel: None }, &mut ended);
    }
    ended
}

fn states(ended: &[Ended]) -> BTreeMap<&'static str, usize> {
    let mut states = BTreeMap::new();
    ended.iter().for_each(|job| *states.entry(job.state().name()).or_default() += 1);
    states
}

#[test]
fn jobs_come_back_from_the_disk_in_order_with_either_delivery() {
    for delivery in [Delivery::InOrder, Delivery::AsFinished] {
        on_lua_thread(move || {
            let (disk, pool, mut side) = spilling(delivery, 5);
            let echo = side.portable("return function(d) return d end");
            for n in 0..100 {
                schedule(&side, &echo, n).unwrap();
                let summary = pool.summary();
                assert_eq!((sum(&summary), summary.scheduled), (n + 1, n + 1));
            }
            assert_eq!((side.scheduler.on_disk(), pool.summary().spill.on_disk, pool.pending()), (95, 95, 100));
            let tokens: Vec<u64> = all(&side).iter().map(Ended::token).collect();
            assert_eq!(tokens, (0..100).collect::<Vec<_>>());
            let summary = pool.summary();
            assert_eq!((summary.done, summary.spill.on_disk, summary.spill.ever), (100, 0, 95));
            assert_eq!((pool.pending(), disk.kept.lock().unwrap().len()), (0, 0));
        });
    }
}

#[test]
fn a_disk_that_is_slow_full_or_damaged_costs_the_jobs_it_does_not_take_and_no_other() {
    on_lua_thread(|| {
        let (disk, pool, mut side) = spilling(Delivery::AsFinished, 2);
        let echo = side.portable("return function(d) os.execute('sleep 0.02') return d end");
        (0..2).for_each(|n| _ = schedule(&side, &echo, n).unwrap());
        disk.is_slow.store(true, Ordering::Relaxed);
        assert_eq!(schedule(&side, &echo, 2).unwrap_err(), Overflow::DiskSlow);
        disk.is_slow.store(false, Ordering::Relaxed);
        disk.is_full.store(true, Ordering::Relaxed);
        // It is taken, and does not reach the disk: that is told later.
        (3..6).for_each(|n| _ = schedule(&side, &echo, n).unwrap());
        disk.is_full.store(false, Ordering::Relaxed);
        schedule(&side, &echo, 6).unwrap();
        assert_eq!(schedule(&side, &of_a_megabyte(&side_vm()), 7).unwrap_err(), Overflow::Disk(1 << 20));
        let ended = all(&side);
        assert_eq!(states(&ended), BTreeMap::from([("done", 3), ("dropped", 3)]));
        disk.is_damaged.store(true, Ordering::Relaxed);
        (8..12).for_each(|n| _ = schedule(&side, &echo, n).unwrap());
        let mut ended = all(&side);
        assert_eq!(states(&ended), BTreeMap::from([("done", 2), ("failed", 2)]));
        let lost = ended.iter_mut().find(|job| job.state() == JobState::Failed).unwrap();
        assert!(lost.take_error().unwrap().message.contains("cannot be read back from the disk"));
        let summary = pool.summary();
        assert_eq!((summary.scheduled, sum(&summary), summary.dropped), (12, 12, 5));
        let spill = summary.spill;
        assert_eq!((spill.full, spill.slow, spill.failed, spill.unreadable), (1, 1, 3, 2));
        assert_eq!((pool.pending(), side.scheduler.outstanding()), (0, 0));
    });
}

fn side_vm() -> Vm {
    Vm::new(&VmOptions { name: "plugin.lua".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() }).unwrap()
}

fn of_a_megabyte(vm: &Vm) -> Portable {
    let function = vm.lua().load("local x = ('x'):rep(1048576) return function() return x end");
    let function: mlua::Function = function.call(()).unwrap();
    Packer::new(vm.lua()).unwrap().pack(vm.lua(), &function).unwrap().portable
}

#[test]
fn the_end_of_a_run_ends_what_has_begun_and_leaves_the_rest_on_the_disk() {
    on_lua_thread(|| {
        let (disk, pool, mut side) = spilling(Delivery::InOrder, 3);
        let slow = side.portable("return function(d) os.execute('sleep 5') return d end");
        (0..10).for_each(|n| _ = schedule(&side, &slow, n).unwrap());
        let stays = Luggage { callbacks: None };
        side.scheduler.schedule_or_spill(request(&slow, 10), None, || stays).unwrap();
        assert_eq!(side.scheduler.cancel(), 4, "three in memory, and the one that does not survive");
        let mut ended = Vec::new();
        side.scheduler.settle_ended(&Wait::default(), &mut ended);
        assert_eq!(states(&ended), BTreeMap::from([("cancelled", 4)]));
        let summary = pool.summary();
        assert_eq!((summary.spill.kept, summary.cancelled, summary.scheduled), (7, 4, 11));
        assert_eq!((summary.queued, summary.running, side.scheduler.outstanding()), (0, 0, 0));
        assert_eq!(disk.kept.lock().unwrap().len(), 7);
        drop(side);
        assert!(disk.released.load(Ordering::Relaxed));
    });
}

#[test]
fn an_owner_that_goes_leaves_nothing_open_whatever_state_its_jobs_are_in() {
    on_lua_thread(|| {
        let (_disk, pool, mut side) = spilling(Delivery::AsFinished, 6);
        let slow = side.portable("return function(d) os.execute('sleep 0.3') return d end");
        let failing = side.portable("return function() error('no') end");
        let options =
            JobOptions { retries: 9, backoff: Backoff::Fixed(Duration::from_secs(60)), ..JobOptions::default() };
        // One that waits for its next attempt, one that runs, one that waits, one that is deferred.
        side.scheduler.schedule_with(request(&failing, 0), Some(Arc::new(options))).unwrap();
        (1..4).for_each(|n| _ = side.scheduler.schedule(request(&slow, n)).unwrap());
        side.scheduler.flush();
        let deferred = side.scheduler.open().unwrap();
        while pool.summary().running == 0 || pool.summary().retries == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Some that were not handed over, and some on the disk.
        (4..12).for_each(|n| _ = schedule(&side, &slow, n).unwrap());
        assert!(side.scheduler.on_disk() > 0);
        drop(side);
        while pool.summary().running > 0 || pool.summary().queued > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let summary = pool.summary();
        assert_eq!((ends(&summary), summary.scheduled, pool.pending()), (13, 13, 0), "{summary:?}");
        assert!(!pool.board().complete(deferred, Party::Elsewhere, Verdict::Abort));
    });
}

/// Jobs that have come to an end.
fn ends(summary: &millstream::job::Summary) -> u64 {
    sum(summary) - summary.queued - summary.running + summary.orphaned + summary.spill.kept
}

#[test]
fn an_execution_that_two_threads_complete_is_completed_by_one() {
    on_lua_thread(|| {
        let pool = pool(PoolOptions::new("plugin", 1));
        let side = Side::of(&pool, Delivery::AsFinished);
        for _ in 0..2000 {
            let id = side.scheduler.open().unwrap();
            let board = pool.board();
            let gate = std::sync::Barrier::new(2);
            let complete = |verdict| {
                gate.wait();
                board.complete(id, Party::Elsewhere, verdict)
            };
            let won = std::thread::scope(|scope| {
                let other = scope.spawn(|| complete(Verdict::Reject(b"no".to_vec())));
                [complete(Verdict::Resolve(Carried::Text(b"yes".to_vec()))), other.join().unwrap()]
            });
            assert!(won[0] != won[1], "{won:?}");
            let letters = side.scheduler.take_mail(millstream::job::Settling::Yes);
            assert_eq!(letters.len(), 1);
            assert_eq!(matches!(letters[0].verdict, Verdict::Resolve(_)), won[0]);
            side.scheduler.close(if won[0] { JobState::Done } else { JobState::Failed });
        }
        assert_eq!((pool.pending(), sum(&pool.summary())), (0, 2000));
    });
}

/// A pool whose workers have a function `block`, as scripts have `T.block`.
fn blocking(workers: i64) -> Pool {
    let factory: VmFactory = Arc::new(|worker| {
        let vm = side_vm();
        let owner = worker.owner.clone();
        let packer = std::cell::RefCell::new(Packer::new(vm.lua())?);
        let block = vm.lua().create_function(move |lua, function: mlua::Function| {
            let packed = packer.borrow_mut().pack(lua, &function).map_err(mlua::Error::external)?;
            Ok(match owner.enter(packed.portable) {
                Ok(_) => "entered".to_owned(),
                Err(error) => error.to_string(),
            })
        })?;
        vm.lua().globals().set("block", block)?;
        Ok(vm)
    });
    Pool::new(PoolOptions::new("plugin", workers), factory)
}

#[test]
fn a_worker_that_waits_for_an_owner_that_goes_is_told_so() {
    on_lua_thread(|| {
        let pool = blocking(1);
        let mut side = Side::of(&pool, Delivery::AsFinished);
        let text = "return function(d)
            local why = block(function() return 1 end)
            local file = io.open(d, 'w') file:write(why) file:close()
          end";
        let waits = side.portable(text);
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let data = told.to_str().unwrap().as_bytes().to_vec();
        side.scheduler.schedule(JobRequest { function: waits, data, token: 0, timeout: None }).unwrap();
        side.scheduler.flush();
        while !side.scheduler.is_asked() {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(side);
        while !std::fs::read(&told).is_ok_and(|text| !text.is_empty()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "the plugin was reloaded or removed");
        while pool.summary().orphaned == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let summary = pool.summary();
        assert_eq!((summary.scheduled, summary.orphaned, summary.running), (1, 1, 0));
    });
}

#[test]
fn a_run_that_ends_while_workers_wait_for_its_owner_refuses_them_all() {
    on_lua_thread(|| {
        let pool = blocking(8);
        let mut side = Side::of(&pool, Delivery::InOrder);
        let waits = side.portable("return function() return block(function() return 1 end) end");
        (0..8).for_each(|n| _ = side.scheduler.schedule(request(&waits, n)).unwrap());
        side.scheduler.flush();
        let first: Arc<Section> = loop {
            if let Some(section) = side.scheduler.take_section() {
                break section;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(first.begin());
        while pool.summary().running < 8 {
            std::thread::sleep(Duration::from_millis(1));
        }
        side.scheduler.refuse_sections();
        first.finish(Ok(Carried::Nothing));
        let ended = side.settle();
        let results: Vec<&str> = ended.iter().map(|job| std::str::from_utf8(job.result().unwrap()).unwrap()).collect();
        assert_eq!(results.iter().filter(|text| **text == "entered").count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|text| text.contains("shutting down")).count(), 7, "{results:?}");
    });
}
