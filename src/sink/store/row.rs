//! The rows that are not those of buckets.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::guid::Guid;
use crate::key::FlowTuple;
use crate::metrics::{Alert, Document, Edge, Resource, Session};
use crate::time::Timestamp;

/// One of the keys with the largest or smallest values of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTopper {
    /// Counter group.
    pub group: Guid,
    /// Meter.
    pub meter: u8,
    /// Start of the interval in seconds.
    pub bucket: i64,
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: f64,
}

/// What became of a script's jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredJob {
    /// The script.
    pub plugin: String,
    /// Jobs scheduled.
    pub scheduled: u64,
    /// Ran to their end.
    pub done: u64,
    /// Raised an error.
    pub failed: u64,
    /// Exceeded their deadline.
    pub timed_out: u64,
    /// Taken back.
    pub cancelled: u64,
    /// Refused.
    pub dropped: u64,
}

/// How one job ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredJobEnd {
    /// The script.
    pub plugin: String,
    /// Its id.
    pub job: String,
    /// `schedule`, `copy`, ...
    pub kind: &'static str,
    /// `file:line` of the function; empty for file operations.
    pub function: String,
    /// Terminal state.
    pub state: &'static str,
    /// Attempt, from 1.
    pub attempt: u32,
}

/// A place in the snapshot of a flow tracker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredTracked {
    pub(super) tracker: String,
    /// Start of the interval in seconds, and its length.
    pub(super) bucket: i64,
    pub(super) size: i64,
    pub(super) rank: u32,
    pub(super) flow: Vec<u8>,
    pub(super) metric: f64,
}

/// A named value of a flow, all its texts in one piece: there are more of these than of anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttribute {
    /// When.
    pub(super) time: Timestamp,
    /// The flow, unless its id is the beginning of the texts.
    pub(super) flow: Option<FlowTuple>,
    flow_len: u32,
    name_len: u32,
    texts: Box<[u8]>,
}

impl StoredAttribute {
    /// Of a flow that is known by its id.
    #[must_use]
    pub fn of_id(time: Timestamp, flow: &[u8], name: &[u8], value: &[u8]) -> Self {
        let (flow_len, name_len) = (flow.len() as u32, name.len() as u32);
        Self { time, flow: None, flow_len, name_len, texts: [flow, name, value].concat().into() }
    }

    /// Of a flow that was found in packets.
    #[must_use]
    pub fn of_flow(time: Timestamp, flow: FlowTuple, name: &[u8], value: &[u8]) -> Self {
        let name_len = name.len() as u32;
        Self { time, flow: Some(flow), flow_len: 0, name_len, texts: [name, value].concat().into() }
    }

    /// The id of the flow.
    #[must_use]
    pub fn flow_id(&self) -> Vec<u8> {
        self.flow.map_or_else(|| self.texts().0.to_vec(), |flow| flow.id().as_bytes().to_vec())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.texts().1
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.texts().2
    }

    /// Id of the flow, if it is in the texts, name and value.
    pub(super) fn texts(&self) -> (&[u8], &[u8], &[u8]) {
        let (flow, rest) = self.texts.split_at(self.flow_len as usize);
        let (name, value) = rest.split_at(self.name_len as usize);
        (flow, name, value)
    }
}

/// A label of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredLabel {
    pub(super) group: Guid,
    pub(super) key: Vec<u8>,
    pub(super) label: Vec<u8>,
    pub(super) description: Option<Vec<u8>>,
}

/// A named value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredKeyAttribute {
    pub(super) group: Guid,
    pub(super) key: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// What is known of a run at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunEnd {
    /// Packets handled.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// First and last packet time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Jobs by script.
    pub jobs: Vec<StoredJob>,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Alert(Box<Alert>),
    Resource(Box<Resource>),
    Document(Box<Document>),
    Flow(Box<Session>),
    /// One that goes on.
    OpenFlow(Box<Session>),
    FlowAttribute(StoredAttribute),
    Edge(Timestamp, Box<Edge>),
    Label(Box<StoredLabel>),
    Attribute(Box<StoredKeyAttribute>),
    Topper(Box<StoredTopper>),
    Tracked(Box<StoredTracked>),
    JobEnd(Timestamp, Box<StoredJobEnd>),
}

impl Row {
    /// The stream time it belongs to, if it has one.
    pub(super) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Alert(alert) => Some(alert.time),
            Self::Resource(resource) => Some(resource.time),
            Self::Document(document) => Some(document.time),
            Self::Flow(flow) | Self::OpenFlow(flow) => Some(flow.end),
            Self::Edge(time, _) | Self::JobEnd(time, _) => Some(*time),
            Self::FlowAttribute(attribute) => Some(attribute.time),
            Self::Topper(topper) => Some(Timestamp::new(topper.bucket, 0)),
            Self::Tracked(tracked) => Some(Timestamp::new(tracked.bucket, 0)),
            Self::Label(_) | Self::Attribute(_) => None,
        }
    }
}

/// Bytes of traffic or scripts: text where they are UTF-8, else a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match std::str::from_utf8(self.0) {
            Ok(text) => ValueRef::Text(text.as_bytes()),
            Err(_) => ValueRef::Blob(self.0),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// A count as SQLite holds it; what does not fit is as large as fits.
pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
