//! State of traffic over packets: fragments that become datagrams, flows, and the streams in them.
//!
//! Knows packets and keys, nothing of plugins or outputs: it emits [`FlowEvent`]s and obeys what is set from outside. Runs
//! on the engine thread, on packet time; where that runs backwards, the latest time seen counts. Invariants: whatever
//! traffic can fill has a limit, and everything dropped at a limit is counted under its name; `created = ended + evicted +
//! live`; the first event of a flow is [`Happening::New`] and its last one [`Happening::End`]; every byte of a stream comes
//! out once, in order.

mod assembler;
mod counts;
mod defrag;
mod departed;
mod event;
mod flows;
mod fragments;
mod limits;
mod record;
mod script;
mod script_records;
mod segment;
mod table;
mod tcp;
mod terminated;
mod timer;
mod track;

pub use assembler::{Assembler, Fit, Piece};
pub use counts::{FlowCounts, FlowKind};
pub use defrag::{Added, Datagram, Defrag, DefragCounters, DefragLimits};
pub use event::{
    Bytes, Direction, EndReason, FlowEvent, FlowEvents, FlowHandle, FlowLookup, FlowWants, Happening, PacketFlow,
    Roles, Want, state,
};
pub use flows::Flows;
pub use fragments::Fragments;
pub use limits::{FlowsConfig, StreamLimits, Timeouts};
pub use record::Flow;
pub use script::{Attached, FlowCounter, Said};
pub use script_records::{EndedRecord, ScriptRecord};
