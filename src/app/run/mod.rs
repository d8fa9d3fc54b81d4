//! `millstream run`: from arguments to threads to report.
//!
//! `start.rs` settles what is run and on what, `inputs.rs` opens where packets come from, `outputs.rs` holds everything that
//! results go to, `others.rs` what is for other programs, `threads.rs` the packet threads, the backend and the input filter, and
//! `execute.rs` puts these in order from the first to the last. Whatever a run writes is opened and closed in `outputs.rs`
//! alone; `apart.rs` sees to it that no two of these are one file. What can be asked of a run while it goes on is in `life.rs`,
//! what about its jobs in `jobs.rs` and `letters.rs`, what functions of its plugins can be called in `calls.rs`. `unfed.rs`
//! tells of scripts that wait for something that is switched off, `directories.rs` makes those that scripts count on.

mod apart;
mod calls;
mod directories;
mod execute;
mod inputs;
mod jobs;
mod ledger;
mod letters;
mod life;
mod others;
mod outputs;
mod pressure;
mod start;
mod threads;
mod unfed;

pub use life::Life;
pub use others::takes_standard_output;
pub use start::{join, perform, probe, run};
pub use threads::gather;
