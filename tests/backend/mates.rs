//! Scripts on several backends count keys, raise alerts and give tags: each key, flow and record has one backend, wherever
//! the script was, and all together do what one backend does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream::time::Stopwatch;
use serde_json::Value;

use crate::engines::many;
use crate::support::{Bench, Capture, GROUP, Outcome, frames};
use crate::{block, counting};

/// A group that only backend scripts count in.
const MADE: &str = "{0B1C2D3E-0000-4000-8000-00000000EF01}";
const ALERTS: &str = "{5A1E6C1B-6F3A-4D5E-9C55-0A3E4E6D7F01}";

/// Groups of the test; every meter of the second one has toppers at both ends, four vartypes of which no order matters.
fn groups() -> String {
    format!(
        "TrisulPlugin = {{ id = {{ name = 'made' }}, \
         alertgroup = {{ control = {{ guid = '{ALERTS}', name = 'Test alerts' }} }}, \
         countergroup = {{ control = {{ guid = '{MADE}', name = 'Made', bucketsize = 30, topper_bucketsize = 60 }}, meters = {{ \
         {{ 0, T.K.vartype.COUNTER, 5, 3, 'zero', 'first', 'x' }}, \
         {{ 1, T.K.vartype.AVERAGE, 5, 3, 'one', 'second', 'x' }}, \
         {{ 2, T.K.vartype.MAXIMUM, 5, 0, 'two', 'third', 'x' }}, \
         {{ 3, T.K.vartype.RUNNING_COUNTER, 5, 0, 'three', 'fourth', 'x' }} }} }} }}"
    )
}

/// Counts in every callback that is made once for a key, a flow or an alert.
fn bench() -> Bench {
    let count = "engine:update_counter(G, layer:packet():flowid():portz(), 0, 1) \
                 engine:update_counter(G, layer:packet():flowid():porta(), 1, n % 5)";
    let made = |key: &str, value: &str| {
        format!(
            "e:update_counter('{MADE}', {key}, 0, {value}) e:update_counter('{MADE}', {key}, 1, {value}) \
             e:update_counter('{MADE}', {key}, 2, {value}) e:update_counter('{MADE}', {key}, 3, 1) "
        )
    };
    let keys = format!(
        "counter_guid = '{GROUP}', \
         onnewkey = function(e, ts, key) {} end, \
         onupdate = function(e, ts, key, m) {} end, \
         onflush = function(e, ts, key, m) if key ~= 'SYS:GROUP_TOTALS' then {} \
         e:add_alert('{ALERTS}', nil, 'sig' .. m[1] % 7, 1, 'flushed ' .. key) end end, \
         ontopperflush = function(e, key, m) {} end",
        made("'new ' .. key:sub(-1)", "1"),
        made("'update ' .. key:sub(-2)", "m[1]"),
        made("'a long name of a key that is flushed ' .. m[1] % 11", "m[2] + 1"),
        made("'topper'", "m"),
    );
    let flows = format!(
        "onterminate = function(e, f) {} end, onflush = function(e, f) {} end",
        made("f:flow():ipa()", "f:az_packets()"),
        made("'C0.A8.01.0' .. f:az_packets() % 9", "f:az_bytes()")
    );
    let alerts = format!(
        "alert_guid = '{ALERTS}', \
         onnewalert = function(e, a) print(e:instanceid(), 'new', a:message(), a:sigid(), e:timestamp()) {} end, \
         onflush = function(e, a) print(e:instanceid(), 'flush', a:message(), a:sigid()) {} end",
        made("a:sigid()", "2"),
        made("a:message()", "3")
    );
    let heard = format!(
        "counter_guid = '{MADE}', \
         onnewkey = function(e, ts, key) print(e:instanceid(), 'new', key, ts) end, \
         onupdate = function(e, ts, key, m) print(e:instanceid(), 'update', key, ts, unpack(m)) end, \
         onflush = function(e, ts, key, m) print(e:instanceid(), 'flush', key, ts, unpack(m)) end, \
         ontopperflush = function(e, key, m) print(e:instanceid(), 'topper', key, m) end"
    );
    counting(Bench::new(), count)
        .plugin("a.lua", &groups())
        .plugin("c.lua", &block("cg_monitor", &keys))
        .plugin("d.lua", &block("sg_monitor", &flows))
        .plugin("f.lua", &block("alert_monitor", &alerts))
        .plugin("heard.lua", &block("cg_monitor", &heard))
}

/// What a script printed, without the number of the backend, in order of text; each key or message must have been told of
/// by one backend.
#[track_caller]
fn told(outcome: &Outcome, script: &str, thing: usize) -> Vec<String> {
    let (mut lines, mut by_thing) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for line in outcome.printed_by(script).into_iter().filter(|line| !line.contains("SYS:GROUP_TOTALS")) {
        let columns: Vec<&str> = line.split('\t').collect();
        by_thing.entry(columns[thing].to_owned()).or_default().insert(columns[0].to_owned());
        lines.push(columns[1..].join("\t"));
    }
    assert!(by_thing.values().all(|backends| backends.len() == 1), "{script}: {by_thing:?}");
    lines.sort_unstable();
    lines
}

/// Rows of the flush without the totals, which each backend makes of its own keys.
fn rows(outcome: &Outcome, ev: &str) -> Vec<String> {
    let mut rows: Vec<String> = outcome
        .of(ev)
        .into_iter()
        .filter(|event| event["key"] != "SYS:GROUP_TOTALS")
        .map(|event| format!("{event}"))
        .collect();
    rows.sort_unstable();
    rows
}

#[track_caller]
fn assert_same(one: &[String], other: &[String], what: &str) {
    let differs = one.iter().zip(other).find(|(a, b)| a != b);
    assert!(one == other, "{what}: {} and {} lines, {differs:#?}", one.len(), other.len());
}

#[test]
fn what_scripts_of_several_backends_count_is_as_if_there_were_one() {
    // Scripts number the packets of their own thread, so what is compared has as many threads.
    for (engines, all) in [("1", &["2", "3"][..]), ("2", &["2"])] {
        let run = |backends: &str| {
            let outcome = bench().args(&["--engines", engines, "--backends", backends]).run(&many());
            outcome.exits(0);
            outcome
        };
        let one = run("1");
        let heard = told(&one, "heard.lua", 2);
        let kinds: BTreeSet<&str> = heard.iter().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(kinds, BTreeSet::from(["flush", "new", "topper", "update"]));
        assert!(told(&one, "f.lua", 2).len() > 100);
        for backends in all {
            let several = run(backends);
            let name = format!("{engines} and {backends}");
            let used: BTreeSet<&str> =
                several.printed_by("heard.lua").into_iter().filter_map(|line| line.split('\t').next()).collect();
            assert_eq!(used.len(), backends.parse::<usize>().expect("a number"), "{name}");
            assert_same(&heard, &told(&several, "heard.lua", 2), &format!("{name}: heard"));
            assert_same(&told(&one, "f.lua", 2), &told(&several, "f.lua", 2), &format!("{name}: alerts"));
            assert_same(&rows(&one, "counter"), &rows(&several, "counter"), &format!("{name}: counters"));
            assert_same(&rows(&one, "topper"), &rows(&several, "topper"), &format!("{name}: toppers"));
            assert_eq!(one.totals(), several.totals(), "{name}");
            for counter in ["backend_updates_dropped", "backend_items_dropped", "backends_not_waited_for"] {
                assert_eq!(several.dropped(counter), 0, "{name}: {counter}");
            }
        }
    }
}

#[test]
fn two_runs_with_several_backends_call_the_same_in_the_same_order() {
    let bench = bench().args(&["--backends", "2", "--engines", "2"]);
    let run = || bench.run(&many());
    let (first, again) = (run(), run());
    for script in ["heard.lua", "f.lua"] {
        for backend in ["0\t", "1\t"] {
            let of = |outcome: &Outcome| -> Vec<String> {
                let lines = outcome.printed_by(script).into_iter().filter(|line| line.starts_with(backend));
                lines.map(ToOwned::to_owned).collect()
            };
            assert!(of(&first).len() > 50);
            assert_same(&of(&first), &of(&again), &format!("{script} on {backend}"));
        }
    }
    // What all threads told of, in one order.
    for (at, (one, other)) in first.event_lines.lines().zip(again.event_lines.lines()).enumerate() {
        assert_eq!(one, other, "line {at}");
    }
    assert_eq!(first.event_lines, again.event_lines);
}

/// Values of a key of [`MADE`] by bucket, however many rows there are of it.
#[test]
fn events_have_one_order_without_backend_scripts_as_well() {
    let bench = Bench::new().group().args(&["--backends", "3", "--builtin", "all"]);
    let first = bench.run(&many());
    assert!(first.of("counter").len() > 100);
    for _ in 0..8 {
        let again = bench.run(&many());
        for (at, (one, other)) in first.event_lines.lines().zip(again.event_lines.lines()).enumerate() {
            assert_eq!(one, other, "line {at}");
        }
        assert_eq!(first.event_lines.len(), again.event_lines.len());
    }
}

fn buckets(outcome: &Outcome, key: &str) -> Vec<(f64, f64)> {
    let of = |event: &Value| Some((event["bucket"].as_f64()?, event["values"][0].as_f64()?));
    let mut rows: Vec<(f64, f64)> =
        outcome.of("counter").into_iter().filter(|event| event["key"] == key).filter_map(of).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

#[test]
fn an_update_made_in_a_flush_belongs_to_the_next_window_on_every_backend() {
    let count = |text: &str| format!("e:update_counter('{MADE}', 'at ' .. {text}, 0, 1)");
    let body = format!(
        "onbeginflush = function(e, ts) {} end, onendflush = function(e, ts) {} end, \
         onmetronome = function(e, ts) if ts % 60 == 59 then {} end if ts % 60 == 0 then {} end end",
        count("'begin'"),
        count("'end'"),
        count("'before'"),
        count("'behind'")
    );
    for backends in ["1", "2", "3"] {
        let outcome = counting(Bench::new(), "engine:update_counter(G, 'k', 0, 1)")
            .plugin("a.lua", &groups())
            .plugin("e.lua", &block("engine_monitor", &body))
            .args(&["--backends", backends])
            .run(&many());
        outcome.exits(0);
        // Every backend has its own flush and ticks; all of them count the same key.
        let n: f64 = backends.parse().expect("a number");
        for key in ["at begin", "at end", "at behind"] {
            assert_eq!(buckets(&outcome, key), [(120.0, n), (180.0, n), (240.0, n)], "{backends}: {key}");
        }
        assert_eq!(buckets(&outcome, "at before"), [(90.0, n), (150.0, n), (210.0, n)], "{backends}");
    }
}

#[test]
fn a_slow_backend_and_one_whose_script_fails_or_declines_hold_nothing_back() {
    let made = |text: &str| format!("e:update_counter('{MADE}', {text}, 0, 1)");
    let counts = |load: &str, more: &str| {
        format!(
            "TrisulPlugin = {{ id = {{ name = 'x' }}, onload = function() {load} end, cg_monitor = {{ counter_guid = '{GROUP}', \
             onflush = function(e, ts, key) if key ~= 'SYS:GROUP_TOTALS' then {} {more} end end }} }}",
            made("'of ' .. key:sub(-1)")
        )
    };
    let run = |load: &str, more: &str, backends: &str, budget: &str| {
        counting(Bench::new(), "engine:update_counter(G, 'key ' .. n % 40, 0, 1)")
            .plugin("a.lua", &groups())
            .plugin("c.lua", &counts(load, more))
            .plugin("heard.lua", &block("cg_monitor", &format!("counter_guid = '{MADE}', onflush = function() end")))
            .args(&["--backends", backends, "--flush-budget", budget])
            .run(&many())
    };
    let keys = |outcome: &Outcome| {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for event in outcome.of("counter").into_iter().filter(|event| event["guid"] == MADE) {
            let key = event["key"].as_str().expect("a key").to_owned();
            *sums.entry(key).or_default() += event["values"][0].as_f64().expect("a number");
        }
        sums.remove("SYS:GROUP_TOTALS");
        sums
    };
    let whole = keys(run("", "", "1", "5").exits(0));
    assert_eq!(whole.len(), 10);
    // One is slow in every flush.
    let slow = "if e:instanceid() == '1' then os.execute('sleep 0.02') end";
    assert_eq!(keys(run("", slow, "2", "5").exits(0)), whole);
    // One fails after it has counted, and one never comes back: what they had counted counts.
    let failing = "if e:instanceid() == '1' then error('not here') end";
    assert_eq!(keys(run("", failing, "3", "5").exits(1)), whole);
    let since = Stopwatch::start();
    let stuck = run("", "if e:instanceid() == '1' then while true do end end", "2", "1");
    stuck.exits(1);
    assert_eq!(stuck.logged("ERROR", "disabled: interrupted three times").len(), 1, "{}", stuck.stderr);
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    let counted = keys(&stuck);
    assert!(counted.values().sum::<f64>() < whole.values().sum::<f64>() && counted.len() == 10, "{counted:?}");
    // One backend has no script of its own at all; the other one's counts reach its keys all the same.
    let declined = run("if T.backend_engineid == 1 then return false end", "", "2", "5");
    declined.exits(0);
    let told: BTreeSet<String> = keys(&declined).into_keys().collect();
    assert_eq!(told.len(), 10);
}

#[test]
fn tags_and_messages_reach_the_backend_of_a_flow() {
    // The key of a flow is a counter key as well, so the script that tags it is where the key is flushed, in whichever
    // window that was; its flow ends later.
    let flows = |n: u32| {
        let packet =
            |port: u16| frames::ether(&frames::ipv4("10.0.0.1", "10.0.1.1", 17, &frames::udp((port, 53), b"x")));
        (0..n).fold(Capture::new(), |capture, at| capture.at(100 + at / 4, packet(3_000 + (at % 40) as u16)))
    };
    let body = format!(
        "counter_guid = '{GROUP}', onflush = function(e, ts, key) if key:sub(1, 3) == '11A' then \
         e:tag_flow(key, 'seen') e:post_message_backend(key) end end"
    );
    let heard = "TrisulPlugin = { id = { name = 'h' }, onmessage = function(id, text) print(text) end, \
                 engine_monitor = { onbeginflush = function() end } }";
    let run = |backends: &str| {
        counting(Bench::new(), "engine:update_counter(G, layer:packet():flowid():id(), 0, 1)")
            .plugin("c.lua", &block("cg_monitor", &body))
            .plugin("d.lua", &block("sg_monitor", "onflush = function(e, f) print(f:key(), f:tags()) end"))
            .plugin("h.lua", heard)
            .args(&["--backends", backends])
            .run(&flows(1_600))
    };
    let (one, three) = (run("1"), run("3"));
    one.exits(0);
    three.exits(0);
    let sorted = |outcome: &Outcome, script: &str| {
        let mut lines: Vec<String> = outcome.printed_by(script).iter().map(|line| (*line).to_owned()).collect();
        lines.sort_unstable();
        lines
    };
    let flushed = sorted(&three, "d.lua");
    assert!(flushed.len() >= 40);
    assert_same(&sorted(&one, "d.lua"), &flushed, "flows");
    // What one backend says, all of them hear; at the end as well.
    let thrice: Vec<String> =
        sorted(&one, "h.lua").into_iter().flat_map(|line| [line.clone(), line.clone(), line]).collect();
    assert_same(&thrice, &sorted(&three, "h.lua"), "messages");
}

#[test]
fn where_a_script_declines_on_one_backend_the_other_ones_hear_the_same() {
    let hears = |load: &str| {
        format!(
            "TrisulPlugin = {{ id = {{ name = 'h' }}, onload = function() {load} end, cg_monitor = {{ \
             counter_guid = '{MADE}', ontopperflush = function(e, key, m) print('topper', e:instanceid(), key, m) end }} }}"
        )
    };
    let says = "TrisulPlugin = { id = { name = 's' }, \
                onmessage = function(id, text) print('heard', T.backend_engineid, text) end, \
                engine_monitor = { onendflush = function(e, ts) \
                e:post_message_backend('end of ' .. ts .. ' by ' .. e:instanceid()) end } }";
    let count = format!("engine:update_counter('{MADE}', 'key ' .. n % 40, 0, n)");
    let run = |load: &str| {
        let outcome = counting(Bench::new(), &count)
            .plugin("a.lua", &groups())
            .plugin("h.lua", &hears(load))
            .plugin("s.lua", says)
            .args(&["--backends", "2"])
            .without_events()
            .run(&many());
        outcome.exits(0);
        let mut lines: Vec<String> = outcome.lines().into_iter().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let (all, one) = (run(""), run("if T.backend_engineid == 1 then return false end"));
    // Of the first of all keys each backend hears its own.
    let of_other = |line: &&String| line.starts_with("topper\t1");
    assert!(all.iter().filter(of_other).count() > 5);
    let expected: Vec<&String> = all.iter().filter(|line| !of_other(line)).collect();
    assert!(expected.iter().filter(|line| line.starts_with("topper")).count() > 5);
    // What is said in the last flush is among it.
    let last = |line: &&&String| line.starts_with("heard") && line.contains("end of 240");
    assert_eq!(expected.iter().filter(last).count(), 4);
    assert_eq!(one.iter().collect::<Vec<_>>(), expected);
}
