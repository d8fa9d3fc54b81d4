//! Latency of jobs, from `schedule` to `onresult`, one in flight at a time.
//!
//! In this process and not in the millstream program, because there a packet loop decides when completions are looked
//! for; what is measured is the way of a job itself: packing the function, handing it over, running it in the worker's VM,
//! and calling `onresult` in the VM that scheduled it.
//!
//! `bench-jobs ROUNDS GAP_US` prints `p10_us=… p50_us=… p99_us=… max_us=…`. The thread sleeps for the gap between two jobs.
//!
//! `bench-jobs block ROUNDS` measures the way of an atomic section instead, as the worker sees it: packing the function,
//! asking an owner that waits for its jobs, running it there, and the value it returns being made in the worker's VM.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream::job::{
    Carried, Delivery, JobIds, JobRequest, Pool, PoolOptions, Scheduler, SectionError, VmFactory, Wait, WorkerContext,
};
use millstream::lua::{Budget, Loader, Packer, PluginError, Vm, VmOptions, spawn_lua_thread};
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

/// A function of another VM as one of this VM.
fn loaded(
    loader: &RefCell<Loader>,
    vm: &mlua::Lua,
    function: &millstream::lua::Portable,
) -> mlua::Result<mlua::Function> {
    let call = |resolve: &mlua::Function, arguments: mlua::MultiValue| Ok(resolve.call::<()>(arguments)?);
    loader.borrow_mut().load(vm, function, call).map_err(mlua::Error::external)
}

/// A worker's VM with a function `block`, as scripts have `T.block`, that notes how long it takes.
fn blocking(worker: &WorkerContext, times: &Arc<Mutex<Vec<Duration>>>) -> Result<Vm, PluginError> {
    let (vm, owner, times) = (vm()?, worker.owner.clone(), Arc::clone(times));
    let (packer, loader) = (RefCell::new(Packer::new(vm.lua())?), RefCell::new(Loader::new(vm.lua())?));
    let block = vm.lua().create_function(move |lua, function: mlua::Function| {
        let begin = Stopwatch::start();
        let packed = packer.borrow_mut().pack(lua, &function).map_err(mlua::Error::external)?;
        let carried = owner.enter(packed.portable).map_err(mlua::Error::external)?;
        if let Carried::Value(results) = carried {
            loaded(&loader, lua, &results)?.call::<f64>(())?;
        }
        times.lock().unwrap_or_else(PoisonError::into_inner).push(begin.elapsed());
        Ok(())
    })?;
    vm.lua().globals().set("block", block)?;
    Ok(vm)
}

fn sections(rounds: usize) -> Result<Vec<Duration>, PluginError> {
    let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let noted = Arc::clone(&times);
    let factory: VmFactory = Arc::new(move |worker| blocking(worker, &noted));
    let pool = Pool::new(PoolOptions::new("bench-jobs", 1), factory);
    let vm = vm()?;
    let mut packer = Packer::new(vm.lua())?;
    let loader = RefCell::new(Loader::new(vm.lua())?);
    let scheduler = Scheduler::new(&pool, &JobIds::new(0), Delivery::AsFinished);
    let text = format!("return function() for i = 1, {rounds} do block(function() return i + 1 end) end end");
    let results = vm.load(b"return function(value) return function() return value end end", "=bench")?;
    let results: mlua::Function = vm.call(&results, (), NO_LIMIT)?;
    let function = vm.load(text.as_bytes(), "=bench")?;
    let function: mlua::Function = vm.call(&function, (), NO_LIMIT)?;
    let packed = packer.pack(vm.lua(), &function).expect("the function captures nothing");
    let request = JobRequest { function: packed.portable, data: Vec::new(), token: 0, timeout: None };
    scheduler.schedule(request).expect("nothing else is pending");
    let mut done = Vec::new();
    while done.is_empty() {
        assert!(scheduler.wait(&Wait::default()), "no deadline is set");
        while let Some(section) = scheduler.take_section() {
            if section.begin() {
                let function = loaded(&loader, vm.lua(), section.function())?;
                let value: mlua::Value = vm.call(&function, (), NO_LIMIT)?;
                let carrier: mlua::Function = vm.call(&results, value, NO_LIMIT)?;
                let packed = packer.pack(vm.lua(), &carrier);
                let packed = packed.map_err(|error| SectionError::Failed(error.to_string()));
                section.finish(packed.map(|packed| Carried::Value(Box::new(packed.portable))));
            }
        }
        scheduler.poll(1, &mut done);
    }
    let mut times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(times.len(), rounds, "{:?}", done.first().map(|job| &job.error));
    times.sort_unstable();
    Ok(times)
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let blocks = args.next_if(|arg| arg == "block").is_some();
    let mut args = args.map(|arg| arg.parse::<u64>());
    if blocks {
        let Some(Ok(rounds)) = args.next() else { return Err(io::Error::other("usage: bench-jobs block ROUNDS")) };
        return tell(spawn_lua_thread("bench-jobs", move || sections(rounds.max(1) as usize))?);
    }
    let (Some(Ok(rounds)), Some(Ok(gap)), None) = (args.next(), args.next(), args.next()) else {
        return Err(io::Error::other("usage: bench-jobs ROUNDS GAP_US"));
    };
    let rounds = rounds.max(1) as usize;
    tell(spawn_lua_thread("bench-jobs", move || latencies(rounds, Duration::from_micros(gap)))?)
}

fn tell(thread: std::thread::JoinHandle<Result<Vec<Duration>, PluginError>>) -> io::Result<()> {
    let times = thread.join().map_err(|_| io::Error::other("the measuring thread died"))?.map_err(io::Error::other)?;
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    writeln!(io::stdout(), "p10_us={:.2} p50_us={:.2} p99_us={:.2} max_us={:.2}", at(10), at(50), at(99), at(100))
}
