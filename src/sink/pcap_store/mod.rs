//! The packet store: packets kept in rolling capture files, with an index by time, flow and host.
//!
//! The packet thread copies packets into parcels ([`StoreFeed`]); a thread of its own writes them. When its queue is full
//! the sender waits (files: the store is complete) or drops and counts (interfaces). Files are plain captures with
//! nanoseconds, one per link type at a time; the index beside each is an aid only: what it does not cover is read.
//! Knows packets and keys, nothing of flows' state or scripts. Invariants: a file that is not being written ends with a
//! whole packet; `offered = written + not stored`, the latter by reason.

mod config;
mod counts;
mod directory;
mod feed;
mod index;
mod mark;
mod query;
mod record;
mod segment;
mod writer;

pub use config::StoreConfig;
pub use counts::StoreCounts;
pub use directory::StoreError;
pub use feed::{Offer, StoreFeed};
pub use mark::{flow_mark, host_mark};
pub use query::{Selection, StoredPacket, StoredPackets, query};
pub use record::{CaptureWriter, RecordError};
pub use segment::{StoreDamage, StoreDamageReason};
pub use writer::PacketStore;
