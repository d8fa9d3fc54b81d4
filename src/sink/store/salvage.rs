//! Reading the rows of a table some of whose pages make no sense.
//!
//! Rows are read from the first on until a page cannot be, and from the last on; what lies between is halved and tried again.
//! So what is lost is what lies in the pages that are damaged.

use std::collections::VecDeque;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, Statement};

/// Ranges up to which what lies between is halved: of a page of rows each number is one, and of a page of pages there are many.
const MOST_RANGES: u32 = 8_192;
/// Rows of a transaction.
const AT_ONCE: u64 = 65_536;

/// Rows that are to be read.
pub(super) struct Source<'a> {
    pub(super) table: &'a str,
    /// Which of its rows.
    pub(super) only: &'a str,
    /// An integer by which ranges are asked for, the first of the order.
    pub(super) split: Option<&'a str>,
    /// What the rows are in the order of; an index has it.
    pub(super) order: &'a [&'a str],
    /// The version of the tables that the table came with.
    pub(super) since: i64,
}

impl<'a> Source<'a> {
    /// All rows of a table in the order of their numbers.
    pub(super) const fn numbered(table: &'a str) -> Self {
        Self { table, only: "1", split: Some("id"), order: &["id"], since: 1 }
    }

    /// All rows of a table in an order that begins with an integer.
    pub(super) const fn split(table: &'a str, order: &'a [&'a str]) -> Self {
        Self { table, only: "1", split: Some(order[0]), order, since: 1 }
    }

    /// All rows of a table in another order.
    pub(super) const fn whole(table: &'a str, order: &'a [&'a str]) -> Self {
        Self { table, only: "1", split: None, order, since: 1 }
    }

    /// The same of a table that a later version came with.
    pub(super) const fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Rows that are in the new file.
    pub rows: u64,
    /// Rows that were found and make no sense.
    pub senseless: u64,
    /// Places where nothing could be read.
    pub gaps: u64,
    /// The most rows that may have been there, where that is known.
    pub unread: Option<u64>,
}

impl Salvaged {
    /// Whether all there was is there.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.senseless == 0 && self.gaps == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.unread = match (self.gaps, other.gaps) {
            (_, 0) => self.unread,
            (0, _) => other.unread,
            _ => self.unread.zip(other.unread).map(|(a, b)| a.saturating_add(b)),
        };
        self.rows += other.rows;
        self.senseless += other.senseless;
        self.gaps += other.gaps;
    }

    /// Rows that were copied turn out to make no sense, and are gone again.
    pub(super) fn take_back(&mut self, rows: u64) {
        self.rows = self.rows.saturating_sub(rows);
        self.senseless += rows;
    }

    /// A place where nothing could be read.
    pub(super) fn gap(unread: Option<u64>) -> Self {
        Self { gaps: 1, unread, ..Self::default() }
    }
}

/// A column as it is declared.
struct Column {
    name: String,
    kind: String,
    may_be_null: bool,
}

impl Column {
    fn fits(&self, value: ValueRef<'_>) -> bool {
        match (self.kind.as_str(), value) {
            (_, ValueRef::Null) => self.may_be_null,
            // What is no text is stored as bytes.
            (_, ValueRef::Text(text)) if std::str::from_utf8(text).is_err() => false,
            ("INTEGER", value) => matches!(value, ValueRef::Integer(_)),
            ("REAL", value) => matches!(value, ValueRef::Integer(_) | ValueRef::Real(_)),
            ("TEXT", value) => matches!(value, ValueRef::Text(_)),
            ("BLOB", value) => matches!(value, ValueRef::Blob(_)),
            _ => true,
        }
    }
}

/// Copies the rows that can be read into the table of the same name, within the transaction that is open. Those that are there
/// stay as they are.
///
/// # Errors
/// When the new file cannot be written.
pub(super) fn copy(from: &Connection, to: &Connection, source: &Source<'_>) -> rusqlite::Result<Salvaged> {
    let mut info = to.prepare("SELECT name, upper(type), \"notnull\" = 0 FROM pragma_table_info(?1)")?;
    let column = |row: &Row<'_>| Ok(Column { name: row.get(0)?, kind: row.get(1)?, may_be_null: row.get(2)? });
    let columns: Vec<Column> = info.query_map([source.table], column)?.collect::<Result<_, _>>()?;
    // Names in these are never taken for texts.
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let (names, places) = (names.join(", "), vec!["?"; columns.len()].join(", "));
    let insert = to.prepare(&format!("INSERT OR IGNORE INTO {}({names}) VALUES({places})", source.table))?;
    let range = source.split.map(|split| format!(" AND {split} BETWEEN ?1 AND ?2")).unwrap_or_default();
    let select = |order: &str| {
        let by: Vec<String> = source.order.iter().map(|column| format!("`{column}` {order}")).collect();
        from.prepare(&format!(
            "SELECT {names}, {} FROM {} WHERE {}{range} ORDER BY {}",
            source.split.unwrap_or("NULL"),
            source.table,
            source.only,
            by.join(", ")
        ))
    };
    let (Ok(up), Ok(down)) = (select("ASC"), select("DESC")) else {
        // There is no such table, or not with these columns.
        return Ok(Salvaged::gap(None));
    };
    let is_split = source.split.is_some();
    let is_unique = source.order.len() == 1;
    Copying { to, columns, insert, is_split, is_unique, salvaged: Salvaged::default(), lost_until: None, waiting: 0 }
        .run(up, down)
}

struct Copying<'a> {
    to: &'a Connection,
    columns: Vec<Column>,
    insert: Statement<'a>,
    is_split: bool,
    /// Whether no two rows have one number.
    is_unique: bool,
    salvaged: Salvaged,
    /// The end of the last gap.
    lost_until: Option<i64>,
    /// Rows of the transaction.
    waiting: u64,
}

/// How far one way went.
enum Reached {
    End,
    /// A page that cannot be read; before it the last row had this number.
    Damage(Option<i64>),
}

impl Copying<'_> {
    fn run(mut self, mut up: Statement<'_>, mut down: Statement<'_>) -> rusqlite::Result<Salvaged> {
        // The widest first: they have most rows.
        let mut ranges = VecDeque::from([(i64::MIN, i64::MAX)]);
        let (mut looked_at, mut lost) = (0, Vec::new());
        while let Some((low, high)) = ranges.pop_front() {
            looked_at += 1;
            let Reached::Damage(below) = self.pass(&mut up, low, high)? else { continue };
            let Reached::Damage(above) = self.pass(&mut down, low, high)? else { continue };
            if !self.is_split {
                self.salvaged.add(Salvaged::gap(None));
                continue;
            }
            if !self.is_unique {
                // Of several rows with one number some may lie behind the damage.
                if low == high || below.is_some() && below == above {
                    lost.extend(below.or(Some(low)).map(|number| (number, number)));
                    continue;
                }
                if let Some(number) = below
                    && let Reached::Damage(_) = self.pass(&mut down, number, number)?
                {
                    lost.push((number, number));
                }
                if let Some(number) = above
                    && let Reached::Damage(_) = self.pass(&mut up, number, number)?
                {
                    lost.push((number, number));
                }
            }
            let first = below.map_or(Some(low), |below| below.checked_add(1)).map(|first| first.max(low));
            let last = above.map_or(Some(high), |above| above.checked_sub(1)).map(|last| last.min(high));
            match first.zip(last).filter(|(first, last)| first <= last) {
                // Both ways have met.
                None => {}
                Some((first, last)) if looked_at >= MOST_RANGES || low == high => lost.push((first, last)),
                Some((first, last)) => {
                    let middle = i64::midpoint(first, last).clamp(first, last);
                    ranges.push_back((first, middle));
                    if middle < last {
                        ranges.push_back((middle + 1, last));
                    }
                }
            }
        }
        lost.sort_unstable();
        lost.into_iter().for_each(|(first, last)| self.lost(first, last));
        Ok(self.salvaged)
    }

    /// Nothing between two numbers can be read.
    fn lost(&mut self, first: i64, last: i64) {
        let is_known = self.is_unique && first > i64::MIN && last < i64::MAX;
        let count = u64::try_from(i128::from(last) - i128::from(first) + 1).ok().filter(|_| is_known);
        let goes_on = self.lost_until.is_some_and(|until| until.checked_add(1) == Some(first));
        self.salvaged.add(Salvaged::gap(count));
        self.salvaged.gaps -= u64::from(goes_on);
        self.lost_until = Some(last);
    }

    /// Reads one way as far as it goes.
    fn pass(&mut self, select: &mut Statement<'_>, low: i64, high: i64) -> rusqlite::Result<Reached> {
        let rows = if self.is_split { select.query([low, high]) } else { select.query([]) };
        let Ok(mut rows) = rows else { return Ok(Reached::Damage(None)) };
        let mut last = None;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Reached::End),
                // Whatever is wrong: of a disk that fails no page can be read that lies there.
                Err(_) => return Ok(Reached::Damage(last)),
            };
            self.row(row)?;
            last = row.get(self.columns.len()).ok();
        }
    }

    fn row(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        for (at, column) in self.columns.iter().enumerate() {
            match row.get_ref(at) {
                Ok(value) if column.fits(value) => {
                    self.insert.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(value))?;
                }
                _ => {
                    self.salvaged.senseless += 1;
                    return Ok(());
                }
            }
        }
        let rows = self.insert.raw_execute()? as u64;
        self.salvaged.rows += rows;
        self.waiting += rows;
        if self.waiting >= AT_ONCE {
            self.waiting = 0;
            self.to.execute_batch("COMMIT; BEGIN")?;
        }
        Ok(())
    }
}
