//! Pipelines of scripts (`T.gears`): steps against a naive twin, and events, workers and the store through the built program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "gears/control.rs"]
mod control;
mod e2e;
#[path = "gears/events.rs"]
mod events;
#[path = "gears/faults.rs"]
mod faults;
#[path = "gears/rows.rs"]
mod rows;
#[path = "gears/steps.rs"]
mod steps;
mod support;

use std::path::{Path, PathBuf};

/// A capture of the project.
pub fn pcap(name: &str) -> String {
    project().join("pcaps").join(name).display().to_string()
}

/// Where the project lies.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The plugin table in front of what a test registers.
pub fn plugin(text: &str) -> String {
    format!("TrisulPlugin = {{ id = {{ name = 'p' }} }}\n{text}")
}

/// Prints at the end what the board says of each pipeline.
pub const TELL: &str = "
TrisulPlugin.onunload = function()
  for _, p in ipairs(T.gears:list()) do
    local line = { p.name, p.state, p.executions, p.skipped, p.over_limit, p.windows }
    for _, s in ipairs(p.steps) do line[#line + 1] = s.step .. ':' .. s.taken .. '>' .. s.given .. (s.errors > 0 and '!' .. s.errors or '') end
    print(table.concat(line, ' '))
    for _, e in ipairs(p.errors) do print('error', e.step, e.message, e.count) end
  end
end";
