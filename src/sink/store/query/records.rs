//! Lists of records: the latest first, flows the largest first unless asked otherwise.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Row, params, params_from_iter};

use super::answer::{Answer, Cell};
use super::listed::{largest, times};
use super::reader::{QueryError, Reader};
use crate::metrics::GroupKind;
use crate::sink::store::documents::TEXT;
use crate::sink::store::lists::List;
use crate::sink::store::row::Text;
use crate::time::Timestamp;

/// Which records are asked for.
#[derive(Clone, Debug, Default)]
pub struct RecordsQuery {
    /// Name or GUID of the group.
    pub group: Option<String>,
    /// For edges: the key of the vertex they start from.
    pub key: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Rows.
    pub limit: usize,
}

/// One column: its name, its expression, and whether it holds nanoseconds.
pub(super) type Field = (&'static str, &'static str, bool);

const GROUP: Field = ("group", "(SELECT name FROM groups WHERE id = grp)", false);
const ALERTS: [Field; 11] = [
    ("time", "time", true),
    GROUP,
    ("priority", "priority", false),
    ("sigid", "sigid", false),
    ("message", "message", false),
    ("status", "status", false),
    ("classification", "classification", false),
    ("kind", "kind", false),
    ("flow", "flow", false),
    ("extra", "extra", false),
    ("run", "run", false),
];
const RESOURCES: [Field; 6] = [
    ("time", "time", true),
    GROUP,
    ("uri", "uri", false),
    ("label", "label", false),
    ("flow", "flow", false),
    ("run", "run", false),
];
const DOCUMENTS: [Field; 5] =
    [("time", "time", true), GROUP, ("flow", "flow", false), ("text", TEXT, false), ("run", "run", false)];
const EDGES: [Field; 5] = [
    ("hour", "hour * 1000000000", true),
    ("from_group", "(SELECT name FROM groups WHERE id = from_grp)", false),
    ("from_key", "from_key", false),
    ("to_group", "(SELECT name FROM groups WHERE id = to_grp)", false),
    ("to_key", "to_key", false),
];
const RUNS: [Field; 12] = [
    ("run", "id", false),
    ("state", "state", false),
    ("started", "started", true),
    ("first", "first", true),
    ("last", "last", true),
    ("packets", "packets", false),
    ("bytes", "bytes", false),
    ("rows", "rows", false),
    ("lost", "lost", false),
    ("windows", "(SELECT count(*) FROM windows w WHERE w.run = runs.id AND w.state = 'flushed')", false),
    ("jobs", "(SELECT sum(scheduled) FROM jobs j WHERE j.run = runs.id)", false),
    ("inputs", "inputs", false),
];

/// What a statement needs besides its fields.
pub(super) struct Select<'a> {
    pub(super) from: &'a str,
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Value>,
    pub(super) order: &'a str,
    pub(super) limit: usize,
}

impl Select<'_> {
    pub(super) fn condition(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.conditions.push(condition.replace('?', &format!("?{}", self.values.len())));
    }

    pub(super) fn time(&mut self, column: &str, query: &RecordsQuery) {
        if let Some(from) = query.from {
            self.condition(&format!("{column} >= ?"), from.as_nanos());
        }
        if let Some(to) = query.to {
            self.condition(&format!("{column} <= ?"), to.as_nanos());
        }
    }

    fn sql(&self, fields: &[Field]) -> String {
        let columns: Vec<&str> = fields.iter().map(|field| field.1).collect();
        let conditions = if self.conditions.is_empty() { "1".to_owned() } else { self.conditions.join(" AND ") };
        let (from, order, limit) = (self.from, self.order, i64::try_from(self.limit).unwrap_or(i64::MAX));
        format!("SELECT {} FROM {from} WHERE {conditions} ORDER BY {order} LIMIT {limit}", columns.join(", "))
    }

    pub(super) fn run(self, reader: &Reader, fields: &[Field]) -> Result<Answer, QueryError> {
        let mut answer = answer_of(fields);
        let mut select = reader.prepare(&self.sql(fields))?;
        let mut rows = select.query(params_from_iter(&self.values))?;
        while let Some(row) = rows.next()? {
            answer.rows.push(cells(fields, row)?);
        }
        Ok(answer)
    }
}

/// An answer without rows.
pub(super) fn answer_of(fields: &[Field]) -> Answer {
    let names: Vec<&'static str> = fields.iter().map(|field| field.0).collect();
    Answer::new(&names)
}

fn cells(fields: &[Field], row: &Row<'_>) -> rusqlite::Result<Vec<Cell>> {
    let cell = |(index, field): (usize, &Field)| {
        let value = row.get_ref(index)?;
        Ok(if field.2 { Cell::time(value) } else { Cell::of(value) })
    };
    fields.iter().enumerate().map(cell).collect()
}

/// Takes rows of a table one by one, by their numbers.
pub(super) struct Fetch<'a> {
    select: CachedStatement<'a>,
    fields: &'a [Field],
}

impl<'a> Fetch<'a> {
    /// `conditions` have the parameters from the second one on.
    pub(super) fn new(
        reader: &'a Reader,
        table: &str,
        fields: &'a [Field],
        conditions: &str,
    ) -> rusqlite::Result<Self> {
        let columns: Vec<&str> = fields.iter().map(|field| field.1).collect();
        let sql = format!("SELECT {} FROM {table} WHERE id = ?1{conditions}", columns.join(", "));
        Ok(Self { select: reader.prepare(&sql)?, fields })
    }

    /// The row, if it is there and the conditions hold.
    pub(super) fn row(&mut self, values: impl rusqlite::Params) -> rusqlite::Result<Option<Vec<Cell>>> {
        let mut rows = self.select.query(values)?;
        rows.next()?.map(|row| cells(self.fields, row)).transpose()
    }

    /// All of these that are there.
    pub(super) fn rows(&mut self, numbers: &[i64]) -> rusqlite::Result<Vec<Vec<Cell>>> {
        numbers.iter().filter_map(|number| self.row([number]).transpose()).collect()
    }
}

/// Records with a time and a group: the latest of each group, and of these the latest.
fn of_group(
    reader: &Reader,
    (kind, table): (GroupKind, &str),
    fields: &[Field],
    query: &RecordsQuery,
) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let groups = match &query.group {
        Some(name) => vec![reader.group(kind, name)?],
        None => reader.groups(kind)?,
    };
    let with_id: Vec<Field> = fields.iter().copied().chain([("id", "id", false)]).collect();
    let mut answer = answer_of(fields);
    for group in &groups {
        answer.rows.extend(if kind == GroupKind::Alert {
            let (conditions, values) = (Vec::new(), Vec::new());
            let (from, order) = ("alerts INDEXED BY alerts_group", "time DESC, id DESC");
            let mut select = Select { from, conditions, values, order, limit: query.limit };
            select.condition("grp = ?", group.id);
            select.time("time", query);
            select.run(reader, &with_id)?.rows
        } else {
            let rows = largest(reader, List::RecordTime(group.id), times(query), query.limit)?;
            Fetch::new(reader, table, &with_id, "")?.rows(&rows)?
        });
    }
    let place = |row: &Vec<Cell>| match (row.first(), row.last()) {
        (Some(Cell::Time(time)), Some(Cell::Int(id))) => (time.as_nanos(), *id),
        _ => (i64::MIN, i64::MIN),
    };
    answer.rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
    answer.rows.truncate(query.limit);
    answer.rows.iter_mut().for_each(|row| row.truncate(fields.len()));
    Ok(answer)
}

/// Alerts, the latest first.
///
/// # Errors
/// [`QueryError`].
pub fn alerts(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    of_group(reader, (GroupKind::Alert, "alerts"), &ALERTS, query)
}

/// Resources, the latest first.
///
/// # Errors
/// [`QueryError`].
pub fn resources(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    of_group(reader, (GroupKind::Resource, "resources"), &RESOURCES, query)
}

/// Full-text documents, the latest first.
///
/// # Errors
/// [`QueryError`].
pub fn documents(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    of_group(reader, (GroupKind::Fts, "documents"), &DOCUMENTS, query)
}

/// Edges that were seen in the hours of the range, the latest first.
///
/// # Errors
/// [`QueryError`].
pub fn edges(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    let _snapshot = reader.snapshot()?;
    let group = query.group.as_ref().map(|name| reader.vertex_group(name)).transpose()?;
    let (from, order) = match (&group, &query.key) {
        (Some(_), Some(_)) => ("edges", "hour DESC, to_grp DESC, to_key DESC"),
        (Some(_), None) => ("edges", "from_key, hour, to_grp, to_key"),
        _ => ("edges INDEXED BY edges_hour", "hour DESC"),
    };
    let mut select = Select { from, conditions: Vec::new(), values: Vec::new(), order, limit: query.limit };
    if let Some(group) = group {
        select.condition("from_grp = ?", group.id);
        if let Some(asked) = &query.key {
            let mut links = reader.prepare("SELECT 1 FROM edges WHERE from_grp = ?1 AND from_key = ?2 LIMIT 1")?;
            let known = reader
                .called(&group, asked, |key| Ok(links.exists(params![group.id, Text(key)])?.then(|| key.to_vec())))?;
            let key = String::from_utf8(known.unwrap_or_else(|| asked.clone().into_bytes()));
            select.condition("from_key = ?", key.map_or_else(|e| Value::Blob(e.into_bytes()), Value::Text));
        }
    }
    if let Some(from) = query.from {
        select.condition("hour >= ?", from.secs().div_euclid(3_600).saturating_mul(3_600));
    }
    if let Some(to) = query.to {
        select.condition("hour <= ?", to.secs());
    }
    select.run(reader, &EDGES)
}

const JOBS: [Field; 8] = [
    ("time", "time", true),
    ("job", "job", false),
    ("plugin", "plugin", false),
    ("kind", "kind", false),
    ("function", "function", false),
    ("state", "state", false),
    ("attempt", "attempt", false),
    ("run", "run", false),
];

/// How jobs ended, the latest first; of a run with many the first ones are there.
///
/// # Errors
/// [`QueryError`].
pub fn jobs(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    let (conditions, values) = (Vec::new(), Vec::new());
    let mut select = Select { from: "job_ends", conditions, values, order: "id DESC", limit: query.limit };
    select.time("time", query);
    select.run(reader, &JOBS)
}

/// Runs, the latest first.
///
/// # Errors
/// [`QueryError`].
pub fn runs(reader: &Reader, query: &RecordsQuery) -> Result<Answer, QueryError> {
    let mut select =
        Select { from: "runs", conditions: Vec::new(), values: Vec::new(), order: "id DESC", limit: query.limit };
    // A run that touches the range.
    if let Some(from) = query.from {
        select.condition("last >= ?", from.as_nanos());
    }
    if let Some(to) = query.to {
        select.condition("first <= ?", to.as_nanos());
    }
    select.run(reader, &RUNS)
}
