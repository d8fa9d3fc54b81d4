//! An outlet for tests and benchmarks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::BackendOutlet;
use crate::api::{Record, Stamp};
use crate::metrics::{
    Alert, Document, Edge, FlushSink, FlushedKey, FlushedTopper, Resource, Session, Shard, Stored, TrackedFlow,
};
use crate::plugin::Catalog;
use crate::sink::EventLines;
use crate::time::Timestamp;

/// Keeps nothing, and counts the keys that are flushed.
#[derive(Debug, Default)]
pub struct Counting {
    /// Their number so far.
    pub keys: Arc<AtomicU64>,
}

impl FlushSink for Counting {
    fn begin_window(&mut self, _: i64) {}
    fn counter(&mut self, _: &FlushedKey<'_>, _: Stored) {
        self.keys.fetch_add(1, Ordering::Relaxed);
    }
    fn topper(&mut self, _: &FlushedTopper<'_>, _: Stored) {}
    fn alert(&mut self, _: Box<Alert>, _: Stored) {}
    fn resource(&mut self, _: Box<Resource>, _: Stored) {}
    fn document(&mut self, _: Box<Document>, _: Stored) {}
    fn flow(&mut self, _: Box<Session>, _: Stored) {}
    fn tracked(&mut self, _: &TrackedFlow<'_>) {}
    fn end_window(&mut self, _: i64) {}
}

impl BackendOutlet for Counting {
    fn records(&mut self, records: &mut Vec<(Stamp, Record)>, _: &mut Shard) {
        records.clear();
    }
    fn edge(&mut self, _: Timestamp, _: Edge) {}
    fn take_lines(&mut self) -> EventLines {
        EventLines::default()
    }
    fn put_lines(&mut self, _: EventLines) {}
    fn learn_names(&mut self, _: &Catalog) {}
    fn shows_each(&self) -> bool {
        false
    }
    fn hand_over(&mut self) {}
}
