//! What scripts produce besides counter updates, in the order it happened.

use super::constants::LogLevel;
use crate::flow::FlowHandle;
use crate::guid::Guid;
use crate::key::{End, FlowTuple};
use crate::metrics::{FlowAttribute, FlowFacts, Session, Texts};
use crate::time::Timestamp;

/// Index of a script file in the run's list of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptId(pub u16);

/// Native modules appear among the scripts under ids from the top of the range.
impl ScriptId {
    /// The host itself.
    pub const NATIVE: Self = Self(u16::MAX);
    /// Flows and what is known of every one.
    pub const NATIVE_FLOW: Self = Self(u16::MAX - 1);
    /// HTTP.
    pub const NATIVE_HTTP: Self = Self(u16::MAX - 2);
    /// TLS and certificates.
    pub const NATIVE_TLS: Self = Self(u16::MAX - 3);
    /// DNS.
    pub const NATIVE_DNS: Self = Self(u16::MAX - 4);
    /// SSH.
    pub const NATIVE_SSH: Self = Self(u16::MAX - 5);
    /// Files in streams.
    pub const NATIVE_FILE: Self = Self(u16::MAX - 6);
    /// Storing of packets.
    pub const NATIVE_STORE: Self = Self(u16::MAX - 7);

    /// Name of a native module in outputs.
    #[must_use]
    pub const fn native_name(self) -> &'static str {
        match self {
            Self::NATIVE_FLOW => "native:flow",
            Self::NATIVE_HTTP => "native:http",
            Self::NATIVE_TLS => "native:tls",
            Self::NATIVE_DNS => "native:dns",
            Self::NATIVE_SSH => "native:ssh",
            Self::NATIVE_FILE => "native:file",
            Self::NATIVE_STORE => "native:store",
            _ => "native:millstream",
        }
    }
}

/// Which call made an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// `add_alert`.
    Simple,
    /// `add_alert_full`.
    Full,
    /// `add_alert_tca`.
    Tca,
    /// An input filter's `step_alert`.
    Ids,
}

impl AlertKind {
    /// The name in the event stream.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Full => "full",
            Self::Tca => "tca",
            Self::Ids => "ids",
        }
    }
}

/// A flow as a script named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowName {
    /// By its ends: the id is made when somebody asks for it.
    Tuple(FlowTuple),
    /// By an id, whatever it says.
    Id(Vec<u8>),
}

impl FlowName {
    /// The id.
    #[must_use]
    pub fn to_id(&self) -> Vec<u8> {
        match self {
            Self::Tuple(tuple) => tuple.id().as_bytes().to_vec(),
            Self::Id(id) => id.clone(),
        }
    }
}

/// Addresses of an alert that came from another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEnds {
    /// Readable source address.
    pub source_ip: String,
    /// Source port or token.
    pub source_port: String,
    /// Readable destination address.
    pub destination_ip: String,
    /// Destination port or token.
    pub destination_port: String,
    /// IP protocol number.
    pub protocol: i64,
    /// Revision of the signature.
    pub sig_rev: i64,
    /// The other system's time.
    pub time: Timestamp,
}

/// An alert as a script made it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRecord {
    /// Alert group.
    pub guid: Guid,
    /// Flow id; empty if none.
    pub flow: Vec<u8>,
    /// Signature id.
    pub sigid: Vec<u8>,
    /// Priority.
    pub priority: f64,
    /// Text.
    pub message: Vec<u8>,
    /// Classification; empty if none.
    pub classification: Vec<u8>,
    /// Status word.
    pub status: Vec<u8>,
    /// Details of alerts from other systems.
    pub extra: Vec<u8>,
    /// 1 if somebody has acknowledged it, else 0.
    pub ack: u8,
    /// Which call made it.
    pub kind: AlertKind,
    /// For [`AlertKind::Ids`] only.
    pub ends: Option<AlertEnds>,
    /// The end of the flow that is the client, where the flow is known.
    pub client: Option<End>,
}

/// What a dissector found, for outputs that take it from where it lies: neither it nor its flow is copied for them before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place among the findings of the batch.
    pub place: u32,
    /// Protocol events are made from it.
    pub is_event: bool,
    /// It becomes a row of the store, which nobody looks at before.
    pub is_row: bool,
}

/// A flow at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndedFlow {
    /// What is told of it.
    pub session: Box<Session>,
    /// Which flow, if it was found in packets.
    pub tuple: Option<FlowTuple>,
    /// Nobody was told that it began: scripts spoke of it and ended it at once. It is in no packets.
    pub is_news: bool,
    /// What else is known of it; nothing of a flow that is in no packets.
    pub facts: FlowFacts,
}

/// One thing a script produced.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A printed line.
    Print {
        /// The line without its end.
        text: Vec<u8>,
    },
    /// A log line.
    Log {
        /// Importance.
        level: LogLevel,
        /// Text.
        text: Vec<u8>,
    },
    /// A label of a key.
    KeyInfo {
        /// Counter group.
        guid: Guid,
        /// Key.
        key: Vec<u8>,
        /// Label; empty removes it.
        label: Vec<u8>,
        /// Longer text; `None` keeps the old one.
        description: Option<Vec<u8>>,
    },
    /// An attribute of a key.
    KeyAttribute {
        /// Counter group.
        guid: Guid,
        /// Key.
        key: Vec<u8>,
        /// Name.
        name: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// An alert.
    Alert(Box<AlertRecord>),
    /// A resource.
    Resource {
        /// Resource group.
        guid: Guid,
        /// Flow id; empty if none.
        flow: Vec<u8>,
        /// Summary.
        uri: Vec<u8>,
        /// Contents.
        label: Vec<u8>,
    },
    /// A tag of a flow.
    Tag {
        /// Flow id.
        flow: Vec<u8>,
        /// Tag.
        tag: Vec<u8>,
    },
    /// An attribute of a flow.
    FlowAttribute(FlowAttribute),
    /// A counter attached to a flow.
    FlowCounter {
        /// Flow id.
        flow: Vec<u8>,
        /// Counter group.
        guid: Guid,
        /// Key; `None` with `reset` only.
        key: Option<Vec<u8>>,
        /// Meter id.
        meter: f64,
        /// 0 both, 1 client to server, 2 server to client.
        direction: f64,
        /// Counters attached before are removed.
        reset: bool,
    },
    /// A change of a flow's record.
    FlowUpdate {
        /// Flow id.
        flow: Vec<u8>,
        /// What is changed.
        field: String,
        /// By how much, or to what.
        value: f64,
    },
    /// Content was handed to scripts as a file.
    File {
        /// Flow id.
        flow: Vec<u8>,
        /// Full name.
        path: Vec<u8>,
        /// Bytes.
        length: u64,
        /// One piece of a larger file.
        is_chunk: bool,
    },
    /// A full-text document.
    Document {
        /// Full-text group.
        guid: Guid,
        /// Flow id; empty if none.
        flow: Vec<u8>,
        /// Text.
        text: Vec<u8>,
    },
    /// A flow ended, or was reported.
    Flow(EndedFlow),
    /// A flow ended, for outputs that take it from where it lies until the batch is done with; why it ended.
    FlowEnd(FlowHandle, &'static str),
    /// What scripts added to a meter of a flow, besides those of every flow, when the flow ended.
    FlowMeter {
        /// Flow id.
        flow: Vec<u8>,
        /// Meter.
        meter: u32,
        /// Sum.
        value: f64,
    },
    /// A tag for a flow that has ended, for whoever keeps its record until the flush.
    LateTag {
        /// Flow id.
        flow: Vec<u8>,
        /// Tag.
        tag: Vec<u8>,
    },
    /// Something a dissector found.
    Found(Found),
    /// What is stored of a flow has been decided anew.
    StorePolicy {
        /// Flow id.
        flow: Vec<u8>,
        /// As `packet_storage` numbers it.
        policy: u8,
    },
    /// A flow is to end.
    TerminateFlow {
        /// Flow id.
        flow: Vec<u8>,
    },
    /// The script wants no more payload of a flow.
    DisableReassembly {
        /// The flow.
        flow: FlowName,
    },
    /// A link between two vertices.
    Edge {
        /// Vertex type.
        from_guid: Guid,
        /// Vertex key.
        from_key: Vec<u8>,
        /// Vertex type.
        to_guid: Guid,
        /// Vertex key.
        to_key: Vec<u8>,
    },
    /// Links between a flow's ends and a vertex.
    FlowEdges {
        /// Flow id.
        flow: Vec<u8>,
        /// Vertex type.
        guid: Guid,
        /// Vertex key.
        key: Vec<u8>,
    },
    /// A message posted.
    Message {
        /// `frontend` or `backend`.
        to: &'static str,
        /// Message id as written; empty for a broadcast.
        id: Vec<u8>,
        /// Text.
        text: Vec<u8>,
    },
    /// A callback failed.
    Fault {
        /// `block.callback`.
        callback: String,
        /// What happened.
        message: String,
        /// How often, since it was last told.
        count: u64,
    },
    /// A job ended.
    Job {
        /// Job id.
        id: String,
        /// Terminal state.
        state: &'static str,
        /// `schedule`, `copy`, ...
        kind: &'static str,
        /// `file:line` of the function; empty for file operations.
        function: String,
        /// Attempt, from 1.
        attempt: u32,
    },
}

impl Record {
    /// Bytes of the texts that a script chose. Messages have limits of their own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Print { text } | Self::Log { text, .. } => text.len(),
            Self::KeyInfo { key, label, description, .. } => {
                key.len() + label.len() + description.as_ref().map_or(0, Vec::len)
            }
            Self::KeyAttribute { key, name, value, .. } => key.len() + name.len() + value.len(),
            Self::Alert(alert) => {
                let texts = [&alert.flow, &alert.sigid, &alert.message, &alert.classification, &alert.status];
                texts.into_iter().map(Vec::len).sum::<usize>() + alert.extra.len()
            }
            Self::Resource { flow, uri, label, .. } => flow.len() + uri.len() + label.len(),
            Self::Tag { flow, tag } => flow.len() + tag.len(),
            Self::FlowAttribute(attribute) => attribute.bytes(),
            Self::FlowCounter { flow, key, .. } => flow.len() + key.as_ref().map_or(0, Vec::len),
            Self::FlowEdges { flow, key, .. } => flow.len() + key.len(),
            Self::Edge { from_key, to_key, .. } => from_key.len() + to_key.len(),
            Self::FlowUpdate { flow, .. }
            | Self::TerminateFlow { flow }
            | Self::DisableReassembly { flow: FlowName::Id(flow) } => flow.len(),
            Self::File { .. }
            | Self::Document { .. }
            | Self::Flow(_)
            | Self::FlowEnd(..)
            | Self::FlowMeter { .. }
            | Self::LateTag { .. }
            | Self::Found(_)
            | Self::StorePolicy { .. }
            | Self::DisableReassembly { .. }
            | Self::Message { .. }
            | Self::Fault { .. }
            | Self::Job { .. } => 0,
        }
    }

    /// The record, and one that says nothing in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Print { text: Vec::new() })
    }
}

/// When something happened among everything that one packet leads to: fields compare from the first to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The flow event, counted from 1; 0 for what sees the packet itself, which comes before its flow events.
    pub event: u32,
    /// What is announced of the event: see the constants.
    pub stage: u32,
    /// Rank of the VM among those that hear of it.
    pub vm: u32,
    /// Announcements that callbacks led to, counted from 1; 0 for the callback itself.
    pub echo: u32,
}

impl Rank {
    /// Stage of the first finding of an event; the others follow.
    pub const FINDINGS: u32 = 16;
    /// Stage of the end of a flow, behind its last findings.
    pub const END: u32 = u32::MAX - 1;
    /// Stage of the record of a flow that ended, behind everything else.
    pub const RECORD: u32 = u32::MAX;

    /// The rank of a VM's packet callback.
    #[must_use]
    pub const fn of_vm(vm: u32) -> Self {
        Self { event: 0, stage: 0, vm, echo: 0 }
    }
}

/// Where in the run a script produced something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Packet of the batch that led to it.
    pub packet: u32,
    /// When among everything that the packet leads to.
    pub rank: Rank,
    /// Stream time.
    pub time: Timestamp,
    /// Which script.
    pub script: ScriptId,
    /// Which side.
    pub side: Side,
}

/// Which part of the process a script runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A packet thread.
    Frontend,
    /// A flush thread.
    Backend,
    /// A worker.
    Async,
}

impl Side {
    /// The name in the event stream.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Async => "async",
        }
    }
}
