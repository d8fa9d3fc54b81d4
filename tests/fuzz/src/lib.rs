//! The targets as a library, for the thin programs of `bin/`.

#[path = "../targets.rs"]
pub mod targets;
