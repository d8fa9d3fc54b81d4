//! The producer's side: rows are collected into parcels, and full parcels go to the writer.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::counts::{Shared, add};
use super::row::{
    FlowOf, Row, Rows, RunEnd, StoredDocument, StoredFlow, StoredFlowAttribute, StoredJobEnd, StoredKeyAttribute,
    StoredLabel, StoredResource, StoredTopper, StoredTracked,
};
use crate::guid::Guid;
use crate::metrics::{
    Alert, Document, Edge, FlushSink, FlushedKey, FlushedTopper, Rank, Resource, Session, Snapshot, Stored, TrackedFlow,
};
use crate::sink::WhenFull;
use crate::sink::reuse::Reused;
use crate::time::Timestamp;

/// Rows of a parcel.
const PARCEL_ROWS: usize = 1_024;
/// Bytes of buckets and of texts in a parcel, but for the one that goes beyond.
const PARCEL_BYTES: usize = 256 << 10;

/// Ends of jobs that one sender takes; more are only counted in the sums.
const JOB_ENDS: u32 = 10_000;

/// What a sender hands over at once.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) sender: usize,
    pub(super) rows: Rows,
    pub(super) buckets: Vec<Arc<Snapshot>>,
    /// Every bucket of this sender that ends by then has been handed over.
    pub(super) passed: Option<Timestamp>,
}

/// What goes to the writer, in order.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are parcels")]
pub(super) enum Delivery {
    /// One more sender takes part.
    Join(usize),
    /// Rows.
    Parcel(Parcel),
    /// Nothing more will come.
    End(Box<RunEnd>),
}

impl Parcel {
    fn count(&self) -> u64 {
        let keys: usize = self.buckets.iter().map(|bucket| bucket.len() + 1).sum();
        (self.rows.len() + keys) as u64
    }

    /// Empties it for others, unless it has grown too large to be kept.
    pub(super) fn emptied(mut self) -> Option<Self> {
        self.rows.clear();
        self.buckets.clear();
        self.passed = None;
        (self.rows.texts.capacity() <= 2 * PARCEL_BYTES).then_some(self)
    }
}

/// Takes rows in; one per thread that makes any.
#[derive(Debug)]
pub struct StoreSender {
    parcel: Parcel,
    bytes: usize,
    queue: Sender<Delivery>,
    reused: Reused<Parcel>,
    when_full: WhenFull,
    shared: Arc<Shared>,
    /// Where the last of the buckets taken in ends.
    last: Option<Timestamp>,
    job_ends: u32,
}

impl StoreSender {
    pub(super) fn new(
        sender: usize,
        (queue, reused): (Sender<Delivery>, Reused<Parcel>),
        when_full: WhenFull,
        shared: Arc<Shared>,
    ) -> Self {
        let parcel = Parcel { sender, ..Parcel::default() };
        Self { parcel, bytes: 0, queue, reused, when_full, shared, last: None, job_ends: 0 }
    }

    /// Buckets of others need not wait for this sender: it has none.
    #[must_use]
    pub fn without_buckets(mut self) -> Self {
        self.parcel.passed = Some(Timestamp::from_nanos(i64::MAX));
        self.flush();
        self
    }

    /// Stream time has come so far: this sender has no more buckets that end by then.
    pub fn passed(&mut self, now: Timestamp) {
        self.parcel.passed = Some(now);
        if !self.parcel.buckets.is_empty() {
            self.flush();
        }
    }

    /// An edge; kept once an hour.
    pub fn edge(&mut self, time: Timestamp, edge: Edge) {
        self.row(Row::Edge(time, Box::new(edge)));
    }

    /// A label of a key; an empty one removes it, and without a description the old one stays.
    pub fn label(&mut self, group: Guid, key: &[u8], label: &[u8], description: Option<&[u8]>) {
        let (key, label, description) = (key.to_vec(), label.to_vec(), description.map(<[u8]>::to_vec));
        self.row(Row::Label(Box::new(StoredLabel { group, key, label, description })));
    }

    /// A named value of a key.
    pub fn attribute(&mut self, group: Guid, key: &[u8], name: &[u8], value: &[u8]) {
        let (key, name, value) = (key.to_vec(), name.to_vec(), value.to_vec());
        self.row(Row::Attribute(Box::new(StoredKeyAttribute { group, key, name, value })));
    }

    /// A named value of a flow; kept once an hour.
    pub fn flow_attribute(&mut self, time: Timestamp, flow: FlowOf<'_>, name: &[u8], value: &[u8]) {
        let rows = &mut self.parcel.rows;
        rows.attributes.push(StoredFlowAttribute::of(time, flow, name, value, &mut rows.texts));
        self.added();
    }

    /// A flow that ended, or, without a reason, one that goes on. Which one it is, `flow` says.
    // Inlined: a session that was put together just now is slow to read.
    #[inline(always)]
    pub fn session(&mut self, session: &Session, flow: FlowOf<'_>) {
        let rows = &mut self.parcel.rows;
        let row = StoredFlow::of(session, flow, &mut rows.texts);
        let list = if session.reason.is_empty() { &mut rows.open_flows } else { &mut rows.flows };
        list.push(row);
        self.added();
    }

    /// A log record of a group.
    pub fn log_record(&mut self, at: (Timestamp, Guid), flow: FlowOf<'_>, uri: &[u8], label: &[u8]) {
        let rows = &mut self.parcel.rows;
        rows.resources.push(StoredResource::of(at, flow, uri, label, &mut rows.texts));
        self.added();
    }

    /// A full text of a group.
    pub fn full_text(&mut self, at: (Timestamp, Guid), flow: FlowOf<'_>, text: &[u8]) {
        let rows = &mut self.parcel.rows;
        rows.documents.push(StoredDocument::of(at, flow, text, &mut rows.texts));
        self.added();
    }

    /// How a job ended; so many are taken and no more.
    pub fn job_end(&mut self, time: Timestamp, end: StoredJobEnd) {
        if self.takes_job_ends() {
            self.job_ends += 1;
            self.row(Row::JobEnd(time, Box::new(end)));
        }
    }

    /// Whether more ends of jobs are taken.
    #[must_use]
    pub const fn takes_job_ends(&self) -> bool {
        self.job_ends < JOB_ENDS
    }

    fn row(&mut self, row: Row) {
        self.bytes += row.bytes();
        self.parcel.rows.others.push(row);
        self.added();
    }

    /// Hands the parcel over if it is full.
    fn added(&mut self) {
        let rows = &self.parcel.rows;
        if rows.len() >= PARCEL_ROWS || self.bytes + rows.texts.len() >= PARCEL_BYTES {
            self.flush();
        }
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        if self.parcel.rows.len() == 0 && self.parcel.buckets.is_empty() && self.parcel.passed.is_none() {
            return;
        }
        self.bytes = 0;
        let count = self.parcel.count();
        let (sender, passed) = (self.parcel.sender, self.parcel.passed);
        let next = Parcel { sender, ..self.reused.next().unwrap_or_default() };
        let parcel = std::mem::replace(&mut self.parcel, next);
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(Delivery::Parcel(parcel)).is_err(),
            WhenFull::DropNewest => self.queue.try_send(Delivery::Parcel(parcel)).is_err(),
        };
        if lost {
            add(&self.shared.queue_full, count);
            // Buckets of others must not wait for what will never come.
            self.parcel.passed = passed;
        }
    }
}

/// Keeps what the votes say is to be kept; of a flow that goes on the latest record. Buckets of several senders are merged.
impl FlushSink for StoreSender {
    fn begin_window(&mut self, _start: i64) {}

    fn reads_keys(&self) -> bool {
        false
    }

    fn counter(&mut self, _key: &FlushedKey<'_>, _stored: Stored) {}

    fn bucket(&mut self, bucket: Arc<Snapshot>) {
        self.bytes += bucket.bytes();
        self.last = self.last.max(Some(bucket.end()));
        self.parcel.buckets.push(bucket);
        self.added();
    }

    fn end_buckets(&mut self) {
        if let Some(last) = self.last {
            self.passed(last);
        }
    }

    fn topper(&mut self, topper: &FlushedTopper<'_>, stored: Stored) {
        if let (true, Ok(meter)) = (stored.is_yes(), u8::try_from(topper.meter)) {
            let &FlushedTopper { guid: group, bucket, rank, key, value, error, .. } = topper;
            let (side, key) = (if rank < 0 { Rank::Smallest } else { Rank::Largest }, key.to_vec());
            self.row(Row::Topper(Box::new(StoredTopper { group, meter, bucket, side, key, value, error })));
        }
    }

    fn alert(&mut self, alert: Box<Alert>, stored: Stored) {
        if stored.is_yes() {
            self.row(Row::Alert(alert));
        }
    }

    fn resource(&mut self, resource: Box<Resource>, stored: Stored) {
        if stored.is_yes() {
            let Resource { time, group, flow, uri, label } = &*resource;
            self.log_record((*time, *group), flow.into(), uri, label);
        }
    }

    fn document(&mut self, document: Box<Document>, stored: Stored) {
        if stored.is_yes() {
            let Document { time, group, flow, text } = &*document;
            self.full_text((*time, *group), flow.into(), text);
        }
    }

    fn flow(&mut self, flow: Box<Session>, stored: Stored) {
        if stored.is_yes() {
            self.session(&flow, FlowOf::Id(&flow.id));
        }
    }

    fn tracked(&mut self, flow: &TrackedFlow<'_>) {
        let TrackedFlow { tracker, bucket, size, rank, flow, metric } = *flow;
        let (tracker, flow) = (tracker.to_owned(), flow.to_vec());
        self.row(Row::Tracked(Box::new(StoredTracked { tracker, bucket, size, rank, flow, metric })));
    }

    fn end_second(&mut self) {
        self.flush();
    }

    fn end_window(&mut self, _start: i64) {
        self.flush();
    }
}

impl Drop for StoreSender {
    fn drop(&mut self) {
        self.flush();
        // The writer always empties its queue, so this does not wait long; without it, buckets would wait for this sender.
        let end = Timestamp::from_nanos(i64::MAX);
        let last = Parcel { sender: self.parcel.sender, passed: Some(end), ..Parcel::default() };
        let _ = self.queue.send(Delivery::Parcel(last));
    }
}
