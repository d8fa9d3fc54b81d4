//! Deleting the oldest rows, by age and by size.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::documents;
use super::lists::{Entry, List, decode, put};
use super::options::StoreOptions;
use super::schema;
use crate::metrics::GroupKind;
use crate::time::Timestamp;

/// Tables of records that are listed by their time, and the kind of their groups.
const LISTED: [(&str, GroupKind); 2] = [("resources", GroupKind::Resource), (DOCUMENTS, GroupKind::Fts)];
const DOCUMENTS: &str = "documents";
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
        let cut = Timestamp::from_nanos(bounded.as_nanos().saturating_sub(nanos));
        deleted += delete_before(db, cut)?;
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
            let cut = Timestamp::from_nanos(oldest.as_nanos().saturating_add(step));
            let step_deleted = delete_before(db, cut)?;
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

/// The earliest time there is a row of; a flow is as old as its end.
fn oldest(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let mut times: Vec<i64> = Vec::from_iter(first_end(db)?);
    let mut first = db.prepare_cached("SELECT min(time) FROM alerts WHERE grp = ?1")?;
    for group in groups(db, GroupKind::Alert)? {
        times.extend(first.query_row([group], |row| row.get::<_, Option<i64>>(0))?);
    }
    let mut first = db.prepare_cached("SELECT min(first) FROM lists WHERE list = ?1 AND grp = ?2")?;
    for (_, list) in listed(db)?.into_iter().filter(|(_, list)| *list != List::FlowStart) {
        times.extend(first.query_row(list.columns(), |row| row.get::<_, Option<i64>>(0))?);
    }
    for group in counter_groups(db)? {
        let sql = format!("SELECT min(bucket) FROM {} WHERE level = 0", schema::counters(group));
        let first: Option<i64> = db.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        times.extend(first.map(|secs| secs.saturating_mul(1_000_000_000)));
    }
    Ok(times.into_iter().min().map(Timestamp::from_nanos))
}

/// When the first flow ended: by their start as far as any may have ended earlier than one that was found.
fn first_end(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let (number, group) = List::FlowStart.columns();
    // By their ends, which an index has; the first of the blocks that follow began so much earlier at most.
    let mut select =
        db.prepare_cached("SELECT first, last, entries FROM lists WHERE list = ?1 AND grp = ?2 ORDER BY last")?;
    let mut end = db.prepare_cached("SELECT end FROM flows WHERE id = ?1")?;
    let mut blocks = select.query([number, group])?;
    let mut earliest: Option<i64> = None;
    while let Some(block) = blocks.next()? {
        let (first, last): (i64, i64) = (block.get(0)?, block.get(1)?);
        if earliest.is_some_and(|earliest| last.saturating_sub(List::FlowStart.span()) > earliest) {
            break;
        }
        for (start, id) in decode(first, block.get_ref(2)?.as_blob().unwrap_or_default())? {
            if earliest.is_some_and(|earliest| start > earliest) {
                break;
            }
            let found: Option<i64> = end.query_row([id], |row| row.get(0)).optional()?;
            earliest = earliest.into_iter().chain(found).min();
        }
    }
    Ok(earliest)
}

/// Deletes what is of a time before `cut`; a flow is as old as its end.
fn delete_before(db: &Connection, cut: Timestamp) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    let mut delete = db.prepare_cached("DELETE FROM alerts WHERE grp = ?1 AND time < ?2")?;
    for group in groups(db, GroupKind::Alert)? {
        deleted += delete.execute([group, cut.as_nanos()])?;
    }
    for (table, list) in listed(db)? {
        deleted += delete_listed(db, table, list, cut.as_nanos())?;
    }
    // Sizes of flows that were deleted: those of rows that come before all that are left.
    let sizes =
        "DELETE FROM lists WHERE list = 2 AND newest < ifnull((SELECT min(id) FROM flows), 9223372036854775807)";
    db.prepare_cached(sizes)?.execute([])?;
    // Everything below is kept by the second in which it begins; an interval that is no longer whole loses its coarse rows.
    let secs = cut.secs();
    deleted += db.prepare_cached("DELETE FROM edges WHERE hour < ?1")?.execute([secs - 3_600])?;
    deleted += delete_attributes(db, cut.as_nanos().saturating_sub(3_600_000_000_000))?;
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

/// The lists by time, with the tables of their rows.
fn listed(db: &Connection) -> rusqlite::Result<Vec<(&'static str, List)>> {
    let mut lists = vec![("flows", List::FlowStart)];
    for (table, kind) in LISTED {
        lists.extend(groups(db, kind)?.into_iter().map(|group| (table, List::RecordTime(group))));
    }
    Ok(lists)
}

/// Deletes the rows of a table that are listed before a time, flows only if they ended before it too; returns their number.
fn delete_listed(db: &Connection, table: &str, list: List, cut: i64) -> rusqlite::Result<usize> {
    let (number, group) = list.columns();
    let mut select = db.prepare_cached(
        "SELECT id, first, entries FROM lists WHERE list = ?1 AND grp = ?2 AND last < ?3 AND first < ?4 ORDER BY last",
    )?;
    let block = |row: &Row<'_>| Ok((row.get(0)?, decode(row.get(1)?, row.get_ref(2)?.as_blob().unwrap_or_default())?));
    let reach = cut.saturating_add(list.span());
    let blocks = select.query_map(params![number, group, reach, cut], block)?;
    // Rows must not change while they are looked for.
    let blocks: Vec<(i64, Vec<Entry>)> = blocks.collect::<Result<_, _>>()?;
    let column = if list == List::FlowStart { "end" } else { "time" };
    let mut delete = db.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1 AND {column} < ?2"))?;
    let mut is_there = db.prepare_cached(&format!("SELECT 1 FROM {table} WHERE id = ?1"))?;
    let mut delete_block = db.prepare_cached("DELETE FROM lists WHERE id = ?1")?;
    let (mut deleted, mut documents, mut bytes) = (0, Vec::new(), Vec::new());
    for (id, entries) in blocks {
        let (old, others) = entries.split_at(entries.partition_point(|&(time, _)| time < cut));
        let mut left: Vec<Entry> = Vec::new();
        if table == DOCUMENTS {
            documents.extend_from_slice(old);
        } else {
            for &(time, row) in old {
                if delete.execute([row, cut])? > 0 {
                    deleted += 1;
                } else if is_there.exists([row])? {
                    left.push((time, row));
                }
            }
        }
        left.extend_from_slice(others);
        if left.is_empty() {
            delete_block.execute([id])?;
        } else if left.len() < entries.len() {
            put(db, list, Some(id), &left, &mut bytes)?;
        }
    }
    Ok(deleted + documents::delete(db, &documents)?)
}

/// Deletes the parts of attributes that end before a time; returns the number of attributes.
fn delete_attributes(db: &Connection, cut: i64) -> rusqlite::Result<usize> {
    let mut select = db.prepare_cached("SELECT part FROM attribute_parts WHERE last < ?1")?;
    let parts: Vec<i64> = select.query_map([cut], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut deleted = 0;
    for part in parts {
        deleted += db.prepare_cached("DELETE FROM flow_attributes WHERE part = ?1")?.execute([part])?;
        db.prepare_cached("DELETE FROM attribute_parts WHERE part = ?1")?.execute([part])?;
    }
    Ok(deleted)
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
