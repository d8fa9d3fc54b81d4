//! Plugin files that change while a run goes on.
//!
//! A thread of its own looks at the files twice a second, waits until they are quiet, probes what has changed and sends it
//! to the threads that run it, one script at a time. What the packet threads do for it is in [`crate::plugin`] (`exchange`)
//! and [`crate::pipeline`] (`reload`). Knows nothing of packets. Invariant: the scripts that run are those of the catalogue
//! it holds, on every thread; where a version fails on one thread, the others go back as well.

mod orphans;
mod reloader;
mod roster;
mod threads;
mod watched;

pub use orphans::tell_orphans;
pub use reloader::{Lineup, ReloadCounts, Reloader, Watching};
