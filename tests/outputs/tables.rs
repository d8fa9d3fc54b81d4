//! Tables, and lines for people.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::run::{
    BIN, DEMO, Disk, IN_FLOWS, begin, dropped, lost, noisy, output, report, run, signal, timed, wait_until,
};
use super::stream::fed;

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
        let asked = Command::new(BIN).args(["query", kind, "--store", store, "--json"]).output().unwrap();
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

const TABLES: [&str; 5] = ["counters", "flows", "alerts", "resources", "documents"];

/// Rows of all tables of a folder, which are whole.
fn rows(folder: &Path) -> u64 {
    TABLES.map(|name| read(&folder.join(format!("{name}.csv"))).len() as u64 - 1).iter().sum()
}

#[test]
fn a_disk_that_is_full_costs_rows_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "256k") else { return };
    let plugin = noisy(dir.path(), 100);
    let [whole, small] = [dir.path(), disk.path()].map(|place| place.join("csv"));
    let all = report(&["-r", DEMO, "-p", &plugin, "--csv", whole.to_str().unwrap()], 0);
    let report = report(&["-r", DEMO, "-p", &plugin, "--csv", small.to_str().unwrap()], 1);
    let csv = output(&report, "csv");
    assert_eq!(csv["written"].as_u64(), Some(rows(&small)), "what is there is whole rows");
    assert!(rows(&small) > 0 && dropped(csv, "csv_not_written") > 0, "{csv}");
    assert_eq!(Some(rows(&small) + lost(csv)), output(&all, "csv")["written"].as_u64(), "{csv}");
    assert!(csv["failure"].as_str().unwrap().contains("space"), "{csv}");
    assert_eq!((&report["run"]["packets"], &report["flows"]["created"]), (&3399.into(), &all["flows"]["created"]));
}

#[test]
fn tables_on_a_disk_that_has_room_again_are_written_again() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64m") else { return };
    let (csv, errors) = (disk.path().join("csv"), dir.path().join("errors"));
    let length = || fs::metadata(csv.join("flows.csv")).map_or(0, |about| about.len());
    let (mut ballast, mut stuck) = (None, None);
    let code = fed(&["-q", "--csv", csv.to_str().unwrap()], &errors, |times| {
        assert!(times < 600, "{}", fs::read_to_string(&errors).unwrap());
        match (&ballast, stuck) {
            (None, _) if length() > 1_000 => ballast = Some(disk.fill()),
            (Some(full), None) if fs::read_to_string(&errors).unwrap().contains("No space left") => {
                stuck = Some(length());
                fs::remove_file(full).unwrap();
            }
            _ => {}
        }
        stuck.is_some_and(|stuck| length() > stuck)
    });
    assert_eq!(code, 1, "some were lost");
    let said = fs::read_to_string(&errors).unwrap();
    assert!(said.contains(".csv: No space left") && said.contains("its rows are lost until it works again"), "{said}");
    assert!(rows(&csv) > 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_the_run() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let refused = |csv: &str| {
        let output = run(&["-r", DEMO, "-q", "--csv", csv]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        said
    };
    fs::write(path("file"), "kept").unwrap();
    for (csv, why) in
        [(path("file"), "not a directory"), (path("file/csv"), "not a directory"), ("/proc/csv".into(), "")]
    {
        let said = refused(&csv);
        assert!(
            said.contains(&csv) && said.contains("cannot be written") && said.to_lowercase().contains(why),
            "{said}"
        );
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
    fs::create_dir_all(path("csv/alerts.csv")).unwrap();
    assert!(refused(&path("csv")).contains("alerts.csv: is a directory"));
    // A disk that holds not even the names of the columns.
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64k") else { return };
    fs::create_dir(disk.path().join("csv")).unwrap();
    for name in TABLES {
        fs::write(disk.path().join(format!("csv/{name}.csv")), "").unwrap();
    }
    disk.fill();
    assert!(refused(disk.path().join("csv").to_str().unwrap()).contains("No space left"));
}

#[test]
fn rows_of_a_folder_that_is_removed_in_the_middle_are_lost_and_that_is_told() {
    let dir = TempDir::new().unwrap();
    let (csv, errors) = (dir.path().join("csv"), dir.path().join("errors"));
    let said = || fs::read_to_string(&errors).unwrap();
    let mut removed = false;
    let code = fed(&["-q", "--csv", csv.to_str().unwrap()], &errors, |times| {
        assert!(times < 600, "{}", said());
        if !removed && fs::metadata(csv.join("flows.csv")).is_ok_and(|about| about.len() > 1_000) {
            fs::remove_dir_all(&csv).unwrap();
            removed = true;
        }
        removed && said().contains("flows.csv: the file was deleted; SIGHUP makes a new one")
    });
    assert_eq!(code, 1, "{}", said());
    assert!(!csv.exists(), "nothing is made that nobody asked for");
}
