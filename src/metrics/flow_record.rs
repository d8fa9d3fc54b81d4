//! What scripts say about flows.

use super::ledger::Texts;
use crate::guid::Guid;

/// Which packets of a flow a flow counter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountedDirection {
    /// All.
    #[default]
    Both,
    /// Client to server.
    Out,
    /// Server to client.
    In,
}

impl CountedDirection {
    /// As scripts number them.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Both => 0,
            Self::Out => 1,
            Self::In => 2,
        }
    }
}

/// Something said about one flow.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowStatement {
    /// A tag was attached.
    Tag(Vec<u8>),
    /// An attribute was found or announced: name and value.
    Attribute(Vec<u8>, Vec<u8>),
    /// Packets of the flow are counted under a key.
    Counter {
        /// Counter group.
        group: Guid,
        /// Key; none for a mere reset.
        key: Option<Vec<u8>>,
        /// Meter.
        meter: u32,
        /// Packets.
        direction: CountedDirection,
        /// True if the flow's counters of the group were removed before.
        reset: bool,
    },
    /// A field of the record was changed: meter number or name, and value.
    Update(String, f64),
    /// Edges between the flow's ends and a vertex.
    Edges(Guid, Vec<u8>),
    /// Ended now.
    Terminate,
    /// A script wants no more payload.
    DisableReassembly,
}

impl FlowStatement {
    /// Its name in outputs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tag(_) => "tag",
            Self::Attribute(..) => "flow_attribute",
            Self::Counter { .. } => "flow_counter",
            Self::Update(..) => "flow_update",
            Self::Edges(..) => "flow_edges",
            Self::Terminate => "terminate_flow",
            Self::DisableReassembly => "disable_reassembly",
        }
    }

    /// The names of all kinds.
    pub const NAMES: [&'static str; 7] =
        ["tag", "flow_attribute", "flow_counter", "flow_update", "flow_edges", "terminate_flow", "disable_reassembly"];
}

/// A statement and its flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRecord {
    /// Flow id as the script wrote it.
    pub flow: Vec<u8>,
    /// What was said.
    pub statement: FlowStatement,
}

impl Texts for FlowRecord {
    fn bytes(&self) -> usize {
        let statement = match &self.statement {
            FlowStatement::Tag(text) | FlowStatement::Edges(_, text) => text.len(),
            FlowStatement::Attribute(name, value) => name.len() + value.len(),
            FlowStatement::Counter { key, .. } => key.as_ref().map_or(0, Vec::len),
            FlowStatement::Update(field, _) => field.len(),
            FlowStatement::Terminate | FlowStatement::DisableReassembly => 0,
        };
        self.flow.len() + statement
    }
}
