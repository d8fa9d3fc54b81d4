//! Parts of millstream by themselves, in this process: `bench-parts [CASE]...`, all cases without arguments.
//!
//! `metering` is what the built-in groups cost per packet. `closures` packs functions and loads them elsewhere. `throughput`
//! and `job-cost` are jobs without a packet loop. `packet-store` feeds packets to the store of packets. `calls` enters VMs
//! and makes them, `interruptions` ends functions that never return. Prints lines `name=value unit`. Times of one thread are
//! processor time; rates and what is late are by the wall. All but counts, sizes and the latest are medians.

mod clock;
#[path = "../support/frames.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod frames;

#[path = "parts/calls.rs"]
mod calls;
#[path = "parts/closures.rs"]
mod closures;
#[path = "parts/jobs.rs"]
mod jobs;
#[path = "parts/metering.rs"]
mod metering;
#[path = "parts/packet_store.rs"]
mod packet_store;

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use millstream::lua::{Budget, PluginError, Vm, VmOptions, spawn_lua_thread};

type Failure = Box<dyn Error + Send + Sync>;
type Outcome = Result<(), Failure>;
type Case = fn() -> Outcome;

const NO_LIMIT: Budget = Budget { limit: None, slow: None };
/// How often each time is taken.
const REPEATS: usize = 7;

const CASES: [(&str, Case); 7] = [
    ("metering", metering::run),
    ("closures", closures::run),
    ("throughput", jobs::throughput),
    ("job-cost", jobs::cost),
    ("packet-store", packet_store::run),
    ("calls", calls::run),
    ("interruptions", calls::interruptions),
];

/// Prints a figure.
fn figure(name: &str, value: f64, unit: &str) -> io::Result<()> {
    let digits = if value < 1_000.0 { 1 } else { 0 };
    writeln!(io::stdout(), "{name}={value:.digits$} {unit}")
}

/// Nanoseconds of processor time that a piece of work takes.
fn nanos(rounds: u32, mut work: impl FnMut() -> Outcome) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let begin = clock::thread_cpu();
        for _ in 0..rounds {
            work()?;
        }
        times.push(each(clock::thread_cpu() - begin, u64::from(rounds)));
    }
    Ok(clock::median(times))
}

/// Nanoseconds each of so many took.
fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

fn vm() -> Result<Vm, PluginError> {
    Vm::new(&VmOptions { name: "bench".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() })
}

/// What a text returns, which is a function.
fn function(vm: &Vm, text: &str) -> Result<mlua::Function, PluginError> {
    vm.call(&vm.load(text.as_bytes(), "@bench.lua")?, (), NO_LIMIT)
}

fn main() -> Outcome {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = chosen.iter().find(|name| CASES.iter().all(|(case, _)| case != name)) {
        return Err(format!("bench-parts: no case {unknown}").into());
    }
    for (name, run) in CASES {
        if chosen.is_empty() || chosen.iter().any(|other| other == name) {
            spawn_lua_thread(name, run)?.join().map_err(|_| "the measuring thread died")??;
        }
    }
    Ok(())
}
