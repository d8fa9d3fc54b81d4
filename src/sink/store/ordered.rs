//! Rows that wait for the end of the transaction to be entered in the order of their keys.
//!
//! Entered as they come, each would change a page of its own; in order every page is changed once and filled up.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::row::{StoredAttribute, Text};
use super::statements::{Statements, Which};
use crate::time::Timestamp;

/// Longest value of a flow's attribute that is stored.
const LONGEST_VALUE: usize = 512;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Bytes and row of flows.
    sizes: Vec<(i64, i64)>,
    /// Values of flows by hour.
    attributes: BTreeMap<i64, Vec<StoredAttribute>>,
    /// First and last row of documents by hour.
    documents: BTreeMap<i64, (i64, i64)>,
}

impl Ordered {
    /// A flow was written.
    pub(super) fn flow_size(&mut self, bytes: i64, id: i64) {
        self.sizes.push((bytes, id));
    }

    /// Takes a named value of a flow in.
    pub(super) fn flow_attribute(&mut self, attribute: StoredAttribute) {
        self.attributes.entry(hour(attribute.time)).or_default().push(attribute);
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
        for (bytes, id) in self.sizes.drain(..) {
            let statement = statements.get(Which::FlowSize)?;
            statement.raw_bind_parameter(1, bytes)?;
            statement.raw_bind_parameter(2, id)?;
            statement.raw_execute()?;
        }
        for (hour, mut attributes) in std::mem::take(&mut self.attributes) {
            // Of equal ones the first stays.
            attributes.sort_by(order);
            attributes.dedup_by(|later, first| order(later, first).is_eq());
            for attribute in attributes {
                let statement = statements.get(Which::FlowAttribute)?;
                statement.raw_bind_parameter(1, hour)?;
                statement.raw_bind_parameter(2, Text(&attribute.flow))?;
                statement.raw_bind_parameter(3, Text(&attribute.name))?;
                statement.raw_bind_parameter(4, Text(cut(&attribute.value)))?;
                statement.raw_bind_parameter(5, attribute.time.as_nanos())?;
                statement.raw_execute()?;
            }
        }
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

/// How values of an hour lie in their table.
fn order(a: &StoredAttribute, b: &StoredAttribute) -> Ordering {
    let by_name = || a.name.cmp(&b.name);
    a.flow.cmp(&b.flow).then_with(by_name).then_with(|| cut(&a.value).cmp(cut(&b.value)))
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
    use crate::sink::store::row::StoredAttribute;
    use crate::sink::store::schema;
    use crate::time::Timestamp;

    fn attribute(secs: i64, flow: &str, value: &[u8]) -> StoredAttribute {
        let (flow, name) = (flow.as_bytes().to_vec(), b"Host".to_vec());
        StoredAttribute { time: Timestamp::new(secs, 0), flow, name, value: value.to_vec() }
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
            ordered.flow_attribute(attribute(secs, flow, value));
        }
        ordered.write(&db).unwrap();
        ordered.flow_attribute(attribute(95, "b", b"v"));
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
