//! The producer's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{SendError, Sender, TrySendError};

use super::row::{CounterRow, Row};
use super::table::lines_of;
use crate::metrics::{
    Alert, Document, FlushSink, FlushedKey, FlushedTopper, Registry, Resource, Session, Stored, TrackedFlow,
};
use crate::sink::WhenFull;
use crate::sink::rescue::Held;

/// Rows handed over at once.
const PARCEL_ROWS: usize = 1_024;

/// Takes in what is flushed.
#[derive(Debug)]
pub struct CsvSender {
    rows: Held<Vec<Row>>,
    queue: Sender<Vec<Row>>,
    when_full: WhenFull,
    /// Lines that found no room.
    full: Arc<AtomicU64>,
    groups: Arc<Registry>,
}

impl CsvSender {
    pub(super) fn new(
        (queue, rows): (Sender<Vec<Row>>, Held<Vec<Row>>),
        when_full: WhenFull,
        full: Arc<AtomicU64>,
        groups: Arc<Registry>,
    ) -> Self {
        Self { rows, queue, when_full, full, groups }
    }

    fn row(&mut self, row: Row) {
        let rows = self.rows.open();
        rows.push(row);
        if rows.len() >= PARCEL_ROWS {
            self.flush();
        }
        // Scripts may run before the next one.
        self.rows.rest();
    }

    fn flush(&mut self) {
        let parcel = std::mem::take(self.rows.open());
        self.rows.rest();
        if parcel.is_empty() {
            return;
        }
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).map_err(SendError::into_inner),
            WhenFull::DropNewest => self.queue.try_send(parcel).map_err(TrySendError::into_inner),
        };
        if let Err(rows) = lost {
            let lines = rows.iter().map(|row| lines_of(row, &self.groups)).sum();
            self.full.fetch_add(lines, Ordering::Relaxed);
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

    fn end_second(&mut self) {
        self.flush();
    }

    fn end_window(&mut self, _start: i64) {
        self.flush();
    }
}

impl Drop for CsvSender {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::{CsvSender, PARCEL_ROWS};
    use crate::metrics::rehearsal::group;
    use crate::metrics::{FlushSink, FlushedKey, Stored, Vartype};
    use crate::sink::WhenFull;
    use crate::sink::rescue::Held;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_finds_no_room_is_counted_as_it_would_have_been_written() {
        let (registry, group) = group(&[Vartype::Counter; 3]);
        let guid = registry.counter_group(group).unwrap().guid;
        let (queue, _parcels) = crossbeam_channel::bounded(1);
        let full = Arc::default();
        let mut sender =
            CsvSender::new((queue, Held::default()), WhenFull::DropNewest, Arc::clone(&full), Arc::new(registry));
        // The first parcel has room; of the second each key would have been a row for each of its two values.
        for _ in 0..2 * PARCEL_ROWS {
            let key = FlushedKey { group, guid, bucket: 0, size: 10, key: b"k", values: &[1.0, 2.0] };
            sender.counter(&key, Stored::Yes);
        }
        assert_eq!(full.load(Ordering::Relaxed), 2 * PARCEL_ROWS as u64);
    }
}
