//! Rows that wait for the end of the transaction to be entered in the order of their keys.
//!
//! Entered as they come, each would change a page of its own; in order every page is changed once and filled up.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::row::{StoredFlowAttribute, Text};
use super::statements::{FLOW_ATTRIBUTE_COLUMNS, FLOW_SIZE_COLUMNS, Statements, Which};
use crate::time::Timestamp;

/// Longest value of a flow's attribute that is stored.
const LONGEST_VALUE: usize = 512;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Bytes and row of flows.
    sizes: Vec<(i64, i64)>,
    /// Values of flows by hour.
    attributes: BTreeMap<i64, Vec<Value>>,
    /// Their texts.
    texts: Vec<u8>,
    /// First and last row of documents by hour.
    documents: BTreeMap<i64, (i64, i64)>,
}

/// A named value of a flow: where its texts lie, one behind the other.
#[derive(Clone, Copy, Debug)]
struct Value {
    time: Timestamp,
    flow: usize,
    name: usize,
    value: usize,
    end: usize,
}

impl Value {
    /// Id of the flow, name and value.
    fn texts<'a>(&self, texts: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
        (&texts[self.flow..self.name], &texts[self.name..self.value], &texts[self.value..self.end])
    }

    /// How values of an hour lie in their table.
    fn order(&self, other: &Self, texts: &[u8]) -> Ordering {
        self.texts(texts).cmp(&other.texts(texts))
    }
}

impl Ordered {
    /// A flow was written.
    pub(super) fn flow_size(&mut self, bytes: i64, id: i64) {
        self.sizes.push((bytes, id));
    }

    /// Takes a named value of a flow in.
    pub(super) fn flow_attribute(&mut self, attribute: &StoredFlowAttribute, texts: &[u8]) {
        let flow = self.texts.len();
        attribute.push_flow(texts, &mut self.texts);
        let name = self.texts.len();
        self.texts.extend_from_slice(attribute.name.of(texts));
        let value = self.texts.len();
        self.texts.extend_from_slice(cut(attribute.value.of(texts)));
        let value = Value { time: attribute.time, flow, name, value, end: self.texts.len() };
        self.attributes.entry(hour(attribute.time)).or_default().push(value);
    }

    /// A document was written.
    pub(super) fn document(&mut self, time: Timestamp, id: i64) {
        let rows = self.documents.entry(hour(time)).or_insert((id, id));
        *rows = (rows.0.min(id), rows.1.max(id));
    }

    /// Enters everything.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut statements = Statements::new(db);
        self.sizes.sort_unstable();
        let kinds = (Which::FlowSize, Which::FlowSizes, FLOW_SIZE_COLUMNS);
        statements.enter(kinds, &self.sizes, |statement, at, &(bytes, id)| {
            statement.raw_bind_parameter(at + 1, bytes)?;
            statement.raw_bind_parameter(at + 2, id)
        })?;
        self.sizes.clear();
        let texts = &self.texts;
        for (hour, mut values) in std::mem::take(&mut self.attributes) {
            // Of equal ones the first stays.
            values.sort_by(|a, b| a.order(b, texts));
            values.dedup_by(|later, first| later.order(first, texts).is_eq());
            let kinds = (Which::FlowAttribute, Which::FlowAttributes, FLOW_ATTRIBUTE_COLUMNS);
            statements.enter(kinds, &values, |statement, at, row| {
                let (flow, name, value) = row.texts(texts);
                statement.raw_bind_parameter(at + 1, hour)?;
                statement.raw_bind_parameter(at + 2, Text(flow))?;
                statement.raw_bind_parameter(at + 3, Text(name))?;
                statement.raw_bind_parameter(at + 4, Text(value))?;
                statement.raw_bind_parameter(at + 5, row.time.as_nanos())
            })?;
        }
        self.texts.clear();
        for (hour, (first, last)) in std::mem::take(&mut self.documents) {
            statements.get(Which::DocumentHour)?.execute(params![hour, first, last])?;
        }
        Ok(())
    }

    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// A value of at most the longest, and of text whole characters.
fn cut(value: &[u8]) -> &[u8] {
    if value.len() <= LONGEST_VALUE {
        return value;
    }
    match std::str::from_utf8(value) {
        Ok(text) => &value[..text.floor_char_boundary(LONGEST_VALUE)],
        Err(_) => &value[..LONGEST_VALUE],
    }
}

/// The start of the hour in seconds.
pub(super) fn hour(time: Timestamp) -> i64 {
    time.secs().div_euclid(3_600).saturating_mul(3_600)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{LONGEST_VALUE, Ordered, hour};
    use crate::metrics::FlowAttribute;
    use crate::sink::store::row::StoredFlowAttribute;
    use crate::sink::store::schema;
    use crate::time::Timestamp;

    fn attribute(ordered: &mut Ordered, secs: i64, flow: &str, value: &[u8]) {
        let attribute = FlowAttribute::of_id(flow.as_bytes(), b"Host", value);
        let mut texts = Vec::new();
        let row = StoredFlowAttribute::of(Timestamp::new(secs, 0), &attribute, &mut texts);
        ordered.flow_attribute(&row, &texts);
    }

    #[test]
    fn of_equal_values_of_an_hour_the_first_stays_whether_in_one_transaction_or_two() {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        let long = vec![b'x'; LONGEST_VALUE];
        let longer = [&long[..], b"y"].concat();
        let mut ordered = Ordered::default();
        for (secs, flow, value) in
            [(90, "b", &b"v"[..]), (20, "b", b"v"), (30, "a", &long), (40, "a", &longer), (3_600, "b", b"v")]
        {
            attribute(&mut ordered, secs, flow, value);
        }
        ordered.write(&db).unwrap();
        attribute(&mut ordered, 95, "b", b"v");
        ordered.write(&db).unwrap();
        let mut select = db.prepare("SELECT hour, flow, time / 1000000000 FROM flow_attributes").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found: Vec<(i64, String, i64)> = select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [(0, "a".to_owned(), 30), (0, "b".to_owned(), 90), (3_600, "b".to_owned(), 3_600)]);
    }

    #[test]
    fn an_hour_knows_its_first_and_last_document_also_before_1970() {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        let mut ordered = Ordered::default();
        for (secs, id) in [(-1, 3), (10, 5), (20, 4)] {
            ordered.document(Timestamp::new(secs, 0), id);
        }
        ordered.write(&db).unwrap();
        ordered.document(Timestamp::new(30, 0), 9);
        ordered.write(&db).unwrap();
        let mut select = db.prepare("SELECT hour, first, last FROM document_hours ORDER BY hour").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found: Vec<(i64, i64, i64)> = select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [(hour(Timestamp::new(-1, 0)), 3, 3), (0, 4, 9)]);
    }
}
