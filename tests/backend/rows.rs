//! Keys are handed to callbacks many at a time where nobody can tell: nothing that scripts and people see depends on it. With
//! an event stream, which shows each key between what scripts say of it, they are handed over one by one.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bench, Capture, GROUP, Outcome, frames};
use crate::{block, counting};

/// 700 keys in each of two windows: several times as many as are handed over at once.
fn many_keys() -> Capture {
    (0..1_400_u32).fold(Capture::new(), |capture, n| {
        let source = format!("10.0.{}.{}", n % 700 / 256, n % 256);
        let packet = frames::ether(&frames::ipv4(&source, "10.9.9.9", 17, &frames::udp((1, 2), b"x")));
        capture.at_micros(60 + n / 700 * 60, n % 700 * 1_000, packet)
    })
}

const COUNT: &str = "engine:update_counter(G, layer:packet():flowid():ipa(), 0, n % 50) \
     engine:update_counter(G, layer:packet():flowid():ipz(), 0, n % 50)";

fn monitor(body: &str) -> String {
    block("cg_monitor", &format!("counter_guid = '{GROUP}', {body}"))
}

/// The same run with keys one by one and many at a time.
fn both(plugins: &[(&str, &str)], options: &[&str]) -> (Outcome, Outcome) {
    let bench = || {
        let bench = counting(Bench::new(), COUNT);
        plugins.iter().fold(bench, |bench, (name, text)| bench.plugin(name, &monitor(text))).args(options)
    };
    (bench().run(&many_keys()), bench().without_events().run(&many_keys()))
}

/// What was logged for scripts, without the folder of the run and without the stacks, in which the caller has another name.
fn said(outcome: &Outcome) -> Vec<String> {
    let name = |line: &str| line.split('/').next_back().unwrap_or_default().to_owned();
    outcome.stderr.lines().filter(|line| line.contains(".lua] ")).map(name).collect()
}

fn assert_same(one: &Outcome, many: &Outcome) {
    let differs = one.stdout.lines().zip(many.stdout.lines()).find(|(a, b)| a != b);
    assert!(one.stdout == many.stdout, "{differs:?}, {} {}", one.stdout.len(), many.stdout.len());
    assert_eq!(said(one), said(many));
    assert_eq!(one.code, many.code);
}

#[test]
fn scripts_hear_of_keys_in_order_and_what_they_print_is_in_the_order_of_keys() {
    let (one, many) = both(
        &[
            ("c.lua", "onflush = function(e, ts, key, m) print('c', ts, key, m[1], #m) end"),
            ("d.lua", "onflush = function(e, ts, key, m) print('d', ts, key, m[1]) T.log(T.K.loglevel.WARN, key) end"),
        ],
        &[],
    );
    one.exits(0);
    assert!(one.stdout.lines().count() > 2_800, "{}", one.stdout.lines().count());
    assert_same(&one, &many);
}

#[test]
fn each_call_gets_a_table_of_its_own() {
    let kept = "onflush = function(e, ts, key, m) kept = kept or {} kept[#kept + 1] = m end, \
        onendflush = function() local sum, seen = 0, {} for _, m in ipairs(kept) do sum = sum + m[1] \
        if seen[m] then print('twice') end seen[m] = true end print(#kept, sum) end";
    let (one, many) = both(&[("c.lua", kept)], &[]);
    assert_same(&one, &many);
    assert_eq!(many.stdout.lines().count(), 2, "{}", many.stdout);
}

#[test]
fn an_error_is_that_of_its_key_and_the_others_are_heard_of() {
    let (one, many) = both(
        &[
            ("c.lua", "onflush = function(e, ts, key, m) if m[1] == 7 then error('seven ' .. key) end print(key) end"),
            ("d.lua", "onflush = function(e, ts, key, m) print('d', key) end"),
        ],
        &[],
    );
    one.exits(1);
    assert_same(&one, &many);
    assert!(many.stderr.contains("c.lua") && many.stderr.contains("seven"), "{}", many.stderr);
}

#[test]
fn a_callback_that_always_fails_is_suspended_after_as_many_errors() {
    let failing = "onflush = function(e, ts, key, m) n = (n or 0) + 1 error('always') end, \
        onendflush = function() print(n) end";
    let (one, many) = both(&[("c.lua", failing)], &[]);
    assert_same(&one, &many);
    // 700 sources, what they all send to and the totals, in two windows; then the end of the second flush.
    let skipped = 2 * 702 - 1_000 + 1;
    assert_eq!(one.dropped("callbacks_skipped"), skipped);
    let bench = counting(Bench::new(), COUNT).plugin("c.lua", &monitor(failing)).without_events();
    bench.run(&many_keys());
    let (input, plugins) = (bench.path("input.pcap"), bench.path("plugins"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    let output = command.args(["run", "--json", "-r"]).arg(input).arg("-p").arg(plugins).output().expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["drops"], json!([{ "name": "callbacks_skipped", "count": skipped }]));
}

#[test]
fn a_loop_without_end_is_interrupted_and_the_keys_behind_it_are_heard_of() {
    let endless = "onflush = function(e, ts, key, m) if key == '0A.00.01.05' and ts == 60 then while true do end end \
        last = key end, onendflush = function() print(last) end";
    let (one, many) = both(&[("c.lua", endless)], &["--flush-budget", "1"]);
    assert_same(&one, &many);
    assert!(many.stderr.contains("exceeded its time budget"), "{}", many.stderr);
}

#[test]
fn votes_and_overrides_count_as_ever() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (first, second) = (store("one"), store("many"));
    let plugins = [
        ("c.lua", "onflushfilter = function(e, ts, key, m) return m[1] > 10, { m[1] * 2, -1, '7' } end"),
        (
            "d.lua",
            "onflushfilter = function(e, ts, key, m) if m[1] > 40 then return true, { [3] = 0 / 0 } end return m[1] > 20 end",
        ),
    ];
    let run = |store: &str, bench: Bench| {
        let bench =
            plugins.iter().fold(counting(bench, COUNT), |bench, (name, text)| bench.plugin(name, &monitor(text)));
        bench.args(&["--store", store]).run(&many_keys()).exits(0);
    };
    run(&first, Bench::new());
    run(&second, Bench::new().without_events());
    let keys = |store: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        let output = command.args(["query", "top", GROUP, "--store", store, "--json", "--limit", "2000"]).output();
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    };
    let (one, many) = (keys(&first), keys(&second));
    assert!(one.len() > 10_000, "{one}");
    assert!(one == many, "{} {}", one.len(), many.len());
}
