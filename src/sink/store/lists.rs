//! Rows in the order of a number: what an index is for, at a small part of its cost.
//!
//! Entered into an index, each row would change a page of its own. Here the rows of a transaction are put in order once, and
//! many of them become one row of the table `lists`. Lists of two transactions overlap; whoever reads merges them.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::sink::damaged::damage;

/// Rows of a block.
pub(super) const BLOCK: usize = 512;
/// Longest time that a block covers: what overlaps a range is found by where it ends.
const SPAN: i64 = 60_000_000_000;

/// What rows are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    /// Flows by their start.
    FlowStart,
    /// Flows by their size. Those that were deleted may still be listed.
    FlowBytes,
    /// Resources or documents of a group by their time.
    RecordTime(i64),
}

impl List {
    /// List and group as the table has them.
    pub(super) fn columns(self) -> (i64, i64) {
        match self {
            Self::FlowStart => (1, 0),
            Self::FlowBytes => (2, 0),
            Self::RecordTime(group) => (3, group),
        }
    }

    /// How much lies between the first and the last number of a block at most.
    pub(super) fn span(self) -> i64 {
        match self {
            Self::FlowStart | Self::RecordTime(_) => SPAN,
            Self::FlowBytes => i64::MAX,
        }
    }
}

/// A number and the row it belongs to.
pub(super) type Entry = (i64, i64);

/// What was written since the last commit, and the last block of each list, which is filled up.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: BTreeMap<List, Open>,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Open {
    /// In any order; those of the block that is filled up among them.
    entries: Vec<Entry>,
    /// How many of them that block has, and its row.
    tail: Option<(usize, i64)>,
}

impl Lists {
    /// Lists a row.
    pub(super) fn add(&mut self, list: List, number: i64, row: i64) {
        self.lists.entry(list).or_default().entries.push((number, row));
    }

    /// Enters what was listed.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let Self { lists, bytes } = self;
        for (list, open) in lists {
            open.write(db, *list, bytes)?;
        }
        Ok(())
    }

    /// Enters what a statement finds: by what, group, number and row.
    fn list(&mut self, db: &Connection, sql: &str) -> rusqlite::Result<()> {
        let mut select = db.prepare(sql)?;
        let mut rows = select.query([])?;
        let mut waiting = 0;
        while let Some(row) = rows.next()? {
            let list = match row.get(0)? {
                1 => List::FlowStart,
                2 => List::FlowBytes,
                _ => List::RecordTime(row.get(1)?),
            };
            self.add(list, row.get(2)?, row.get(3)?);
            waiting += 1;
            if waiting == 256 * BLOCK {
                self.write(db)?;
                waiting = 0;
            }
        }
        self.write(db)
    }

    /// What was written since the last commit is gone, or blocks were changed.
    pub(super) fn forget(&mut self) {
        self.lists.clear();
    }
}

impl Open {
    fn write(&mut self, db: &Connection, list: List, bytes: &mut Vec<u8>) -> rusqlite::Result<()> {
        let Self { entries, tail } = self;
        let (known, mut row) = tail.map_or((0, None), |(known, row)| (known, Some(row)));
        if entries.len() == known {
            return Ok(());
        }
        entries.sort_unstable();
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (block, others) = rest.split_at(block_len(rest, list.span()));
            let id = put(db, list, row.take(), block, bytes)?;
            *tail = (block.len() < BLOCK).then_some((block.len(), id));
            rest = others;
        }
        // The last block lies at the end.
        let kept = tail.map_or(0, |(known, _)| known);
        entries.drain(..entries.len() - kept);
        Ok(())
    }
}

/// How many of the entries make up a block.
fn block_len(entries: &[Entry], span: i64) -> usize {
    let most = &entries[..entries.len().min(BLOCK)];
    let Some(&(first, _)) = most.first() else { return 0 };
    most.partition_point(|&(number, _)| number.saturating_sub(first) <= span)
}

/// Enters a block, in the place of another one if that is told.
pub(super) fn put(
    db: &Connection,
    list: List,
    row: Option<i64>,
    block: &[Entry],
    bytes: &mut Vec<u8>,
) -> rusqlite::Result<i64> {
    let (Some(&(first, _)), Some(&(last, _))) = (block.first(), block.last()) else { return Ok(0) };
    let newest = block.iter().map(|&(_, id)| id).max();
    encode(block, bytes);
    let (list, group) = list.columns();
    let sql =
        "INSERT OR REPLACE INTO lists(id, list, grp, first, last, newest, entries) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    db.prepare_cached(sql)?.execute(params![row, list, group, first, last, newest, &*bytes])?;
    Ok(db.last_insert_rowid())
}

/// Each number as what it is larger by than the one before, each row by how far it is from the one before.
fn encode(block: &[Entry], bytes: &mut Vec<u8>) {
    bytes.clear();
    let (mut number, mut row) = block.first().map_or((0, 0), |&(first, _)| (first, 0_i64));
    for &(next, id) in block {
        push(bytes, next.wrapping_sub(number) as u64);
        let far = id.wrapping_sub(row);
        push(bytes, ((far << 1) ^ (far >> 63)) as u64);
        (number, row) = (next, id);
    }
}

/// The entries of a block that begins with a number, in order.
pub(super) fn decode(first: i64, bytes: &[u8]) -> rusqlite::Result<Vec<Entry>> {
    let (mut number, mut row, mut rest) = (first, 0_i64, bytes);
    let mut entries = Vec::with_capacity(BLOCK.min(bytes.len()));
    while !rest.is_empty() {
        let (more, far) = take(&mut rest).zip(take(&mut rest)).ok_or_else(damaged)?;
        number = number.checked_add_unsigned(more).ok_or_else(damaged)?;
        row = row.wrapping_add((far >> 1) as i64 ^ -((far & 1) as i64));
        entries.push((number, row));
    }
    Ok(entries)
}

/// Seven bits a byte, the lowest first; all but the last byte say that there are more.
fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn damaged() -> rusqlite::Error {
    damage("a list of rows makes no sense")
}

/// Lists everything there is, in a file whose tables had indexes.
pub(super) fn list_all(db: &Connection) -> rusqlite::Result<()> {
    let mut lists = Lists::default();
    for (sql, drop) in [
        ("SELECT 1, 0, start, id FROM flows ORDER BY start, id", "DROP INDEX flows_start"),
        ("SELECT 2, 0, bytes, id FROM flow_sizes ORDER BY bytes, id", "DROP TABLE flow_sizes"),
        ("SELECT 3, grp, time, id FROM resources ORDER BY grp, time, id", "DROP INDEX resources_group"),
        ("SELECT 3, grp, time, id FROM documents ORDER BY grp, time, id", "DROP INDEX documents_group"),
    ] {
        lists.list(db, sql)?;
        db.execute_batch(drop)?;
    }
    Ok(())
}

/// Lists everything there is, in a file without lists: in the order in which it was written, as it was listed then. To sort
/// it as a whole would take room for all of it.
pub(super) fn list_rows(db: &Connection) -> rusqlite::Result<()> {
    let mut lists = Lists::default();
    [
        "SELECT 1, 0, start, id FROM flows ORDER BY id",
        "SELECT 2, 0, bytes, id FROM flows ORDER BY id",
        "SELECT 3, grp, time, id FROM resources ORDER BY id",
        "SELECT 3, grp, time, id FROM documents WHERE grp > 0 ORDER BY id",
    ]
    .into_iter()
    .try_for_each(|sql| lists.list(db, sql))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::{BLOCK, Entry, List, Lists, SPAN, decode, encode};
    use crate::sink::store::schema;

    fn file() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        db
    }

    /// The blocks of a list, as they lie.
    fn blocks(db: &Connection) -> Vec<Vec<Entry>> {
        let mut select = db.prepare("SELECT first, last, newest, entries FROM lists ORDER BY id").unwrap();
        let block = |row: &rusqlite::Row<'_>| {
            let (first, last, newest): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let entries = decode(first, &row.get::<_, Vec<u8>>(3)?)?;
            assert_eq!((entries[0].0, entries.last().unwrap().0), (first, last));
            assert_eq!(entries.iter().map(|entry| entry.1).max(), Some(newest));
            Ok(entries)
        };
        select.query_map([], block).unwrap().collect::<Result<_, _>>().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_listed_is_there_whatever_the_transactions_are(
            transactions in proptest::collection::vec(
                proptest::collection::vec((any::<i64>(), any::<i64>()), 0..3 * BLOCK), 0..4),
        ) {
            for list in [List::FlowBytes, List::FlowStart] {
                let (db, mut lists) = (file(), Lists::default());
                for transaction in &transactions {
                    transaction.iter().for_each(|&(number, row)| lists.add(list, number, row));
                    lists.write(&db).unwrap();
                }
                let mut found = blocks(&db);
                for block in &found {
                    prop_assert!(block.len() <= BLOCK && block.is_sorted());
                    let (first, last) = (block[0].0, block.last().unwrap().0);
                    prop_assert!(last.saturating_sub(first) <= list.span());
                }
                let mut all: Vec<Entry> = found.drain(..).flatten().collect();
                let mut expected = transactions.concat();
                all.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(all, expected);
            }
        }

        #[test]
        fn no_bytes_crash(first: i64, bytes: Vec<u8>) {
            let _ = decode(first, &bytes);
        }

        #[test]
        fn a_block_is_what_it_was(mut block in proptest::collection::vec((any::<i64>(), any::<i64>()), 1..50)) {
            block.sort_unstable();
            let mut bytes = Vec::new();
            encode(&block, &mut bytes);
            prop_assert_eq!(decode(block[0].0, &bytes).unwrap(), block);
        }
    }

    #[test]
    fn small_transactions_fill_one_block_up() {
        let (db, mut lists) = (file(), Lists::default());
        for row in 0..2 * BLOCK as i64 + 1 {
            lists.add(List::RecordTime(7), row, row);
            lists.write(&db).unwrap();
            // Nothing new, nothing written.
            lists.write(&db).unwrap();
        }
        let sizes: Vec<usize> = blocks(&db).iter().map(Vec::len).collect();
        assert_eq!(sizes, [BLOCK, BLOCK, 1]);
        // What is far away is a block of its own.
        lists.add(List::RecordTime(7), 3 * SPAN, 1);
        lists.add(List::RecordTime(7), 3 * SPAN, 2);
        lists.write(&db).unwrap();
        assert_eq!(blocks(&db).iter().map(Vec::len).collect::<Vec<_>>(), [BLOCK, BLOCK, 1, 2]);
    }
}
