//! Several takers of what is flushed.

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

    fn bucket(&mut self, bucket: Snapshot) {
        self.last.bucket(bucket);
    }

    fn topper(&mut self, topper: &FlushedTopper<'_>, stored: Stored) {
        self.each(|sink| sink.topper(topper, stored));
    }

    fn alert(&mut self, alert: Box<Alert>, stored: Stored) {
        self.others.iter_mut().for_each(|sink| sink.alert(alert.clone(), stored));
        self.last.alert(alert, stored);
    }

    fn resource(&mut self, resource: Box<Resource>, stored: Stored) {
        self.others.iter_mut().for_each(|sink| sink.resource(resource.clone(), stored));
        self.last.resource(resource, stored);
    }

    fn document(&mut self, document: Box<Document>, stored: Stored) {
        self.others.iter_mut().for_each(|sink| sink.document(document.clone(), stored));
        self.last.document(document, stored);
    }

    fn flow(&mut self, flow: Box<Session>, stored: Stored) {
        self.others.iter_mut().for_each(|sink| sink.flow(flow.clone(), stored));
        self.last.flow(flow, stored);
    }

    fn tracked(&mut self, flow: &TrackedFlow<'_>) {
        self.each(|sink| sink.tracked(flow));
    }

    fn end_window(&mut self, start: i64) {
        self.each(|sink| sink.end_window(start));
    }
}
