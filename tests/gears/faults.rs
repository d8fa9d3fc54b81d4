//! What goes wrong in pipelines: errors, runaway steps, limits, mistakes in how they are written.

use crate::support::{Bench, Capture, GROUP, IPV4};
use crate::{TELL, plugin};

#[test]
fn an_error_in_a_step_names_file_and_line_and_is_counted_at_its_step() {
    let fail = "function(a, b, c) error('broken') end";
    for (steps, at, window) in [
        (format!(":map({fail})"), 1, ""),
        (format!(":foreach(function() end):filter({fail})"), 2, ""),
        (format!(":foreach({fail})"), 1, ""),
        (format!(":flatmap({fail})"), 1, ""),
        (format!(":accumulate({fail})"), 1, ""),
        (format!(":aggregate(0, {fail})"), 1, ""),
        (format!(":avg({fail})"), 1, ""),
        (format!(":groupby(function() return 1 end, {fail})"), 1, ""),
        (format!(":aggregateby(function() return 1 end, 0, {fail})"), 1, ""),
        (format!(":countby({fail})"), 1, ""),
        (format!(":distinct({fail})"), 1, ""),
        (format!(":countby(function() return 1 end):foreach({fail})"), 2, ""),
        (format!(":countby(function() return 1 end):foreach({fail})"), 2, "window = 60"),
        (format!(":map({fail})"), 1, "window = 60"),
    ] {
        let text = plugin(&format!("T.gears('packets', {{ {window} }}){steps}:register() {TELL}"));
        let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(1, 100));
        outcome.exits(1);
        assert_eq!(outcome.faults("p.lua"), 1, "{steps}");
        let lines = outcome.lines();
        let told =
            lines.iter().find(|line| line.starts_with("error\t")).unwrap_or_else(|| panic!("{steps}: {lines:?}"));
        assert!(told.starts_with(&format!("error\t{at}\t")) && told.contains("p.lua:2: broken\t1"), "{steps}: {told}");
        assert!(lines[0].contains("!1"), "{steps}: {lines:?}");
    }
}

#[test]
fn errors_in_workers_are_counted_at_their_step_and_come_with_the_results() {
    let text = plugin(&format!(
        "T.gears('packets', {{ window = 60 }}):map(function(l) return l:total_bytes() end)
           :foreach(function(n) error('worker') end):collect()
           :register {{ mode = 'async_local', onresult = function(engine, results, errors)
             print(#results, #errors, errors.total, errors[1].step, errors[1].message:match('p.lua:%d+: %a+')) end }} {TELL}"
    ));
    let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(3, 100));
    outcome.exits(0);
    let lines = outcome.lines();
    assert!(lines.contains(&"0\t3\t3\t2\tp.lua:3: worker"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("map:3>3 foreach:3>0!3")), "{lines:?}");
}

#[test]
fn the_failure_of_one_pipeline_leaves_the_others_their_records() {
    let text = plugin(&format!(
        "T.gears('packets'):foreach(function() error('first') end):register {{ name = 'a' }}
         T.gears('packets'):foreach(function(l, engine) engine:update_counter('{GROUP}', 'k', 0, 1) end):register {{ name = 'b' }}
         {TELL}"
    ));
    let outcome = Bench::new().group().plugin("p.lua", &text).run(&Capture::udp(10, 100));
    outcome.exits(1);
    assert_eq!(outcome.faults("p.lua"), 10);
    assert_eq!(outcome.total(GROUP, "k", 0).unwrap().updates, 10);
    assert_eq!(outcome.lines()[0], "a active 10 0 0 0 foreach:10>0!10");
}

#[test]
fn a_function_for_results_that_fails_is_told_as_the_step_behind_the_last() {
    let text = plugin(&format!(
        "T.gears('packets'):map(function() return 1 end):collect():register {{ onresult = function() error('taken') end }} {TELL}"
    ));
    let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(2, 100));
    outcome.exits(1);
    let lines = outcome.lines();
    assert!(lines[1].starts_with("error\t3\t") && lines[1].contains("taken\t2"), "{lines:?}");
}

#[test]
fn a_step_that_runs_away_is_interrupted_and_told() {
    let text = plugin(&format!(
        "local n = 0
         T.gears('packets'):filter(function() return true end):foreach(function() n = n + 1 if n == 2 then while true do end end end)
           :register() {TELL}"
    ));
    let bench = Bench::new().plugin("p.lua", &text).args(&["--callback-budget", "300"]);
    let outcome = bench.run(&Capture::udp(4, 100));
    outcome.exits(1);
    let lines = outcome.lines();
    assert_eq!(lines[0], "packets-1 active 4 0 0 0 filter:4>4 foreach:4>3!1");
    assert!(lines[1].starts_with("error\t2\t"), "{lines:?}");
}

#[test]
fn keys_over_the_limit_of_a_window_are_counted() {
    let text = plugin(&format!(
        "local n = 0
         T.gears('packets', {{ window = 60, limit = 5 }}):map(function() n = n + 1 return n end):countby(function(n) return n end)
           :foreach(function(r) print(r.key) end):register() {TELL}"
    ));
    let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(8, 100));
    outcome.exits(0);
    assert_eq!(outcome.lines()[..5], ["1", "2", "3", "4", "5"]);
    assert_eq!(outcome.lines()[5], "packets-1 active 8 0 3 1 map:8>8 countby:8>5 foreach:5>5");
}

#[test]
fn more_executions_than_the_plugin_may_have_jobs_are_dropped_and_counted() {
    let text = plugin(&format!(
        "TrisulPlugin.onload = function() T.async:configure {{ pending = 3 }} end
         T.gears('packets'):map(function(l) return l:total_bytes() end):collect():register {{ mode = 'async_local' }} {TELL}
         local tell = TrisulPlugin.onunload
         TrisulPlugin.onunload = function() tell() local p = T.gears:plan('packets-1') print(p.handed, p.unfinished) end"
    ));
    let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(10, 100));
    outcome.exits(0);
    assert_eq!(outcome.lines().last(), Some(&"10\t7"), "{:?}", outcome.lines());
}

#[test]
fn mistakes_are_told_at_the_line_where_they_are_made() {
    for (text, message) in [
        ("T.gears('paquets')", "p.lua:2: gears: there is no reader 'paquets'; there are: packets, newflows"),
        ("T.gears('packets'):map()", "p.lua:2: gears: bad argument #1 to 'map' (function expected, got nil)"),
        ("T.gears('packets'):groupby(print)", "bad argument #2 to 'groupby'"),
        ("T.gears('packets'):limit(-1)", "bad argument to 'limit'"),
        ("T.gears('packets'):collect():map(print)", "p.lua:2: gears: nothing follows collect()"),
        ("T.gears('packets'):register { mode = 'later' }", "mode: sync, async_local or async expected, got later"),
        ("T.gears('packets', { window = -1 })", "window: number of seconds up to 86400 expected"),
        ("T.gears('counters')", "counters: say of which group"),
        ("T.gears('flows'):run()", "run() belongs into a function"),
        ("T.gears('packets'):register { name = 'a b' }", "name: up to 64 letters"),
        (
            "T.gears('packets'):register { name = 'a' } T.gears('packets'):register { name = 'a' }",
            "there is a pipeline 'a' already",
        ),
        (
            "T.gears('packets'):register() T.gears('packets', { protocol = '{14D7AB53-CC51-47E9-8814-9C06AAE60189}' }):register()",
            "are about different protocols",
        ),
        (
            "TrisulPlugin.simplecounter = { protocol_guid = 'x' } T.gears('packets'):register()",
            "needs the block simplecounter",
        ),
        ("local p = T.gears('packets') p:register() p:map(print)", "the pipeline was registered or run"),
    ] {
        let outcome = Bench::new().plugin("p.lua", &plugin(text)).run(&Capture::udp(1, 100));
        let found = outcome.event_lines.contains(&message.replace('"', "\\\"")) || outcome.stderr.contains(message);
        assert!(found, "{text}: {}", outcome.stderr);
        outcome.exits(1);
    }
}

#[test]
fn what_is_registered_later_is_an_error_that_says_where_it_belongs() {
    let body = "if n == 1 then print(pcall(function() T.gears('packets'):register() end)) end";
    let outcome = Bench::new().counter("p.lua", IPV4, "", body).run(&Capture::udp(2, 100));
    outcome.exits(0);
    assert!(
        outcome.lines()[0].contains("register() belongs where the file is run, outside of functions"),
        "{:?}",
        outcome.lines()
    );
}
