//! Settings of a run from a file, the environment and the command line.
//!
//! Every option of `run` has a key of the same meaning: `schema.rs` derives the keys from the options, so that a new option
//! has its key, its variable and its place in the sample at once. `file.rs` reads TOML and says where what is wrong,
//! `environment.rs` reads variables, `layers.rs` decides who wins and turns the outcome into arguments, which go the way of
//! typed ones. No file is read that nobody named. Knows nothing of what the options do.

mod command;
mod environment;
mod fault;
mod file;
mod layers;
mod sample;
mod schema;

pub use command::command;
pub use layers::{Effective, complete};
pub use sample::sample;
pub use schema::Schema;
