//! Flows: those that ended, those that go on, what is known of them, and the snapshots of trackers.

use rusqlite::params;

use super::answer::{Answer, Cell};
use super::reader::{QueryError, Reader};
use super::records::{Field, RecordsQuery, Select};
use crate::sink::report::text_of;
use crate::sink::store::row::Text;

/// Which flows come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowOrder {
    /// Those with most bytes.
    #[default]
    Bytes,
    /// Those that began last.
    Time,
}

/// Share of the whole time span above which the largest flows are found by walking the index by size.
const WIDE: f64 = 0.002;
/// Hours of a flow that are looked through for attributes, from its beginning.
const HOURS: usize = 48;

const SHARED: usize = 14;
/// Sizes have a column of this name too.
const BYTES: &str = "flows.bytes";
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
    fields[3] = ("bytes", "bytes", false);
    fields[SHARED] = ("reason", "'open'", false);
    fields
};
const OF_ALL: [Field; SHARED] = [
    ("start", "start", true),
    ("end", "end", true),
    ("flow", "flow", false),
    ("bytes", BYTES, false),
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
    for row in &mut answer.rows {
        let attributes = attributes(reader, row)?;
        row.push(attributes.into());
    }
    Ok(answer)
}

fn ended(reader: &Reader, query: &RecordsQuery, order: FlowOrder) -> Result<Answer, QueryError> {
    let by_size = order == FlowOrder::Bytes && is_wide(reader, query)?;
    // The order of a join is the one in which it is written.
    let sized = "flow_sizes s CROSS JOIN flows ON flows.id = s.id";
    let from = if by_size { sized } else { "flows INDEXED BY flows_start" };
    let order = match order {
        FlowOrder::Bytes if by_size => "s.bytes DESC, s.id DESC",
        FlowOrder::Bytes => "bytes DESC, id DESC",
        FlowOrder::Time => "start DESC, id DESC",
    };
    let mut select = Select { from, conditions: Vec::new(), values: Vec::new(), order, limit: query.limit };
    select.time("start", query);
    if !by_size && select.conditions.is_empty() {
        // The index is asked for by name, and is one over everything.
        select.conditions.push("start IS NOT NULL".to_owned());
    }
    select.run(reader, &FLOWS)
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

/// Whether the range is so much of everything that the largest flows are soon found among the largest of all.
fn is_wide(reader: &Reader, query: &RecordsQuery) -> Result<bool, QueryError> {
    let Some((first, last)) = reader.span()? else { return Ok(true) };
    let all = last.since(first).as_secs_f64();
    let (from, to) = (query.from.unwrap_or(first).max(first), query.to.unwrap_or(last).min(last));
    Ok(all <= 0.0 || to.since(from).as_secs_f64() / all > WIDE)
}

/// The attributes of the flow of a row, as `name=value; name=value` in the order in which they were seen.
fn attributes(reader: &Reader, row: &[Cell]) -> Result<Option<String>, QueryError> {
    let (Some(Cell::Time(start)), Some(Cell::Time(end)), Some(Cell::Text(flow))) =
        (row.first(), row.get(1), row.get(2))
    else {
        return Ok(None);
    };
    let sql =
        "SELECT name, value, time FROM flow_attributes WHERE hour = ?1 AND flow = ?2 AND time >= ?3 AND time <= ?4";
    let mut select = reader.prepare(sql)?;
    let mut found: Vec<(i64, String)> = Vec::new();
    let first = start.secs().div_euclid(3_600).saturating_mul(3_600);
    for hour in (first..=end.secs()).step_by(3_600).take(HOURS) {
        let (flow, start, end) = (Text(flow.as_bytes()), start.as_nanos(), end.as_nanos());
        let mut rows = select.query(params![hour, flow, start, end])?;
        while let Some(row) = rows.next()? {
            let text = |index| row.get_ref(index).map(|value| value.as_bytes().map(text_of).unwrap_or_default());
            let pair = format!("{}={}", text(0)?, text(1)?);
            // The same one an hour later.
            if !found.iter().any(|(_, known)| *known == pair) {
                found.push((row.get(2)?, pair));
            }
        }
    }
    found.sort_by_key(|(time, _)| *time);
    let pairs: Vec<String> = found.into_iter().map(|(_, pair)| pair).collect();
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
        None => Err(QueryError::NoTracker { name: asked.to_owned(), there: there.join(", ") }),
    }
}
