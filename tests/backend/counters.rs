//! `cg_monitor`: binding, flush, votes and overrides, toppers, updates, new keys.

use crate::support::{Bench, Capture, GROUP, IPV4, frames};
use crate::{beside, block, counting, sized};

const COUNT: &str = "engine:update_counter(G, 'k' .. n, 0, n)";

#[test]
fn example_2_in_the_flush() {
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'g' }}, countergroup = {{ control = {{ guid = '{GROUP}', name = 'Test', \
         bucketsize = 30 }}, meters = {{ {{ 0, T.K.vartype.RATE_COUNTER, 0, 0, 'a', 'a', 'a' }}, \
         {{ 1, T.K.vartype.COUNTER, 0, 0, 'b', 'b', 'b' }}, {{ 2, T.K.vartype.MAXIMUM, 0, 0, 'c', 'c', 'c' }}, \
         {{ 3, T.K.vartype.AVERAGE, 0, 0, 'd', 'd', 'd' }} }} }} }}"
    );
    let count = "local len = layer:packet():wire_length() engine:update_counter_bytes(G, 'k', 0) \
                 engine:update_counter(G, 'k', 1, '1') engine:update_counter(G, 'k', 2, len) \
                 engine:update_counter(G, 'k', 3, len)";
    let monitor = format!(
        "counter_guid = '{GROUP}', onbeginflush = function(e, ts) print('begin', ts) end, \
         onflush = function(e, ts, key, m) print(ts, key, table.concat(m, ' ')) end, \
         onendflush = function(e, ts) print('end', ts) end"
    );
    let outcome = Bench::new()
        .plugin("a.lua", &group)
        .counter("b.lua", IPV4, &format!("local G = '{GROUP}'"), count)
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .run(&sized(&[(10, 300), (20, 600), (40, 900), (130, 100)]));
    outcome.prints(&[
        "begin\t0",
        "0\tk\t30 2 600 450",
        "0\tSYS:GROUP_TOTALS\t30 2 600 450",
        "30\tk\t30 1 900 900",
        "30\tSYS:GROUP_TOTALS\t30 1 900 900",
        "end\t0",
        "begin\t60",
        "end\t60",
        "begin\t120",
        "120\tk\t3.3333333333333 1 100 100",
        "120\tSYS:GROUP_TOTALS\t3.3333333333333 1 100 100",
        "end\t120",
    ]);
    let stored: Vec<bool> = outcome.of("counter").iter().filter_map(|event| event["stored"].as_bool()).collect();
    assert_eq!(stored, [true; 6]);
}

#[test]
fn a_flush_filter_drops_what_every_script_votes_against() {
    let filter = |name: &str, answer: &str| {
        block(
            "cg_monitor",
            &format!(
                "counter_guid = '{GROUP}', onflushfilter = function(e, ts, key, m) {answer} end, \
                 onflush = function(e, ts, key) print('{name}', key) end"
            ),
        )
    };
    let only = "return key == 'k1' or key:sub(1, 4) == 'SYS:'";
    let outcome = counting(Bench::new(), COUNT).plugin("c.lua", &filter("c", only)).run(&Capture::udp(3, 100));
    outcome.prints(&["c\tk1", "c\tSYS:GROUP_TOTALS"]);
    let stored = outcome.fields("counter", &["key", "stored"]);
    assert_eq!(stored, ["k1\ttrue", "k2\tfalse", "k3\tfalse", "SYS:GROUP_TOTALS\ttrue"]);
    let without = block("cg_monitor", &format!("counter_guid = '{GROUP}', onendflush = function() end"));
    for second in [filter("d", "return nil"), filter("d", "error('x')"), without] {
        let outcome = counting(Bench::new(), COUNT)
            .plugin("c.lua", &filter("c", "return false"))
            .plugin("d.lua", &second)
            .run(&Capture::udp(1, 100));
        assert_eq!(outcome.printed_by("c.lua"), ["c\tk1", "c\tSYS:GROUP_TOTALS"], "{}", outcome.stderr);
        assert_eq!(outcome.fields("counter", &["stored"]), ["true", "true"]);
    }
}

#[test]
fn overrides_replace_values_for_the_sink_and_for_onflush() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onflushfilter = function(e, ts, key, m) \
           if key == 'k1' then return true, {{ -1, 7 }} end \
           if key == 'k2' then return nil, {{ '5' }} end \
           if key == 'k3' then return false, {{ 9, 9 }} end end, \
         onflush = function(e, ts, key, m) print(key, m[1], m[2], #m) end"
    );
    let outcome = beside("cg_monitor", &monitor, COUNT, &Capture::udp(3, 100));
    outcome.prints(&["k1\t1\t7\t2", "k2\t5\t0\t2", "SYS:GROUP_TOTALS\t6\t0\t2"]);
    let values = outcome.fields("counter", &["key", "values", "stored"]);
    assert_eq!(values, ["k1\t[1,7]\ttrue", "k2\t[5,0]\ttrue", "k3\t[3,0]\tfalse", "SYS:GROUP_TOTALS\t[6,0]\ttrue"]);
}

#[test]
fn new_keys_are_announced_once_before_they_are_flushed_and_totals_never() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onnewkey = function(e, ts, key) print('new', ts, key) end, \
         onflush = function(e, ts, key) print('flush', ts, key) end"
    );
    let count = "engine:update_counter(G, n < 3 and 'a' or 'b', 0, 1)";
    let capture = sized(&[(100, 60), (101, 60), (101, 60), (119, 60), (180, 60)]);
    beside("cg_monitor", &monitor, count, &capture).prints(&[
        "new\t100\ta",
        "new\t101\tb",
        "flush\t60\ta",
        "flush\t60\tb",
        "flush\t60\tSYS:GROUP_TOTALS",
        "flush\t180\tb",
        "flush\t180\tSYS:GROUP_TOTALS",
    ]);
}

#[test]
fn onupdate_tells_each_key_touched_in_a_second_with_its_sums_so_far() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onupdate = function(e, ts, key, m) print(ts, key, m[1], m[2]) end, \
         onmetronome = function(e, ts) print('tick', ts) end"
    );
    let count = "engine:update_counter(G, 'a', 0, 10) if n == 3 then engine:update_counter(G, 'b', 1, 2) end";
    let capture = sized(&[(100, 60), (100, 60), (102, 60), (103, 60)]);
    beside("cg_monitor", &monitor, count, &capture).prints(&[
        "100\ta\t20\t0",
        "tick\t101",
        "tick\t102",
        "102\ta\t30\t0",
        "102\tb\t0\t2",
        "tick\t103",
        "103\ta\t40\t0",
    ]);
}

#[test]
fn before_a_long_gap_the_last_second_is_told_of_before_its_window_is_flushed() {
    let body = format!(
        "counter_guid = '{GROUP}', onupdate = function(e, ts, key) print('update', ts, key) end, \
         onflush = function(e, ts, key) if key == 'k' then print('flush', ts, key) end end"
    );
    let run = |times: &[(u32, usize)], expected: &[&str]| {
        beside("cg_monitor", &body, "engine:update_counter(G, 'k', 0, 1)", &sized(times)).prints(expected);
    };
    let expected = ["update\t10\tk", "flush\t0\tk", "update\t200\tk", "flush\t180\tk"];
    run(&[(10, 60), (200, 60)], &expected);
    // The second ends with the window: the flush comes first.
    let expected = ["flush\t0\tk", "update\t59\tk", "update\t200\tk", "flush\t180\tk"];
    run(&[(59, 60), (200, 60)], &expected);
}

#[test]
fn onupdate_with_key_in_front_of_the_time_is_called_that_way() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onupdate = function(dbengine, key, tvsec, metrics) \
           print(string.format('%d', tvsec), key, metrics[1]) end"
    );
    beside("cg_monitor", &monitor, COUNT, &sized(&[(100, 60)])).prints(&["100\tk1\t1"]);
}

#[test]
fn onnewkey_with_key_in_front_of_the_time_is_called_that_way() {
    let monitor =
        format!("counter_guid = '{GROUP}', onnewkey = function(engine, key, timestamp) print(key, timestamp) end");
    beside("cg_monitor", &monitor, COUNT, &sized(&[(100, 60)])).prints(&["k1\t100"]);
}

#[test]
fn toppers_come_largest_first_when_their_interval_ends() {
    let monitor = format!(
        "counter_guid = '{GROUP}', \
         onendflush = function(e, ts) print('end', ts) end, \
         onbegintopperflush = function(e, ts, meter) print('begin', ts, meter) return true end, \
         ontopperflushfilter = function(e, key, metric) return key ~= 'k4' end, \
         ontopperflush = function(e, key, metric) print(key, metric) end, \
         onendtopperflush = function(e, meter) print('endtop', meter) end"
    );
    let count = "for i = 1, 12 do engine:update_counter(G, 'k' .. i, 0, i < 5 and i or 1) end";
    let capture = sized(&[(10, 60), (70, 60), (301, 60)]);
    let outcome = beside("cg_monitor", &monitor, count, &capture);
    let lines = outcome.lines();
    let first: Vec<&str> = lines.iter().copied().skip_while(|line| *line != "begin\t240\t0").take(14).collect();
    assert_eq!(
        first,
        [
            "begin\t240\t0",
            "k3\t6",
            "k2\t4",
            "k1\t2",
            "k10\t2",
            "k11\t2",
            "k12\t2",
            "k5\t2",
            "k6\t2",
            "k7\t2",
            "endtop\t0",
            "begin\t240\t1",
            "endtop\t1",
            "end\t300"
        ]
    );
    let toppers = outcome.fields("topper", &["bucket", "meter", "rank", "key", "value", "stored"]);
    assert_eq!(toppers[..2], ["0\t0\t1\tk4\t8\tfalse", "0\t0\t2\tk3\t6\ttrue"]);
    assert!(!toppers.iter().any(|line| line.contains("SYS:")));
}

#[test]
fn onbegintopperflush_false_silences_the_toppers_but_writes_them() {
    let monitor = |answer: &str| {
        format!(
            "counter_guid = '{GROUP}', onbegintopperflush = function(e, ts, meter) return {answer} end, \
             ontopperflush = function(e, key, metric) print(key, metric) end"
        )
    };
    let outcome = beside("cg_monitor", &monitor("false"), COUNT, &Capture::udp(1, 100));
    outcome.prints(&[]);
    assert_eq!(outcome.fields("topper", &["key", "stored"]), ["k1\ttrue"]);
    let outcome = beside("cg_monitor", &monitor("'yes'"), COUNT, &Capture::udp(1, 100));
    assert_eq!(outcome.lines(), ["k1\t1"]);
    assert!(!outcome.logged("ERROR", "true or false is needed, not string").is_empty(), "{}", outcome.stderr);
}

#[test]
fn bottom_keys_follow_smallest_first() {
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'g' }}, countergroup = {{ control = {{ guid = '{GROUP}', name = 'Test', \
         topper_bucketsize = 60 }}, meters = {{ {{ 0, T.K.vartype.COUNTER, 2, 1, 'a', 'a', 'a' }} }} }} }}"
    );
    let monitor = format!("counter_guid = '{GROUP}', ontopperflush = function(e, key, metric) print(key, metric) end");
    Bench::new()
        .plugin("a.lua", &group)
        .counter("b.lua", IPV4, &format!("local G = '{GROUP}'"), COUNT)
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .run(&Capture::udp(4, 100))
        .prints(&["k4\t4", "k3\t3", "k1\t1"]);
}

#[test]
fn toppers_take_in_buckets_whose_value_is_zero() {
    let kinds = ["COUNTER", "GAUGE", "RUNNING_COUNTER", "MINIMUM", "MAXIMUM", "AVERAGE", "DELTA_RATE_COUNTER"];
    let meter = |(id, kind): (usize, &&str)| format!("{{ {id}, T.K.vartype.{kind}, 3, 3, 'm', 'm', 'm' }}");
    let meters: Vec<String> = kinds.iter().enumerate().map(meter).collect();
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'g' }}, countergroup = {{ control = {{ guid = '{GROUP}', name = 'Test', \
         topper_bucketsize = 180 }}, meters = {{ {} }} }} }}",
        meters.join(", ")
    );
    // Each key has one meter: of the others it is no topper.
    let head = format!(
        "local G = '{GROUP}' local updates = {{ {{ 0, 0, 0 }}, {{ 50, 50, 0 }}, {{ 5, 0, -5 }}, {{ 9, 9, 0 }}, \
         {{ -7, -7, 0 }}, {{ 10, 5, 0 }}, {{ 0, 600, 600 }} }}"
    );
    let count = "for m = 1, 7 do engine:update_counter(G, 'k' .. m - 1, m - 1, updates[m][n]) end";
    let monitor = format!("counter_guid = '{GROUP}', ontopperflush = function() end");
    let outcome = Bench::new()
        .plugin("a.lua", &group)
        .counter("b.lua", IPV4, &head, count)
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .run(&sized(&[(10, 60), (70, 60), (130, 60)]));
    outcome.exits(0);
    let last = |meter: usize| if kinds[meter] == "AVERAGE" { 5 } else { 0 };
    let expected = (0..kinds.len()).flat_map(|m| [1, -1].map(|rank| format!("{m}\t{rank}\tk{m}\t{}", last(m))));
    let toppers = outcome.fields("topper", &["meter", "rank", "key", "value"]);
    assert_eq!(toppers, expected.collect::<Vec<_>>(), "{}", outcome.stderr);
}

/// Plugins of which each defines a group; the monitors are bound to these.
fn groups() -> Bench {
    let group = |number: u32, name: &str| {
        format!(
            "TrisulPlugin = {{ id = {{ name = 'g' }}, countergroup = {{ control = {{ \
             guid = '{{0B1C2D3E-0000-4000-8000-00000000000{number}}}', name = '{name}' }} }} }}"
        )
    };
    Bench::new().plugin("y1.lua", &group(1, "Zeb Pages")).plugin("z2.lua", &group(2, "zeb hits"))
}

#[test]
fn monitors_are_bound_by_guid_function_name_and_pattern_with_one_vm_for_each_group() {
    let show = "onload = function() print(T.monitor_group_name, T.monitor_group_guid, T.enginetype, \
                T.backend_engineid) end, onbeginflush = function() end";
    let first = "Zeb Pages\t{0B1C2D3E-0000-4000-8000-000000000001}\tbackend\t0";
    let second = "zeb hits\t{0B1C2D3E-0000-4000-8000-000000000002}\tbackend\t0";
    for binding in [
        "counter_guid = { '{0b1c2d3e-0000-4000-8000-000000000001}', function() return T.countergroups['zeb hits'] end }",
        "counter_name_match = 'ZEB'",
        "counter_name_match = { 'zeb pages', 'hits', 'zeb' }",
        "counter_name_regex = '^[Zz]eb (Pages|hits)$'",
        "counter_guid = function() return '{0B1C2D3E-0000-4000-8000-000000000001}' end, counter_name_match = 'hits'",
    ] {
        let outcome =
            groups().plugin("c.lua", &block("cg_monitor", &format!("{binding}, {show}"))).run(&Capture::udp(1, 100));
        assert_eq!(outcome.lines(), [first, second], "{binding}: {}", outcome.stderr);
    }
}

#[test]
fn a_monitor_that_is_bound_to_nothing_is_not_loaded() {
    for (binding, told) in [
        ("", "is bound to no group"),
        ("counter_name_match = 'no such group'", "is bound to no group"),
        ("counter_guid = function() error('oops') end", "oops"),
        ("counter_guid = function() end", "returns no GUID"),
        ("counter_guid = '{0B1C2D3E-0000-4000-8000-000000000009}'", "there is no counter group"),
        ("counter_name_regex = '('", "counter_name_regex"),
    ] {
        let body =
            format!("{binding}{} onload = function() print('loaded') end", if binding.is_empty() { "" } else { "," });
        let outcome = groups().plugin("c.lua", &block("cg_monitor", &body)).run(&Capture::udp(1, 100));
        outcome.prints(&[]);
        assert!(!outcome.logged("WARN", told).is_empty(), "{binding}: {}", outcome.stderr);
    }
}

#[test]
fn a_binding_may_call_onload_of_its_own_file() {
    let text = format!(
        "TrisulPlugin = {{ id = {{ name = 't' }}, onload = function() SET = '{GROUP}' print('load') end, \
         cg_monitor = {{ counter_guid = function() TrisulPlugin.onload() return SET end, \
         onflush = function(e, ts, key) print(key) end }} }}"
    );
    counting(Bench::new(), COUNT).plugin("c.lua", &text).run(&Capture::udp(1, 100)).prints(&[
        "load",
        "load",
        "k1",
        "SYS:GROUP_TOTALS",
    ]);
}

#[test]
fn updates_during_a_flush_belong_to_the_open_window() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onflush = function(e, ts, key, m) print(ts, key, m[1]) \
           if key == 'k1' then e:update_counter('{GROUP}', 'mine', 0, 5) end end"
    );
    let capture = Capture::new().at(10, frames::sized(60)).at(70, frames::sized(60));
    let count = "if n == 1 then engine:update_counter(G, 'k1', 0, 1) end";
    beside("cg_monitor", &monitor, count, &capture).prints(&[
        "0\tk1\t1",
        "0\tSYS:GROUP_TOTALS\t1",
        "60\tmine\t5",
        "60\tSYS:GROUP_TOTALS\t5",
    ]);
}

#[test]
fn a_monitor_of_a_group_that_nothing_counts_says_what_to_switch_on() {
    const APPS: &str = "{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}";
    let monitor = block("cg_monitor", &format!("counter_guid = '{APPS}', onflush = function() end"));
    let hint = |bench: Bench| {
        bench.plugin("m.lua", &monitor).run(&Capture::udp(1, 100)).logged("NOTICE", "nothing counts").join("\n")
    };
    assert_eq!(
        hint(Bench::new()),
        "cg_monitor: nothing counts the group Apps in this run unless asked to: --builtin 'Apps' or --builtin all"
    );
    assert_eq!(hint(Bench::new().args(&["--builtin", "Apps"])), "");
    let feeder = format!("engine:update_counter('{}', 'p-0050', 0, 1)", APPS.to_ascii_lowercase());
    assert_eq!(hint(Bench::new().counter("feeder.lua", IPV4, "", &feeder)), "");
}
