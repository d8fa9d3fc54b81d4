//! Where the results of the backend leave: the event stream, the terminal, the report, and whoever keeps what is flushed.

use std::sync::Arc;

use super::metering::Metering;
use super::outlet::{EdgePlace, NATIVE, Outlet};
use crate::api::{Record, Stamp};
use crate::backend::BackendOutlet;
use crate::metrics::{
    Alert, Document, Edge, FlushSink, FlushedKey, FlushedTopper, Resource, Session, Shard, Snapshot, Stored,
    TrackedFlow,
};
use crate::plugin::Catalog;
use crate::sink::{EventLines, Field, Head, json_text};
use crate::time::Timestamp;

/// The outlet of a backend.
pub struct BackendOut {
    outlet: Outlet,
    /// Counts the alerts of backend scripts.
    metering: Metering,
    /// Keeps what is flushed.
    sink: Option<Box<dyn FlushSink + Send>>,
    /// Start of the window that is being flushed.
    window: i64,
}

impl BackendOut {
    /// Around an outlet of its own.
    #[must_use]
    pub fn new(mut outlet: Outlet, metering: Metering, sink: Option<Box<dyn FlushSink + Send>>) -> Self {
        outlet.edges = EdgePlace::Backend;
        Self { outlet, metering, sink, window: 0 }
    }

    /// The outlet again.
    #[must_use]
    pub fn into_outlet(self) -> Outlet {
        self.outlet
    }

    /// An outlet with a copy of the records alone.
    #[must_use]
    pub fn copy_of_records(&self) -> Outlet {
        self.outlet.copy_of_records()
    }

    fn event(&mut self, ev: &'static str, time: Timestamp, fields: &[(&str, Field<'_>)]) {
        if let Some(events) = &mut self.outlet.events {
            events.event(&Head { ev, time, script: NATIVE, side: "backend" }, fields);
            // Scripts may run before the next one.
            events.rest();
        }
    }

    /// The outcome of the votes on an item, where there is an event stream.
    fn stored(&mut self, what: &str, time: Timestamp, identity: &[(&str, Field<'_>)], stored: Stored) {
        let mut fields = vec![("what", Field::Text(what))];
        fields.extend_from_slice(identity);
        fields.push(("stored", Field::Flag(stored.is_yes())));
        self.event("stored", time, &fields);
    }
}

impl std::fmt::Debug for BackendOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendOut").field("outlet", &self.outlet).finish_non_exhaustive()
    }
}

impl BackendOutlet for BackendOut {
    fn records(&mut self, records: &mut Vec<(Stamp, Record)>, shard: &mut Shard) {
        self.metering.alerts(records, shard);
        self.outlet.take(records);
    }

    fn edge(&mut self, time: Timestamp, edge: Edge) {
        self.outlet.edge(time, edge);
    }

    fn take_lines(&mut self) -> EventLines {
        self.outlet.take_lines()
    }

    fn put_lines(&mut self, lines: EventLines) {
        self.outlet.put_lines(lines);
    }

    fn learn_names(&mut self, catalog: &Catalog) {
        self.outlet.learn_names(catalog);
    }

    fn shows_each(&self) -> bool {
        self.outlet.events.is_some()
    }

    fn hand_over(&mut self) {
        self.outlet.flush();
        self.end_second();
    }
}

impl FlushSink for BackendOut {
    fn begin_window(&mut self, start: i64) {
        self.window = start;
        if let Some(sink) = &mut self.sink {
            sink.begin_window(start);
        }
    }

    fn reads_keys(&self) -> bool {
        self.outlet.events.is_some() || self.sink.as_ref().is_some_and(|sink| sink.reads_keys())
    }

    fn counter(&mut self, key: &FlushedKey<'_>, stored: Stored) {
        if self.outlet.events.is_some() {
            let guid = key.guid.to_string();
            self.event(
                "counter",
                Timestamp::new(key.bucket.saturating_add(key.size), 0),
                &[
                    ("guid", Field::Text(&guid)),
                    ("key", Field::Bytes(key.key)),
                    ("bucket", Field::Number(key.bucket as f64)),
                    ("values", Field::Numbers(key.values)),
                    ("stored", Field::Flag(stored.is_yes())),
                ],
            );
        }
        if let Some(sink) = &mut self.sink {
            sink.counter(key, stored);
        }
    }

    fn bucket(&mut self, bucket: Arc<Snapshot>) {
        if let Some(sink) = &mut self.sink {
            sink.bucket(bucket);
        }
    }

    fn end_buckets(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.end_buckets();
        }
    }

    fn topper(&mut self, topper: &FlushedTopper<'_>, stored: Stored) {
        if self.outlet.events.is_some() {
            let guid = topper.guid.to_string();
            self.event(
                "topper",
                Timestamp::new(topper.bucket.saturating_add(topper.size), 0),
                &[
                    ("guid", Field::Text(&guid)),
                    ("meter", Field::Count(u64::from(topper.meter))),
                    ("bucket", Field::Number(topper.bucket as f64)),
                    ("rank", Field::Number(f64::from(topper.rank))),
                    ("key", Field::Bytes(topper.key)),
                    ("value", Field::Number(topper.value)),
                    ("stored", Field::Flag(stored.is_yes())),
                ],
            );
        }
        if let Some(sink) = &mut self.sink {
            sink.topper(topper, stored);
        }
    }

    fn alert(&mut self, alert: Box<Alert>, stored: Stored) {
        if self.outlet.events.is_some() {
            let guid = alert.group.to_string();
            let flow = alert.flow.as_deref().unwrap_or_default();
            let identity = [
                ("guid", Field::Text(&guid)),
                ("flow", Field::Bytes(flow)),
                ("sigid", Field::Bytes(&alert.sigid)),
                ("priority", Field::Number(alert.priority)),
                ("message", Field::Bytes(&alert.message)),
            ];
            self.stored("alert", alert.time, &identity, stored);
        }
        if let Some(sink) = &mut self.sink {
            sink.alert(alert, stored);
        }
    }

    fn resource(&mut self, resource: Box<Resource>, stored: Stored) {
        if self.outlet.events.is_some() {
            let guid = resource.group.to_string();
            let flow = resource.flow.as_deref().unwrap_or_default();
            let identity =
                [("guid", Field::Text(&guid)), ("flow", Field::Bytes(flow)), ("uri", Field::Bytes(&resource.uri))];
            self.stored("resource", resource.time, &identity, stored);
        }
        if let Some(sink) = &mut self.sink {
            sink.resource(resource, stored);
        }
    }

    fn document(&mut self, document: Box<Document>, stored: Stored) {
        if self.outlet.events.is_some() {
            let guid = document.group.to_string();
            let flow = document.flow.as_deref().unwrap_or_default();
            // Texts are long; their beginning and the flow tell which one it is.
            let text = json_text(&document.text[..document.text.len().min(64)]);
            let identity = [("guid", Field::Text(&guid)), ("flow", Field::Bytes(flow)), ("text", Field::Raw(&text))];
            self.stored("fts", document.time, &identity, stored);
        }
        if let Some(sink) = &mut self.sink {
            sink.document(document, stored);
        }
    }

    fn flow(&mut self, flow: Box<Session>, stored: Stored) {
        if self.outlet.events.is_some() {
            let identity = [
                ("flow", Field::Bytes(&flow.id)),
                ("start", Field::Number(flow.start.as_secs_f64())),
                ("state", Field::Count(u64::from(flow.state))),
                ("tags", Field::Bytes(&flow.tags)),
            ];
            self.stored("flow", flow.end, &identity, stored);
        }
        if let Some(sink) = &mut self.sink {
            sink.flow(flow, stored);
        }
    }

    fn tracked(&mut self, flow: &TrackedFlow<'_>) {
        self.event(
            "flow_tracker",
            Timestamp::new(flow.bucket.saturating_add(flow.size), 0),
            &[
                ("tracker", Field::Text(flow.tracker)),
                ("flow", Field::Bytes(flow.flow)),
                ("metric", Field::Number(flow.metric)),
                ("bucket", Field::Number(flow.bucket as f64)),
            ],
        );
        if let Some(sink) = &mut self.sink {
            sink.tracked(flow);
        }
    }

    fn end_second(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.end_second();
        }
    }

    fn end_window(&mut self, start: i64) {
        if let Some(sink) = &mut self.sink {
            sink.end_window(start);
        }
    }
}
