//! Tables as CSV files (RFC 4180): counters, flows, alerts, resources and documents, as the flush left them.
//!
//! The thread that flushes hands rows over ([`CsvSender`]); a thread of its own formats and writes them. Knows metrics and
//! keys. Invariants: a row is whole or not there; rows taken in = written + lost.

mod row;
mod sender;
mod table;
mod writer;

pub use sender::CsvSender;
pub use writer::{Csv, CsvEnd, CsvHandle};
