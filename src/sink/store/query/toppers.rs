//! The toppers of intervals: keys among the first or last, with how much too large their values may be.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Row, params};

use super::answer::{Answer, Cell};
use super::counters::{TopQuery, key_text};
use super::names::{GroupName, Labels, MeterName};
use super::reader::{QueryError, Reader};
use crate::metrics::Vartype;
use crate::sink::report::text_of;
use crate::sink::store::buckets::Fold;
use crate::sink::store::schema;
use crate::time::Timestamp;

/// Intervals that are looked at to find out whether toppers have counters.
const LOOKED_AT: i64 = 16;

/// The toppers of a meter, interval by interval, the latest first; the largest values come before the smallest. Of the range
/// are the intervals that begin in it.
///
/// # Errors
/// [`QueryError`].
pub fn toppers(reader: &Reader, query: &TopQuery) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let group = reader.ranked_group(&query.group)?;
    let meter = reader.ranked_meter(&group, query.meter.as_deref())?;
    let mut answer = Answer::new(&["time", "side", "rank", "key", "readable", "label", "value", "error"]);
    let labels = Labels::new(reader, &group)?;
    let mut select = reader.prepare(
        "SELECT bucket, side, key, value, error FROM toppers WHERE grp = ?1 AND meter = ?2 AND bucket >= ?3 AND bucket <= ?4
         ORDER BY bucket DESC, side DESC, side * value DESC, key LIMIT ?5",
    )?;
    let (from, to) = starts(query);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![group.id, meter.id, from, to, limit])?;
    let (mut place, mut rank) = (None, 0);
    while let Some(row) = rows.next()? {
        let (bucket, side): (i64, i64) = (row.get(0)?, row.get(1)?);
        rank = if place.replace((bucket, side)) == Some((bucket, side)) { rank + 1 } else { 1 };
        let key = key_text(reader, row.get(2)?)?;
        answer.rows.push(vec![
            Cell::Time(Timestamp::new(bucket, 0)),
            Cell::Text(if side < 0 { "smallest" } else { "largest" }.to_owned()),
            Cell::Int(rank),
            Cell::Text(text_of(&key)),
            Labels::readable(&key).into(),
            labels.label(&key)?.into(),
            Cell::of(row.get_ref(3)?),
            Cell::of(row.get_ref(4)?),
        ]);
    }
    Ok(answer)
}

/// First and last start of an interval that is asked for.
fn starts(query: &TopQuery) -> (i64, i64) {
    let from = query.from.map_or(i64::MIN, |from| from.secs().saturating_add(i64::from(from.subsec_nanos() > 0)));
    (from, query.to.map_or(i64::MAX, Timestamp::secs))
}

/// A key whose counters are not stored.
pub(super) struct Uncounted {
    pub(super) key: i64,
    pub(super) value: f64,
    /// Unknown where an earlier version wrote it.
    pub(super) error: Option<f64>,
}

/// Keys that were counted after the range in an interval that begins in it: its toppers may be these keys. They are looked
/// for when a topper was not counted in the range.
struct CountedAfter<'a> {
    reader: &'a Reader,
    group: &'a GroupName,
    /// From after the range to before the next interval.
    buckets: Option<(i64, i64)>,
    keys: Option<HashSet<i64, foldhash::fast::RandomState>>,
}

impl<'a> CountedAfter<'a> {
    fn new(
        reader: &'a Reader,
        group: &'a GroupName,
        meter: &MeterName,
        to: Option<Timestamp>,
    ) -> Result<Self, QueryError> {
        let mut buckets = None;
        let has_counters = reader.db.table_exists(None, schema::counters(group.id).as_str())?;
        if let Some(to) = to.filter(|_| has_counters) {
            let sql = "SELECT min(bucket) FROM toppers WHERE grp = ?1 AND meter = ?2 AND bucket > ?3";
            let row = params![group.id, meter.id, to.secs()];
            let next: Option<i64> = reader.prepare(sql)?.query_row(row, |row| row.get(0))?;
            buckets = Some((to.secs(), next.unwrap_or(i64::MAX)));
        }
        Ok(Self { reader, group, buckets, keys: None })
    }

    fn contains(&mut self, key: i64) -> rusqlite::Result<bool> {
        let Some((after, before)) = self.buckets else { return Ok(false) };
        if self.keys.is_none() {
            let sql = format!(
                "SELECT key FROM {} WHERE level = 0 AND bucket > ?1 AND bucket < ?2",
                schema::counters(self.group.id)
            );
            let mut select = self.reader.prepare(&sql)?;
            self.keys = Some(select.query_map([after, before], |row| row.get(0))?.collect::<Result<_, _>>()?);
        }
        Ok(self.keys.as_ref().is_some_and(|keys| keys.contains(&key)))
    }
}

/// What the toppers of the range say of keys that have no counters, because scripts keep these from being stored. Toppers
/// are many and such scripts few: unless some of a sample have no counters, all are taken to have them.
pub(super) fn uncounted(
    reader: &Reader,
    group: &GroupName,
    meter: &MeterName,
    query: &TopQuery,
    is_counted: impl Fn(i64) -> bool,
) -> Result<Vec<Uncounted>, QueryError> {
    let (from, to) = starts(query);
    let sql = "SELECT key, value, error, bucket FROM toppers WHERE grp = ?1 AND meter = ?2 AND bucket >= ?3
               AND bucket <= ?4 AND side = 1";
    let mut select = reader.prepare(sql)?;
    let mut after = CountedAfter::new(reader, group, meter, query.to)?;
    let mut of = |first: i64, last: i64, visit: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>| {
        let mut rows = select.query(params![group.id, meter.id, first, last])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            if !is_counted(key) && !after.contains(key)? {
                visit(row)?;
            }
        }
        Ok::<_, rusqlite::Error>(())
    };
    let mut found = false;
    for bucket in sample(reader, (group.id, meter.id), (from, to))? {
        of(bucket, bucket, &mut |_| {
            found = true;
            Ok(())
        })?;
    }
    if !found {
        return Ok(Vec::new());
    }
    let mut sums: BTreeMap<i64, (f64, Option<f64>, f64)> = BTreeMap::new();
    let fold = Fold::of(meter.vartype)[0];
    of(from, to, &mut |row| {
        let (value, error): (f64, Option<f64>) = (row.get(1)?, row.get(2)?);
        let sum = sums.entry(row.get(0)?).or_insert((f64::NAN, Some(0.0), 0.0));
        fold.take(&mut sum.0, value);
        // Only what adds up has any.
        sum.1 = sum.1.zip(error).map(|(sum, error)| sum + error);
        sum.2 += 1.0;
        Ok(())
    })?;
    let uncounted = sums.into_iter().map(|(key, (value, error, intervals))| {
        let finished = |number: f64| match meter.vartype {
            Vartype::Average => number / intervals,
            // Toppers have the sums of rates.
            Vartype::RateCounter => number * group.bucketsize as f64,
            _ => number,
        };
        Uncounted { key, value: finished(value), error: error.map(finished) }
    });
    Ok(uncounted.collect())
}

/// Some intervals with toppers, spread over the range.
fn sample(reader: &Reader, (group, meter): (i64, u8), (from, to): (i64, i64)) -> Result<Vec<i64>, QueryError> {
    let one = |order: &str, from: i64| -> rusqlite::Result<Option<i64>> {
        let sql = format!(
            "SELECT {order}(bucket) FROM toppers WHERE grp = ?1 AND meter = ?2 AND bucket >= ?3 AND bucket <= ?4"
        );
        reader.prepare(&sql)?.query_row(params![group, meter, from, to], |row| row.get(0))
    };
    let Some((first, last)) = one("min", from)?.zip(one("max", from)?) else { return Ok(Vec::new()) };
    let span = i128::from(last) - i128::from(first);
    let mut buckets = Vec::new();
    for at in 0..LOOKED_AT {
        let part = span * i128::from(at) / i128::from(LOOKED_AT - 1);
        // It lies between two numbers of this size.
        let at = i64::try_from(i128::from(first) + part).unwrap_or(last);
        buckets.extend(one("min", at)?);
    }
    buckets.dedup();
    Ok(buckets)
}
