//! The statements that write records, prepared once for many rows.

use rusqlite::{CachedStatement, Connection, Statement};

/// A statement that is used again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Which {
    Flow,
    FlowSize,
    OpenFlow,
    FlowEnded,
    FlowAttribute,
    Alert,
    Resource,
    Document,
    DocumentWords,
    DocumentHour,
    Edge,
    Topper,
    Tracked,
    JobEnd,
    Label,
    LabelGone,
    Attribute,
}

impl Which {
    const COUNT: usize = 17;

    const fn sql(self) -> &'static str {
        match self {
            Self::Flow => {
                "INSERT INTO flows(run, flow, start, end, bytes, az_bytes, za_bytes, az_packets, za_packets, az_payload,
                   za_payload, state, tags, setup_rtt, retrans, reason)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
            }
            Self::FlowSize => "INSERT INTO flow_sizes(bytes, id) VALUES(?1, ?2)",
            Self::OpenFlow => {
                "INSERT OR REPLACE INTO open_flows(run, flow, start, end, bytes, az_bytes, za_bytes, az_packets, za_packets,
                   az_payload, za_payload, state, tags, setup_rtt, retrans)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
            }
            Self::FlowEnded => "DELETE FROM open_flows WHERE flow = ?1 AND start = ?2",
            Self::FlowAttribute => {
                "INSERT OR IGNORE INTO flow_attributes(hour, flow, name, value, time) VALUES(?1, ?2, ?3, ?4, ?5)"
            }
            Self::Alert => {
                "INSERT INTO alerts(run, time, grp, flow, sigid, priority, message, classification, status, kind, extra)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Self::Resource => {
                "INSERT INTO resources(run, time, grp, flow, uri, label) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
            }
            Self::Document => "INSERT INTO documents(run, time, grp, flow, text) VALUES(?1, ?2, ?3, ?4, ?5)",
            // Not by a trigger, in which the index would be written out row by row.
            Self::DocumentWords => "INSERT INTO documents_fts(rowid, text) VALUES(?1, ?2)",
            Self::DocumentHour => {
                "INSERT INTO document_hours(hour, first, last) VALUES(?1, ?2, ?3) ON CONFLICT(hour)
                 DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)"
            }
            Self::Edge => {
                "INSERT OR IGNORE INTO edges(from_grp, from_key, hour, to_grp, to_key) VALUES(?1, ?2, ?3, ?4, ?5)"
            }
            Self::Topper => {
                "INSERT INTO toppers(grp, meter, bucket, key, value) VALUES(?1, ?2, ?3, ?4, ifnull(?5, 0))
                 ON CONFLICT(grp, meter, bucket, key) DO UPDATE SET value = excluded.value"
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
}
