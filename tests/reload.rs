//! Plugin files that change while a run goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;
#[path = "reload/hanging.rs"]
mod hanging;
#[path = "e2e/namespace.rs"]
mod namespace;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use e2e::{Ended, Place, Running, descendants, dropped, events, is_alive, say};
use millstream::time::Stopwatch;
use namespace::{capturing, in_namespace};
use serde_json::Value;
use support::conversation::Conversation;
use support::{Capture, GROUP, UDP};

const LIMIT: Duration = Duration::from_secs(30);

/// A run whose plugin files can be changed.
struct Bench {
    place: Place,
    running: Running,
    reloads: usize,
    failures: usize,
}

fn group() -> String {
    format!(
        "TrisulPlugin = {{ id = {{ name = 'group' }}, countergroup = {{ control = {{ guid = '{GROUP}', name = 'Seen', \
         bucketsize = 60 }}, meters = {{ {{ 0, T.K.vartype.COUNTER, 10, 0, 'n', 'n', 'x' }} }} }} }}"
    )
}

/// A counter that adds one to the key of its version for every packet; `more` are further fields of the plugin.
fn counter(version: &str, head: &str, more: &str) -> String {
    format!(
        "{head}\nlocal n = 0\nTrisulPlugin = {{ id = {{ name = 'count' }}, {more}\n\
         simplecounter = {{ protocol_guid = '{UDP}', onpacket = function(engine, layer) n = n + 1 \
         engine:update_counter('{GROUP}', '{version}', 0, 1) end }} }}"
    )
}

/// Fields that hand the number of packets over.
const HANDED_ON: &str = "onload = function(state) if state then n = state.n print('from ' .. n) end end, \
    onunload = function() print('up to ' .. n) return { n = n } end,";

fn write(place: &Place, name: &str, text: &str) {
    // As careful editors do: nobody ever sees half a file.
    let (path, new) = (place.path("plugins").join(name), place.path("new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(&new, &path).unwrap();
}

/// Packets of a capture that goes on for minutes, one a millisecond.
fn endless(place: &Place) -> String {
    let path = place.path("input.pcap");
    fs::write(&path, Capture::udp(200_000, 1_000).to_pcap()).unwrap();
    path.display().to_string()
}

/// A connection whose client says numbered lines for as long as a test takes.
fn conversation(place: &Place) -> String {
    let mut talk = Conversation::open(1025, 80);
    for number in 0..2_000_u32 {
        talk = talk.client(format!("line {number};").as_bytes());
    }
    let path = place.path("talk.pcap");
    fs::write(&path, talk.capture().to_pcap()).unwrap();
    path.display().to_string()
}

impl Bench {
    /// Runs over an endless capture at the speed it was recorded with.
    fn start(place: Place, arguments: &[&str]) -> Self {
        let file = endless(&place);
        Self::start_on(place, &[&["-r", &file, "--speed", "1"], arguments].concat())
    }

    fn start_on(place: Place, arguments: &[&str]) -> Self {
        let written = place.path("events").display().to_string();
        let mut running = place.start(&[&["--json", "--events", &written], arguments].concat());
        running.until("packets are counted", |running| running.elapsed() > Duration::from_millis(300));
        Self { place, running, reloads: 0, failures: 0 }
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.place, name, text);
    }

    /// How often something was said.
    fn times(&self, what: &str) -> usize {
        self.running.said().matches(what).count()
    }

    fn until_said(&mut self, what: &str) {
        self.running.until(what, |running| running.said().contains(what));
    }

    /// Asks for a reload and waits until it is done.
    fn reload(&mut self) {
        self.running.signal("HUP");
        self.until_reloaded();
    }

    fn until_reloaded(&mut self) {
        self.reloads += 1;
        let reloads = self.reloads;
        self.running.until("the new version runs", |running| running.said().matches(" version)").count() >= reloads);
    }

    /// Asks for a reload that fails, and waits until that is told.
    fn fails(&mut self, why: &str) {
        self.running.signal("HUP");
        self.failures += 1;
        let failures = self.failures;
        self.running.until(why, |running| running.said().matches(" goes on").count() >= failures);
        assert!(self.running.said().contains(why), "{why}: {}", self.running.said());
    }

    /// Lets packets come.
    fn some_packets(&mut self) {
        let until = self.running.elapsed() + Duration::from_millis(150);
        self.running.until("packets come", |running| running.elapsed() >= until);
    }

    fn stop(self) -> (Place, Ended) {
        self.running.signal("INT");
        let ended = self.running.wait(LIMIT);
        (self.place, ended)
    }
}

/// What was counted under each key, and the sum.
fn counted(place: &Place) -> (Vec<(String, u64)>, u64) {
    let all: Vec<(String, u64)> = events(&place.path("events"))
        .iter()
        .filter(|e| e["ev"] == "counter_total" && e["guid"].as_str().is_some_and(|g| g.eq_ignore_ascii_case(GROUP)))
        .map(|e| (e["key"].as_str().unwrap().to_owned(), e["updates"].as_u64().unwrap()))
        .collect();
    let sum = all.iter().map(|(_, count)| count).sum();
    (all, sum)
}

fn keys(counted: &[(String, u64)]) -> Vec<&str> {
    let mut keys: Vec<&str> = counted.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

fn packets(report: &Value) -> u64 {
    report["run"]["packets"].as_u64().unwrap()
}

fn note(report: &Value, name: &str) -> u64 {
    let found = report["notes"].as_array().into_iter().flatten().find(|note| note["name"] == name);
    found.and_then(|note| note["count"].as_u64()).unwrap_or_default()
}

fn counting(more: &str) -> Place {
    Place::new().plugin("a-group.lua", &group()).plugin("count.lua", &counter("v1", "", more))
}

/// The numbers behind a word that a script has printed, in order.
fn printed(ended: &Ended, what: &str) -> Vec<u64> {
    let text = format!("{}{}", ended.stdout, ended.stderr);
    text.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
}

#[test]
fn every_packet_is_counted_by_one_version_and_state_is_handed_on() {
    let mut bench = Bench::start(counting(HANDED_ON), &[]);
    for version in ["v2", "v3", "v4"] {
        bench.write("count.lua", &counter(version, "", HANDED_ON));
        bench.reload();
        bench.some_packets();
    }
    let (place, ended) = bench.stop();
    ended.exits(0);
    let report = ended.report();
    let (all, sum) = counted(&place);
    assert_eq!(keys(&all), ["v1", "v2", "v3", "v4"]);
    assert_eq!(sum, packets(&report));
    let (from, up_to) = (printed(&ended, "from "), printed(&ended, "up to "));
    assert_eq!((from.len(), up_to.len()), (3, 4), "{}", ended.stderr);
    assert_eq!(from, up_to[..3]);
    assert_eq!(up_to[3], sum, "the last version knows of every packet");
    assert_eq!((note(&report, "reloads"), note(&report, "reload_failures")), (3, 0));
    let plugin = report["plugins"].as_array().unwrap().iter().find(|p| p["name"] == "count.lua").unwrap();
    assert_eq!((&plugin["version"], &plugin["calls"]), (&Value::from(4), &Value::from(sum)));
    let loads = events(&place.path("events"));
    let loads: Vec<&Value> = loads.iter().filter(|e| e["ev"] == "load" && e["script"] == "count.lua").collect();
    assert_eq!(loads.len(), 4);
    assert!(loads.iter().all(|load| load["ok"] == true));
    assert!(ended.stderr.contains("[count.lua] reloaded (3rd version)"), "{}", ended.stderr);
}

#[test]
fn a_version_that_does_not_load_leaves_the_one_that_runs() {
    for more in ["", HANDED_ON] {
        // Without an onunload the old instance notices nothing; with one it is made anew from what it left.
        let mut bench = Bench::start(counting(more), &["--callback-budget", "300"]);
        let broken = [
            ("TrisulPlugin = this is no Lua", "count.lua:1:"),
            ("error('at the top') TrisulPlugin = {}", "at the top"),
            ("while true do end TrisulPlugin = {}", "exceeded"),
            ("TrisulPlugin = setmetatable({}, { __index = function() while true do end end })", "exceeded"),
            ("TrisulPlugin = 5", "leaves no TrisulPlugin table behind"),
            ("local x = 1", "does not mention TrisulPlugin"),
            (&counter("v2", "", "onload = function() error('no way') end,"), "no way"),
            (&counter("v3", "", "onload = function() return false end,"), "onload returned false"),
            (&counter("v4", "", "onload = function() while true do end end,"), "exceeded"),
        ];
        for (text, why) in broken {
            bench.write("count.lua", text);
            bench.fails(why);
            bench.some_packets();
        }
        bench.write("count.lua", &counter("v5", "", more));
        bench.reload();
        bench.some_packets();
        let (place, ended) = bench.stop();
        ended.exits(1);
        let report = ended.report();
        let (all, sum) = counted(&place);
        assert_eq!(keys(&all), ["v1", "v5"]);
        assert_eq!(sum, packets(&report));
        assert_eq!((note(&report, "reloads"), note(&report, "reload_failures")), (1, 9));
        let failed = events(&place.path("events")).iter().filter(|e| e["ev"] == "load" && e["ok"] == false).count();
        assert_eq!(failed, 9);
        if !more.is_empty() {
            assert_eq!(printed(&ended, "up to ").last(), Some(&sum), "the number of packets survived all of it");
        }
    }
}

#[test]
fn what_cannot_be_handed_on_is_named() {
    let state = "onload = function(state) if state then print('kept ' .. state.list[2]) print('got ' .. tostring(state.co) .. \
        ' ' .. tostring(state.self == state) .. ' ' .. state.f(4)) end end, \
        onunload = function() local s = { list = { 1, 'two' }, co = coroutine.create(print), f = function(x) return x * 2 end } \
        s.self = s return s end,";
    let mut bench = Bench::start(counting(state), &[]);
    bench.write("count.lua", &counter("v2", "", state));
    bench.reload();
    bench.until_said("got nil true 8");
    let (_, ended) = bench.stop();
    ended.exits(0);
    assert!(ended.stderr.contains("kept two"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("onunload: state.co is a coroutine, which the next version does not get"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_change_of_a_file_or_a_library_is_noticed_within_two_seconds() {
    let place = counting("");
    write(&place, "helpers/lib.lua", "return 1");
    let user = counter("with", "local lib = require 'lib'", "onload = function() print('lib ' .. lib) end,");
    let place = place.plugin("user.lua", &user);
    let mut bench = Bench::start(place, &["--watch"]);
    bench.until_said("lib 1");
    let mut times = Vec::new();
    for number in 2..6 {
        bench.write("helpers/lib.lua", &format!("return {number}"));
        let watch = Stopwatch::start();
        bench.until_said(&format!("lib {number}"));
        times.push(watch.elapsed());
        bench.until_reloaded();
        bench.write(
            "count.lua",
            &counter(&format!("v{number}"), "", &format!("onload = function() print('own {number}') end,")),
        );
        let watch = Stopwatch::start();
        bench.until_said(&format!("own {number}"));
        times.push(watch.elapsed());
        bench.until_reloaded();
    }
    say(&format!("from change to new version: {times:?}"));
    assert!(times.iter().all(|time| *time < Duration::from_secs(2)), "{times:?}");
    // A library that does not compile leaves everything as it is, until it does.
    bench.write("helpers/lib.lua", "return return");
    bench.failures += 1;
    bench.until_said(" goes on");
    bench.write("helpers/lib.lua", "return 7");
    bench.until_said("lib 7");
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (all, sum) = counted(&place);
    let of_user = all.iter().find(|(key, _)| key == "with").unwrap().1;
    assert_eq!((of_user, sum - of_user), (packets(&ended.report()), packets(&ended.report())));
    // Nothing but what has changed was loaded again: nine changes of a library or the file, one failure.
    assert_eq!((note(&ended.report(), "reloads"), note(&ended.report(), "reload_failures")), (9, 1));
}

#[test]
fn of_two_changes_in_quick_succession_the_last_one_runs() {
    let mut bench = Bench::start(counting(""), &["--watch"]);
    for round in 0..3 {
        for version in ["x", "y", "last"] {
            let text = format!("onload = function() print('{version} {round}') end,");
            bench.write("count.lua", &counter(version, "", &text));
        }
        bench.until_said(&format!("last {round}"));
        // Changed again the moment it has been read.
        bench.write("count.lua", &counter("again", "", &format!("onload = function() print('again {round}') end,")));
        bench.until_said(&format!("again {round}"));
    }
    let (place, ended) = bench.stop();
    ended.exits(0);
    let (all, sum) = counted(&place);
    assert_eq!(sum, packets(&ended.report()));
    assert!(all.iter().any(|(key, _)| key == "again"), "{all:?}");
}

/// What the run says about one of its plugins.
fn state_of(plugin: &str, socket: &str) -> Option<String> {
    let mut asking = Command::new(env!("CARGO_BIN_EXE_millstream"));
    let output = asking.args(["plugins", "--control", socket, "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).ok()?;
    let row = told["plugins"].as_array()?.iter().find(|row| row["name"] == plugin)?;
    row["state"].as_str().map(str::to_owned)
}

#[test]
fn new_files_take_their_place_and_deleted_ones_are_unloaded() {
    let teller = |name: &str| {
        format!(
            "TrisulPlugin = {{ id = {{ name = '{name}' }}, onload = function() print('hello {name}') end, \
             onunload = function() print('bye {name}') end, simplecounter = {{ protocol_guid = '{UDP}', \
             onpacket = function(engine, layer) engine:update_counter('{GROUP}', '{name}', 0, 1) \
             if layer:getbyte(11) == 0 then print('{name} sees') end end }} }}"
        )
    };
    let place =
        Place::new().plugin("a-group.lua", &group()).plugin("b.lua", &teller("b")).plugin("d.lua", &teller("d"));
    let socket = place.path("control").display().to_string();
    let mut bench = Bench::start(place, &["--watch", "--control", &socket]);
    bench.write("c.lua", &teller("c"));
    bench.until_said("hello c");
    bench.running.until("c is among the plugins", |_| state_of("c.lua", &socket).as_deref() == Some("loaded"));
    // In the order of their paths, for the same packet.
    bench.until_said("b sees\nc sees\nd sees\n");
    fs::remove_file(bench.place.path("plugins/b.lua")).unwrap();
    bench.until_said("bye b");
    bench.until_said("unloaded, because its file is gone");
    bench.running.until("b is told to be gone", |_| {
        state_of("b.lua", &socket).as_deref() == Some("not loaded: its file is gone")
    });
    bench.some_packets();
    // It comes back under the number it had.
    let before = bench.times("hello b");
    bench.write("b.lua", &teller("b"));
    bench.running.until("b is back", |running| running.said().matches("hello b").count() > before);
    bench.until_said("[b.lua] reloaded (2nd version)");
    bench.some_packets();
    let (place, ended) = bench.stop();
    ended.exits(0);
    let (all, _) = counted(&place);
    assert_eq!(keys(&all), ["b", "c", "d"]);
    let count = |key: &str| all.iter().find(|(known, _)| known == key).unwrap().1;
    assert_eq!(count("d"), packets(&ended.report()));
    assert!(count("b") < count("d") && count("c") < count("d"), "{all:?}");
    for name in ["b", "c", "d"] {
        let row = |p: &&Value| p["name"] == format!("{name}.lua");
        assert!(ended.report()["plugins"].as_array().unwrap().iter().any(|p| row(&p)), "{name}");
    }
}

#[test]
fn jobs_of_the_version_before_end_as_orphaned_and_none_is_lost() {
    let scheduling = |version: &str| {
        format!(
            "local n = 0 TrisulPlugin = {{ id = {{ name = 'jobs' }}, simplecounter = {{ protocol_guid = '{UDP}', \
             onpacket = function(engine, layer) n = n + 1 if n <= 20 then T.async:schedule {{ data = '{version}', \
             onexecute = function(d) os.execute('sleep 0.2') return d end, \
             onresult = function(engine, req, res) print('result {version} ' .. res) end }} end end }} }}"
        )
    };
    for delivery in ["files", "never"] {
        let place = Place::new().plugin("a-group.lua", &group()).plugin("jobs.lua", &scheduling("v1"));
        let mut bench = Bench::start(place, &["--deterministic", delivery, "--async-drain", "1s"]);
        bench.write("jobs.lua", &scheduling("v2"));
        bench.reload();
        bench.until_said("jobs of the version that was unloaded end as orphaned");
        bench.some_packets();
        let (place, ended) = bench.stop();
        ended.exits(0);
        let written = events(&place.path("events"));
        let report = ended.report();
        let jobs = &report["jobs"];
        let ended_as: Vec<(&str, u64)> = jobs["ended"]
            .as_array()
            .unwrap()
            .iter()
            .map(|state| (state["name"].as_str().unwrap(), state["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(jobs["submitted"], 40);
        assert_eq!(ended_as.iter().map(|(_, count)| count).sum::<u64>(), 40, "{ended_as:?}");
        let orphaned = ended_as.iter().find(|(name, _)| *name == "orphaned").map_or(0, |(_, count)| *count);
        assert!((15..=20).contains(&orphaned), "{ended_as:?}");
        assert_eq!(dropped(&report, "jobs_orphaned"), orphaned);
        let told: Vec<Value> = written.into_iter().filter(|event| event["ev"] == "job").collect();
        let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!((told.len(), ids.len()), (40, 40), "each job has one end");
        let as_orphaned: Vec<&Value> = told.iter().filter(|event| event["state"] == "orphaned").collect();
        assert_eq!(as_orphaned.len() as u64, orphaned);
        assert!(as_orphaned.iter().all(|event| event["script"] == "jobs.lua"
            && event["side"] == "async"
            && event["fn"].as_str().is_some_and(|place| place.contains("jobs.lua:"))));
        assert!(ended.stderr.contains("result v2 v2"), "{}", ended.stderr);
    }
}

#[test]
fn a_worker_that_waits_for_the_version_before_is_told_that_it_is_gone() {
    let place = Place::new().plugin("a-group.lua", &group());
    let told = place.path("told").display().to_string();
    // Asks for a section again and again; the new version takes its time to load, and one waits meanwhile.
    let asking = format!(
        "local asked = 0 TrisulPlugin = {{ id = {{ name = 'asks' }}, simplecounter = {{ protocol_guid = '{UDP}', \
         onpacket = function(engine, layer) asked = asked + 1 if asked == 1 then T.async:schedule {{ data = '{told}', \
         onexecute = function(path) local fine, why repeat fine, why = pcall(T.block, function() return 1 end) until not fine \
         local file = io.open(path, 'w') file:write(why) file:close() end }} print('asks') end end }} }}"
    );
    let slow = format!(
        "TrisulPlugin = {{ id = {{ name = 'asks' }}, onload = function() local from = os.clock() \
         while os.clock() - from < 0.3 do end end, \
         simplecounter = {{ protocol_guid = '{UDP}', onpacket = function() end }} }}"
    );
    write(&place, "asks.lua", &asking);
    let mut bench = Bench::start(place, &["--async-drain", "1s", "--callback-budget", "20000"]);
    bench.until_said("asks");
    bench.write("asks.lua", &slow);
    bench.reload();
    let path = bench.place.path("told");
    bench.running.until("the worker is told", |_| fs::read_to_string(&path).is_ok_and(|told| !told.is_empty()));
    let said = fs::read_to_string(&path).unwrap();
    assert!(said.ends_with("T.block: the plugin was reloaded or removed"), "{said}");
    let (place, ended) = bench.stop();
    ended.exits(0);
    let jobs: Vec<Value> = events(&place.path("events")).into_iter().filter(|event| event["ev"] == "job").collect();
    assert_eq!(jobs.iter().map(|job| job["state"].as_str().unwrap()).collect::<Vec<_>>(), ["orphaned"]);
}

#[test]
fn what_jobs_of_a_plugin_that_came_later_have_started_ends_with_the_run() {
    let late = format!(
        "local n = 0 TrisulPlugin = {{ id = {{ name = 'late' }}, simplecounter = {{ protocol_guid = '{UDP}', \
         onpacket = function(engine, layer) n = n + 1 if n == 1 then T.async:schedule {{ data = '', \
         onexecute = function() os.execute('sleep 30') end }} end end }} }}"
    );
    let mut bench = Bench::start(Place::new().plugin("a-group.lua", &group()), &[]);
    bench.write("late.lua", &late);
    bench.running.signal("HUP");
    let mut children = Vec::new();
    bench.running.until("a job has started a child", |running| {
        children = descendants(running.id());
        !children.is_empty()
    });
    bench.running.signal("INT");
    // It waits for the job.
    bench.some_packets();
    bench.running.signal("INT");
    bench.running.wait(LIMIT);
    let watch = Stopwatch::start();
    while children.iter().any(|id| is_alive(*id)) {
        assert!(watch.elapsed() < Duration::from_secs(2), "child processes are left behind: {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn workers_read_changed_libraries_again() {
    let text = format!(
        "local n = 0 TrisulPlugin = {{ id = {{ name = 'w' }}, simplecounter = {{ protocol_guid = '{UDP}', \
         onpacket = function(engine, layer) n = n + 1 if n % 50 == 0 then T.async:schedule {{ data = '', \
         onexecute = function() return tostring(require('deep')) end, \
         onresult = function(engine, req, res) print('worker has ' .. res) end }} end end }} }}"
    );
    let place = Place::new().plugin("w.lua", &text);
    write(&place, "helpers/deep.lua", "return 'old'");
    let mut bench = Bench::start(place, &["--watch", "--deterministic", "never"]);
    bench.until_said("worker has old");
    bench.write("helpers/deep.lua", "return 'new'");
    bench.until_said("worker has new");
    let (_, ended) = bench.stop();
    ended.exits(0);
}

#[test]
fn the_backend_changes_between_two_seconds_and_never_inside_a_flush() {
    let monitor = |version: &str| {
        format!(
            "local windows = 0 TrisulPlugin = {{ id = {{ name = 'm' }}, \
             onload = function(state) if state then windows = state.windows end print('load {version}') end, \
             onunload = function() print('unload {version}') return {{ windows = windows }} end, \
             cg_monitor = {{ counter_guid = '{GROUP}', \
             onbeginflush = function(engine, ts) windows = windows + 1 print('begin {version} ' .. windows) \
             local t = os.clock() while os.clock() - t < 0.3 do end end, \
             onendflush = function(engine, ts) print('end {version} ' .. windows) end }} }}"
        )
    };
    // On the packet thread.
    let window = "Tuning>StreamingWindowMSecs=1000";
    let mut bench = Bench::start(counting("").plugin("m.lua", &monitor("v1")), &["--set", window]);
    let change = move |place: &Place, running: &mut Running| {
        for version in ["v2", "v3", "v4"] {
            write(place, "m.lua", &monitor(version));
            running.signal("HUP");
            running.until("the flush ends", |running| running.said().contains(&format!("end {version}")));
        }
    };
    change(&bench.place, &mut bench.running);
    let (_, ended) = bench.stop();
    windows_are_whole(&ended);
    // On a thread of its own.
    in_namespace(move || {
        let place = counting("").plugin("m.lua", &monitor("v1"));
        let (place, mut running) = capturing(place, &["-i", "here", "--json", "--set", window]);
        change(&place, &mut running);
        running.signal("INT");
        windows_are_whole(&running.wait(LIMIT));
    });
}

/// Fails unless every flush begins and ends in the same version, and the number of windows was handed on.
#[track_caller]
fn windows_are_whole(ended: &Ended) {
    ended.exits(0);
    let words = ["begin ", "end ", "load ", "unload "];
    let lines: Vec<&str> = ended.stderr.lines().filter(|l| words.iter().any(|word| l.starts_with(word))).collect();
    let mut last = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(begun) = line.strip_prefix("begin ") else { continue };
        assert_eq!(lines.get(at + 1).and_then(|next| next.strip_prefix("end ")), Some(begun), "{lines:#?}");
        let number: u64 = begun.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(number, last + 1, "no window is missed: {lines:#?}");
        last = number;
    }
    assert!(last >= 4, "{lines:#?}");
}

#[test]
fn both_engines_take_the_new_version() {
    let place = counting("onload = function() print('load v1') end,");
    let file = endless(&place);
    let mut bench = Bench::start_on(place, &["-r", &file, "--engines", "2", "--loop", "1000000"]);
    bench.write("count.lua", &counter("v2", "", "onload = function() print('load v2') end,"));
    bench.reload();
    bench.running.until("both have it", |running| running.said().matches("load v2").count() == 2);
    // What one of them refuses, both do without. Only one of them can make the file, however close they are.
    let odd =
        "onload = function() local file = io.open('seen', 'wx') if not file then error('second') end file:close() end,";
    bench.write("count.lua", &counter("v3", "", odd));
    bench.fails("second");
    bench.running.until("the first goes back", |running| running.said().matches("load v2").count() == 3);
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (all, sum) = counted(&place);
    assert!(keys(&all).starts_with(&["v1", "v2"]), "{all:?}");
    assert_eq!(sum, packets(&ended.report()));
}

#[test]
fn all_backends_take_the_new_version_or_none() {
    let monitor = |version: &str, more: &str| {
        format!(
            "TrisulPlugin = {{ id = {{ name = 'm' }}, onload = function() {more} print('{version} on ' .. T.contextid) end, \
             engine_monitor = {{ onbeginflush = function() end, onmetronome = function() end }} }}"
        )
    };
    let place = counting("").plugin("m.lua", &monitor("v1", ""));
    let file = endless(&place);
    let mut bench = Bench::start_on(place, &["-r", &file, "--engines", "2", "--backends", "2", "--loop", "1000000"]);
    bench.write("m.lua", &monitor("v2", ""));
    bench.reload();
    bench.running.until("both have it", |running| running.said().matches("v2 on ").count() == 2);
    let odd = "local file = io.open('seen', 'wx') if not file then error('not here') end file:close()";
    bench.write("m.lua", &monitor("v3", odd));
    bench.fails("not here");
    bench.running.until("one goes back", |running| running.said().matches("v2 on ").count() == 3);
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (_, sum) = counted(&place);
    assert_eq!(sum, packets(&ended.report()));
}

#[test]
fn a_first_reassembly_handler_hears_of_flows_that_go_on() {
    let place = counting("");
    let path = conversation(&place);
    let handler = |version: &str| {
        format!(
            "local first, seen = nil, 0 TrisulPlugin = {{ id = {{ name = 'r' }}, \
             onload = function(state) if state then seen = state.seen print('had ' .. seen) end end, \
             onunload = function() return {{ seen = seen }} end, \
             reassembly_handler = {{ onpayload = function(engine, time, flow, direction, seek, buffer) \
             seen = seen + 1 if not first then first = buffer:tostring() print('{version} ' .. first) end end }} }}"
        )
    };
    let mut bench = Bench::start_on(place, &["-r", &path, "--speed", "2"]);
    bench.write("r.lua", &handler("v1"));
    bench.running.signal("HUP");
    bench.until_said("v1 line ");
    bench.some_packets();
    bench.write("r.lua", &handler("v2"));
    bench.reload();
    bench.until_said("had ");
    bench.until_said("v2 line ");
    let (_, ended) = bench.stop();
    ended.exits(0);
    assert_eq!(ended.report()["flows"]["created"], 1, "the flow is the same");
}

#[test]
fn a_first_monitor_of_flows_and_resources_hears_of_what_the_store_alone_took_before() {
    let place = counting("");
    let store = place.path("store.db").display().to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap");
    let arguments = ["-r", path, "--loop", "1000000", "--speed", "20", "--json", "--flows", "--store", &store];
    let mut running = place.start(&arguments);
    running.until("packets are counted", |running| running.elapsed() > Duration::from_millis(300));
    let monitor = "TrisulPlugin = { id = { name = 'm' }, \
        sg_monitor = { onterminate = function(engine, flow) print('over ' .. flow:flow():id()) end }, \
        resource_monitor = { resource_guid = '{4EF9DEB9-4332-4867-A667-6A30C5900E9E}', \
        onnewresource = function(engine, resource) print('uri ' .. resource:uri()) end } }";
    write(&place, "m.lua", monitor);
    running.signal("HUP");
    running.until("a flow ends", |running| running.said().contains("over 06A:"));
    running.until("a resource comes", |running| running.said().contains("uri "));
    running.signal("INT");
    running.wait(LIMIT).exits(0);
}

#[test]
fn streams_are_put_together_once_somebody_wants_them() {
    let place = counting("");
    let path = conversation(&place);
    // Flows are tracked for a script that does not look into them.
    let metric = "TrisulPlugin = { id = { name = 'm' }, messagemonitor = { onflowmetric = function() end } }";
    let place = place.plugin("m.lua", metric);
    let mut bench = Bench::start_on(place, &["-r", &path, "--speed", "2"]);
    let handler = "local first TrisulPlugin = { id = { name = 'r' }, reassembly_handler = { \
        onpayload = function(engine, time, flow, direction, seek, buffer) \
        if not first then first = buffer:tostring() print('stream ' .. first) end end } }";
    bench.write("r.lua", handler);
    bench.running.signal("HUP");
    bench.until_said("stream line ");
    let (_, ended) = bench.stop();
    ended.exits(0);
    assert_eq!(ended.report()["flows"]["created"], 1);
}

#[test]
fn definitions_wait_for_a_restart_and_that_is_said_once() {
    let mut bench = Bench::start(counting(""), &[]);
    let other = group().replace("'Seen'", "'Other name'");
    bench.write("a-group.lua", &other);
    bench.reload();
    bench.write("a-group.lua", &format!("{other} -- again"));
    bench.reload();
    bench.write("m.lua", "TrisulPlugin = { id = { name = 'm' }, engine_monitor = { onendflush = function() end } }");
    bench.running.signal("HUP");
    bench.until_said("[m.lua] loaded");
    let (place, ended) = bench.stop();
    ended.exits(0);
    assert_eq!(ended.stderr.matches("takes effect after a restart").count(), 1, "{}", ended.stderr);
    let (_, sum) = counted(&place);
    assert_eq!(sum, packets(&ended.report()));
}

#[test]
fn a_disabled_script_begins_anew() {
    let bad = counter("v1", "", "").replace("n = n + 1 ", "n = n + 1 while true do end ");
    let place = Place::new().plugin("a-group.lua", &group()).plugin("count.lua", &bad);
    let mut bench = Bench::start(place, &["--callback-budget", "20"]);
    bench.until_said("disabled");
    bench.write("count.lua", &counter("v2", "", ""));
    bench.reload();
    bench.some_packets();
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (all, _) = counted(&place);
    assert_eq!(keys(&all), ["v2"]);
}

#[test]
fn files_are_left_alone_unless_they_are_watched() {
    let mut bench = Bench::start(counting(""), &[]);
    bench.write("count.lua", &counter("v2", "", ""));
    let until = bench.running.elapsed() + Duration::from_millis(1_500);
    bench.running.until("nothing happens", |running| running.elapsed() > until);
    assert_eq!(bench.times("version)"), 0);
    let (place, ended) = bench.stop();
    ended.exits(0);
    assert_eq!(keys(&counted(&place).0), ["v1"]);
}

/// Kilobytes of memory that a process holds.
fn memory(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_reloads_lose_no_packet_and_no_memory() {
    in_namespace(|| {
        let version = |number: u32| counter("all", &format!("-- {number}"), HANDED_ON);
        let place = Place::new().plugin("a-group.lua", &group()).plugin("count.lua", &version(0));
        let written = place.path("events").display().to_string();
        let arguments = ["-i", "here", "--json", "--log", "debug", "--events", &written];
        let (place, mut running) = capturing(place, &arguments);
        let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
        let (mut sent, mut at) = (0_u64, Vec::new());
        for number in 1..=100 {
            write(&place, "count.lua", &version(number));
            running.signal("HUP");
            let wanted = number as usize;
            running.until("the next version runs", |running| {
                for _ in 0..20 {
                    let packet = support::frames::udp_packet((5000, 6000), &sent.to_be_bytes());
                    sender.sendpacket(&packet[..]).unwrap();
                    sent += 1;
                }
                running.said().matches(" version)").count() >= wanted
            });
            if number % 10 == 0 {
                at.push(memory(running.id()));
            }
        }
        running.signal("INT");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        let report = ended.report();
        let mut pauses: Vec<f64> = ended
            .stderr
            .lines()
            .filter(|line| line.contains("frontend 0 paused for"))
            .filter_map(|line| line.split("paused for ").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        pauses.sort_by(f64::total_cmp);
        say(&format!(
            "{sent} packets; memory after each ten reloads {at:?} kB; pause median {} ms, longest {} ms",
            pauses[pauses.len() / 2],
            pauses[pauses.len() - 1]
        ));
        assert_eq!(dropped(&report, "kernel_dropped") + dropped(&report, "interface_dropped"), 0, "{report}");
        let (all, sum) = counted(&place);
        assert_eq!((keys(&all), sum), (vec!["all"], sent));
        assert_eq!(printed(&ended, "up to ").last(), Some(&sent));
        assert_eq!(note(&report, "reloads"), 100);
        // After a warm-up memory stays where it is.
        assert!(at[9] < at[2] + 4_096, "{at:?}");
    });
}

#[test]
fn what_a_function_says_that_names_the_group_of_a_monitor_is_told_once_for_each_version() {
    let version = |version: &str, onload: &str| {
        let more = format!(
            "onload = function() {onload} end, cg_monitor = {{ counter_guid = function() print('binds {version}') \
             return '{GROUP}' end, onnewkey = function() end }},"
        );
        counter(version, "", &more)
    };
    let place = Place::new().plugin("a-group.lua", &group()).plugin("count.lua", &version("v1", ""));
    let file = endless(&place);
    let mut bench = Bench::start_on(place, &["-r", &file, "--engines", "2", "--loop", "1000000"]);
    // The backend loads it and one packet thread, which take it back then. Which thread that is is left to chance.
    for round in 2..8 {
        let odd = format!(
            "local file = io.open('seen{round}', 'a') file:write('x\\n') file:close() local n = 0 \
             for _ in io.lines('seen{round}') do n = n + 1 end if n == 3 then error('not here {round}') end"
        );
        bench.write("count.lua", &version(&format!("v{round}"), &odd));
        bench.fails(&format!("not here {round}"));
        bench.some_packets();
    }
    let told: Vec<usize> = (1..8).map(|round| bench.times(&format!("binds v{round}"))).collect();
    let (_, ended) = bench.stop();
    ended.exits(1);
    assert_eq!(told, [1; 7], "{}", ended.stderr);
}
