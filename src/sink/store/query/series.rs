//! A meter of a key over time.

use rusqlite::{OptionalExtension, params};

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
    let group = reader.group(GroupKind::Counter, &query.group)?;
    let meter = reader.meter(&group, query.meter.as_deref())?;
    let (key, _) = reader.key(&group, query.key.as_deref().unwrap_or(&String::from_utf8_lossy(GROUP_TOTALS)))?;
    let mut answer = Answer::new(&["time", "seconds", "value"]);
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

/// One point for each interval of a piece: from start to start, and the key looked up in each.
fn points(
    reader: &Reader,
    group: &GroupName,
    meter: &MeterName,
    key: i64,
    piece: Piece,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let name = schema::counters(group.id);
    let mut next = reader.prepare(&format!(
        "SELECT bucket FROM {name} WHERE level = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket LIMIT 1"
    ))?;
    let mut value = reader
        .prepare(&format!("SELECT {} FROM {name} WHERE level = ?1 AND bucket = ?2 AND key = ?3", columns(meter)))?;
    let size = if piece.level == 0 { group.bucketsize.max(1) } else { piece.level };
    let mut at = piece.from;
    while let Some(bucket) =
        next.query_row(params![piece.level, at, piece.to], |row| row.get::<_, i64>(0)).optional()?
    {
        let words = value
            .query_row(params![piece.level, bucket, key], |row| {
                let word = |index| row.get::<_, Option<f64>>(index).map(|word| word.unwrap_or(f64::NAN));
                Ok([word(0)?, word(1)?])
            })
            .optional()?;
        let cell = match words {
            Some(words) if meter.vartype == Vartype::RateCounter => {
                Cell::Real(finish(meter.vartype, words) / size as f64)
            }
            Some(words) if !words[0].is_nan() => Cell::Real(finish(meter.vartype, words)),
            _ if meter.vartype.is_additive() => Cell::Real(0.0),
            _ => Cell::Null,
        };
        answer.rows.push(vec![Cell::Time(Timestamp::new(bucket, 0)), Cell::Int(size), cell]);
        at = bucket.saturating_add(1);
    }
    Ok(())
}
