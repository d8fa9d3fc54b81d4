//! A meter of a key over time.

use rusqlite::params;

use super::answer::{Answer, Cell};
use super::counters::{columns, finish};
use super::names::{GroupName, MeterName};
use super::ranges::{Piece, pieces, touched};
use super::reader::{QueryError, Reader};
use crate::metrics::{GROUP_TOTALS, GroupKind, Vartype};
use crate::sink::store::schema;
use crate::time::Timestamp;

/// A meter of a key over time.
#[derive(Clone, Debug, Default)]
pub struct SeriesQuery {
    /// Name or GUID of the counter group.
    pub group: String,
    /// The key, as it is or as people read it; the whole group without.
    pub key: Option<String>,
    /// Name or id of the meter; the first one without.
    pub meter: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Points at most, about: above, they are hours or days.
    pub limit: usize,
}

/// Values bucket by bucket; what has no row counts as 0 where values add up, and as nothing where they do not.
///
/// # Errors
/// [`QueryError`].
pub fn series(reader: &Reader, query: &SeriesQuery) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let group = reader.group(GroupKind::Counter, &query.group)?;
    let meter = reader.meter(&group, query.meter.as_deref())?;
    let mut answer = Answer::new(&["time", "seconds", "value"]);
    let key = match &query.key {
        Some(key) => reader.key(&group, key)?,
        None => match reader.key_number(GROUP_TOTALS)? {
            Some(key) => key,
            None => return Ok(answer),
        },
    };
    let Some((from, to)) = touched(reader, &group, query.from, query.to)? else { return Ok(answer) };
    let fine = group.bucketsize.max(1);
    let span = to.saturating_sub(from);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).max(1);
    // The finest level that keeps within the limit.
    let wanted = std::iter::once(fine).chain(schema::levels(fine)).find(|size| span / size <= limit);
    let coarsest = wanted.or_else(|| schema::levels(fine).last()).unwrap_or(fine);
    let parts: Vec<Piece> = if coarsest == fine {
        vec![Piece { level: 0, from, to }]
    } else {
        // Days come apart into hours where hours are wanted.
        let split = |piece: Piece| Piece { level: piece.level.min(coarsest), ..piece };
        pieces(reader, &group, from, to)?.into_iter().map(split).collect()
    };
    for piece in parts {
        points(reader, &group, &meter, key, piece, &mut answer)?;
    }
    Ok(answer)
}

/// One point for each interval of a piece: the key is looked up once in each that has counters.
fn points(
    reader: &Reader,
    group: &GroupName,
    meter: &MeterName,
    key: i64,
    piece: Piece,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let sql = format!(
        "SELECT i.bucket, {} FROM intervals i LEFT JOIN {} c ON c.level = i.level AND c.bucket = i.bucket AND c.key = ?5
         WHERE i.grp = ?1 AND i.level = ?2 AND i.bucket >= ?3 AND i.bucket < ?4 ORDER BY i.bucket",
        columns(meter),
        schema::counters(group.id)
    );
    let size = if piece.level == 0 { group.bucketsize.max(1) } else { piece.level };
    let mut select = reader.prepare(&sql)?;
    let mut rows = select.query(params![group.id, piece.level, piece.from, piece.to, key])?;
    while let Some(row) = rows.next()? {
        let word = |index| row.get::<_, Option<f64>>(index).map(|word| word.unwrap_or(f64::NAN));
        let words = [word(1)?, word(2)?];
        let cell = match words {
            [word, _] if word.is_nan() => {
                if meter.vartype.is_additive() {
                    Cell::Real(0.0)
                } else {
                    Cell::Null
                }
            }
            words if meter.vartype == Vartype::RateCounter => Cell::Real(finish(meter.vartype, words) / size as f64),
            words => Cell::Real(finish(meter.vartype, words)),
        };
        answer.rows.push(vec![Cell::Time(Timestamp::new(row.get(0)?, 0)), Cell::Int(size), cell]);
    }
    Ok(())
}
