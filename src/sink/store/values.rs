//! Named values of flows, which wait for the end of the transaction.
//!
//! Their table has parts, one after the other, and within a part they lie by flow: so rows go behind all others, or into the
//! latest part, and whoever looks for those of a flow looks into the parts of its time.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use rusqlite::{Connection, params};

use super::ordered::hour;
use super::row::{StoredFlowAttribute, Text};
use super::statements::{FLOW_ATTRIBUTE_COLUMNS, Statements, Which};
use crate::time::Timestamp;

/// Longest value that is stored.
const LONGEST: usize = 512;
/// Values that are remembered twice over, so that each is written once an hour; what was forgotten is written again.
const REMEMBERED: usize = 131_072;
/// Rows and nanoseconds beyond which nothing is added to a part.
const PART_ROWS: usize = 16_384;
const PART_SPAN: i64 = 600_000_000_000;

/// What waits, and what is known of what was written.
#[derive(Debug, Default)]
pub(super) struct Values {
    waiting: Vec<Value>,
    texts: Vec<u8>,
    hasher: RandomState,
    seen: HashSet<u64, foldhash::fast::FixedState>,
    /// Those that were seen before `seen` was last full.
    older: HashSet<u64, foldhash::fast::FixedState>,
    part: Option<Part>,
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

/// The part that is filled.
#[derive(Clone, Copy, Debug)]
struct Part {
    number: i64,
    first: i64,
    last: i64,
    rows: usize,
}

impl Value {
    /// Id of the flow, name and value.
    fn texts<'a>(&self, texts: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
        (&texts[self.flow..self.name], &texts[self.name..self.value], &texts[self.value..self.end])
    }
}

impl Values {
    /// Takes a value in, unless its flow had it in the same hour.
    pub(super) fn add(&mut self, attribute: &StoredFlowAttribute, texts: &[u8]) {
        let flow = self.texts.len();
        attribute.flow.with(texts, |id| self.texts.extend_from_slice(id));
        let name = self.texts.len();
        self.texts.extend_from_slice(attribute.name.of(texts));
        let value = self.texts.len();
        self.texts.extend_from_slice(cut(attribute.value.of(texts)));
        let value = Value { time: attribute.time, flow, name, value, end: self.texts.len() };
        if self.is_new(hour(attribute.time), &value) {
            self.waiting.push(value);
        } else {
            self.texts.truncate(flow);
        }
    }

    fn is_new(&mut self, hour: i64, value: &Value) -> bool {
        let hash = self.hasher.hash_one((hour, value.texts(&self.texts)));
        if self.older.contains(&hash) || !self.seen.insert(hash) {
            return false;
        }
        if self.seen.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.seen);
        }
        true
    }

    /// Enters what waits.
    pub(super) fn write(&mut self, db: &Connection, statements: &mut Statements<'_>) -> rusqlite::Result<()> {
        let times = || self.waiting.iter().map(|value| value.time.as_nanos());
        let Some((first, last)) = times().min().zip(times().max()) else { return Ok(()) };
        let part = self.part(db, first, last)?;
        let Self { waiting, texts, .. } = self;
        // Of equal ones the first stays.
        waiting.sort_by(|a, b| a.texts(texts).cmp(&b.texts(texts)));
        let kinds = (Which::FlowAttribute, Which::FlowAttributes, FLOW_ATTRIBUTE_COLUMNS);
        statements.enter(kinds, waiting, |statement, at, row| {
            let (flow, name, value) = row.texts(texts);
            statement.raw_bind_parameter(at + 1, part)?;
            statement.raw_bind_parameter(at + 2, Text(flow))?;
            statement.raw_bind_parameter(at + 3, Text(name))?;
            statement.raw_bind_parameter(at + 4, Text(value))?;
            statement.raw_bind_parameter(at + 5, row.time.as_nanos())
        })?;
        self.waiting.clear();
        self.texts.clear();
        Ok(())
    }

    /// The part for what waits, which lies between two times.
    fn part(&mut self, db: &Connection, first: i64, last: i64) -> rusqlite::Result<i64> {
        let rows = self.waiting.len();
        let grown = self.part.filter(|part| part.rows < PART_ROWS).map(|part| Part {
            first: part.first.min(first),
            last: part.last.max(last),
            rows: part.rows + rows,
            ..part
        });
        let part = match grown.filter(|part| part.last.saturating_sub(part.first) <= PART_SPAN) {
            Some(part) => part,
            None => {
                let next = "SELECT ifnull(max(part), 0) + 1 FROM attribute_parts";
                Part { number: db.prepare_cached(next)?.query_row([], |row| row.get(0))?, first, last, rows }
            }
        };
        let sql = "INSERT OR REPLACE INTO attribute_parts(part, first, last) VALUES(?1, ?2, ?3)";
        db.prepare_cached(sql)?.execute(params![part.number, part.first, part.last])?;
        self.part = Some(part);
        Ok(part.number)
    }

    /// Begins another part: the one that is filled may be gone.
    pub(super) fn forget_part(&mut self) {
        self.part = None;
    }
}

/// A value of at most the longest, and of text whole characters.
fn cut(value: &[u8]) -> &[u8] {
    if value.len() <= LONGEST {
        return value;
    }
    match std::str::from_utf8(value) {
        Ok(text) => &value[..text.floor_char_boundary(LONGEST)],
        Err(_) => &value[..LONGEST],
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{LONGEST, PART_ROWS, REMEMBERED, Values};
    use crate::sink::store::row::{FlowOf, StoredFlowAttribute};
    use crate::sink::store::schema;
    use crate::sink::store::statements::Statements;
    use crate::time::Timestamp;

    fn file() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        db
    }

    fn add(values: &mut Values, secs: i64, flow: &str, value: &[u8]) {
        let (mut texts, flow) = (Vec::new(), FlowOf::Id(flow.as_bytes()));
        let row = StoredFlowAttribute::of(Timestamp::new(secs, 0), flow, b"Host", value, &mut texts);
        values.add(&row, &texts);
    }

    /// Part, flow and second of all rows.
    fn rows(db: &Connection) -> Vec<(i64, String, i64)> {
        let mut select = db.prepare("SELECT part, flow, time / 1000000000 FROM flow_attributes").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn of_equal_values_of_an_hour_the_first_stays_whether_in_one_transaction_or_two() {
        let (db, mut values) = (file(), Values::default());
        let long = vec![b'x'; LONGEST];
        let longer = [&long[..], b"y"].concat();
        for (secs, flow, value) in
            [(90, "b", &b"v"[..]), (20, "b", b"v"), (30, "a", &long), (40, "a", &longer), (3_600, "b", b"v")]
        {
            add(&mut values, secs, flow, value);
        }
        values.write(&db, &mut Statements::new(&db)).unwrap();
        add(&mut values, 95, "b", b"v");
        values.write(&db, &mut Statements::new(&db)).unwrap();
        assert_eq!(rows(&db), [(1, "a".to_owned(), 30), (1, "b".to_owned(), 90)]);
    }

    #[test]
    fn a_part_ends_where_it_is_large_or_long_and_says_what_it_covers() {
        let (db, mut values) = (file(), Values::default());
        let mut write = |times: &[i64], flow: &str| {
            times.iter().for_each(|secs| add(&mut values, *secs, &format!("{flow}{secs}"), b"v"));
            values.write(&db, &mut Statements::new(&db)).unwrap();
        };
        write(&[10, 5], "a");
        write(&[20, 2], "b");
        write(&[700], "c");
        let many: Vec<i64> = (0..PART_ROWS as i64).map(|row| 700 + row % 100).collect();
        many.chunks(100).enumerate().for_each(|(at, times)| write(times, &format!("{at}-")));
        write(&[750], "d");
        let parts = "SELECT part, first / 1000000000, last / 1000000000 FROM attribute_parts";
        let mut select = db.prepare(parts).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found: Vec<(i64, i64, i64)> = select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [(1, 2, 20), (2, 700, 799), (3, 750, 750)]);
        assert_eq!(rows(&db).len(), PART_ROWS + 6);
    }

    #[test]
    fn what_was_forgotten_is_written_again() {
        let (db, mut values) = (file(), Values::default());
        for flow in 0..2 * REMEMBERED {
            add(&mut values, 0, &flow.to_string(), b"v");
            add(&mut values, 0, &flow.to_string(), b"v");
        }
        assert_eq!(values.waiting.len(), 2 * REMEMBERED);
        add(&mut values, 0, "0", b"v");
        values.write(&db, &mut Statements::new(&db)).unwrap();
        assert_eq!(rows(&db).len(), 2 * REMEMBERED);
    }
}
