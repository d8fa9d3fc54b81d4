//! Callbacks that err on every packet, never end, or eat memory.

use std::time::Duration;

use crate::support::frames::udp_packet;
use crate::support::{Bench, Capture, GROUP, ICMP, IPV4, Outcome};
use crate::{named, undisturbed, witness};

#[test]
fn an_error_on_every_packet_is_counted_exactly_and_suspends() {
    // 100 packets a second for 100 s. Errors 1 to 1,000 are packets of seconds 0 to 9; then suspended for 30 s from the
    // thousandth on (second 9.99), again 1,000 errors, then suspended for 60 s.
    let capture = (0..10_000u32).fold(Capture::new(), |capture, i| {
        capture.at_micros(1000 + i / 100, i % 100 * 10_000, udp_packet((1, 2), b"x"))
    });
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", "error('each time')")).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "simplecounter.onpacket", "bad.lua:6: each time");
    let suspended = outcome.logged("ERROR", "suspended for");
    assert_eq!(suspended.len(), 2, "{suspended:?}");
    assert!(suspended[0].contains("suspended for 30 s after 1000 errors in a row"), "{suspended:?}");
    assert!(suspended[1].contains("suspended for 60 s"), "{suspended:?}");
    assert_eq!(outcome.faults("bad.lua"), 2000, "every error is counted");
    assert_eq!(outcome.dropped("callbacks_skipped"), 8000);
    let full = outcome.logged("ERROR", "each time").len();
    assert!((10..=20).contains(&full), "ten a minute are told in full, not {full}");
    let at: Vec<_> = outcome
        .by("log", "bad.lua")
        .iter()
        .filter(|e| e["text"].as_str().is_some_and(|t| t.contains("suspended")))
        .map(|e| e["t"].as_f64())
        .collect();
    assert_eq!(at, [Some(1009.99), Some(1049.98)], "suspended from the packet of the thousandth error on");
}

#[test]
fn a_callback_that_recovers_starts_counting_anew() {
    let capture = Capture::udp(2500, 100);
    let outcome =
        witness(Bench::new().counter("bad.lua", IPV4, "", "if n % 900 ~= 0 then error('often') end")).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    assert!(outcome.logged("ERROR", "suspended").is_empty());
    assert_eq!(outcome.faults("bad.lua"), 2500 - 2);
}

/// Errs each time, now and then for want of memory.
const ERRS: &str = "n = (n or 0) + 1 if n % 11 == 0 then local _ = ('x'):rep(1000000000) end error('each time')";

#[test]
fn errors_for_want_of_memory_are_some_in_a_row_of_others() {
    let suspended = |outcome: &Outcome| outcome.logged("ERROR", "suspended for 30 s after 1000 errors in a row").len();
    let capture = Capture::udp(1_500, 100);
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", ERRS)).run(&capture);
    undisturbed(&outcome, &capture);
    assert_eq!((suspended(&outcome), outcome.faults("bad.lua")), (1, 1_000), "{}", outcome.stderr);
    let handler = format!(
        "TrisulPlugin = {{ id = {{}}, protocol_handler = {{
           control = {{ guid = '{{AAAAAAAA-0000-0000-0000-000000000001}}', name = 'X',
             host_protocol_guid = '{{14D7AB53-CC51-47E9-8814-9C06AAE60189}}', host_protocol_ports = {{ 6000 }} }},
           parselayer = function() {ERRS} end }} }}"
    );
    let outcome = witness(Bench::new().plugin("bad.lua", &handler)).run(&capture);
    assert_eq!(suspended(&outcome), 1, "{}", outcome.stderr);
    let monitor = format!(
        "TrisulPlugin = {{ id = {{}}, cg_monitor = {{ counter_guid = '{GROUP}', onflush = function() {ERRS} end }} }}"
    );
    let many = format!("engine:update_counter('{GROUP}', 'key ' .. n, 0, 1)");
    let bench = Bench::new().group().counter("count.lua", IPV4, "", &many).without_events().plugin("bad.lua", &monitor);
    let outcome = bench.run(&capture);
    assert_eq!(
        outcome.stderr.matches("suspended for 30 s after 1000 errors in a row").count(),
        1,
        "{}",
        outcome.stderr
    );
}

#[test]
fn error_values_of_any_kind_and_size() {
    let capture = Capture::udp(12, 100);
    let outcome = witness(Bench::new().counter(
        "bad.lua",
        IPV4,
        "local values = { [2] = {}, [3] = 42, [4] = true, [5] = print, [6] = coroutine.create(print),
           [7] = string.rep('m', 1048576), [8] = setmetatable({}, { __tostring = function() return 'I am odd' end }),
           [9] = setmetatable({}, { __tostring = function() error('odder') end }),
           [10] = setmetatable({}, { __tostring = function() return {} end }), [11] = 'a\\0b\\255', [12] = '' }",
        "error(values[n], 0)",
    ))
    .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    assert_eq!(outcome.faults("bad.lua"), 12, "{:?}", outcome.by("fault", "bad.lua"));
    assert!(!outcome.logged("ERROR", "I am odd").is_empty(), "{}", outcome.stderr);
    let longest = outcome.by("fault", "bad.lua").iter().filter_map(|e| e["message"].as_str()).map(str::len).max();
    assert!(longest.is_some_and(|length| (4000..=4096).contains(&length)), "cut at 4 KiB: {longest:?}");
}

/// Runs a body that never ends on packets 2, 4 and 6, with a budget of 100 ms.
fn endless(name: &str, head: &str, body: &str) -> Outcome {
    let capture = Capture::udp(9, 100);
    let body = format!("if n % 2 == 0 then\n{body}\nend print('after', n)");
    let bench = witness(Bench::new().counter(name, IPV4, head, &body)).args(&["--callback-budget", "100"]);
    let outcome = bench.run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, name, "simplecounter.onpacket", "exceeded its time budget of 100 ms");
    assert!(
        outcome.logged("ERROR", "exceeded its time budget").iter().any(|text| text.contains(&format!("{name}:"))),
        "file and line: {}",
        outcome.stderr
    );
    assert_eq!(outcome.lines(), ["after\t1", "after\t3", "after\t5"], "the third time disables: {}", outcome.stderr);
    assert_eq!(outcome.faults(name), 3);
    assert_eq!(outcome.dropped("callbacks_skipped"), 3, "packets 7 to 9");
    assert_eq!(outcome.logged("ERROR", "disabled: interrupted three times").len(), 1, "{}", outcome.stderr);
    outcome
}

#[test]
fn an_endless_loop_that_is_compiled() {
    endless("loop.lua", "", "local x = 0 while true do x = x + 1 end");
}

#[test]
fn an_endless_loop_that_is_interpreted() {
    endless("loop.lua", "jit.off()", "while true do end");
}

#[test]
fn an_endless_loop_inside_pcall_cannot_swallow_the_interruption() {
    endless("loop.lua", "", "while true do pcall(function() while true do end end) end");
}

#[test]
fn an_endless_loop_inside_the_handler_of_xpcall() {
    endless("loop.lua", "", "xpcall(function() error('x') end, function() while true do end end)");
}

#[test]
fn an_endless_loop_in_a_coroutine() {
    endless("loop.lua", "", "local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end");
}

#[test]
fn an_endless_loop_that_resumes_coroutines_for_ever() {
    endless("loop.lua", "", "while true do coroutine.resume(coroutine.create(function() while true do end end)) end");
}

#[test]
fn an_endless_loop_in_onmessage_and_in_onload() {
    let capture = Capture::udp(4, 100);
    let outcome = witness(Bench::new().plugin(
        "loop.lua",
        &format!(
            "TrisulPlugin = {{ id = {{}}, onmessage = function()\n while true do end end,\n\
             simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) engine:post_message_frontend('x') end }} }}"
        ),
    ))
    .args(&["--callback-budget", "100"])
    .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "loop.lua", "onmessage", "exceeded its time budget of 100 ms");
    assert_eq!(outcome.faults("loop.lua"), 3);
}

#[test]
fn messages_that_a_disabled_script_does_not_hear_are_counted() {
    let capture = Capture::udp(5, 100);
    let hearer = format!(
        "TrisulPlugin = {{ id = {{}}, onmessage = function() while true do end end,
           simplecounter = {{ protocol_guid = '{ICMP}', onpacket = function() end }} }}"
    );
    let bench = witness(Bench::new().plugin("deaf.lua", &hearer));
    let outcome = bench
        .counter("says.lua", IPV4, "", "engine:post_message_frontend('x')")
        .args(&["--callback-budget", "100"])
        .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "deaf.lua", "onmessage", "exceeded its time budget of 100 ms");
    assert_eq!(outcome.faults("deaf.lua"), 3);
    assert_eq!(outcome.dropped("callbacks_skipped"), 2);
}

#[test]
fn an_endless_loop_in_the_metatable_of_a_block() {
    let capture = Capture::udp(5, 100);
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }},
           onload = function()
             TrisulPlugin.simplecounter = setmetatable({{}}, {{ __index = function()
               while true do end end }})
           end }}"
    );
    let bench = witness(Bench::new().plugin("loop.lua", &text)).args(&["--callback-budget", "100"]);
    let outcome = bench.run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    let told = outcome.logged("ERROR", "exceeded its time budget of 100 ms");
    assert!(told.len() == 1 && told[0].starts_with("attach: "), "{}", outcome.stderr);
}

/// Runs a body that wants too much memory, with 32 MiB for the VM.
fn greedy(head: &str, body: &str) -> Outcome {
    let capture = Capture::udp(20, 100);
    let bench = witness(Bench::new().counter("greedy.lua", IPV4, head, body)).args(&["--plugin-memory", "32"]);
    let outcome = bench.run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    // With the line of the callback: there was no memory for that of the error.
    named(&outcome, "greedy.lua", "simplecounter.onpacket", "greedy.lua:5: not enough memory");
    outcome
}

#[test]
fn a_table_that_grows_without_end() {
    greedy("local kept = {}", "while true do kept[#kept + 1] = { n } end");
}

#[test]
fn one_huge_string() {
    let outcome = greedy("", "if n == 3 then string.rep('x', 1e9) end print(n)");
    let lines = outcome.lines();
    assert_eq!(lines.len(), 19, "the script goes on after the packet that failed: {lines:?}");
    assert_eq!(outcome.faults("greedy.lua"), 1);
}

#[test]
fn a_string_that_doubles() {
    greedy("", "local s = 'x' while true do s = s .. s end");
}

#[test]
fn garbage_alone_is_no_fault() {
    let capture = Capture::udp(2000, 100);
    let outcome = witness(Bench::new().counter(
        "garbage.lua",
        IPV4,
        "",
        "local t = {} for i = 1, 100 do t[i] = { tostring(i * n) } end",
    ))
    .args(&["--plugin-memory", "32"])
    .run(&capture);
    outcome.prints(&[]);
    undisturbed(&outcome, &capture);
}

#[test]
fn deep_recursion_is_an_error_of_the_callback() {
    let shapes = [
        "local function f() return 1 + f() end f()",
        "local function f(s) return (s:gsub('.', f)) end f('x')",
        "local function f() string.gsub('x', 'x', f) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end local _ = t.a",
        "local function f() return pcall(f) and error('x') end f() error('unwound')",
        "local t = {} for i = 1, 200000 do t = { t } end local function f(t) return f(t[1]) + 1 end f(t)",
        "local function f() coroutine.wrap(f)() end f()",
        "local function f() table.sort({ 3, 2, 1 }, f) end f()",
        "loadstring(string.rep('(', 100000))() error('unparsable')",
    ];
    let capture = Capture::udp(3, 100);
    for (index, shape) in shapes.iter().enumerate() {
        let outcome =
            witness(Bench::new().counter("deep.lua", IPV4, "", &format!("if n == 2 then {shape} end print(n)")))
                // Unwinding a deep C stack takes its time on a busy machine, and is not the matter here.
                .args(&["--plugin-memory", "64", "--callback-budget", "30000"])
                .run(&capture);
        assert_eq!(outcome.code, Some(1), "shape {index}: {shape}\n{}", outcome.stderr);
        undisturbed(&outcome, &capture);
        assert_eq!(outcome.faults("deep.lua"), 1, "shape {index}: {shape}\n{}", outcome.stderr);
        assert_eq!(outcome.lines().first(), Some(&"1"));
        let said = outcome.by("fault", "deep.lua")[0]["message"].as_str().unwrap();
        assert!(said.contains("deep.lua:"), "shape {index} does not say where it happened: {said}");
    }
}

#[test]
fn slow_callbacks_are_told_of_wherever_in_the_capture_they_come_and_once_a_minute() {
    const SLOW: &str = "local ffi = require 'ffi' pcall(ffi.cdef, 'int usleep(unsigned)')";
    let told = |packets: u32, apart: Duration, every: u32| {
        let capture = (0..packets).fold(Capture::new(), |capture, i| {
            let at = Duration::from_secs(1_000) + apart * i;
            capture.at_micros(at.as_secs() as u32, at.subsec_micros(), udp_packet((1, 2), b"x"))
        });
        let body = format!("if n % {every} == 0 then ffi.C.usleep(300000) end");
        let outcome = witness(Bench::new().counter("slow.lua", IPV4, SLOW, &body)).run(&capture);
        outcome.exits(0);
        undisturbed(&outcome, &capture);
        let about = |line: &&str| {
            line.contains(" WARN ") && line.contains("[slow.lua] simplecounter: ") && line.contains("slow callback")
        };
        outcome.stderr.lines().filter(about).map(str::to_owned).collect::<Vec<_>>()
    };
    let only_the_last = told(3, Duration::from_secs(1), 3);
    assert_eq!(only_the_last.len(), 1, "{only_the_last:?}");
    // Scripts are looked after every 64 batches. On a busy machine others are slow as well.
    let far_apart = told(60_000, Duration::from_secs(1), 20_000);
    assert!(far_apart.len() >= 3, "{far_apart:?}");
    // The first, and at the end all that came within a minute of that.
    let within_a_minute = told(60_000, Duration::from_micros(500), 20_000);
    assert_eq!(within_a_minute.len(), 2, "{within_a_minute:?}");
}

#[test]
fn os_exit_ends_the_callback_only() {
    let capture = Capture::udp(3, 100);
    let outcome = witness(Bench::new().counter("exit.lua", IPV4, "", "os.exit(0)")).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "exit.lua", "simplecounter.onpacket", "exit.lua:6: os.exit(0) refused");
    assert_eq!(outcome.faults("exit.lua"), 3);
}

#[test]
fn a_failing_protocol_handler_leaves_the_packets_as_they_are() {
    let capture =
        (0..300u32).fold(Capture::new(), |capture, i| capture.at(100, udp_packet((4711, 1), &i.to_be_bytes())));
    let outcome = witness(Bench::new().plugin(
        "proto.lua",
        "local n = 0
         TrisulPlugin = { id = {}, protocol_handler = {
           control = { guid = '{AAAAAAAA-0000-0000-0000-000000000001}', name = 'P',
             host_protocol_guid = '{14D7AB53-CC51-47E9-8814-9C06AAE60189}', host_protocol_ports = { 4711 } },
           parselayer = function(layer) n = n + 1
             if n % 3 == 0 then error('cannot parse') end
             if n == 7 then while true do end end
             return layer:layer_bytes() end } }",
    ))
    .counter(
        "p.lua",
        "{AAAAAAAA-0000-0000-0000-000000000001}",
        "",
        &format!("engine:update_counter('{GROUP}', 'p', 0, 1)"),
    )
    .args(&["--callback-budget", "100"])
    .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "proto.lua", "protocol_handler.parselayer", "proto.lua:6: cannot parse");
    named(&outcome, "proto.lua", "protocol_handler.parselayer", "exceeded its time budget");
    assert_eq!(outcome.faults("proto.lua"), 101);
    assert_eq!(outcome.total(GROUP, "p", 0).map(|t| t.updates), Some(300 - 101));
}

#[test]
fn packets_that_a_suspended_protocol_handler_is_not_asked_about_are_counted() {
    let capture = Capture::udp(1_500, 100);
    let handler = "TrisulPlugin = { id = {}, protocol_handler = {
           control = { guid = '{AAAAAAAA-0000-0000-0000-000000000001}', name = 'P',
             host_protocol_guid = '{14D7AB53-CC51-47E9-8814-9C06AAE60189}', host_protocol_ports = { 6000 } },
           parselayer = function(layer) error('each time') end } }";
    let outcome = witness(Bench::new().plugin("proto.lua", handler)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    assert_eq!(outcome.logged("ERROR", "suspended for 30 s after 1000 errors in a row").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.faults("proto.lua"), 1_000);
    // Of the batch in which the thousandth error is, and of whole ones.
    assert_eq!(outcome.dropped("callbacks_skipped"), 500);
}

#[test]
fn errors_of_several_plugins_are_told_apart() {
    let capture = Capture::udp(50, 100);
    let outcome = witness(Bench::new())
        .counter("a.lua", IPV4, "", "error('from a')")
        .counter("b.lua", IPV4, "", "if n == 3 then local x = nil; x.y = 1 end")
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'c', 0, 1)"))
        .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "a.lua", "simplecounter.onpacket", "a.lua:6: from a");
    named(&outcome, "b.lua", "simplecounter.onpacket", "b.lua:6: attempt to index local 'x' (a nil value)");
    assert_eq!((outcome.faults("a.lua"), outcome.faults("b.lua"), outcome.faults("c.lua")), (50, 1, 0));
    assert_eq!(outcome.total(GROUP, "c", 0).map(|t| t.updates), Some(50));
}

#[test]
fn a_hook_that_errs_at_every_step_does_not_hold_the_run_up() {
    let capture = Capture::udp(50, 100);
    let body = "print(n) if n == 1 then debug.sethook(function() error('from the hook') end, '', 1) end";
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", body)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "simplecounter.onpacket", "from the hook");
}

#[test]
fn a_hook_that_errs_at_every_step_does_not_hold_the_end_of_the_run_up() {
    let capture = Capture::udp(5, 100);
    let body = "if n == 1 then T.async:defer { timeout = 5, ontimeout = function() print('due') end }
        debug.sethook(function() error('from the hook') end, '', 1) end";
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", body)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "timer", "from the hook");
    let faults = outcome.by("fault", "bad.lua");
    let of_timer = faults.iter().filter(|event| event["callback"] == "timer").filter_map(|e| e["count"].as_u64());
    let tries = of_timer.sum::<u64>() / 2;
    assert!((100..110).contains(&tries), "it is given up after a hundred tries, not after {tries}");
    assert_eq!(outcome.dropped("jobs_cancelled"), 1);
}

#[test]
fn an_error_whose_text_is_no_text_has_a_line_and_suspends() {
    let capture = Capture::udp(1500, 100);
    let body = "error(setmetatable({}, { __tostring = function() return {} end }))";
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", body)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "simplecounter.onpacket", "bad.lua:6: (error object is a table value)");
    assert_eq!(outcome.logged("ERROR", "suspended for 30 s").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.faults("bad.lua"), 1000);
}

#[test]
fn handlers_of_events_of_the_vm_are_refused() {
    let capture = Capture::udp(3, 100);
    let body = "jit.attach(function() while true do end end, 'trace')";
    let outcome = witness(Bench::new().counter("bad.lua", IPV4, "", body)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "simplecounter.onpacket", "bad.lua:6: jit.attach refused");
}

#[test]
fn finalizers_of_ffi_that_loop_do_not_hold_the_run_up() {
    let capture = Capture::udp(10_000, 100);
    let head = "local ffi, x = require 'ffi', {}";
    let body = "x[n % 10] = ffi.gc(ffi.new('char[100]'), function() while true do end end)";
    let bench = witness(Bench::new().counter("bad.lua", IPV4, head, body)).args(&["--callback-budget", "100"]);
    let outcome = bench.run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
}

#[test]
fn a_command_ends_with_the_callback_that_runs_it() {
    let capture = Capture::udp(4, 100);
    let body = "if n == 1 then print(os.execute(), os.execute('exit 3'), os.execute('kill -9 $$')) end
        if n == 2 then os.execute('sleep 77; true') end print(n)";
    let bench = witness(Bench::new().counter("bad.lua", IPV4, "", body)).args(&["--callback-budget", "500"]);
    let outcome = bench.run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    named(&outcome, "bad.lua", "simplecounter.onpacket", "exceeded its time budget of 500 ms");
    assert_eq!(outcome.lines(), ["1\t768\t9", "1", "3", "4"], "{}", outcome.stderr);
}
