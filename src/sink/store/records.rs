//! Everything but counters: one statement a row, or one for many rows where there are many.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql, params};

use super::bulk::ROWS;
use super::documents::{Texts, next_row};
use super::keys::{Groups, Keys};
use super::lists::List;
use super::ordered::{Ordered, hour};
use super::row::{
    Packed, Row, Rows, StoredDocument, StoredFlow, StoredJobEnd, StoredKeyAttribute, StoredLabel, StoredResource,
    StoredTopper, StoredTracked, Text, ToldText, whole,
};
use super::statements::{DOCUMENT_COLUMNS, FLOW_COLUMNS, RESOURCE_COLUMNS, Statements, Which};
use crate::metrics::{Alert, Edge, GroupKind, Rank};
use crate::time::Timestamp;

/// The flows with a row in `open_flows`, by a hash of id and start; one too many costs a statement that does nothing.
#[derive(Debug, Default)]
pub(super) struct OpenFlows {
    known: HashSet<u64, RandomState>,
    /// After a rollback the table may hold others.
    unsure: bool,
}

impl OpenFlows {
    fn hash(&self, id: &[u8], start: Timestamp) -> u64 {
        self.known.hasher().hash_one((id, start))
    }

    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        self.unsure = true;
    }
}

/// Rows of a kind that wait until there are enough of them for a statement, with their texts.
#[derive(Debug)]
struct Few<T> {
    rows: Vec<T>,
    texts: Vec<u8>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), texts: Vec::new() }
    }
}

impl<T: Packed> Few<T> {
    /// Has as many rows entered as make up whole statements, those that wait first, and lets the rest wait.
    fn add(
        &mut self,
        rows: &[T],
        texts: &[u8],
        mut enter: impl FnMut(&[T], &[u8]) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let missing = if self.rows.is_empty() { 0 } else { (ROWS - self.rows.len()).min(rows.len()) };
        let (first, rows) = rows.split_at(missing);
        self.keep(first, texts);
        if self.rows.len() == ROWS {
            self.finish(&mut enter)?;
        }
        let (whole, rest) = rows.split_at(rows.len() - rows.len() % ROWS);
        if !whole.is_empty() {
            enter(whole, texts)?;
        }
        self.keep(rest, texts);
        Ok(())
    }

    fn keep(&mut self, rows: &[T], texts: &[u8]) {
        let own = &mut self.texts;
        self.rows.extend(rows.iter().map(|row| row.carried(texts, own)));
    }

    /// Has entered what waits.
    fn finish(&mut self, mut enter: impl FnMut(&[T], &[u8]) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        if !self.rows.is_empty() {
            enter(&self.rows, &self.texts)?;
        }
        self.rows.clear();
        self.texts.clear();
        Ok(())
    }
}

/// Rows that wait until there are enough of them for a statement.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    flows: Few<StoredFlow>,
    resources: Few<StoredResource>,
    documents: Few<StoredDocument>,
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
    pub(super) texts: &'a mut Texts,
    pub(super) run: i64,
}

impl Target<'_> {
    /// Writes rows of a run.
    pub(super) fn write(&mut self, rows: &mut Rows) -> rusqlite::Result<()> {
        let to = &mut Statements::new(self.db);
        let texts = &rows.texts;
        for flow in &rows.open_flows {
            let hash = flow.flow.with(texts, |id| self.open.hash(id, flow.start));
            self.open.known.insert(hash);
            bind_flow(to.get(Which::OpenFlow)?, 0, self.run, flow, texts)?;
            to.get(Which::OpenFlow)?.raw_execute()?;
        }
        for flow in &rows.flows {
            let was_open = !self.open.known.is_empty() && {
                let hash = flow.flow.with(texts, |id| self.open.hash(id, flow.start));
                self.open.known.remove(&hash)
            };
            if was_open || self.open.unsure {
                let ended = to.get(Which::FlowEnded)?;
                flow.flow.with(texts, |id| ended.execute(params![Text(id), flow.start.as_nanos()]))?;
            }
        }
        for attribute in &rows.attributes {
            self.ordered.values.add(attribute, texts);
        }
        let Gathered { flows, resources, documents } = &mut *self.gathered;
        let (db, run, groups, ordered) = (self.db, self.run, &mut *self.groups, &mut *self.ordered);
        let known = &mut *self.texts;
        flows.add(&rows.flows, texts, |rows, texts| enter_flows(to, (db, run), ordered, rows, texts))?;
        resources
            .add(&rows.resources, texts, |rows, texts| enter_resources(to, (db, run), groups, ordered, rows, texts))?;
        documents.add(&rows.documents, texts, |rows, texts| {
            enter_documents(to, (db, run), groups, (&mut *ordered, &mut *known), rows, texts)
        })?;
        rows.others.drain(..).try_for_each(|row| self.one(to, row))
    }

    fn one(&mut self, to: &mut Statements<'_>, row: Row) -> rusqlite::Result<()> {
        let (db, run) = (self.db, self.run);
        match row {
            Row::Alert(alert) => {
                let group = self.groups.id(db, GroupKind::Alert, alert.group)?;
                write_alert(to.get(Which::Alert)?, run, group, &alert)
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
        let to = &mut Statements::new(self.db);
        let Gathered { flows, resources, documents } = &mut *self.gathered;
        let (db, run, groups, ordered) = (self.db, self.run, &mut *self.groups, &mut *self.ordered);
        flows.finish(|rows, texts| enter_flows(to, (db, run), ordered, rows, texts))?;
        resources.finish(|rows, texts| enter_resources(to, (db, run), groups, ordered, rows, texts))?;
        let known = &mut *self.texts;
        documents
            .finish(|rows, texts| enter_documents(to, (db, run), groups, (&mut *ordered, &mut *known), rows, texts))?;
        self.keys.write(self.db)
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
        let side = match topper.side {
            Rank::Largest => 1,
            Rank::Smallest => -1,
        };
        let StoredTopper { meter, bucket, value, error, .. } = topper;
        to.get(Which::Topper)?.execute(params![group, meter, bucket, side, key, value, error])?;
        Ok(())
    }
}

fn enter_flows(
    to: &mut Statements<'_>,
    (db, run): (&Connection, i64),
    ordered: &mut Ordered,
    flows: &[StoredFlow],
    texts: &[u8],
) -> rusqlite::Result<()> {
    to.enter((Which::Flow, Which::Flows, FLOW_COLUMNS), flows, |statement, at, flow| {
        bind_flow(statement, at, run, flow, texts)?;
        statement.raw_bind_parameter(at + 16, flow.reason)
    })?;
    for (id, flow) in (first_of(db, flows.len())..).zip(flows) {
        ordered.lists.add(List::FlowStart, flow.start.as_nanos(), id);
        ordered.lists.add(List::FlowBytes, flow.bytes(), id);
    }
    Ok(())
}

fn enter_resources(
    to: &mut Statements<'_>,
    (db, run): (&Connection, i64),
    groups: &mut Groups,
    ordered: &mut Ordered,
    resources: &[StoredResource],
    texts: &[u8],
) -> rusqlite::Result<()> {
    to.enter((Which::Resource, Which::Resources, RESOURCE_COLUMNS), resources, |statement, at, resource| {
        let group = groups.id(db, GroupKind::Resource, resource.group)?;
        resource.flow.with(texts, |flow| bind_item(statement, at, (run, resource.time, group, flow)))?;
        statement.raw_bind_parameter(at + 5, Text(resource.uri.of(texts)))?;
        statement.raw_bind_parameter(at + 6, Text(resource.label.of(texts)))
    })?;
    for (id, resource) in (first_of(db, resources.len())..).zip(resources) {
        let group = groups.id(db, GroupKind::Resource, resource.group)?;
        ordered.lists.add(List::RecordTime(group), resource.time.as_nanos(), id);
    }
    Ok(())
}

fn enter_documents(
    to: &mut Statements<'_>,
    (db, run): (&Connection, i64),
    groups: &mut Groups,
    (ordered, known): (&mut Ordered, &mut Texts),
    documents: &[StoredDocument],
    texts: &[u8],
) -> rusqlite::Result<()> {
    let first = next_row(db)?;
    let mut told = Vec::with_capacity(documents.len());
    for (id, document) in (first..).zip(documents) {
        let group = groups.id(db, GroupKind::Fts, document.group)?;
        let text = document.text.of(texts);
        told.push((
            document,
            group,
            match known.row_of(group, document.time, text, id) {
                Some(row) => DocumentText::Of(row),
                None => DocumentText::Own(Text(text).told()),
            },
        ));
    }
    to.enter(
        (Which::Document, Which::Documents, DOCUMENT_COLUMNS),
        &told,
        |statement, at, (document, group, text)| {
            document.flow.with(texts, |flow| bind_item(statement, at, (run, document.time, *group, flow)))?;
            statement.raw_bind_parameter(at + 5, text)
        },
    )?;
    debug_assert_eq!(first, first_of(db, documents.len()), "rows are numbered one after the other");
    let words = to.get(Which::DocumentWords)?;
    for (id, (document, group, text)) in (first..).zip(&told) {
        ordered.lists.add(List::RecordTime(*group), document.time.as_nanos(), id);
        ordered.document(document.time, id);
        match text {
            DocumentText::Own(text) => {
                words.raw_bind_parameter(1, id)?;
                words.raw_bind_parameter(2, text)?;
                words.raw_execute()?;
            }
            DocumentText::Of(row) => ordered.same_text(*row, document.time, id),
        }
    }
    Ok(())
}

/// The text of a document: its own, or that of an earlier row.
#[derive(Clone, Copy, Debug)]
enum DocumentText<'a> {
    Own(ToldText<'a>),
    Of(i64),
}

impl ToSql for DocumentText<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Own(text) => text.to_sql(),
            Self::Of(row) => Ok(ToSqlOutput::Borrowed(ValueRef::Integer(*row))),
        }
    }
}

/// The number of the first of so many rows that were just entered: rows of one statement, and of statements one after the
/// other, have numbers one after the other.
fn first_of(db: &Connection, rows: usize) -> i64 {
    db.last_insert_rowid() - rows as i64 + 1
}

/// The columns that flows that ended and others share, behind so many other parameters.
fn bind_flow(
    statement: &mut Statement<'_>,
    at: usize,
    run: i64,
    flow: &StoredFlow,
    texts: &[u8],
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at + 1, run)?;
    flow.flow.with(texts, |id| statement.raw_bind_parameter(at + 2, Text(id)))?;
    let numbers = [
        flow.start.as_nanos(),
        flow.end.as_nanos(),
        flow.bytes(),
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
    statement.raw_bind_parameter(at + 13, optional(flow.tags.of(texts)))?;
    statement.raw_bind_parameter(at + 14, flow.setup_rtt)?;
    statement.raw_bind_parameter(at + 15, flow.retransmissions)
}

/// The columns that resources and documents share: run, time, group and flow.
fn bind_item(
    statement: &mut Statement<'_>,
    at: usize,
    (run, time, group, flow): (i64, Timestamp, i64, &[u8]),
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at + 1, run)?;
    statement.raw_bind_parameter(at + 2, time.as_nanos())?;
    statement.raw_bind_parameter(at + 3, group)?;
    statement.raw_bind_parameter(at + 4, optional(flow))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Few, ROWS};
    use crate::metrics::Span;
    use crate::sink::store::row::Packed;

    #[derive(Clone, Copy, Debug)]
    struct Number(Span);

    impl Packed for Number {
        fn carried(mut self, from: &[u8], to: &mut Vec<u8>) -> Self {
            self.0.carry(from, to);
            self
        }
    }

    proptest! {
        #[test]
        fn rows_are_entered_in_order_and_by_whole_statements_but_for_the_last(
            parcels in proptest::collection::vec(0..3 * ROWS, 0..20),
        ) {
            let (mut few, mut entered, mut sizes) = (Few::default(), Vec::new(), Vec::new());
            let mut enter = |rows: &[Number], texts: &[u8]| {
                sizes.push(rows.len());
                entered.extend(rows.iter().map(|row| String::from_utf8(row.0.of(texts).to_vec()).unwrap()));
                Ok(())
            };
            let mut next = 0;
            for count in &parcels {
                let mut texts = b"others".to_vec();
                let mut put = |number: usize| Number(Span::put(&mut texts, number.to_string().as_bytes()));
                let rows: Vec<Number> = (next..next + count).map(&mut put).collect();
                next += count;
                few.add(&rows, &texts, &mut enter).unwrap();
            }
            few.finish(&mut enter).unwrap();
            prop_assert_eq!(entered, (0..next).map(|number| number.to_string()).collect::<Vec<_>>());
            prop_assert!(sizes.iter().rev().skip(1).all(|size| size % ROWS == 0));
        }
    }
}
