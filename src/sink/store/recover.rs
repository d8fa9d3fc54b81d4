//! Getting what can still be read out of a damaged store, into a new one.
//!
//! What says something is copied, what only helps to find it is made anew: a damaged index costs nothing.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::open::{self, Opened, StoreOpenError};
use super::query::connect_damaged;
use super::salvage::{Salvaged, Source, copy};
use super::whole_pages::WholePages;
use super::{lists, schema};
use crate::sink::database_files;

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Not even the names of the tables can be read.
    #[error("{}: nothing can be read of it: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of something else.
    #[error("{}: not a store of millstream", path.display())]
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
    /// The new file is there already.
    #[error("{}: is there already; name a new file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The new file cannot be written.
    #[error("{}: {why}", path.display())]
    New {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Tables that are copied as a whole, before what hangs on them.
const FIRST: [Source<'static>; 2] = [Source::numbered("groups"), Source::split("meters", &["grp", "id"])];

/// The others.
const TABLES: [Source<'static>; 16] = [
    Source::numbered("runs"),
    Source::numbered("windows"),
    Source::numbered("flows"),
    Source::numbered("alerts"),
    Source::numbered("resources"),
    Source::numbered("documents"),
    Source::numbered("job_ends").since(3),
    Source::whole("open_flows", &["flow", "start"]).since(3),
    Source::split("flow_attributes", &["part", "flow", "name", "value"]).since(3),
    Source::whole("tracked", &["tracker", "bucket", "rank"]).since(3),
    Source::split("edges", &["from_grp", "from_key", "hour", "to_grp", "to_key"]),
    Source::split("labels", &["grp", "key"]),
    Source::split("attributes", &["grp", "key", "name"]),
    Source::split("jobs", &["run", "plugin"]),
    Source::split("losses", &["run", "reason"]),
    Source::whole("pipelines", &["plugin", "name"]).since(4),
];

/// Tables that an earlier version had otherwise: up to which one, and how its rows are those of today.
const OTHERWISE: [(i64, &str); 3] = [
    (1, "losses AS SELECT id AS run, 'store_failed' AS reason, lost AS rows FROM main.runs WHERE lost > 0"),
    (5, "flow_attributes AS SELECT hour AS part, flow, name, value, time FROM main.flow_attributes"),
    (7, "toppers AS SELECT grp, meter, bucket, 1 AS side, key, value, NULL AS error FROM main.toppers"),
];

/// What is made from what was copied.
const MADE_ANEW: &str = "
INSERT INTO same_texts(text, time, id) SELECT text, time, id FROM documents WHERE typeof(text) = 'integer';
INSERT INTO documents_fts(rowid, text) SELECT id, text FROM documents WHERE typeof(text) <> 'integer';
INSERT INTO attribute_parts(part, first, last) SELECT part, min(time), max(time) FROM flow_attributes GROUP BY part;";

/// Copies what can be read of a store into a new one; says for each table what became of its rows.
///
/// # Errors
/// [`RecoverError`]; then there is no new file.
pub fn recover(damaged: &Path, new: &Path) -> Result<Vec<(&'static str, Salvaged)>, RecoverError> {
    let failed = |why: String| RecoverError::New { path: new.to_owned(), why };
    check(damaged)?;
    let mut copy = new.as_os_str().to_owned();
    copy.push(".pages");
    let pages = WholePages::of(damaged, copy.into()).map_err(|error| failed(error.to_string()))?;
    let readable = pages.as_ref().map_or(damaged, |pages| &pages.path);
    let (from, version) = opened(damaged, readable)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o640).open(new) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(RecoverError::Exists { path: new.to_owned() });
        }
        Err(error) => return Err(failed(error.to_string())),
    }
    let recovered = open::create(new).map_err(StoreOpenError::without_name).and_then(|Opened { db: to, lock }| {
        let recovered = copy_all(&from, &to, version).map_err(|error| error.to_string())?;
        to.close().map_err(|(_, error)| error.to_string())?;
        drop(lock);
        Ok(recovered)
    });
    if recovered.is_err() {
        for file in database_files(new) {
            // There may be none of it.
            let _ = fs::remove_file(file);
        }
    }
    recovered.map_err(failed)
}

/// Whether it is a database.
fn check(path: &Path) -> Result<(), RecoverError> {
    let unreadable = |error: io::Error| RecoverError::Unreadable { path: path.to_owned(), why: error.to_string() };
    let is_file = path.metadata().map_err(unreadable)?.is_file();
    // To open a pipe would wait for whoever writes it.
    if !is_file || !open::is_database(path).map_err(unreadable)? {
        return Err(RecoverError::NotAStore { path: path.to_owned() });
    }
    Ok(())
}

/// The damaged store, in one read transaction, and the version of its tables. What an earlier one had otherwise is seen as it
/// would be today.
fn opened(path: &Path, readable: &Path) -> Result<(Connection, i64), RecoverError> {
    let unreadable = |why: String| RecoverError::Unreadable { path: path.to_owned(), why };
    let db = connect_damaged(readable).map_err(|error| unreadable(error.to_string()))?;
    let number =
        |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| unreadable(error.to_string()));
    let (application, found) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    if application != schema::APPLICATION || found < 1 {
        return Err(RecoverError::NotAStore { path: path.to_owned() });
    }
    if found > schema::VERSION {
        return Err(RecoverError::TooNew { path: path.to_owned(), found, known: schema::VERSION });
    }
    // A view of this connection is found before the table of its name.
    let otherwise = OTHERWISE.iter().filter(|(until, _)| found <= *until);
    let views: String = otherwise.map(|(_, view)| format!("CREATE TEMP VIEW {view}; ")).collect();
    let begin = format!("PRAGMA temp_store = MEMORY; {views}BEGIN");
    db.execute_batch(&begin).map_err(|error| unreadable(error.to_string()))?;
    Ok((db, found))
}

fn copy_all(from: &Connection, to: &Connection, version: i64) -> rusqlite::Result<Vec<(&'static str, Salvaged)>> {
    to.execute_batch("BEGIN")?;
    let mut all = Vec::new();
    for source in &FIRST {
        all.push((source.table, copy(from, to, source)?));
    }
    // What hangs on meters that are lost is lost as well.
    let is_defined = all.iter().all(|(_, table)| table.is_whole());
    let undefined = if is_defined { Salvaged::default() } else { Salvaged::gap(None) };
    let keys = all_keys(from, to)?;
    all.push(("keys", keys));
    all.push(("counters", counters(from, to)?));
    all.push(("toppers", toppers(from, to, version, undefined)?));
    let is_there = |source: &&Source<'_>| source.since <= version;
    for source in TABLES.iter().filter(is_there) {
        all.push((source.table, copy(from, to, source)?));
    }
    // A text that others name may be lost.
    let nameless = "DELETE FROM documents WHERE typeof(text) = 'integer' AND NOT EXISTS(
        SELECT 1 FROM documents named WHERE named.id = documents.text AND typeof(named.text) <> 'integer')";
    let lost = to.execute(nameless, [])? as u64;
    for (_, documents) in all.iter_mut().filter(|(table, _)| *table == "documents") {
        documents.take_back(lost);
    }
    to.execute_batch(MADE_ANEW)?;
    list_document_hours(to)?;
    schema::list_intervals(to)?;
    lists::list_rows(to)?;
    to.execute_batch("COMMIT")?;
    Ok(all)
}

/// Enters the first and the last document of each hour; to have them sorted would take room for all of them.
fn list_document_hours(to: &Connection) -> rusqlite::Result<()> {
    let mut hours: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let sql = "SELECT (time / 3600000000000 - (time % 3600000000000 < 0)) * 3600, id FROM documents WHERE grp > 0";
    let mut select = to.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(1)?;
        let (first, last) = hours.entry(row.get(0)?).or_insert((id, id));
        (*first, *last) = (id.min(*first), id.max(*last));
    }
    let mut insert = to.prepare("INSERT INTO document_hours(hour, first, last) VALUES(?1, ?2, ?3)")?;
    hours.into_iter().try_for_each(|(hour, (first, last))| insert.execute([hour, first, last]).map(drop))
}

/// Keys stand in a table and in its index: one of them is enough.
fn all_keys(from: &Connection, to: &Connection) -> rusqlite::Result<Salvaged> {
    let mut keys = copy(from, to, &Source::numbered("keys"))?;
    if !keys.is_whole() {
        let of_index = copy(from, to, &Source::whole("keys", &["key"]))?;
        let rows = keys.rows + of_index.rows;
        keys = if of_index.is_whole() { of_index } else { keys };
        keys.rows = rows;
    }
    Ok(keys)
}

/// Numbers that a statement finds.
fn numbers(db: &Connection, sql: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    db.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The buckets of all groups; coarser intervals are read from them.
fn counters(from: &Connection, to: &Connection) -> rusqlite::Result<Salvaged> {
    let there = "SELECT CAST(substr(name, 10) AS INTEGER), 0 FROM sqlite_master WHERE name GLOB 'counters_[0-9]*'";
    let (there, mut all) = match numbers(from, there) {
        Ok(there) => (there, Salvaged::default()),
        // Others may have been there.
        Err(_) => (Vec::new(), Salvaged::gap(None)),
    };
    for (group, _) in &there {
        if !to.prepare_cached("SELECT 1 FROM groups WHERE id = ?1")?.exists([group])? {
            // Nobody knows of what they are.
            all.add(Salvaged::gap(None));
        }
    }
    for (group, _) in numbers(to, "SELECT id, 0 FROM groups WHERE kind = 'counter' ORDER BY id")? {
        let table = schema::counters(group);
        let columns = from.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).and_then(|mut select| {
            select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<String>, _>>()
        });
        let columns = columns.unwrap_or_default();
        if columns.is_empty() {
            // Its first page is lost, or it was never counted.
            if there.contains(&(group, 0)) {
                all.add(Salvaged::gap(None));
            }
            continue;
        }
        let is_word = |column: &&String| {
            let number = column.strip_prefix(['m', 'n']);
            number.is_some_and(|number| number.parse::<u8>().is_ok())
        };
        let words: String = columns.iter().filter(is_word).map(|column| format!(", {column} REAL")).collect();
        to.execute_batch(&schema::make_counters(group, &words))?;
        let order = ["bucket", "key"];
        let source = Source { only: "level = 0", ..Source::split(&table, &order) };
        all.add(copy(from, to, &source)?);
        all.take_back(without_keys(to, &table)?);
    }
    Ok(all)
}

/// Toppers meter by meter: so they are in the order of their time. Adds them up to what is known of others.
fn toppers(from: &Connection, to: &Connection, version: i64, mut all: Salvaged) -> rusqlite::Result<Salvaged> {
    // What is not in the order of its index is sorted, and what cannot be sorted as a whole is lost as a whole.
    let order: &[&str] = if version < 8 { &["bucket", "key"] } else { &["bucket", "side", "key"] };
    for (group, meter) in numbers(to, "SELECT grp, id FROM meters ORDER BY grp, id")? {
        let only = format!("grp = {group} AND meter = {meter}");
        let source = Source { only: &only, ..Source::split("toppers", order) };
        all.add(copy(from, to, &source)?);
    }
    all.take_back(without_keys(to, "toppers")?);
    Ok(all)
}

/// Deletes the rows whose key is lost: nothing could be said about them. Tells how many.
fn without_keys(to: &Connection, table: &str) -> rusqlite::Result<u64> {
    Ok(to.execute(&format!("DELETE FROM {table} WHERE key NOT IN (SELECT id FROM keys)"), [])? as u64)
}
