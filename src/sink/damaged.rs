//! Databases that turn out to be damaged: they are moved aside, never deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error, ErrorCode, ffi};

use super::database_files;
use crate::time;

/// Whether an error says that a file is no database, or one that is broken: a value that cannot have been written is as much
/// a sign of it as a page that makes no sense.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) | Error::FromSqlConversionFailure(..) => true,
        error => matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)),
    }
}

/// The error of contents that make no sense to us, though they do to SQLite.
pub(super) fn damage(what: &str) -> Error {
    let error = ffi::Error { code: ErrorCode::DatabaseCorrupt, extended_code: ffi::SQLITE_CORRUPT };
    Error::SqliteFailure(error, Some(what.to_owned()))
}

/// Moves a database aside, with its log; gives its new name.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut aside = with(path, &format!(".damaged-{}", dated()));
    while aside.exists() {
        aside = with(&aside, "-1");
    }
    fs::rename(path, &aside)?;
    for (file, aside) in database_files(path).iter().zip(database_files(&aside)).skip(1) {
        // What is not there need not be moved.
        let _ = fs::rename(file, aside);
    }
    Ok(aside)
}

/// The time as part of a file name.
pub(super) fn dated() -> String {
    let text = Connection::open_in_memory().and_then(|db| {
        let sql = "SELECT strftime('%Y%m%dT%H%M%SZ', ?1, 'unixepoch')";
        db.query_row(sql, [time::wall().secs()], |row| row.get::<_, String>(0))
    });
    text.unwrap_or_else(|_| time::wall().secs().to_string())
}
