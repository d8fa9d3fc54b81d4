//! Runs and windows: what is in the file for certain, and what an earlier run left unfinished.
//!
//! Every commit ends a window and begins the next one in the same transaction. A window that is still open when the file is
//! opened belongs to a run that ended early: it is marked as lost, with everything that run had not committed.

use rusqlite::{Connection, OptionalExtension, params};

use super::counts::StoreTally;
use super::row::{RunEnd, Text, whole};
use crate::time::Timestamp;

/// A run that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) run: i64,
    /// Everything before is in the file.
    pub(super) until: Option<Timestamp>,
    /// First packet time it had stored.
    pub(super) first: Option<Timestamp>,
    /// And the last one.
    pub(super) last: Option<Timestamp>,
}

/// Marks what earlier runs left open as lost.
pub(super) fn close_unfinished(db: &Connection) -> rusqlite::Result<Vec<Unfinished>> {
    let mut open = db.prepare(
        "SELECT r.id, r.first, r.last, (SELECT begin FROM windows w WHERE w.run = r.id AND w.state = 'open')
         FROM runs r WHERE r.state = 'open' ORDER BY r.id",
    )?;
    let time = |nanos: Option<i64>| nanos.map(Timestamp::from_nanos);
    let unfinished: Vec<Unfinished> = open
        .query_map([], |row| {
            Ok(Unfinished {
                run: row.get(0)?,
                first: time(row.get(1)?),
                last: time(row.get(2)?),
                until: time(row.get(3)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    db.execute_batch(
        "UPDATE windows SET state = 'lost' WHERE state = 'open'; UPDATE runs SET state = 'lost' WHERE state = 'open'",
    )?;
    Ok(unfinished)
}

/// The run that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) id: i64,
    window: i64,
    written: i64,
    /// Times of everything written, committed or not.
    pub(super) span: Option<(Timestamp, Timestamp)>,
}

impl Run {
    /// Begins a run and its first window.
    pub(super) fn begin(db: &Connection, inputs: &[String], started: Option<Timestamp>) -> rusqlite::Result<Self> {
        let sql = "INSERT INTO runs(state, started, inputs, rows, lost) VALUES('open', ?1, ?2, 0, 0)";
        db.execute(sql, params![started.map(Timestamp::as_nanos), inputs.join(", ")])?;
        let id = db.last_insert_rowid();
        let window = open_window(db, id, None)?;
        Ok(Self { id, window, written: 0, span: None })
    }

    /// Takes a time into the span of the run.
    pub(super) fn cover(&mut self, first: Timestamp, last: Timestamp) {
        self.span = Some(self.span.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
    }

    /// Ends the window, up to `until`, and begins the next one.
    pub(super) fn flush(
        &mut self,
        db: &Connection,
        until: Timestamp,
        rows: u64,
        tally: &StoreTally,
    ) -> rusqlite::Result<()> {
        let end = finite(until);
        let sql = "UPDATE windows SET state = 'flushed', end = ?2, rows = ?3 WHERE id = ?1";
        db.prepare_cached(sql)?.execute(params![self.window, end, whole(rows)])?;
        self.written = self.written.saturating_add(whole(rows));
        let sql = "UPDATE runs SET rows = ?2, lost = ?3, first = ?4, last = ?5 WHERE id = ?1";
        let span = self.span.map(|(first, last)| (first.as_nanos(), last.as_nanos()));
        let (first, last) = span.unzip();
        db.prepare_cached(sql)?.execute(params![self.id, self.written, whole(tally.lost()), first, last])?;
        self.losses(db, tally)?;
        self.window = open_window(db, self.id, end)?;
        Ok(())
    }

    /// Rows that were not stored, by reason.
    fn losses(&self, db: &Connection, tally: &StoreTally) -> rusqlite::Result<()> {
        for (reason, rows) in tally.drops().into_iter().filter(|(_, rows)| *rows > 0) {
            let sql = "INSERT INTO losses(run, reason, rows) VALUES(?1, ?2, ?3)
                       ON CONFLICT(run, reason) DO UPDATE SET rows = excluded.rows";
            db.prepare_cached(sql)?.execute(params![self.id, reason, whole(rows)])?;
        }
        Ok(())
    }

    /// The rows of the window that was not committed are gone.
    pub(super) fn roll_back(&mut self, window: i64, written: i64) {
        (self.window, self.written) = (window, written);
    }

    /// What [`Run::roll_back`] needs.
    pub(super) fn mark(&self) -> (i64, i64) {
        (self.window, self.written)
    }

    /// Ends the run: its windows become one, and what is known of the run is noted.
    pub(super) fn end(&self, db: &Connection, end: &RunEnd, tally: &StoreTally) -> rusqlite::Result<()> {
        self.losses(db, tally)?;
        db.execute("UPDATE runs SET lost = ?2 WHERE id = ?1", params![self.id, whole(tally.lost())])?;
        db.execute("DELETE FROM windows WHERE id = ?1", [self.window])?;
        let sql = "SELECT min(id), sum(rows), max(end) FROM windows WHERE run = ?1 HAVING count(*) > 0";
        let all: Option<(i64, i64, Option<i64>)> =
            db.query_row(sql, [self.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        if let Some((first, rows, last)) = all {
            db.execute("DELETE FROM windows WHERE run = ?1 AND id > ?2", params![self.id, first])?;
            let last = end.span.map(|(_, last)| last.as_nanos()).or(last);
            db.execute("UPDATE windows SET rows = ?2, end = ?3 WHERE id = ?1", params![first, rows, last])?;
        }
        let span = end.span.or(self.span).map(|(first, last)| (first.as_nanos(), last.as_nanos()));
        let (first, last) = span.unzip();
        let sql = "UPDATE runs SET state = 'done', packets = ?2, bytes = ?3, first = ?4, last = ?5 WHERE id = ?1";
        db.execute(sql, params![self.id, whole(end.packets), whole(end.bytes), first, last])?;
        for job in &end.jobs {
            db.execute(
                "INSERT INTO jobs(run, plugin, scheduled, done, failed, timed_out, cancelled, dropped)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(run, plugin) DO NOTHING",
                params![
                    self.id,
                    Text(job.plugin.as_bytes()),
                    whole(job.scheduled),
                    whole(job.done),
                    whole(job.failed),
                    whole(job.timed_out),
                    whole(job.cancelled),
                    whole(job.dropped),
                ],
            )?;
        }
        Ok(())
    }
}

fn open_window(db: &Connection, run: i64, begin: Option<i64>) -> rusqlite::Result<i64> {
    db.prepare_cached("INSERT INTO windows(run, state, begin, rows) VALUES(?1, 'open', ?2, 0)")?
        .execute(params![run, begin])?;
    Ok(db.last_insert_rowid())
}

/// A time that is one: neither before everything nor after it.
fn finite(time: Timestamp) -> Option<i64> {
    let nanos = time.as_nanos();
    (nanos != i64::MIN && nanos != i64::MAX).then_some(nanos)
}
