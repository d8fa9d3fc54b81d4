//! Native metering: the counter groups that millstream counts itself.
//!
//! Owns one small module per group or family of groups; each runs over a whole stretch of packets. Takes packets with their
//! layers, what the flow stage says of them, and facts that were found in flows as plain values; knows nothing of scripts,
//! dissectors or outputs. Runs on the engine thread and counts in its shard.
//!
//! Invariants: no allocation and no text per packet in steady state; what a group counts does not depend on how packets
//! fall into batches; every running total that goes up when a flow begins goes down by the same when it ends, under the
//! same key.

mod aggregates;
mod alerts;
mod apps;
mod combiner;
mod contents;
mod fact;
mod flow_counters;
mod hosts;
mod icmp;
mod labels;
mod layers;
mod macs;
mod meta;
mod module;
mod places;
mod select;
mod sight;
mod stage;
mod survey;
mod vlan;

pub use fact::{Fact, FactKind, FactWants, RaisedAlert};
pub use flow_counters::{CounterCommand, CounterTable, CounterTarget, CounterWhat, FlowCounters};
pub use labels::FoundLabel;
pub use select::{BuiltinSettings, Selection, UnknownBuiltin};
pub use stage::{Builtin, BuiltinPlan};
pub use survey::{FlowView, Stretch};
