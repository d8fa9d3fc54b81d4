//! Discovery, `require`, VMs, and the life of a plugin from probing to unloading.

use std::collections::BTreeSet;

use crate::support::{Bench, Capture, GROUP, IPV4, TCP, UDP};

fn announce(extra: &str) -> String {
    format!(
        "TrisulPlugin = {{ id = {{}}, {extra} simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() print('packet') end }} }}"
    )
}

#[test]
fn scripts_are_called_in_byte_order_of_their_paths_and_searched_recursively() {
    let bench = ["b.lua", "a/z.lua", "a.lua", "B.lua", "a/deep/x.lua", "c/d.lua"]
        .into_iter()
        .fold(Bench::new(), |bench, name| bench.counter(name, IPV4, "", &format!("print('{name}')")));
    let outcome = bench.run(&Capture::udp(2, 100));
    outcome.exits(0);
    let round = ["B.lua", "a/deep/x.lua", "a/z.lua", "a.lua", "b.lua", "c/d.lua"];
    let mut by_path = round;
    // `a/...` and `a.lua`: '.' sorts before '/', so byte order of whole paths puts a.lua first; entry by entry it is the
    // directory's name `a`. Both are the order of their entries' paths.
    by_path.sort_unstable();
    let lines = outcome.lines();
    assert!(lines[..6] == round || lines[..6] == by_path, "{lines:?}");
    assert_eq!(lines[..6], lines[6..], "the same order for every packet");
}

#[test]
fn what_discovery_passes_over() {
    let body = "print('never')";
    let outcome = Bench::new()
        .counter(".hidden.lua", IPV4, "", body)
        .counter(".dir/x.lua", IPV4, "", body)
        .counter("helpers/x.lua", IPV4, "", body)
        .counter("sub/helpers/x.lua", IPV4, "", body)
        .counter("x.lua.bak", IPV4, "", body)
        .counter("x.txt", IPV4, "", body)
        .plugin("library.lua", "print('never') error('never')")
        .plugin("mentions.lua", "-- TrisulPlugin is only mentioned\nreturn 5")
        .plugin("text.lua", "TrisulPlugin = 'a text'")
        .counter("real.lua", IPV4, "", "print('real')")
        .run(&Capture::udp(1, 100));
    outcome.prints(&["real"]);
    assert_eq!(outcome.logged("INFO", "no TrisulPlugin table").len(), 2, "{}", outcome.stderr);
}

#[test]
fn directories_come_in_the_order_given_and_a_file_is_loaded_once() {
    let bench = Bench::new()
        .file("second/a.lua", announce("").replace("'packet'", "'second'"))
        .file("first/b.lua", announce("").replace("'packet'", "'first'"))
        .file("env/c.lua", announce("").replace("'packet'", "'env'"));
    let env = bench.path("env").display().to_string();
    let bench = bench
        .plugin_paths(&["first", "second", "first/b.lua"])
        .env("TRISUL_LUA_PATHS", &format!("{env}:/no/such/directory"));
    bench.run(&Capture::udp(1, 100)).prints(&["first", "second", "env"]);
}

#[test]
fn the_probe_directories_of_the_configuration_are_searched() {
    let bench = Bench::new()
        .file("root/config/local-lua/a.lua", announce("").replace("'packet'", "'context'"))
        .file("root/config/lua/b.lua", announce("").replace("'packet'", "'deployed'"))
        .file("lib/lua/c.lua", announce("").replace("'packet'", "'probe'"));
    let (root, lib) = (bench.path("root").display().to_string(), bench.path("lib").display().to_string());
    let bench =
        bench.args(&["--set", &format!("App>DBRoot={root}"), "--set", &format!("App>PluginsLibDirectory={lib}")]);
    bench.run(&Capture::udp(1, 100)).prints(&["context", "deployed", "probe"]);
}

#[test]
fn require_looks_in_the_scripts_directory_first() {
    let app = |name: &str| {
        format!(
            "local m = require 'mkconfig'\nlocal h = require 'helper_of_app'\n\
             TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()\n\
             print('{name}', m.name, h, require('shared'), require('top')) end }} }}"
        )
    };
    let outcome = Bench::new()
        .plugin("one/app.lua", &app("one"))
        .plugin("one/mkconfig.lua", "return { name = 'config of one' }")
        .plugin("one/helpers/helper_of_app.lua", "return 'helper of one'")
        .plugin("two/app.lua", &app("two"))
        .plugin("two/mkconfig.lua", "return { name = 'config of two' }")
        .plugin("two/helper_of_app.lua", "return 'helper of two'")
        .plugin("helpers/shared.lua", "return 'shared'")
        .plugin("helpers/mkconfig.lua", "return { name = 'wrong' }")
        .plugin("mkconfig.lua", "return { name = 'wrong' }")
        .plugin("top.lua", "return 'top'")
        .run(&Capture::udp(1, 100));
    outcome
        .prints(&["one\tconfig of one\thelper of one\tshared\ttop", "two\tconfig of two\thelper of two\tshared\ttop"]);
}

#[test]
fn package_path_begins_as_stated() {
    let outcome = Bench::new().counter("sub/p.lua", IPV4, "", "print(package.path)").run(&Capture::udp(1, 100));
    outcome.exits(0);
    let path = outcome.lines()[0].to_owned();
    let entries: Vec<_> = path.split(';').collect();
    assert!(entries[0].ends_with("plugins/sub/?.lua"), "{path}");
    assert!(entries[1].ends_with("plugins/sub/helpers/?.lua"), "{path}");
    assert!(entries[2].ends_with("plugins/helpers/?.lua"), "{path}");
    assert!(entries[3].ends_with("plugins/?.lua"), "{path}");
    assert!(entries.contains(&"./?.lua"), "LuaJIT's defaults: {path}");
}

#[test]
fn the_modules_of_the_host_can_be_required() {
    let outcome = Bench::new()
        .counter(
            "m.lua",
            IPV4,
            "local JSON, dbg, inspect = require 'JSON', require 'debugger', require 'inspect'",
            "dbg() print(JSON:decode('{\"a\":[1,2]}').a[2], JSON:encode({ 1, 'x' }), pcall(JSON.decode, JSON, '{') == false)
             print(type(inspect({ a = 1 })), type(JSON:encode_pretty({ a = 1 })), type(require 'sweepbuf'), type(require 'pdurecord'))",
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&["2\t[1,\"x\"]\ttrue", "string\tstring\ttable\ttable"]);
}

#[test]
fn vms_share_nothing() {
    let two_blocks = format!(
        "counter = (counter or 0) + 1
         T.mine = (T.mine or 0) + 1
         string.added = (string.added or 0) + 1
         TrisulPlugin = {{ id = {{}},
           protocol_handler = {{ control = {{ guid = '{{AAAAAAAA-0000-0000-0000-000000000001}}', name = 'P',
               host_protocol_guid = '{UDP}', host_protocol_ports = {{ 6000 }} }},
             parselayer = function(layer) counter = counter + 100 print('handler', counter) return layer:layer_bytes() end }},
           simplecounter = {{ protocol_guid = '{UDP}', onpacket = function()
             counter = counter + 1 print('counter', counter, T.mine, string.added) end }} }}"
    );
    let outcome = Bench::new()
        .plugin("a.lua", &two_blocks)
        .counter("b.lua", UDP, "", "print('other', counter, T.mine, string.added)")
        .run(&Capture::udp(1, 100));
    outcome.prints(&["handler\t101", "counter\t2\t1\t1", "other\tnil\tnil\tnil"]);
}

#[test]
fn the_life_of_a_vm() {
    let text = format!(
        "print('file', TrisulPlugin == nil, type(T.K), type(T.contextid))
         TrisulPlugin = {{ id = {{}},
           onload = function() print('onload', TrisulPlugin.id ~= nil) T.seen = 0 end,
           onunload = function() print('onunload', T.seen) end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() T.seen = T.seen + 1 end }} }}"
    );
    let outcome = Bench::new().plugin("l.lua", &text).run(&Capture::udp(3, 100));
    outcome.prints(&["file\ttrue\ttable\tnumber", "onload\ttrue", "onunload\t3"]);
}

#[test]
fn what_a_function_says_that_names_the_group_of_a_monitor_is_heard_once() {
    let text = format!(
        "print('file')
         TrisulPlugin = {{ id = {{}}, cg_monitor = {{ onbeginflush = function() end,
           counter_guid = function()
             print('bound', T.countergroups ~= nil) T.log(T.K.loglevel.WARN, 'by T.log') T.logwarning('by T.logwarning')
             T.host:log(T.K.loglevel.WARN, 'by T.host')
             return '{GROUP}'
           end }} }}"
    );
    for engines in ["1", "2"] {
        let outcome =
            Bench::new().group().plugin("m.lua", &text).args(&["--engines", engines]).run(&Capture::udp(1, 100));
        outcome.exits(0);
        let lines = outcome.printed_by("m.lua");
        assert_eq!(lines.iter().filter(|line| **line == "bound\ttrue").count(), 1, "{lines:?}");
        // The backend has a thread of its own with several engines, and may be the first to say something.
        let first = if engines == "1" { &lines[..1] } else { &lines[..0] };
        assert!(first.iter().all(|line| *line == "bound\ttrue"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| **line == "file").count() + 1, lines.len(), "{lines:?}");
        for said in ["by T.log", "by T.logwarning", "by T.host"] {
            let logged = outcome.stderr.lines().filter(|line| line.ends_with(&format!("WARN [m.lua] {said}")));
            assert_eq!(logged.count(), 1, "{said}: {}", outcome.stderr);
        }
    }
}

#[test]
fn onload_false_unloads_and_anything_else_does_not() {
    let mut bench = Bench::new();
    for (name, answer) in [
        ("a", "return false"),
        ("b", "return nil"),
        ("c", "return 0"),
        ("d", ""),
        ("e", "return true"),
        ("f", "return 'false'"),
    ] {
        bench = bench.plugin(
            &format!("{name}.lua"),
            &format!(
                "TrisulPlugin = {{ id = {{}}, onload = function() {answer} end, onunload = function() print('{name}', 'unload') end,
                 onmessage = function() print('{name}', 'message') end,
                 simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) print('{name}', 'packet')
                   if '{name}' == 'b' then engine:post_message_frontend('x') end end }} }}"
            ),
        );
    }
    let outcome = bench.run(&Capture::udp(1, 100));
    outcome.exits(0);
    let names: BTreeSet<_> = outcome.lines().iter().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(names, BTreeSet::from(["b", "c", "d", "e", "f"]));
    assert_eq!(outcome.lines().len(), 15, "packet, message and unload of each: {}", outcome.stdout);
}

#[test]
fn definitions_count_even_if_onload_says_false() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onload = function() return false end,
           countergroup = {{ control = {{ guid = '{GROUP}', name = 'Kept' }} }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = print }} }}"
    );
    let outcome = Bench::new()
        .plugin("a.lua", &text)
        .counter("b.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'k', 0, 1)"))
        .run(&Capture::udp(1, 100));
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0).map(|total| total.updates), Some(1));
}

#[test]
fn onload_may_replace_t_and_callbacks_are_looked_up_once() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onload = function() T = {{}} end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine, layer)
             engine:update_counter('{GROUP}', layer:packet():flowid():ipa(), 0, 1)
             print('first', next(T)) TrisulPlugin.simplecounter.onpacket = function() print('second') end end }} }}"
    );
    let outcome = Bench::new().group().plugin("t.lua", &text).run(&Capture::udp(2, 100));
    outcome.prints(&["first\tnil", "first\tnil"]);
    assert_eq!(outcome.total(GROUP, "0A.00.00.09", 0).map(|total| total.updates), Some(2));
}

#[test]
fn callbacks_set_by_onload_are_found() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}' }},
           onload = function() TrisulPlugin.simplecounter.onpacket = function() print('set in onload') end end }}"
    );
    Bench::new().plugin("s.lua", &text).run(&Capture::udp(1, 100)).prints(&["set in onload"]);
}

#[test]
fn unknown_fields_and_other_spellings() {
    let text = format!(
        "TrisulPlugin = {{ id = {{ name = 'spelling' }}, k = {{}}, reload = function() error('never') end, ifts_monitor = {{ onflush = 5 }},
           simple_counter = {{ protocol_guid = '{IPV4}', private = {{}},
             onpacket = function() print(TrisulPlugin.simplecounter, TrisulPlugin.simple_counter ~= nil) end }} }}"
    );
    let outcome = Bench::new().plugin("s.lua", &text).run(&Capture::udp(1, 100));
    outcome.prints(&["nil\ttrue"]);
    assert!(outcome.logged("WARN", "").is_empty(), "{}", outcome.stderr);

    let both = format!(
        "TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() print('first') end }},
           simple_counter = {{ protocol_guid = '{IPV4}', onpacket = function() print('second') end }} }}"
    );
    let outcome = Bench::new().plugin("s.lua", &both).run(&Capture::udp(1, 100));
    outcome.prints(&["first"]);
    assert_eq!(outcome.logged("WARN", "simple_counter").len(), 1, "{}", outcome.stderr);
}

#[test]
fn every_field_of_id_and_its_default() {
    let bench = Bench::new()
        .plugin(
            "a-full.lua",
            &announce("").replace(
                "id = {}",
                "id = { name = 'Full', description = 'text', author = 'me', version_major = 3, version_minor = '7' }",
            ),
        )
        .plugin("b-none.lua", &announce(""));
    let list = bench.json("list");
    let row = |index: usize| {
        ["name", "description", "author", "version"]
            .map(|field| list["plugins"][index][field].as_str().unwrap_or("?").to_owned())
    };
    assert_eq!(row(0), ["Full", "text", "me", "3.7"]);
    assert_eq!(row(1), ["b-none", "", "Unleash", "1.0"]);
}

#[test]
fn a_missing_id_is_a_warning() {
    let outcome = Bench::new().plugin("anon.lua", &announce("").replace("id = {},", "")).run(&Capture::udp(1, 100));
    outcome.prints(&["packet"]);
    assert_eq!(outcome.logged("WARN", "id").len(), 1, "{}", outcome.stderr);
}

#[test]
fn print_joins_with_tabs_and_keeps_bytes() {
    let outcome = Bench::new()
        .counter(
            "p.lua",
            IPV4,
            "",
            "print() print(1, nil, true, 'a\\tb') print('x\\0\\255') print(1.5, 1e15, 1e100) print('line\\nline')",
        )
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.raw_stdout, b"\n1\tnil\ttrue\ta\tb\nx\0\xff\n1.5\t1e+15\t1e+100\nline\nline\n");
    assert_eq!(outcome.of("print").len(), 5, "a call is one event");
}

#[test]
fn print_is_written_in_the_order_of_the_packets() {
    let outcome = Bench::new()
        .counter("a.lua", IPV4, "", "print('a' .. n)")
        .counter("b.lua", IPV4, "", "print('b' .. n)")
        .run(&Capture::udp(600, 100));
    outcome.exits(0);
    let expected: Vec<_> = (1..=600).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
    assert_eq!(outcome.lines(), expected);
}

#[test]
fn an_unknown_protocol_guid_is_a_warning_at_load() {
    let outcome = Bench::new()
        .counter("u.lua", "{DEADBEEF-0000-4000-8000-000000000001}", "", "print('never')")
        .run(&Capture::udp(1, 100));
    outcome.prints(&[]);
    assert_eq!(outcome.logged("WARN", "GUID").len(), 1, "{}", outcome.stderr);
}

#[test]
fn simplecounter_is_called_once_per_packet_that_has_the_layer() {
    let outcome = Bench::new()
        .counter("tcp.lua", TCP, "", "print('tcp')")
        .counter("udp.lua", UDP, "", "print('udp') return false")
        .run(&Capture::udp(2, 100).at(200, crate::support::frames::example_syn()));
    outcome.prints(&["udp", "udp", "tcp"]);
}

#[test]
fn flow_counter_matters_with_netflow_input_only() {
    let script = |flag: &str, name: &str| {
        format!(
            "TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', {flag} onpacket = function() print('{name}') end }} }}"
        )
    };
    let bench =
        || Bench::new().plugin("a.lua", &script("", "plain")).plugin("b.lua", &script("flow_counter = true,", "flows"));
    bench().run(&Capture::udp(1, 100)).prints(&["plain", "flows"]);
    bench().args(&["--set", "App>TrisulMode=NETFLOW_TAP"]).run(&Capture::udp(1, 100)).prints(&["flows"]);
}

#[test]
fn lua_has_all_libraries_and_its_older_idioms() {
    let outcome = Bench::new()
        .counter(
            "l.lua",
            IPV4,
            "",
            "for _, name in ipairs { 'io', 'os', 'debug', 'package', 'ffi', 'jit', 'bit', 'string', 'table', 'math', 'coroutine' } do
               assert(type(name == 'ffi' and require 'ffi' or _G[name]) == 'table', name)
             end
             print(table.getn({ 1, 2 }), math.pow(2, 5), bit.band(6, 3), ('a b'):match('%g+'), type(setfenv), type(loadstring), type(unpack))
             local ffi = require 'ffi' ffi.cdef 'int getpid(void);'
             print(ffi.C.getpid() > 0, io.popen('echo popen'):read('*l'), os.execute('true'), collectgarbage('count') > 0, type(dofile))",
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&["2\t32\t2\ta\tfunction\tfunction\tfunction", "true\tpopen\t0\ttrue\tfunction"]);
}

#[test]
fn finalizers_run_behind_onunload_and_are_heard() {
    let text = format!(
        "local JSON
         hold = newproxy(true)
         getmetatable(hold).__gc = function() print('gc', JSON.decode('[1]')[1]) error('not heard') end
         JSON = require 'JSON'
         TrisulPlugin = {{ id = {{}}, onunload = function() print('onunload') end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let outcome = Bench::new().plugin("f.lua", &text).run(&Capture::udp(1, 100));
    outcome.prints(&["onunload", "gc\t1"]);
}

/// A module in C as it is installed on machines: it takes Lua's functions from the program that loads it.
const MODULE_IN_C: &str = r#"
typedef struct lua_State lua_State;
typedef struct { const char *name; int (*function)(lua_State *); } luaL_Reg;
void luaL_register(lua_State *, const char *, const luaL_Reg *);
long luaL_checkinteger(lua_State *, int);
void lua_pushinteger(lua_State *, long);
static int twice(lua_State *L) { lua_pushinteger(L, 2 * luaL_checkinteger(L, 1)); return 1; }
static const luaL_Reg functions[] = { { "twice", twice }, { 0, 0 } };
int luaopen_doubler(lua_State *L) { luaL_register(L, "doubler", functions); return 1; }
"#;

#[test]
fn modules_in_c_are_loaded_by_scripts_and_their_workers() {
    let bench = Bench::new().file("doubler.c", MODULE_IN_C);
    let (source, module) = (bench.path("doubler.c"), bench.path("doubler.so"));
    let built = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(module).arg(source).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler");
        return;
    }
    let places = format!("{};;", bench.path("?.so").display());
    let body = "if n == 1 then print(require('doubler').twice(21)) T.async:schedule { data = '4', \
        onexecute = function(data) return require('doubler').twice(data) end, \
        onresult = function(e, data, result) print(result) end } end";
    let outcome = bench.env("LUA_CPATH", &places).counter("c.lua", IPV4, "", body).run(&Capture::udp(1, 100));
    outcome.exits(0);
    outcome.prints(&["42", "8"]);
}
