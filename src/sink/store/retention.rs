//! Deleting the oldest rows, by age and by size.

use rusqlite::{Connection, params};

use super::options::StoreOptions;
use super::schema;
use crate::metrics::GroupKind;
use crate::time::Timestamp;

/// Tables of records, which have a time and a group, and the kind of the latter.
const RECORDS: [(&str, GroupKind); 3] =
    [("alerts", GroupKind::Alert), ("resources", GroupKind::Resource), ("documents", GroupKind::Fts)];
/// Share of the time span that is deleted at least, when the file is too large.
const LEAST: f64 = 0.05;
/// Steps taken at once at most.
const STEPS: usize = 16;

/// Deletes what the limits say; returns the number of rows. `latest` is the latest time of a row, `now` that of the wall.
pub(super) fn apply(
    db: &Connection,
    options: &StoreOptions,
    latest: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    // One packet of a clock that has jumped ahead must not make everything else old.
    let bounded = latest.min(now);
    if let Some(age) = options.age {
        let nanos = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        deleted += delete_before(db, Timestamp::from_nanos(bounded.as_nanos().saturating_sub(nanos)))?;
    }
    if let Some(limit) = options.total_bytes {
        for _ in 0..STEPS {
            let used = used(db)?;
            if used <= limit {
                break;
            }
            let Some(oldest) = oldest(db)? else { break };
            let latest = if oldest < bounded { bounded } else { latest };
            // As if rows were spread evenly; the next step corrects it.
            let share = (1.0 - limit as f64 / used as f64).max(LEAST);
            let span = latest.as_nanos().saturating_sub(oldest.as_nanos());
            let step = ((span as f64 * share) as i64).max(1_000_000_000);
            let step_deleted = delete_before(db, Timestamp::from_nanos(oldest.as_nanos().saturating_add(step)))?;
            deleted += step_deleted;
            if step_deleted == 0 || oldest >= latest {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Bytes of the file that hold something.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages.saturating_mul(pragma("page_size")?)).unwrap_or(0))
}

/// Groups of a kind.
fn groups(db: &Connection, kind: GroupKind) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached("SELECT id FROM groups WHERE kind = ?1")?.query_map([kind.name()], |row| row.get(0))?.collect()
}

fn counter_groups(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT g.id FROM groups g JOIN sqlite_master m ON m.name = 'counters_' || g.id WHERE g.kind = 'counter'";
    db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// The earliest time there is a row of.
fn oldest(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let mut times: Vec<i64> = Vec::new();
    times.extend(db.query_row("SELECT min(start) FROM flows", [], |row| row.get::<_, Option<i64>>(0))?);
    for (table, kind) in RECORDS {
        let sql = format!("SELECT min(time) FROM {table} WHERE grp = ?1");
        let mut first = db.prepare_cached(&sql)?;
        for group in groups(db, kind)? {
            times.extend(first.query_row([group], |row| row.get::<_, Option<i64>>(0))?);
        }
    }
    for group in counter_groups(db)? {
        let sql = format!("SELECT min(bucket) FROM {} WHERE level = 0", schema::counters(group));
        let first: Option<i64> = db.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        times.extend(first.map(|secs| secs.saturating_mul(1_000_000_000)));
    }
    Ok(times.into_iter().min().map(Timestamp::from_nanos))
}

fn delete_before(db: &Connection, cut: Timestamp) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    let sizes = "DELETE FROM flow_sizes WHERE (bytes, id) IN (SELECT bytes, id FROM flows WHERE start < ?1)";
    db.prepare_cached(sizes)?.execute([cut.as_nanos()])?;
    deleted += db.prepare_cached("DELETE FROM flows WHERE start < ?1")?.execute([cut.as_nanos()])?;
    for (table, kind) in RECORDS {
        let sql = format!("DELETE FROM {table} WHERE grp = ?1 AND time < ?2");
        let mut delete = db.prepare_cached(&sql)?;
        for group in groups(db, kind)? {
            deleted += delete.execute([group, cut.as_nanos()])?;
        }
    }
    // Everything below is kept by the second in which it begins; an interval that is no longer whole loses its coarse rows.
    let secs = cut.secs();
    deleted += db.prepare_cached("DELETE FROM edges WHERE hour < ?1")?.execute([secs - 3_600])?;
    deleted += db.prepare_cached("DELETE FROM flow_attributes WHERE hour < ?1")?.execute([secs - 3_600])?;
    // Not counted: it says where documents are, and its last hour may still have some.
    db.prepare_cached("DELETE FROM document_hours WHERE hour < ?1")?.execute([secs - 3_600])?;
    deleted += db.prepare_cached("DELETE FROM toppers WHERE bucket < ?1")?.execute([secs])?;
    deleted += db.prepare_cached("DELETE FROM tracked WHERE bucket < ?1")?.execute([secs])?;
    for sql in ["DELETE FROM open_flows WHERE end < ?1", "DELETE FROM job_ends WHERE time < ?1"] {
        deleted += db.prepare_cached(sql)?.execute([cut.as_nanos()])?;
    }
    for group in counter_groups(db)? {
        let name = schema::counters(group);
        for level in std::iter::once(0).chain(schema::LEVELS) {
            let sql = format!("DELETE FROM {name} WHERE level = ?1 AND bucket < ?2");
            deleted += db.prepare_cached(&sql)?.execute(params![level, secs])?;
            for table in ["rolled", "intervals"] {
                let sql = format!("DELETE FROM {table} WHERE grp = ?1 AND level = ?2 AND bucket < ?3");
                db.prepare_cached(&sql)?.execute(params![group, level, secs])?;
            }
        }
    }
    Ok(deleted as u64)
}

/// Gives pages that hold nothing back to the file system.
pub(super) fn shrink(db: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare("PRAGMA incremental_vacuum")?;
    let mut steps = vacuum.query([])?;
    // One step frees one page.
    while steps.next()?.is_some() {}
    Ok(())
}

/// Deletes keys that no counter names any more.
pub(super) fn drop_unused_keys(db: &Connection) -> rusqlite::Result<()> {
    let mut used = String::from("SELECT key FROM toppers");
    for group in counter_groups(db)? {
        used.push_str(&format!(" UNION SELECT key FROM {}", schema::counters(group)));
    }
    db.execute_batch(&format!("DELETE FROM keys WHERE id NOT IN ({used})"))
}
