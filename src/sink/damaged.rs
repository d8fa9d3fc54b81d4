//! Databases that turn out to be damaged: they are moved aside, never deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error, ErrorCode, ffi};

use super::database_files;
use crate::shell::typed;
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

/// Why a damaged database is where it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReplaced {
    #[error("a new one cannot be begun: {0}")]
    NotBegun(String),
    #[error("it cannot be moved aside: {0}")]
    NotMoved(io::Error),
}

/// Puts a new database, which `begin` makes and closes, in the place of a damaged one: that is moved aside, with its log, when
/// the new one is there. Gives what `begin` gave, and the new name of the old one. Nothing in this process may have the old
/// one open: closing deletes the log by its name.
pub(super) fn replace<T>(
    path: &Path,
    begin: impl FnOnce(&Path) -> Result<T, String>,
) -> Result<(T, PathBuf), NotReplaced> {
    let fresh = unused(path, "new");
    let begun = begin(&fresh).map_err(NotReplaced::NotBegun);
    let replaced = begun.and_then(|begun| Ok((begun, put(&fresh, path).map_err(NotReplaced::NotMoved)?)));
    if replaced.is_err() {
        for file in database_files(&fresh) {
            // There may be none of it.
            let _ = fs::remove_file(file);
        }
    }
    replaced
}

/// A name beside a file's that nothing has.
fn unused(path: &Path, what: &str) -> PathBuf {
    let with = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut name = with(path, &format!(".{what}-{}", dated()));
    while name.symlink_metadata().is_ok() {
        name = with(&name, "-1");
    }
    name
}

/// Moves a database aside and puts another one in its place; gives the new name of the old one. What belongs to it goes first,
/// so that no other database is ever found with its log. If it cannot be done everything is where it was.
fn put(fresh: &Path, path: &Path) -> io::Result<PathBuf> {
    let aside = unused(path, "damaged");
    let mut moved = Vec::new();
    let result = database_files(path)
        .into_iter()
        .zip(database_files(&aside))
        .skip(1)
        .try_for_each(|(from, to)| match fs::rename(&from, &to) {
            Ok(()) => {
                moved.push((from, to));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        // With a second name it can be replaced in one step: nobody finds no file there. Not all file systems have links.
        .and_then(|()| fs::hard_link(path, &aside).or_else(|_| fs::rename(path, &aside)))
        .and_then(|()| {
            fs::rename(fresh, path).inspect_err(|_| {
                // Of two names of one file a rename would leave both.
                let _ = if path.exists() { fs::remove_file(&aside) } else { fs::rename(&aside, path) };
            })
        });
    if result.is_err() {
        for (from, to) in moved.into_iter().rev() {
            // Nothing more can be done than to try.
            let _ = fs::rename(to, from);
        }
    }
    result.map(|()| aside)
}

/// What to type to get rows out of a damaged store.
pub(super) fn advice(path: &Path) -> String {
    format!("millstream recover {} recovered.db", typed(path))
}

/// The time as part of a file name.
pub(super) fn dated() -> String {
    let text = Connection::open_in_memory().and_then(|db| {
        let sql = "SELECT strftime('%Y%m%dT%H%M%SZ', ?1, 'unixepoch')";
        db.query_row(sql, [time::wall().secs()], |row| row.get::<_, String>(0))
    });
    text.unwrap_or_else(|_| time::wall().secs().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{NotReplaced, put, replace};

    /// The files of a folder and what is in them, dates left out.
    fn files(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<(String, String)> = entries
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let name = name.chars().filter(|c| !c.is_ascii_digit()).collect();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn damaged(folder: &TempDir) -> std::path::PathBuf {
        let path = folder.path().join("a.db");
        for (end, text) in [("", "old"), ("-wal", "log"), ("-shm", "index")] {
            fs::write(format!("{}{end}", path.display()), text).unwrap();
        }
        path
    }

    #[test]
    fn a_database_goes_aside_with_all_that_belongs_to_it() {
        let folder = TempDir::new().unwrap();
        let path = damaged(&folder);
        let (given, aside) =
            replace(&path, |fresh| fs::write(fresh, "new").map(|()| 7).map_err(|e| e.to_string())).unwrap();
        assert_eq!((given, fs::read_to_string(aside).unwrap()), (7, "old".to_owned()));
        let expected = [
            ("a.db", "new"),
            ("a.db.damaged-TZ", "old"),
            ("a.db.damaged-TZ-shm", "index"),
            ("a.db.damaged-TZ-wal", "log"),
        ];
        assert_eq!(files(folder.path()), named(&expected));
        // Within the same second.
        fs::write(&path, "old again").unwrap();
        replace(&path, |fresh| fs::write(fresh, "new").map_err(|e| e.to_string())).unwrap();
        assert_eq!(files(folder.path()).len(), 5);
    }

    #[test]
    fn a_database_stays_where_no_new_one_can_be_begun() {
        let folder = TempDir::new().unwrap();
        let path = damaged(&folder);
        let before = files(folder.path());
        let full = replace(&path, |fresh| {
            fs::write(fresh, "half of it").unwrap();
            Err::<(), _>("no room".to_owned())
        });
        assert!(matches!(full, Err(NotReplaced::NotBegun(why)) if why == "no room"));
        assert_eq!(files(folder.path()), before);
        // Nor where it cannot be put in its place: nothing was made.
        assert!(matches!(replace(&path, |_| Ok(())), Err(NotReplaced::NotMoved(_))));
        assert_eq!(files(folder.path()), before);
    }

    #[test]
    fn a_log_whose_database_cannot_be_moved_stays_with_it() {
        let folder = TempDir::new().unwrap();
        let path = damaged(&folder);
        fs::remove_file(&path).unwrap();
        let before = files(folder.path());
        assert!(put(&folder.path().join("fresh"), &path).is_err());
        assert_eq!(files(folder.path()), before);
    }
}
