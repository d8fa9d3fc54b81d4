//! Functions that fail, callers that want too much, and plugins that go away.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::e2e::Place;
use crate::support::IPV4;
use crate::{Bench, until};

const CLASS: &str = "{AAAABBBB-0000-4000-8000-000000000001}";

#[test]
fn a_function_that_fails_says_where_and_the_plugin_goes_on() {
    let bench = Bench::with(
        "fail = function() error('it broke') end, object = function() error({}) end,
         loop = function() while true do end end, count = function() return 1 end,
         nested = function() return pcall(function() while true do end end) end",
    );
    assert!(bench.fails("p.fail", &Value::Null).ends_with("p.lua:1: it broke"));
    bench.fails("p.object", &Value::Null);
    for _ in 0..4 {
        let error = bench.fails("p.loop", &Value::Null);
        assert!(error.contains("p.lua:2: callback exceeded its time budget"), "{error}");
    }
    assert!(bench.fails("p.nested", &Value::Null).contains("exceeded its time budget"));
    assert_eq!(bench.call("p.count", &Value::Null), 1, "calls do not have a plugin disabled");
    bench.goes_on();
    let (_, ended) = bench.stop();
    ended.exits(1);
    assert!(ended.stderr.contains("functions.loop: ") && !ended.stderr.contains("it broke"), "{}", ended.stderr);
}

#[test]
fn what_cannot_travel_is_an_error() {
    let bench = Bench::with(
        "fn = function() return function() end end, inside = function() return { a = { print } } end,
         cycle = function() local t = {} t.t = t return t end,
         wide = function() local t = {} for i = 1, 60 do t = { t, t } end return t end,
         deep = function() local t = {} for i = 1, 200 do t = { t } end return t end,
         huge = function() return ('x'):rep(5000000) end, large = function() return ('x'):rep(4000000) end,
         nan = function() return 0/0 end, key = function() return { [{}] = 1 } end, co = function() return coroutine.create(print) end,
         ok = function() return 'ok' end",
    );
    for name in ["fn", "inside", "cycle", "wide", "deep", "huge", "key", "co"] {
        let error = bench.fails(&format!("p.{name}"), &Value::Null);
        assert!(error.contains("the answer cannot travel"), "{name}: {error}");
    }
    let nan = bench.ask(&json!({ "request": "call", "function": "p.nan" }));
    assert!(nan["result"].is_null(), "{nan}");
    assert_eq!(bench.call("p.large", &Value::Null).as_str().unwrap().len(), 4_000_000);
    assert_eq!(bench.call("p.ok", &Value::Null), "ok");
    bench.stop().1.exits(0);
}

#[test]
fn a_function_that_may_not_write_cannot() {
    let text = format!(
        "local kept, count
         TrisulPlugin = {{ id = {{ name = 'p', clsid = '{CLASS}' }},
           countergroup = {{ control = {{ guid = '{{C0E4B1D2-0000-4000-8000-000000000001}}', name = 'c', bucketsize = 60 }},
             meters = {{ {{ 0, T.K.vartype.COUNTER, 10, 0, 'n', 'n', 'x' }} }} }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine)
             kept, count = kept or engine, engine.update_counter
             engine:update_counter('{{C0E4B1D2-0000-4000-8000-000000000001}}', 'k', 0, 1) end }},
           channellistener = {{ onchannelmessage = function(id, text) print('heard', text) end }},
           functions = {{
             local_count = {{ function(engine) count(kept, '{{C0E4B1D2-0000-4000-8000-000000000001}}', 'k', 0, 1) end, no_writes = true }},
             local_post = {{ function(engine) print('said') post(kept, 'x') end, no_writes = true }},
             local_broadcast = {{ function() T.host:broadcast('x', '{CLASS}', 'broadcast') end, no_writes = true }},
             local_alert = {{ function(engine) alert(kept, '{{B5F1DECB-51D5-4395-B71B-6FA730B772D9}}', nil, 'kept', 1, 'm') end, no_writes = true }},
             keep = function(engine) post, alert = engine.post_message_frontend, engine.add_alert end,
             alert = {{ function(engine) engine:add_alert('{{B5F1DECB-51D5-4395-B71B-6FA730B772D9}}', nil, 'k', 1, 'm') end, no_writes = true }},
             count = {{ function(engine) engine:update_counter('x', 'k', 0, 1) end, 'no_writes' }},
             post = {{ function(engine) engine:post_message_frontend('x') end, 'no_writes' }},
             quiet = {{ function(engine) return pcall(engine.add_alert, engine) end, 'no_writes' }},
             id = {{ function(engine) return engine:id() ~= nil end, 'no_writes' }},
             loop = {{ function(engine) while true do end end, 'no_writes' }},
             free = function(engine) engine:add_alert('{{B5F1DECB-51D5-4395-B71B-6FA730B772D9}}', nil, 'k', 1, 'm') return 'done' end,
         }} }}"
    );
    let bench = Bench::start(Place::new().plugin("p.lua", &text), &[]);
    for (name, method) in [("alert", "add_alert"), ("count", "update_counter"), ("post", "post_message_frontend")] {
        let error = bench.fails(&format!("p.{name}"), &Value::Null);
        assert!(
            error.contains("p.lua:")
                && error.contains(&format!("{method}() is not available: the function was registered with no_writes")),
            "{error}"
        );
    }
    bench.call("p.keep", &Value::Null);
    for name in ["local_count", "local_post", "local_broadcast", "local_alert"] {
        let error = bench.fails(&format!("p.{name}"), &Value::Null);
        assert!(error.contains("a method that writes was called and did nothing"), "{name}: {error}");
    }
    assert_eq!(bench.call("p.quiet", &Value::Null), false);
    assert_eq!(bench.call("p.id", &Value::Null), true);
    bench.fails("p.loop", &Value::Null);
    assert_eq!(bench.call("p.free", &Value::Null), "done", "others may write as before");
    bench.goes_on();
    let (_, ended) = bench.stop();
    ended.exits(1);
    assert!(ended.stderr.contains("said"), "it may print: {}", ended.stderr);
    assert!(!ended.stderr.contains("heard"), "{}", ended.stderr);
    assert_eq!(ended.report()["records"]["alerts"]["count"], 1, "that of the one that may");
    assert!(!ended.stderr.contains("simplecounter.onpacket"), "packets are counted as before: {}", ended.stderr);
}

#[test]
fn a_plugin_without_room_for_work_is_called_only_where_that_is_wanted() {
    let bench = Bench::with(
        "begin = function()
           T.async:configure { pending = 1 }
           return (T.async:schedule { data = 'x', onexecute = function() os.execute('sleep 20') end })
         end,
         plain = function() return 'plain' end,
         always = { function() return 'always' end, allow_when_overloaded = true }",
    );
    assert_eq!(bench.call("p.plain", &Value::Null), "plain");
    let id = bench.call("p.begin", &Value::Null);
    assert_eq!(bench.fails("p.plain", &Value::Null), "p.plain: overloaded: 1 jobs of the plugin are pending");
    assert_eq!(bench.call("p.always", &Value::Null), "always");
    bench.prints(&["jobs", "cancel", id.as_str().unwrap()]);
    let plain = json!({ "request": "call", "function": "p.plain" });
    until("there is room", || bench.ask(&plain)["ok"] == true);
    bench.stop().1.exits(0);
}

#[test]
fn hostile_requests_are_answered_and_harm_nobody() {
    let bench = Bench::with("echo = function(engine, args) return args end");
    let mut client = bench.connect();
    let deep =
        format!("{{\"request\":\"call\",\"function\":\"p.echo\",\"args\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let deeper = format!(
        "{{\"request\":\"call\",\"function\":\"p.echo\",\"args\":{}1{}}}",
        "[".repeat(9_000),
        "]".repeat(9_000)
    );
    for line in [
        "not json",
        "[]",
        "{\"request\":\"call\"}",
        "{\"request\":\"call\",\"function\":[]}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"args\":{}}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"args\":7}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"engine\":70000}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"timeout\":-1}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"timeout\":1e300}",
        "{\"request\":\"call\",\"function\":\"p.echo\",\"async\":1}",
        "{\"request\":\"call_result\"}",
        "{\"request\":\"call_result\",\"id\":\"x\"}",
        "{\"request\":\"call_result\",\"id\":\"99999999999-1\"}",
        "{\"request\":\"jobs_retry\",\"id\":{}}",
        "{\"request\":\"jobs_dead\",\"limit\":\"x\"}",
        "{\"request\":\"resolve\",\"id\":\"0-1\",\"value\":{}}",
        "{\"request\":\"reject\",\"id\":\"0-1\",\"message\":[]}",
        &deeper,
    ] {
        client.send(line);
        let answer = client.answer();
        assert_eq!(answer["ok"], false, "{line:.100}: {answer}");
        assert!(!answer["error"].as_str().unwrap().contains("our own fault"), "{answer}");
    }
    client.send(&deep);
    assert_eq!(client.answer()["ok"], true, "a hundred levels come back");
    let long = "x".repeat(60_000);
    assert_eq!(
        client.ask(&json!({ "request": "call", "function": "p.echo", "args": [long] }))["result"][0]
            .as_str()
            .unwrap()
            .len(),
        60_000
    );
    let mut too_long = bench.connect();
    too_long.send(&json!({ "request": "call", "function": "p.echo", "args": ["x".repeat(70_000)] }).to_string());
    assert_eq!(too_long.answer()["error"], "a request has at most 65536 bytes");
    bench.goes_on();
    bench.stop().1.exits(0);
}

#[test]
fn a_hundred_clients_at_once_each_have_their_answer() {
    let bench = Bench::with(
        "echo = function(engine, args) return args[1] end,
         bg = function(engine, args) local x = args[1] return T.async:run_on_background(function() return x end) end",
    );
    thread::scope(|scope| {
        for n in 0..100 {
            let bench = &bench;
            scope.spawn(move || {
                let mut client = bench.connect();
                for function in ["p.echo", "p.bg"] {
                    let answer =
                        client.ask(&json!({ "request": "call", "function": function, "args": [n.to_string()] }));
                    assert_eq!(answer["result"], n.to_string(), "{function}: {answer}");
                }
            });
        }
    });
    bench.goes_on();
    bench.stop().1.exits(0);
}

#[test]
fn calls_that_wait_when_a_plugin_is_unloaded_are_told() {
    let bench = Bench::with(
        "never = function() return T.async:defer {} end,
         block = function() local t = os.clock() while os.clock() - t < 0.8 do end end",
    );
    let mut never = bench.connect();
    never.send(&json!({ "request": "call", "function": "p.never" }).to_string());
    thread::sleep(Duration::from_millis(300));
    fs::remove_file(bench.place.path("plugins/p.lua")).unwrap();
    bench.ask(&json!({ "request": "reload" }));
    let answer = never.answer();
    assert_eq!(answer["error"], "p.never: the run ended or the plugin was unloaded before the answer came");
    let error = bench.fails("p.never", &Value::Null);
    assert!(error.contains("no VM of it runs"), "{error}");
    bench.goes_on();
    bench.stop().1.exits(0);
}

#[test]
fn names_and_flags_that_are_none_keep_a_plugin_from_loading() {
    for (functions, why) in [
        ("['a b'] = function() end", "the name of a function is made of letters"),
        ("f = 5", "f: function expected, got number"),
        ("f = { function() end, 'no_write' }", "f: unknown flag 'no_write'"),
    ] {
        let place = Place::new().plugin("p.lua", &crate::plugin("p", functions));
        fs::write(place.path("input.pcap"), crate::support::Capture::udp(10, 1_000).to_pcap()).unwrap();
        let file = place.path("input.pcap").display().to_string();
        let ended = place.run(&["-r", &file, "--json"], crate::LIMIT);
        assert!(ended.stderr.contains(why), "{functions}: {}", ended.stderr);
    }
}
