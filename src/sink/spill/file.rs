//! The file: its one table, and who may write it.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::sink::damaged::{is_damage, replace};

/// What `PRAGMA application_id` says.
const APPLICATION: i64 = 0x6D73_6A62;
/// Version of the table.
const VERSION: i64 = 1;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS jobs (
  place INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  survives INTEGER NOT NULL,
  plugin TEXT NOT NULL,
  block TEXT NOT NULL,
  label TEXT NOT NULL,
  job BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (plugin, block, owner);";

/// Why a file of jobs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpillOpenError {
    /// It cannot be opened or made.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{}: belongs to somebody else, or others can write it: code is taken from it; move it away", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Another run uses it.
    #[error("{}: another run is using it; end that one or give this one another --store", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file of something else, or of a later version.
    #[error("{}: not a file of jobs of this version; move it away", path.display())]
    NotOfThisKind {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged, and in the way of a new one.
    #[error("{}: damaged ({damage}), and {trouble}; it is where it was: make room or move it away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: String,
        /// Why there is no new one.
        trouble: String,
    },
    /// SQLite has a complaint.
    #[error("{}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

impl SpillOpenError {
    /// What is wrong with a file whose name says nothing to anybody.
    fn without_name(self) -> String {
        match self {
            Self::File { error, .. } => error.to_string(),
            Self::Database { error, .. } => error.to_string(),
            other => other.to_string(),
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Jobs {
    db: Connection,
    /// Owners below this number are of earlier runs.
    pub(super) first_owner: u64,
    /// The first place that is free.
    pub(super) next_place: u64,
    /// Kept open as long as the database: it holds the lock, and closing any descriptor of the file would take SQLite's own
    /// locks away.
    _lock: File,
}

/// What is put.
#[derive(Debug)]
pub(super) struct Row {
    pub place: u64,
    pub owner: u64,
    pub survives: bool,
    pub label: String,
    pub job: Vec<u8>,
}

impl Jobs {
    /// Opens or makes the file; `most_bytes` is what it may grow to. A damaged one is moved aside.
    pub(super) fn open(path: &Path, most_bytes: Option<u64>) -> Result<Self, SpillOpenError> {
        // Held until the file is moved: of two runs that find the same damage the later one would move a sound file.
        let lock = lock(path)?;
        match Self::connect(path, most_bytes) {
            Err(SpillOpenError::Database { error, .. }) if is_damage(&error) => {
                let begin = |fresh: &Path| Self::begin(fresh, most_bytes).map_err(SpillOpenError::without_name);
                let (lock, aside) = replace(path, begin).map_err(|trouble| SpillOpenError::Damaged {
                    path: path.to_owned(),
                    damage: error.to_string(),
                    trouble: trouble.to_string(),
                })?;
                log::error!("jobs {}: damaged ({error}); it is now {}", path.display(), aside.display());
                Ok(Self::of(Self::connect(path, most_bytes)?, lock))
            }
            connected => Ok(Self::of(connected?, lock)),
        }
    }

    fn of((db, first_owner, next_place): (Connection, u64, u64), lock: File) -> Self {
        Self { db, first_owner, next_place, _lock: lock }
    }

    /// Makes a file, and gives its lock.
    fn begin(path: &Path, most_bytes: Option<u64>) -> Result<File, SpillOpenError> {
        let lock = lock(path)?;
        let (db, ..) = Self::connect(path, most_bytes)?;
        db.close().map_err(|(_, error)| SpillOpenError::Database { path: path.to_owned(), error })?;
        Ok(lock)
    }

    /// Connects to a file that is locked; gives the first owner and the next place too.
    fn connect(path: &Path, most_bytes: Option<u64>) -> Result<(Connection, u64, u64), SpillOpenError> {
        let failed = |error| SpillOpenError::Database { path: path.to_owned(), error };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
        let tables = number("SELECT count(*) FROM sqlite_master")?;
        if tables > 0 && (number("PRAGMA application_id")?, number("PRAGMA user_version")?) != (APPLICATION, VERSION) {
            return Err(SpillOpenError::NotOfThisKind { path: path.to_owned() });
        }
        db.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216; PRAGMA trusted_schema = OFF",
        )
        .map_err(failed)?;
        if let Some(most) = most_bytes {
            let page = number("PRAGMA page_size")?.max(512) as u64;
            db.pragma_update(None, "max_page_count", (most / page).max(8) as i64).map_err(failed)?;
        }
        db.execute_batch(TABLE).map_err(failed)?;
        db.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
        db.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        let gone = db.execute("DELETE FROM jobs WHERE survives = 0", []).map_err(failed)?;
        if gone > 0 {
            log::info!("jobs {}: {gone} of the last run could not survive it", path.display());
        }
        let next = |column: &str| number(&format!("SELECT ifnull(max({column}), 0) + 1 FROM jobs"));
        let (first_owner, next_place) = (next("owner")? as u64, next("place")? as u64);
        db.set_prepared_statement_cache_capacity(32);
        Ok((db, first_owner, next_place))
    }

    /// Runs `work` in one transaction.
    pub(super) fn at_once<T>(&self, work: impl FnOnce(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let transaction = self.db.unchecked_transaction()?;
        let result = work(self)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Hands what earlier owners of the name left behind to a new one: place, bytes and label of each.
    pub(super) fn adopt(&self, owner: u64, plugin: &str, block: &str) -> rusqlite::Result<Vec<(u64, usize, String)>> {
        let mut update = self.db.prepare_cached(
            "UPDATE jobs SET owner = ?1 WHERE plugin = ?2 AND block = ?3 AND (owner = 0 OR owner < ?4)",
        )?;
        update.execute(params![owner as i64, plugin, block, self.first_owner as i64])?;
        let mut select =
            self.db.prepare_cached("SELECT place, length(job), label FROM jobs WHERE owner = ?1 ORDER BY place")?;
        let rows = select.query_map([owner as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as usize, row.get(2)?))
        })?;
        rows.collect()
    }

    pub(super) fn put(&self, row: &Row, plugin: &str, block: &str) -> rusqlite::Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO jobs (place, owner, survives, plugin, block, label, job) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert
            .execute(params![row.place as i64, row.owner as i64, row.survives, plugin, block, row.label, row.job])
            .map(drop)
    }

    pub(super) fn read(&self, place: u64) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut select = self.db.prepare_cached("SELECT job FROM jobs WHERE place = ?1")?;
        select.query_row([place as i64], |row| row.get(0)).optional()
    }

    pub(super) fn delete(&self, place: u64) -> rusqlite::Result<()> {
        self.db.prepare_cached("DELETE FROM jobs WHERE place = ?1")?.execute([place as i64]).map(drop)
    }

    pub(super) fn release(&self, owner: u64) -> rusqlite::Result<()> {
        self.db.execute("DELETE FROM jobs WHERE owner = ?1 AND survives = 0", [owner as i64])?;
        self.db.execute("UPDATE jobs SET owner = 0 WHERE owner = ?1", [owner as i64]).map(drop)
    }

    /// Gives free pages back to the file system.
    pub(super) fn shrink(&self) {
        // What is not given back now is used by the next jobs.
        let _ = self.db.execute_batch("PRAGMA incremental_vacuum(1000)");
    }
}

/// Opens the file itself, for this user alone, and takes the lock that says who uses it.
fn lock(path: &Path) -> Result<File, SpillOpenError> {
    let failed = |error| SpillOpenError::File { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let file = options.open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_file() || !ours || meta.mode() & 0o022 != 0 {
        return Err(SpillOpenError::NotOurs { path: path.to_owned() });
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SpillOpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Whoever had the lock may have moved the file meanwhile.
    let is_still = |now: Metadata| (now.dev(), now.ino()) == (meta.dev(), meta.ino());
    if !path.symlink_metadata().is_ok_and(is_still) {
        return Err(SpillOpenError::InUse { path: path.to_owned() });
    }
    Ok(file)
}
