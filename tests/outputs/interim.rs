//! Reports while a run goes on: the same as at its end, and marked as what they are.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::run::{DEMO, noisy, run};

/// Alerts and resources on the packet thread, a job and a value that is dropped.
const BUSY: &str = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E21}"
TrisulPlugin = {
  id = { name = "busy" },
  countergroup = {
    control = { guid = GROUP, name = "Busy", bucketsize = 60 }, meters = { { 0, T.K.vartype.COUNTER, 10, "n", "N", "n" } },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, "k", 0, 0/0)
      T.async:schedule { data = 1, onexecute = function(d) return d end, onresult = function() end }
      error("on purpose")
    end,
  },
}
"#;

/// An alert of a backend script.
const BEHIND: &str = r#"
TrisulPlugin = {
  id = { name = "behind" },
  engine_monitor = {
    onmetronome = function(engine, ts)
      engine:add_alert("{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", "", "behind", 1, "from the backend")
    end,
  },
}
"#;

const ALL: [&str; 3] = ["noisy.lua", "busy.lua", "behind.lua"];

fn documents(bytes: &[u8]) -> Vec<Value> {
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter();
    documents.map(|document| document.unwrap_or_else(|e| panic!("{e}: {}", bytes.escape_ascii()))).collect()
}

fn fields(report: &Value) -> BTreeSet<&str> {
    report.as_object().unwrap().keys().map(String::as_str).filter(|name| *name != "interim").collect()
}

fn count(list: &Value, name: &str) -> u64 {
    let all = list.as_array().unwrap();
    all.iter().find(|entry| entry["name"] == name).map_or(0, |entry| entry["count"].as_u64().unwrap())
}

fn alerts(report: &Value) -> u64 {
    report["records"]["alerts"]["count"].as_u64().unwrap()
}

fn calls(report: &Value, plugin: &str) -> u64 {
    let row = report["plugins"].as_array().unwrap().iter().find(|row| row["name"] == plugin);
    row.unwrap_or_else(|| panic!("no {plugin} in {report}"))["calls"].as_u64().unwrap()
}

/// The reports of a run with these plugins and other arguments, those on the way first.
fn reports(plugins: &[&str], arguments: &[&str], status: i32) -> (Vec<Value>, Value) {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("busy.lua"), BUSY).unwrap();
    fs::write(path("behind.lua"), BEHIND).unwrap();
    noisy(dir.path(), 1_000);
    let plugins: Vec<String> = plugins.iter().flat_map(|name| ["-p".to_owned(), path(name)]).collect();
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    let fixed = ["-r", DEMO, "--json", "--flows", "--report-every", "20"];
    let output = run(&[&fixed[..], &plugins, arguments].concat());
    assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all = documents(&output.stdout);
    let last = all.pop().unwrap();
    (all, last)
}

#[test]
fn interim_reports_have_all_that_the_last_one_has() {
    let (interims, last) = reports(&ALL, &[], 1);
    assert!(!interims.is_empty());
    assert_eq!(last.get("interim"), None);
    for report in &interims {
        assert_eq!(report["interim"], true);
        assert_eq!((fields(report), &report["version"]), (fields(&last), &last["version"]));
        assert_eq!(report["run"]["inputs"], last["run"]["inputs"]);
        assert_eq!(report["verdict"]["exit_code"], 1);
        assert!(alerts(report) > 0 && alerts(report) <= alerts(&last));
        assert!(report["records"]["resources"]["count"].as_u64().unwrap() > 0);
        assert!(count(&report["drops"], "value_not_finite") > 0);
        assert!(report["flows"]["created"].as_u64().unwrap() > 0);
        for plugin in ALL {
            assert!(calls(report, plugin) > 0 && calls(report, plugin) <= calls(&last, plugin), "{plugin}");
        }
        let jobs = |report: &Value| report["jobs"]["submitted"].as_u64().unwrap();
        assert!(jobs(report) > 0 && jobs(report) <= jobs(&last));
    }
    let packets: Vec<u64> = interims.iter().map(|report| report["run"]["packets"].as_u64().unwrap()).collect();
    assert!(packets.is_sorted() && packets[0] > 0, "{packets:?}");
}

#[test]
fn what_backend_scripts_record_is_in_them() {
    let (interims, last) = reports(&["behind.lua"], &[], 0);
    assert!(!interims.is_empty());
    for report in &interims {
        assert!(alerts(report) > 0 && alerts(report) <= alerts(&last));
        assert_eq!(report["records"]["alerts"]["first"][0]["message"], "from the backend");
        assert_eq!(report["verdict"]["exit_code"], 0);
    }
}

#[test]
fn those_of_several_threads_have_one_shape_as_well() {
    let (interims, last) = reports(&ALL, &["--engines", "2", "--backends", "2"], 1);
    assert!(!interims.is_empty());
    for report in &interims {
        assert_eq!((&report["interim"], fields(report)), (&Value::Bool(true), fields(&last)));
        assert!(calls(report, "busy.lua") > 0);
    }
}

#[test]
fn one_without_the_figures_of_all_threads_says_so() {
    // One flow, which one thread has.
    let arguments = ["--filter", "udp port 5353", "--engines", "2", "--report-every", "20", "--json"];
    let output = run(&[&["-r", DEMO][..], &arguments].concat());
    let mut all = documents(&output.stdout);
    assert_eq!(count(&all.pop().unwrap()["notes"], "threads_silent"), 0);
    assert!(!all.is_empty() && all.iter().all(|report| count(&report["notes"], "threads_silent") == 1), "{all:?}");
}

#[test]
fn as_text_they_say_what_they_are() {
    let output = run(&["-r", DEMO, "--report-every", "20"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let parts: Vec<&str> = text.split("Interim report\n").collect();
    assert!(parts.len() > 1, "{text}");
    let (last, interims) = parts.split_last().unwrap();
    assert!(last.ends_with("ok\n") && last.matches("packet time").count() == 2, "{last}");
    assert!(interims.iter().skip(1).all(|part| part.matches("packet time").count() == 1), "{text}");
}
