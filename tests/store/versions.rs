//! Stores of earlier versions: what each version added is taken away again, and opening brings it back.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::harness::{good, number, rows, run_into};

/// What each version added, taken away again, from the last one on.
const ADDED: [&str; 7] = [
    "CREATE TABLE largest(grp INTEGER NOT NULL, meter INTEGER NOT NULL, bucket INTEGER NOT NULL, key INTEGER NOT NULL,
       value REAL NOT NULL, PRIMARY KEY(grp, meter, bucket, key)) WITHOUT ROWID;
     INSERT INTO largest SELECT grp, meter, bucket, key, value FROM toppers WHERE side = 1; DROP TABLE toppers;
     ALTER TABLE largest RENAME TO toppers;",
    "DROP TABLE same_texts; DROP TRIGGER documents_delete;
     CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
       INSERT INTO documents_fts(documents_fts, rowid, text) VALUES('delete', old.id, old.text);
     END;
     INSERT INTO documents_fts(rowid, text) SELECT d.id, s.text FROM documents d JOIN documents s ON s.id = d.text
       WHERE typeof(d.text) = 'integer';
     UPDATE documents SET text = (SELECT s.text FROM documents s WHERE s.id = documents.text)
       WHERE typeof(text) = 'integer';",
    "CREATE TABLE flow_sizes(bytes INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(bytes, id)) WITHOUT ROWID;
     INSERT INTO flow_sizes(bytes, id) SELECT bytes, id FROM flows; DROP TABLE lists;
     CREATE INDEX flows_start ON flows(start); CREATE INDEX resources_group ON resources(grp, time);
     CREATE INDEX documents_group ON documents(grp, time);
     ALTER TABLE flow_attributes RENAME COLUMN part TO hour; DROP TABLE attribute_parts;
     UPDATE flow_attributes SET hour = time / 3600000000000 * 3600;",
    "DROP TABLE intervals; DROP TABLE document_hours; CREATE INDEX alerts_time ON alerts(time);
     CREATE INDEX resources_time ON resources(time); CREATE INDEX documents_time ON documents(time);",
    "DROP TABLE pipelines;",
    "DROP TABLE flow_attributes; DROP TABLE open_flows; DROP TABLE tracked; DROP TABLE job_ends; DROP TABLE flow_sizes;
     CREATE INDEX flows_bytes ON flows(bytes);
     CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
       INSERT INTO documents_fts(rowid, text) VALUES(new.id, new.text);
     END;",
    "DROP TABLE losses; UPDATE runs SET lost = 7;",
];

/// A store of an earlier version.
fn old(file: &Path, version: usize) {
    run_into(file, &[]);
    let db = Connection::open(file).unwrap();
    db.execute_batch(&ADDED[..ADDED.len() + 1 - version].concat()).unwrap();
    db.pragma_update(None, "user_version", version as i64).unwrap();
}

#[test]
fn an_older_store_is_brought_up_to_date_when_it_is_opened() {
    let folder = TempDir::new().unwrap();
    let old = |name: &str, version: usize| {
        let file = folder.path().join(name);
        old(&file, version);
        file
    };
    for version in 1..=ADDED.len() {
        let (written, read) = (old(&format!("written-{version}"), version), old(&format!("read-{version}"), version));
        let before = number(&written, "SELECT count(*) FROM flows");
        run_into(&written, &[]);
        assert!(good(&["query", "top", "Hosts", "--store", read.to_str().unwrap()]).lines().count() > 2);
        for file in [&written, &read] {
            assert_eq!(number(file, "PRAGMA user_version"), millstream::sink::STORE_VERSION);
            assert!(good(&["query", "flows", "--store", file.to_str().unwrap()]).lines().count() > 2);
        }
        assert_eq!(number(&written, "SELECT count(*) FROM flows"), 2 * before);
        assert!(number(&written, "SELECT count(*) FROM flow_attributes") > 0);
        // Lists made of older tables are those that are kept from the beginning.
        let new = folder.path().join("new");
        if !new.exists() {
            run_into(&new, &[]);
        }
        for table in ["intervals", "document_hours"] {
            let all = format!("SELECT * FROM {table}");
            let found = rows(&new, &all);
            assert!(!found.is_empty());
            assert_eq!(rows(&read, &all), found, "{table} of version {version}");
        }
        let toppers =
            |error| format!("SELECT grp, meter, bucket, side, key, value, {error} FROM toppers WHERE side = 1");
        assert_eq!(rows(&read, &toppers("error")), rows(&new, &toppers("NULL")), "toppers of version {version}");
        let lists = "SELECT list, grp, first, last, newest, entries FROM lists ORDER BY list, grp, first";
        assert_eq!(rows(&read, lists), rows(&new, lists), "lists of version {version}");
        for question in [["flows", "--by=time"], ["flows", "--by=bytes"], ["resources", "--json"], ["docs", "--json"]] {
            let asked = |file: &Path| good(&["query", question[0], question[1], "--store", file.to_str().unwrap()]);
            // Attributes are kept since version 3.
            if version >= 3 || question[0] != "flows" {
                assert_eq!(asked(&read), asked(&new), "{question:?} of version {version}");
            }
        }
        assert_eq!(number(&written, "SELECT count(*) FROM sqlite_master WHERE name LIKE '%_time'"), 0);
        let words = "SELECT sum(1 + (SELECT count(*) FROM same_texts s WHERE s.text = f.rowid)) FROM documents_fts f
            WHERE documents_fts MATCH 'host'";
        assert_eq!(number(&written, words), 2 * number(&read, words));
        assert_eq!(number(&written, "SELECT count(*) FROM runs WHERE state = 'done'"), 2);
        if version == 1 {
            assert_eq!(number(&read, "SELECT rows FROM losses WHERE run = 1 AND reason = 'store_failed'"), 7);
        }
    }
}

#[test]
fn an_older_store_is_recovered_as_it_would_be_if_it_were_of_today() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    run_into(&path("new"), &[]);
    for version in 1..=ADDED.len() {
        let (damaged, recovered) = (path(&format!("damaged-{version}")), path(&format!("recovered-{version}")));
        old(&damaged, version);
        let (damaged, file) = (damaged.to_str().unwrap(), recovered.to_str().unwrap());
        let said = good(&["recover", damaged, file]);
        assert!(said.lines().all(|line| line.split_whitespace().count() < 4), "nothing is lost of {version}: {said}");
        assert_eq!(number(&recovered, "PRAGMA user_version"), millstream::sink::STORE_VERSION);
        let toppers =
            |error| format!("SELECT grp, meter, bucket, side, key, value, {error} FROM toppers WHERE side = 1");
        assert_eq!(rows(&recovered, &toppers("error IS NULL")), rows(&path("new"), &toppers("1")));
        for question in [&["top", "Hosts"][..], &["series", "Hosts"], &["flows"], &["resources"], &["docs"]] {
            let ask = |file: &str| good(&[&["query"], question, &["--limit=500", "--json", "--store", file]].concat());
            // Attributes are kept since version 3.
            if version >= 3 || question != ["flows"] {
                assert_eq!(ask(file), ask(path("new").to_str().unwrap()), "{question:?} of version {version}");
            }
        }
        let words = "SELECT sum(1 + (SELECT count(*) FROM same_texts s WHERE s.text = f.rowid)) FROM documents_fts f
            WHERE documents_fts MATCH 'host'";
        assert_eq!(number(&recovered, words), number(&path("new"), words));
        let lost = "SELECT rows FROM losses WHERE run = 1 AND reason = 'store_failed'";
        let lost = rows(&recovered, lost);
        assert_eq!(lost.len(), usize::from(version == 1), "{lost:?} of version {version}");
    }
}
