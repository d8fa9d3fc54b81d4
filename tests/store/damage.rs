//! Stores with pages that make no sense: they are moved aside, and what follows is stored in a new one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use millstream::guid::Guid;
use millstream::metrics::{Document, Edge, FlushSink, Registry, Resource, Shard, ShardConfig, Stored};
use millstream::sink::{
    RunEnd, StoreOpenError, StoreOptions, StoreSender, StoreTally, keep_pipeline_state, pipeline_states,
};
use millstream::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use tempfile::TempDir;

use crate::harness::{DEMO, flow, good, millstream, number, open, options, refused, rows, run_into, wait_until};
use crate::{HOSTS, mounted};

/// Overwrites the pages with the rows of a table or index, in a file that nobody has open.
pub fn damage(file: &Path, what: &str) {
    damage_pages(file, what, |_| true);
}

/// Overwrites some of these pages, by their place.
pub fn damage_pages(file: &Path, what: &str, is_chosen: impl Fn(usize) -> bool) {
    let db = Connection::open(file).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let size: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    let mut select =
        db.prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path").unwrap();
    let pages: Vec<i64> = select.query_map([what], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    drop(select);
    db.close().unwrap();
    assert!(!pages.is_empty() && !pages.contains(&1), "{what}: {pages:?}");
    let bytes = vec![0xA5; usize::try_from(size).unwrap()];
    let file = fs::File::options().write(true).open(file).unwrap();
    let place = |page: i64| u64::try_from((page - 1) * size).unwrap();
    let chosen = pages.into_iter().enumerate().filter(|(at, _)| is_chosen(*at));
    chosen.for_each(|(_, page)| file.write_all_at(&bytes, place(page)).unwrap());
}

/// Stores that were moved aside.
fn aside(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    paths.filter(is_aside).collect()
}

/// Counts a packet of so many hosts in a minute.
pub fn count(sender: &mut StoreSender, minute: i64, hosts: std::ops::Range<usize>) -> u64 {
    let registry = Registry::new();
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let group = registry.counter_index(HOSTS).unwrap();
    let mut rows = 0;
    shard.advance(Timestamp::new(1_700_000_000 + minute * 60, 0), |_| {});
    for host in hosts {
        shard.update(group, format!("0A.00.{:02X}.{:02X}", host >> 8, host & 0xFF).as_bytes(), 0, 1.0);
    }
    shard.finish(|bucket| {
        rows += bucket.len() as u64 + 1;
        sender.bucket(Arc::new(bucket));
    });
    rows
}

/// Writes a few rows of many kinds; what became of them, and how many they were.
pub fn write(options: &StoreOptions, numbers: std::ops::Range<i64>) -> (StoreTally, u64) {
    let store = open(options).unwrap();
    let mut sender = store.sender();
    let mut offered = 0;
    let group = Guid::from_u128(7);
    for number in numbers {
        let flow = flow(number);
        let (time, id) = (flow.start, Some(flow.id.clone()));
        sender.flow(Box::new(flow), Stored::Yes);
        let text = format!("document {}", number % 7).into_bytes();
        sender.document(Box::new(Document { time, group, flow: id.clone(), text }), Stored::Yes);
        let uri = b"http://example.com/".to_vec();
        sender.resource(Box::new(Resource { time, group, flow: id, uri, label: Vec::new() }), Stored::Yes);
        let key = format!("key {number}").into_bytes();
        sender.edge(time, Edge { from_guid: HOSTS, from_key: key.clone(), to_guid: HOSTS, to_key: key.clone() });
        sender.label(HOSTS, &key, b"a label", None);
        sender.attribute(HOSTS, &key, b"name", b"value");
        offered += 6;
        if number % 60 == 0 {
            offered += count(&mut sender, number / 60, 0..50);
        }
    }
    drop(sender);
    (store.close(RunEnd::default()), offered)
}

#[test]
fn whatever_page_is_damaged_the_next_run_but_one_stores_everything() {
    let folder = TempDir::new().unwrap();
    let sound = folder.path().join("sound.db");
    assert_eq!(write(&options(&sound), 0..600).0.lost(), 0);
    let names = "SELECT DISTINCT name FROM dbstat WHERE pagetype = 'leaf' AND pageno > 1";
    let names = rows(&sound, names).into_iter().map(|row| match &row[0] {
        Sql::Text(name) => name.clone(),
        other => panic!("{other:?}"),
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let mut moved = Vec::new();
    for name in &names {
        let folder = TempDir::new().unwrap();
        // Rows of all times are looked at by what deletes the old ones.
        let options =
            StoreOptions { age: Some(Duration::from_secs(86_400)), ..options(&folder.path().join("store.db")) };
        fs::copy(&sound, &options.file).unwrap();
        damage(&options.file, name);
        let (tally, offered) = write(&options, 600..1_200);
        assert_eq!(tally.written + tally.lost(), offered, "{name}: {tally:?}");
        let (tally, offered) = write(&options, 1_200..1_800);
        assert_eq!((tally.written, tally.lost()), (offered, 0), "{name}: {tally:?}");
        assert_eq!(number(&options.file, "SELECT count(*) FROM runs WHERE state = 'open'"), 0, "{name}");
        match aside(folder.path()).len() {
            0 => {}
            1 => {
                assert_eq!(rows(&options.file, "PRAGMA integrity_check"), [[Sql::Text("ok".to_owned())]], "{name}");
                moved.push(name.as_str());
            }
            more => panic!("{name}: {more}"),
        }
    }
    for name in ["groups", "meters", "keys", "runs", "windows", "flows", "documents", "resources", "labels", "edges"] {
        assert!(moved.contains(&name), "{name}: {moved:?}");
    }
}

#[test]
fn damage_that_is_found_while_a_run_writes_costs_only_what_was_not_committed() {
    let folder = TempDir::new().unwrap();
    let options = options(&folder.path().join("store.db"));
    let store = open(&options).unwrap();
    let mut sender = store.sender();
    count(&mut sender, 0, 0..4_000);
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    keep_pipeline_state(&options.file, "plugin", "pipeline", Some("paused")).unwrap();
    // Nothing looks at it before a key that is not remembered is counted.
    damage(&options.file, "sqlite_autoindex_keys_1");
    let store = open(&options).unwrap();
    assert_eq!(aside(folder.path()).len(), 0);
    let mut sender = store.sender();
    let send = |sender: &mut StoreSender, numbers: std::ops::Range<i64>| {
        numbers.for_each(|number| sender.flow(Box::new(flow(number)), Stored::Yes));
        sender.flush();
    };
    send(&mut sender, 0..1_000);
    wait_until("flows are committed", || number(&options.file, "SELECT count(*) FROM flows") == 1_000);
    let counted = count(&mut sender, 100, 0..4_000);
    sender.passed(Timestamp::new(1_800_000_000, 0));
    sender.flush();
    wait_until("the store is moved aside", || aside(folder.path()).len() == 1);
    send(&mut sender, 1_000..3_000);
    drop(sender);
    let tally = store.close(RunEnd::default());
    assert_eq!((tally.written, tally.failed, tally.lost()), (3_000, counted, counted), "{tally:?}");
    let old = aside(folder.path());
    assert_eq!(old.len(), 1, "{old:?}");
    assert_eq!(number(&old[0], "SELECT count(*) FROM flows"), 1_000);
    assert_eq!(number(&options.file, "SELECT count(*) FROM flows"), 2_000);
    assert_eq!(number(&options.file, "SELECT rows FROM runs WHERE state = 'done'"), 2_000);
    assert_eq!(number(&options.file, "SELECT rows FROM losses WHERE reason = 'store_failed'"), counted as i64);
    assert_eq!(rows(&options.file, "PRAGMA integrity_check"), [[Sql::Text("ok".to_owned())]]);
    // What was decided holds.
    let decided = ("plugin".to_owned(), "pipeline".to_owned(), "paused".to_owned());
    assert_eq!(pipeline_states(&options.file).unwrap(), [decided]);
}

/// Fills a file system but for some room.
fn fill_disk(mount: &Path, room: u64) {
    let ballast = fs::File::create(mount.join("ballast")).unwrap();
    let (mut size, chunk) = (0, [0xFF; 4_096]);
    while let Ok(written @ 1..) = ballast.write_at(&chunk, size) {
        size += written as u64;
    }
    ballast.set_len(size - room).unwrap();
}

#[test]
fn a_damaged_store_on_a_full_disk_stays_where_it_is_until_there_is_room() {
    let folder = TempDir::new().unwrap();
    let mount = folder.path().join("small");
    fs::create_dir(&mount).unwrap();
    if !mounted(mount.to_str().unwrap(), "size=24m") {
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let entries = || {
            let names = fs::read_dir(&mount).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect::<BTreeSet<_>>()
        };
        let (room, options) = (400 << 10, options(&mount.join("store.db")));
        let store = options.file.to_str().unwrap();
        // Found when a run begins.
        write(&options, 0..600);
        damage(&options.file, "flows");
        let before = fs::read(&options.file).unwrap();
        fill_disk(&mount, room);
        let said = refused(&["run", "-q", "-r", DEMO, "--store", store]);
        let parts = ["store.db: damaged (", "a new one cannot be begun: ", " full; it is where it was"];
        assert!(parts.iter().all(|part| said.contains(part)) && said.lines().count() == 1, "{said}");
        assert_eq!(entries().iter().map(String::as_str).collect::<Vec<_>>(), ["ballast", "store.db"]);
        // But for the first page, where SQLite counts who opened it.
        let page = 32 << 10;
        assert!(fs::read(&options.file).unwrap()[page..] == before[page..]);
        fs::remove_file(mount.join("ballast")).unwrap();
        run_into(&options.file, &[]);
        assert_eq!(aside(&mount).len(), 1);
        // Found while a run writes.
        fs::remove_file(&aside(&mount)[0]).unwrap();
        damage(&options.file, "sqlite_autoindex_keys_1");
        let writer = open(&options).unwrap();
        let mut sender = writer.sender();
        fill_disk(&mount, room);
        let counted = count(&mut sender, 100, 0..400);
        drop(sender);
        let tally = writer.close(RunEnd::default());
        assert_eq!((tally.written, tally.lost()), (0, counted), "{tally:?}");
        assert_eq!(entries().iter().map(String::as_str).collect::<Vec<_>>(), ["ballast", "store.db"]);
        assert!(good(&["query", "flows", "--store", store]).lines().count() > 2);
        fs::remove_file(mount.join("ballast")).unwrap();
        let writer = open(&options).unwrap();
        assert_eq!(aside(&mount).len(), 0);
        count(&mut writer.sender(), 100, 0..400);
        let _ = writer.close(RunEnd::default());
        assert_eq!(aside(&mount).len(), 1);
    });
    assert!(Command::new("umount").arg(&mount).status().unwrap().success());
    outcome.unwrap();
}

#[test]
fn questions_say_what_is_damaged_and_answer_from_the_rest() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    damage(&file, "flows");
    let store = file.to_str().unwrap();
    let page = folder.path().join("page.html");
    for arguments in [&["query", "flows"][..], &["report", "-o", page.to_str().unwrap()]] {
        let said = refused(&[arguments, &["--store", store]].concat());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("store.db: damaged: ") && said.contains("millstream recover "), "{said}");
    }
    assert!(good(&["query", "top", "Hosts", "--store", store]).lines().count() > 2);
    assert!(good(&["search", "example", "--store", store]).lines().count() > 2);
    assert_eq!(aside(folder.path()).len(), 0);
    let again = || {
        let output = millstream(&["run", "-q", "-r", DEMO, "--store", store]);
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = again();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("damaged")).collect();
    let [told] = told[..] else { panic!("{said}") };
    let old = aside(folder.path());
    let [old] = &old[..] else { panic!("{old:?}") };
    assert!(told.contains(&format!("millstream recover {} ", old.display())), "{told}");
    assert!(good(&["query", "flows", "--store", store]).lines().count() > 2);
    assert!(good(&["query", "runs", "--store", old.to_str().unwrap()]).lines().count() > 1);
    assert!(!again().contains("damaged"));
    assert_eq!(aside(folder.path()).len(), 1);
    damage(&file, "documents_fts_data");
    assert!(refused(&["search", "example", "--store", store]).contains("millstream recover"));
}

#[test]
fn no_question_moves_a_store_and_only_damage_does() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let with_version = |version: i64| {
        Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
    };
    write(&options(&file), 0..100);
    with_version(99);
    assert!(matches!(open(&options(&file)), Err(StoreOpenError::TooNew { .. })));
    // An older one, which a question brings up to date.
    with_version(7);
    damage(&file, "documents_fts_data");
    damage(&file, "flows");
    assert!(refused(&["query", "flows", "--store", file.to_str().unwrap()]).contains("damaged"));
    assert_eq!(aside(folder.path()).len(), 0);
    let locked = folder.path().join("locked.db");
    write(&options(&locked), 0..100);
    let other = Connection::open(&locked).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(open(&options(&locked)), Err(StoreOpenError::InUse { .. })));
    drop(other);
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    assert!(matches!(open(&options(&other)), Err(StoreOpenError::NotAStore { .. })));
    assert_eq!(aside(folder.path()).len(), 0);
}
