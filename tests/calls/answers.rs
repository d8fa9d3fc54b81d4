//! What is called, with what, and what comes back.

use serde_json::{Value, json};

use crate::e2e::Place;
use crate::support::IPV4;
use crate::{Bench, plugin, until};

#[test]
fn a_plugin_with_functions_only_answers_with_text_or_json() {
    let bench = Bench::with(
        "echo = function(engine, args) return args end,
         text = function(engine, args) return 'hello ' .. args[1] end,
         raw = { function(engine, text) return '[' .. text .. ']' end, 'raw_arguments' },
         bytes = function() return '\\255\\0x' end,
         none = function() end,
         map = function() return { n = 1.5, b = true, l = { 1, 2 } } end,
         time = { function(engine) return engine:timestamp() > 0 end, no_writes = true },",
    );
    assert_eq!(bench.call("p.echo", &json!(["a b", { "x": [1, null] }, 7])), json!(["a b", { "x": [1] }, 7]));
    assert_eq!(bench.call("p.lua.text", &json!(["you"])), "hello you");
    assert_eq!(bench.call("p.raw", &json!(" a  b ")), "[ a  b ]");
    assert_eq!(bench.call("p.raw", &json!(["a", "b"])), "[a b]");
    assert_eq!(bench.call("p.none", &json!([])), Value::Null);
    assert_eq!(bench.call("p.map", &Value::Null), json!({ "b": true, "l": [1, 2], "n": 1.5 }));
    assert_eq!(bench.call("p.time", &Value::Null), true);
    let answer = bench.ask(&json!({ "request": "call", "function": "p.bytes" }));
    assert_eq!(answer["result_hex"], "ff0078");
    assert_eq!(bench.prints(&["call", "p.text", "you"]), "hello you\n");
    assert_eq!(bench.prints(&["call", "p.none"]), "");
    assert_eq!(bench.prints(&["call", "p.raw", "a", "-1", "--", "--c"]), "[a -1 --c]\n");
    assert_eq!(bench.prints(&["call", "p.echo", "{\"x\": 1}", "y"]), "[\"{\\\"x\\\": 1}\",\"y\"]\n");
    assert_eq!(bench.prints(&["call", "p.echo", "--json-args", "{\"x\": 1}", "y"]), "[{\"x\":1},\"y\"]\n");
    let all: Value = serde_json::from_str(&bench.prints(&["call", "p.map", "--json"])).unwrap();
    assert_eq!((&all["ok"], &all["engine"], &all["result"]["n"]), (&true.into(), &0.into(), &1.5.into()));
    let plugins = bench.ask(&json!({ "request": "plugins" }));
    assert_eq!(plugins["plugins"][0]["functions"], json!(["bytes", "echo", "map", "none", "raw", "text", "time"]));
    bench.goes_on();
    let (_, ended) = bench.stop();
    ended.exits(0);
}

#[test]
fn a_list_of_plugins_names_their_functions() {
    let place = Place::new().plugin(
        "p.lua",
        "T.register_function('b', function() end, { 'no_writes' }) T.register_function('c', function() end)
         TrisulPlugin = { functions = { a = { function() end, 'raw_arguments', allow_when_overloaded = true } } }",
    );
    let path = place.path("plugins/p.lua").display().to_string();
    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["list", "--json", "-p", &path])
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let expected = json!([
        { "name": "a", "flags": ["allow_when_overloaded", "raw_arguments"] },
        { "name": "b", "flags": ["no_writes"] },
        { "name": "c", "flags": [] },
    ]);
    assert_eq!(listed["plugins"][0]["functions"], expected, "{listed}");
}

#[test]
fn functions_see_what_the_first_block_has_counted_and_work_between_two_batches() {
    let text = format!(
        "local n, inside = 0, false
         TrisulPlugin = {{ id = {{ name = 'p' }}, simplecounter = {{ protocol_guid = '{IPV4}',
           onpacket = function() assert(not inside) n = n + 1 end }} }}
         T.register_function('count', function()
           inside = true
           local first = n
           for i = 1, 10000 do end
           inside = false
           return {{ first, n }}
         end)"
    );
    let bench = Bench::start(Place::new().plugin("p.lua", &text), &[]);
    let mut last = 0;
    for _ in 0..20 {
        let both = bench.call("p.count", &Value::Null);
        assert_eq!(both[0], both[1]);
        assert!(both[0].as_u64().unwrap() >= last);
        last = both[0].as_u64().unwrap();
    }
    bench.goes_on();
    assert!(bench.call("p.count", &Value::Null)[0].as_u64().unwrap() > last);
    bench.stop().1.exits(0);
}

#[test]
fn the_vm_that_answers_can_be_chosen() {
    let where_am_i = "T.register_function('side', function() return T.enginetype end)";
    let text = format!(
        "{where_am_i}
         TrisulPlugin = {{ id = {{ name = 'p' }}, engine_monitor = {{ onbeginflush = function() end }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let backend_only =
        "TrisulPlugin = { id = { name = 'b' }, functions = { side = function() return T.enginetype end },
         engine_monitor = { onbeginflush = function() end } }";
    let place = Place::new().plugin("p.lua", &text).plugin("b.lua", backend_only);
    let bench = Bench::start(place, &["--engines", "2", "--backends", "2"]);
    assert_eq!(bench.call("p.side", &Value::Null), "frontend");
    assert_eq!(bench.call("b.side", &Value::Null), "backend");
    let on = |engine: Value| bench.ask(&json!({ "request": "call", "function": "p.side", "engine": engine }));
    assert_eq!(on(json!(1))["result"], "frontend");
    assert_eq!((&on(json!(3))["result"], &on(json!(3))["engine"]), (&"backend".into(), &3.into()));
    let all = on(json!("all"));
    let rows: Vec<(u64, &str)> = all["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["engine"].as_u64().unwrap(), row["result"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(0, "frontend"), (1, "frontend"), (2, "backend"), (3, "backend")]);
    assert_eq!(
        on(json!(9))["error"],
        "p.side: p: no VM of it is on this engine, but on 0, 1, 2, 3".replace("p.side: ", "")
    );
    assert_eq!(bench.prints(&["call", "b.side", "--engine", "all"]), "2: backend\n3: backend\n");
    bench.stop().1.exits(0);
}

#[test]
fn names_that_are_nearly_right_are_told() {
    let bench = Bench::with("count = function() return 1 end, reset = function() end");
    assert_eq!(bench.fails("p.cuont", &Value::Null), "\"p.cuont\": no such function; did you mean \"p.count\"?");
    assert_eq!(bench.fails("p.zzzzzz", &Value::Null), "\"p.zzzzzz\": no such function; it has count, reset");
    assert_eq!(bench.fails("quite.count", &Value::Null), "\"quite\": no such plugin; \"plugins\" lists what there is");
    assert!(bench.fails("count", &Value::Null).contains("is not the name of a function, such as plugin.name"));
    let (code, out, err) = bench.command(&["call", "p.cuont"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("did you mean \"p.count\"?"), "{err}");
    bench.stop().1.exits(0);
}

#[test]
fn a_call_that_is_not_waited_for_has_an_id_and_its_answer_is_kept() {
    let bench = Bench::with(
        "double = function(engine, args) return args[1] * 2 end, fail = function() error('no') end,
         never = function() return T.async:defer{} end",
    );
    let id = bench.prints(&["call", "p.double", "21", "--async"]);
    let id = id.trim();
    assert!(id.starts_with("0-"), "{id}");
    assert_eq!(bench.prints(&["call", "--result", id, "--timeout", "20s"]), "42\n");
    let kept = bench.ask(&json!({ "request": "call_result", "id": id }));
    assert_eq!((&kept["function"], &kept["state"], &kept["result"]), (&"p.double".into(), &"done".into(), &42.into()));
    let id = bench.prints(&["call", "p.fail", "--async"]);
    let (code, _, err) = bench.command(&["call", "--result", id.trim(), "--timeout", "20"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("p.fail: ") && err.contains("p.lua:1: no"), "{err}");
    let id = bench.prints(&["call", "p.never", "--async"]);
    let (code, out, _) = bench.command(&["call", "--result", id.trim(), "--timeout", "300ms"]);
    assert_eq!((code, out.as_str()), (Some(1), "running\n"));
    let (_, _, err) = bench.command(&["call", "--result", "0-99999"]);
    assert!(err.contains("no call 0-99999 is kept"), "{err}");
    let all =
        bench.ask(&json!({ "request": "call", "function": "p.double", "args": ["1"], "async": true, "engine": "all" }));
    assert!(all["id"].is_string(), "one thread, one id: {all}");
    bench.stop().1.exits(0);
}

#[test]
fn an_answer_is_delivered_to_another_function() {
    let bench = Bench::with(
        "double = function(engine, args) return args[1] * 2 end, fail = function() error('no') end,
         later = function() return T.async:run_on_background(function() return 'slept' end) end,
         told = function(engine, args) heard = (heard or '') .. args[1]['function'] .. '='
           .. tostring(args[1].result or args[1].error:match('no$')) .. ';' end,
         heard = function() return heard or '' end",
    );
    for name in ["double", "fail", "later"] {
        let id = bench.prints(&["call", &format!("p.{name}"), "21", "--async", "--callback", "p.told"]);
        assert!(id.starts_with("0-"), "{id}");
        let end = format!("p.{name}=");
        until("the answer is told", || {
            bench.call("p.heard", &Value::Null).as_str().is_some_and(|text| text.contains(&end))
        });
    }
    assert_eq!(bench.call("p.heard", &Value::Null), "p.double=42;p.fail=no;p.later=slept;");
    let (code, _, err) = bench.command(&["call", "p.double", "1", "--async", "--callback", "p.tolt"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("callback: \"p.tolt\": no such function; did you mean \"p.told\"?"), "{err}");
    let (code, _, err) = bench.command(&["call", "p.double", "1", "--callback", "p.told"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--async"), "{err}");
    bench.stop().1.exits(0);
}

#[test]
fn a_new_version_has_functions_of_its_own() {
    let bench = Bench::with("version = function() return 1 end, old = function() end");
    assert_eq!(bench.call("p.version", &Value::Null), 1);
    let text = plugin("p", "version = function() return 2 end, new = function() return 'new' end");
    std::fs::write(bench.place.path("plugins/p.lua"), text).unwrap();
    bench.ask(&json!({ "request": "reload" }));
    until("the new version answers", || bench.call("p.version", &Value::Null) == 2);
    assert_eq!(bench.call("p.new", &Value::Null), "new");
    assert_eq!(bench.fails("p.old", &Value::Null), "\"p.old\": no such function; it has new, version");
    bench.stop().1.exits(0);
}

#[test]
fn the_sample_answers_as_its_heading_says() {
    let place = Place::new().plugin("sample.lua", include_str!("../../samples/async-functions.lua"));
    let bench = Bench::start(place, &[]);
    bench.goes_on();
    let hosts = bench.call("sample-async-functions.hosts", &Value::Null);
    assert_eq!(hosts["hosts"], 1, "{hosts}");
    assert!(hosts["packets"].as_u64().unwrap() > 0);
    let busiest = bench.call("sample.busiest", &json!(["3"]));
    assert_eq!(busiest[0]["host"], "10.0.0.5", "{busiest}");
    let none = bench.fails("sample.read", &json!(["/none"]));
    assert_eq!(none, "sample.read: /none: No such file or directory");
    assert_eq!(bench.fails("sample.read", &Value::Null), "sample.read: the name of a file is needed");
    assert_eq!(bench.fails("sample.patience", &json!(["0.1"])), "sample.patience: timed out");
    assert_eq!(bench.prints(&["call", "sample.limit", "10", "MiB"]), "limit is 10 MiB\n");
    bench.stop().1.exits(0);
}

#[test]
fn a_run_that_nobody_calls_says_the_same_whether_it_could_be_called_or_not() {
    let capture = crate::support::Capture::udp(2_000, 1_000).to_pcap();
    let text = format!(
        "local n = 0
         TrisulPlugin = {{ id = {{ name = 'p' }}, functions = {{ count = function() return n end }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine)
             n = n + 1
             if n % 100 == 0 then
               T.async:schedule {{ data = tostring(n), onexecute = function(d) return d end,
                 onresult = function(engine, d, r) print('result ' .. r) end }}
             end
           end }} }}"
    );
    let place = Place::new().plugin("p.lua", &text);
    std::fs::write(place.path("input.pcap"), capture).unwrap();
    let file = place.path("input.pcap").display().to_string();
    let mut said = Vec::new();
    for (name, more) in [("a", &[][..]), ("b", &["--control", "socket"][..])] {
        let events = place.path(name).display().to_string();
        let ended = place.run(&[&["-r", &file, "--json", "--events", &events], more].concat(), crate::LIMIT);
        ended.exits(0);
        // Its first line tells of the run.
        let lines = std::fs::read_to_string(place.path(name)).unwrap();
        said.push(lines.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(said[0].len() > 20);
    assert_eq!(said[0], said[1]);
}
