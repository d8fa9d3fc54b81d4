//! Pipelines over the control socket: listed, paused, resumed, removed, restored by the next run; and loaded again.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::e2e::{Place, Running};
use crate::support::{Capture, IPV4};
use crate::{TELL, plugin};

const LIMIT: Duration = Duration::from_secs(30);

fn counting(name: &str, steps: &str) -> String {
    plugin(&format!(
        "T.gears('packets', {{ protocol = '{IPV4}' }}){steps}:foreach(function() if not said then print('begun') said = true end end)
           :register {{ name = '{name}' }}"
    ))
}

fn endless(place: Place, more: &[&str]) -> (Place, Running) {
    let path = place.path("input.pcap");
    std::fs::write(&path, Capture::udp(100, 1_000).to_pcap()).unwrap();
    let (path, socket) = (path.display().to_string(), place.path("socket").display().to_string());
    let fixed = ["-r", &path, "--loop", "1000000", "--speed", "1", "--json", "--watch", "--control", &socket];
    let mut running = place.start_command(&mut place.command(&[&fixed[..], more].concat()));
    running.until("the first packet", |running| running.said().contains("begun"));
    (place, running)
}

fn ask(place: &Place, arguments: &[&str]) -> Result<Value, String> {
    let socket = place.path("socket").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("gears").args(arguments).args(["--json", "--control", &socket]).env_clear();
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or_else(|| panic!("{name}: {answer}"))
}

#[test]
fn a_pipeline_is_listed_paused_resumed_and_removed_while_it_runs() {
    let (place, running) =
        endless(Place::new().plugin("p.lua", &counting("all", ":filter(function() return true end)")), &[]);
    let list = ask(&place, &["list"]).unwrap();
    let row = &list["pipelines"][0];
    assert_eq!((&row["name"], &row["state"], &row["plugin"]), (&"all".into(), &"active".into(), &"p".into()));
    assert_eq!(row["plan"], "packets > filter > foreach");
    let before = ask(&place, &["plan", "p/all"]).unwrap();
    assert!(number(&before, "executions") > 0);
    assert_eq!(before["steps"][0]["kind"], "filter");
    assert!(before["steps"][0]["place"].as_str().unwrap().contains("p.lua:2"));

    let paused = ask(&place, &["pause", "all"]).unwrap();
    assert_eq!((&paused["state"], &paused["kept"]), (&"paused".into(), &"in this run only: there is no store".into()));
    let count = |name: &str| number(&ask(&place, &["plan", "all"]).unwrap(), name);
    // What was under way when it was paused is over by then.
    std::thread::sleep(Duration::from_millis(100));
    let (stopped, skipped) = (count("executions"), count("skipped"));
    let mut running = running;
    running.until("packets that are left out", |_| count("skipped") > skipped);
    assert_eq!(count("executions"), stopped);
    assert_eq!(ask(&place, &["resume", "all"]).unwrap()["state"], "active");
    running.until("packets again", |_| count("executions") > stopped);
    assert_eq!(ask(&place, &["remove", "all"]).unwrap()["state"], "removed");
    assert!(ask(&place, &["pause", "all"]).unwrap_err().contains("it is removed"));
    let unknown = ask(&place, &["plan", "other"]).unwrap_err();
    assert!(unknown.contains("no such pipeline; there are: p/all"), "{unknown}");
    running.signal("TERM");
    let ended = running.wait(LIMIT);
    ended.exits(0);
    let report = ended.report();
    assert_eq!(report["pipelines"][0]["state"], "removed");
    assert!(number(&report["pipelines"][0], "skipped") > 0);
}

#[test]
fn what_was_paused_or_removed_stays_so_in_later_runs_with_the_store() {
    let text = format!(
        "{}\nT.gears('packets'):foreach(function() end):register {{ name = 'gone' }}
         T.gears('packets'):foreach(function() end):register {{ name = 'there' }}\n",
        counting("rest", "")
    );
    let (place, running) = endless(Place::new().plugin("p.lua", &text), &["--store", "s.db"]);
    assert_eq!(ask(&place, &["pause", "rest"]).unwrap()["kept"], "in the store");
    assert_eq!(ask(&place, &["remove", "gone"]).unwrap()["kept"], "in the store");
    assert_eq!(ask(&place, &["pause", "there"]).unwrap()["kept"], "in the store");
    assert_eq!(ask(&place, &["resume", "there"]).unwrap()["kept"], "in the store");
    running.signal("TERM");
    running.wait(LIMIT).exits(0);
    let place = place.plugin("p.lua", &format!("{text} {TELL}"));
    let path = place.path("input.pcap").display().to_string();
    let again = place.run(&["-r", &path, "--store", "s.db", "-q"], LIMIT);
    again.exits(0);
    let said = again.stdout;
    for line in ["gone removed 0 100", "rest paused 0 100", "there active 100 0"] {
        assert!(said.contains(line), "{said}");
    }
    let without = place.run(&["-r", &path, "-q"], LIMIT);
    assert!(without.stdout.contains("rest active 100 0"), "{}", without.stdout);
}

#[test]
fn a_changed_file_brings_its_pipelines_and_keeps_what_was_decided() {
    let (place, mut running) = endless(Place::new().plugin("p.lua", &counting("a", "")), &[]);
    ask(&place, &["pause", "a"]).unwrap();
    let place = place.plugin("p.lua", &counting("a", ":filter(function() return true end)"));
    running.until("the new version", |_| ask(&place, &["plan", "a"]).unwrap()["steps"][0]["kind"] == "filter");
    let plan = ask(&place, &["plan", "a"]).unwrap();
    assert_eq!((&plan["state"], number(&plan, "executions")), (&"paused".into(), 0));
    ask(&place, &["resume", "a"]).unwrap();
    running.until("packets", |_| number(&ask(&place, &["plan", "a"]).unwrap(), "executions") > 0);
    running.signal("TERM");
    running.wait(LIMIT).exits(0);
}

#[test]
fn a_window_that_is_open_when_the_file_is_loaded_again_is_closed_by_the_version_that_leaves() {
    let windowed = |name: &str| {
        counting("seen", "")
            + &format!(
                "\nT.gears('packets', {{ window = 86400 }}):countby(function() return '{name}' end)
                   :foreach(function(r) print('window of ' .. r.key, r.value > 0) end):register {{ name = 'day' }}"
            )
    };
    let (place, mut running) = endless(Place::new().plugin("p.lua", &windowed("one")), &[]);
    let _place = place.plugin("p.lua", &windowed("two"));
    running.until("the window of the first version", |running| running.said().contains("window of one\ttrue"));
    running.signal("TERM");
    let ended = running.wait(LIMIT);
    ended.exits(0);
    assert!((ended.stdout.clone() + &ended.stderr).contains("window of two\ttrue"));
}
