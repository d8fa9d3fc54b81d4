//! The largest keys of a group, and all keys with their values.

use std::collections::HashMap;

use rusqlite::params;

use super::answer::{Answer, Cell};
use super::names::{GroupName, Labels, MeterName};
use super::ranges::{Piece, pieces, touched};
use super::reader::{QueryError, Reader};
use crate::metrics::{GROUP_TOTALS, GroupKind, Vartype};
use crate::sink::report::text_of;
use crate::sink::store::buckets::Fold;
use crate::sink::store::schema;
use crate::time::Timestamp;

/// The keys with the largest values of a meter.
#[derive(Clone, Debug, Default)]
pub struct TopQuery {
    /// Name or GUID of the counter group.
    pub group: String,
    /// Name or id of the meter; the first one without.
    pub meter: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Rows.
    pub limit: usize,
}

/// The keys of a group.
#[derive(Clone, Debug, Default)]
pub struct KeysQuery {
    /// Name or GUID of the counter group.
    pub group: String,
    /// Only keys that contain this, or whose readable form or label does; of either case.
    pub containing: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Rows.
    pub limit: usize,
}

type Sums = HashMap<i64, [f64; 2], foldhash::fast::RandomState>;

/// The value of a meter from its words, over a range.
pub(super) fn finish(vartype: Vartype, words: [f64; 2]) -> f64 {
    let value = match vartype {
        Vartype::Average if words[1] > 0.0 => words[0] / words[1],
        Vartype::Average => 0.0,
        Vartype::Counter | Vartype::RateCounter => words[0].max(0.0),
        _ => words[0],
    };
    if value.is_nan() { 0.0 } else { value }
}

/// The columns of a meter.
pub(super) fn columns(meter: &MeterName) -> String {
    match meter.vartype {
        Vartype::Average => format!("m{0}, n{0}", meter.id),
        _ => format!("m{0}, NULL", meter.id),
    }
}

/// Adds up one meter over the pieces, by key.
fn sum(reader: &Reader, group: &GroupName, meter: &MeterName, pieces: &[Piece]) -> Result<Sums, QueryError> {
    let sql = format!(
        "SELECT key, {} FROM {} WHERE level = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket, key",
        columns(meter),
        schema::counters(group.id)
    );
    let fold = Fold::of(meter.vartype)[0];
    let mut sums = Sums::default();
    let mut select = reader.prepare(&sql)?;
    for piece in pieces {
        let mut rows = select.query(params![piece.level, piece.from, piece.to])?;
        while let Some(row) = rows.next()? {
            let words = sums.entry(row.get(0)?).or_insert([f64::NAN; 2]);
            let word = row.get::<_, Option<f64>>(1)?.unwrap_or(f64::NAN);
            fold.take(&mut words[0], fold.of_bucket(word));
            if meter.vartype == Vartype::Average {
                fold.take(&mut words[1], row.get::<_, Option<f64>>(2)?.unwrap_or(f64::NAN));
            }
        }
    }
    Ok(sums)
}

/// The text of a key.
pub(super) fn key_text(reader: &Reader, id: i64) -> Result<Vec<u8>, QueryError> {
    let mut select = reader.prepare("SELECT key FROM keys WHERE id = ?1")?;
    Ok(select.query_row([id], |row| Ok(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default()))?)
}

/// The keys with the largest values of a meter over a range: volumes of counters and rates, last values of gauges, means,
/// largest and smallest values.
///
/// # Errors
/// [`QueryError`].
pub fn top(reader: &Reader, query: &TopQuery) -> Result<Answer, QueryError> {
    let group = reader.group(GroupKind::Counter, &query.group)?;
    let meter = reader.meter(&group, query.meter.as_deref())?;
    let mut answer = Answer::new(&["key", "readable", "label", "value", "share"]);
    let Some((from, to)) = touched(reader, &group, query.from, query.to)? else { return Ok(answer) };
    let mut sums = sum(reader, &group, &meter, &pieces(reader, &group, from, to)?)?;
    let total =
        reader.key_number(GROUP_TOTALS)?.and_then(|id| sums.remove(&id)).map(|words| finish(meter.vartype, words));
    let mut ranked: Vec<(i64, f64)> = sums.into_iter().map(|(id, words)| (id, finish(meter.vartype, words))).collect();
    ranked.retain(|(_, value)| *value != 0.0);
    let order = |a: &(i64, f64), b: &(i64, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if query.limit < ranked.len() {
        ranked.select_nth_unstable_by(query.limit, order);
        ranked.truncate(query.limit);
    }
    ranked.sort_unstable_by(order);
    let labels = Labels::new(reader, &group)?;
    for (id, value) in ranked {
        let key = key_text(reader, id)?;
        let share = total.filter(|total| meter.vartype.is_additive() && *total > 0.0).map(|total| value / total);
        answer.rows.push(vec![
            Cell::Text(text_of(&key)),
            Labels::readable(&key).into(),
            labels.label(&key)?.into(),
            Cell::Real(value),
            share.map_or(Cell::Null, Cell::Real),
        ]);
    }
    Ok(answer)
}

/// The keys of a group that were counted in a range, with the value of the first meter, in order of the keys' texts.
///
/// # Errors
/// [`QueryError`].
pub fn keys(reader: &Reader, query: &KeysQuery) -> Result<Answer, QueryError> {
    let group = reader.group(GroupKind::Counter, &query.group)?;
    let meter = reader.meter(&group, None)?;
    let mut answer = Answer::new(&["key", "readable", "label", "value", "attributes"]);
    let Some((from, to)) = touched(reader, &group, query.from, query.to)? else { return Ok(answer) };
    let sums = sum(reader, &group, &meter, &pieces(reader, &group, from, to)?)?;
    let labels = Labels::new(reader, &group)?;
    let wanted = query.containing.as_ref().map(|text| text.to_lowercase());
    let has = |text: &Option<String>, wanted: &str| text.as_ref().is_some_and(|t| t.to_lowercase().contains(wanted));
    let mut found: Vec<(Vec<u8>, f64)> = Vec::with_capacity(sums.len());
    for (id, words) in sums {
        found.push((key_text(reader, id)?, finish(meter.vartype, words)));
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (key, value) in found {
        if answer.rows.len() >= query.limit {
            break;
        }
        let (text, readable, label) = (text_of(&key), Labels::readable(&key), labels.label(&key)?);
        let matches =
            |wanted: &String| text.to_lowercase().contains(wanted) || has(&readable, wanted) || has(&label, wanted);
        if key == GROUP_TOTALS || !wanted.as_ref().is_none_or(matches) {
            continue;
        }
        let attributes = labels.attributes(&key)?.into();
        answer.rows.push(vec![Cell::Text(text), readable.into(), label.into(), Cell::Real(value), attributes]);
    }
    Ok(answer)
}
