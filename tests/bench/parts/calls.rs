//! The way into a VM, and what a VM costs.

use std::time::Duration;

use millstream::lua::{Budget, Health};
use millstream::time::Stopwatch;

use crate::{NO_LIMIT, Outcome, clock, figure, function, nanos, vm};

const ROUNDS: u32 = 100_000;
const LONG: Budget = Budget { limit: Some(Duration::from_secs(20)), slow: None };
const SHORT: Duration = Duration::from_millis(50);
const INTERRUPTIONS: usize = 41;

/// Work went another way than what is measured.
fn astray(what: &str) -> Outcome {
    Err(what.into())
}

pub fn run() -> Outcome {
    let vm = vm()?;
    let empty = vm.load(b"", "@bench.lua")?;
    let number = vm.load(b"return ...", "@bench.lua")?;
    let text = function(&vm, "return function(d) end")?;
    let fails = vm.load(b"error('x')", "@bench.lua")?;
    figure("calls/empty", nanos(ROUNDS, || Ok(vm.call(&empty, (), LONG)?))?, "ns")?;
    figure("calls/no-budget", nanos(ROUNDS, || Ok(vm.call(&empty, (), NO_LIMIT)?))?, "ns")?;
    figure("calls/not-guarded", nanos(ROUNDS, || Ok(empty.call(())?))?, "ns")?;
    let echoed = nanos(ROUNDS, || match vm.call::<f64>(&number, 1.0, LONG)? {
        1.0 => Ok(()),
        _ => astray("another number came back"),
    })?;
    figure("calls/number", echoed, "ns")?;
    figure("calls/text", nanos(ROUNDS, || Ok(vm.call(&text, "x", NO_LIMIT)?))?, "ns")?;
    let failed = nanos(ROUNDS / 10, || match vm.call::<()>(&fails, (), LONG) {
        Err(_) => Ok(()),
        Ok(()) => astray("an error was lost"),
    })?;
    figure("calls/error", failed, "ns")?;
    let tidied = nanos(ROUNDS, || match vm.tidy() {
        Health::Good => Ok(()),
        _ => astray("the VM needs more than that"),
    })?;
    figure("calls/tidy", tidied, "ns")?;
    let made = nanos(200, || {
        drop(crate::vm()?);
        Ok(())
    })?;
    figure("calls/new-vm", made, "ns")?;
    figure("calls/new-vm-memory", crate::vm()?.used_memory() as f64, "bytes")?;
    Ok(())
}

/// How much later than its budget a function ends that would not.
pub fn interruptions() -> Outcome {
    let vm = vm()?;
    for (name, source) in
        [("loop", "while true do end"), ("loop-of-pcall", "while true do pcall(function() while true do end end) end")]
    {
        let endless = vm.load(source.as_bytes(), "@bench.lua")?;
        let mut late = Vec::new();
        for _ in 0..INTERRUPTIONS {
            let watch = Stopwatch::start();
            let ended = vm.call::<()>(&endless, (), Budget { limit: Some(SHORT), slow: None });
            late.push(watch.elapsed().saturating_sub(SHORT).as_secs_f64() * 1e6);
            if ended.is_ok() {
                return astray("an endless loop ended");
            }
        }
        let latest = late.iter().copied().fold(0.0, f64::max);
        figure(&format!("interruptions/{name}"), clock::median(late), "us late")?;
        figure(&format!("interruptions/{name}/latest"), latest, "us late")?;
    }
    Ok(())
}
