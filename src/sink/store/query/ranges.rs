//! Which counter rows answer for a time range: days where the whole day is asked for, hours, and single buckets at the ends.

use rusqlite::params;

use super::names::GroupName;
use super::reader::{QueryError, Reader};
use crate::sink::store::schema;
use crate::time::Timestamp;

/// Rows of one level with starts from `from` to before `to`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) level: i64,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// First and last start of a bucket of the group.
pub(super) fn extent(reader: &Reader, group: &GroupName) -> Result<Option<(i64, i64)>, QueryError> {
    let name = schema::counters(group.id);
    let one = |order: &str| -> rusqlite::Result<Option<i64>> {
        let sql = format!("SELECT {order}(bucket) FROM {name} WHERE level = 0");
        reader.prepare(&sql)?.query_row([], |row| row.get(0))
    };
    Ok(one("min")?.zip(one("max")?))
}

/// Starts of the buckets that a range touches, from and to before; `None` if there are none.
pub(super) fn touched(
    reader: &Reader,
    group: &GroupName,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Option<(i64, i64)>, QueryError> {
    let Some((first, last)) = extent(reader, group)? else { return Ok(None) };
    // A bucket that began before the range may reach into it.
    let from = from.map_or(first, |from| first.max(from.secs().saturating_sub(group.bucketsize).saturating_add(1)));
    let to = to.map_or(last, |to| last.min(to.secs())).saturating_add(1);
    Ok((from < to).then_some((from, to)))
}

/// The rows for buckets that start from `from` to before `to`, the coarsest there are.
pub(super) fn pieces(reader: &Reader, group: &GroupName, from: i64, to: i64) -> Result<Vec<Piece>, QueryError> {
    let Some((first, last)) = extent(reader, group)? else { return Ok(Vec::new()) };
    let levels: Vec<i64> = schema::levels(group.bucketsize).collect();
    // An interval is covered if nothing of it that there is lies outside the range.
    let from = if from <= first { i64::MIN } else { from };
    let to = if to > last { i64::MAX } else { to };
    let mut pieces = Vec::new();
    split(reader, group, &levels, (from, to), &mut pieces)?;
    Ok(pieces)
}

fn split(
    reader: &Reader,
    group: &GroupName,
    levels: &[i64],
    (from, to): (i64, i64),
    pieces: &mut Vec<Piece>,
) -> Result<(), QueryError> {
    if from >= to {
        return Ok(());
    }
    let Some((level, finer)) = levels.split_last() else {
        pieces.push(Piece { level: 0, from, to });
        return Ok(());
    };
    let sql =
        "SELECT bucket FROM rolled WHERE grp = ?1 AND level = ?2 AND bucket >= ?3 AND bucket <= ?4 ORDER BY bucket";
    let mut select = reader.prepare(sql)?;
    let last_start = to.saturating_sub(if to == i64::MAX { 0 } else { *level });
    let rolled = select
        .query_map(params![group.id, level, from, last_start], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    let mut at = from;
    for start in rolled {
        split(reader, group, finer, (at, start), pieces)?;
        let end = start.saturating_add(*level);
        match pieces.last_mut() {
            Some(last) if last.level == *level && last.to == start => last.to = end,
            _ => pieces.push(Piece { level: *level, from: start, to: end }),
        }
        at = end;
    }
    split(reader, group, finer, (at, to), pieces)
}
