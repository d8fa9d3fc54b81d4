//! Everything but counters: one statement a row.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use rusqlite::{Connection, Statement, params};

use super::keys::{Groups, Keys};
use super::ordered::{Ordered, hour};
use super::row::{Row, StoredJobEnd, StoredTopper, StoredTracked, Text, whole};
use super::statements::{Statements, Which};
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

/// Where rows go.
pub(super) struct Target<'a> {
    pub(super) db: &'a Connection,
    pub(super) groups: &'a mut Groups,
    pub(super) keys: &'a mut Keys,
    pub(super) open: &'a mut OpenFlows,
    pub(super) ordered: &'a mut Ordered,
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
                write_flow(to.get(Which::Flow)?, run, &flow)?;
                self.ordered.flow_size(bytes_of(&flow), db.last_insert_rowid());
                let was_open = !self.open.known.is_empty() && self.open.known.remove(&self.open.hash(&flow));
                if was_open || self.open.unsure {
                    to.get(Which::FlowEnded)?.execute(params![Text(&flow.id), flow.start.as_nanos()])?;
                }
                Ok(())
            }
            Row::OpenFlow(flow) => {
                let hash = self.open.hash(&flow);
                self.open.known.insert(hash);
                write_open_flow(to.get(Which::OpenFlow)?, run, &flow)
            }
            Row::FlowAttribute(attribute) => {
                self.ordered.flow_attribute(*attribute);
                Ok(())
            }
            Row::Alert(alert) => {
                let group = self.groups.id(db, GroupKind::Alert, alert.group)?;
                write_alert(to.get(Which::Alert)?, run, group, &alert)
            }
            Row::Resource(resource) => {
                let group = self.groups.id(db, GroupKind::Resource, resource.group)?;
                write_resource(to.get(Which::Resource)?, run, group, &resource)
            }
            Row::Document(document) => {
                let group = self.groups.id(db, GroupKind::Fts, document.group)?;
                write_document(to.get(Which::Document)?, run, group, &document)?;
                let id = db.last_insert_rowid();
                self.ordered.document(document.time, id);
                to.get(Which::DocumentWords)?.execute(params![id, Text(&document.text)])?;
                Ok(())
            }
            Row::Edge(time, edge) => self.edge(to, time, &edge),
            Row::Topper(topper) => self.topper(to, &topper),
            Row::Tracked(tracked) => write_tracked(to.get(Which::Tracked)?, &tracked),
            Row::JobEnd(time, job) => write_job_end(to.get(Which::JobEnd)?, run, time, &job),
            Row::Label { group, key, label, description } => {
                let group = self.groups.id(db, GroupKind::Counter, group)?;
                write_label(to, group, &key, &label, description.as_deref())
            }
            Row::Attribute { group, key, name, value } => {
                let group = self.groups.id(db, GroupKind::Counter, group)?;
                to.get(Which::Attribute)?.execute(params![group, Text(&key), Text(&name), Text(&value)])?;
                Ok(())
            }
        }
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

fn write_flow(statement: &mut Statement<'_>, run: i64, flow: &Session) -> rusqlite::Result<()> {
    bind_flow(statement, run, flow)?;
    statement.raw_bind_parameter(16, flow.reason)?;
    statement.raw_execute()?;
    Ok(())
}

fn write_open_flow(statement: &mut Statement<'_>, run: i64, flow: &Session) -> rusqlite::Result<()> {
    bind_flow(statement, run, flow)?;
    statement.raw_execute()?;
    Ok(())
}

/// Bytes of both directions.
fn bytes_of(flow: &Session) -> i64 {
    whole(flow.bytes[0].saturating_add(flow.bytes[1]))
}

/// The columns that flows that ended and others share.
fn bind_flow(statement: &mut Statement<'_>, run: i64, flow: &Session) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, run)?;
    statement.raw_bind_parameter(2, Text(&flow.id))?;
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
    for (index, number) in (3..).zip(numbers) {
        statement.raw_bind_parameter(index, number)?;
    }
    statement.raw_bind_parameter(13, optional(&flow.tags))?;
    statement.raw_bind_parameter(14, flow.setup_rtt)?;
    statement.raw_bind_parameter(15, flow.retransmissions)
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

fn write_resource(statement: &mut Statement<'_>, run: i64, group: i64, resource: &Resource) -> rusqlite::Result<()> {
    statement.execute(params![
        run,
        resource.time.as_nanos(),
        group,
        resource.flow.as_deref().map(Text),
        Text(&resource.uri),
        Text(Resource::cut_label(&resource.label)),
    ])?;
    Ok(())
}

fn write_document(statement: &mut Statement<'_>, run: i64, group: i64, document: &Document) -> rusqlite::Result<()> {
    statement.execute(params![
        run,
        document.time.as_nanos(),
        group,
        document.flow.as_deref().map(Text),
        Text(&document.text),
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
