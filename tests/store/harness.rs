//! The program, its stores, and rows to write into them.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use millstream::metrics::{FlushSink, Registry, Session, Stored};
use millstream::sink::{RunEnd, Store, StoreOpenError, StoreOptions, StoreTally, WhenFull};
use millstream::time::{Stopwatch, Timestamp};
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;

pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap");
pub const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins");

pub fn millstream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millstream")).args(arguments).output().unwrap()
}

pub fn good(arguments: &[&str]) -> String {
    let output = millstream(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What is said on standard error by something that cannot run.
pub fn refused(arguments: &[&str]) -> String {
    let output = millstream(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    said
}

pub fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&good(arguments)).unwrap()
}

/// Runs the demo capture into a store.
pub fn run_into(store: &Path, more: &[&str]) {
    let mut arguments = vec!["run", "-q", "-r", DEMO, "-p", PLUGINS, "--store", store.to_str().unwrap()];
    arguments.extend(more);
    let output = millstream(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn rows(file: &Path, sql: &str) -> Vec<Vec<Sql>> {
    let db = Connection::open(file).unwrap();
    let mut select = db.prepare(sql).unwrap();
    let columns = select.column_count();
    let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

pub fn number(file: &Path, sql: &str) -> i64 {
    match rows(file, sql)[0][0] {
        Sql::Integer(number) => number,
        Sql::Null => 0,
        ref other => panic!("{sql}: {other:?}"),
    }
}

pub fn options(file: &Path) -> StoreOptions {
    StoreOptions::new(file.to_owned(), WhenFull::Block)
}

pub fn open(options: &StoreOptions) -> Result<Store, StoreOpenError> {
    Store::open(options, Arc::new(Registry::new()), &["test".to_owned()], None)
}

/// A flow of the given number, a second after the one before.
pub fn flow(number: i64) -> Session {
    let time = Timestamp::new(1_700_000_000 + number, 0);
    Session {
        id: format!("06A:0A.00.00.01:p-{number:04X}_0A.00.00.02:p-0050").into_bytes(),
        start: time,
        end: time,
        bytes: [100, 200],
        reason: "idle",
        ..Session::default()
    }
}

pub fn fill(options: &StoreOptions, numbers: std::ops::Range<i64>) -> StoreTally {
    let store = open(options).unwrap();
    let mut sender = store.sender();
    numbers.for_each(|number| sender.flow(Box::new(flow(number)), Stored::Yes));
    drop(sender);
    store.close(RunEnd::default())
}

/// Waits for something that happens on another thread or in another process.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Stopwatch::start();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
