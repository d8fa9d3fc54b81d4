//! What is handed over to the thread that writes events.
//!
//! What there are many of lies in lists beside the items: each would otherwise be allocated by one thread and freed by
//! another.

use crate::guid::Guid;
use crate::key::FlowTuple;
use crate::metrics::{Alert, FlowFacts, FlowSoFar, Session, Sighting};
use crate::time::Timestamp;

/// One thing that becomes an event, or a part of one.
#[derive(Debug)]
pub enum EveItem {
    /// A piece of a protocol; its texts lie beside it.
    Sighting(Timestamp, Sighting),
    /// A flow ended; the one at this place of the list.
    Flow(usize),
    /// An alert.
    Alert(Box<AlertItem>),
    /// A resource or a document of a plugin.
    Note(Box<NoteItem>),
    /// How far an engine has come.
    Stats(Box<StatsItem>),
}

/// What lies beside items.
#[derive(Debug, Default)]
pub struct Beside {
    /// The texts of sightings.
    pub texts: Vec<u8>,
    /// Flows that ended.
    pub flows: Vec<FlowItem>,
}

/// A flow at its end.
#[derive(Debug)]
pub struct FlowItem {
    /// When its end was noticed.
    pub time: Timestamp,
    /// The flow; its id may be empty where `tuple` says which it is.
    pub flow: Session,
    /// Which flow, if it was found in packets.
    pub tuple: Option<FlowTuple>,
    /// What else is known of it.
    pub facts: FlowFacts,
}

/// An alert and who raised it.
#[derive(Clone, Debug)]
pub struct AlertItem {
    /// The alert.
    pub alert: Alert,
    /// File name of the script.
    pub script: String,
    /// Name of the alert group.
    pub group: Vec<u8>,
    /// What else is known of the flow; without one, where the packet came from.
    pub facts: FlowFacts,
    /// What the flow had counted by then, if it is known.
    pub so_far: Option<FlowSoFar>,
}

/// What a plugin recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// A resource: summary and contents.
    Resource,
    /// A full-text document; the summary is empty.
    Document,
}

/// Something that a plugin recorded.
#[derive(Clone, Debug)]
pub struct NoteItem {
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: NoteKind,
    /// Its group.
    pub group: Guid,
    /// Name of that.
    pub group_name: Vec<u8>,
    /// File name of the script.
    pub script: String,
    /// Flow id; empty if none.
    pub flow: Vec<u8>,
    /// What else is known of the flow; without one, where the packet came from.
    pub facts: FlowFacts,
    /// Summary.
    pub summary: Vec<u8>,
    /// Contents.
    pub text: Vec<u8>,
}

/// What an engine has done so far.
#[derive(Clone, Debug, Default)]
pub struct StatsItem {
    /// Number of the engine; `None` for the sum at the end of a run.
    pub engine: Option<u32>,
    /// Stream time.
    pub time: Timestamp,
    /// Time of the first packet.
    pub first: Timestamp,
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Packets that the kernel dropped.
    pub kernel_drops: u64,
    /// Packets that interfaces dropped.
    pub interface_drops: u64,
    /// Flows that began.
    pub flows: u64,
    /// Of those, the ones of TCP, UDP, ICMP and ICMP for IPv6.
    pub flows_by: [u64; 4],
    /// Flows that go on.
    pub live_flows: u64,
    /// Bytes of the flow table.
    pub flow_memory: u64,
    /// Gaps in streams of TCP.
    pub gaps: u64,
    /// Segments of which a part was there already.
    pub overlaps: u64,
    /// Everything that was lost at a limit, by name.
    pub drops: Vec<(String, u64)>,
}

/// Bytes that a sighting counts for, besides its texts.
pub(super) const SIGHTING_BYTES: usize = 128;

impl EveItem {
    /// Bytes it holds, roughly; those beside it are counted there.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Sighting(..) | Self::Flow(_) => SIGHTING_BYTES,
            Self::Alert(item) => 512 + item.alert.message.len() + item.alert.extra.len(),
            Self::Note(note) => 256 + note.summary.len() + note.text.len(),
            Self::Stats(_) => 512,
        }
    }
}
