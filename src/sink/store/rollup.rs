//! Coarse counter rows: one a key for every hour and day, made from the finer ones once these are complete.
//!
//! They are an aid: what has no mark in `rolled` is read from the finer rows. Making them anew gives the same rows. Hours are
//! added up while their buckets are written, as far as nothing else is in them; others are read again.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::buckets::{Parts, Table, Tables};
use super::schema;
use super::sums::Sums;

/// Keys of an interval held at a time; more are written in parts.
const HELD: usize = 200_000;

/// Parts of an interval, buckets of an hour and hours of a day, below which it is left alone: reading them is as cheap.
const FEW: u32 = 4;

/// Makes the intervals that end by `until`, in seconds. Returns the number of rows.
pub(super) fn roll(db: &Connection, tables: &mut Tables, until: i64) -> rusqlite::Result<u64> {
    let mut rows = 0;
    for (level, interval, group) in tables.due(until) {
        let Parts { count, sums } = tables.take((level, interval, group));
        if let Some(table) = tables.get(group).filter(|_| count >= FEW) {
            rows += match sums {
                Some(sums) => summed(db, table, level, interval, &sums)?,
                None => interval_of(db, table, level, interval)?,
            };
        }
    }
    Ok(rows)
}

/// Writes an interval whose buckets were added up.
fn summed(db: &Connection, table: &Table, level: i64, interval: i64, sums: &Sums) -> rusqlite::Result<u64> {
    clear(db, table, level, interval)?;
    let rows = table.write(db, level, interval, sums.rows(table.words.len()))?;
    mark(db, table, level, interval)?;
    Ok(rows)
}

fn clear(db: &Connection, table: &Table, level: i64, interval: i64) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM {} WHERE level = ?1 AND bucket = ?2", schema::counters(table.group));
    db.prepare_cached(&sql)?.execute([level, interval])?;
    Ok(())
}

fn mark(db: &Connection, table: &Table, level: i64, interval: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO rolled(grp, level, bucket) VALUES(?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute([table.group, level, interval])?;
    Ok(())
}

fn is_rolled(db: &Connection, table: &Table, level: i64, interval: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM rolled WHERE grp = ?1 AND level = ?2 AND bucket = ?3)";
    db.prepare_cached(sql)?.query_row(params![table.group, level, interval], |row| row.get(0))
}

fn interval_of(db: &Connection, table: &Table, level: i64, interval: i64) -> rusqlite::Result<u64> {
    let name = schema::counters(table.group);
    clear(db, table, level, interval)?;
    let end = interval.saturating_add(level);
    let finer = schema::levels(table.size).filter(|finer| *finer < level).last().unwrap_or(0);
    let mut rows = 0;
    if finer > 0 {
        // Hours with few buckets, and those of a run that ended early, have no rows yet.
        for part in (interval..end).step_by(usize::try_from(finer).unwrap_or(usize::MAX)) {
            if !is_rolled(db, table, finer, part)? {
                rows += interval_of(db, table, finer, part)?;
            }
        }
    }
    let columns: Vec<&str> = table.words.iter().map(|word| word.column.as_str()).collect();
    let sql = format!(
        "SELECT key{}{} FROM {name} WHERE level = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket, key",
        if columns.is_empty() { "" } else { ", " },
        columns.join(", ")
    );
    let mut select = db.prepare_cached(&sql)?;
    let mut found = select.query(params![finer, interval, end])?;
    let width = table.words.len();
    let mut places: HashMap<i64, usize, foldhash::fast::RandomState> = HashMap::default();
    let mut words: Vec<f64> = Vec::new();
    while let Some(row) = found.next()? {
        if places.len() >= HELD {
            rows += write(db, table, level, interval, &places, &words)?;
            places.clear();
            words.clear();
        }
        let at = *places.entry(row.get(0)?).or_insert_with(|| {
            words.resize(words.len() + width, f64::NAN);
            words.len() - width
        });
        for (index, word) in table.words.iter().enumerate() {
            let value = row.get::<_, Option<f64>>(index + 1)?.unwrap_or(f64::NAN);
            word.fold.take(&mut words[at + index], word.fold.of_bucket(value));
        }
    }
    rows += write(db, table, level, interval, &places, &words)?;
    mark(db, table, level, interval)?;
    Ok(rows)
}

fn write(
    db: &Connection,
    table: &Table,
    level: i64,
    interval: i64,
    places: &HashMap<i64, usize, foldhash::fast::RandomState>,
    words: &[f64],
) -> rusqlite::Result<u64> {
    let mut order: Vec<(i64, usize)> = places.iter().map(|(key, at)| (*key, *at)).collect();
    order.sort_unstable();
    let width = table.words.len();
    table.write(db, level, interval, order.iter().map(|&(key, at)| (key, &words[at..at + width])))
}
