//! What comes out of damaged stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use millstream::sink::{RecoverError, RunEnd, Salvaged, recover};
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use tempfile::TempDir;

use crate::damage::{count, damage, damage_pages, write};
use crate::harness::{DEMO, fill, good, millstream, number, open, options, refused, rows, run_into};

/// Rows by table, those of counters as one.
fn counts(file: &Path) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    let sql =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%_fts%'";
    for name in rows(file, sql) {
        let Sql::Text(name) = &name[0] else { panic!("{name:?}") };
        let (of, only) = match name.strip_prefix("counters_") {
            Some(_) => ("counters", "level = 0"),
            None => (name.as_str(), "1"),
        };
        // Blocks are packed anew, and coarse counters are read from the finer ones.
        if !["lists", "rolled"].contains(&of) {
            *counts.entry(of.to_owned()).or_default() +=
                number(file, &format!("SELECT count(*) FROM {name} WHERE {only}"));
        }
    }
    counts
}

/// The tables that are not whole. Of each it is told how many rows there are, and nothing is lost in silence.
fn lost<'a>(what: &str, told: &BTreeMap<&'a str, Salvaged>, new: &Path, all: &BTreeMap<String, i64>) -> Vec<&'a str> {
    let found = counts(new);
    for (table, rows) in all {
        let (found, told) = (found.get(table).copied().unwrap_or(0), told.get(table.as_str()));
        assert!(told.is_none_or(|told| told.rows as i64 == found), "{what}: {table}");
        let may_lack = told.is_none_or(|told| !told.is_whole());
        assert!(found == *rows || may_lack && found < *rows, "{what}: {table}: {found} of {rows}");
    }
    told.iter().filter(|(_, table)| !table.is_whole()).map(|(name, _)| *name).collect()
}

#[test]
fn whatever_is_damaged_everything_else_is_recovered() {
    let folder = TempDir::new().unwrap();
    let sound = folder.path().join("sound.db");
    assert_eq!(write(&options(&sound), 0..600).0.lost(), 0);
    let names = rows(&sound, "SELECT DISTINCT name FROM dbstat WHERE pagetype = 'leaf' AND pageno > 1");
    let all = counts(&sound);
    let mut costly = Vec::new();
    for name in &names {
        let Sql::Text(name) = &name[0] else { panic!("{name:?}") };
        let (damaged, new) = (folder.path().join("damaged.db"), folder.path().join("new.db"));
        fs::copy(&sound, &damaged).unwrap();
        damage(&damaged, name);
        let before = fs::read(&damaged).unwrap();
        let told: BTreeMap<&str, Salvaged> = recover(&damaged, &new).unwrap().into_iter().collect();
        assert!(fs::read(&damaged).unwrap() == before, "{name}: it stays as it is");
        assert_eq!(rows(&new, "PRAGMA integrity_check"), [[Sql::Text("ok".to_owned())]], "{name}");
        let lost = lost(name, &told, &new, &all);
        let base = if name.starts_with("counters_") { "counters" } else { name };
        let hangs_on_it = |table: &str| table == base || ["groups", "meters"].contains(&base);
        assert!(lost.iter().all(|table| hangs_on_it(table)), "{name}: {lost:?}");
        if !lost.is_empty() {
            costly.push(base.to_owned());
        }
        // It is a store like any other.
        let (tally, offered) = write(&options(&new), 600..700);
        assert_eq!((tally.written, tally.lost()), (offered, 0), "{name}");
        for file in [&damaged, &new] {
            fs::remove_file(file).unwrap();
        }
    }
    costly.sort();
    costly.dedup();
    let expected =
        ["counters", "documents", "edges", "flows", "groups", "labels", "meters", "resources", "runs", "windows"];
    assert!(expected.iter().all(|table| costly.iter().any(|name| name == table)), "{costly:?}");
    assert!(costly.iter().all(|table| all.contains_key(table)), "no index costs anything: {costly:?}");
}

#[test]
fn of_a_store_that_was_cut_off_only_what_lay_behind_its_end_is_lost() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sound = path("sound.db");
    assert_eq!(write(&options(&sound), 0..600).0.lost(), 0);
    let all = counts(&sound);
    let [pages, size] = ["page_count", "page_size"].map(|what| number(&sound, &format!("PRAGMA {what}")));
    let flows = |file: &Path| -> BTreeSet<String> {
        rows(file, "SELECT * FROM flows").iter().map(|row| format!("{row:?}")).collect()
    };
    let all_flows = flows(&sound);
    let (mut is_lost, mut is_whole) = (BTreeSet::new(), BTreeSet::new());
    // The last page may be there in part.
    for (kept, more) in [(1, 0), (3, 1), (pages / 4, 0), (pages / 2, size / 2), (pages - 3, 0), (pages - 1, size - 9)] {
        let (cut, new) = (path("cut.db"), path("new.db"));
        fs::copy(&sound, &cut).unwrap();
        fs::File::options().write(true).open(&cut).unwrap().set_len((kept * size + more) as u64).unwrap();
        let told: BTreeMap<&str, Salvaged> = recover(&cut, &new).unwrap().into_iter().collect();
        let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.all(|name| !name.to_str().unwrap().contains("pages")), "nothing is left behind");
        assert_eq!(rows(&new, "PRAGMA integrity_check"), [[Sql::Text("ok".to_owned())]], "{kept}");
        let lost = lost(&kept.to_string(), &told, &new, &all);
        assert!(flows(&new).is_subset(&all_flows), "{kept}");
        let behind = rows(&sound, &format!("SELECT DISTINCT name FROM dbstat WHERE pageno > {kept}"));
        let is_behind = |table: &str| {
            let is = |name: &str| name == table || table == "counters" && name.starts_with("counters_");
            behind.iter().any(|name| matches!(&name[0], Sql::Text(name) if is(name)))
        };
        let hangs_on_them = ["groups", "meters", "keys"].iter().any(|table| is_behind(table));
        assert!(hangs_on_them || lost.iter().all(|table| is_behind(table)), "{kept}: {lost:?}, {behind:?}");
        is_whole.extend(told.keys().filter(|table| is_behind(table) && !lost.contains(table)).copied());
        is_lost.extend(lost);
        for file in [&cut, &new] {
            fs::remove_file(file).unwrap();
        }
    }
    let expected = ["counters", "flows", "groups", "keys", "runs"];
    assert!(expected.iter().all(|table| is_lost.contains(table)), "{is_lost:?}");
    assert!(is_whole.is_empty(), "{is_whole:?}");
}

#[test]
fn a_table_whose_definition_makes_no_sense_is_all_that_is_lost() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sound = path("sound.db");
    assert_eq!(write(&options(&sound), 0..600).0.lost(), 0);
    let all = counts(&sound);
    for (at, table) in ["counters", "edges", "flows"].into_iter().enumerate() {
        let (damaged, new) = (path(&format!("damaged-{at}.db")), path(&format!("new-{at}.db")));
        fs::copy(&sound, &damaged).unwrap();
        let sql = format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'no sense' WHERE type = 'table' AND name GLOB '{table}*'"
        );
        Connection::open(&damaged).unwrap().execute_batch(&sql).unwrap();
        let told: BTreeMap<&str, Salvaged> = recover(&damaged, &new).unwrap().into_iter().collect();
        assert_eq!(lost(table, &told, &new, &all), [table]);
    }
}

/// The rows in each page of a table.
fn cells(file: &Path, table: &str) -> Vec<i64> {
    let cells = format!("SELECT ncell FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf' ORDER BY path");
    let cells = rows(file, &cells).into_iter().map(|row| match row[0] {
        Sql::Integer(cells) => cells,
        ref other => panic!("{other:?}"),
    });
    cells.collect()
}

#[test]
fn of_a_table_the_rows_of_sound_pages_are_recovered() {
    let folder = TempDir::new().unwrap();
    let (damaged, new) = (folder.path().join("damaged.db"), folder.path().join("new.db"));
    assert_eq!(fill(&options(&damaged), 0..6_000).lost(), 0);
    let cells = cells(&damaged, "flows");
    assert!(cells.len() > 10, "{cells:?}");
    let is_damaged = |at: usize| [2, 3, 7].contains(&at);
    damage_pages(&damaged, "flows", is_damaged);
    let told: BTreeMap<&str, Salvaged> = recover(&damaged, &new).unwrap().into_iter().collect();
    let lost: i64 = cells.iter().enumerate().filter(|(at, _)| is_damaged(*at)).map(|(_, cells)| cells).sum();
    let expected = Salvaged { rows: 6_000 - lost as u64, senseless: 0, gaps: 2, unread: Some(lost as u64) };
    assert_eq!(told["flows"], expected);
    assert!(told.iter().all(|(table, told)| *table == "flows" || told.is_whole()), "{told:?}");
    // Each of them is found.
    let file = new.to_str().unwrap();
    let flows = good(&["query", "flows", "--by", "time", "--limit", "10000", "--csv", "--store", file]);
    assert_eq!(flows.lines().count() as i64 - 1, 6_000 - lost);
}

#[test]
fn of_rows_with_one_number_those_behind_the_damage_are_recovered() {
    let folder = TempDir::new().unwrap();
    let (damaged, new) = (folder.path().join("damaged.db"), folder.path().join("new.db"));
    let store = open(&options(&damaged)).unwrap();
    let mut sender = store.sender();
    (0..3).for_each(|minute| _ = count(&mut sender, minute, 0..6_000));
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    let table = format!("counters_{}", number(&damaged, "SELECT id FROM groups WHERE name = 'Hosts'"));
    let all = number(&damaged, &format!("SELECT count(*) FROM {table}"));
    assert_eq!(all, 3 * 6_001, "buckets alone");
    let cells = cells(&damaged, &table);
    assert!(cells.len() > 9, "{cells:?}");
    // One in the first bucket, one in the last.
    let places = [1, cells.len() - 2];
    damage_pages(&damaged, &table, |at| places.contains(&at));
    let lost: i64 = places.iter().map(|at| cells[*at]).sum();
    let told: BTreeMap<&str, Salvaged> = recover(&damaged, &new).unwrap().into_iter().collect();
    let expected = Salvaged { rows: (all - lost) as u64, senseless: 0, gaps: 2, unread: None };
    assert_eq!(told["counters"], expected);
    assert!(told.iter().all(|(table, told)| *table == "counters" || told.is_whole()), "{told:?}");
    assert_eq!(number(&new, &format!("SELECT count(*) FROM {table}")), all - lost);
}

#[test]
fn a_sound_store_answers_as_before_and_what_is_told_can_be_typed() {
    let folder = TempDir::new().unwrap();
    let (file, new) = (folder.path().join("it's a store.db"), folder.path().join("recovered.db"));
    run_into(&file, &[]);
    let ask = |file: &Path| {
        let questions: [&[&str]; 9] = [
            &["query", "top", "Hosts"],
            &["query", "toppers", "Hosts"],
            &["query", "keys", "Apps"],
            &["query", "series", "Hosts"],
            &["query", "flows"],
            &["query", "resources"],
            &["query", "edges"],
            &["query", "runs"],
            &["search", "example"],
        ];
        questions.map(|question| {
            good(&[question, &["--limit", "500", "--json", "--store", file.to_str().unwrap()]].concat())
        })
    };
    let before = ask(&file);
    let said = good(&["recover", file.to_str().unwrap(), new.to_str().unwrap()]);
    assert!(said.starts_with("table") && said.lines().all(|line| line.split_whitespace().count() < 4), "{said}");
    for (answer, before) in ask(&new).into_iter().zip(&before) {
        assert_eq!(&answer, before);
    }
    let again = refused(&["recover", file.to_str().unwrap(), new.to_str().unwrap()]);
    assert!(again.contains("recovered.db: is there already; name a new file"), "{again}");
    fs::remove_file(&new).unwrap();
    damage(&file, "flows");
    let moved = millstream(&["run", "-q", "-r", DEMO, "--store", file.to_str().unwrap()]);
    let moved = String::from_utf8(moved.stderr).unwrap();
    let (_, typed) = moved.trim_end().split_once("old one: millstream ").unwrap();
    let typed = format!("'{}' {typed}", env!("CARGO_BIN_EXE_millstream"));
    let output = Command::new("sh").args(["-c", &typed]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{moved}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\nflows"));
    assert_eq!(ask(&new)[..4], before[..4]);
}

#[test]
fn what_cannot_be_recovered_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text"), "this is no database at all").unwrap();
    let new = path("new.db");
    assert!(matches!(recover(&path("text"), &new), Err(RecoverError::NotAStore { .. })));
    assert!(matches!(recover(&path("none"), &new), Err(RecoverError::Unreadable { .. })));
    assert!(matches!(recover(folder.path(), &new), Err(RecoverError::NotAStore { .. })));
    write(&options(&path("store.db")), 0..10);
    assert!(matches!(recover(&path("store.db"), &path("none/new.db")), Err(RecoverError::New { .. })));
    let set = |sql: &str| rusqlite::Connection::open(path("store.db")).unwrap().execute_batch(sql).unwrap();
    set("PRAGMA user_version = 99");
    assert!(matches!(recover(&path("store.db"), &new), Err(RecoverError::TooNew { found: 99, .. })));
    set("PRAGMA user_version = 0");
    assert!(matches!(recover(&path("store.db"), &new), Err(RecoverError::NotAStore { .. })));
    set("PRAGMA application_id = 1");
    assert!(matches!(recover(&path("store.db"), &new), Err(RecoverError::NotAStore { .. })));
    assert!(!new.exists());
}
