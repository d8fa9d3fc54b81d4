//! Latency of jobs, from `schedule` to `onresult`, one in flight at a time.
//!
//! In this process and not in the millstream program, because there a packet loop decides when completions are looked
//! for; what is measured is the way of a job itself: packing the function, handing it over, running it in the worker's VM,
//! and calling `onresult` in the VM that scheduled it.
//!
//! `bench-jobs ROUNDS GAP_US` prints `p10_us=… p50_us=… p99_us=… max_us=…`. The thread sleeps for the gap between two jobs.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use millstream::job::{Delivery, JobIds, JobRequest, Pool, PoolOptions, Scheduler, VmFactory, Wait};
use millstream::lua::{Budget, Packer, PluginError, Vm, VmOptions, spawn_lua_thread};
use millstream::time::Stopwatch;

const NO_LIMIT: Budget = Budget { limit: None, slow: None };

fn vm() -> Result<Vm, PluginError> {
    Vm::new(&VmOptions { name: "bench-jobs".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() })
}

fn latencies(rounds: usize, gap: Duration) -> Result<Vec<Duration>, PluginError> {
    let factory: VmFactory = Arc::new(|_| vm());
    let pool = Pool::new(PoolOptions::new("bench-jobs", 1), factory);
    let vm = vm()?;
    let mut packer = Packer::new(vm.lua())?;
    let scheduler = Scheduler::new(&pool, &JobIds::new(0), Delivery::AsFinished);
    let source = vm.load(b"return function() return '' end, function(data, result) end", "=bench")?;
    let (onexecute, onresult): (mlua::Function, mlua::Function) = vm.call(&source, (), NO_LIMIT)?;
    let (mut times, mut completions) = (Vec::with_capacity(rounds), Vec::new());
    // One more, which starts the worker.
    for round in 0..=rounds {
        if !gap.is_zero() {
            std::thread::sleep(gap);
        }
        let begin = Stopwatch::start();
        let packed = packer.pack(vm.lua(), &onexecute).expect("the function has no upvalues");
        let request = JobRequest { function: packed.portable, data: Vec::new(), token: 0, timeout: None };
        scheduler.schedule(request).expect("nothing else is pending");
        assert!(scheduler.wait(&Wait::default()), "no deadline is set");
        scheduler.poll(1, &mut completions);
        for completion in completions.drain(..) {
            let result = completion.result.unwrap_or_default();
            vm.call::<()>(
                &onresult,
                (vm.lua().create_string(&completion.data)?, vm.lua().create_string(result)?),
                NO_LIMIT,
            )?;
        }
        if round > 0 {
            times.push(begin.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (Some(Ok(rounds)), Some(Ok(gap)), None) = (args.next(), args.next(), args.next()) else {
        return Err(io::Error::other("usage: bench-jobs ROUNDS GAP_US"));
    };
    let rounds = rounds.max(1) as usize;
    let thread = spawn_lua_thread("bench-jobs", move || latencies(rounds, Duration::from_micros(gap)))?;
    let times = thread.join().map_err(|_| io::Error::other("the measuring thread died"))?.map_err(io::Error::other)?;
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    writeln!(io::stdout(), "p10_us={:.2} p50_us={:.2} p99_us={:.2} max_us={:.2}", at(10), at(50), at(99), at(100))
}
