//! Rows that wait for the end of the transaction to be entered in the order of their keys.
//!
//! Entered as they come, each would change a page of its own; in order every page is changed once and filled up.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::lists::Lists;
use super::statements::{SAME_TEXT_COLUMNS, Statements, Which};
use super::values::Values;
use crate::time::Timestamp;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    pub(super) lists: Lists,
    pub(super) values: Values,
    /// First and last row of documents by hour.
    documents: BTreeMap<i64, (i64, i64)>,
    /// Documents that have the text of an earlier row: that row, their time and number.
    same_texts: Vec<[i64; 3]>,
}

impl Ordered {
    /// A document was written.
    pub(super) fn document(&mut self, time: Timestamp, id: i64) {
        let rows = self.documents.entry(hour(time)).or_insert((id, id));
        *rows = (rows.0.min(id), rows.1.max(id));
    }

    /// A document has the text of an earlier row.
    pub(super) fn same_text(&mut self, text: i64, time: Timestamp, id: i64) {
        self.same_texts.push([text, time.as_nanos(), id]);
    }

    /// Enters everything.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut statements = Statements::new(db);
        self.lists.write(db)?;
        self.values.write(db, &mut statements)?;
        for (hour, (first, last)) in std::mem::take(&mut self.documents) {
            statements.get(Which::DocumentHour)?.execute(params![hour, first, last])?;
        }
        self.same_texts.sort_unstable();
        let insert = (Which::SameText, Which::SameTexts, SAME_TEXT_COLUMNS);
        statements.enter(insert, &self.same_texts, |statement, at, row| {
            (at + 1..).zip(row).try_for_each(|(index, number)| statement.raw_bind_parameter(index, number))
        })?;
        self.same_texts.clear();
        Ok(())
    }

    /// Rows were deleted: what was known of the last ones may not be so.
    pub(super) fn deleted(&mut self) {
        self.lists.forget();
        self.values.forget_part();
    }

    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The start of the hour in seconds.
pub(super) fn hour(time: Timestamp) -> i64 {
    time.secs().div_euclid(3_600).saturating_mul(3_600)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Ordered, hour};
    use crate::sink::store::schema;
    use crate::time::Timestamp;

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
