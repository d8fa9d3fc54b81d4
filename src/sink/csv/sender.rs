//! The producer's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use super::row::{CounterRow, Row};
use crate::metrics::{Alert, Document, FlushSink, FlushedKey, FlushedTopper, Resource, Session, Stored, TrackedFlow};
use crate::sink::WhenFull;

/// Rows handed over at once.
const PARCEL_ROWS: usize = 1_024;

/// Takes in what is flushed.
#[derive(Debug)]
pub struct CsvSender {
    parcel: Vec<Row>,
    queue: Sender<Vec<Row>>,
    when_full: WhenFull,
    full: Arc<AtomicU64>,
}

impl CsvSender {
    pub(super) fn new(queue: Sender<Vec<Row>>, when_full: WhenFull, full: Arc<AtomicU64>) -> Self {
        Self { parcel: Vec::new(), queue, when_full, full }
    }

    fn row(&mut self, row: Row) {
        self.parcel.push(row);
        if self.parcel.len() >= PARCEL_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.parcel.is_empty() {
            return;
        }
        let parcel = std::mem::take(&mut self.parcel);
        let count = parcel.len() as u64;
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).is_err(),
            WhenFull::DropNewest => self.queue.try_send(parcel).is_err(),
        };
        if lost {
            self.full.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Keeps what the votes say is to be kept; of a flow the record of its end.
impl FlushSink for CsvSender {
    fn begin_window(&mut self, _start: i64) {}

    fn counter(&mut self, key: &FlushedKey<'_>, stored: Stored) {
        if stored.is_yes() {
            let (group, bucket, size) = (key.group, key.bucket, key.size);
            let (key, values) = (key.key.to_vec(), key.values.to_vec());
            self.row(Row::Counter(Box::new(CounterRow { group, bucket, size, key, values })));
        }
    }

    fn topper(&mut self, _topper: &FlushedTopper<'_>, _stored: Stored) {}

    fn alert(&mut self, alert: Box<Alert>, stored: Stored) {
        if stored.is_yes() {
            self.row(Row::Alert(alert));
        }
    }

    fn resource(&mut self, resource: Box<Resource>, stored: Stored) {
        if stored.is_yes() {
            self.row(Row::Resource(resource));
        }
    }

    fn document(&mut self, document: Box<Document>, stored: Stored) {
        if stored.is_yes() {
            self.row(Row::Document(document));
        }
    }

    fn flow(&mut self, flow: Box<Session>, stored: Stored) {
        if stored.is_yes() && !flow.reason.is_empty() {
            self.row(Row::Flow(flow));
        }
    }

    fn tracked(&mut self, _flow: &TrackedFlow<'_>) {}

    fn end_window(&mut self, _start: i64) {
        self.flush();
    }
}

impl Drop for CsvSender {
    fn drop(&mut self) {
        self.flush();
    }
}
