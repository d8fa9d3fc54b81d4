//! Groups that plugins define, metering by vartype, and the accessors of definitions.

use crate::support::frames::sized;
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome};

fn group(control: &str, rest: &str) -> String {
    format!("TrisulPlugin = {{ id = {{ name = 'g' }}, countergroup = {{ control = {{ {control} }}, {rest} }} }}")
}

fn defined(text: &str) -> Outcome {
    Bench::new().plugin("g.lua", text).counter("c.lua", IPV4, "", "").run(&Capture::udp(1, 100))
}

#[test]
fn a_counter_group_with_all_its_fields() {
    let outcome = defined(&group(
        &format!(
            "guid = '{GROUP}', name = 'Query types', description = 'DNS queries', bucketsize = 30, resolver_guid = '{{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}}'"
        ),
        "meters = { { 0, T.K.vartype.COUNTER, 20, 5, 'Queries', 'queries seen', 'q' },
                    { 3, T.K.vartype.GAUGE, 10, 'Six columns', 'the older form', 'u' },
                    { 1, 99, 0, 0, 'Unknown type' }, { 0, 2, 1, 0, 'twice' } },
         keyinfo = { { 'A', 'IPv4 address' }, { 'AAAA', 'IPv6 address' } }",
    ));
    outcome.prints(&[]);
    let event = outcome.of("group").into_iter().find(|event| event["guid"] == GROUP).expect("the group is registered");
    assert_eq!(
        (event["kind"].as_str(), event["name"].as_str(), event["bucketsize"].as_f64()),
        (Some("counter"), Some("Query types"), Some(30.0))
    );
    let meters: Vec<_> = event["meters"]
        .as_array()
        .expect("meters")
        .iter()
        .map(|m| {
            format!("{} {} {} {} {} {}", m["id"], m["vartype"], m["toppers"], m["name"], m["description"], m["units"])
        })
        .collect();
    assert_eq!(
        meters,
        [
            r#"0 2 20 "Queries" "queries seen" "q""#,
            r#"1 2 0 "Unknown type" "" """#,
            r#"3 5 10 "Six columns" "the older form" "u""#
        ]
    );
    assert_eq!(event["keyinfo"], serde_json::json!([["A", "IPv4 address"], ["AAAA", "IPv6 address"]]));
    assert_eq!(outcome.fields("keyinfo", &["key", "label"]), ["A\tIPv4 address", "AAAA\tIPv6 address"]);
    assert_eq!(outcome.logged("WARN", "").len(), 2, "unknown vartype, meter id twice: {}", outcome.stderr);
}

#[test]
fn defaults_of_a_counter_group() {
    for (bucketsize, expected) in [
        ("", 60.0),
        ("bucketsize = 0", 60.0),
        ("bucketsize = -3", 60.0),
        ("bucketsize = 9.6", 10.0),
        ("bucketsize = 1", 1.0),
    ] {
        let outcome = defined(&group(&format!("guid = '{}', name = 'n', {bucketsize}", GROUP.to_lowercase()), ""));
        outcome.prints(&[]);
        let event = outcome.of("group").into_iter().find(|event| event["guid"] == GROUP).expect("normal form");
        assert_eq!(event["bucketsize"].as_f64(), Some(expected), "{bucketsize}");
        assert_eq!(event["meters"].as_array().map(Vec::len), Some(1), "one COUNTER meter 0");
        assert_eq!(event["meters"][0]["vartype"], 2);
    }
}

#[test]
fn other_spellings_and_missing_descriptions_of_definitions() {
    let text = "TrisulPlugin = { id = {},
        counter_group = { control = { guid = '{0B1C2D3E-0000-4000-8000-00000000ABCD}', name = 'C' } },
        resource_group = { control = { guid = '{0B1C2D3E-0000-4000-8000-00000000ABCD}', name = 'R' } },
        alert_group = { control = { guid = '{0B1C2D3E-0000-4000-8000-00000000ABCD}', name = 'A', description = 'text' } } }";
    let outcome = Bench::new()
        .plugin("g.lua", text)
        .counter(
            "u.lua",
            IPV4,
            &format!("local G = '{GROUP}'"),
            "engine:update_counter(G, 'k', 0, 1) engine:add_alert(G, nil, 's', 1, 'm') engine:add_resource(G, nil, 'u')",
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&[]);
    let mut kinds = outcome.fields("group", &["kind", "name"]);
    kinds.sort_unstable();
    assert_eq!(kinds, ["alert\tA", "counter\tC", "resource\tR"]);
    assert_eq!((outcome.of("alert").len(), outcome.of("resource").len()), (1, 1));
}

#[test]
fn the_first_definition_of_a_group_wins_and_meters_are_added() {
    let outcome = Bench::new()
        .plugin("a.lua", &group(&format!("guid = '{GROUP}', name = 'first'"), "meters = { { 0, T.K.vartype.COUNTER, 0, 0, 'zero', '', '' } }"))
        .plugin(
            "b.lua",
            &group(
                &format!("guid = '{GROUP}', name = 'second'"),
                "meters = { { 0, T.K.vartype.MAXIMUM, 0, 0, 'other', '', '' }, { 1, T.K.vartype.MAXIMUM, 0, 0, 'one', '', '' } }",
            ),
        )
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'k', 0, 5) engine:update_counter('{GROUP}', 'k', 1, 5)"))
        .run(&Capture::udp(2, 100));
    outcome.prints(&[]);
    let rows: Vec<_> =
        outcome.fields("counter", &["key", "values"]).into_iter().filter(|row| row.starts_with("k\t")).collect();
    assert_eq!(rows, ["k\t[10,5]"]);
    assert!(!outcome.logged("INFO", "").is_empty(), "{}", outcome.stderr);
    assert!(outcome.of("group").iter().any(|event| event["name"] == "first"));
}

/// Values of one key in each bucket, for updates at the given times, with every vartype.
fn metered(key: &str, updates: &[(u32, f64)]) -> Vec<String> {
    let meters: Vec<_> =
        ["COUNTER", "RATE_COUNTER", "GAUGE", "RUNNING_COUNTER", "AVERAGE", "DELTA_RATE_COUNTER", "MAXIMUM", "MINIMUM"]
            .iter()
            .enumerate()
            .map(|(id, name)| format!("{{ {id}, T.K.vartype.{name}, 0, 0, '', '', '' }}"))
            .collect();
    let values: Vec<_> = updates.iter().map(|(_, value)| value.to_string()).collect();
    let capture = updates.iter().fold(Capture::new(), |capture, (time, _)| capture.at(*time, sized(100)));
    let outcome = Bench::new()
        .plugin(
            "g.lua",
            &group(
                &format!("guid = '{GROUP}', name = 'all', bucketsize = 10"),
                &format!("meters = {{ {} }}", meters.join(", ")),
            ),
        )
        .counter(
            "c.lua",
            IPV4,
            &format!("local v = {{ {} }}", values.join(", ")),
            &format!("for m = 0, 7 do engine:update_counter('{GROUP}', 'k', m, v[n]) end"),
        )
        .run(&capture);
    outcome.prints(&[]);
    outcome
        .fields("counter", &["key", "bucket", "values"])
        .into_iter()
        .filter_map(|row| row.strip_prefix(&format!("{key}\t")).map(str::to_owned))
        .collect()
}

#[test]
fn vartypes_combine_updates_as_stated() {
    let rows = metered("k", &[(100, 5.0), (104, 7.0), (109, 3.0), (110, 20.0), (131, 50.0)]);
    // COUNTER, RATE, GAUGE, RUNNING, AVERAGE, DELTA, MAXIMUM, MINIMUM
    assert_eq!(
        rows,
        [
            "100\t[15,1.5,3,15,5,0,7,3]",
            "110\t[20,2,20,35,20,1.7,20,20]",
            // No updates, but a running total.
            "120\t[0,0,0,35,0,0,0,0]",
            "130\t[50,5,50,85,50,1.5,50,50]"
        ]
    );
}

#[test]
fn negative_updates_and_counter_resets() {
    let rows = metered("k", &[(100, 9.0), (110, -4.0), (120, -8.0), (130, 2.0)]);
    assert_eq!(
        rows,
        [
            "100\t[9,0.9,9,9,9,0,9,9]",
            "110\t[0,0,-4,5,-4,0,-4,-4]",
            "120\t[0,0,-8,0,-8,0,-8,-8]",
            "130\t[2,0.2,2,2,2,1,2,2]"
        ]
    );
}

#[test]
fn group_totals_combine_the_keys() {
    let outcome = Bench::new()
        .plugin(
            "g.lua",
            &group(
                &format!("guid = '{GROUP}', name = 'all', bucketsize = 10"),
                "meters = { { 0, T.K.vartype.COUNTER, 0, 0, '', '', '' }, { 1, T.K.vartype.MAXIMUM, 0, 0, '', '', '' },
                            { 2, T.K.vartype.MINIMUM, 0, 0, '', '', '' }, { 3, T.K.vartype.AVERAGE, 0, 0, '', '', '' } }",
            ),
        )
        .counter("c.lua", IPV4, "", &format!("for m = 0, 3 do engine:update_counter('{GROUP}', 'k' .. n, m, n * 10) end"))
        .run(&Capture::udp(3, 100));
    outcome.prints(&[]);
    let rows = outcome.fields("counter", &["key", "values"]);
    assert!(rows.contains(&"SYS:GROUP_TOTALS\t[60,30,10,20]".to_owned()), "{rows:?}");
}

#[test]
fn built_in_groups_can_be_updated() {
    let hosts = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}";
    let outcome = Bench::new()
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{hosts}', layer:packet():flowid():ipa(), 0, 7)"))
        .run(&Capture::udp(2, 100));
    outcome.prints(&[]);
    assert!(outcome.total(hosts, "0A.00.00.09", 0).is_some_and(|total| total.updates >= 2));
}

#[test]
fn both_guids_of_ipv6_hosts_name_one_group() {
    let (a, b) = ("{9807E97A-6CD2-442F-BB18-8C104C8EB204}", "{6CD742B1-C1CA-4708-BE78-0FCA2EB01A86}");
    let outcome = Bench::new()
        .counter(
            "c.lua",
            IPV4,
            "",
            &format!("engine:update_counter('{a}', 'k', 0, 1) engine:update_counter('{b}', 'k', 0, 1)"),
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&[]);
    let updates: u64 = [a, b].iter().filter_map(|guid| outcome.total(guid, "k", 0)).map(|total| total.updates).sum();
    assert_eq!(updates, 2);
    assert!(outcome.logged("WARN", "").is_empty());
}

#[test]
fn a_clock_that_goes_back_counts_in_the_open_bucket() {
    let capture = [100, 90, 105, 10, 111].into_iter().fold(Capture::new(), |c, t| c.at(t, sized(100)));
    let outcome = Bench::new()
        .plugin("g.lua", &group(&format!("guid = '{GROUP}', name = 'all', bucketsize = 10"), ""))
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'k', 0, 1)"))
        .run(&capture);
    outcome.prints(&[]);
    let rows: Vec<_> = outcome
        .fields("counter", &["key", "bucket", "values"])
        .into_iter()
        .filter(|row| row.starts_with("k\t"))
        .collect();
    assert_eq!(rows, ["k\t100\t[4]", "k\t110\t[1]"]);
}

#[test]
fn texts_of_definitions_are_cut_and_that_is_said_once_with_file_and_line() {
    let control = format!(
        "guid = '{GROUP}',
         name = ('n'):rep(30 * 2^20), description = ('d'):rep(2^20)"
    );
    let meters = "meters = { { 0, 2, 20, 0, ('m'):rep(2^20), ('e'):rep(2^20), ('u'):rep(2^20) } },
         keyinfo = { { ('k'):rep(300), ('l'):rep(2^20) } }";
    let outcome = defined(&group(&control, meters));
    outcome.exits(0);
    let event = outcome.of("group").into_iter().find(|event| event["guid"] == GROUP).expect("the group is registered");
    let length = |value: &serde_json::Value| value.as_str().map(str::len);
    let meter = &event["meters"][0];
    assert_eq!(length(&event["name"]), Some(255));
    assert_eq!(
        ["name", "description", "units"].map(|field| length(&meter[field])),
        [Some(255), Some(32_767), Some(255)]
    );
    assert_eq!([0, 1].map(|at| length(&event["keyinfo"][0][at])), [Some(255), Some(32_767)]);
    let warned = outcome.logged("WARN", "too long");
    assert_eq!(warned.len(), 1, "{warned:?}");
    let first =
        "g.lua:2: texts too long: countergroup.control.name has 31457280 bytes, of which the first 255 are used; ";
    assert!(warned[0].starts_with(first) && warned[0].ends_with("; and 4 more"), "{warned:?}");
    assert!(outcome.event_lines.lines().all(|line| line.len() < 200_000), "nothing of it goes anywhere whole");
}

#[test]
fn rows_are_named_by_their_places_in_the_list() {
    let control = format!("guid = '{GROUP}', name = 'all'");
    let lists = "meters = { 'none', { 0, 2, 20, 0, ('m'):rep(300), 'e', 'u' } },
         keyinfo = { 'none', {}, { 'a', 'b' }, { ('k'):rep(300), 'l' } }";
    let outcome = defined(&group(&control, lists));
    outcome.exits(0);
    let warned = outcome.logged("WARN", "too long");
    assert_eq!(warned.len(), 1, "{warned:?}");
    for row in ["countergroup.meters[2] has 300 bytes", "countergroup.keyinfo[4] has 300 bytes"] {
        assert!(warned[0].contains(row), "{warned:?}");
    }
}

#[test]
fn lists_of_definitions_have_an_end() {
    let list = "local function list(length, entry) local l = {} for i = 1, length do l[i] = entry end return l end\n";
    let control = format!("guid = '{GROUP}', name = 'G'");
    let lists = "meters = list(100000, { 0, 2, 20, 0, 'n' }), keyinfo = list(100000, { 'a', 'b' })";
    let outcome = defined(&format!("{list}{}", group(&control, lists)));
    outcome.exits(0);
    let said = |part: &str| outcome.logged("WARN", part).len();
    assert_eq!(said("g.lua:2: countergroup.meters has more than 256 entries; the first 256 are used"), 1);
    assert_eq!(said("g.lua:2: countergroup.keyinfo has more than 65536 entries; the first 65536 are used"), 1);
    assert_eq!(said(""), 2 + 255, "and each row that defines the meter again");
}
