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
use super::sums::Sums;
use crate::metrics::{RawMeter, Snapshot, Vartype};
use crate::time::Timestamp;

/// Bytes of buckets that may wait for other senders; above, the oldest are written and the rest added to them.
const WAITING_BYTES: usize = 128 << 20;
/// Numbers that all sums may hold (16 MiB); what has more is read again when its interval is complete.
const SUMMED: usize = 2 << 20;

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

/// What was written of a coarse interval since it has no rows of its own.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Buckets, or intervals within it.
    pub(super) count: u32,
    /// What they come to, as long as nothing else is known to be in the interval.
    pub(super) sums: Option<Sums>,
}

impl Parts {
    /// Takes in a bucket: the rows in the order of keys, and the words of each from its number on.
    fn add(&mut self, table: &Table, bucket: i64, (rows, words): (&[(i64, usize)], &[f64]), summed: &mut usize) {
        let Some(mut sums) = self.sums.take() else { return };
        let has_room = *summed + rows.len() * (1 + table.words.len()) <= SUMMED;
        *summed -= sums.len();
        if has_room && sums.add(&table.words, bucket, rows, words) {
            *summed += sums.len();
            self.sums = Some(sums);
        }
    }
}

/// The tables of all groups, and which coarse intervals have to be made anew.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: HashMap<i64, Table>,
    /// Level, interval and group, in this order (an hour comes before its day).
    stale: BTreeMap<(i64, i64, i64), Parts>,
    /// Numbers held by sums.
    summed: usize,
    words: Vec<f64>,
    order: Vec<(i64, usize)>,
}

impl Tables {
    /// The table of a group, if it has been written to.
    pub(super) fn get(&self, group: i64) -> Option<&Table> {
        self.tables.get(&group)
    }

    /// The coarse intervals to be made anew that end by `until`, in seconds.
    pub(super) fn due(&self, until: i64) -> Vec<(i64, i64, i64)> {
        let is_due = |(level, interval, _): &&(i64, i64, i64)| interval.saturating_add(*level) <= until;
        self.stale.keys().filter(is_due).copied().collect()
    }

    /// An interval is made anew from these.
    pub(super) fn take(&mut self, interval: (i64, i64, i64)) -> Parts {
        let parts = self.stale.remove(&interval).unwrap_or_default();
        self.summed -= parts.sums.as_ref().map_or(0, Sums::len);
        parts
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
        for level in schema::levels(table.size) {
            let interval = bucket.start().div_euclid(level).saturating_mul(level);
            let is_finest = schema::levels(table.size).next() == Some(level);
            let parts = self.stale.entry((level, interval, group)).or_default();
            parts.count += 1;
            let is_first = parts.count == 1;
            if is_first {
                let mut delete =
                    db.prepare_cached("DELETE FROM rolled WHERE grp = ?1 AND level = ?2 AND bucket = ?3")?;
                delete.execute(params![group, level, interval])?;
                parts.sums = (is_finest && is_empty(db, group, level, interval)?).then(Sums::default);
            }
            if is_finest {
                parts.add(table, bucket.start(), (order, words), &mut self.summed);
            }
            if !is_first {
                // Of the intervals around it this is no new part.
                break;
            }
        }
        let width = table.words.len();
        let rows = order.iter().map(|&(id, at)| (id, &words[at..at + width]));
        table.write(db, 0, bucket.start(), rows)
    }

    /// Rows of the file were deleted: what is left of an interval is read when it is made anew.
    pub(super) fn deleted(&mut self) {
        self.stale.values_mut().for_each(|parts| parts.sums = None);
        self.summed = 0;
    }

    /// After a rollback: what the file holds is what it held before.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
        // Intervals without a mark are read from the finer rows.
        self.stale.clear();
        self.summed = 0;
    }
}

/// Whether the file has no bucket of an interval.
fn is_empty(db: &Connection, group: i64, level: i64, interval: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT NOT EXISTS(
        SELECT 1 FROM intervals WHERE grp = ?1 AND level = 0 AND bucket >= ?2 AND bucket < ?3)";
    db.prepare_cached(sql)?.query_row([group, interval, interval.saturating_add(level)], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rusqlite::Connection;
    use rusqlite::types::Value;
    use tempfile::TempDir;

    use super::{SUMMED, Tables};
    use crate::metrics::{ShardConfig, Vartype, rehearsal};
    use crate::sink::WhenFull;
    use crate::sink::store::StoreOptions;
    use crate::sink::store::keys::Keys;
    use crate::sink::store::open::{Opened, open};
    use crate::sink::store::rollup::roll;
    use crate::time::Timestamp;

    const GROUP: i64 = 7;
    const METERS: [Vartype; 6] =
        [Vartype::Counter, Vartype::RateCounter, Vartype::Average, Vartype::Maximum, Vartype::Minimum, Vartype::Gauge];

    /// What happens to a file.
    enum Step {
        /// Buckets of ten seconds are written, by their numbers.
        Write(Range<i64>),
        /// Intervals that end by a second are made.
        Roll(i64),
        /// Buckets before a number are deleted.
        Delete(i64),
    }

    /// A file, with what writes to it.
    struct Bench {
        opened: Opened,
        _folder: TempDir,
        tables: Tables,
        keys: Keys,
    }

    impl Bench {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let options = StoreOptions::new(folder.path().join("store.db"), WhenFull::Block);
            let opened = open(&options.file, options.durability).unwrap();
            let keys = Keys::new(&opened.db).unwrap();
            Self { opened, _folder: folder, tables: Tables::default(), keys }
        }

        /// Buckets each with other keys and values: keys come and go, meters of theirs too, and volumes may be negative.
        fn write(&mut self, buckets: Range<i64>) {
            let (mut shard, group) = rehearsal::shard(&METERS, ShardConfig::default());
            let Self { opened, tables, keys, .. } = self;
            for bucket in buckets {
                shard.advance(Timestamp::new(bucket * 10, 0), |_| ());
                for (key, meter) in (0..9).flat_map(|key| (0..6).map(move |meter| (key, meter))) {
                    let number = bucket * 31 + key * 17 + i64::from(meter) * 7;
                    if number % 5 != 0 {
                        let text = format!("key-{}", key + bucket / 3);
                        shard.update(group, text.as_bytes(), meter, (number % 97) as f64 / 7.0 - 5.0);
                    }
                }
                shard.advance(Timestamp::new(bucket * 10 + 10, 0), |bucket| {
                    tables.write(&opened.db, keys, GROUP, &bucket).unwrap();
                });
            }
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::Write(buckets) => self.write(buckets.clone()),
                Step::Roll(until) => {
                    roll(&self.opened.db, &mut self.tables, *until).unwrap();
                }
                Step::Delete(bucket) => {
                    for table in ["counters_7", "intervals"] {
                        let sql = format!("DELETE FROM {table} WHERE level = 0 AND bucket < ?1");
                        self.opened.db.execute(&sql, [bucket * 10]).unwrap();
                    }
                    self.tables.deleted();
                }
            }
        }

        /// Hours whose sums are held.
        fn summed(&self) -> Vec<i64> {
            let all = self.tables.stale.iter().filter(|(_, parts)| parts.sums.is_some());
            all.map(|((_, interval, _), _)| interval / 3_600).collect()
        }

        fn coarse(&self) -> [Vec<Vec<Value>>; 2] {
            let of = |sql| rows(&self.opened.db, sql);
            [
                of("SELECT * FROM counters_7 WHERE level > 0 ORDER BY level, bucket, key"),
                of("SELECT level, bucket FROM rolled ORDER BY level, bucket"),
            ]
        }
    }

    /// The hours whose sums are held after these steps; the coarse rows are those of a file whose buckets are read again.
    fn summed_after(steps: &[Step]) -> Vec<i64> {
        let (mut summing, mut reading) = (Bench::new(), Bench::new());
        for step in steps {
            summing.take(step);
            reading.tables.deleted();
            reading.take(step);
            reading.tables.deleted();
        }
        let summed = summing.summed();
        [&mut summing, &mut reading].into_iter().for_each(|bench| bench.take(&Step::Roll(i64::MAX)));
        assert_eq!(summing.coarse(), reading.coarse());
        assert!(summing.coarse().iter().all(|rows| !rows.is_empty()));
        assert_eq!((summing.tables.summed, summing.tables.stale.len()), (0, 0));
        summed
    }

    fn rows(db: &Connection, sql: &str) -> Vec<Vec<Value>> {
        let mut select = db.prepare(sql).unwrap();
        let columns = select.column_count();
        let found = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
        found.unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn hours_that_are_added_up_are_those_that_would_be_read() {
        assert_eq!(summed_after(&[Step::Write(3..9), Step::Write(100..140), Step::Write(350..400)]), [0, 1]);
        assert_eq!(summed_after(&[Step::Write(300..900), Step::Roll(7_200), Step::Write(900..910)]), [2]);
    }

    #[test]
    fn hours_with_more_in_them_are_read() {
        let (late, again) = ([Step::Write(10..20), Step::Write(5..8)], [Step::Write(10..20), Step::Write(19..21)]);
        assert_eq!((summed_after(&late), summed_after(&again)), (vec![], vec![]));
        let rolled = [Step::Write(10..20), Step::Roll(3_600), Step::Write(20..30), Step::Write(360..365)];
        assert_eq!(summed_after(&rolled), [1]);
        assert_eq!(summed_after(&[Step::Write(10..20), Step::Delete(14), Step::Write(20..30)]), [0_i64; 0]);
        assert_eq!(summed_after(&[Step::Write(10..20), Step::Delete(20), Step::Write(20..30)]), [0_i64; 0]);
    }

    #[test]
    fn hours_with_too_many_keys_are_read() {
        let mut bench = Bench::new();
        bench.write(10..15);
        let held = bench.tables.summed;
        assert_eq!(bench.summed(), [0]);
        bench.tables.summed = SUMMED - 1;
        bench.write(15..16);
        assert_eq!((bench.summed(), bench.tables.summed), (vec![], SUMMED - 1 - held));
        bench.write(16..20);
        bench.take(&Step::Roll(i64::MAX));
        assert_eq!(bench.coarse()[1], [[Value::Integer(3_600), Value::Integer(0)]]);
    }
}
