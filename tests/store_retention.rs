//! What is deleted of a store, by age and by size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "store/harness.rs"]
#[allow(dead_code, reason = "shared by several files of tests")]
mod harness;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use harness::{fill, flow, json, number, open, options};
use millstream::guid::Guid;
use millstream::metrics::{Document, FlushSink, Registry, Session, Shard, ShardConfig, Stored};
use millstream::sink::{RunEnd, Store, StoreOptions};
use millstream::time::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;

#[test]
fn old_rows_are_deleted_by_age_and_by_size() {
    let folder = TempDir::new().unwrap();
    let aged = folder.path().join("aged");
    let tally = fill(&StoreOptions { age: Some(Duration::from_secs(1_000)), ..options(&aged) }, 0..200_000);
    assert_eq!(number(&aged, "SELECT count(*) FROM flows"), 1_001);
    assert_eq!((tally.written, tally.deleted), (200_000, 200_000 - 1_001));
    // Numbers of rows may be given again: what was listed of the old ones is not taken for the new.
    let write = |age: Option<u64>, flows: [Session; 2]| {
        let store = open(&StoreOptions { age: age.map(Duration::from_secs), ..options(&aged) }).unwrap();
        let mut sender = store.sender();
        flows.into_iter().for_each(|flow| sender.flow(Box::new(flow), Stored::Yes));
        drop(sender);
        assert_eq!(store.close(RunEnd::default()).lost(), 0);
    };
    write(Some(500), [flow(300_000), flow(100)]);
    assert_eq!(number(&aged, "SELECT count(*) FROM flows"), 1);
    let last = number(&aged, "SELECT newest FROM lists WHERE list = 2 ORDER BY id DESC");
    write(None, [Session { bytes: [1, 2], ..flow(300_001) }, flow(300_002)]);
    assert_eq!(number(&aged, &format!("SELECT bytes FROM flows WHERE id = {last}")), 3);
    for by in ["bytes", "time"] {
        let found = json(&["query", "flows", "--by", by, "--json", "--store", aged.to_str().unwrap()]);
        let mut bytes: Vec<i64> = found.as_array().unwrap().iter().map(|row| row["bytes"].as_i64().unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, [3, 300, 300], "by {by}");
    }
    let listed = |list: i64| number(&aged, &format!("SELECT count(*) FROM lists WHERE list = {list}"));
    assert_eq!((listed(1), listed(2)), (2, 2));
    let small = folder.path().join("small");
    let tally = fill(&StoreOptions { total_bytes: Some(4 << 20), ..options(&small) }, 0..300_000);
    assert!(tally.deleted > 100_000, "{tally:?}");
    let size = fs::metadata(&small).unwrap().len();
    assert!(size <= 5 << 20, "{size}");
    assert_eq!(number(&small, "SELECT max(start) / 1000000000 FROM flows"), 1_700_299_999);
    assert_eq!(number(&small, "SELECT count(*) FROM flows") as u64, tally.written - tally.deleted);
}

#[test]
fn a_flow_is_as_old_as_its_end() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aged");
    let at = |second: i64| Timestamp::new(1_700_000_000 + second, 0);
    let write = |age: u64, flows: &mut dyn Iterator<Item = Session>| {
        let store = open(&StoreOptions { age: Some(Duration::from_secs(age)), ..options(&file) }).unwrap();
        let mut sender = store.sender();
        flows.for_each(|flow| sender.flow(Box::new(flow), Stored::Yes));
        drop(sender);
        assert_eq!(store.close(RunEnd::default()).lost(), 0);
    };
    // Of every ten that begin together one lasts for 3,000 seconds.
    let short = |number| flow(number);
    let long = |number| Session { end: at(number + 3_000), bytes: [5_000, 0], ..flow(number) };
    write(
        1_000,
        &mut (0..5_000).map(|number| if number % 10 == 0 && number < 2_000 { long(number) } else { short(number) }),
    );
    let count = |condition: &str| number(&file, &format!("SELECT count(*) FROM flows WHERE {condition}"));
    // The latest ends with 4,999.
    assert_eq!(count("end < 1700003999000000000"), 0);
    assert_eq!((count("bytes = 5000"), count("bytes < 5000")), (100, 1_001));
    // They are found by when they began.
    let shown = |by: &str, from: i64, to: i64| {
        let time = |second: i64| (1_700_000_000 + second).to_string();
        let arguments = ["--from", &time(from), "--to", &time(to), "--limit", "10000", "--json"];
        let found =
            json(&[&["query", "flows", "--by", by, "--store", file.to_str().unwrap()], &arguments[..]].concat());
        found.as_array().unwrap().len()
    };
    for by in ["time", "bytes"] {
        assert_eq!((shown(by, 0, 999), shown(by, 1_000, 1_499), shown(by, 1_500, 3_998)), (0, 50, 50), "by {by}");
        assert_eq!(shown(by, 3_999, 5_000), 1_001, "by {by}");
    }
    // Later they are old as well.
    write(1_000, &mut (5_500..5_501).map(short));
    assert_eq!((count("bytes = 5000"), count("bytes < 5000")), (50, 501));
    write(1_000, &mut (9_000..9_001).map(short));
    assert_eq!((count("1"), number(&file, "SELECT count(*) FROM lists WHERE list = 1")), (1, 1));
}

#[test]
fn documents_that_share_a_text_are_deleted_by_age_and_the_text_with_the_last_of_them() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aged");
    let age = |secs| Some(Duration::from_secs(secs));
    let group = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3F}");
    let write = |age: Option<Duration>, seconds: std::ops::Range<i64>| {
        let store = open(&StoreOptions { age, ..options(&file) }).unwrap();
        let mut sender = store.sender();
        for second in seconds {
            let text = if second % 2 == 0 { "even certificate" } else { "odd certificate" };
            // Within an hour.
            let time = Timestamp::new(1_699_999_200 + second, 0);
            let document = Document { time, group, flow: None, text: text.as_bytes().to_vec() };
            sender.document(Box::new(document), Stored::Yes);
        }
        drop(sender);
        store.close(RunEnd::default())
    };
    let tally = write(age(1_000), 0..3_000);
    assert_eq!((tally.written, tally.deleted, tally.lost()), (3_000, 1_999, 0), "{tally:?}");
    let found = |words: &str| {
        let store = file.to_str().unwrap();
        json(&["search", words, "--limit", "10000", "--json", "--store", store]).as_array().unwrap().len()
    };
    let store = file.to_str().unwrap();
    let shown = || json(&["query", "docs", "--limit", "10000", "--json", "--store", store]).as_array().unwrap().len();
    assert_eq!((found("certificate"), found("odd"), shown()), (1_001, 501, 1_001));
    assert_eq!(number(&file, "SELECT count(*) FROM documents WHERE typeof(text) = 'text'"), 2);
    // Another run knows nothing of the texts that are there.
    write(age(10), 3_000..3_100);
    assert_eq!((found("certificate"), found("odd"), shown()), (11, 6, 11));
    assert_eq!(number(&file, "SELECT count(*) FROM documents WHERE typeof(text) = 'text'"), 2);
    assert_eq!(number(&file, "SELECT count(*) FROM same_texts"), 11);
    let db = Connection::open(&file).unwrap();
    db.execute_batch("INSERT INTO documents_fts(documents_fts) VALUES('integrity-check')").unwrap();
}

#[test]
fn a_row_from_the_future_makes_no_other_row_old() {
    let folder = TempDir::new().unwrap();
    let (year_2096, numbers) = (2_300_000_000, 0..1_000);
    let aged =
        StoreOptions { age: Some(Duration::from_secs(20 * 365 * 86_400)), ..options(&folder.path().join("aged")) };
    let small = StoreOptions { total_bytes: Some(3 << 20), ..options(&folder.path().join("small")) };
    let count = |options: &StoreOptions| number(&options.file, "SELECT count(*) FROM flows");
    fill(&aged, numbers);
    assert_eq!(fill(&aged, year_2096..year_2096 + 1).deleted, 0);
    assert_eq!(count(&aged), 1_001);
    fill(&small, year_2096..year_2096 + 1);
    let tally = fill(&small, 0..100_000);
    assert!(tally.deleted > 10_000, "{tally:?}");
    assert!(count(&small) > 5_000, "{}", count(&small));
    // Where all rows are of a time to come, the size is kept all the same.
    let late = StoreOptions { file: folder.path().join("late"), ..small };
    let tally = fill(&late, year_2096..year_2096 + 100_000);
    assert!(tally.deleted > 10_000 && fs::metadata(&late.file).unwrap().len() <= 4 << 20, "{tally:?}");
}

#[test]
fn by_size_as_well_a_flow_is_as_old_as_its_end() {
    let folder = TempDir::new().unwrap();
    let options = StoreOptions { total_bytes: Some(3 << 20), ..options(&folder.path().join("small")) };
    let count = 60_000;
    let at = |second: i64| Timestamp::new(1_700_000_000 + second, 0);
    let store = open(&options).unwrap();
    let mut sender = store.sender();
    for number in 0..count {
        // One lasts for the whole time, a few for most of it.
        let end = if number == 0 || (number % 100 == 0 && number < 30_000) { at(count - 1) } else { at(number) };
        sender.flow(Box::new(Session { end, ..flow(number) }), Stored::Yes);
    }
    drop(sender);
    let tally = store.close(RunEnd::default());
    assert!(tally.deleted > 10_000, "{tally:?}");
    let size = fs::metadata(&options.file).unwrap().len();
    assert!(size <= 4 << 20, "{size}");
    let count_of = |condition: &str| number(&options.file, &format!("SELECT count(*) FROM flows WHERE {condition}"));
    assert_eq!(count_of("1") as u64, tally.written - tally.deleted);
    // What is left is what ended last, whenever it began.
    let first = number(&options.file, "SELECT min(end) / 1000000000 - 1700000000 FROM flows");
    assert!(first > 10_000 && first < count - 1_000, "{first}");
    let long = (0..first).filter(|number| number % 100 == 0 && *number < 30_000).count() as i64;
    assert_eq!(count_of("end > start"), (0..30_000).filter(|number| number % 100 == 0).count() as i64);
    assert_eq!(count_of("1"), count - first + long);
}

#[test]
fn keys_go_with_the_last_counter_that_names_them() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aged");
    let hosts = Guid::literal("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}");
    // Counts keys in the minutes of an hour.
    let write = |age: Option<Duration>, hour: i64, keys: &[&str]| {
        let registry = Arc::new(Registry::new());
        let options = StoreOptions { age, ..options(&file) };
        let store = Store::open(&options, Arc::clone(&registry), &["test".to_owned()], None).unwrap();
        let (mut sender, mut shard) = (store.sender(), Shard::new(&registry, ShardConfig::default()));
        let group = registry.counter_index(hosts).unwrap();
        for (minute, key) in (0..).zip(keys) {
            let time = Timestamp::new(1_699_999_200 + hour * 3_600 + minute * 60, 0);
            shard.advance(time, |bucket| sender.bucket(Arc::new(bucket)));
            shard.update(group, key.as_bytes(), 0, 1.0);
        }
        shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
        drop(sender);
        let tally = store.close(RunEnd::default());
        assert_eq!(tally.lost(), 0);
        tally.deleted
    };
    let keys = || number(&file, "SELECT count(*) FROM keys");
    let (early, both, late) = ("0A.00.00.01", "0A.00.00.02", "0A.00.00.03");
    assert_eq!(write(None, 0, &[early, both]), 0);
    let totals = keys() - 2;
    assert!((0..=1).contains(&totals), "{totals}");
    // Nothing is old yet, and nobody looks for keys that are not named.
    assert_eq!(write(Some(Duration::from_secs(86_400)), 10, &[both, late]), 0);
    assert_eq!(keys(), totals + 3);
    assert!(write(Some(Duration::from_secs(5 * 3_600)), 11, &[late]) > 0);
    assert_eq!(keys(), totals + 2);
    // What is left is found by its key.
    let store = file.to_str().unwrap();
    let top = json(&["query", "top", "Hosts", "--store", store, "--json"]).to_string();
    assert!(top.contains("10.0.0.2") && top.contains("10.0.0.3") && !top.contains("10.0.0.1"), "{top}");
}
