//! The global table `T`, part by part.

use crate::support::{Bench, Capture, IPV4, run_cases};

#[test]
fn fields_functions_and_constants_of_t() {
    let bench =
        Bench::new().args(&["--args", "some text", "--set", "App>DBRoot=/db/root", "--set", "My > Own=  value  "]);
    run_cases(bench, "contract/globals.lua", &Capture::udp(1, 100)).exits(0);
}

#[test]
fn args_are_empty_without_the_option() {
    let outcome = Bench::new().counter("a.lua", IPV4, "", "print('[' .. T.args .. ']')").run(&Capture::udp(1, 100));
    outcome.prints(&["[]"]);
}

#[test]
fn log_levels_and_prefixes() {
    let outcome = Bench::new()
        .counter(
            "log.lua",
            IPV4,
            "",
            "local L = T.K.loglevel
             for _, name in ipairs { 'EMERG', 'FATAL', 'ALERT', 'CRIT', 'ERROR', 'WARN', 'NOTICE', 'INFO', 'DEBUG' } do
               T.log(L[name], 'at ' .. name)
             end
             T.log('default level') T.log(99, 'unknown level') T.log(4, nil) T.log(nil) T.log('7', 'text first') T.log(L.ERROR)
             T.logerror('error') T.logwarning('warning') T.loginfo('info') T.logdebug('debug')
             T.host:log(L.WARN, 'old form') T.host.log(L.INFO, 'old form with a dot')
             T.host:log(L.ERROR, nil) T.host:log(L.WARN, {} == nil) T.host:log('alone') T.host.log('7', 'level as text')
             T.host:log(nil, 'no level') T.host:log(L.INFO)
             T.logwarning({} ~= nil) T.logwarning('two\\nlines') T.log(L.WARN, 12.5)",
        )
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    let rows = outcome.fields("log", &["level", "text"]);
    for name in ["EMERG", "FATAL", "ALERT", "CRIT", "ERROR", "WARN", "NOTICE", "INFO", "DEBUG"] {
        assert!(rows.contains(&format!("{name}\tat {name}")), "{rows:?}");
    }
    for row in [
        "DEBUG\tdefault level",
        "DEBUG\tunknown level",
        "ERROR\tnil",
        "DEBUG\tnil",
        "DEBUG\t7",
        "DEBUG\t4",
        "ERROR\terror",
        "WARN\twarning",
        "INFO\tinfo",
        "DEBUG\tdebug",
        "WARN\told form",
        "INFO\told form with a dot",
        "ERROR\tnil",
        "WARN\tfalse",
        "DEBUG\talone",
        "INFO\tlevel as text",
        "DEBUG\tno level",
        "WARN\ttrue",
        "WARN\ttwo\nlines",
        "WARN\t12.5",
    ] {
        assert!(rows.contains(&row.to_owned()), "{row:?} is not in {rows:?}");
    }
    assert!(outcome.stderr.contains("1970-01-01 00:01:40.000000 WARN [log.lua] warning\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("WARN [log.lua] two\nlines\n"), "the prefix appears once");
}

#[test]
fn a_log_line_has_the_bytes_that_the_script_said() {
    let body = "T.logwarning('a\\200\\0b') T.logwarning('\u{e9}')
        T.async:schedule { onexecute = function() T.logwarning('w\\255') end }";
    let outcome = Bench::new().counter("log.lua", IPV4, "", body).run(&Capture::udp(1, 100));
    outcome.exits(0);
    let said: Vec<_> =
        outcome.by("log", "log.lua").iter().map(|line| (line["text"].as_str().unwrap(), line["bin"] == true)).collect();
    assert_eq!(said, [("a\u{c8}\0b", true), ("\u{e9}", false), ("w\u{ff}", true)]);
}

#[test]
fn records_below_the_threshold_are_not_shown() {
    let outcome = Bench::new()
        .counter("log.lua", IPV4, "", "T.logwarning('shown') T.log(T.K.loglevel.NOTICE, 'hidden') T.logdebug('hidden')")
        .args(&["--log", "warn"]);
    // The option of the bench comes first; the last one given counts or is refused.
    let outcome = outcome.run(&Capture::udp(1, 100));
    if outcome.code == Some(0) {
        assert!(outcome.stderr.contains("shown") && !outcome.stderr.contains("hidden"), "{}", outcome.stderr);
    } else {
        assert!(outcome.stderr.contains("--log"), "{}", outcome.stderr);
    }
}

#[test]
fn home_networks_can_be_replaced() {
    let outcome = Bench::new()
        .counter(
            "h.lua",
            IPV4,
            "",
            "print(T.host:is_homenet('192.168.1.1'), T.host:is_homenet('100.64.1.1'), T.host:is_homenet('2001:db8::5'),
               T.host:is_homenet_key('20010DB8000000000000000000000005'), #T.host:get_homenets())
             local net = T.host.get_homenets()[1] print(net.ip or net[1], net.netmask or net[2])",
        )
        .args(&["--homenet", "100.64.0.0/10", "--homenet", "2001:db8::/32"])
        .run(&Capture::udp(1, 100));
    outcome.prints(&["false\ttrue\ttrue\ttrue\t1", "100.64.0.0\t255.192.0.0"]);
}

#[test]
fn createkey_works_without_an_engine() {
    let hosts = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}";
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onload = function() T.host:createkey('{}', 'C0.A8.01.02', 'label') T.host.createkey('{hosts}', 5, 6)
           T.host:createkey('{hosts}', nil, 'x') end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}",
        hosts.to_lowercase()
    );
    let outcome = Bench::new().plugin("k.lua", &text).run(&Capture::udp(1, 100));
    outcome.prints(&[]);
    assert_eq!(
        outcome.fields("keyinfo", &["guid", "key", "label"]),
        [format!("{hosts}\tC0.A8.01.02\tlabel"), format!("{hosts}\t5\t6")]
    );
}

#[test]
fn prepare_config_copies_the_template_once() {
    let bench = Bench::new().file("template.xml", "<template/>").file("root/config/keep", "").counter(
        "c.lua",
        IPV4,
        "",
        "local p = T.host:prepare_config('{0B1C2D3E-0000-4000-8000-00000000ABCD}', 'template.xml') print(p) print(io.open(p):read('*a'))",
    );
    let root = bench.path("root").display().to_string();
    let outcome = bench.args(&["--set", &format!("App>DBRoot={root}")]).run(&Capture::udp(1, 100));
    outcome.prints(&[&format!("{root}/config/PI-0B1C2D3E-0000-4000-8000-00000000ABCD.xml"), "<template/>"]);
}

#[test]
fn prepare_config_makes_the_directory_it_needs() {
    let body = "local p = T.host:prepare_config('{0B1C2D3E-0000-4000-8000-00000000ABCD}', 'template.xml') print(io.open(p):read('*a'))";
    let bench = Bench::new().file("template.xml", "<template/>").counter("c.lua", IPV4, "", body);
    bench.run(&Capture::udp(1, 100)).prints(&["<template/>"]);
}

#[test]
fn directories_exist_that_a_script_names() {
    let bench = Bench::new().counter("none.lua", IPV4, "", "print('App > DBRoot')");
    bench.run(&Capture::udp(1, 100)).prints(&["App > DBRoot"]);
    assert!(!bench.path("data").exists(), "a run whose scripts name no directory makes none");
    let head = "local file = assert(io.open(T.env.get_config('App>DBRoot') .. '/config/of-mine.lua', 'w'))
         file:write('return 7') file:close()
         assert(io.open(T.host.get_datapath() .. '/plugins/x', 'w')):close()
         assert(io.open(T.env.get_config('//App/RunStateDirectory') .. '/x', 'w')):close()";
    let onload = format!("local function prepare() {head} end");
    let body = "prepare() print(dofile(T.host:get_configpath() .. '/of-mine.lua'))";
    let bench = Bench::new().counter("some.lua", IPV4, &onload, body);
    bench.run(&Capture::udp(1, 100)).prints(&["7"]);
}

#[test]
fn group_tables_exist_while_probing_and_not_on_the_frontend() {
    let text = format!(
        "local guid = T.countergroups and T.countergroups['Hosts']
         local groups = T.alertgroups and T.resourcegroups and T.ftsgroups and T.sessiongroups
         local names = groups and (T.alertgroups['User Alerts'] or '') .. (T.resourcegroups['SSL Certs'] or '') .. (T.ftsgroups['SSL Certs'] or '')
           .. (T.sessiongroups['IP Flows'] or '')
         TrisulPlugin = {{ id = {{}}, countergroup = {{ control = {{ guid = '{{0B1C2D3E-0000-4000-8000-00000000ABCD}}', name = tostring(guid), description = names }} }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
             print(T.countergroups, T.alertgroups, T.resourcegroups, T.ftsgroups, T.sessiongroups, T.backend_engineid, T.monitor_group_name, T.monitor_group_guid) end }} }}"
    );
    let outcome = Bench::new().plugin("g.lua", &text).run(&Capture::udp(1, 100));
    outcome.prints(&[&["nil"; 8].join("\t")]);
    assert_eq!(outcome.fields("group", &["name"]), ["{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"]);
}

#[test]
fn files_see_the_groups_of_files_before_them_however_many_there_are() {
    // Many that do not ask, which may be looked at side by side, and between them two that do, one of them by way of a library.
    let group = |number: usize, name: &str| {
        format!(
            "TrisulPlugin = {{ id = {{}}, countergroup = {{ control = {{ name = {name}, description = '',
               guid = '{{0B1C2D3E-0000-4000-8000-0000000000{number:02}}}' }} }},
               simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
        )
    };
    let mut bench = Bench::new().file("plugins/lib.lua", "return function() return T.countergroups end").file(
        "plugins/strict.lua",
        "assert(not T.countergroups or T.countergroups['of 26'], 'no group') return 'of 27'",
    );
    for number in 10..30 {
        let text = match number {
            15 => format!("local all = T.countergroups or {{}} {}", group(15, "'asks ' .. tostring(all['of 14'])")),
            25 => format!(
                "local all = require 'lib'() or {{}} {}",
                group(25, "'asks ' .. tostring(all['of 24'] and all['of 26'])")
            ),
            27 => group(27, "require 'strict'"),
            _ => group(number, &format!("'of {number}'")),
        };
        bench = bench.plugin(&format!("{number}.lua"), &text);
    }
    let outcome = bench.run(&Capture::udp(1, 100));
    outcome.exits(0);
    let expected = (10..30).map(|number| match number {
        15 => "asks {0B1C2D3E-0000-4000-8000-000000000014}".to_owned(),
        25 => "asks nil".to_owned(),
        _ => format!("of {number}"),
    });
    assert_eq!(outcome.fields("group", &["name"]), expected.collect::<Vec<_>>());
}
