//! Everything but counters: one statement a row.

use rusqlite::{Connection, params};

use super::keys::{Groups, Keys};
use super::row::{Row, StoredTopper, Text, whole};
use crate::metrics::{Alert, Document, Edge, GroupKind, Resource, Session};
use crate::time::Timestamp;

/// Writes one row of a run.
pub(super) fn write(
    db: &Connection,
    groups: &mut Groups,
    keys: &mut Keys,
    run: i64,
    row: &Row,
) -> rusqlite::Result<()> {
    match row {
        Row::Flow(flow) => write_flow(db, run, flow),
        Row::Alert(alert) => {
            let group = groups.id(db, GroupKind::Alert, alert.group)?;
            write_alert(db, run, group, alert)
        }
        Row::Resource(resource) => {
            let group = groups.id(db, GroupKind::Resource, resource.group)?;
            write_resource(db, run, group, resource)
        }
        Row::Document(document) => {
            let group = groups.id(db, GroupKind::Fts, document.group)?;
            write_document(db, run, group, document)
        }
        Row::Edge(time, edge) => write_edge(db, groups, *time, edge),
        Row::Topper(topper) => write_topper(db, groups, keys, topper),
        Row::Label { group, key, label, description } => {
            let group = groups.id(db, GroupKind::Counter, *group)?;
            write_label(db, group, key, label, description.as_deref())
        }
        Row::Attribute { group, key, name, value } => {
            let group = groups.id(db, GroupKind::Counter, *group)?;
            let sql = "INSERT INTO attributes(grp, key, name, value) VALUES(?1, ?2, ?3, ?4)
                       ON CONFLICT(grp, key, name) DO UPDATE SET value = excluded.value";
            db.prepare_cached(sql)?.execute(params![group, Text(key), Text(name), Text(value)])?;
            Ok(())
        }
    }
}

fn write_flow(db: &Connection, run: i64, flow: &Session) -> rusqlite::Result<()> {
    let sql = "INSERT INTO flows(run, flow, start, end, bytes, az_bytes, za_bytes, az_packets, za_packets, az_payload,
                 za_payload, state, tags, setup_rtt, retrans, reason)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    db.prepare_cached(sql)?.execute(params![
        run,
        Text(&flow.id),
        flow.start.as_nanos(),
        flow.end.as_nanos(),
        whole(flow.bytes[0].saturating_add(flow.bytes[1])),
        whole(flow.bytes[0]),
        whole(flow.bytes[1]),
        whole(flow.packets[0]),
        whole(flow.packets[1]),
        whole(flow.payload[0]),
        whole(flow.payload[1]),
        flow.state,
        optional(&flow.tags),
        flow.setup_rtt,
        flow.retransmissions,
        flow.reason,
    ])?;
    Ok(())
}

/// Empty texts are no text.
fn optional(text: &[u8]) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(Text(text))
}

fn write_alert(db: &Connection, run: i64, group: i64, alert: &Alert) -> rusqlite::Result<()> {
    let sql = "INSERT INTO alerts(run, time, grp, flow, sigid, priority, message, classification, status, kind, extra)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    // NaN would be NULL.
    let priority = if alert.priority.is_nan() { 0.0 } else { alert.priority };
    db.prepare_cached(sql)?.execute(params![
        run,
        alert.time.as_nanos(),
        group,
        alert.flow.as_deref().map(Text),
        Text(&alert.sigid),
        priority,
        Text(&alert.message),
        Text(&alert.classification),
        Text(&alert.status),
        alert.kind.name(),
        optional(&alert.extra),
    ])?;
    Ok(())
}

fn write_resource(db: &Connection, run: i64, group: i64, resource: &Resource) -> rusqlite::Result<()> {
    let sql = "INSERT INTO resources(run, time, grp, flow, uri, label) VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
    db.prepare_cached(sql)?.execute(params![
        run,
        resource.time.as_nanos(),
        group,
        resource.flow.as_deref().map(Text),
        Text(&resource.uri),
        Text(Resource::cut_label(&resource.label)),
    ])?;
    Ok(())
}

fn write_document(db: &Connection, run: i64, group: i64, document: &Document) -> rusqlite::Result<()> {
    let sql = "INSERT INTO documents(run, time, grp, flow, text) VALUES(?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![
        run,
        document.time.as_nanos(),
        group,
        document.flow.as_deref().map(Text),
        Text(&document.text),
    ])?;
    Ok(())
}

fn write_edge(db: &Connection, groups: &mut Groups, time: Timestamp, edge: &Edge) -> rusqlite::Result<()> {
    let from = groups.id(db, GroupKind::Counter, edge.from_guid)?;
    let to = groups.id(db, GroupKind::Counter, edge.to_guid)?;
    let hour = time.secs().div_euclid(3_600).saturating_mul(3_600);
    let sql = "INSERT OR IGNORE INTO edges(from_grp, from_key, hour, to_grp, to_key) VALUES(?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![from, Text(&edge.from_key), hour, to, Text(&edge.to_key)])?;
    Ok(())
}

fn write_topper(db: &Connection, groups: &mut Groups, keys: &mut Keys, topper: &StoredTopper) -> rusqlite::Result<()> {
    let group = groups.id(db, GroupKind::Counter, topper.group)?;
    let key = keys.id(db, &topper.key)?;
    let sql = "INSERT INTO toppers(grp, meter, bucket, key, value) VALUES(?1, ?2, ?3, ?4, ifnull(?5, 0))
               ON CONFLICT(grp, meter, bucket, key) DO UPDATE SET value = excluded.value";
    db.prepare_cached(sql)?.execute(params![group, topper.meter, topper.bucket, key, topper.value])?;
    Ok(())
}

fn write_label(
    db: &Connection,
    group: i64,
    key: &[u8],
    label: &[u8],
    description: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO labels(grp, key, label, description) VALUES(?1, ?2, ?3, ifnull(?4, ''))
               ON CONFLICT(grp, key) DO UPDATE SET label = excluded.label, description = ifnull(?4, description)";
    db.prepare_cached(sql)?.execute(params![group, Text(key), Text(label), description.map(Text)])?;
    if label.is_empty() {
        // A label and a description that are both empty are none.
        let sql = "DELETE FROM labels WHERE grp = ?1 AND key = ?2 AND label = '' AND description = ''";
        db.prepare_cached(sql)?.execute(params![group, Text(key)])?;
    }
    Ok(())
}
