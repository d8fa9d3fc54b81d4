//! The rows that are not those of buckets.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::guid::Guid;
use crate::key::FlowTuple;
use crate::metrics::{Alert, Edge, FlowAttribute, Rank, Session, Span, Texts, cut_text};
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
    /// Which end of the values.
    pub side: Rank,
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: f64,
    /// How much the value may be too large.
    pub error: f64,
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

/// Rows on their way from a sender to the writer. What there are many of is packed: its texts lie one behind the other in one
/// buffer, because each text by itself would be allocated by one thread and freed by another.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Flows that ended.
    pub(super) flows: Vec<StoredFlow>,
    /// Flows that go on; none of them is among those that ended earlier.
    pub(super) open_flows: Vec<StoredFlow>,
    pub(super) attributes: Vec<StoredFlowAttribute>,
    pub(super) resources: Vec<StoredResource>,
    pub(super) documents: Vec<StoredDocument>,
    /// The texts of all of these.
    pub(super) texts: Vec<u8>,
    pub(super) others: Vec<Row>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        let flows = self.flows.len() + self.open_flows.len() + self.attributes.len();
        flows + self.resources.len() + self.documents.len() + self.others.len()
    }

    /// The stream times of all that have one.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> {
        let flows = self.flows.iter().chain(&self.open_flows).map(|flow| flow.end);
        let items = self.resources.iter().map(|row| row.time).chain(self.documents.iter().map(|row| row.time));
        let attributes = self.attributes.iter().map(|row| row.time);
        flows.chain(items).chain(attributes).chain(self.others.iter().filter_map(Row::time))
    }

    /// Forgets the rows, and keeps their memory.
    pub(super) fn clear(&mut self) {
        let Self { flows, open_flows, attributes, resources, documents, texts, others } = self;
        flows.clear();
        open_flows.clear();
        attributes.clear();
        resources.clear();
        documents.clear();
        texts.clear();
        others.clear();
    }
}

/// A row with its texts in a buffer.
pub(super) trait Packed: Copy {
    /// The same with its texts in another buffer, behind what is there.
    fn carried(self, from: &[u8], to: &mut Vec<u8>) -> Self;
}

/// Which flow something is of.
#[derive(Clone, Copy, Debug)]
pub enum FlowOf<'a> {
    /// None.
    None,
    /// The one with these ends: its id is made by whoever writes it.
    Tuple(&'a FlowTuple),
    /// The one with this id, whatever it says.
    Id(&'a [u8]),
}

impl<'a> From<Option<&'a FlowTuple>> for FlowOf<'a> {
    fn from(flow: Option<&'a FlowTuple>) -> Self {
        flow.map_or(Self::None, Self::Tuple)
    }
}

impl<'a> From<&'a Option<Vec<u8>>> for FlowOf<'a> {
    fn from(id: &'a Option<Vec<u8>>) -> Self {
        id.as_deref().map_or(Self::None, Self::Id)
    }
}

impl<'a> From<&'a FlowAttribute> for FlowOf<'a> {
    fn from(attribute: &'a FlowAttribute) -> Self {
        attribute.flow().map_or_else(|| Self::Id(attribute.flow_text()), Self::Tuple)
    }
}

/// [`FlowOf`] in a row: what says which flow it is lies in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum FlowName {
    /// Packed.
    Tuple(Span),
    /// Empty if there is none.
    Id(Span),
}

impl FlowName {
    #[inline]
    fn put(flow: FlowOf<'_>, texts: &mut Vec<u8>) -> Self {
        match flow {
            FlowOf::None => Self::Id(Span::default()),
            FlowOf::Tuple(flow) => {
                let from = texts.len();
                flow.pack(texts);
                Self::Tuple(Span::since(texts, from))
            }
            FlowOf::Id(id) => Self::Id(Span::put(texts, id)),
        }
    }

    /// Does something with the id.
    pub(super) fn with<R>(&self, texts: &[u8], act: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Tuple(packed) => match FlowTuple::unpack(packed.of(texts)) {
                Some(flow) => act(flow.id().as_bytes()),
                None => act(b""),
            },
            Self::Id(id) => act(id.of(texts)),
        }
    }

    fn carry(&mut self, from: &[u8], to: &mut Vec<u8>) {
        let (Self::Tuple(span) | Self::Id(span)) = self;
        span.carry(from, to);
    }
}

/// What a [`Session`] says.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredFlow {
    pub(super) flow: FlowName,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) bytes: [u64; 2],
    pub(super) packets: [u64; 2],
    pub(super) payload: [u64; 2],
    pub(super) state: u16,
    pub(super) tags: Span,
    pub(super) setup_rtt: u32,
    pub(super) retransmissions: u32,
    pub(super) reason: &'static str,
}

impl StoredFlow {
    #[inline(always)]
    pub(super) fn of(session: &Session, flow: FlowOf<'_>, texts: &mut Vec<u8>) -> Self {
        let &Session { id: _, start, end, bytes, packets, payload, state, ref tags, .. } = session;
        let &Session { setup_rtt, retransmissions, reason, .. } = session;
        let (flow, tags) = (FlowName::put(flow, texts), Span::put(texts, tags));
        Self { flow, start, end, bytes, packets, payload, state, tags, setup_rtt, retransmissions, reason }
    }

    /// Bytes of both directions.
    pub(super) fn bytes(&self) -> i64 {
        whole(self.bytes[0].saturating_add(self.bytes[1]))
    }
}

impl Packed for StoredFlow {
    fn carried(mut self, from: &[u8], to: &mut Vec<u8>) -> Self {
        self.flow.carry(from, to);
        self.tags.carry(from, to);
        self
    }
}

/// A named value of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredFlowAttribute {
    pub(super) time: Timestamp,
    pub(super) flow: FlowName,
    pub(super) name: Span,
    pub(super) value: Span,
}

impl StoredFlowAttribute {
    pub(super) fn of(time: Timestamp, flow: FlowOf<'_>, name: &[u8], value: &[u8], texts: &mut Vec<u8>) -> Self {
        let flow = FlowName::put(flow, texts);
        Self { time, flow, name: Span::put(texts, name), value: Span::put(texts, value) }
    }
}

/// A log record.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredResource {
    pub(super) time: Timestamp,
    pub(super) group: Guid,
    pub(super) flow: FlowName,
    pub(super) uri: Span,
    pub(super) label: Span,
}

impl StoredResource {
    pub(super) fn of(
        (time, group): (Timestamp, Guid),
        flow: FlowOf<'_>,
        uri: &[u8],
        label: &[u8],
        texts: &mut Vec<u8>,
    ) -> Self {
        let flow = FlowName::put(flow, texts);
        let (uri, label) = (Span::put(texts, uri), Span::put(texts, cut_text(label)));
        Self { time, group, flow, uri, label }
    }
}

impl Packed for StoredResource {
    fn carried(mut self, from: &[u8], to: &mut Vec<u8>) -> Self {
        self.flow.carry(from, to);
        self.uri.carry(from, to);
        self.label.carry(from, to);
        self
    }
}

/// A full text.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredDocument {
    pub(super) time: Timestamp,
    pub(super) group: Guid,
    pub(super) flow: FlowName,
    pub(super) text: Span,
}

impl StoredDocument {
    pub(super) fn of((time, group): (Timestamp, Guid), flow: FlowOf<'_>, text: &[u8], texts: &mut Vec<u8>) -> Self {
        Self { time, group, flow: FlowName::put(flow, texts), text: Span::put(texts, text) }
    }
}

impl Packed for StoredDocument {
    fn carried(mut self, from: &[u8], to: &mut Vec<u8>) -> Self {
        self.flow.carry(from, to);
        self.text.carry(from, to);
        self
    }
}

/// A row of which there are few.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Alert(Box<Alert>),
    Edge(Timestamp, Box<Edge>),
    Label(Box<StoredLabel>),
    Attribute(Box<StoredKeyAttribute>),
    Topper(Box<StoredTopper>),
    Tracked(Box<StoredTracked>),
    JobEnd(Timestamp, Box<StoredJobEnd>),
}

impl Row {
    /// Bytes of its texts, where they can be large.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Alert(alert) => alert.bytes(),
            Self::Label(label) => label.label.len() + label.description.as_ref().map_or(0, Vec::len),
            Self::Attribute(attribute) => attribute.name.len() + attribute.value.len(),
            // Scripts may give a flow any id.
            Self::Tracked(tracked) => tracked.flow.len(),
            Self::Edge(..) | Self::Topper(_) | Self::JobEnd(..) => 0,
        }
    }
}

impl Row {
    /// The stream time it belongs to, if it has one.
    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Alert(alert) => Some(alert.time),
            Self::Edge(time, _) | Self::JobEnd(time, _) => Some(*time),
            Self::Topper(topper) => Some(Timestamp::new(topper.bucket, 0)),
            Self::Tracked(tracked) => Some(Timestamp::new(tracked.bucket, 0)),
            Self::Label(_) | Self::Attribute(_) => None,
        }
    }
}

/// Bytes of traffic or scripts: text where they are UTF-8, else a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub &'a [u8]);

impl<'a> Text<'a> {
    /// The same once it is known which of both it is.
    pub(super) fn told(self) -> ToldText<'a> {
        ToldText(match std::str::from_utf8(self.0) {
            Ok(text) => ValueRef::Text(text.as_bytes()),
            Err(_) => ValueRef::Blob(self.0),
        })
    }
}

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.told().0))
    }
}

/// [`Text`] that is bound more than once.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldText<'a>(ValueRef<'a>);

impl ToSql for ToldText<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// A count as SQLite holds it; what does not fit is as large as fits.
pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Row, StoredTracked};

    #[test]
    fn the_flow_of_a_tracked_place_counts_as_a_text() {
        let flow = vec![b'x'; 200];
        let place = StoredTracked { tracker: String::new(), bucket: 0, size: 60, rank: 1, flow, metric: 1.0 };
        assert_eq!(Row::Tracked(Box::new(place)).bytes(), 200);
    }
}
