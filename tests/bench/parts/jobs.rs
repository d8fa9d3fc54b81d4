//! Jobs between a thread that schedules them and its workers.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millstream::job::{Delivery, JobIds, JobRequest, Pool, PoolOptions, Scheduler, VmFactory};
use millstream::lua::{Packer, Vm};
use millstream::time::Stopwatch;
use mlua::Function;

use crate::{Failure, NO_LIMIT, Outcome, clock, each, figure, function, vm};

const EMPTY: &str = "return function(d) end";
const ECHO: &str = "return function(d) return d end";
const CAPTURING: &str = "local p = 'n=' return function(d) return p .. d end";

/// A thread's end of a pool.
struct Side {
    vm: Vm,
    packer: Packer,
    scheduler: Scheduler,
    onexecute: Function,
    onresult: Function,
}

impl Side {
    fn of(pool: &Pool, text: &str) -> Result<Self, Failure> {
        let vm = vm()?;
        let packer = Packer::new(vm.lua())?;
        let scheduler = Scheduler::new(pool, &JobIds::new(0), Delivery::AsFinished);
        let onexecute = function(&vm, text)?;
        let onresult = function(&vm, "return function(d, r) end")?;
        Ok(Self { vm, packer, scheduler, onexecute, onresult })
    }

    fn schedule(&mut self, token: u64) -> Outcome {
        let function = self.packer.pack(self.vm.lua(), &self.onexecute)?.portable;
        let request = JobRequest { function, data: b"data".to_vec(), token, timeout: None };
        self.scheduler.schedule(request).map_err(|_| "a job found no room")?;
        Ok(())
    }

    fn call_onresult(&self) -> Outcome {
        Ok(self.vm.call(&self.onresult, (), NO_LIMIT)?)
    }
}

fn pool(workers: i64) -> Pool {
    let factory: VmFactory = Arc::new(|_| vm());
    Pool::new(PoolOptions::new("bench", workers), factory)
}

/// Jobs a second, and processor time of the scheduling thread for each.
pub fn throughput() -> Outcome {
    const WARM_UP: u64 = 100_000;
    const TOTAL: u64 = 1_100_000;
    const RUNS: usize = 3;
    for (workers, name, text) in
        [(1, "empty", EMPTY), (1, "echo", ECHO), (1, "capturing", CAPTURING), (2, "echo", ECHO), (4, "echo", ECHO)]
    {
        let (mut rates, mut shares, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let pool = pool(workers);
            let mut side = Side::of(&pool, text)?;
            let mut completions = Vec::new();
            let (mut done, mut scheduled, mut warm) = (0, 0, 0);
            let (mut begin, mut busy) = (Stopwatch::start(), clock::thread_cpu());
            while done < TOTAL {
                if done < WARM_UP {
                    (begin, busy, warm) = (Stopwatch::start(), clock::thread_cpu(), done);
                }
                for _ in 0..256 {
                    if scheduled < TOTAL && scheduled - done < 50_000 {
                        side.schedule(scheduled)?;
                        scheduled += 1;
                    }
                }
                side.scheduler.flush();
                side.scheduler.poll(1024, &mut completions);
                for completion in completions.drain(..) {
                    done += 1;
                    if completion.result.is_some() {
                        side.call_onresult()?;
                    }
                }
            }
            rates.push((TOTAL - warm) as f64 / begin.elapsed().as_secs_f64());
            shares.push(each(clock::thread_cpu() - busy, TOTAL - warm));
            runs.push(pool.summary().runs.p50.as_secs_f64() * 1e6);
        }
        let name = format!("throughput/{workers}-workers/{name}");
        figure(&name, clock::median(rates), "jobs/s")?;
        figure(&format!("{name}/scheduling-thread"), clock::median(shares), "ns/job")?;
        figure(&format!("{name}/run-p50"), clock::median(runs), "us")?;
    }
    Ok(())
}

/// What each side spends on a job: the side that spends more bounds the throughput of two processors.
pub fn cost() -> Outcome {
    const JOBS: u64 = 50_000;
    const ROUNDS: u64 = 21;
    for (name, text) in [("empty", EMPTY), ("capturing", CAPTURING)] {
        let pool = pool(1);
        let mut side = Side::of(&pool, text)?;
        let mut spent = [const { Vec::new() }; 4];
        // The first round warms up.
        for round in 0..=ROUNDS {
            let (begin, busy) = (clock::thread_cpu(), workers_cpu());
            for n in 0..JOBS {
                side.schedule(n)?;
            }
            side.scheduler.flush();
            let scheduled = clock::thread_cpu();
            while pool.summary().done < (round + 1) * JOBS {
                thread::sleep(Duration::from_millis(1));
            }
            let (waited, mut completions) = (clock::thread_cpu(), Vec::with_capacity(JOBS as usize));
            side.scheduler.poll(usize::MAX, &mut completions);
            completions.drain(..).for_each(drop);
            let handed_out = clock::thread_cpu();
            for _ in 0..JOBS {
                side.call_onresult()?;
            }
            if round > 0 {
                let called = clock::thread_cpu();
                let times = [scheduled - begin, handed_out - waited, called - handed_out, workers_cpu() - busy];
                spent.iter_mut().zip(times).for_each(|(spent, time)| spent.push(each(time, JOBS)));
            }
        }
        for (what, times) in ["schedule", "hand-out", "onresult", "worker"].iter().zip(spent) {
            figure(&format!("job-cost/{name}/{what}"), clock::median(times), "ns/job")?;
        }
    }
    Ok(())
}

/// Processor time of all worker threads.
fn workers_cpu() -> Duration {
    let threads = std::fs::read_dir(Path::new("/proc/self/task")).into_iter().flatten().flatten();
    let is_worker = |path: &Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with("job0"));
    threads.map(|thread| thread.path()).filter(|path| is_worker(path)).map(|path| clock::on_cpu(&path)).sum()
}
