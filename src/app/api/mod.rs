//! `millstream api`: the reference of the plugin API, on the terminal and as pages.

mod command;
mod guids;

pub use command::api;
