//! Flows: those that ended, those that go on, what is known of them, and the snapshots of trackers.

use std::ops::ControlFlow;

use rusqlite::{OptionalExtension, Row, params};

use super::answer::{Answer, Cell};
use super::listed::{ALL, Range, at_most, largest, times, walk};
use super::reader::{QueryError, Reader};
use super::records::{Fetch, Field, RecordsQuery, Select, answer_of};
use crate::sink::report::text_of;
use crate::sink::store::lists::List;
use crate::sink::store::ordered::hour;
use crate::sink::store::row::Text;
use crate::time::Timestamp;

/// Which flows come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowOrder {
    /// Those with most bytes.
    #[default]
    Bytes,
    /// Those that began last.
    Time,
}

/// Hours of a flow that are looked through for attributes, from its beginning.
const HOURS: i64 = 48;

const SHARED: usize = 14;
const REASON: Field = ("reason", "reason", false);
const RUN: Field = ("run", "run", false);
const FLOWS: [Field; SHARED + 2] = {
    let mut fields = [RUN; SHARED + 2];
    let mut at = 0;
    while at < SHARED {
        fields[at] = OF_ALL[at];
        at += 1;
    }
    fields[SHARED] = REASON;
    fields
};
const OPEN: [Field; SHARED + 2] = {
    let mut fields = FLOWS;
    fields[SHARED] = ("reason", "'open'", false);
    fields
};
const OF_ALL: [Field; SHARED] = [
    ("start", "start", true),
    ("end", "end", true),
    ("flow", "flow", false),
    ("bytes", "bytes", false),
    ("az_bytes", "az_bytes", false),
    ("za_bytes", "za_bytes", false),
    ("az_packets", "az_packets", false),
    ("za_packets", "za_packets", false),
    ("az_payload", "az_payload", false),
    ("za_payload", "za_payload", false),
    ("state", "state", false),
    ("tags", "tags", false),
    ("setup_rtt", "setup_rtt", false),
    ("retrans", "retrans", false),
];
const TRACKED: [Field; 5] = [
    ("time", "bucket * 1000000000", true),
    ("seconds", "size", false),
    ("rank", "rank", false),
    ("metric", "metric", false),
    ("flow", "flow", false),
];

/// Flows that began in the range, with what is known of them: those that ended, and those that went on when they were last
/// heard of, whose reason is `open`.
///
/// # Errors
/// [`QueryError`].
pub fn flows(reader: &Reader, query: &RecordsQuery, order: FlowOrder) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let mut answer = ended(reader, query, order)?;
    answer.rows.extend(open(reader, query, order)?.rows);
    let column = answer.column(if order == FlowOrder::Bytes { "bytes" } else { "start" }).unwrap_or(0);
    let number = |row: &Vec<Cell>| match row.get(column) {
        Some(Cell::Time(time)) => time.as_nanos(),
        Some(Cell::Int(number)) => *number,
        _ => 0,
    };
    answer.rows.sort_by_key(|row| std::cmp::Reverse(number(row)));
    answer.rows.truncate(query.limit);
    answer.add_column("attributes");
    let parts = parts(reader, &answer.rows)?;
    for row in &mut answer.rows {
        let attributes = attributes(reader, row, &parts)?;
        row.push(attributes.into());
    }
    Ok(answer)
}

/// A part of the attributes: its number, first and last time.
type Part = (i64, i64, i64);

/// The parts of attributes in which those of any of the rows may lie.
fn parts(reader: &Reader, rows: &[Vec<Cell>]) -> Result<Vec<Part>, QueryError> {
    let of_all = || rows.iter().filter_map(|row| span(row));
    let Some((first, last)) = of_all().map(|span| span.0).min().zip(of_all().map(|span| span.1).max()) else {
        return Ok(Vec::new());
    };
    let mut select =
        reader.prepare("SELECT part, first, last FROM attribute_parts WHERE last >= ?1 AND first <= ?2")?;
    let part = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    Ok(select.query_map([first, last], part)?.collect::<Result<_, _>>()?)
}

/// The times in which a flow's attributes are looked for.
fn span(row: &[Cell]) -> Option<(i64, i64)> {
    let (Some(Cell::Time(start)), Some(Cell::Time(end))) = (row.first(), row.get(1)) else { return None };
    let until = Timestamp::new(hour(*start).saturating_add(3_600 * HOURS), 0);
    Some((start.as_nanos(), end.as_nanos().min(until.as_nanos().saturating_sub(1))))
}

fn ended(reader: &Reader, query: &RecordsQuery, order: FlowOrder) -> Result<Answer, QueryError> {
    let range = times(query);
    let rows = match order {
        FlowOrder::Bytes => match among_largest(reader, query)? {
            Some(rows) => return Ok(Answer { rows, ..answer_of(&FLOWS) }),
            None => largest_in(reader, range, query.limit)?,
        },
        FlowOrder::Time => largest(reader, List::FlowStart, range, query.limit)?,
    };
    let rows = Fetch::new(reader, "flows", &FLOWS, "")?.rows(&rows)?;
    Ok(Answer { rows, ..answer_of(&FLOWS) })
}

/// The largest flows of the range, looked for among the largest of all; `None` once looking at each flow of the range is less
/// work, because there are few of them or they are small.
pub(super) fn among_largest(reader: &Reader, query: &RecordsQuery) -> Result<Option<Vec<Vec<Cell>>>, QueryError> {
    let (range, mut rows) = (times(query), Vec::new());
    let mut left = if range == ALL { usize::MAX } else { at_most(reader, List::FlowStart, range)? };
    let mut fetch = Fetch::new(reader, "flows", &FLOWS, " AND bytes = ?2 AND start >= ?3 AND start <= ?4")?;
    let mut is_done = true;
    walk(reader, List::FlowBytes, ALL, |(bytes, id)| {
        if rows.len() >= query.limit {
            return Ok(ControlFlow::Break(()));
        }
        if left == 0 {
            is_done = false;
            return Ok(ControlFlow::Break(()));
        }
        left -= 1;
        rows.extend(fetch.row([id, bytes, range.0, range.1])?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(is_done.then_some(rows))
}

/// The largest of the flows that began in the range, of which each is looked at.
fn largest_in(reader: &Reader, range: Range, limit: usize) -> Result<Vec<i64>, QueryError> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    let mut bytes = reader.prepare("SELECT bytes FROM flows WHERE id = ?1")?;
    walk(reader, List::FlowStart, range, |(_, id)| {
        all.extend(bytes.query_row([id], |row| row.get(0)).optional()?.map(|bytes| (bytes, id)));
        Ok(ControlFlow::Continue(()))
    })?;
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(limit);
    Ok(all.into_iter().map(|(_, id)| id).collect())
}

fn open(reader: &Reader, query: &RecordsQuery, order: FlowOrder) -> Result<Answer, QueryError> {
    let order = match order {
        FlowOrder::Bytes => "bytes DESC, start DESC, flow",
        FlowOrder::Time => "start DESC, flow",
    };
    let (conditions, values) = (Vec::new(), Vec::new());
    let mut select = Select { from: "open_flows", conditions, values, order, limit: query.limit };
    select.time("start", query);
    select.run(reader, &OPEN)
}

/// The attributes of the flow of a row, as `name=value; name=value` in the order in which they were seen.
fn attributes(reader: &Reader, row: &[Cell], parts: &[Part]) -> Result<Option<String>, QueryError> {
    let (Some((start, end)), Some(Cell::Text(flow))) = (span(row), row.get(2)) else { return Ok(None) };
    let sql =
        "SELECT name, value, time FROM flow_attributes WHERE part = ?1 AND flow = ?2 AND time >= ?3 AND time <= ?4";
    let mut select = reader.prepare(sql)?;
    let mut found: Vec<(i64, String)> = Vec::new();
    for &(part, _, _) in parts.iter().filter(|&&(_, first, last)| first <= end && last >= start) {
        let mut rows = select.query(params![part, Text(flow.as_bytes()), start, end])?;
        while let Some(row) = rows.next()? {
            let text = |index| row.get_ref(index).map(|value| value.as_bytes().map(text_of).unwrap_or_default());
            found.push((row.get(2)?, format!("{}={}", text(0)?, text(1)?)));
        }
    }
    // Within a part they lie by name.
    found.sort_by_key(|(time, _)| *time);
    let mut pairs: Vec<String> = Vec::with_capacity(found.len());
    for (_, pair) in found {
        // The same one in a later part or hour.
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    Ok((!pairs.is_empty()).then(|| pairs.join("; ")))
}

/// Snapshots of a flow tracker, the latest first.
///
/// # Errors
/// [`QueryError::NoTracker`] with the trackers there are.
pub fn tracked(reader: &Reader, tracker: &str, query: &RecordsQuery) -> Result<Answer, QueryError> {
    let name = tracker_name(reader, tracker)?;
    let (conditions, values) = (Vec::new(), Vec::new());
    let mut select = Select { from: "tracked", conditions, values, order: "bucket DESC, rank", limit: query.limit };
    select.condition("tracker = ?", name);
    if let Some(from) = query.from {
        // An interval that began before the range may reach into it.
        select.condition("bucket + size > ?", from.secs());
    }
    if let Some(to) = query.to {
        select.condition("bucket <= ?", to.secs());
    }
    select.run(reader, &TRACKED)
}

/// The name as it is in the file, of either case.
fn tracker_name(reader: &Reader, asked: &str) -> Result<String, QueryError> {
    // From one name to the next, however many snapshots there are.
    let mut next = reader.prepare("SELECT min(tracker) FROM tracked WHERE tracker > ?1")?;
    let (mut there, mut last) = (Vec::new(), String::new());
    while let Some(name) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        there.push(name.clone());
        last = name;
    }
    match there.iter().find(|name| name.eq_ignore_ascii_case(asked)) {
        Some(name) => Ok(name.clone()),
        None => Err(QueryError::NoTracker { name: asked.to_owned(), there }),
    }
}
