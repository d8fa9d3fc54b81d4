//! Opening a store's file: what it may be, who may write it, and what is done about a damaged one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::options::Durability;
use super::pipelines::{PipelineState, keep_pipeline_state, pipeline_states};
use super::schema;
use crate::sink::damaged::{advice, damage, dated, is_damage, replace};

/// Name of the file in a directory.
const FILE: &str = "millstream.db";
/// First bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// How long somebody else's transaction is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Why a store cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// It cannot be opened or made.
    #[error("--store {}: {error}; name a file in a directory that can be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A link, a pipe, a device.
    #[error("--store {}: not a plain file; name another one", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of something else.
    #[error("--store {}: not a store of millstream; name a new file or an empty directory", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Another program writes it.
    #[error("--store {}: another program is writing it; end that one or name another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version of millstream made it.
    #[error(
        "--store {}: its tables have version {found}, this program knows {known}; use a newer millstream or name a new file",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version of the tables.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is damaged, and in the way of a new one.
    #[error(
        "--store {}: damaged ({damage}), and {trouble}; it is where it was: make room, move it away or name another file",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: String,
        /// Why there is no new one.
        trouble: String,
    },
    /// SQLite has a complaint.
    #[error("--store {}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

impl StoreOpenError {
    /// What is wrong with a file whose name is told already, or says nothing to anybody.
    pub(super) fn without_name(self) -> String {
        match self {
            Self::File { error, .. } => error.to_string(),
            Self::Database { error, .. } => error.to_string(),
            Self::Damaged { damage, trouble, .. } => {
                format!("damaged ({damage}), and {trouble}; it is where it was: make room or move it away")
            }
            other => other.to_string(),
        }
    }
}

/// The file that a path names: in a directory, the one of the usual name.
#[must_use]
pub fn store_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// A new directory for one run below `data`, named after the time, and the store's file in it.
///
/// # Errors
/// When it cannot be made.
pub fn default_store(data: &Path) -> io::Result<PathBuf> {
    let runs = data.join("runs");
    fs::create_dir_all(&runs)?;
    let name = dated();
    for number in 1..1_000 {
        let folder = runs.join(if number == 1 { name.clone() } else { format!("{name}-{number}") });
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder.join(FILE)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The store of the latest run below `data` that has one.
#[must_use]
pub fn latest_store(data: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(data.join("runs")).ok()?;
    runs.flatten().map(|run| run.path().join(FILE)).filter(|file| file.is_file()).max()
}

/// A store that nobody else writes.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: Connection,
    /// Kept open as long as the database: it holds the lock, and closing any descriptor of the file would take SQLite's own
    /// locks away.
    pub(super) lock: File,
}

/// Opens a file for writing, or makes it. A damaged one is moved aside.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Opened, StoreOpenError> {
    // Held until the file is moved: of two runs that find the same damage the later one would move a sound store.
    let lock = lock(path)?;
    match set_up_file(path, durability) {
        Ok(db) => Ok(Opened { db, lock }),
        Err(StoreOpenError::Database { error, .. }) if is_damage(&error) => {
            let nothing = Connection::open_in_memory().map_err(database(path))?;
            let mut opened = Opened { db: nothing, lock };
            opened.begin_anew(path, durability, &error.to_string())?;
            Ok(opened)
        }
        Err(other) => Err(other),
    }
}

/// Brings the tables of a store to the current version, and does nothing about damage.
///
/// # Errors
/// [`StoreOpenError`].
pub(super) fn bring_up_to_date(path: &Path) -> Result<(), StoreOpenError> {
    let _lock = lock(path)?;
    set_up_file(path, Durability::PowerFailure).map(drop)
}

/// A complaint of SQLite about a file.
fn database(path: &Path) -> impl Fn(rusqlite::Error) -> StoreOpenError {
    move |error| StoreOpenError::Database { path: path.to_owned(), error }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

/// Bytes of a page of a new file: an eighth as many pages as usual are found, checked and written.
const PAGE: i64 = 32_768;
/// Of the log before a checkpoint: the more of it, the fewer pages are written twice, and the less often the disk is waited for.
const LOG_BYTES: i64 = 64 << 20;
/// Pages that are held: most are filled up one after the other and not needed again.
const CACHE_KIB: i64 = 32 << 10;

fn set_up(db: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::PowerFailure => "FULL",
    };
    let page: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let log_pages = LOG_BYTES / page.max(1);
    db.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = {log_pages}; PRAGMA journal_size_limit = 134217728; PRAGMA trusted_schema = OFF"
    ))?;
    db.set_prepared_statement_cache_capacity(512);
    Ok(())
}

impl Opened {
    /// Begins a new file in the place of a damaged one, which is moved aside, and opens it.
    pub(super) fn begin_anew(
        &mut self,
        path: &Path,
        durability: Durability,
        damage: &str,
    ) -> Result<(), StoreOpenError> {
        self.replace(path, damage)?;
        self.reopen(path, durability)
    }

    /// Moves a damaged file aside, puts a new one in its place and says so. What is done before it is opened is done to nothing.
    pub(super) fn replace(&mut self, path: &Path, damage: &str) -> Result<(), StoreOpenError> {
        // Closing deletes the log by its name.
        self.db = Connection::open_in_memory().map_err(database(path))?;
        // What holds for later runs, as far as it can be read.
        let decided = pipeline_states(path).unwrap_or_default();
        let replaced = replace(path, |fresh| begin(fresh, &decided).map_err(StoreOpenError::without_name));
        let (lock, aside) = replaced.map_err(|trouble| StoreOpenError::Damaged {
            path: path.to_owned(),
            damage: damage.to_owned(),
            trouble: trouble.to_string(),
        })?;
        self.lock = lock;
        log::error!(
            "store {}: damaged ({damage}); it is now {}, and a new one is begun; what can still be read of the old one: {}",
            path.display(),
            aside.display(),
            advice(&aside)
        );
        Ok(())
    }

    /// Whether the file has no name any more: nobody finds what is written there.
    pub(super) fn is_deleted(&self) -> bool {
        self.lock.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Makes a file in the place of one that was deleted.
    pub(super) fn make_again(&mut self, path: &Path) -> Result<(), StoreOpenError> {
        // Closing deletes the log by its name, and somebody else may have made a file of that name since.
        let kept = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        kept.map_err(database(path))?;
        self.db = Connection::open_in_memory().map_err(database(path))?;
        self.lock = lock(path)?;
        log::error!("store {}: the file was deleted, with all that was in it; a new one is begun", path.display());
        Ok(())
    }

    /// Opens the file that has taken the place of another one.
    pub(super) fn reopen(&mut self, path: &Path, durability: Durability) -> Result<(), StoreOpenError> {
        self.db = set_up_file(path, durability)?;
        Ok(())
    }

    /// Another connection in place of the one that failed: what it believes to be on the disk may not be there.
    pub(super) fn reconnect(&mut self, path: &Path, durability: Durability) -> rusqlite::Result<()> {
        let db = connect(path)?;
        set_up(&db, durability)?;
        self.db = db;
        Ok(())
    }
}

/// Opens a store that is new.
pub(super) fn create(path: &Path) -> Result<Opened, StoreOpenError> {
    let lock = lock(path)?;
    Ok(Opened { db: set_up_file(path, Durability::PowerFailure)?, lock })
}

/// Makes a store, with what was decided about pipelines, and gives its lock.
fn begin(path: &Path, decided: &[PipelineState]) -> Result<File, StoreOpenError> {
    let Opened { db, lock } = create(path)?;
    for (plugin, name, state) in decided {
        keep_pipeline_state(path, plugin, name, Some(state)).map_err(database(path))?;
    }
    db.close().map_err(|(_, error)| database(path)(error))?;
    Ok(lock)
}

/// Connects to a file that is locked and makes a store of it.
fn set_up_file(path: &Path, durability: Durability) -> Result<Connection, StoreOpenError> {
    let database = database(path);
    let refused = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreOpenError::InUse { path: path.to_owned() },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => StoreOpenError::File {
            path: path.to_owned(),
            error: io::Error::new(io::ErrorKind::PermissionDenied, "its directory cannot be written"),
        },
        _ => database(error),
    };
    let mut db = connect(path).map_err(&refused)?;
    let number = |db: &Connection, sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number(&db, "SELECT count(*) FROM sqlite_master").map_err(&refused)?;
    let application = number(&db, "PRAGMA application_id").map_err(&database)?;
    if tables > 0 && application != schema::APPLICATION {
        return Err(StoreOpenError::NotAStore { path: path.to_owned() });
    }
    let found = number(&db, "PRAGMA user_version").map_err(&database)?;
    if found > schema::VERSION {
        return Err(StoreOpenError::TooNew { path: path.to_owned(), found, known: schema::VERSION });
    }
    // Has to come before the first table.
    let format = format!("PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");
    db.execute_batch(&format).map_err(&refused)?;
    set_up(&db, durability).map_err(&database)?;
    let found = schema::migrate(&mut db).map_err(&refused)?;
    if found > 0 && found < schema::VERSION {
        log::info!("store {}: tables brought from version {found} to {}", path.display(), schema::VERSION);
    }
    look_for_damage(&db).map_err(&database)?;
    Ok(db)
}

/// Damage shows where rows are read. The ends of the tables are cheap to look at, and so are small tables; the rest is come
/// across by whoever needs it.
fn look_for_damage(db: &Connection) -> rusqlite::Result<()> {
    for table in ["groups", "keys", "runs", "windows", "flows", "alerts", "resources", "documents"] {
        if !db.table_exists(None, table)? {
            return Err(damage(&format!("there is no table {table}")));
        }
        let ends = format!("SELECT ifnull(max(id), 0) + ifnull(min(id), 0) FROM {table}");
        db.query_row(&ends, [], |row| row.get::<_, i64>(0))?;
    }
    // Asked before a run begins to write.
    db.query_row("SELECT count(plugin || name || state) FROM pipelines", [], |row| row.get::<_, i64>(0))?;
    Ok(())
}

/// Opens the file itself and takes the lock that says who writes it.
fn lock(path: &Path) -> Result<File, StoreOpenError> {
    let failed = |error| StoreOpenError::File { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o640);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(_) if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) => {
            return Err(StoreOpenError::NotAFile { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(StoreOpenError::NotAFile { path: path.to_owned() });
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreOpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Whoever had the lock may have moved the file meanwhile.
    let is_still = |now: fs::Metadata| (now.dev(), now.ino()) == (meta.dev(), meta.ino());
    if !fs::symlink_metadata(path).is_ok_and(is_still) {
        return Err(StoreOpenError::InUse { path: path.to_owned() });
    }
    if meta.len() > 0 {
        let mut head = [0; 16];
        if file.read_exact(&mut head).is_err() || head != *MAGIC {
            return Err(StoreOpenError::NotAStore { path: path.to_owned() });
        }
    }
    Ok(file)
}

/// Whether the beginning of a file is that of a database.
pub(super) fn is_database(path: &Path) -> io::Result<bool> {
    let mut head = [0; 16];
    let mut file = File::open(path)?;
    match file.read_exact(&mut head) {
        Ok(()) => Ok(head == *MAGIC),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
