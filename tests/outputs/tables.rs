//! Tables, and lines for people.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::run::{DEMO, IN_FLOWS, begin, noisy, output, report, run, signal, timed, wait_until};

/// A reader of tables: rows of fields.
fn read(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).expect("tables are UTF-8");
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.next() == Some('\n') => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    assert!(row.is_empty() && field.is_empty() && !quoted, "{} ends within a row", path.display());
    rows
}

#[test]
fn tables_hold_what_the_report_counts() {
    let dir = TempDir::new().unwrap();
    let (plugin, csv) = (noisy(dir.path(), 1_000), dir.path().join("csv"));
    let arguments = ["-r", DEMO, "-p", &plugin, "--csv", csv.to_str().unwrap(), "--builtin", "Hosts"];
    let report = report(&arguments, 0);
    let mut rows = 0;
    for name in ["counters", "flows", "alerts", "resources", "documents"] {
        let table = read(&csv.join(format!("{name}.csv")));
        let columns = table[0].len();
        assert!(table.len() > 1 || name == "documents", "{name}");
        assert!(table.iter().all(|row| row.len() == columns), "{name}");
        rows += table.len() as u64 - 1;
    }
    assert_eq!(output(&report, "csv")["written"].as_u64(), Some(rows));
    let flows = read(&csv.join("flows.csv"));
    assert_eq!(flows.len() as u64 - 1, report["flows"]["created"].as_u64().unwrap());
    let packets = |row: &Vec<String>| row[8].parse::<u64>().unwrap() + row[9].parse::<u64>().unwrap();
    assert_eq!(flows[1..].iter().map(packets).sum::<u64>(), IN_FLOWS);
    let alerts = read(&csv.join("alerts.csv"));
    assert!(alerts[1][11].starts_with("a big \"packet\"\r\n\u{1b}[2J \\xFF, "), "{:?}", alerts[1]);
    let counters = read(&csv.join("counters.csv"));
    assert!(counters.iter().any(|row| row[3] == "Hosts"), "{:?}", counters[1]);
}

#[test]
fn tables_stand_beside_a_store() {
    let dir = TempDir::new().unwrap();
    let (csv, store) = (dir.path().join("csv"), dir.path().join("store.db"));
    let report = report(&["-r", DEMO, "--csv", csv.to_str().unwrap(), "--store", store.to_str().unwrap()], 0);
    assert!(report["store"]["rows"].as_u64().unwrap() > 0);
    assert!(output(&report, "csv")["written"].as_u64().unwrap() > 0);
}

#[test]
fn a_line_is_printed_on_each_thing_as_it_happens() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_000);
    let output = run(&["-r", DEMO, "-p", &plugin, "--print", "alerts,resources,flows,documents", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("lines are UTF-8");
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "nothing moves the cursor");
    for kind in ["alert", "resource", "flow", "document"] {
        assert!(text.lines().any(|line| line.split("  ").nth(1) == Some(kind)), "{kind}: {text}");
    }
    assert!(text.lines().all(|line| line.starts_with("20") && line.len() < 4_000), "every line begins with a time");
    let quiet = run(&["-r", DEMO, "-p", &plugin, "--print", "alerts", "-q"]);
    let lines = String::from_utf8(quiet.stdout).unwrap();
    assert!(lines.lines().all(|line| line.contains("  alert  ")));
    let json = run(&["-r", DEMO, "-p", &plugin, "--print", "alerts", "--json"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&json.stdout).is_ok(), "lines go to standard error");
    assert!(String::from_utf8_lossy(&json.stderr).contains("  alert  "));
}

/// The beginning of the demo, a packet a second, all in one window.
fn slow_capture(dir: &Path) -> String {
    let demo = fs::read(DEMO).unwrap();
    let (mut slow, mut at) = (demo[..24].to_vec(), 24);
    for second in 60..118_u32 {
        let bytes = u32::from_le_bytes(*demo[at + 8..].first_chunk().unwrap()) as usize;
        slow.extend(second.to_le_bytes());
        slow.extend(&demo[at + 4..at + 16 + bytes]);
        at += 16 + bytes;
    }
    let path = dir.join("slow.pcap");
    fs::write(&path, slow).unwrap();
    path.display().to_string()
}

#[test]
fn what_nobody_votes_on_leaves_long_before_its_window_closes() {
    let dir = TempDir::new().unwrap();
    let (capture, noisy) = (slow_capture(dir.path()), noisy(dir.path(), 0));
    let monitor = dir.path().join("monitor.lua");
    let text = "TrisulPlugin = { id = { name = 'm', description = 'd' }, \
                engine_monitor = { onbeginflush = function(engine, time) end } }";
    fs::write(&monitor, text).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let fixed = ["-r", &capture, "--speed", "1", "-q", "-p", &noisy];
    let [past, beside, both, csv] = ["past.db", "beside.db", "both.db", "csv"].map(path);
    let monitor = monitor.display().to_string();
    let cases: [&[&str]; 3] = [
        &["--store", &past],
        &["--store", &beside, "-p", &monitor],
        &["--store", &both, "--csv", &csv, "-p", &monitor],
    ];
    let rows = |store: &str, kind: &str| {
        let asked = Command::new(super::run::BIN).args(["query", kind, "--store", store, "--json"]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&asked.stdout).map_or(0, |rows| rows.as_array().map_or(0, Vec::len))
    };
    let children = cases.map(|more| begin(&[&fixed[..], more].concat()));
    let ((), time) = timed(|| {
        for store in [&past, &beside, &both] {
            wait_until(store, || rows(store, "alerts") > 0 && rows(store, "resources") > 0);
        }
        let there = |name: &str| fs::read_to_string(path(name)).is_ok_and(|table| table.lines().count() > 1);
        wait_until("the tables", || there("csv/alerts.csv") && there("csv/resources.csv"));
    });
    assert!(time < Duration::from_secs(40), "{time:?}");
    for child in children {
        signal(&child, "-TERM");
        assert!(child.wait_with_output().unwrap().status.success());
    }
}
