//! Seconds, windows, the order of the flush, life of the VMs, messages, jobs.

use crate::support::{Bench, Capture, GROUP, IPV4};
use crate::{block, counting, sized};

const ENGINE: &str = "onbeginflush = function(e, ts) print('begin', ts) end, \
                      onendflush = function(e, ts) print('end', ts, e:timestamp()) end";

fn engine(body: &str, capture: &Capture) -> Vec<String> {
    let outcome = Bench::new().plugin("e.lua", &block("engine_monitor", body)).run(capture);
    outcome.exits(0).lines().into_iter().map(str::to_owned).collect()
}

#[test]
fn engine_monitor_sees_every_window_and_the_last_one_at_the_end() {
    let lines = engine(ENGINE, &sized(&[(10, 60), (130, 60)]));
    assert_eq!(lines, ["begin\t0", "end\t0\t10", "begin\t60", "end\t60\t0", "begin\t120", "end\t120\t60"]);
}

#[test]
fn ticks_count_from_one_and_flushes_come_before_the_tick_of_their_second() {
    let body = "onbeginflush = function(e, ts) print('flush', ts) end, \
                onmetronome = function(e, ts, count, interval) print('tick', ts, count, interval) end";
    let lines = engine(body, &sized(&[(57, 60), (61, 60)]));
    let expected = ["tick\t58\t1\t1", "tick\t59\t2\t1", "flush\t0", "tick\t60\t3\t1", "tick\t61\t4\t1", "flush\t60"];
    assert_eq!(lines, expected);
}

#[test]
fn gaps_of_more_than_a_minute_are_skipped_in_one_step() {
    let body = "onmetronome = function(e, ts, count) print(ts, count) end";
    assert_eq!(engine(body, &sized(&[(10, 60), (200, 60)])), ["200\t1"]);
    assert_eq!(engine(body, &sized(&[(10, 60), (70, 60)])).len(), 60);
    let windows = engine(ENGINE, &sized(&[(10, 60), (400 * 86_400, 60)]));
    assert_eq!(windows.len(), 6, "the window that was open, the one before the packet, the last one");
    assert_eq!(windows[2], format!("begin\t{}", 400 * 86_400 - 60));
}

#[test]
fn windows_are_as_long_as_the_setting_says() {
    let outcome = Bench::new()
        .plugin("e.lua", &block("engine_monitor", ENGINE))
        .args(&["--set", "Tuning>StreamingWindowMSecs=10000"])
        .run(&sized(&[(12, 60), (21, 60)]));
    assert_eq!(outcome.lines(), ["begin\t10", "end\t10\t12", "begin\t20", "end\t20\t10"]);
}

#[test]
fn the_kinds_of_monitors_are_flushed_in_the_order_of_the_contract() {
    let begin = |name: &str| format!("onbeginflush = function() print('{name}') end");
    let engine = "onbeginflush = function() print('engine') end, onendflush = function() print('engine ends') end";
    let text = format!(
        "TrisulPlugin = {{ id = {{ name = 't' }}, flowtracker = {{ control = {{ name = 't' }}, {} }}, \
         sg_monitor = {{ {} }}, fts_monitor = {{ fts_guid = function() return T.ftsgroups['SSL Certs'] end, {} }}, \
         resource_monitor = {{ resource_guid = function() return T.resourcegroups['DNS'] or \
           select(2, next(T.resourcegroups)) end, {} }}, \
         alert_monitor = {{ alert_name_match = 'External IDS', {} }}, cg_monitor = {{ counter_guid = '{GROUP}', {} }}, \
         engine_monitor = {{ {engine} }} }}",
        begin("tracker"),
        begin("flows"),
        begin("documents"),
        begin("resources"),
        begin("alerts"),
        begin("counters"),
    );
    Bench::new().group().plugin("t.lua", &text).run(&Capture::udp(1, 100)).prints(&[
        "engine",
        "counters",
        "alerts",
        "resources",
        "documents",
        "flows",
        "tracker",
        "engine ends",
    ]);
}

#[test]
fn backend_vms_live_like_the_others_and_may_bring_their_own_onload() {
    let outer = "TrisulPlugin = { id = { name = 't' }, onload = function() print('load') end, \
                 onunload = function() print('unload') end, engine_monitor = { onload = function() print('inner') end, \
                 onendflush = function() print('flush') end } }";
    let outcome = Bench::new().plugin("e.lua", outer).run(&Capture::udp(1, 100));
    outcome.prints(&["load", "flush", "unload"]);
    let inner = outer
        .replace("onload = function() print('load') end,", "")
        .replace("onunload = function() print('unload') end,", "");
    Bench::new().plugin("e.lua", &inner).run(&Capture::udp(1, 100)).prints(&["inner", "flush"]);
    let declined = outer.replace("print('load')", "return false");
    Bench::new().plugin("e.lua", &declined).run(&Capture::udp(1, 100)).prints(&[]);
}

#[test]
fn the_group_tables_and_identity_of_the_backend() {
    let body = "onendflush = function(e) print(e:instanceid(), e:id(), T.enginetype, T.backend_engineid, \
                T.monitor_group_name, T.countergroups.Hosts, T.alertgroups['External IDS'] ~= nil, \
                T.ftsgroups['SSL Certs'] ~= nil, next(T.resourcegroups) ~= nil, next(T.sessiongroups) ~= nil) end";
    assert_eq!(
        engine(body, &Capture::udp(1, 100)),
        ["0\t0\tbackend\t0\tnil\t{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}\ttrue\ttrue\ttrue\ttrue"]
    );
}

#[test]
fn methods_of_the_frontend_are_not_available() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onnewkey = function(e, ts, key) print(key) \
         e:update_flow('06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019', 0, 1) end"
    );
    let outcome = counting(Bench::new(), "engine:update_counter(G, 'k' .. n, 0, 1)")
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .run(&Capture::udp(2, 100));
    assert_eq!(outcome.lines(), ["k1", "k2"]);
    let told = outcome.logged("ERROR", "ERR_NOTAVAIL: update_flow() is not available for backend scripts");
    assert_eq!(told.len(), 2, "{}", outcome.stderr);
    let methods = "onendflush = function(e) for _, name in ipairs { 'update_counter_bytes', 'add_flow_counter', \
        'reset_flow_counter', 'update_flow_raw', 'new_flow_record', 'set_flow_duration', 'terminate_flow', \
        'disable_reassembly' } do print(select(2, pcall(e[name], e)):match('ERR_NOTAVAIL: (.*)')) end end";
    let lines = engine(methods, &Capture::udp(1, 100));
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], "update_counter_bytes() is not available for backend scripts");
}

#[test]
fn messages_go_between_the_sides_both_ways_and_to_their_own_side() {
    let backend = "TrisulPlugin = { id = { name = 'b' }, onmessage = function(id, text) print('backend', id, text) end, \
        engine_monitor = { onbeginflush = function(e, ts) if ts == 60 then \
          e:post_message_frontend('to the front') e:post_message_backend('among us') print('posted') end end, \
          onendflush = function(e, ts) if ts == 60 then print('after') end end } }";
    let frontend = format!(
        "local n = 0 TrisulPlugin = {{ id = {{ name = 'f' }}, onmessage = function(id, text) print('front', id, text) end, \
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) n = n + 1 print('packet', n) \
         if n == 1 then engine:post_message_backend('{{11111111-1111-1111-1111-111111111111}}', 'x\\0y') end end }} }}"
    );
    let outcome = Bench::new().plugin("b.lua", backend).plugin("f.lua", &frontend).run(&sized(&[
        (100, 60),
        (130, 60),
        (131, 60),
    ]));
    assert_eq!(
        outcome.printed_by("b.lua"),
        ["backend\t{11111111-1111-1111-1111-111111111111}\tx\u{0}y", "posted", "backend\t\tamong us", "after"]
    );
    assert_eq!(outcome.printed_by("f.lua").len(), 4);
    assert!(outcome.printed_by("f.lua").contains(&"front\t\tto the front"));
}

#[test]
fn messages_to_a_backend_that_is_not_there_are_counted() {
    let outcome = counting(Bench::new(), "engine:post_message_backend('x')").run(&Capture::udp(2, 100));
    outcome.exits(0);
    assert_eq!(outcome.of("message").len(), 2);
}

#[test]
fn results_of_jobs_re_enter_between_callbacks_before_the_window_ends() {
    let body = "onmetronome = function(e, ts) if ts == 101 then for i = 1, 3 do T.async:schedule { data = i, \
          onexecute = function(d) return 'did ' .. d end, \
          onresult = function(e, d, r) print(r, e:instanceid()) end } end print('scheduled') end end, \
        onbeginflush = function(e, ts) print('begin', ts) end, \
        onendflush = function(e, ts) if ts == 120 then T.async:schedule { data = 'last', \
          onexecute = function(d) return d end, onresult = function(e, d, r) print(r) end } end end, \
        onunload = function() print('unload') end";
    assert_eq!(
        engine(body, &sized(&[(100, 60), (121, 60)])),
        ["scheduled", "did 1\t0", "did 2\t0", "did 3\t0", "begin\t60", "begin\t120", "last", "unload"]
    );
}

#[test]
fn two_runs_are_the_same_to_the_byte() {
    let monitor = format!(
        "counter_guid = '{GROUP}', onnewkey = function(e, ts, key) e:add_alert('{{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}}', \
         nil, key, 1, 'new') end, onupdate = function() end, onflush = function(e, ts, key, m) \
         T.async:schedule {{ data = key, onexecute = function(d) return d end, onresult = function(e, d, r) \
         e:update_counter('{GROUP}', 'job ' .. r, 1, 1) end }} end"
    );
    let bench = counting(Bench::new(), "engine:update_counter(G, 'k' .. n % 50, 0, n)")
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .plugin("d.lua", &block("sg_monitor", "onflush = function(e, f) print(f:key()) end"));
    let run = || bench.run(&Capture::udp(3_000, 100)).event_lines;
    let first = run();
    assert!(first.lines().count() > 300);
    assert!(first == run());
}
