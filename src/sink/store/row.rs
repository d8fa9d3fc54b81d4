//! The rows that are not those of buckets.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::guid::Guid;
use crate::metrics::{Alert, Document, Edge, FlowAttribute, Resource, Session};
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
    FlowAttribute(Timestamp, FlowAttribute),
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
            Self::FlowAttribute(time, _) => Some(*time),
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
