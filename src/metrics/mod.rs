//! Metrics and records: what plugins and native modules count, raise and note down.
//!
//! Owns the definitions of groups, the counters of one engine thread ([`Shard`]), and bounded ledgers of everything else.
//! Has never heard of packets or Lua. A shard is used by one thread and shared with nobody; closed buckets leave it as
//! [`Snapshot`]s, and shards are merged when a bucket or the run ends.
//!
//! Invariants: stream time never goes back; for every group `seen = kept + pruned` keys; totals are exact whatever is
//! pruned; no input makes memory grow beyond the limits of [`ShardConfig`].

mod accumulator;
mod alert;
mod away;
mod builtin;
mod builtin_labels;
mod builtin_meters;
mod cell;
mod document;
mod edge;
mod flow_attribute;
mod flow_record;
mod flush;
mod group;
mod label;
mod layout;
mod ledger;
mod message;
mod owners;
mod packed;
mod records;
mod registry;
#[cfg(test)]
pub mod rehearsal;
mod resource;
mod second;
mod session;
mod shard;
mod sighting;
mod snapshot;
mod table;
mod tally;
mod text;
mod topper;
mod topper_track;
mod totals;
mod vartype;

pub use accumulator::KeyCounts;
pub use alert::{Alert, AlertKind, IdsFields};
pub use away::Updates;
pub use cell::{Generation, SumCell};
pub use document::Document;
pub use edge::{Edge, EdgeCounts, EdgeLedger, EdgeOutcome, flow_edges};
pub use flow_attribute::FlowAttribute;
pub use flow_record::{CountedDirection, FlowRecord, FlowStatement};
pub use flush::{FlushSink, FlushedKey, FlushedTopper, Stored, TrackedFlow};
pub use group::{
    Column, CounterGroupDefinition, DEFAULT_BUCKETSIZE, DEFAULT_TOPPER_BUCKETSIZE, Group, GroupIndex, GroupKind, Level,
    Meter, Notice,
};
pub use label::{Change, KeyLabel, KeyNotes};
pub use layout::MAX_METERS;
pub use ledger::{Ledger, Texts};
pub use message::{Message, MessageTarget};
pub use owners::{OwnPart, Owners};
pub use packed::{GROUP_TOTALS, LONGEST_INLINE, MAX_KEY_LEN, OVERFLOW_KEY};
pub use records::{DEFAULT_KEPT, Records};
pub use registry::Registry;
pub use resource::Resource;
pub use second::{Attention, SecondKeys};
pub use session::{MAX_TAGS, Session, add_tag};
pub use shard::{Buckets, Growth, KeyRef, Outcome, Shard, ShardConfig, ShardCounts, Tallies};
pub use sighting::{Extent, FlowFacts, FlowSoFar, HttpBodyEnd, Seen, SeenFile, Sighting, Span};
pub use snapshot::{RawMeter, Snapshot, Verdict};
pub use tally::Tally;
pub use text::{MAX_TEXT_BYTES, cut_text};
pub use topper::{Rank, Topper};
pub use topper_track::{Ranked, TopperTrack};
pub use totals::{GroupTotals, RunTotals};
pub use vartype::Vartype;
