//! The tables, their version, and how an older file becomes a current one.

use rusqlite::Connection;

/// Version of the tables, in `PRAGMA user_version`.
pub const VERSION: i64 = 4;

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
];

/// Brings the tables to the current version, in one transaction. Returns the version found.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<i64> {
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let transaction = db.transaction()?;
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()?;
    Ok(found)
}

/// Name of the table with a group's counters.
pub(super) fn counters(group: i64) -> String {
    format!("counters_{group}")
}
