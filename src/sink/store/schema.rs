//! The tables, their version, and how an older file becomes a current one.

use rusqlite::Connection;

use super::lists;

/// Version of the tables, in `PRAGMA user_version`.
pub const VERSION: i64 = 8;

/// What `PRAGMA application_id` says: this file is a store.
pub(super) const APPLICATION: i64 = 0x6D73_7472;

/// Lengths in seconds of the coarse counter rows, ascending. A bucket belongs to the interval in which it begins.
pub(super) const LEVELS: [i64; 2] = [3_600, 86_400];

/// The coarse levels of a group: those that hold several of its buckets.
pub(super) fn levels(bucketsize: i64) -> impl Iterator<Item = i64> {
    LEVELS.into_iter().filter(move |level| *level >= bucketsize.saturating_mul(4))
}

/// The steps from one version to the next; the first one begins with nothing.
const STEPS: [&str; VERSION as usize] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
];

/// The version since which there is a list of the intervals that have counters.
const WITH_INTERVALS: i64 = 5;

/// The version since which lists of rows take the place of indexes.
const WITH_LISTS: i64 = 6;

/// Brings the tables to the current version, in one transaction. Returns the version found.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<i64> {
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let transaction = db.transaction()?;
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if found < WITH_INTERVALS {
        list_intervals(&transaction)?;
    }
    if found < WITH_LISTS {
        lists::list_all(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()?;
    Ok(found)
}

/// Enters the intervals that have counters, from one to the next through the index.
pub(super) fn list_intervals(db: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT id FROM groups WHERE EXISTS(SELECT 1 FROM sqlite_master WHERE name = 'counters_' || id)";
    let groups: Vec<i64> = db.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for group in groups {
        let name = counters(group);
        let mut insert = db.prepare(&format!(
            "INSERT INTO intervals(grp, level, bucket)
             WITH RECURSIVE found(bucket) AS (
               SELECT min(bucket) FROM {name} WHERE level = ?2
               UNION ALL
               SELECT (SELECT min(bucket) FROM {name} WHERE level = ?2 AND bucket > found.bucket) FROM found
                 WHERE found.bucket IS NOT NULL)
             SELECT ?1, ?2, bucket FROM found WHERE bucket IS NOT NULL"
        ))?;
        for level in std::iter::once(0).chain(LEVELS) {
            insert.execute([group, level])?;
        }
    }
    Ok(())
}

/// Makes the table with a group's counters; `words` are its columns of words, each after a comma.
pub(super) fn make_counters(group: i64, words: &str) -> String {
    format!(
        "CREATE TABLE {}(level INTEGER NOT NULL, bucket INTEGER NOT NULL, key INTEGER NOT NULL{words},
         PRIMARY KEY(level, bucket, key)) WITHOUT ROWID",
        counters(group)
    )
}

/// Name of the table with a group's counters.
pub(super) fn counters(group: i64) -> String {
    format!("counters_{group}")
}
