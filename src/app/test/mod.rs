//! `millstream test`: the tests that lie beside plugins.
//!
//! A case is a capture and what a run is told; what comes out is written as text that people can read and compare, the
//! snapshot. [`cases`] finds them, [`case`] reads one, [`conduct`] runs it the way `run` does, [`snapshot`] makes text of its
//! events, [`tape`] keeps the answers of jobs, [`verdict`] shows what differs. Cases run side by side on threads of their
//! own, each with its own engine, VMs and workers; they share the current directory, which is that of their plugins.

mod case;
mod cases;
mod command;
mod conduct;
mod quoted;
mod snapshot;
mod tape;
mod verdict;

pub use command::test;
