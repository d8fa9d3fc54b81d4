//! Opening a store to read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, Transaction};

use crate::sink::damaged::{advice, is_damage};
use crate::sink::database_files;
use crate::sink::store::open::{self, BUSY, StoreOpenError};
use crate::sink::store::schema;
use crate::time::Timestamp;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The file cannot be read.
    #[error("{}: {error}; a store is made by: millstream run --store FILE", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A pipe, a device.
    #[error("{}: not a plain file; a store is made by: millstream run --store FILE", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of something else.
    #[error("{}: not a store of millstream; one is made by: millstream run --store FILE", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A later version of millstream made it.
    #[error("{}: its tables have version {found}, this program knows {known}; use a newer millstream", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version of the tables.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Its tables are old and could not be brought up to date.
    #[error("its tables are of an earlier version and could not be brought up to date: {0}")]
    TooOld(StoreOpenError),
    /// Its contents make no sense.
    #[error(
        "{}: damaged: {error}; a run that stores there and comes across it moves it aside and begins a new one; \
         what can still be read: {}",
        path.display(),
        advice(path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// SQLite has another complaint.
    #[error("the store cannot be read: {0}")]
    Database(rusqlite::Error),
    /// No such group.
    #[error("no {kind} group '{name}' in this store; there are: {}", listed(there))]
    NoGroup {
        /// Kind of the group.
        kind: &'static str,
        /// As it was asked for.
        name: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// More than one group of the name.
    #[error("several {kind} groups of this store are called '{name}'; name one by its GUID: {guids}")]
    SeveralGroups {
        /// Kind of the groups.
        kind: &'static str,
        /// As it was asked for.
        name: String,
        /// Those that have the name.
        guids: String,
    },
    /// No such meter.
    #[error("group {group} has no meter '{name}'; it has: {}", listed(&numbered(there)))]
    NoMeter {
        /// The group.
        group: String,
        /// As it was asked for.
        name: String,
        /// Numbers and names of those there are.
        there: Vec<(u8, String)>,
    },
    /// No such key.
    #[error("group {group} has no key '{key}'; its keys: millstream query keys '{group}'")]
    NoKey {
        /// The group.
        group: String,
        /// As it was asked for.
        key: String,
    },
    /// No such tracker.
    #[error("no flow tracker '{name}' in this store; there are: {}", listed(there))]
    NoTracker {
        /// As it was asked for.
        name: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// The words to search for cannot be understood.
    #[error(
        "cannot search for '{words}': {error}; put in double quotes what is to be taken as it stands, as in '\"a-b.c\"'"
    )]
    Words {
        /// As they were written.
        words: String,
        /// What is wrong.
        error: String,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn numbered(meters: &[(u8, String)]) -> Vec<String> {
    meters.iter().map(|(id, name)| format!("{id} ({name})")).collect()
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// First and last time in a store.
pub type Span = Option<(Timestamp, Timestamp)>;

/// A store that is read.
#[derive(Debug)]
pub struct Reader {
    pub(super) db: Connection,
    path: PathBuf,
    /// What was asked, for tests of the plans.
    #[cfg(test)]
    pub(super) asked: std::cell::RefCell<Vec<String>>,
}

impl Reader {
    /// Opens a store.
    ///
    /// # Errors
    /// [`QueryError`]: no such file, not a plain one, not a store, damaged, of a later version.
    pub fn open(path: &Path) -> Result<Self, QueryError> {
        let file = |error| QueryError::File { path: path.to_owned(), error };
        let meta = fs::metadata(path).map_err(file)?;
        if meta.is_dir() {
            return Err(file(io::Error::new(io::ErrorKind::IsADirectory, "no store in this directory")));
        }
        // To open a pipe would wait for whoever writes it.
        if !meta.is_file() {
            return Err(QueryError::NotAFile { path: path.to_owned() });
        }
        if !open::is_database(path).map_err(file)? {
            return Err(QueryError::NotAStore { path: path.to_owned() });
        }
        let reader = Self::connected(path)?;
        let number = |sql: &str| reader.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let application = number("PRAGMA application_id").map_err(|e| complaint(path, e))?;
        if application != schema::APPLICATION {
            return Err(QueryError::NotAStore { path: path.to_owned() });
        }
        let found = number("PRAGMA user_version").map_err(|e| complaint(path, e))?;
        if found > schema::VERSION {
            return Err(QueryError::TooNew { path: path.to_owned(), found, known: schema::VERSION });
        }
        if found < schema::VERSION {
            drop(reader);
            open::bring_up_to_date(path).map_err(|e| match e {
                StoreOpenError::Database { path, error } if is_damage(&error) => QueryError::Damaged { path, error },
                other => QueryError::TooOld(other),
            })?;
            return Self::connected(path);
        }
        Ok(reader)
    }

    fn connected(path: &Path) -> Result<Self, QueryError> {
        Ok(Self {
            db: connect(path).map_err(|e| complaint(path, e))?,
            path: path.to_owned(),
            #[cfg(test)]
            asked: std::cell::RefCell::default(),
        })
    }

    /// A statement, prepared once.
    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        #[cfg(test)]
        self.asked.borrow_mut().push(sql.to_owned());
        self.db.prepare_cached(sql)
    }

    /// What is asked until this is dropped sees the file as it is now, and locks it once: each statement by itself would, which
    /// takes longer than finding a row.
    pub(super) fn snapshot(&self) -> rusqlite::Result<Transaction<'_>> {
        self.db.unchecked_transaction()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// First and last time of all runs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn span(&self) -> Result<Span, QueryError> {
        let sql = "SELECT min(first), max(last) FROM runs";
        let (first, last): (Option<i64>, Option<i64>) =
            self.db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(|e| complaint(&self.path, e))?;
        Ok(first.zip(last).map(|(first, last)| (Timestamp::from_nanos(first), Timestamp::from_nanos(last))))
    }

    /// The complaint about a failure, with the file.
    #[must_use]
    pub fn complaint(&self, error: QueryError) -> QueryError {
        match error {
            QueryError::Database(error) => complaint(&self.path, error),
            other => other,
        }
    }
}

/// Connects to a file to read it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    connect_with(path, "")
}

/// Connects to a file to read what there is of it. Of one that is shorter than it says nothing would be read, nor of one with
/// a damaged list of tables.
pub(in crate::sink::store) fn connect_damaged(path: &Path) -> rusqlite::Result<Connection> {
    connect_with(path, "PRAGMA writable_schema = ON; PRAGMA cell_size_check = ON")
}

fn connect_with(path: &Path, first: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let open = |name: &str| -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(name, flags)?;
        db.busy_timeout(BUSY)?;
        db.execute_batch(first)?;
        db.execute_batch("PRAGMA cache_size = -65536; PRAGMA mmap_size = 1073741824; PRAGMA trusted_schema = OFF")?;
        db.set_prepared_statement_cache_capacity(64);
        // Opening reads nothing yet.
        db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
        Ok(db)
    };
    let name = uri(path);
    match open(&name) {
        // Where nobody may write, the index of the log cannot be made; without a log none is needed.
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            let [_, log, _] = database_files(path);
            if fs::metadata(log).is_ok_and(|meta| meta.len() > 0) {
                return Err(e);
            }
            open(&format!("{name}?immutable=1"))
        }
        other => other,
    }
}

/// The path as SQLite takes it with parameters.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

fn complaint(path: &Path, error: rusqlite::Error) -> QueryError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => QueryError::NotAStore { path: path.to_owned() },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => QueryError::File {
            path: path.to_owned(),
            error: io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()),
        },
        _ if is_damage(&error) => QueryError::Damaged { path: path.to_owned(), error },
        // A table that should be there: the file says it is ours, but is not.
        _ if error.to_string().contains("no such table") => QueryError::Damaged { path: path.to_owned(), error },
        _ => QueryError::Database(error),
    }
}
