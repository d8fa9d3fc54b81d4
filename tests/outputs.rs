//! Outputs for other programs: events, tables, lines, webhooks, syslog; and what happens when their readers misbehave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "outputs/calls.rs"]
mod calls;
#[path = "outputs/events.rs"]
mod events;
#[path = "outputs/interim.rs"]
mod interim;
#[path = "outputs/midstream.rs"]
mod midstream;
#[path = "outputs/run.rs"]
mod run;
#[path = "outputs/schema.rs"]
mod schema;
#[path = "outputs/stream.rs"]
mod stream;
#[path = "outputs/tables.rs"]
mod tables;
#[path = "outputs/targets.rs"]
mod targets;
#[path = "outputs/whence.rs"]
mod whence;
