//! Checkpoints: a thread of its own copies what the write-ahead log holds into the file, so that the writer neither copies
//! pages nor waits for the disk, and little is left to be done when a run ends.

use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, OpenFlags};

use crate::processor::yield_to_packets;

/// Rows between two checkpoints, about 8 MiB of the log: the more, the fewer pages are copied twice.
const ROWS: u64 = 65_536;

/// The thread. Without it, or where it does not keep up, the writer makes checkpoints itself when the log is large.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Room for one: while a checkpoint is made, another one is asked for at most.
    ask: Sender<()>,
    thread: JoinHandle<()>,
    /// Committed since the last time.
    rows: u64,
}

impl Checkpoints {
    pub(super) fn start(file: &Path) -> io::Result<Self> {
        let (ask, asked) = bounded(1);
        let file = file.to_owned();
        let thread = thread::Builder::new().name("store-log".to_owned()).spawn(move || {
            yield_to_packets();
            make(&file, &asked);
        })?;
        Ok(Self { ask, thread, rows: 0 })
    }

    /// So many more rows are in the log.
    pub(super) fn committed(&mut self, rows: u64) {
        self.rows += rows;
        if self.rows >= ROWS && self.ask.try_send(()).is_ok() {
            self.rows = 0;
        }
    }

    /// Waits for the one that is being made.
    pub(super) fn end(self) {
        let Self { ask, thread, .. } = self;
        drop(ask);
        if thread.join().is_err() {
            log::error!("the thread of the store's log ended early");
        }
    }
}

fn make(file: &Path, asked: &Receiver<()>) {
    for () in asked {
        // A connection for each: one that failed cannot be trusted. What goes wrong the writer comes across as well.
        if let Err(error) = checkpoint(file) {
            log::debug!("store {}: no checkpoint: {error}", file.display());
        }
    }
}

/// Copies as much as is committed and no reader needs, and waits for nobody.
fn checkpoint(file: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    // Closing tells of errors that dropping hides.
    db.close().map_err(|(db, error)| {
        drop(db);
        error
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Checkpoints, ROWS};

    #[test]
    fn what_the_log_holds_gets_into_the_file_when_enough_was_committed() {
        let folder = tempfile::TempDir::new().unwrap();
        let (file, copy) = (folder.path().join("store.db"), folder.path().join("copy.db"));
        let db = Connection::open(&file).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(n);").unwrap();
        let mut checkpoints = Checkpoints::start(&file).unwrap();
        let mut copied = |rows: u64| {
            db.execute("INSERT INTO t VALUES(1)", []).unwrap();
            checkpoints.committed(rows);
            (0..200).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                // Without the log.
                std::fs::copy(&file, &copy).unwrap();
                let count = Connection::open(&copy).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0));
                count.is_ok_and(|count: i64| count == 2)
            })
        };
        assert!(!copied(ROWS - 1), "too few");
        assert!(copied(1));
        checkpoints.end();
        drop(db);
    }
}
