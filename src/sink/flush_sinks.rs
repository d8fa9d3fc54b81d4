//! Several takers of what is flushed.

use std::sync::Arc;

use crate::metrics::{
    Alert, Document, FlushSink, FlushedKey, FlushedTopper, Resource, Session, Snapshot, Stored, TrackedFlow,
};

/// Hands everything that is flushed to each of several takers; whole buckets, which cannot be shared, to the last alone.
pub struct FlushSinks {
    others: Vec<Box<dyn FlushSink + Send>>,
    last: Box<dyn FlushSink + Send>,
}

impl FlushSinks {
    /// `last` gets the buckets.
    #[must_use]
    pub fn new(others: Vec<Box<dyn FlushSink + Send>>, last: Box<dyn FlushSink + Send>) -> Self {
        Self { others, last }
    }

    fn each(&mut self, mut tell: impl FnMut(&mut dyn FlushSink)) {
        self.others.iter_mut().for_each(|sink| tell(&mut **sink));
        tell(&mut *self.last);
    }

    /// Gives each a copy, and the last the item itself.
    fn share<T: Clone>(&mut self, item: Box<T>, give: impl Fn(&mut dyn FlushSink, Box<T>)) {
        self.others.iter_mut().for_each(|sink| give(&mut **sink, item.clone()));
        give(&mut *self.last, item);
    }
}

impl FlushSink for FlushSinks {
    fn begin_window(&mut self, start: i64) {
        self.each(|sink| sink.begin_window(start));
    }

    fn reads_keys(&self) -> bool {
        self.last.reads_keys() || self.others.iter().any(|sink| sink.reads_keys())
    }

    fn counter(&mut self, key: &FlushedKey<'_>, stored: Stored) {
        self.each(|sink| sink.counter(key, stored));
    }

    fn bucket(&mut self, bucket: Arc<Snapshot>) {
        self.last.bucket(bucket);
    }

    fn end_buckets(&mut self) {
        self.each(|sink| sink.end_buckets());
    }

    fn topper(&mut self, topper: &FlushedTopper<'_>, stored: Stored) {
        self.each(|sink| sink.topper(topper, stored));
    }

    fn alert(&mut self, alert: Box<Alert>, stored: Stored) {
        self.share(alert, |sink, alert| sink.alert(alert, stored));
    }

    fn resource(&mut self, resource: Box<Resource>, stored: Stored) {
        self.share(resource, |sink, resource| sink.resource(resource, stored));
    }

    fn document(&mut self, document: Box<Document>, stored: Stored) {
        self.share(document, |sink, document| sink.document(document, stored));
    }

    fn flow(&mut self, flow: Box<Session>, stored: Stored) {
        self.share(flow, |sink, flow| sink.flow(flow, stored));
    }

    fn tracked(&mut self, flow: &TrackedFlow<'_>) {
        self.each(|sink| sink.tracked(flow));
    }

    fn end_second(&mut self) {
        self.each(|sink| sink.end_second());
    }

    fn end_window(&mut self, start: i64) {
        self.each(|sink| sink.end_window(start));
    }
}
