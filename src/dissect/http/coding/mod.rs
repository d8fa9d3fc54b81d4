//! Content and transfer codings: gzip, deflate, Brotli and Zstandard, taken off as a stream.
//!
//! Knows bytes only. What a decoder makes is bounded by what it was given, what all decoders of a thread hold together
//! is bounded too, and input that is not what it claims to be ends in a [`chain::Fault`], never in a panic.

mod budget;
mod chain;
mod decoder;
mod gzip;
mod list;

pub(super) use chain::Chain;
pub(super) use list::{Coding, Codings};
