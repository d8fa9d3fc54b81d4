//! Native metering of the built-in counter groups.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;
mod e2e;
#[path = "support/frames.rs"]
#[allow(dead_code, reason = "every test binary uses its own part of it")]
mod frames;

#[path = "builtin/captures.rs"]
mod captures;
#[path = "builtin/contents.rs"]
mod contents;
#[path = "builtin/groups.rs"]
mod groups;
#[path = "builtin/harness.rs"]
mod harness;
#[path = "builtin/tshark.rs"]
mod tshark;
