//! The toppers of intervals: keys among the first or last, with how much too large their values may be.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::answer::{Answer, Cell};
use super::counters::{TopQuery, key_text};
use super::names::{GroupName, Labels, MeterName};
use super::reader::{QueryError, Reader};
use crate::metrics::Vartype;
use crate::sink::report::text_of;
use crate::sink::store::buckets::Fold;
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
    let mut of = |first: i64, last: i64, visit: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>| {
        let mut rows = select.query(params![group.id, meter.id, first, last])?;
        while let Some(row) = rows.next()? {
            if !is_counted(row.get(0)?) {
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
    let mean = |value: f64, intervals: f64| if meter.vartype == Vartype::Average { value / intervals } else { value };
    let key = |(key, (value, error, intervals))| Uncounted { key, value: mean(value, intervals), error };
    Ok(sums.into_iter().map(key).collect())
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
