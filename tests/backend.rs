//! The backend, statement by statement of the contract, through the built program.

#[path = "backend/backends.rs"]
mod backends;
#[path = "backend/counters.rs"]
mod counters;
#[path = "backend/cycle.rs"]
mod cycle;
#[path = "backend/engines.rs"]
mod engines;
#[path = "backend/faults.rs"]
mod faults;
#[path = "backend/flows.rs"]
mod flows;
#[path = "backend/items.rs"]
mod items;
#[path = "backend/mates.rs"]
mod mates;
#[path = "backend/plugins.rs"]
mod plugins;
#[path = "backend/rows.rs"]
mod rows;
mod support;

use support::{Bench, Capture, GROUP, IPV4, Outcome, frames};

/// Packets of the given sizes at the given seconds.
fn sized(packets: &[(u32, usize)]) -> Capture {
    packets.iter().fold(Capture::new(), |capture, &(secs, size)| capture.at(secs, frames::sized(size)))
}

/// A plugin with one block.
fn block(name: &str, body: &str) -> String {
    format!("TrisulPlugin = {{ id = {{ name = 't' }}, {name} = {{ {body} }} }}\n")
}

/// A plugin that counts a key of [`GROUP`] for every packet; `body` runs with `engine`, `layer` and `n`.
fn counting(bench: Bench, body: &str) -> Bench {
    bench.group().counter("b-count.lua", IPV4, &format!("local G = '{GROUP}'"), body)
}

/// Runs a block beside a script that does `body` at every packet.
fn beside(name: &str, monitor: &str, body: &str, capture: &Capture) -> Outcome {
    counting(Bench::new(), body).plugin("c-monitor.lua", &block(name, monitor)).run(capture)
}
