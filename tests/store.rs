//! The store: what goes in comes out, whatever ends the run, and what is refused with what to type instead.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "store/edges.rs"]
mod edges;
#[path = "store/harness.rs"]
#[allow(dead_code, reason = "shared by several files of tests")]
mod harness;
#[path = "store/report.rs"]
mod report;
#[path = "store/toppers.rs"]
mod toppers;
#[path = "store/versions.rs"]
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{DEMO, flow, good, json, millstream, number, open, options, refused, rows, run_into};
use millstream::metrics::{FlushSink, Session, Stored};
use millstream::sink::RunEnd;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use tempfile::TempDir;

/// Says something of every kind.
const EVERYTHING: &str = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E11}"
local COUNTERS = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E12}"
TrisulPlugin = {
  id = { name = "everything", description = "d" },
  countergroup = {
    control = { guid = COUNTERS, name = "Kinds", description = "d", bucketsize = 1 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Count", "c", "p" }, { 1, T.K.vartype.RATE_COUNTER, 10, 0, "Rate", "c", "p" },
      { 2, T.K.vartype.GAUGE, 10, 0, "Gauge", "c", "p" }, { 3, T.K.vartype.RUNNING_COUNTER, 10, 0, "Running", "c", "p" },
      { 4, T.K.vartype.AVERAGE, 10, 0, "Average", "c", "p" }, { 5, T.K.vartype.MAXIMUM, 10, 0, "Most", "c", "p" },
      { 6, T.K.vartype.MINIMUM, 10, 0, "Least", "c", "p" },
    },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local flow = layer:packet():flowid()
      local key = flow:ipa()
      local bytes = layer:total_bytes()
      for meter = 0, 6 do engine:update_counter(COUNTERS, key, meter, bytes) end
      engine:update_key_info(COUNTERS, key, "host \"" .. key .. "\" <b>")
      if bytes > 1000 then
        engine:add_alert(GROUP, flow:id(), "big", 2, "a big packet\0 \xff of " .. bytes)
        engine:add_resource(GROUP, flow:id(), "uri " .. bytes, "label")
      end
    end,
  },
}
"#;

fn tables(file: &Path) -> Vec<String> {
    let sql =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%_fts%'
               ORDER BY name";
    let name = |row: Vec<Sql>| if let Sql::Text(name) = &row[0] { name.clone() } else { panic!("a name") };
    rows(file, sql).into_iter().map(name).collect()
}

/// Every row of every table. Which rows share a block or a part depends on which shared a transaction, and that on how long
/// the writer took: of these it is what lies in them.
fn content(file: &Path) -> BTreeMap<String, Vec<String>> {
    let all = |table: String| {
        let sql = match table.as_str() {
            "attribute_parts" => "SELECT min(first), max(last) FROM attribute_parts".to_owned(),
            "flow_attributes" => "SELECT flow, name, value, time FROM flow_attributes ORDER BY 1, 2, 3, 4".to_owned(),
            "lists" => "SELECT list, grp, first, entries FROM lists".to_owned(),
            _ => format!("SELECT * FROM {table}"),
        };
        let found = rows(file, &sql);
        let mut lines: Vec<String> = found.iter().map(|row| format!("{row:?}")).collect();
        if table == "lists" {
            lines = found.iter().flat_map(listed).collect();
            lines.sort();
        }
        (table, lines)
    };
    tables(file).into_iter().map(all).collect()
}

/// List, group, number and row of the entries of a block.
fn listed(block: &Vec<Sql>) -> Vec<String> {
    let [Sql::Integer(list), Sql::Integer(group), Sql::Integer(first), Sql::Blob(bytes)] = &block[..] else {
        panic!("a block: {block:?}")
    };
    let mut numbers = bytes
        .split_inclusive(|byte| byte & 0x80 == 0)
        .map(|bytes| bytes.iter().rev().fold(0u64, |number, byte| number << 7 | u64::from(byte & 0x7F)));
    let (mut number, mut row, mut entries) = (*first, 0i64, Vec::new());
    while let (Some(more), Some(far)) = (numbers.next(), numbers.next()) {
        number += more as i64;
        row += (far >> 1) as i64 ^ -((far & 1) as i64);
        entries.push(format!("{list} {group} {number} {row}"));
    }
    entries
}

/// Rows as sets, without what depends on who came first: numbers of keys and rows.
fn meaning(file: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for table in tables(file) {
        let sql = match table.as_str() {
            "keys" | "windows" | "job_ends" | "lists" | "document_hours" | "same_texts" => continue,
            "runs" => "SELECT inputs, first, last, packets, bytes FROM runs".to_owned(),
            "toppers" => {
                "SELECT t.grp, t.meter, t.bucket, t.side, k.key, t.value, t.error FROM toppers t JOIN keys k ON k.id = t.key"
                    .to_owned()
            }
            "rolled" | "intervals" | "losses" | "labels" | "attributes" | "edges" | "groups" | "meters" | "jobs"
            | "flow_attributes" | "attribute_parts" | "tracked" | "open_flows" | "pipelines" => {
                format!("SELECT * FROM {table}")
            }
            // Which of several documents has their text depends on their order.
            "documents" => "SELECT d.run, d.time, d.grp, d.flow, ifnull(s.text, d.text) FROM documents d
                 LEFT JOIN documents s ON s.id = +d.text AND typeof(d.text) = 'integer'"
                .to_owned(),
            "flows" | "alerts" | "resources" => {
                // Why a flow ended, and so its state, depends on how far its thread's time has come.
                let columns = rows(
                    file,
                    &format!(
                        "SELECT name FROM pragma_table_info('{table}') WHERE name NOT IN ('id', 'reason', 'state')"
                    ),
                );
                let names: Vec<String> = columns
                    .iter()
                    .map(|row| if let Sql::Text(name) = &row[0] { name.clone() } else { String::new() })
                    .collect();
                format!("SELECT {} FROM {table}", names.join(", "))
            }
            counters => {
                // What packet threads count about themselves depends on how many there are.
                let id = counters.trim_start_matches("counters_");
                if number(file, &format!("SELECT name LIKE 'Meta %' FROM groups WHERE id = {id}")) == 1 {
                    continue;
                }
                format!("SELECT k.key, c.* FROM {counters} c JOIN keys k ON k.id = c.key")
            }
        };
        let skip = usize::from(table.starts_with("counters_")) * 4;
        let line = |row: Vec<Sql>| {
            if skip == 0 {
                format!("{row:?}")
            } else {
                format!("{:?} {:?} {:?} {:?}", row[0], row[1], row[2], &row[skip..])
            }
        };
        found.insert(table.clone(), rows(file, &sql).into_iter().map(line).collect());
    }
    found
}

#[test]
fn every_kind_of_row_is_what_the_event_stream_says() {
    let folder = TempDir::new().unwrap();
    let (script, events) = (folder.path().join("everything.lua"), folder.path().join("events.jsonl"));
    let file = folder.path().join("store.db");
    fs::write(&script, EVERYTHING).unwrap();
    run_into(&file, &["-p", script.to_str().unwrap(), "--events", events.to_str().unwrap()]);
    let text = fs::read_to_string(&events).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["ev"] == kind).collect::<Vec<_>>();
    for (kind, table) in [("flow", "flows"), ("alert", "alerts"), ("resource", "resources"), ("fts", "documents")] {
        let stored = number(&file, &format!("SELECT count(*) FROM {table}"));
        assert!(stored > 0 && stored == of(kind).len() as i64, "{kind}: {stored} of {}", of(kind).len());
    }
    // Flows, field by field.
    let flows = json(&["query", "flows", "--store", file.to_str().unwrap(), "--json", "--limit", "100000"]);
    let line = |flow: &Value| {
        ["flow", "az_bytes", "za_bytes", "az_packets", "za_packets", "state", "setup_rtt", "retrans", "reason"]
            .map(|field| flow[field].to_string())
            .join(" ")
    };
    let stored: BTreeSet<String> = flows.as_array().unwrap().iter().map(line).collect();
    assert_eq!(stored, of("flow").into_iter().map(line).collect());
    // Alerts and resources, whatever bytes are in them.
    let alerts = json(&["query", "alerts", "--store", file.to_str().unwrap(), "--json", "--limit", "100000"]);
    let line =
        |alert: &Value| ["flow", "sigid", "message", "status", "kind"].map(|field| alert[field].to_string()).join(" ");
    let expected: BTreeSet<String> =
        of("alert").into_iter().map(|alert| line(alert).replace("\"\" ", "null ")).collect();
    let stored: BTreeSet<String> =
        alerts.as_array().unwrap().iter().map(|alert| line(alert).replace("\"\" ", "null ")).collect();
    assert_eq!(stored, expected);
    // Labels: the last one said.
    let labels: BTreeMap<String, String> = of("keyinfo")
        .iter()
        .map(|event| (format!("{} {}", event["guid"], event["key"]), event["label"].to_string()))
        .collect();
    let stored = number(&file, "SELECT count(*) FROM labels");
    assert!(!labels.is_empty() && stored >= labels.len() as i64, "{stored} of {}", labels.len());
    compare_counters(&file, &of("counter"));
    assert_eq!(
        number(&file, "SELECT rows FROM runs"),
        number(&file, "SELECT sum(rows) FROM windows WHERE state = 'flushed'")
    );
}

#[test]
fn rows_are_the_same_whether_they_pass_through_the_backend_or_not() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (alone, watched, events) = (path("alone.db"), path("watched.db"), path("events.jsonl"));
    let run = ["run", "-q", "-r", DEMO, "--flows", "--builtin", "default", "--store"];
    good(&[&run[..], &[&alone]].concat());
    good(&[&run[..], &[&watched, "--events", &events]].concat());
    // Where somebody looks at the flush, its order is another.
    let (alone, watched) = (meaning(Path::new(&alone)), meaning(Path::new(&watched)));
    for (table, rows) in &alone {
        assert_eq!(rows, &watched[table], "{table}");
    }
    for table in ["flows", "resources", "documents", "counters_1", "toppers"] {
        assert!(!alone[table].is_empty(), "{table}");
    }
}

/// Every value of every bucket of the stream is that of the store.
fn compare_counters(file: &Path, events: &[&Value]) {
    let groups: BTreeMap<String, i64> = rows(file, "SELECT guid, id FROM groups WHERE kind = 'counter'")
        .into_iter()
        .map(|row| match (&row[0], &row[1]) {
            (Sql::Text(guid), Sql::Integer(id)) => (guid.clone(), *id),
            other => panic!("{other:?}"),
        })
        .collect();
    let db = Connection::open(file).unwrap();
    let mut compared = 0;
    for event in events {
        let (Some(key), None) = (event["key"].as_str(), event.get("bin")) else { continue };
        let id = groups[event["guid"].as_str().unwrap()];
        let meters = format!(
            "SELECT m.id, m.vartype, g.bucketsize FROM meters m JOIN groups g ON g.id = m.grp WHERE m.grp = {id}"
        );
        for (meter, vartype, size) in db
            .prepare_cached(&meters)
            .unwrap()
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, f64>(2)?)))
            .unwrap()
            .map(Result::unwrap)
        {
            let value = match vartype {
                9 => format!("m{meter} / n{meter}"),
                4 => format!("m{meter} / {size:?}"),
                _ => format!("m{meter}"),
            };
            let sql = format!(
                "SELECT ifnull({value}, 0) FROM counters_{id} WHERE level = 0 AND bucket = ?1
                 AND key = (SELECT id FROM keys WHERE key = ?2)"
            );
            let bucket = event["bucket"].as_f64().unwrap() as i64;
            let stored: f64 = db.prepare_cached(&sql).unwrap().query_row((bucket, key), |row| row.get(0)).unwrap();
            let said = event["values"][meter as usize].as_f64().unwrap();
            assert!((stored - said).abs() <= said.abs() * 1e-9, "{event}: meter {meter}: {stored}");
            compared += 1;
        }
    }
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn two_runs_store_the_same_and_two_threads_what_one_does() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("everything.lua");
    fs::write(&script, EVERYTHING).unwrap();
    let store = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        run_into(&file, &[&["-p", script.to_str().unwrap()], more].concat());
        file
    };
    let (first, again) = (store("first", &[]), store("again", &[]));
    let (first, again) = (content(&first), content(&again));
    assert!(first["lists"].len() > 100, "{:?}", first["lists"]);
    for (table, rows) in &first {
        assert_eq!(rows, &again[table], "{table}");
    }
    // A gauge of a host whose packets go to both threads has no one last value: the script's group is left out.
    let plain = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let arguments = [&["run", "-q", "-r", DEMO, "--store", file.to_str().unwrap()], more].concat();
        assert!(millstream(&arguments).status.success());
        file
    };
    let one = meaning(&plain("one", &[]));
    let several = [
        meaning(&plain("two", &["--engines", "2"])),
        meaning(&plain("shared", &["--backends", "2"])),
        meaning(&plain("all", &["--engines", "2", "--backends", "3"])),
    ];
    for others in &several {
        for (table, rows) in &one {
            let found = &others[table];
            let missing: Vec<_> = rows.difference(found).take(3).collect();
            assert!(
                missing.is_empty() && rows.len() == found.len(),
                "{table}: {missing:?}, {} {}",
                rows.len(),
                found.len()
            );
        }
    }
}

#[test]
fn without_a_name_each_run_has_a_directory_and_questions_go_to_the_latest() {
    let folder = TempDir::new().unwrap();
    let typed = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.env("XDG_DATA_HOME", folder.path()).env_remove("MILLSTREAM_DATA").current_dir(folder.path());
        command.args(arguments).output().unwrap()
    };
    let none = typed(&["query", "runs"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("millstream run --store"));
    for _ in 0..2 {
        assert!(typed(&["run", "-q", "--store", "-r", DEMO]).status.success());
    }
    let runs: Vec<PathBuf> =
        fs::read_dir(folder.path().join("millstream/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 2);
    let answer = typed(&["query", "runs", "--json"]);
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer[0]["state"], "done");
    // No store unless it is asked for, and none where it is taken back.
    assert!(typed(&["run", "-q", "-r", DEMO]).status.success());
    assert!(typed(&["run", "-q", "-r", DEMO, "--store", "x.db", "--no-store"]).status.success());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["millstream"]);
    // A directory is as good as a file.
    fs::create_dir(folder.path().join("dir")).unwrap();
    assert!(typed(&["run", "-q", "-r", DEMO, "--store", "dir"]).status.success());
    assert!(typed(&["query", "top", "hosts", "--store", "dir"]).status.success());
}

#[test]
fn answers_come_as_columns_as_a_document_and_as_comma_separated_values() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let store = file.to_str().unwrap();
    let report = json(&["run", "-r", DEMO, "--builtin", "Hosts", "--json"]);
    let top = json(&["query", "top", "hosts", "--store", store, "--json", "--limit", "10"]);
    let hosts = report["groups"].as_array().unwrap().iter().find(|group| group["name"] == "Hosts").unwrap();
    for (said, stored) in hosts["meters"][0]["top"].as_array().unwrap().iter().zip(top.as_array().unwrap()) {
        assert_eq!(said["value"].as_f64(), stored["value"].as_f64());
    }
    let first = top[0]["readable"].as_str().unwrap();
    let series =
        json(&["query", "series", "{4cd742b1-c1ca-4708-be78-0fca2eb01a86}", first, "--store", store, "--json"]);
    let size = series[0]["seconds"].as_f64().unwrap();
    let sum: f64 = series.as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap() * size).sum();
    assert!((sum - top[0]["value"].as_f64().unwrap()).abs() < 1.0, "{sum} {}", top[0]);
    let csv = good(&["query", "flows", "--store", store, "--csv", "--limit", "3", "--by", "time"]);
    assert_eq!(csv.split("\r\n").count(), 5);
    assert!(csv.starts_with("start,end,flow,bytes,"));
    let text = good(&["query", "resources", "--store", store, "--limit", "2"]);
    assert_eq!(text.lines().count(), 3);
    let none = good(&["query", "flows", "--store", store, "--from", "2040-01-01"]);
    let span = "; this store has 2026-01-15T09:00:01.001000Z to 2026-01-15T09:01:24.439404Z\n";
    assert_eq!(none, format!("nothing found: no flows that began from 2040-01-01T00:00:00.000000Z{span}"));
    let none = |arguments: &[&str]| good(&[arguments, &["--store", store]].concat());
    let nothing = |what: &str| format!("nothing found: no {what} in this store\n");
    assert_eq!(none(&["query", "keys", "Hosts", "zzz"]), nothing("keys of group 'Hosts' that contain 'zzz'"));
    assert_eq!(none(&["query", "edges", "Hosts", "1.2.3.4"]), nothing("links of group 'Hosts' of key '1.2.3.4'"));
    assert_eq!(none(&["search", "thing", "nowhere"]), nothing("documents with 'thing nowhere'"));
    assert_eq!(none(&["query", "runs", "--limit", "0"]), "nothing found: --limit 0 leaves no rows\n");
    assert_eq!(none(&["query", "keys", "Hosts", "zzz", "--json"]).trim(), "[]");
    let words = json(&["search", "--store", store, "--json", "example"]);
    assert!(words.is_array());
}

#[test]
fn what_is_no_store_and_what_makes_no_sense_is_refused_in_one_line() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let one_line = |said: String, wanted: &str| {
        assert!(said.contains(wanted), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    let run = |store: &str| refused(&["run", "-q", "-r", DEMO, "--store", store]);
    fs::write(path("text"), "this is a text\n".repeat(100)).unwrap();
    one_line(run(&path("text")), "not a store");
    assert_eq!(fs::read(path("text")).unwrap().len(), 1_500);
    one_line(run(DEMO), "not a store");
    one_line(refused(&["query", "runs", "--store", &path("text")]), "not a store");
    one_line(refused(&["query", "runs", "--store", &path("none")]), "millstream run --store");
    Connection::open(path("other")).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    one_line(run(&path("other")), "not a store");
    one_line(refused(&["query", "runs", "--store", &path("other")]), "not a store");
    symlink(path("target"), path("link")).unwrap();
    one_line(run(&path("link")), "not a plain file");
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    for refused_file in [path("pipe"), "/dev/null".to_owned()] {
        one_line(run(&refused_file), "not a plain file");
        one_line(refused(&["query", "runs", "--store", &refused_file]), "not a plain file");
        one_line(refused(&["search", "word", "--store", &refused_file]), "not a plain file");
        one_line(refused(&["report", "-o", &path("page"), "--store", &refused_file]), "not a plain file");
    }
    one_line(run(&path("no/such/folder")), "name a file in a directory");
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let store = file.to_str().unwrap();
    one_line(refused(&["query", "top", "Hots", "--store", store]), "there are: ");
    one_line(refused(&["query", "top", "--store", store]), "which counter group?");
    one_line(refused(&["query", "top", "Hosts", "-m", "99", "--store", store]), "it has: 0 (");
    one_line(refused(&["query", "flows", "--from", "yesterday", "--store", store]), "-10m");
    one_line(refused(&["query", "top", "hots", "--store", store]), "did you mean 'Hosts'?");
    one_line(refused(&["query", "resources", "dns", "--store", store]), "did you mean 'DNS Resources' or 'DNS names'?");
    one_line(refused(&["query", "top", "hosts", "-m", "packets", "--store", store]), "did you mean 'Total Packets'?");
    for asked in [&["query", "flows"][..], &["search", "word"], &["report", "-o", &path("page")]] {
        let range = ["--from", "2026-01-16", "--to", "2026-01-15", "--store", store];
        one_line(refused(&[asked, &range].concat()), "--from 2026-01-16 is after --to 2026-01-15");
    }
    one_line(refused(&["search", "\"", "--store", store]), "double quotes");
    one_line(refused(&["search", "a AND", "--store", store]), "double quotes");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    one_line(run(store), "version 99");
    one_line(refused(&["query", "runs", "--store", store]), "version 99");
}

/// Says something about flows, keys and jobs.
const ABOUT: &str = r#"
local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
local jobs = 0
TrisulPlugin = {
  id = { name = "about", description = "d" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local flow = layer:packet():flowid()
      engine:add_flow_attribute(flow:id(), "colour", "green")
      engine:set_key_attribute(HOSTS, flow:ipa(), "role", "server")
      if jobs < 3 then
        jobs = jobs + 1
        T.async:schedule { data = "", onexecute = function() return "" end, onresult = function() end }
      end
    end,
  },
}
"#;

/// Ranks flows by their bytes.
const TRACKER: &str = r#"
TrisulPlugin = {
  id = { name = "tracker", description = "d" },
  flowtracker = {
    control = { name = "Largest", description = "d", bucketsize = 60, count = 5 },
    getmetric = function(engine, flow) return flow:az_bytes() + flow:za_bytes() end,
  },
}
"#;

#[test]
fn meters_that_scripts_add_to_a_flow_are_stored_with_it() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let other = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    let script = format!(
        "local done
         TrisulPlugin = {{ id = {{ name = 'meters' }}, simplecounter = {{
           protocol_guid = '{{0A2C724B-5B9F-4BA6-9C97-B05080558574}}',
           onpacket = function(engine, layer)
             if done then return end
             done = true
             for _, flow in ipairs {{ layer:packet():flowid():id(), '{other}' }} do
               engine:update_flow(flow, 9, 7) engine:update_flow(flow, 9, 8.5) engine:update_flow(flow, 31, 5)
             end
           end }} }}"
    );
    fs::write(path("meters.lua"), script).unwrap();
    good(&["run", "-q", "-r", DEMO, "-p", &path("meters.lua"), "--store", &path("s.db")]);
    let found = json(&["query", "flows", "--store", &path("s.db"), "--json", "--limit", "10000"]);
    let of = |flow: &Value| flow["attributes"].as_str().unwrap_or_default().to_owned();
    let with: Vec<String> = found.as_array().unwrap().iter().map(of).filter(|text| text.contains("meter ")).collect();
    assert_eq!(with.len(), 2, "{with:?}");
    assert!(with.iter().all(|text| text.contains("meter 9=15.5") && text.contains("meter 31=5")), "{with:?}");
}

#[test]
fn flows_have_attributes_trackers_their_snapshots_and_jobs_their_ends() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("about.lua"), ABOUT).unwrap();
    fs::write(path("tracker.lua"), TRACKER).unwrap();
    good(&["run", "-q", "-r", DEMO, "-p", &path("about.lua"), "-p", &path("tracker.lua"), "--store", &path("s.db")]);
    let ask = |what: &[&str]| {
        let found = json(&[&["query"], what, &["--store", &path("s.db"), "--json", "--limit", "1000"]].concat());
        found.as_array().unwrap().clone()
    };
    let flows = ask(&["flows"]);
    let of = |flow: &Value| flow["attributes"].as_str().unwrap_or_default().to_owned();
    assert!(flows.iter().filter(|flow| of(flow).contains("colour=green")).count() > 5, "{flows:?}");
    for name in ["TLS:SNI=", "Host=", "User-Agent="] {
        assert!(flows.iter().any(|flow| of(flow).contains(name)), "{name}");
    }
    assert!(flows.iter().all(|flow| !of(flow).contains("HTTP-Header")));
    assert_eq!(number(Path::new(&path("s.db")), "SELECT count(*) FROM open_flows"), 0);
    let tracked = ask(&["flows", "--tracked", "largest"]);
    let ranks: Vec<i64> = tracked.iter().map(|row| row["rank"].as_i64().unwrap()).collect();
    assert_eq!(&ranks[..5], [1, 2, 3, 4, 5]);
    let times: Vec<&str> = tracked.iter().map(|row| row["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && times.first() > times.last());
    assert!(refused(&["query", "flows", "--tracked", "x", "--store", &path("s.db")]).contains("there are: Largest"));
    let jobs = ask(&["jobs"]);
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|job| job["plugin"] == "about.lua" && job["state"] == "done" && job["kind"] == "schedule"));
    assert!(jobs[0]["function"].as_str().unwrap().contains("about.lua:"));
    let keys = ask(&["keys", "hosts"]);
    assert!(keys.iter().any(|key| key["attributes"] == "role=server"), "{keys:?}");
}

#[test]
fn a_flow_that_goes_on_is_among_the_flows_until_it_ends() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let run = |records: &[Session]| {
        let store = open(&options(&file)).unwrap();
        let mut sender = store.sender();
        records.iter().for_each(|record| sender.flow(Box::new(record.clone()), Stored::Yes));
        drop(sender);
        assert_eq!(store.close(RunEnd::default()).lost(), 0);
    };
    let at = |number: i64, bytes: u64, reason: &'static str| Session { bytes: [bytes, 0], reason, ..flow(number) };
    let asked = |by: &str| -> Vec<(i64, String)> {
        let found = json(&["query", "flows", "--by", by, "--json", "--store", file.to_str().unwrap()]);
        let row = |row: &Value| (row["bytes"].as_i64().unwrap(), row["reason"].as_str().unwrap().to_owned());
        found.as_array().unwrap().iter().map(row).collect()
    };
    // The end of the run does not end the flow: nobody said so.
    run(&[at(1, 10, ""), at(2, 15, "idle"), at(1, 20, "")]);
    let expected =
        |rows: &[(i64, &str)]| rows.iter().map(|(bytes, reason)| (*bytes, (*reason).to_owned())).collect::<Vec<_>>();
    assert_eq!(asked("bytes"), expected(&[(20, "open"), (15, "idle")]));
    assert_eq!(asked("time"), expected(&[(15, "idle"), (20, "open")]));
    run(&[at(3, 30, ""), at(3, 40, "fin")]);
    assert_eq!(asked("bytes"), expected(&[(40, "fin"), (20, "open"), (15, "idle")]));
    assert_eq!(number(&file, "SELECT count(*) FROM flows"), 2);
}

/// One host goes, one is changed; no DNS resource stays.
const VOTES: &str = r#"
TrisulPlugin = {
  id = { name = "votes", description = "d" },
  cg_monitor = {
    counter_guid = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}",
    onflushfilter = function(engine, timestamp, key, metrics)
      if key == "0A.14.00.05" then return false end
      if key == "0A.14.00.10" then return true, { 7 } end
      return true
    end,
  },
  resource_monitor = {
    resource_guid = "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}",
    flushfilter = function() return false end,
  },
}
"#;

#[test]
fn what_scripts_vote_against_is_not_stored_and_what_they_change_is() {
    let folder = TempDir::new().unwrap();
    let (script, voted, plain) =
        (folder.path().join("votes.lua"), folder.path().join("voted.db"), folder.path().join("plain.db"));
    fs::write(&script, VOTES).unwrap();
    // No other script looks at hosts: it would vote for them.
    good(&["run", "-q", "-r", DEMO, "-p", script.to_str().unwrap(), "--store", voted.to_str().unwrap()]);
    good(&["run", "-q", "-r", DEMO, "--store", plain.to_str().unwrap()]);
    let series = |file: &Path, key: &str| -> Vec<f64> {
        let store = file.to_str().unwrap();
        let found = json(&["query", "series", "hosts", key, "--store", store, "--json"]);
        found.as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap()).collect()
    };
    let keys = |file: &Path| -> BTreeSet<String> {
        let found = json(&["query", "keys", "hosts", "--store", file.to_str().unwrap(), "--json", "--limit", "1000"]);
        found.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    let mut expected = keys(&plain);
    assert!(expected.remove("0A.14.00.05"));
    assert_eq!(keys(&voted), expected);
    assert_eq!(series(&voted, "0A.14.00.10"), vec![7.0; series(&plain, "0A.14.00.10").len()]);
    assert_eq!(series(&voted, "0A.14.00.0C"), series(&plain, "0A.14.00.0C"));
    let dns = "SELECT count(*) FROM resources r JOIN groups g ON g.id = r.grp WHERE g.name = 'DNS Resources'";
    assert!(number(&plain, dns) > 0);
    assert_eq!(number(&voted, dns), 0);
    assert_eq!(number(&voted, "SELECT count(*) FROM flows"), number(&plain, "SELECT count(*) FROM flows"));
}

/// Labels and alerts that would take a page over.
const HOSTILE: &str = r#"
local GROUP = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
TrisulPlugin = {
  id = { name = "hostile", description = "d" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local flow = layer:packet():flowid()
      local bad = "</text></svg><script>document.title='taken'</script><img src=http://x.invalid/ onerror=alert(1)>\"'"
      engine:update_counter(GROUP, bad, 0, 1e12)
      engine:update_key_info(GROUP, flow:ipa(), bad)
      engine:add_alert(GROUP, flow:id(), bad, 1, bad)
      engine:add_resource(GROUP, flow:id(), bad, bad)
    end,
  },
}
"#;

#[test]
fn a_page_does_not_take_the_place_of_its_store() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("dir")).unwrap();
    run_into(&folder.path().join("dir"), &[]);
    let store = path("dir/millstream.db");
    symlink(&store, path("link")).unwrap();
    let before = content(Path::new(&store));
    for page in [store.as_str(), &path("dir/../dir/millstream.db"), &path("link")] {
        let said = refused(&["report", "-o", page, "--store", &path("dir")]);
        assert!(said.contains("name another file"), "{said}");
    }
    // What a writer has left beside it belongs to the store.
    fs::write(format!("{store}-wal"), "").unwrap();
    let said = refused(&["report", "-o", &format!("{store}-wal"), "--store", &path("dir")]);
    assert!(said.contains("name another file"), "{said}");
    assert_eq!(content(Path::new(&store)), before);
    good(&["report", "-o", &path("dir/page.html"), "--store", &path("dir")]);
    good(&["report", "-o", &path("dir/page.html"), "--store", &path("dir")]);
}

#[test]
fn messages_do_not_steer_the_terminal() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let script = EVERYTHING.replace("\"Kinds\"", r#""Kinds\27]0;title\7\194\155 31m\226\128\174""#);
    fs::write(path("steering.lua"), script).unwrap();
    let store = path("store.db");
    run_into(Path::new(&store), &["-p", &path("steering.lua")]);
    for question in [["top", "nothing", "0"], ["top", "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E12}", "nothing"]] {
        let said = refused(&["query", question[0], question[1], "-m", question[2], "--store", &store]);
        assert!(said.contains("Kinds ]0;title") && !said.trim_end().contains(char::is_control), "{said:?}");
        assert!(!said.contains('\u{202e}'), "{said:?}");
    }
}

#[test]
fn an_order_is_for_flows_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let store = file.to_str().unwrap();
    for question in [&["query", "docs"][..], &["query", "top", "Hosts"], &["query", "runs"]] {
        let said = refused(&[question, &["--by", "bytes", "--store", store]].concat());
        assert!(said.contains("millstream query flows --by"), "{said}");
        assert_eq!(said.contains("--meter"), question[1] == "top", "{said}");
    }
    let first = |more: &[&str]| {
        let question = ["query", "flows", "--limit", "1", "--json", "--store", store];
        json(&[&question[..], more].concat())[0]["flow"].clone()
    };
    assert_eq!(first(&[]), first(&["--by", "bytes"]));
    assert_ne!(first(&[]), first(&["--by", "time"]));
}

#[test]
fn a_limit_may_be_any_number() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let store = file.to_str().unwrap();
    for limit in ["9223372036854775808", "18446744073709551615"] {
        for question in [&["query", "flows"][..], &["query", "runs"], &["query", "edges"], &["search", "http"]] {
            good(&[question, &["--limit", limit, "--store", store]].concat());
        }
    }
}

#[test]
fn the_page_has_charts_and_nothing_of_the_traffic_becomes_markup() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("hostile.lua"), HOSTILE).unwrap();
    run_into(Path::new(&path("store.db")), &["-p", &path("hostile.lua")]);
    good(&["report", "-o", &path("page.html"), "--store", &path("store.db")]);
    let page = fs::read_to_string(path("page.html")).unwrap();
    assert!(page.contains("2026-01-15T09:00:01.001000Z to 2026-01-15T09:01:24.439404Z"));
    assert!(page.matches("<svg").count() > 5 && page.contains("class=\"area\"") && page.contains("class=\"link\""));
    assert!(page.contains("&lt;script&gt;"));
    for forbidden in ["<script", "<img", "src=", "href=", "url(", "@import", "onerror=alert(1)>"] {
        assert!(!page.replace("src=http", "").contains(forbidden), "{forbidden}");
    }
    assert_eq!(good(&["report", "-o", "-", "--store", &path("store.db")]), page);
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }) else {
        return eprintln!("skipped in part: no chromium here");
    };
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--timeout=20000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", path("profile")));
    let shown = command.arg(format!("file://{}", path("page.html"))).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    // What the browser makes of it: as many charts, no element that was not ours, the title untouched.
    assert_eq!(shown.matches("<svg").count(), page.matches("<svg").count());
    assert!(
        shown.contains("<title>millstream report</title>") && !shown.contains("<script") && !shown.contains("<img")
    );
}

#[test]
fn a_group_that_changes_what_its_counters_mean_is_told_of() {
    let dir = TempDir::new().unwrap();
    let (file, script) = (dir.path().join("a.db"), dir.path().join("counts.lua"));
    let run = |bucketsize: &str, vartype: &str| {
        let text = EVERYTHING
            .replace("bucketsize = 1 ", &format!("bucketsize = {bucketsize} "))
            .replace("vartype.GAUGE, 10, 0, \"Gauge\"", &format!("vartype.{vartype}, 10, 0, \"Gauge\""));
        fs::write(&script, text).unwrap();
        let (store, script) = (file.to_str().unwrap(), script.to_str().unwrap());
        let ended = millstream(&["run", "-q", "-r", DEMO, "-p", script, "--store", store]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let said = String::from_utf8(ended.stderr).unwrap();
        said.lines().filter(|line| line.contains("Kinds")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(run("1", "GAUGE"), [""; 0]);
    assert_eq!(run("1", "GAUGE"), [""; 0], "nothing has changed");
    let told = run("60", "AVERAGE");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("counter group Kinds: its buckets had 1 s and have 60 s; what it has from before"),
        "{told:?}"
    );
    assert!(told[1].contains("counter group Kinds: meter Gauge was GAUGE and is AVERAGE; what it has"), "{told:?}");
    assert_eq!(run("60", "AVERAGE"), [""; 0], "told once");
}
