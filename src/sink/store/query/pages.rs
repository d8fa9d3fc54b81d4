//! Everything a store holds of one kind, page by page, in the order in which it was written.
//!
//! A page is a question of its own: nothing is held between two of them, so that a slow reader keeps no log from being reused.

use std::path::Path;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Row, params_from_iter};

use super::counters::{columns, finish};
use super::names::{GroupName, MeterName};
use super::reader::{QueryError, Reader};
use crate::metrics::{GROUP_TOTALS, GroupKind, Vartype};
use crate::sink::store::documents::TEXT;
use crate::sink::store::row::Text;
use crate::sink::store::schema;
use crate::time::Timestamp;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Flows that ended.
    Flows,
    /// Alerts.
    Alerts,
    /// Resources.
    Resources,
    /// Documents.
    Documents,
    /// Keys of counter groups, bucket by bucket, without the totals.
    Counters,
}

/// One column: its name and its expression.
type Field = (&'static str, &'static str);

const GROUP: Field = ("group", "(SELECT guid FROM groups WHERE id = grp)");
const TIME: Field = ("time", "time / 1000 / 1e6");
const FLOWS: [Field; 13] = [
    ("flow", "flow"),
    ("start", "start / 1000000000"),
    ("stop", "end / 1000000000"),
    ("bytes", "bytes"),
    ("az_bytes", "az_bytes"),
    ("za_bytes", "za_bytes"),
    ("az_packets", "az_packets"),
    ("za_packets", "za_packets"),
    ("az_payload", "az_payload"),
    ("za_payload", "za_payload"),
    ("state", "state"),
    ("setup_rtt", "setup_rtt"),
    ("retrans", "retrans"),
];
const TAGS: Field = ("tags", "ifnull(tags, '')");
const ALERTS: [Field; 9] = [
    TIME,
    GROUP,
    ("flow", "flow"),
    ("sigid", "sigid"),
    ("priority", "priority"),
    ("message", "message"),
    ("classification", "classification"),
    ("status", "status"),
    ("extra", "ifnull(extra, '')"),
];
const RESOURCES: [Field; 5] = [TIME, GROUP, ("flow", "flow"), ("uri", "uri"), ("label", "label")];
const DOCUMENTS: [Field; 4] = [TIME, GROUP, ("flow", "flow"), ("text", TEXT)];

impl Contents {
    fn table(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Alerts => "alerts",
            Self::Resources => "resources",
            Self::Documents | Self::Counters => "documents",
        }
    }

    fn fields(self) -> Vec<Field> {
        match self {
            Self::Flows => FLOWS.into_iter().chain([TAGS]).collect(),
            Self::Alerts => ALERTS.to_vec(),
            Self::Resources => RESOURCES.to_vec(),
            Self::Documents | Self::Counters => DOCUMENTS.to_vec(),
        }
    }

    fn kind(self) -> GroupKind {
        match self {
            Self::Flows => GroupKind::Session,
            Self::Alerts => GroupKind::Alert,
            Self::Resources => GroupKind::Resource,
            Self::Documents => GroupKind::Fts,
            Self::Counters => GroupKind::Counter,
        }
    }

    /// The contents of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "flows" => Self::Flows,
            "alerts" => Self::Alerts,
            "resources" => Self::Resources,
            "documents" => Self::Documents,
            "counters" => Self::Counters,
            _ => return None,
        })
    }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum PageValue {
    /// None.
    Null,
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// A number.
    Number(f64),
}

/// One row: values by name, and of counters those of the meters by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageRow {
    /// The values.
    pub values: Vec<(&'static str, PageValue)>,
    /// Values of the meters; empty for what is no counter.
    pub metrics: Vec<f64>,
}

/// What of it is read.
#[derive(Clone, Debug, Default)]
pub struct PageRange {
    /// GUIDs of the groups; all without any. Flows have none.
    pub groups: Vec<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
}

struct Counted {
    group: GroupName,
    meters: Vec<MeterName>,
}

/// A store that is read page by page.
pub struct Pages {
    reader: Reader,
    contents: Contents,
    range: PageRange,
    /// Numbers of the groups, for what is no counter.
    ids: Vec<i64>,
    /// Groups of counters that are not read to their end; the last one is being read.
    counted: Vec<Counted>,
    /// Where the next page begins: behind this row, or behind this bucket and key.
    after: (i64, i64),
    is_over: bool,
}

impl Pages {
    /// Opens a store.
    ///
    /// # Errors
    /// [`QueryError`]: no such file, not a store, no such group.
    pub fn open(path: &Path, contents: Contents, range: PageRange) -> Result<Self, QueryError> {
        let reader = Reader::open(path)?;
        let (mut ids, mut counted) = (Vec::new(), Vec::new());
        if contents == Contents::Counters {
            for name in range.groups.iter().rev() {
                let group = reader.group(GroupKind::Counter, name)?;
                let meters = reader.meters(&group)?;
                counted.push(Counted { group, meters });
            }
        } else if contents != Contents::Flows {
            for name in &range.groups {
                ids.push(reader.group(contents.kind(), name)?.id);
            }
        }
        let is_over = contents == Contents::Counters && counted.is_empty();
        Ok(Self { reader, contents, range, ids, counted, after: START, is_over })
    }

    /// The next rows, at most so many; none at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next(&mut self, most: usize) -> Result<Vec<PageRow>, QueryError> {
        while !self.is_over {
            let rows = if self.contents == Contents::Counters { self.counters(most) } else { self.records(most) };
            let rows = rows.map_err(|error| self.reader.complaint(error.into()))?;
            if !rows.is_empty() {
                return Ok(rows);
            }
            self.counted.pop();
            (self.after, self.is_over) = (START, self.counted.is_empty());
        }
        Ok(Vec::new())
    }

    fn records(&mut self, most: usize) -> rusqlite::Result<Vec<PageRow>> {
        let fields = self.contents.fields();
        let columns: Vec<&str> = fields.iter().map(|field| field.1).collect();
        let (mut conditions, mut values) = (String::from("id > ?1"), vec![Value::from(self.after.0)]);
        let column = if self.contents == Contents::Flows { "start" } else { "time" };
        for (comparison, bound) in [(">=", self.range.from), ("<=", self.range.to)] {
            if let Some(bound) = bound {
                values.push(bound.as_nanos().into());
                conditions.push_str(&format!(" AND {column} {comparison} ?{}", values.len()));
            }
        }
        if self.contents == Contents::Documents {
            // Group 0 has what is kept for its text only.
            conditions.push_str(" AND grp > 0");
        }
        if !self.ids.is_empty() {
            let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
            conditions.push_str(&format!(" AND grp IN ({})", ids.join(", ")));
        }
        let (columns, table) = (columns.join(", "), self.contents.table());
        let sql = format!("SELECT id, {columns} FROM {table} WHERE {conditions} ORDER BY id LIMIT {most}");
        let mut select = self.reader.prepare(&sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            self.after.0 = row.get(0)?;
            let values = fields.iter().enumerate().map(|(at, field)| Ok((field.0, value(row, at + 1)?)));
            page.push(PageRow { values: values.collect::<rusqlite::Result<_>>()?, metrics: Vec::new() });
        }
        Ok(page)
    }

    fn counters(&mut self, most: usize) -> rusqlite::Result<Vec<PageRow>> {
        let Some(Counted { group, meters }) = self.counted.last() else { return Ok(Vec::new()) };
        let words: Vec<String> = meters.iter().map(columns).collect();
        let bound = |bound: Option<Timestamp>, none: i64| bound.map_or(none, |time| time.secs());
        let sql = format!(
            "SELECT bucket, c.key, k.key, {} FROM {} c JOIN keys k ON k.id = c.key
             WHERE level = 0 AND (bucket, c.key) > (?1, ?2) AND bucket >= ?3 AND bucket <= ?4 AND k.key <> ?5
             ORDER BY bucket, c.key LIMIT {most}",
            words.join(", "),
            schema::counters(group.id)
        );
        let mut select = self.reader.prepare(&sql)?;
        let (from, to) = (bound(self.range.from, i64::MIN), bound(self.range.to, i64::MAX));
        let mut rows = select.query(rusqlite::params![self.after.0, self.after.1, from, to, Text(GROUP_TOTALS)])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            let bucket: i64 = row.get(0)?;
            self.after = (bucket, row.get(1)?);
            let mut metrics = vec![0.0; meters.iter().map(|meter| usize::from(meter.id) + 1).max().unwrap_or(0)];
            for (at, meter) in meters.iter().enumerate() {
                let word = |place: usize| row.get::<_, Option<f64>>(3 + 2 * at + place).map(Option::unwrap_or_default);
                let whole = finish(meter.vartype, [word(0)?, word(1)?]);
                let is_rate = meter.vartype == Vartype::RateCounter && group.bucketsize > 0;
                metrics[usize::from(meter.id)] = if is_rate { whole / group.bucketsize as f64 } else { whole };
            }
            let values = vec![
                ("time", PageValue::Number(bucket as f64)),
                ("key", value(row, 2)?),
                ("group", PageValue::Bytes(group.guid.clone().into_bytes())),
            ];
            page.push(PageRow { values, metrics });
        }
        Ok(page)
    }
}

/// In front of every row.
const START: (i64, i64) = (i64::MIN, i64::MIN);

fn value(row: &Row<'_>, at: usize) -> rusqlite::Result<PageValue> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => PageValue::Null,
        ValueRef::Integer(number) => PageValue::Number(number as f64),
        ValueRef::Real(number) => PageValue::Number(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => PageValue::Bytes(bytes.to_vec()),
    })
}
