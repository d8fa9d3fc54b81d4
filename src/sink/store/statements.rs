//! The statements that write records, prepared once for many rows.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Statement};

use super::bulk::{self, ROWS};

/// A statement that is used again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Which {
    Flow,
    Flows,
    OpenFlow,
    FlowEnded,
    FlowAttribute,
    FlowAttributes,
    Alert,
    Resource,
    Resources,
    Document,
    Documents,
    DocumentWords,
    DocumentHour,
    SameText,
    SameTexts,
    Edge,
    Topper,
    Tracked,
    JobEnd,
    Label,
    LabelGone,
    Attribute,
}

impl Which {
    const COUNT: usize = 22;

    fn sql(self) -> &'static str {
        match self {
            Self::Flow => &FLOW.one,
            Self::Flows => &FLOW.many,
            Self::OpenFlow => {
                "INSERT OR REPLACE INTO open_flows(run, flow, start, end, bytes, az_bytes, za_bytes, az_packets, za_packets,
                   az_payload, za_payload, state, tags, setup_rtt, retrans)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
            }
            Self::FlowEnded => "DELETE FROM open_flows WHERE flow = ?1 AND start = ?2",
            Self::FlowAttribute => &FLOW_ATTRIBUTE.one,
            Self::FlowAttributes => &FLOW_ATTRIBUTE.many,
            Self::Alert => {
                "INSERT INTO alerts(run, time, grp, flow, sigid, priority, message, classification, status, kind, extra)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Self::Resource => &RESOURCE.one,
            Self::Resources => &RESOURCE.many,
            Self::Document => &DOCUMENT.one,
            Self::Documents => &DOCUMENT.many,
            // Neither by a trigger nor many at once: either way the index would be written out for each statement.
            Self::DocumentWords => "INSERT INTO documents_fts(rowid, text) VALUES(?1, ?2)",
            Self::DocumentHour => {
                "INSERT INTO document_hours(hour, first, last) VALUES(?1, ?2, ?3) ON CONFLICT(hour)
                 DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)"
            }
            Self::SameText => &SAME_TEXT.one,
            Self::SameTexts => &SAME_TEXT.many,
            Self::Edge => {
                "INSERT OR IGNORE INTO edges(from_grp, from_key, hour, to_grp, to_key) VALUES(?1, ?2, ?3, ?4, ?5)"
            }
            Self::Topper => {
                "INSERT INTO toppers(grp, meter, bucket, side, key, value, error)
                 VALUES(?1, ?2, ?3, ?4, ?5, ifnull(?6, 0), ifnull(?7, 0))
                 ON CONFLICT(grp, meter, bucket, side, key) DO UPDATE SET value = excluded.value, error = excluded.error"
            }
            Self::Tracked => {
                "INSERT OR REPLACE INTO tracked(tracker, bucket, rank, size, flow, metric) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
            }
            Self::JobEnd => {
                "INSERT INTO job_ends(run, time, plugin, job, kind, function, state, attempt)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            }
            Self::Label => {
                "INSERT INTO labels(grp, key, label, description) VALUES(?1, ?2, ?3, ifnull(?4, ''))
                 ON CONFLICT(grp, key) DO UPDATE SET label = excluded.label, description = ifnull(?4, description)"
            }
            Self::LabelGone => {
                // A label and a description that are both empty are none.
                "DELETE FROM labels WHERE grp = ?1 AND key = ?2 AND label = '' AND description = ''"
            }
            Self::Attribute => {
                "INSERT INTO attributes(grp, key, name, value) VALUES(?1, ?2, ?3, ?4)
                 ON CONFLICT(grp, key, name) DO UPDATE SET value = excluded.value"
            }
        }
    }
}

/// The texts that enter one row of a table, and many.
struct Insert {
    one: String,
    many: String,
}

impl Insert {
    fn new(into: &str, columns: usize) -> Self {
        Self { one: bulk::insert(into, columns, 1), many: bulk::insert(into, columns, ROWS) }
    }
}

/// Columns of flows that ended.
pub(super) const FLOW_COLUMNS: usize = 16;
/// Columns of values of flows.
pub(super) const FLOW_ATTRIBUTE_COLUMNS: usize = 5;
/// Columns of resources.
pub(super) const RESOURCE_COLUMNS: usize = 6;
/// Columns of documents.
pub(super) const DOCUMENT_COLUMNS: usize = 5;
/// Columns of documents that have the text of an earlier row.
pub(super) const SAME_TEXT_COLUMNS: usize = 3;

static FLOW: LazyLock<Insert> = LazyLock::new(|| {
    let into = "OR ROLLBACK INTO flows(run, flow, start, end, bytes, az_bytes, za_bytes, az_packets, za_packets, az_payload, \
                za_payload, state, tags, setup_rtt, retrans, reason)";
    Insert::new(into, FLOW_COLUMNS)
});
static FLOW_ATTRIBUTE: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("OR IGNORE INTO flow_attributes(part, flow, name, value, time)", FLOW_ATTRIBUTE_COLUMNS)
});
static RESOURCE: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("OR ROLLBACK INTO resources(run, time, grp, flow, uri, label)", RESOURCE_COLUMNS));
static DOCUMENT: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("OR ROLLBACK INTO documents(run, time, grp, flow, text)", DOCUMENT_COLUMNS));

static SAME_TEXT: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("OR ROLLBACK INTO same_texts(text, time, id)", SAME_TEXT_COLUMNS));

/// Statements at hand: finding one by its text takes nearly as long as running it.
pub(super) struct Statements<'a> {
    db: &'a Connection,
    ready: [Option<CachedStatement<'a>>; Which::COUNT],
}

impl<'a> Statements<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self { db, ready: [const { None }; Which::COUNT] }
    }

    /// The statement, prepared when it is first asked for.
    pub(super) fn get(&mut self, which: Which) -> rusqlite::Result<&mut Statement<'a>> {
        let place = &mut self.ready[which as usize];
        let statement = match place {
            Some(statement) => statement,
            None => place.insert(self.db.prepare_cached(which.sql())?),
        };
        Ok(&mut *statement)
    }

    /// Enters rows, as many with one statement as go. `bind` gets the number of parameters before those of the row.
    pub(super) fn enter<T>(
        &mut self,
        (one, many, columns): (Which, Which, usize),
        rows: &[T],
        mut bind: impl FnMut(&mut Statement<'_>, usize, &T) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let (whole, rest) = rows.as_chunks::<ROWS>();
        for chunk in whole {
            let statement = self.get(many)?;
            for (index, row) in chunk.iter().enumerate() {
                bind(statement, index * columns, row)?;
            }
            statement.raw_execute()?;
        }
        for row in rest {
            let statement = self.get(one)?;
            bind(statement, 0, row)?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}
