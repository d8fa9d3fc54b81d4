//! The store: counters by bucket, flows, alerts, resources, documents, edges and labels in an SQLite file, and the
//! questions that are asked of it.
//!
//! Packet threads collect typed rows ([`StoreSender`]); a thread of its own writes them, one transaction a flush. When its
//! queue is full the sender waits (files) or drops and counts (interfaces). Readers open the file for themselves and hold
//! nobody up. Knows metrics, nothing of packets, flows' state or scripts. Invariants: what a window says was flushed is in
//! the file, whatever ends the process; `rows offered = written + lost`, the latter by reason; one writer a file.
//! `README.md` describes the tables.

mod begin;
mod buckets;
mod bulk;
mod checkpoints;
mod counts;
mod documents;
mod keys;
mod lists;
mod open;
mod options;
mod ordered;
mod pipelines;
pub mod query;
mod records;
mod recover;
mod retention;
mod rollup;
mod row;
mod runs;
mod salvage;
mod schema;
mod sender;
mod statements;
mod sums;
mod values;
mod whole_pages;
mod writer;

pub use counts::StoreTally;
pub use open::{StoreOpenError, default_store, latest_store, store_file};
pub use options::{Durability, StoreOptions};
pub use pipelines::{keep_pipeline_state, pipeline_states};
pub use recover::{RecoverError, recover};
pub use row::{FlowOf, RunEnd, StoredJob, StoredJobEnd, StoredTopper};
pub use salvage::Salvaged;
pub use schema::VERSION;
pub use sender::StoreSender;
pub use writer::{Reserved, Store};
