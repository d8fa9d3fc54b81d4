//! `T.async`: file operations, scheduled functions, what travels with them, and how they end.

use std::fs;

use crate::support::{Bench, Capture, GROUP, IPV4, Outcome};

/// Runs a body once, at the first packet.
fn once(bench: Bench, head: &str, body: &str) -> (Bench, Outcome) {
    let bench = bench.counter("j.lua", IPV4, head, &format!("if n == 1 then {body} end"));
    let outcome = bench.run(&Capture::udp(2, 100));
    (bench, outcome)
}

#[test]
fn cat_copy_cp_rm_and_copybuffer() {
    let bench = Bench::new().file("one", "1").file("two", "22").file("old", "old contents").file("gone", "x");
    let (bench, outcome) = once(
        bench,
        "",
        "T.async:cat('one', 'all') T.async.cat('two', 'all') T.async:cat('one', 'all')
         T.async:copy('two', 'old') T.async:cp('one', 'copied') T.async:rm('gone') T.async:rm('never was')
         local b = layer:rawbytes()
         T.async:copybuffer(b, 'buffer') T.async.copybuffer('text', 'buffer') T.async:copybuffer('XY', 'buffer', 1)
         T.async:copy('no such file', 'nowhere') T.async:cat(nil, 'x')
         print(select('#', T.async:copy('one', 'again')))",
    );
    assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.stderr);
    assert_eq!(outcome.lines(), ["0"]);
    let read = |name: &str| fs::read(bench.path(name)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", outcome.stderr));
    assert_eq!(read("all"), b"1221");
    assert_eq!(read("old"), b"22");
    assert_eq!(read("copied"), b"1");
    assert_eq!(read("again"), b"1");
    assert!(!bench.path("gone").exists() && !bench.path("nowhere").exists());
    let buffer = read("buffer");
    assert_eq!((buffer.len(), &buffer[..4], &buffer[20..]), (24, &[0x45, b'X', b'Y', 32][..], &b"text"[..]));
    let told: usize = ["ERROR", "WARN"].iter().map(|level| outcome.logged(level, "no such file").len()).sum();
    assert!(told >= 1, "a failure is told in the log: {}", outcome.stderr);
}

#[test]
fn operations_on_one_file_keep_their_order_with_several_workers() {
    let text = format!(
        "local n = 0
         TrisulPlugin = {{ id = {{}}, request_async_workers = 8, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
           n = n + 1 T.async:copybuffer(n .. ',', 'chunks') end }} }}"
    );
    let bench = Bench::new().plugin("c.lua", &text);
    bench.run(&Capture::udp(500, 100)).prints(&[]);
    let expected: String = (1..=500).map(|n| format!("{n},")).collect();
    assert_eq!(fs::read_to_string(bench.path("chunks")).ok(), Some(expected));
}

#[test]
fn with_one_worker_functions_find_what_operations_before_them_have_done() {
    let bench = Bench::new().file("part", "x");
    let (_, outcome) = once(
        bench,
        "",
        "for i = 1, 40 do T.async:cat('part', 'whole') end
         T.async:schedule {
           onexecute = function() return #io.open('whole'):read('*a') end,
           onresult = function(engine, data, size) print(size) end,
         }
         T.async:cat('part', 'whole')",
    );
    outcome.prints(&["40"]);
}

#[test]
fn data_is_converted_and_copied_at_the_call() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "local job = { onexecute = function(d) return type(d) .. ':' .. d end, onresult = function(e, d, r) print(d, r) end }
         job.data = 'a\\0b' T.async:schedule(job) job.data = 42 T.async:schedule(job) job.data = nil T.async.schedule(job)",
    );
    outcome.prints(&["a\0b\tstring:a\0b", "42\tstring:42", "\tstring:"]);
}

#[test]
fn results_that_are_no_text_are_not_delivered() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "for _, f in ipairs { function() return nil end, function() end, function() return {} end, function() return true end,
           function() return 7 end, function() return '' end, function() error('in the worker') end } do
           T.async:schedule { data = 'd', onexecute = f, onresult = function(e, d, r) print(r) end }
         end
         T.async:schedule { onexecute = function() return 'no onresult' end }",
    );
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["7", ""]);
    assert_eq!(outcome.logged("ERROR", "in the worker").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.faults("j.lua"), 1);
    let states: Vec<_> =
        outcome.of("job").iter().filter_map(|event| event["state"].as_str()).map(str::to_owned).collect();
    assert_eq!(states.len(), 8, "every job ends once: {states:?}");
}

#[test]
fn schedule_wants_a_table_with_onexecute() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "for _, v in ipairs { false, {}, { onexecute = 5 }, { onexecute = print, data = coroutine.create(print) } } do
           local ok, e = pcall(T.async.schedule, v) print(ok, e:match(\"bad argument #1 to 'schedule'\") ~= nil)
         end
         print((pcall(T.async.schedule)))",
    );
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["false\ttrue", "false\ttrue", "false\ttrue", "false\ttrue", "false"]);
}

#[test]
fn upvalues_travel_by_value() {
    let (_, outcome) = once(
        Bench::new(),
        "local text, number, flag, list, missing = 'captured', 5, true, { 1, { deep = 'x' } }, nil
         list.self = list
         local function twice(x) return x * 2 end
         local function fact(k) return k <= 1 and 1 or k * fact(k - 1) end",
        "local flow = layer:packet():flowid()
         T.async:schedule { onexecute = function()
             list[1] = list[1] + 100
             return table.concat({ text, number, tostring(flag), list[1], list[2].deep, tostring(list.self == list), tostring(missing),
               twice(21), tostring(flow), type(T.util.ntop), type(_G), type(string.format) }, ' ')
           end, onresult = function(e, d, r) print(r, list[1]) end }",
    );
    assert!(matches!(outcome.code, Some(0)), "{}", outcome.stderr);
    assert_eq!(outcome.lines(), ["captured 5 true 101 x true nil 42 nil function table function\t1"]);
    assert_eq!(outcome.logged("WARN", "flow").len(), 1, "{}", outcome.stderr);
}

#[test]
fn captured_parts_of_t_async_are_those_of_the_worker() {
    let (bench, outcome) = once(
        Bench::new().file("from", "bytes"),
        "local async, copy, cat, schedule = T.async, T.async.copy, T.async.cat, T.async.schedule",
        "T.async:schedule { onexecute = function()
             copy('from', 'copied') async:cat('copied', 'twice') cat('copied', 'twice')
             local _, why = pcall(schedule, { onexecute = print })
             local file = io.open('twice')
             local text = file:read('*a')
             file:close()
             return table.concat({ tostring(async == T.async), tostring(copy == T.async.copy), text, why }, ' ')
           end, onresult = function(e, d, r) print(r) end }",
    );
    outcome.exits(0);
    let refused = "ERR_NOTAVAIL: schedule() is not available for async scripts";
    assert_eq!(outcome.lines(), [format!("true true bytesbytes {refused}")], "{}", outcome.stderr);
    assert!(outcome.logged("WARN", "cannot be sent").is_empty(), "{}", outcome.stderr);
    assert!(bench.path("copied").exists());
}

#[test]
fn copybuffer_takes_numbers_and_refuses_other_objects() {
    let (bench, outcome) = once(
        Bench::new(),
        "",
        "T.async:copybuffer(12ULL, 'number')
         print((select(2, pcall(T.async.copybuffer, layer, 'x')):gsub('^.-:%d+: ', '')))",
    );
    outcome.prints(&["bad argument #1 to 'copybuffer' (string expected, got cdata)"]);
    assert_eq!(fs::read(bench.path("number")).ok().as_deref(), Some(&b"12"[..]));
}

#[test]
fn the_async_vm_has_t_without_an_engine_and_keeps_its_globals() {
    let bench = Bench::new()
        .plugin("jobhelper.lua", "calls = 0 return { tell = function() calls = calls + 1 return calls end }");
    let (_, outcome) = once(
        bench,
        "in_plugin = true",
        "local job = { onexecute = function(d)
           local helper = require 'jobhelper'
           T.logerror('from the worker')
           return table.concat({ helper.tell(), tostring(in_plugin), tostring(TrisulPlugin), tostring(_G.engine), T.K.loglevel.WARN,
             T.util.ntop(1), tostring(T.re2('a'):partial_match('a')), T.ac({ 'a' }):match_all('a').a, T.env.get_config('No>Path'),
             tostring(T.host:is_homenet('10.0.0.1')), T.probeid, T.enginetype, type(T.contextid),
             tostring(select(2, pcall(T.async.schedule, {})):match('ERR_NOTAVAIL.*')) }, ' ')
           end, onresult = function(e, d, r) print(r) end }
         T.async:schedule(job) T.async:schedule(job)",
    );
    outcome.exits(0);
    let rest = "nil nil nil 5 0.0.0.1 true 1  true probe0 frontend number ERR_NOTAVAIL: schedule() is not available for async scripts";
    assert_eq!(outcome.lines(), [format!("1 {rest}"), format!("2 {rest}")]);
    assert_eq!(outcome.logged("ERROR", "from the worker").len(), 2);
}

#[test]
fn the_async_vm_is_of_the_side_that_scheduled_the_job() {
    let text = format!(
        "local function ask(where) T.async:schedule {{ onexecute = function() return T.enginetype end,
           onresult = function(e, d, r) print(where, r) end }} end
         local n = 0
         TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
           n = n + 1 if n == 1 then ask('in front') end end }},
           engine_monitor = {{ onbeginflush = function() ask('behind') end }} }}"
    );
    let outcome = Bench::new().plugin("j.lua", &text).run(&Capture::udp(2, 100));
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["behind\tbackend", "in front\tfrontend"], "{}", outcome.stderr);
}

#[test]
fn file_functions_run_at_once_inside_a_worker() {
    let (bench, outcome) = once(
        Bench::new().file("from", "x"),
        "",
        "T.async:schedule { onexecute = function() T.async:copy('from', 'to') return io.open('to'):read('*a') end,
           onresult = function(e, d, r) print(r, T.async:pending_items()) end }",
    );
    outcome.exits(0);
    assert!(outcome.lines()[0].starts_with("x\t"), "{}", outcome.stdout);
    assert!(bench.path("to").exists());
}

#[test]
fn onresult_works_with_the_engine_and_has_no_packet() {
    let (_, outcome) = once(
        Bench::new().group(),
        "local first",
        &format!(
            "first = engine
             T.async:schedule {{ data = 'd', onexecute = function() return 'r' end, onresult = function(e, d, r)
               print(rawequal(e, first), e:timestamp())
               e:update_counter('{GROUP}', r, 0, 3) e:update_counter_bytes('{GROUP}', r, 1)
               e:add_alert('{{B5F1DECB-51D5-4395-B71B-6FA730B772D9}}', nil, 'sig', 1, d)
               e:post_message_frontend('from onresult')
             end }}"
        ),
    );
    outcome.prints(&["true\t100"]);
    assert_eq!(outcome.total(GROUP, "r", 0).map(|total| total.sum), Some(3.0));
    assert_eq!(outcome.total(GROUP, "r", 1), None);
    assert_eq!(outcome.fields("alert", &["message"]), ["d"]);
    assert_eq!(outcome.of("message").len(), 1);
}

#[test]
fn all_results_arrive_before_unloading() {
    let text = format!(
        "local got, n = 0, 0
         TrisulPlugin = {{ id = {{}}, request_async_workers = '3', onunload = function() print('unload', got) end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
             n = n + 1
             T.async:schedule {{ data = n, onexecute = function(d) return d end, onresult = function(e, d, r) assert(d == r) got = got + 1 end }}
           end }} }}"
    );
    Bench::new().plugin("a.lua", &text).run(&Capture::udp(3000, 100)).prints(&["unload\t3000"]);
}

#[test]
fn an_error_in_onresult_does_not_stop_the_others() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "for i = 1, 4 do T.async:schedule { data = i, onexecute = function(d) return d end,
           onresult = function(e, d, r) if r == '2' then error('odd one') end print(r) end } end",
    );
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["1", "3", "4"]);
    assert_eq!(outcome.logged("ERROR", "odd one").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.faults("j.lua"), 1);
}

#[test]
fn a_job_that_never_ends_is_stopped_and_the_packets_go_on() {
    let bench = Bench::new().args(&["--job-budget", "1"]);
    let (_, outcome) = once(
        bench,
        "",
        "T.async:schedule { onexecute = function() while true do end end, onresult = print }
         T.async:schedule { onexecute = function() return 'next job' end, onresult = function(e, d, r) print(r) end }",
    );
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["next job"]);
    assert_eq!(outcome.packets(), Some(2));
    assert!(outcome.of("job").iter().any(|event| event["state"] != "done"), "{:?}", outcome.of("job"));
}

#[test]
fn pending_items_counts_what_is_not_delivered() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "print(T.async:pending_items())
         for i = 1, 3 do T.async:schedule { onexecute = function() return 'x' end, onresult = function() end } end
         local p = T.async.pending_items() print(p >= 0 and p <= 3, type(p))",
    );
    outcome.prints(&["0", "true\tnumber"]);
}

#[test]
fn ids_are_running_numbers_however_often_a_function_is_scheduled() {
    let (_, outcome) = once(
        Bench::new(),
        "local prefix = 'p'
         local plain = { onexecute = function(d) return d end, onresult = function() end }
         local captured = { onexecute = function(d) return prefix .. d end, onresult = function() end }",
        "local fine = true
         for i = 1, 300 do
           local id, reason = T.async:schedule(i % 3 == 0 and captured or plain)
           fine = fine and id == '0-' .. i and reason == nil
         end
         print(fine, select('#', T.async.schedule(plain)), type(plain.id))",
    );
    outcome.prints(&["true\t2\tnil"]);
}

#[test]
fn every_result_goes_to_the_onresult_it_was_scheduled_with() {
    let text = format!(
        "local n, right, wrong = 0, 0, 0
         local echo, prefix = function(d) return d end, 'p'
         local function captured(d) return prefix .. d end
         local function failing(d) error(d) end
         local function silent(d) end
         TrisulPlugin = {{ id = {{}}, onunload = function() print(right, wrong) end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
             for i = 1, 20 do
               n = n + 1
               local own = tostring(n)
               local function expect(text)
                 return function(e, d, r) if d == own and r == text then right = right + 1 else wrong = wrong + 1 end end
               end
               if i == 3 then T.async:schedule {{ data = n, onexecute = silent, onresult = expect('never') }}
               elseif i == 5 then T.async:schedule {{ data = n, onexecute = echo }}
               elseif i == 7 then T.async:schedule {{ data = n, onexecute = captured, onresult = expect('p' .. own) }}
               elseif i == 9 then T.async:schedule {{ data = n, onexecute = function(d) return '=' .. d end, onresult = expect('=' .. own) }}
               else T.async:schedule {{ data = n, onexecute = echo, onresult = expect(own) }} end
             end
           end }} }}"
    );
    for deterministic in ["files", "never"] {
        let bench = Bench::new().plugin("r.lua", &text).args(&["--deterministic", deterministic]);
        bench.run(&Capture::udp(500, 100)).prints(&["9000\t0"]);
    }
}

#[test]
fn a_job_that_is_refused_gives_nil_and_a_reason_and_no_result() {
    let (_, outcome) = once(
        Bench::new().args(&["--callback-budget", "60000"]),
        "local got = 0
         local plain = { onexecute = function(d) return d end, onresult = function()
           got = got + 1 if got == 100000 then print('all') end
         end }",
        "local accepted, last, why = 0, nil, nil
         for i = 1, 100010 do
           local id, reason = T.async:schedule(plain)
           if id then accepted = accepted + 1 else last, why = i, reason end
         end
         print(accepted, last, why, T.async:pending_items())
         T.async:schedule { onexecute = function() return 'later' end }
         T.async:copy('a', 'b')",
    );
    assert_eq!(outcome.lines(), ["100000\t100010\tjob 0-100010 dropped: 100000 jobs are pending\t100000", "all"]);
    assert_eq!(outcome.logged("WARN", "more than 100000 items are pending").len(), 1, "{}", outcome.stderr);
    let dropped = outcome.of("job").iter().filter(|event| event["state"] == "dropped").count();
    assert_eq!(dropped, 12);
}

#[test]
fn errors_of_schedule_name_the_line_of_the_call() {
    let (_, outcome) = once(
        Bench::new(),
        "",
        "for _, v in ipairs { {}, { onexecute = print, data = coroutine.create(print) } } do
           print((select(2, pcall(function() T.async:schedule(v) end)):match('^.-j.lua:%d+: (.*)$')))
         end",
    );
    outcome.exits(0);
    assert_eq!(
        outcome.lines(),
        [
            "bad argument #1 to 'schedule' (a function onexecute is missing)",
            "bad argument #1 to 'schedule' ('data' is a coroutine, which cannot be sent to a worker)"
        ]
    );
}

#[test]
fn an_error_is_told_with_the_callback_in_which_it_happened() {
    let (_bench, outcome) = once(
        Bench::new(),
        "",
        "local function fail(what) return function() error('in ' .. what) end end
         T.async:schedule { onexecute = function() return 'x' end, onresult = fail('onresult'), onfree = fail('onfree') }
         T.async:schedule { onexecute = function() error('no') end, onerror = fail('onerror') }
         T.async:schedule { timeout = 0, onexecute = function() end, ontimeout = fail('ontimeout') }
         T.async:cancel(T.async:schedule { onexecute = function() end, oncancel = fail('oncancel') })
         T.async:defer { onresult = fail('a deferred onresult'), onfree = fail('a deferred onfree') }:resolve('x')
         T.async:defer { timeout = 1, ontimeout = fail('a deferred ontimeout') }
         T.async:spawn(function() T.async:sleep(1) error('in spawn') end)",
    );
    for callback in ["onresult", "onfree", "onerror", "ontimeout", "oncancel", "spawn"] {
        let told = outcome.logged("ERROR", &format!("in {callback}"));
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("{callback}: ")) && told[0].contains("j.lua:"),
            "{callback}: {told:?}"
        );
    }
    for callback in ["onresult", "onfree", "ontimeout"] {
        let told = outcome.logged("ERROR", &format!("in a deferred {callback}"));
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("{callback}: ")) && told[0].contains("j.lua:"),
            "{callback}: {told:?}"
        );
    }
}

#[test]
fn a_wrong_option_is_told_with_the_function_that_was_called() {
    let (_bench, outcome) = once(
        Bench::new(),
        "",
        "local function try(f) print((select(2, pcall(f)):match('j.lua:%d+: .*$'))) end
         try(function() T.async:defer { timeout = 'x' } end)
         try(function() T.async:defer { onfree = 5 } end)
         try(function() T.async:configure { retain = 'x' } end)
         try(function() T.async:schedule { onexecute = print, timeout = -1 } end)",
    );
    outcome.prints(&[
        "j.lua:7: bad argument #1 to 'defer' (timeout: number not below 0 expected, got string)",
        "j.lua:8: bad argument #1 to 'defer' (onfree: function expected, got number)",
        "j.lua:9: bad argument #1 to 'configure' (retain: number not below 0 expected, got string)",
        "j.lua:10: bad argument #1 to 'schedule' (timeout: number not below 0 expected, got number)",
    ]);
}

#[test]
fn a_table_travels_without_its_metatable_and_the_warning_says_so() {
    let (_bench, outcome) = once(
        Bench::new(),
        "local kept = setmetatable({ x = 1 }, { __index = function() return 2 end }) local lost = io.stdout",
        "T.async:schedule { onexecute = function() return tostring(kept.x) .. tostring(kept.y) .. tostring(lost) end,
           onresult = function(e, d, r) print(r) end }",
    );
    outcome.prints(&["1nilnil"]);
    let upvalue = "cannot be sent to a worker";
    assert_eq!(
        outcome.logged("WARN", upvalue),
        [
            "onexecute: upvalue 'kept' has a metatable, which cannot be sent to a worker; the table arrives without it",
            "onexecute: upvalue 'lost' is a userdata, which cannot be sent to a worker; it is nil there",
        ]
    );
}
