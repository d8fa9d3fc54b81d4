//! What a backend script does wrong stays its own affair.

use crate::support::{Bench, Capture, GROUP, Outcome};
use crate::{block, counting, sized};

const COUNT: &str = "engine:update_counter(G, 'k' .. n, 0, n) engine:add_alert('{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}', \
                     layer:flowkey(), 's', 1, 'm')";

fn faulty(name: &str, body: &str, capture: &Capture, args: &[&str]) -> Outcome {
    counting(Bench::new(), COUNT).plugin("c.lua", &block(name, body)).args(args).run(capture)
}

#[test]
fn an_error_in_any_callback_is_attributed_and_stops_nothing() {
    let broken = |names: &[&str]| -> String {
        names.iter().map(|name| format!("{name} = function() error('in {name}') end, ")).collect()
    };
    let flush = ["onbeginflush", "onendflush", "onmetronome"];
    let cases = [
        ("engine_monitor", String::new(), vec![]),
        (
            "cg_monitor",
            format!("counter_guid = '{GROUP}', "),
            vec![
                "onflushfilter",
                "onflush",
                "onbegintopperflush",
                "ontopperflushfilter",
                "ontopperflush",
                "onendtopperflush",
                "onupdate",
                "onnewkey",
            ],
        ),
        ("sg_monitor", String::new(), vec!["flushfilter", "onflush", "onnewflow", "onterminate"]),
        (
            "alert_monitor",
            "alert_name_match = 'External IDS', ".to_owned(),
            vec!["onnewalert", "flushfilter", "onflush"],
        ),
        ("flowtracker", "control = { name = 'x' }, ".to_owned(), vec!["getmetric"]),
    ];
    for (name, head, own) in cases {
        let all: Vec<&str> = flush.iter().copied().chain(own).collect();
        let body = format!("{head}{}", broken(&all));
        let outcome = faulty(name, &body, &sized(&[(100, 60), (101, 60)]), &[]);
        outcome.exits(1);
        assert_eq!(outcome.packets(), Some(2));
        for callback in all {
            let message = format!("{name}.{callback}: ");
            assert!(!outcome.logged("ERROR", &message).is_empty(), "{message}: {}", outcome.stderr);
        }
        let side = outcome.of("fault").iter().all(|event| event["side"] == "backend");
        assert!(side, "{}", outcome.event_lines);
        assert!(outcome.of("counter").len() >= 3, "the flush goes on");
    }
}

#[test]
fn a_runaway_flush_is_interrupted_and_disabled_after_the_third_time() {
    let body = format!("counter_guid = '{GROUP}', onflush = function(e, ts, key) while true do end end");
    let outcome = faulty("cg_monitor", &body, &Capture::udp(6, 100), &["--flush-budget", "1"]);
    outcome.exits(1);
    assert_eq!(outcome.logged("ERROR", "callback exceeded its time budget").len(), 3, "{}", outcome.stderr);
    assert_eq!(outcome.logged("ERROR", "disabled: interrupted three times").len(), 1);
    assert_eq!(outcome.dropped("callbacks_skipped"), 4);
    assert_eq!(outcome.of("counter").len(), 7);
}

#[test]
fn a_memory_bomb_ends_the_script_and_nothing_else() {
    let body = format!(
        "counter_guid = '{GROUP}', onflush = function(e, ts, key) kept = kept or {{}} \
         while true do kept[#kept + 1] = string.rep('x', 1000) .. #kept end end"
    );
    let outcome = faulty("cg_monitor", &body, &Capture::udp(3, 100), &["--plugin-memory", "16"]);
    outcome.exits(1);
    assert_eq!(outcome.packets(), Some(3));
    assert!(!outcome.logged("ERROR", "out of memory").is_empty(), "{}", outcome.stderr);
    assert_eq!(outcome.of("counter").len(), 4);
}

#[test]
fn a_thousand_errors_in_a_row_suspend_the_script_for_a_while() {
    let body = format!("counter_guid = '{GROUP}', onnewkey = function() error('x') end");
    let outcome = faulty("cg_monitor", &body, &Capture::udp(1_500, 100), &[]);
    outcome.exits(1);
    assert_eq!(outcome.logged("ERROR", "suspended for 30 s after 1000 errors in a row").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.faults("c.lua"), 1_000);
}

#[test]
fn the_report_counts_calls_of_backend_scripts() {
    let bench = counting(Bench::new(), COUNT)
        .plugin("c.lua", &block("cg_monitor", &format!("counter_guid = '{GROUP}', onflush = function() end")));
    let outcome = bench.run(&Capture::udp(3, 100));
    outcome.exits(0);
    let file = bench.path("input.pcap").display().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["run", "--json", "-r", &file, "-p"])
        .arg(bench.path("plugins"))
        .output()
        .expect("the built program starts");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    let plugin = report["plugins"].as_array().expect("plugins").iter().find(|p| p["name"] == "c.lua").cloned();
    assert_eq!(plugin.expect("the monitor is listed")["calls"], 4);
}

#[test]
fn answers_to_messages_come_to_an_end() {
    let text = "heard = 0 TrisulPlugin = { id = { name = 't' }, \
         onmessage = function() heard = heard + 1 engine:post_message_backend('x') end, \
         onunload = function() print('heard', heard) end, \
         engine_monitor = { onmetronome = function(e) engine = e if not told then told = true \
           for n = 1, 1000 do e:post_message_backend('x') end end end } }\n";
    let outcome = Bench::new().plugin("c.lua", text).run(&sized(&[(100, 100), (102, 100)]));
    let heard: Vec<usize> =
        outcome.lines().iter().filter_map(|line| line.strip_prefix("heard\t")?.parse().ok()).collect();
    assert!(matches!(heard[..], [90_000..=110_000]), "{heard:?}");
    assert_eq!(outcome.dropped("messages_dropped"), 1_000);
}
