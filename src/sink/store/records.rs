//! Everything but counters: one statement a row, or one for many rows where there are many.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use rusqlite::{Connection, Statement, params};

use super::bulk::ROWS;
use super::keys::{Groups, Keys};
use super::ordered::{Ordered, hour};
use super::row::{Row, StoredJobEnd, StoredKeyAttribute, StoredLabel, StoredTopper, StoredTracked, Text, whole};
use super::statements::{DOCUMENT_COLUMNS, FLOW_COLUMNS, RESOURCE_COLUMNS, Statements, Which};
use crate::metrics::{Alert, Document, Edge, GroupKind, Resource, Session};
use crate::time::Timestamp;

/// The flows with a row in `open_flows`, by a hash of id and start; one too many costs a statement that does nothing.
#[derive(Debug, Default)]
pub(super) struct OpenFlows {
    known: HashSet<u64, RandomState>,
    /// After a rollback the table may hold others.
    unsure: bool,
}

impl OpenFlows {
    fn hash(&self, flow: &Session) -> u64 {
        self.known.hasher().hash_one((&flow.id, flow.start))
    }

    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        self.unsure = true;
    }
}

/// Rows that wait until there are enough of them for a statement.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    flows: Vec<Session>,
    /// With the numbers of their groups.
    resources: Vec<(i64, Box<Resource>)>,
    documents: Vec<(i64, Box<Document>)>,
}

impl Gathered {
    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Where rows go.
pub(super) struct Target<'a> {
    pub(super) db: &'a Connection,
    pub(super) groups: &'a mut Groups,
    pub(super) keys: &'a mut Keys,
    pub(super) open: &'a mut OpenFlows,
    pub(super) ordered: &'a mut Ordered,
    pub(super) gathered: &'a mut Gathered,
    pub(super) run: i64,
}

impl Target<'_> {
    /// Writes rows of a run.
    pub(super) fn write(&mut self, rows: Vec<Row>) -> rusqlite::Result<()> {
        let mut statements = Statements::new(self.db);
        rows.into_iter().try_for_each(|row| self.one(&mut statements, row))
    }

    fn one(&mut self, to: &mut Statements<'_>, row: Row) -> rusqlite::Result<()> {
        let (db, run) = (self.db, self.run);
        match row {
            Row::Flow(flow) => {
                let was_open = !self.open.known.is_empty() && self.open.known.remove(&self.open.hash(&flow));
                if was_open || self.open.unsure {
                    to.get(Which::FlowEnded)?.execute(params![Text(&flow.id), flow.start.as_nanos()])?;
                }
                self.gathered.flows.push(*flow);
                if self.gathered.flows.len() >= ROWS { self.flows(to) } else { Ok(()) }
            }
            Row::OpenFlow(flow) => {
                let hash = self.open.hash(&flow);
                self.open.known.insert(hash);
                write_open_flow(to.get(Which::OpenFlow)?, run, &flow)
            }
            Row::FlowAttribute(time, attribute) => {
                self.ordered.flow_attribute(time, &attribute);
                Ok(())
            }
            Row::Alert(alert) => {
                let group = self.groups.id(db, GroupKind::Alert, alert.group)?;
                write_alert(to.get(Which::Alert)?, run, group, &alert)
            }
            Row::Resource(resource) => {
                let group = self.groups.id(db, GroupKind::Resource, resource.group)?;
                self.gathered.resources.push((group, resource));
                if self.gathered.resources.len() >= ROWS { self.resources(to) } else { Ok(()) }
            }
            Row::Document(document) => {
                let group = self.groups.id(db, GroupKind::Fts, document.group)?;
                self.gathered.documents.push((group, document));
                if self.gathered.documents.len() >= ROWS { self.documents(to) } else { Ok(()) }
            }
            Row::Edge(time, edge) => self.edge(to, time, &edge),
            Row::Topper(topper) => self.topper(to, &topper),
            Row::Tracked(tracked) => write_tracked(to.get(Which::Tracked)?, &tracked),
            Row::JobEnd(time, job) => write_job_end(to.get(Which::JobEnd)?, run, time, &job),
            Row::Label(label) => {
                let StoredLabel { group, key, label, description } = *label;
                let group = self.groups.id(db, GroupKind::Counter, group)?;
                write_label(to, group, &key, &label, description.as_deref())
            }
            Row::Attribute(attribute) => {
                let StoredKeyAttribute { group, key, name, value } = *attribute;
                let group = self.groups.id(db, GroupKind::Counter, group)?;
                to.get(Which::Attribute)?.execute(params![group, Text(&key), Text(&name), Text(&value)])?;
                Ok(())
            }
        }
    }

    /// Enters what waits for more of its kind.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        let mut to = Statements::new(self.db);
        self.flows(&mut to)?;
        self.resources(&mut to)?;
        self.documents(&mut to)?;
        self.keys.write(self.db)
    }

    fn flows(&mut self, to: &mut Statements<'_>) -> rusqlite::Result<()> {
        let (run, flows) = (self.run, &mut self.gathered.flows);
        to.enter((Which::Flow, Which::Flows, FLOW_COLUMNS), flows, |statement, at, flow| {
            bind_flow(statement, at, run, flow)?;
            statement.raw_bind_parameter(at + 16, flow.reason)
        })?;
        // Rows of one statement, and of statements one after the other, have numbers one after the other.
        let first = self.db.last_insert_rowid() - flows.len() as i64 + 1;
        for (id, flow) in (first..).zip(flows.drain(..)) {
            self.ordered.flow_size(bytes_of(&flow), id);
        }
        Ok(())
    }

    fn resources(&mut self, to: &mut Statements<'_>) -> rusqlite::Result<()> {
        let (run, resources) = (self.run, &mut self.gathered.resources);
        to.enter(
            (Which::Resource, Which::Resources, RESOURCE_COLUMNS),
            resources,
            |statement, at, (group, resource)| {
                bind_item(statement, at, (run, resource.time, *group, resource.flow.as_deref()))?;
                statement.raw_bind_parameter(at + 5, Text(&resource.uri))?;
                statement.raw_bind_parameter(at + 6, Text(Resource::cut_label(&resource.label)))
            },
        )?;
        resources.clear();
        Ok(())
    }

    fn documents(&mut self, to: &mut Statements<'_>) -> rusqlite::Result<()> {
        let (run, documents) = (self.run, &mut self.gathered.documents);
        to.enter(
            (Which::Document, Which::Documents, DOCUMENT_COLUMNS),
            documents,
            |statement, at, (group, document)| {
                bind_item(statement, at, (run, document.time, *group, document.flow.as_deref()))?;
                statement.raw_bind_parameter(at + 5, Text(&document.text))
            },
        )?;
        let first = self.db.last_insert_rowid() - documents.len() as i64 + 1;
        for (id, (_, document)) in (first..).zip(documents.drain(..)) {
            self.ordered.document(document.time, id);
            to.get(Which::DocumentWords)?.execute(params![id, Text(&document.text)])?;
        }
        Ok(())
    }

    fn edge(&mut self, to: &mut Statements<'_>, time: Timestamp, edge: &Edge) -> rusqlite::Result<()> {
        let from_group = self.groups.id(self.db, GroupKind::Counter, edge.from_guid)?;
        let to_group = self.groups.id(self.db, GroupKind::Counter, edge.to_guid)?;
        let (from_key, to_key) = (Text(&edge.from_key), Text(&edge.to_key));
        to.get(Which::Edge)?.execute(params![from_group, from_key, hour(time), to_group, to_key])?;
        Ok(())
    }

    fn topper(&mut self, to: &mut Statements<'_>, topper: &StoredTopper) -> rusqlite::Result<()> {
        let group = self.groups.id(self.db, GroupKind::Counter, topper.group)?;
        let key = self.keys.id(self.db, &topper.key)?;
        to.get(Which::Topper)?.execute(params![group, topper.meter, topper.bucket, key, topper.value])?;
        Ok(())
    }
}

fn write_open_flow(statement: &mut Statement<'_>, run: i64, flow: &Session) -> rusqlite::Result<()> {
    bind_flow(statement, 0, run, flow)?;
    statement.raw_execute()?;
    Ok(())
}

/// Bytes of both directions.
fn bytes_of(flow: &Session) -> i64 {
    whole(flow.bytes[0].saturating_add(flow.bytes[1]))
}

/// The columns that flows that ended and others share, behind so many other parameters.
fn bind_flow(statement: &mut Statement<'_>, at: usize, run: i64, flow: &Session) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at + 1, run)?;
    statement.raw_bind_parameter(at + 2, Text(&flow.id))?;
    let numbers = [
        flow.start.as_nanos(),
        flow.end.as_nanos(),
        bytes_of(flow),
        whole(flow.bytes[0]),
        whole(flow.bytes[1]),
        whole(flow.packets[0]),
        whole(flow.packets[1]),
        whole(flow.payload[0]),
        whole(flow.payload[1]),
        i64::from(flow.state),
    ];
    for (index, number) in (at + 3..).zip(numbers) {
        statement.raw_bind_parameter(index, number)?;
    }
    statement.raw_bind_parameter(at + 13, optional(&flow.tags))?;
    statement.raw_bind_parameter(at + 14, flow.setup_rtt)?;
    statement.raw_bind_parameter(at + 15, flow.retransmissions)
}

/// The columns that resources and documents share: run, time, group and flow.
fn bind_item(
    statement: &mut Statement<'_>,
    at: usize,
    (run, time, group, flow): (i64, Timestamp, i64, Option<&[u8]>),
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at + 1, run)?;
    statement.raw_bind_parameter(at + 2, time.as_nanos())?;
    statement.raw_bind_parameter(at + 3, group)?;
    statement.raw_bind_parameter(at + 4, flow.map(Text))
}

/// Empty texts are no text.
fn optional(text: &[u8]) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(Text(text))
}

fn write_alert(statement: &mut Statement<'_>, run: i64, group: i64, alert: &Alert) -> rusqlite::Result<()> {
    // NaN would be NULL.
    let priority = if alert.priority.is_nan() { 0.0 } else { alert.priority };
    statement.execute(params![
        run,
        alert.time.as_nanos(),
        group,
        alert.flow.as_deref().map(Text),
        Text(&alert.sigid),
        priority,
        Text(&alert.message),
        Text(&alert.classification),
        Text(&alert.status),
        alert.kind.name(),
        optional(&alert.extra),
    ])?;
    Ok(())
}

fn write_tracked(statement: &mut Statement<'_>, tracked: &StoredTracked) -> rusqlite::Result<()> {
    let StoredTracked { tracker, bucket, size, rank, flow, metric } = tracked;
    statement.execute(params![Text(tracker.as_bytes()), bucket, rank, size, Text(flow), metric])?;
    Ok(())
}

fn write_job_end(statement: &mut Statement<'_>, run: i64, time: Timestamp, end: &StoredJobEnd) -> rusqlite::Result<()> {
    let StoredJobEnd { plugin, job, kind, function, state, attempt } = end;
    let plugin = Text(plugin.as_bytes());
    statement.execute(params![run, time.as_nanos(), plugin, job, kind, function, state, attempt])?;
    Ok(())
}

fn write_label(
    to: &mut Statements<'_>,
    group: i64,
    key: &[u8],
    label: &[u8],
    description: Option<&[u8]>,
) -> rusqlite::Result<()> {
    to.get(Which::Label)?.execute(params![group, Text(key), Text(label), description.map(Text)])?;
    if label.is_empty() {
        to.get(Which::LabelGone)?.execute(params![group, Text(key)])?;
    }
    Ok(())
}
