//! The largest keys of a group, and all keys with their values.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::{OptionalExtension, params};

use super::answer::{Answer, Cell};
use super::names::{GroupName, Labels, MeterName};
use super::ranges::{Piece, pieces, touched};
use super::reader::{QueryError, Reader};
use super::toppers::{Uncounted, uncounted};
use crate::metrics::{GROUP_TOTALS, GroupKind, Vartype};
use crate::sink::damaged::damage;
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
    let key = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default());
    Ok(select.query_row([id], key).optional()?.ok_or_else(|| damage("there is no text of a key"))?)
}

/// The keys with the largest values of a meter over a range: volumes of counters and rates, last values of gauges, means,
/// largest and smallest values. They come from the counters, which are exact. Keys whose counters scripts keep from being
/// stored come from the toppers of the intervals that begin in the range: what such a key has in intervals in which it is
/// not among the first is not known, and `error` says by how much the value may be too large.
///
/// # Errors
/// [`QueryError`].
pub fn top(reader: &Reader, query: &TopQuery) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let group = reader.ranked_group(&query.group)?;
    let meter = reader.ranked_meter(&group, query.meter.as_deref())?;
    let mut answer = Answer::new(&["key", "readable", "label", "value", "share", "error"]);
    let has_counters = reader.meters(&group)?.contains(&meter);
    let range = if has_counters { touched(reader, &group, query.from, query.to)? } else { None };
    let mut sums = match range {
        Some((from, to)) => sum(reader, &group, &meter, &pieces(reader, &group, from, to)?)?,
        None => Sums::default(),
    };
    let total =
        reader.key_number(GROUP_TOTALS)?.and_then(|id| sums.remove(&id)).map(|words| finish(meter.vartype, words));
    let others = uncounted(reader, &group, &meter, query, |key| sums.contains_key(&key))?;
    let counted = sums.into_iter().map(|(id, words)| (id, finish(meter.vartype, words), Some(0.0)));
    let others = others.into_iter().map(|Uncounted { key, value, error }| (key, value, error));
    let mut ranked: Vec<(i64, f64, Option<f64>)> = counted.chain(others).collect();
    ranked.retain(|(_, value, _)| *value != 0.0);
    let order = |a: &(i64, f64, _), b: &(i64, f64, _)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if query.limit < ranked.len() {
        ranked.select_nth_unstable_by(query.limit, order);
        ranked.truncate(query.limit);
    }
    ranked.sort_unstable_by(order);
    let labels = Labels::new(reader, &group)?;
    for (id, value, error) in ranked {
        let key = key_text(reader, id)?;
        let share = total.filter(|total| meter.vartype.is_additive() && *total > 0.0).map(|total| value / total);
        answer.rows.push(vec![
            Cell::Text(text_of(&key)),
            Labels::readable(&key).into(),
            labels.label(&key)?.into(),
            Cell::Real(value),
            share.map_or(Cell::Null, Cell::Real),
            error.map_or(Cell::Null, Cell::Real),
        ]);
    }
    Ok(answer)
}

/// Keys of the file for each that was counted, up to which all are gone through in order: finding one takes longer.
const SPARSE: usize = 4;
/// Keys that are found one by one, however many the file has.
const FEW: usize = 1_000;

/// The keys of a group that were counted in a range, with the value of the first meter, in order of the keys' texts; those
/// that are no text come last.
///
/// # Errors
/// [`QueryError`].
pub fn keys(reader: &Reader, query: &KeysQuery) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let group = reader.group(GroupKind::Counter, &query.group)?;
    let meter = reader.meter(&group, None)?;
    let mut answer = Answer::new(&["key", "readable", "label", "value", "attributes"]);
    let Some((from, to)) = touched(reader, &group, query.from, query.to)? else { return Ok(answer) };
    let sums = sum(reader, &group, &meter, &pieces(reader, &group, from, to)?)?;
    let labels = Labels::new(reader, &group)?;
    let wanted = query.containing.as_deref().map(|text| Wanted::new(text, &labels)).transpose()?;
    let mut take = |key: &[u8], words: [f64; 2]| -> Result<ControlFlow<()>, QueryError> {
        if answer.rows.len() >= query.limit {
            return Ok(ControlFlow::Break(()));
        }
        if key == GROUP_TOTALS || !wanted.as_ref().map_or(Ok(true), |wanted| wanted.is_in(key, &labels))? {
            return Ok(ControlFlow::Continue(()));
        }
        answer.rows.push(vec![
            Cell::Text(text_of(key)),
            Labels::readable(key).into(),
            labels.label(key)?.into(),
            Cell::Real(finish(meter.vartype, words)),
            labels.attributes(key)?.into(),
        ]);
        Ok(ControlFlow::Continue(()))
    };
    let of_all: i64 = reader.prepare("SELECT ifnull(max(id), 0) FROM keys")?.query_row([], |row| row.get(0))?;
    if sums.len() > FEW && usize::try_from(of_all).is_ok_and(|of_all| of_all / SPARSE <= sums.len()) {
        let mut select = reader.prepare("SELECT id, key FROM keys ORDER BY key")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let Some(words) = sums.get(&row.get(0)?) else { continue };
            if take(row.get_ref(1)?.as_bytes().unwrap_or_default(), *words)?.is_break() {
                break;
            }
        }
        return Ok(answer);
    }
    let mut found: Vec<(bool, Vec<u8>, [f64; 2])> = Vec::with_capacity(sums.len());
    for (id, words) in sums {
        let key = key_text(reader, id)?;
        found.push((std::str::from_utf8(&key).is_err(), key, words));
    }
    found.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for (_, key, words) in found {
        if take(&key, words)?.is_break() {
            break;
        }
    }
    Ok(answer)
}

/// What keys, their readable forms or their labels are to contain, of either case.
struct Wanted {
    text: String,
    /// Keys with labels that do.
    labelled: HashSet<Vec<u8>>,
}

impl Wanted {
    fn new(text: &str, labels: &Labels<'_>) -> Result<Self, QueryError> {
        let text = text.to_lowercase();
        let labelled = labels.maybe_labelled(|label| contains(label, &text))?;
        Ok(Self { text, labelled })
    }

    fn is_in(&self, key: &[u8], labels: &Labels<'_>) -> Result<bool, QueryError> {
        let has = |text: &str| contains(text, &self.text);
        if has(&text_of(key)) || Labels::readable(key).is_some_and(|text| has(&text)) {
            return Ok(true);
        }
        Ok(self.labelled.contains(key) && labels.label(key)?.is_some_and(|label| has(&label)))
    }
}

/// Whether a text contains another one, which is in small letters.
fn contains(text: &str, wanted: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(wanted);
    }
    let wanted = wanted.as_bytes();
    wanted.is_empty() || text.as_bytes().windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}
