//! Closed buckets: those of several senders become one, and one row a key goes into the table of the group.
//!
//! Rows hold words that can still be combined (a sum, a sum and a number of updates, a last, largest or smallest value), so
//! that a bucket that comes in parts, or a coarser interval, is exact.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::bulk::ROWS;
use super::keys::Keys;
use super::schema;
use crate::metrics::{RawMeter, Snapshot, Vartype};
use crate::time::Timestamp;

/// Bytes of buckets that may wait for other senders; above, the oldest are written and the rest added to them.
const WAITING_BYTES: usize = 128 << 20;

/// Buckets that wait until every sender has passed their end.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_end: BTreeMap<Timestamp, Vec<(usize, Arc<Snapshot>)>>,
    passed: Vec<Timestamp>,
    bytes: usize,
}

impl Waiting {
    /// One more sender takes part.
    pub(super) fn join(&mut self, sender: usize) {
        let len = self.passed.len().max(sender + 1);
        self.passed.resize(len, Timestamp::from_nanos(i64::MIN));
    }

    pub(super) fn add(&mut self, sender: usize, bucket: Arc<Snapshot>) {
        self.bytes += bucket.bytes();
        self.by_end.entry(bucket.end()).or_default().push((sender, bucket));
    }

    /// A sender has handed over everything that ends by then.
    pub(super) fn pass(&mut self, sender: usize, time: Timestamp) {
        if let Some(passed) = self.passed.get_mut(sender) {
            *passed = time.max(*passed);
        }
    }

    /// What all senders have passed; the end of time once all are gone.
    pub(super) fn watermark(&self) -> Timestamp {
        self.passed.iter().copied().min().unwrap_or(Timestamp::from_nanos(i64::MIN))
    }

    /// The next buckets that are complete, merged.
    pub(super) fn due(&mut self) -> Option<Vec<Arc<Snapshot>>> {
        let entry = self.by_end.first_entry()?;
        let is_due = *entry.key() <= self.passed.iter().copied().min()?;
        if !is_due && self.bytes <= WAITING_BYTES {
            return None;
        }
        let mut parts = entry.remove();
        self.bytes -= parts.iter().map(|(_, bucket)| bucket.bytes()).sum::<usize>();
        // Of two last values the one of the later sender stays, whichever came first.
        parts.sort_by_key(|(sender, _)| *sender);
        let mut parts: Vec<Arc<Snapshot>> = parts.into_iter().map(|(_, bucket)| bucket).collect();
        let place = |bucket: &Arc<Snapshot>| (bucket.group(), bucket.start());
        parts.sort_by_key(place);
        if parts.windows(2).any(|pair| place(&pair[0]) == place(&pair[1])) {
            let merged = Snapshot::merge(parts.into_iter().map(Arc::unwrap_or_clone).collect());
            parts = merged.into_iter().map(Arc::new).collect();
        }
        Some(parts)
    }
}

/// How the words of two rows become those of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// The sum.
    Sum,
    /// The sum of volumes: a bucket with a negative one counts as 0.
    Volume,
    /// The later one.
    Last,
    /// The larger one.
    Max,
    /// The smaller one.
    Min,
}

impl Fold {
    /// How each word of a vartype folds.
    pub(super) fn of(vartype: Vartype) -> &'static [Self] {
        match vartype {
            Vartype::Counter | Vartype::RateCounter => &[Self::Volume],
            Vartype::Average => &[Self::Sum, Self::Sum],
            Vartype::Gauge | Vartype::RunningCounter | Vartype::DeltaRateCounter => &[Self::Last],
            Vartype::Maximum => &[Self::Max],
            Vartype::Minimum => &[Self::Min],
        }
    }

    /// What the word of a whole bucket counts as where several buckets become one value; NaN is none.
    pub(super) fn of_bucket(self, word: f64) -> f64 {
        if self == Self::Volume { word.max(0.0) } else { word }
    }

    /// `into` takes in a word of a later bucket; NaN is none.
    pub(super) fn take(self, into: &mut f64, word: f64) {
        if word.is_nan() {
            return;
        }
        *into = match self {
            _ if into.is_nan() => word,
            Self::Sum | Self::Volume => *into + word,
            Self::Last => word,
            Self::Max => into.max(word),
            Self::Min => into.min(word),
        };
    }

    fn on_conflict(self, column: &str) -> String {
        match self {
            Self::Sum | Self::Volume => format!("{column} = ifnull({column}, 0) + ifnull(excluded.{column}, 0)"),
            Self::Last => format!("{column} = ifnull(excluded.{column}, {column})"),
            Self::Max => {
                format!("{column} = max(ifnull({column}, excluded.{column}), ifnull(excluded.{column}, {column}))")
            }
            Self::Min => {
                format!("{column} = min(ifnull({column}, excluded.{column}), ifnull(excluded.{column}, {column}))")
            }
        }
    }
}

/// A column of a group's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) column: String,
    pub(super) fold: Fold,
    /// Where it lies in a raw row of a bucket.
    at: usize,
}

/// The table of one group.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) group: i64,
    pub(super) size: i64,
    pub(super) words: Vec<Word>,
    /// The texts that enter one row, and many.
    insert: String,
    insert_many: String,
}

impl Table {
    /// The table as the file has it, with what the group's meters lack.
    fn make(db: &Connection, group: i64, size: i64, meters: impl Iterator<Item = RawMeter>) -> rusqlite::Result<Self> {
        let name = schema::counters(group);
        let mut words = Vec::new();
        for meter in meters {
            for (index, fold) in Fold::of(meter.vartype).iter().enumerate() {
                let column = format!("{}{}", if index == 0 { 'm' } else { 'n' }, meter.id);
                words.push(Word { column, fold: *fold, at: meter.at + index });
            }
        }
        let mut columns = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let there: BTreeSet<String> = columns.query_map([&name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if there.is_empty() {
            // With all columns at once: after each change the whole schema is read again.
            let columns: String = words.iter().map(|word| format!(", {} REAL", word.column)).collect();
            db.execute_batch(&schema::make_counters(group, &columns))?;
        } else {
            for Word { column, .. } in words.iter().filter(|word| !there.contains(&word.column)) {
                db.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {column} REAL"))?;
            }
        }
        let (insert, insert_many) = (insert(&name, &words, 1), insert(&name, &words, ROWS));
        Ok(Self { group, size, words, insert, insert_many })
    }

    /// Adds rows: key, then words in the order of the columns.
    pub(super) fn write<'a>(
        &self,
        db: &Connection,
        level: i64,
        bucket: i64,
        mut rows: impl ExactSizeIterator<Item = (i64, &'a [f64])>,
    ) -> rusqlite::Result<u64> {
        let count = rows.len() as u64;
        for (sql, at_once) in [(&self.insert_many, ROWS), (&self.insert, 1)] {
            if rows.len() < at_once {
                continue;
            }
            let mut insert = db.prepare_cached(sql)?;
            insert.raw_bind_parameter(1, level)?;
            insert.raw_bind_parameter(2, bucket)?;
            while rows.len() >= at_once {
                let mut at = 3;
                for (key, words) in rows.by_ref().take(at_once) {
                    insert.raw_bind_parameter(at, key)?;
                    for (index, word) in (at + 1..).zip(words) {
                        // SQLite takes NaN for NULL.
                        insert.raw_bind_parameter(index, *word)?;
                    }
                    at += 1 + words.len();
                }
                insert.raw_execute()?;
            }
        }
        if count > 0 {
            let sql = "INSERT OR IGNORE INTO intervals(grp, level, bucket) VALUES(?1, ?2, ?3)";
            db.prepare_cached(sql)?.execute([self.group, level, bucket])?;
        }
        Ok(count)
    }
}

/// Level and bucket are the first two parameters; key and words of each row follow.
fn insert(name: &str, words: &[Word], rows: usize) -> String {
    let mut sql = format!("INSERT OR ROLLBACK INTO {name}(level, bucket, key");
    let mut values = String::from("VALUES");
    // Writing into a string does not fail.
    for word in words {
        let _ = write!(sql, ", {}", word.column);
    }
    for row in 0..rows {
        values.push_str(if row == 0 { "(?1, ?2" } else { ", (?1, ?2" });
        for at in 0..=words.len() {
            let _ = write!(values, ", ?{}", 3 + row * (1 + words.len()) + at);
        }
        values.push(')');
    }
    let conflicts: Vec<String> = words.iter().map(|word| word.fold.on_conflict(&word.column)).collect();
    let action =
        if conflicts.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", conflicts.join(", ")) };
    format!("{sql}) {values} ON CONFLICT(level, bucket, key) DO {action}")
}

/// The tables of all groups, and which coarse intervals have to be made anew.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: HashMap<i64, Table>,
    /// Level, interval and group, in this order (an hour comes before its day), with the number of buckets written.
    pub(super) stale: BTreeMap<(i64, i64, i64), u32>,
    words: Vec<f64>,
    order: Vec<(i64, usize)>,
}

impl Tables {
    /// The table of a group, if it has been written to.
    pub(super) fn get(&self, group: i64) -> Option<&Table> {
        self.tables.get(&group)
    }

    /// Writes a bucket; returns the number of its rows.
    pub(super) fn write(
        &mut self,
        db: &Connection,
        keys: &mut Keys,
        group: i64,
        bucket: &Snapshot,
    ) -> rusqlite::Result<u64> {
        let table = match self.tables.entry(group) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Table::make(db, group, bucket.size(), bucket.raw_meters())?)
            }
        };
        let (words, order) = (&mut self.words, &mut self.order);
        words.clear();
        order.clear();
        let mut failed = None;
        bucket.for_each_raw(|key, raw| {
            match keys.id(db, key) {
                Ok(id) => order.push((id, words.len())),
                Err(e) => failed = failed.take().or(Some(e)),
            }
            words.extend(table.words.iter().map(|word| RawMeter::word(raw, word.at)));
        });
        if let Some(e) = failed {
            return Err(e);
        }
        keys.write(db)?;
        // In the order of the primary key every row goes behind the one before.
        order.sort_unstable();
        let width = table.words.len();
        let rows = order.iter().map(|&(id, at)| (id, &words[at..at + width]));
        let count = table.write(db, 0, bucket.start(), rows)?;
        for level in schema::levels(table.size) {
            let interval = bucket.start().div_euclid(level).saturating_mul(level);
            let parts = self.stale.entry((level, interval, group)).or_default();
            *parts += 1;
            if *parts > 1 {
                // Of the intervals around it this is no new part.
                break;
            }
            let mut delete = db.prepare_cached("DELETE FROM rolled WHERE grp = ?1 AND level = ?2 AND bucket = ?3")?;
            delete.execute(params![group, level, interval])?;
        }
        Ok(count)
    }

    /// After a rollback: what the file holds is what it held before.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
        // Intervals without a mark are read from the finer rows.
        self.stale.clear();
    }
}
