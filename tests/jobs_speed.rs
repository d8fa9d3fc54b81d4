//! How fast jobs are. Not run by default: `cargo test --release --test jobs_speed -- --ignored --nocapture --test-threads=1`.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millstream::job::{Delivery, JobIds, JobRequest, Pool, PoolOptions, Scheduler, VmFactory, Wait};
use millstream::lua::{Budget, Loader, Packer, Vm, VmOptions, spawn_lua_thread};
use millstream::time::Stopwatch;
use mlua::Function;

const NO_LIMIT: Budget = Budget { limit: None, slow: None };
const ROUNDS: u32 = 200_000;

fn vm() -> Vm {
    Vm::new(&VmOptions { name: "plugin.lua".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() }).unwrap()
}

fn pool(workers: i64) -> Pool {
    let factory: VmFactory = Arc::new(|_| Ok(vm()));
    Pool::new(PoolOptions::new("speed", workers), factory)
}

fn on_lua_thread(test: impl FnOnce() + Send + 'static) {
    spawn_lua_thread("test", test).unwrap().join().unwrap();
}

fn function(vm: &Vm, text: &str) -> Function {
    vm.call(&vm.load(text.as_bytes(), "@p.lua").unwrap(), (), NO_LIMIT).unwrap()
}

/// Time this thread has been on a processor, so that other load does not count.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn per_round(begin: Duration) -> f64 {
    (cpu() - begin).as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

#[test]
#[ignore = "measures"]
fn packing_and_loading() {
    on_lua_thread(|| {
        let (here, there) = (vm(), vm());
        let (mut packer, mut loader) = (Packer::new(here.lua()).unwrap(), Loader::new(there.lua()).unwrap());
        for (name, text) in [
            ("no upvalue", "return function(d) return d end"),
            ("a string", "local p = '/some/path' return function(d) return p end"),
            ("three values", "local a, b, c = 'x', 2, true return function(d) return a, b, c end"),
            ("a library", "local f = string.format return function(d) return f(d) end"),
            ("a helper", "local function h(x) return x end return function(d) return h(d) end"),
            ("a small table", "local t = { a = 1, b = 'x', 3 } return function(d) return t.a end"),
            ("a table of 100", "local t = {} for i = 1, 100 do t[i] = i end return function(d) return t[1] end"),
        ] {
            let f = function(&here, text);
            let begin = cpu();
            for _ in 0..ROUNDS {
                black_box(packer.pack(here.lua(), &f).unwrap());
            }
            let pack = per_round(begin);
            let packed = packer.pack(here.lua(), &f).unwrap();
            let begin = cpu();
            for _ in 0..ROUNDS {
                black_box(loader.load(there.lua(), &packed.portable, |f, a| there.call(f, a, NO_LIMIT)).unwrap());
            }
            eprintln!("{name}: pack {pack:.0} ns, load {:.0} ns", per_round(begin));
        }
        let f = function(&there, "return function(d) end");
        let begin = cpu();
        for _ in 0..ROUNDS {
            let () = there.call(&f, "x", NO_LIMIT).unwrap();
        }
        eprintln!("guarded call: {:.0} ns", per_round(begin));
    });
}

#[test]
#[ignore = "measures"]
fn throughput() {
    on_lua_thread(|| {
        for (workers, text) in [
            (1, "return function(d) end"),
            (1, "return function(d) return d end"),
            (1, "local p = 'n=' return function(d) return p .. d end"),
            (2, "return function(d) return d end"),
            (4, "return function(d) return d end"),
        ] {
            let pool = pool(workers);
            let vm = vm();
            let mut packer = Packer::new(vm.lua()).unwrap();
            let scheduler = Scheduler::new(&pool, &JobIds::new(0), Delivery::AsFinished);
            let f = function(&vm, text);
            let onresult = function(&vm, "return function(d, r) end");
            let mut completions = Vec::new();
            let (mut done, mut scheduled) = (0_u64, 0_u64);
            let (mut begin, mut busy) = (Stopwatch::start(), cpu());
            let total = 3_000_000;
            while done < total {
                if done < 100_000 {
                    (begin, busy) = (Stopwatch::start(), cpu());
                }
                for _ in 0..256 {
                    if scheduled < total && scheduled - done < 50_000 {
                        let packed = packer.pack(vm.lua(), &f).unwrap();
                        let request = JobRequest {
                            function: packed.portable,
                            data: b"data".to_vec(),
                            token: scheduled,
                            timeout: None,
                        };
                        scheduler.schedule(request).unwrap();
                        scheduled += 1;
                    }
                }
                scheduler.flush();
                scheduler.poll(1024, &mut completions);
                for completion in completions.drain(..) {
                    done += 1;
                    if completion.result.is_some() {
                        let () = vm.call(&onresult, (), NO_LIMIT).unwrap();
                    }
                }
            }
            let (rate, share) =
                ((total - 100_000) as f64 / begin.elapsed().as_secs_f64(), (cpu() - busy).as_secs_f64());
            let share = share * 1e9 / (total - 100_000) as f64;
            let summary = pool.summary();
            eprintln!(
                "{workers} workers, {text}: {rate:.0} jobs/s, scheduling thread {share:.0} ns a job, run p50 {:?}",
                summary.runs.p50
            );
        }
    });
}

/// What each side spends on a job, measured in processor time and so little disturbed by other load: the side that spends
/// more bounds the throughput of two processors.
#[test]
#[ignore = "measures"]
fn cost_of_a_job() {
    on_lua_thread(|| {
        for text in ["return function(d) end", "local p = 'n=' return function(d) return p .. d end"] {
            let (pool, vm) = (pool(1), vm());
            let mut packer = Packer::new(vm.lua()).unwrap();
            let scheduler = Scheduler::new(&pool, &JobIds::new(0), Delivery::AsFinished);
            let f = function(&vm, text);
            let onresult = function(&vm, "return function(d, r) end");
            let (mut schedule, mut hand_out, mut call, mut worker) =
                (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
            let (rounds, jobs) = (20, 50_000);
            for round in 0..=rounds {
                let (begin, busy) = (cpu(), worker_cpu());
                for n in 0..jobs {
                    let packed = packer.pack(vm.lua(), &f).unwrap();
                    let request =
                        JobRequest { function: packed.portable, data: b"data".to_vec(), token: n, timeout: None };
                    scheduler.schedule(request).unwrap();
                }
                scheduler.flush();
                let scheduled = cpu();
                while pool.summary().done < (round + 1) * jobs {
                    thread::sleep(Duration::from_millis(1));
                }
                let (waited, mut completions) = (cpu(), Vec::with_capacity(jobs as usize));
                scheduler.poll(usize::MAX, &mut completions);
                completions.drain(..).for_each(drop);
                let handed_out = cpu();
                for _ in 0..jobs {
                    let () = vm.call(&onresult, (), NO_LIMIT).unwrap();
                }
                // The first round warms up.
                if round > 0 {
                    schedule += scheduled - begin;
                    hand_out += handed_out - waited;
                    call += cpu() - handed_out;
                    worker += worker_cpu() - busy;
                }
            }
            let each = |time: Duration| time.as_secs_f64() * 1e9 / (rounds * jobs) as f64;
            eprintln!(
                "{text}: pack and schedule {:.0} ns, hand out {:.0} ns, call of onresult {:.0} ns, worker {:.0} ns",
                each(schedule),
                each(hand_out),
                each(call),
                each(worker),
            );
        }
    });
}

/// Processor time of all worker threads.
fn worker_cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|thread| thread.path());
    let workers =
        threads.filter(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with("job0")));
    let times = workers.filter_map(|path| std::fs::read_to_string(path.join("schedstat")).ok());
    Duration::from_nanos(times.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

#[test]
#[ignore = "measures"]
fn latency() {
    on_lua_thread(|| {
        for gap in [Duration::ZERO, Duration::from_millis(1)] {
            let pool = pool(1);
            let vm = vm();
            let mut packer = Packer::new(vm.lua()).unwrap();
            let scheduler = Scheduler::new(&pool, &JobIds::new(0), Delivery::AsFinished);
            let f = function(&vm, "return function(d) return d end");
            let mut completions = Vec::new();
            let rounds = if gap.is_zero() { 200_000 } else { 3000 };
            let mut times: Vec<Duration> = (0..rounds)
                .map(|_| {
                    thread::sleep(gap);
                    let begin = Stopwatch::start();
                    let packed = packer.pack(vm.lua(), &f).unwrap();
                    let request =
                        JobRequest { function: packed.portable, data: b"data".to_vec(), token: 0, timeout: None };
                    scheduler.schedule(request).unwrap();
                    assert!(scheduler.wait(&Wait::default()));
                    scheduler.poll(1, &mut completions);
                    completions.clear();
                    begin.elapsed()
                })
                .collect();
            times.sort();
            eprintln!(
                "gap {gap:?}: p10 {:?}, p50 {:?}, p99 {:?}, max {:?}",
                times[rounds / 10],
                times[rounds / 2],
                times[rounds * 99 / 100],
                times[rounds - 1]
            );
        }
    });
}
