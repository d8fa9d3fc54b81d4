//! Where one engine's records go: the terminal, the event stream, and the records of the report.

use std::sync::Arc;

use super::backend_feed::BackendFeed;
use super::control::Done;
use super::flow_stage::facts_of;
use super::found;
use super::outputs::{Around, Outputs};
use super::stored;
use crate::api::{AlertRecord, Found, LogLevel, Rank, Record, ScriptId, Stamp};
use crate::backend::{alert_of, edges_of};
use crate::dissect::{FindingKind, Findings};
use crate::flow::{FlowHandle, Flows};
use crate::guid::Guid;
use crate::metrics::{
    CountedDirection, Document, Edge, EdgeOutcome, FlowRecord, FlowStatement, GroupKind, Message, MessageTarget,
    Records, Resource, Session,
};
use crate::packet::Batch;
use crate::plugin::Catalog;
use crate::sink::eve::FlowItem;
use crate::sink::{ConsoleSender, EventLines, EventSender, Field, Head, Parcel, StoreSender, harmless, json_text};
use crate::time::{self, Timestamp};

/// Name under which the host itself appears in the event stream.
pub const NATIVE: &str = "native:millstream";

/// Where lines go that scripts print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prints {
    /// To standard output.
    #[default]
    Output,
    /// To standard error, because standard output is for a document.
    Error,
}

/// Where it is decided which edges are new and within their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgePlace {
    /// Here, or in the backend where that takes them from here.
    #[default]
    Here,
    /// In the backend, which has taken them already.
    Backend,
}

/// Where records go; one per engine.
#[derive(Debug)]
pub struct Outlet {
    /// Names of the scripts.
    pub names: Arc<[String]>,
    /// The terminal.
    pub console: Option<ConsoleSender>,
    /// Where on it prints go.
    pub prints: Prints,
    /// The event stream.
    pub events: Option<EventSender>,
    /// The store.
    pub store: Option<StoreSender>,
    /// Least important log line shown on the terminal.
    pub threshold: LogLevel,
    /// Everybody else.
    pub outputs: Outputs,
    /// What the report is made from.
    pub records: Records,
    /// Where edges are told apart.
    pub edges: EdgePlace,
    parcel: Parcel,
    /// The order of a batch, kept for its memory: packet, rank and place.
    order: Vec<(u32, Rank, usize)>,
    /// What the watchers know of.
    pub(super) told: Done,
}

impl Outlet {
    /// An outlet without terminal and events.
    #[must_use]
    pub fn new(names: Arc<[String]>, threshold: LogLevel) -> Self {
        Self {
            names,
            console: None,
            prints: Prints::default(),
            events: None,
            store: None,
            threshold,
            outputs: Outputs::default(),
            records: Records::default(),
            edges: EdgePlace::default(),
            parcel: Parcel::default(),
            order: Vec::new(),
            told: Done::default(),
        }
    }

    /// An outlet that leads nowhere, with a copy of the records for a report.
    #[must_use]
    pub fn copy_of_records(&self) -> Self {
        Self { records: self.records.for_report(), ..Self::new(Arc::clone(&self.names), self.threshold) }
    }

    /// Leaves it to the backend to put the lines of all threads in order.
    #[must_use]
    pub fn holding_events(mut self) -> Self {
        self.events = self.events.map(EventSender::holding);
        self
    }

    /// Lines that wait for their place.
    pub(super) fn take_lines(&mut self) -> EventLines {
        self.events.as_mut().map(EventSender::take).unwrap_or_default()
    }

    /// Puts lines of another thread here.
    pub(super) fn put_lines(&mut self, lines: EventLines) {
        if let Some(events) = &mut self.events {
            events.put(lines);
            events.rest();
        }
    }

    /// Learns the names of scripts that are new.
    pub fn learn_names(&mut self, catalog: &Catalog) {
        if catalog.entries.len() > self.names.len() {
            self.names = catalog.entries.iter().map(|entry| entry.name.clone()).collect();
        }
    }

    /// Shows a line of the host's own, as the log does, which may wait for whoever reads it.
    pub fn tell(&mut self, level: LogLevel, text: &str) {
        if level <= self.threshold
            && let Some(console) = &self.console
        {
            let err = log_line(time::wall(), level, "millstream", text.as_bytes());
            console.send(Parcel { err, lines: 1, ..Parcel::default() });
        }
    }

    /// Takes records that come from elsewhere than from packets.
    pub fn take(&mut self, records: &mut Vec<(Stamp, Record)>) {
        self.take_batch(records, (None, None), &mut None);
    }

    /// Takes the records of a batch, in the order of their packets and, for one packet, of the scripts; `traffic` are the
    /// findings that they speak of and the flows of those, `batch` the packets. What has been seen goes to the backend, and what comes back from
    /// there to the store.
    pub fn take_batch(
        &mut self,
        records: &mut Vec<(Stamp, Record)>,
        (traffic, batch): (Option<(&Findings, &Flows)>, Option<&Batch>),
        backend: &mut Option<BackendFeed>,
    ) {
        // Records without a packet come from between two batches; those that belong together there have the same rank and
        // keep their place. Records are long, so it is not they that are put in order.
        let mut order = std::mem::take(&mut self.order);
        order.extend(records.iter().zip(0..).map(|((stamp, _), place)| (stamp.packet, stamp.rank, place)));
        order.sort();
        for &(.., place) in &order {
            let (stamp, record) = &mut records[place];
            match (&*record, traffic) {
                (Record::Found(found), Some(traffic)) => {
                    self.found(stamp.time, *found, traffic, backend);
                    continue;
                }
                (Record::FlowEnd(flow, reason), Some((_, flows))) => {
                    self.flow_end(stamp.time, (*flow, reason), flows, backend);
                    continue;
                }
                _ => {}
            }
            let around = Around { flows: traffic.map(|(_, flows)| flows), batch };
            self.see(stamp, record, around);
            if matches!(record, Record::Edge { .. } | Record::FlowEdges { .. }) {
                self.take_edges(stamp.time, record, backend);
                continue;
            }
            let is_taken = backend.as_mut().is_some_and(|backend| backend.record(stamp.time, record));
            if let (false, Some(store)) = (is_taken, &mut self.store) {
                let script = name(&self.names, stamp.script);
                let time = time_in_store(stamp, record, traffic.map(|(_, flows)| flows));
                stored::store(store, time, script, record);
            }
        }
        records.clear();
        order.clear();
        self.order = order;
        self.rest();
        if self.parcel.lines > 0 {
            let parcel = std::mem::take(&mut self.parcel);
            if let Some(console) = &self.console {
                console.send(parcel);
            }
        }
    }

    /// Takes edges that a script made. Those of several threads meet in the backend: a vertex has as many neighbours as one
    /// thread would let it have.
    fn take_edges(&mut self, time: Timestamp, record: &mut Record, backend: &mut Option<BackendFeed>) {
        if self.edges == EdgePlace::Backend {
            return;
        }
        let backend = backend.as_mut().filter(|backend| backend.takes_edges());
        let mut edges = Vec::new();
        edges_of(record, &mut edges);
        match backend {
            Some(backend) => {
                edges.retain(|edge| self.records.edges.screen(time, edge) == EdgeOutcome::New);
                edges.into_iter().for_each(|edge| backend.edge(time, edge));
            }
            None => edges.into_iter().for_each(|edge| self.edge(time, edge)),
        }
    }

    /// Takes an edge on which is decided here.
    pub fn edge(&mut self, time: Timestamp, edge: Edge) {
        let is_new = self.records.edges.add(time, &edge) == EdgeOutcome::New;
        if let (true, Some(store)) = (is_new, &mut self.store) {
            store.edge(time, edge);
        }
    }

    /// Takes what outputs read where it lies.
    fn found(
        &mut self,
        time: Timestamp,
        found: Found,
        (findings, flows): (&Findings, &Flows),
        backend: &mut Option<BackendFeed>,
    ) {
        let Some(finding) = findings.list().get(found.place as usize) else { return };
        let flow = flows.flow(finding.flow);
        if found.is_event
            && let (Some(flow), Some(eve)) = (flow, &mut self.outputs.eve)
        {
            let origin = flows.facts(finding.flow).origin.unwrap_or_default();
            found::show(eve, time, (findings, &finding.kind), (flow, origin));
        }
        if !found.is_row {
            return;
        }
        let flow = flow.map(|flow| &flow.tuple);
        match (finding.kind, backend) {
            (FindingKind::Attribute { .. }, _) | (_, None) => {
                if let Some(store) = &mut self.store {
                    found::store(store, time, (findings, &finding.kind), flow);
                }
            }
            (_, Some(backend)) => backend.found(time, (findings, &finding.kind), flow),
        }
    }

    /// Takes a flow that ended.
    fn flow_end(
        &mut self,
        time: Timestamp,
        (handle, reason): (FlowHandle, &'static str),
        flows: &Flows,
        backend: &mut Option<BackendFeed>,
    ) {
        let Some(flow) = flows.flow(handle) else { return };
        let session = Session { tags: flows.tags(handle).to_vec(), reason, ..facts_of(flow) };
        if let Some(backend) = backend {
            backend.flow_end(&session, &flow.tuple);
        }
        if let Some(eve) = &mut self.outputs.eve {
            eve.flow(FlowItem { time, flow: session, tuple: Some(flow.tuple), facts: flows.facts(handle) });
        }
    }

    fn see(&mut self, stamp: &Stamp, record: &Record, around: Around<'_>) {
        keep(&mut self.records, stamp.time, record);
        match record {
            Record::Print { text } => {
                let lines = match self.prints {
                    Prints::Output => &mut self.parcel.out,
                    Prints::Error => &mut self.parcel.err,
                };
                lines.extend_from_slice(text);
                lines.push(b'\n');
                self.parcel.lines += 1;
            }
            Record::Log { level, text } if *level <= self.threshold => {
                let line = log_line(stamp.time, *level, name(&self.names, stamp.script), text);
                self.parcel.err.extend_from_slice(&line);
                self.parcel.lines += 1;
            }
            _ => {}
        }
        let lines = match self.prints {
            Prints::Output => &mut self.parcel.out,
            Prints::Error => &mut self.parcel.err,
        };
        self.parcel.lines += self.outputs.offer((stamp, name(&self.names, stamp.script)), record, around, lines);
        if let Some(events) = &mut self.events {
            let script = name(&self.names, stamp.script);
            let head = Head { ev: kind_of(record), time: stamp.time, script, side: stamp.side.name() };
            write_record(events, &head, record);
        }
    }

    /// Nothing comes for a while, in which scripts run.
    fn rest(&mut self) {
        if let Some(events) = &mut self.events {
            events.rest();
        }
        self.outputs.rest();
    }

    /// Whether somebody reads how each job ended.
    #[must_use]
    pub fn reads_jobs(&self) -> bool {
        self.events.is_some() || self.store.as_ref().is_some_and(StoreSender::takes_job_ends)
    }

    /// Hands on what has come together.
    pub fn flush(&mut self) {
        if let Some(events) = &mut self.events {
            events.flush();
        }
        if let Some(store) = &mut self.store {
            store.flush();
        }
        self.outputs.flush();
    }
}

fn name(names: &[String], script: ScriptId) -> &str {
    names.get(usize::from(script.0)).map_or(script.native_name(), String::as_str)
}

/// Name of a record's kind in the event stream.
fn kind_of(record: &Record) -> &'static str {
    match record {
        Record::Print { .. } => "print",
        Record::Log { .. } => "log",
        Record::KeyInfo { .. } => "keyinfo",
        Record::KeyAttribute { .. } => "key_attribute",
        Record::Alert(_) => "alert",
        Record::Resource { .. } => "resource",
        Record::Tag { .. } => "tag",
        Record::Document { .. } => "fts",
        Record::File { .. } => "file",
        Record::Flow(_) => "flow",
        Record::StorePolicy { .. } => "store_policy",
        Record::FlowAttribute(_) => "flow_attribute",
        Record::FlowCounter { .. } => "flow_counter",
        Record::FlowUpdate { .. } => "flow_update",
        Record::TerminateFlow { .. } => "terminate_flow",
        Record::DisableReassembly { .. } => "disable_reassembly",
        Record::Edge { .. } => "edge",
        Record::FlowEdges { .. } => "flow_edges",
        Record::Message { .. } => "message",
        Record::Fault { .. } => "fault",
        Record::Job { .. } => "job",
        Record::FlowEnd(..) => "flow_end",
        Record::FlowMeter { .. } => "flow_meter",
        Record::LateTag { .. } => "late_tag",
        Record::Found(_) => "found",
    }
}

/// When something happened for those who look for it later. An attribute that a script finds out when the flow has ended is
/// looked for within the life of the flow.
fn time_in_store(stamp: &Stamp, record: &Record, flows: Option<&Flows>) -> Timestamp {
    let end = match record {
        Record::FlowAttribute(attribute) if attribute.flow().is_none() => {
            flows.and_then(|flows| flows.end_of(attribute.flow_text()))
        }
        _ => None,
    };
    end.map_or(stamp.time, |end| stamp.time.min(end))
}

/// Keeps what the report shows.
fn keep(records: &mut Records, time: Timestamp, record: &Record) {
    let flow = |flow: &Vec<u8>| (!flow.is_empty()).then(|| flow.clone());
    let mut say = |flow: &Vec<u8>, statement| records.add_flow_record(FlowRecord { flow: flow.clone(), statement });
    match record {
        Record::Tag { flow, tag } => say(flow, FlowStatement::Tag(tag.clone())),
        Record::FlowAttribute(attribute) => records.add_flow_statement("flow_attribute", || FlowRecord {
            flow: attribute.flow_id(),
            statement: FlowStatement::Attribute(attribute.name().to_vec(), attribute.value().to_vec()),
        }),
        Record::FlowCounter { flow, guid, key, meter, direction, reset } => {
            let direction = match *direction {
                1.0 => CountedDirection::Out,
                2.0 => CountedDirection::In,
                _ => CountedDirection::Both,
            };
            let (group, key, meter) = (*guid, key.clone(), *meter as u32);
            say(flow, FlowStatement::Counter { group, key, meter, direction, reset: *reset });
        }
        Record::FlowUpdate { flow, field, value } => say(flow, FlowStatement::Update(field.clone(), *value)),
        Record::FlowEdges { flow, guid, key } => {
            say(flow, FlowStatement::Edges(*guid, key.clone()));
        }
        Record::TerminateFlow { flow } => say(flow, FlowStatement::Terminate),
        Record::DisableReassembly { flow } => {
            let statement = FlowStatement::DisableReassembly;
            records.add_flow_statement(statement.name(), || FlowRecord { flow: flow.to_id(), statement });
        }
        Record::Alert(alert) => records.alerts.add(|| alert_of(time, alert)),
        Record::Resource { guid, flow: id, uri, label } => {
            records.count_group(GroupKind::Resource, *guid);
            records.resources.add(|| Resource {
                time,
                group: *guid,
                flow: flow(id),
                uri: uri.clone(),
                label: label.clone(),
            });
        }
        Record::KeyInfo { guid, key, label, description } => {
            records.notes.set_label(*guid, key, label, description.as_deref());
        }
        Record::KeyAttribute { guid, key, name, value } => {
            records.notes.set_attribute(*guid, key, name, value);
        }
        Record::Message { to, id, text } => records.messages.add(|| Message {
            to: if *to == "backend" { MessageTarget::Backend } else { MessageTarget::Frontend },
            id: id.clone(),
            text: text.clone(),
        }),
        Record::Document { guid, flow: id, text } => {
            records.count_group(GroupKind::Fts, *guid);
            records.documents.add(|| Document { time, group: *guid, flow: flow(id), text: text.clone() });
        }
        Record::Print { .. }
        | Record::Log { .. }
        | Record::Edge { .. }
        | Record::Fault { .. }
        | Record::Job { .. }
        | Record::Flow(_)
        | Record::FlowEnd(..)
        | Record::FlowMeter { .. }
        | Record::LateTag { .. }
        | Record::Found(_)
        | Record::File { .. }
        | Record::StorePolicy { .. } => {}
    }
}

/// `<time> <LEVEL> [script] text`, with the line feed; before the first packet there is no time, and `-` in its place.
#[must_use]
pub fn log_line(time: Timestamp, level: LogLevel, script: &str, text: &[u8]) -> Vec<u8> {
    let time = if time == Timestamp::EPOCH { "-".to_owned() } else { date_time(time) };
    let mut line = format!("{time} {} [{script}] ", level.name()).into_bytes();
    line.extend_from_slice(harmless(text).as_bytes());
    line.push(b'\n');
    line
}

/// `2026-11-21 08:15:30.123456`, UTC.
#[must_use]
pub fn date_time(time: Timestamp) -> String {
    let (days, secs) = (time.secs().div_euclid(86_400), time.secs().rem_euclid(86_400));
    // Days since 0000-03-01 in eras of 400 years: the civil calendar without a table of month lengths.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
    let micros = time.subsec_micros();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

fn guid_text(guid: Guid) -> String {
    guid.to_string()
}

fn write_record(events: &mut EventSender, head: &Head<'_>, record: &Record) {
    use Field::{Bytes, Count, Flag, Number, Raw, Text};
    match record {
        Record::Print { text } => events.event(head, &[("text", Bytes(text))]),
        Record::Log { level, text } => events.event(head, &[("level", Text(level.name())), ("text", Bytes(text))]),
        Record::KeyInfo { guid, key, label, description } => events.event(
            head,
            &[
                ("guid", Text(&guid_text(*guid))),
                ("key", Bytes(key)),
                ("label", Bytes(label)),
                ("description", Bytes(description.as_deref().unwrap_or_default())),
            ],
        ),
        Record::KeyAttribute { guid, key, name, value } => events.event(
            head,
            &[("guid", Text(&guid_text(*guid))), ("key", Bytes(key)), ("name", Bytes(name)), ("value", Bytes(value))],
        ),
        Record::Alert(alert) => write_alert(events, head, alert),
        Record::Resource { guid, flow, uri, label } => events.event(
            head,
            &[("guid", Text(&guid_text(*guid))), ("flow", Bytes(flow)), ("uri", Bytes(uri)), ("label", Bytes(label))],
        ),
        Record::Tag { flow, tag } => events.event(head, &[("flow", Bytes(flow)), ("tag", Bytes(tag))]),
        Record::FlowAttribute(attribute) => events.event(
            head,
            &[
                ("flow", Bytes(&attribute.flow_id())),
                ("name", Bytes(attribute.name())),
                ("value", Bytes(attribute.value())),
            ],
        ),
        Record::FlowCounter { flow, guid, key, meter, direction, reset } => events.event(
            head,
            &[
                ("flow", Bytes(flow)),
                ("guid", Text(&guid_text(*guid))),
                ("key", key.as_deref().map_or(Raw("null"), Bytes)),
                ("meter", Number(*meter)),
                ("direction", Number(*direction)),
                ("reset", Flag(*reset)),
            ],
        ),
        Record::FlowUpdate { flow, field, value } => {
            events.event(head, &[("flow", Bytes(flow)), ("field", Text(field)), ("value", Number(*value))]);
        }
        Record::File { flow, path, length, is_chunk } => events.event(
            head,
            &[("flow", Bytes(flow)), ("path", Bytes(path)), ("length", Count(*length)), ("is_chunk", Flag(*is_chunk))],
        ),
        Record::Document { guid, flow, text } => {
            events.event(head, &[("guid", Text(&guid_text(*guid))), ("flow", Bytes(flow)), ("text", Bytes(text))])
        }
        Record::Flow(flow) => write_flow(events, head, &flow.session),
        Record::FlowEnd(..) | Record::FlowMeter { .. } | Record::LateTag { .. } | Record::Found(_) => {}
        Record::StorePolicy { flow, policy } => {
            events.event(head, &[("flow", Bytes(flow)), ("policy", Count(u64::from(*policy)))]);
        }
        Record::TerminateFlow { flow } => events.event(head, &[("flow", Bytes(flow))]),
        Record::DisableReassembly { flow } => events.event(head, &[("flow", Bytes(&flow.to_id()))]),
        Record::Edge { from_guid, from_key, to_guid, to_key } => events.event(
            head,
            &[
                ("from_guid", Text(&guid_text(*from_guid))),
                ("from_key", Bytes(from_key)),
                ("to_guid", Text(&guid_text(*to_guid))),
                ("to_key", Bytes(to_key)),
            ],
        ),
        Record::FlowEdges { flow, guid, key } => {
            events.event(head, &[("flow", Bytes(flow)), ("guid", Text(&guid_text(*guid))), ("key", Bytes(key))]);
        }
        Record::Message { to, id, text } => {
            events.event(head, &[("to", Text(to)), ("id", Bytes(id)), ("text", Bytes(text))]);
        }
        Record::Fault { callback, message, count } => {
            events.event(head, &[("callback", Text(callback)), ("message", Text(message)), ("count", Count(*count))])
        }
        Record::Job { id, state, kind, function, attempt } => events.event(
            head,
            &[
                ("id", Text(id)),
                ("state", Text(state)),
                ("kind", Text(kind)),
                ("fn", Text(function)),
                ("attempt", Count(u64::from(*attempt))),
            ],
        ),
    }
}

fn write_flow(events: &mut EventSender, head: &Head<'_>, flow: &Session) {
    use Field::{Bytes, Count, Number, Text};
    let ([az_bytes, za_bytes], [az_packets, za_packets], [az_payload, za_payload]) =
        (flow.bytes, flow.packets, flow.payload);
    events.event(
        head,
        &[
            ("flow", Bytes(&flow.id)),
            ("start", Number(flow.start.as_secs_f64())),
            ("end", Number(flow.end.as_secs_f64())),
            ("az_bytes", Count(az_bytes)),
            ("za_bytes", Count(za_bytes)),
            ("az_packets", Count(az_packets)),
            ("za_packets", Count(za_packets)),
            ("az_payload", Count(az_payload)),
            ("za_payload", Count(za_payload)),
            ("state", Count(u64::from(flow.state))),
            ("tags", Bytes(&flow.tags)),
            ("setup_rtt", Count(u64::from(flow.setup_rtt))),
            ("retrans", Count(u64::from(flow.retransmissions))),
            ("reason", Text(flow.reason)),
        ],
    );
}

fn write_alert(events: &mut EventSender, head: &Head<'_>, alert: &AlertRecord) {
    use Field::{Bytes, Number, Raw, Text};
    let guid = guid_text(alert.guid);
    let mut fields = vec![
        ("guid", Text(&guid)),
        ("flow", Bytes(&alert.flow)),
        ("sigid", Bytes(&alert.sigid)),
        ("priority", Number(alert.priority)),
        ("message", Bytes(&alert.message)),
        ("classification", Bytes(&alert.classification)),
        ("status", Bytes(&alert.status)),
        ("kind", Text(alert.kind.name())),
    ];
    let time;
    if let Some(ends) = &alert.ends {
        time = ends.time.as_secs_f64();
        fields.extend([
            ("source_ip", Text(&ends.source_ip)),
            ("source_port", Text(&ends.source_port)),
            ("destination_ip", Text(&ends.destination_ip)),
            ("destination_port", Text(&ends.destination_port)),
            ("protocol", Number(ends.protocol as f64)),
            ("sig_rev", Number(ends.sig_rev as f64)),
            ("time", Number(time)),
        ]);
    }
    let extra = json_text(&alert.extra);
    if !alert.extra.is_empty() {
        fields.push(("extra_message", Raw(&extra)));
    }
    events.event(head, &fields);
}

#[cfg(test)]
mod tests {
    use super::{date_time, log_line};
    use crate::api::LogLevel;
    use crate::time::Timestamp;

    #[test]
    fn dates_follow_the_civil_calendar() {
        assert_eq!(date_time(Timestamp::EPOCH), "1970-01-01 00:00:00.000000");
        assert_eq!(date_time(Timestamp::new(951_782_400, 5_000)), "2000-02-29 00:00:00.000005");
        assert_eq!(date_time(Timestamp::new(4_294_967_295, 0)), "2106-02-07 06:28:15.000000");
        assert_eq!(date_time(Timestamp::new(-1, 0)), "1969-12-31 23:59:59.000000");
    }

    #[test]
    fn log_lines_carry_time_level_and_script() {
        let line = log_line(Timestamp::new(100, 0), LogLevel::Warn, "a.lua", b"text");
        assert_eq!(line, b"1970-01-01 00:01:40.000000 WARN [a.lua] text\n");
        let line = log_line(Timestamp::EPOCH, LogLevel::Notice, "a.lua", b"nothing yet");
        assert_eq!(line, b"- NOTICE [a.lua] nothing yet\n");
        // What a script took from a packet does not steer the terminal; a traceback keeps its lines.
        let line = log_line(Timestamp::EPOCH, LogLevel::Error, "a.lua", b"\x1b]0;own\x07 \xc2\x9b31m\r\nin \tfunction");
        assert_eq!(line, b"- ERROR [a.lua]  ]0;own   31m \nin \tfunction\n");
    }
}
