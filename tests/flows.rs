//! Flows: which packets belong together, what their TCP connections did, when they end, what scripts say of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "flow/closing.rs"]
mod closing;
mod flow_support;
#[path = "flow/fragments.rs"]
mod fragments;
#[path = "flow/handshake.rs"]
mod handshake;
#[path = "flow/script.rs"]
mod script;
#[path = "flow/streams.rs"]
mod streams;
#[path = "flow/table.rs"]
mod table;
