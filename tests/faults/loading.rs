//! Files that do not load, and callbacks at the beginning and the end that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bench, Capture, GROUP, IPV4, UDP};
use crate::{named, undisturbed, witness};

#[test]
fn a_syntax_error_names_file_and_line() {
    let capture = Capture::udp(3, 100);
    let outcome = witness(Bench::new().plugin("bad.lua", "local x = 1\nTrisulPlugin = = {}\n")).run(&capture);
    outcome.exits(1);
    assert_eq!(outcome.logged("ERROR", "bad.lua:2: ").len(), 1, "{}", outcome.stderr);
    let load = outcome.by("load", "bad.lua")[0];
    assert!(load["ok"] == false && load["error"].as_str().is_some_and(|e| e.contains("bad.lua:2: ")), "{load}");
    undisturbed(&outcome, &capture);
}

#[test]
fn an_error_while_the_file_runs_keeps_it_out() {
    let capture = Capture::udp(3, 100);
    let text = "TrisulPlugin = { id = {} }\nerror('top level')\n";
    let outcome = witness(Bench::new().plugin("bad.lua", text)).run(&capture);
    outcome.exits(1);
    assert_eq!(outcome.logged("ERROR", "bad.lua:2: top level").len(), 1, "{}", outcome.stderr);
    undisturbed(&outcome, &capture);
}

#[test]
fn a_missing_library_keeps_its_script_out() {
    let capture = Capture::udp(1, 100);
    let text = "local lib = require 'no_such_library'\nTrisulPlugin = { id = {} }\n";
    let outcome = witness(Bench::new().plugin("bad.lua", text)).run(&capture);
    outcome.exits(1);
    assert!(!outcome.logged("ERROR", "no_such_library").is_empty(), "{}", outcome.stderr);
    undisturbed(&outcome, &capture);
}

#[test]
fn an_error_in_onload_keeps_that_script_out() {
    let capture = Capture::udp(3, 100);
    let text = format!(
        "TrisulPlugin = {{ id = {{}},\n onload = function() local x = 'a' + 'b' end,\n onunload = function() print('never') end,\n\
         simplecounter = {{ protocol_guid = '{UDP}', onpacket = function() print('never') end }} }}"
    );
    let outcome = witness(Bench::new().plugin("bad.lua", &text)).run(&capture);
    outcome.exits(1);
    assert_eq!(outcome.lines(), [] as [&str; 0]);
    named(&outcome, "bad.lua", "onload", "bad.lua:2: ");
    undisturbed(&outcome, &capture);
}

#[test]
fn an_error_in_onunload_is_logged_and_the_rest_unloads() {
    let capture = Capture::udp(3, 100);
    let script = |body: &str| {
        format!(
            "TrisulPlugin = {{ id = {{}},\n onunload = function() {body} end,\n\
             simplecounter = {{ protocol_guid = '{UDP}', onpacket = function() end }} }}"
        )
    };
    let outcome = witness(Bench::new())
        .plugin("a.lua", &script("local file = nil; file.close()"))
        .plugin("b.lua", &script("print('b unloaded')"))
        .run(&capture);
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["b unloaded"]);
    named(&outcome, "a.lua", "onunload", "a.lua:2: ");
    undisturbed(&outcome, &capture);
}

#[test]
fn bytecode_is_refused_as_plugin_and_as_library() {
    let capture = Capture::udp(1, 100);
    let outcome = witness(Bench::new().plugin("code.lua", "\x1bLJ TrisulPlugin")).run(&capture);
    assert!(outcome.by("load", "code.lua").iter().all(|event| event["ok"] == false), "{:?}", outcome.of("load"));
    undisturbed(&outcome, &capture);

    let library = Bench::new()
        .plugin(
            "make.lua",
            "local f = assert(io.open(T.args, 'wb')) f:write(string.dump(function() return 1 end)) f:close()
             TrisulPlugin = { id = {}, onload = function() print(select(2, pcall(require, 'compiled'))) end,
               simplecounter = { protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = function() end } }",
        );
    let path = library.path("plugins/compiled.lua").display().to_string();
    let outcome = library.args(&["--args", &path]).run(&capture);
    assert!(outcome.lines().iter().any(|line| line.contains("error loading module 'compiled'")), "{}", outcome.stdout);
}

#[test]
fn a_file_that_others_may_write_is_refused_when_running_as_root() {
    let capture = Capture::udp(1, 100);
    let bench = witness(Bench::new()).counter("open.lua", UDP, "", "print('never')");
    let path = bench.path("plugins/open.lua");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("our own file");
    let root = fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).ok() == Some(0);
    let outcome = bench.run(&capture);
    if root {
        assert_eq!(outcome.lines(), [] as [&str; 0]);
        assert!(outcome.by("load", "open.lua").iter().all(|event| event["ok"] == false));
    } else {
        eprintln!("not root: only that it runs is checked");
        assert_eq!(outcome.lines(), ["never"]);
    }
    undisturbed(&outcome, &capture);
}

#[test]
fn a_plugin_table_that_is_none_and_blocks_that_are_none() {
    let capture = Capture::udp(1, 100);
    let outcome = witness(Bench::new())
        .plugin("number.lua", "TrisulPlugin = 5")
        .plugin("block.lua", "TrisulPlugin = { id = {}, simplecounter = 'x', countergroup = 7 }")
        .plugin("guid.lua", "TrisulPlugin = { id = {}, simplecounter = { protocol_guid = 'x', onpacket = print } }")
        .plugin(
            "callback.lua",
            &format!("TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{UDP}', onpacket = 5 }} }}"),
        )
        .plugin("meta.lua", "TrisulPlugin = setmetatable({}, { __index = function() error('nosy') end })")
        .plugin("nothing.lua", "-- TrisulPlugin is only mentioned here")
        .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    assert!(outcome.stderr.contains("number.lua"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("nosy"), "{}", outcome.stderr);
    assert!(!outcome.logged("WARN", "protocol_guid").is_empty(), "{}", outcome.stderr);
    assert_eq!(outcome.total(GROUP, "seen", 0).map(|t| t.updates), Some(1));
}

#[test]
fn replaced_globals_do_not_reach_the_host() {
    let capture = Capture::udp(5, 100);
    let outcome = witness(Bench::new())
        .counter(
            "thief.lua",
            IPV4,
            "local p = print
             for name in pairs(_G) do if name ~= '_G' then _G[name] = nil end end
             xpcall = function() return true end
             require = function() p('stolen') end
             type = require; tostring = require; error = require; setmetatable = require; T = {}; string = {}",
            "engine:update_counter('{0B1C2D3E-0000-4000-8000-00000000ABCD}', 80, '0', '2') layer:packet():flowid():to_s()
             layer:packet():find_layer('{14D7AB53-CC51-47E9-8814-9C06AAE60189}'):rawbytes():tostring('0', 4)",
        )
        .run(&capture);
    outcome.prints(&[]);
    undisturbed(&outcome, &capture);
    assert_eq!(outcome.total(GROUP, "80", 0).map(|t| t.sum), Some(10.0));
}
