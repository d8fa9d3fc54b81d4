//! The rules that apply everywhere: conversion of arguments, nil, GUIDs, keys, numbers, errors, determinism.

use std::collections::BTreeMap;

use crate::support::frames::{ether, icmp, ipv4, sized, udp_packet};
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome, Total, run_cases};

fn once(body: &str) -> Outcome {
    let head = format!("local G = '{GROUP}'");
    Bench::new().group().counter("r.lua", IPV4, &head, body).run(&Capture::new().at(100, sized(100)))
}

fn one(updates: u64, value: f64) -> Option<Total> {
    Some(Total { updates, sum: value, min: value, max: value, last: value })
}

#[test]
fn numeric_strings_and_64_bit_integers_are_numbers() {
    let outcome = once(
        "engine:update_counter(G, 'k', '0', '1234') engine:update_counter(G, 'k', ' 1 ', ' 12 ')
         engine:update_counter(G, 'hex', 0, '0x1f') engine:update_counter(G, 'c', 0ULL, 7LL)
         engine:update_counter(G, 'big', 0, 0xFFFFFFFFULL)",
    );
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0), one(1, 1234.0));
    assert_eq!(outcome.total(GROUP, "k", 1), one(1, 12.0));
    assert_eq!(outcome.total(GROUP, "hex", 0), one(1, 31.0));
    assert_eq!(outcome.total(GROUP, "c", 0), one(1, 7.0));
    assert_eq!(outcome.total(GROUP, "big", 0), one(1, 4_294_967_295.0));
}

#[test]
fn numbers_are_text_where_text_is_expected() {
    let outcome = once(
        "engine:update_counter(G, 80, 0, 1) engine:update_counter(G, 1.5, 0, 1) engine:update_counter(G, 9ULL, 0, 1)",
    );
    outcome.prints(&[]);
    for key in ["80", "1.5", "9"] {
        assert_eq!(outcome.total(GROUP, key, 0), one(1, 1.0), "{key}");
    }
}

#[test]
fn extra_arguments_are_ignored() {
    let outcome = once(
        "engine:update_counter(G, 'k', 0, 1, {}, print) engine:tag_flow('06A:x', 't', {}) print(T.util.ntop(1, 2, 3))",
    );
    outcome.prints(&["0.0.0.1"]);
    assert_eq!(outcome.total(GROUP, "k", 0), one(1, 1.0));
}

#[test]
fn nil_in_a_required_argument_does_nothing_and_is_told_once() {
    let outcome = once(
        "for i = 1, 5 do
           engine:update_counter(G, nil, 0, 1) engine:update_counter_raw(G, nil, 0, 1) engine:update_counter_bytes(G, nil, 0)
           engine:update_key_info(G, nil, 'x') engine:update_key_info(G, 'x', nil) engine:set_key_attribute(G, nil, 'a', 'b')
           engine:tag_flow('06A:x', nil) engine:tag_flow(nil, 'x') engine:add_edge(G, nil, G, 'x') engine:add_flow_edges('06A:x', G, nil)
           engine:add_resource(G, nil, nil) engine:add_flow_counter(nil, G, 'k', 0, 0) engine:post_message_frontend(nil)
         end",
    );
    outcome.prints(&[]);
    let events: Vec<_> =
        outcome.events.iter().filter(|e| e["script"] == "r.lua" && e["ev"] != "log" && e["ev"] != "load").collect();
    assert!(events.is_empty(), "{events:?}");
    let mut told: BTreeMap<&str, u32> = BTreeMap::new();
    for line in outcome.logged("DEBUG", "nil") {
        *told.entry(line).or_default() += 1;
    }
    assert!(told.len() >= 9 && told.values().all(|count| *count == 1), "once per script and method: {told:?}");
}

#[test]
fn guids_are_compared_without_case() {
    let lower = GROUP.to_lowercase();
    let outcome = once(&format!("engine:update_counter('{lower}', 'k', 0, 1) engine:update_counter(G, 'k', 0, 1)"));
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0).map(|t| t.updates), Some(2));
}

#[test]
fn a_malformed_guid_is_dropped_with_one_warning() {
    let bare = GROUP.trim_matches(|c| c == '{' || c == '}');
    let outcome = once(&format!(
        "for i = 1, 9 do engine:update_counter('{bare}', 'k', 0, 1) engine:update_counter('', 'k', 0, 1)
         engine:update_counter(12345, 'k', 0, 1) engine:add_alert('nonsense', nil, 's', 1, 'm') end"
    ));
    outcome.prints(&[]);
    assert!(outcome.of("counter_total").is_empty() && outcome.of("alert").is_empty());
    for text in [bare, "12345", "nonsense"] {
        assert_eq!(outcome.logged("WARN", text).len(), 1, "{text}: {}", outcome.stderr);
    }
}

#[test]
fn an_unregistered_guid_is_dropped_with_one_warning_per_script() {
    let unknown = "{DEADBEEF-0000-4000-8000-000000000001}";
    let body = format!("for i = 1, 9 do engine:update_counter('{unknown}', 'k', 0, 1) end");
    let outcome =
        Bench::new().counter("a.lua", IPV4, "", &body).counter("b.lua", IPV4, "", &body).run(&Capture::udp(5, 1));
    outcome.prints(&[]);
    let told: Vec<_> =
        outcome.of("log").into_iter().filter(|e| e["level"] == "WARN").map(|e| e["script"].clone()).collect();
    assert_eq!(told, ["a.lua", "b.lua"]);
    assert!(outcome.of("counter_total").is_empty());
}

#[test]
fn alerts_and_resources_of_unregistered_groups_are_dropped_with_one_warning() {
    let unknown = "{DEADBEEF-0000-4000-8000-000000000001}";
    let outcome = once(&format!(
        "for i = 1, 3 do engine:add_alert('{unknown}', nil, 's', 1, 'm') engine:add_resource('{unknown}', nil, 'u') end"
    ));
    outcome.prints(&[]);
    assert!(outcome.of("alert").is_empty() && outcome.of("resource").is_empty());
    assert!((1..=2).contains(&outcome.logged("WARN", unknown).len()), "{}", outcome.stderr);
}

#[test]
fn guid_spaces_are_separate_per_kind() {
    let shared = "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}";
    let outcome =
        once(&format!("engine:update_counter('{shared}', 'k', 0, 1) engine:add_resource('{shared}', nil, 'u')"));
    outcome.prints(&[]);
    assert_eq!(outcome.total(shared, "k", 0), one(1, 1.0), "SNMP-Interface is a counter group");
    assert_eq!(outcome.of("resource").len(), 1, "File Hashes is a resource group");
}

#[test]
fn an_unknown_meter_is_dropped_with_one_warning() {
    let outcome =
        once("for i = 1, 3 do for _, m in ipairs { 7, 1.5, -1, 1e10 } do engine:update_counter(G, 'k', m, 1) end end");
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 7), None);
    assert_eq!(outcome.logged("WARN", "has no meter 7").len(), 1, "{}", outcome.stderr);
    let warned = outcome.logged("WARN", "has no meter").len();
    assert!((2..=4).contains(&warned), "what is no meter id at all may share a line: {}", outcome.stderr);
}

#[test]
fn keys_end_at_nul_and_at_255_bytes() {
    let long = "x".repeat(255);
    let outcome = once(
        "engine:update_counter(G, 'host\\0', 0, 1) engine:update_counter(G, 'host', 0, 1)
         engine:update_counter(G, string.rep('x', 300), 0, 1) engine:update_counter(G, string.rep('x', 255), 0, 1)
         engine:update_key_info(G, 'k\\0cut', 'label\\0cut')",
    );
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "host", 0).map(|t| t.updates), Some(2));
    assert_eq!(outcome.total(GROUP, &long, 0).map(|t| t.updates), Some(2));
    assert_eq!(outcome.fields("keyinfo", &["key", "label"]), ["k\tlabel"]);
}

#[test]
fn group_totals_is_a_reserved_key() {
    let outcome = once(
        "for i = 1, 3 do engine:update_counter(G, 'SYS:GROUP_TOTALS', 0, 5) end engine:update_counter(G, 'k', 0, 1)",
    );
    outcome.prints(&[]);
    assert_eq!(outcome.logged("WARN", "SYS:GROUP_TOTALS").len(), 1, "{}", outcome.stderr);
    let rows = outcome.fields("counter", &["key", "values"]);
    assert!(rows.contains(&"SYS:GROUP_TOTALS\t[1,0]".to_owned()), "{rows:?}");
}

#[test]
fn nan_and_infinity_are_dropped_silently() {
    let outcome = once(
        "engine:update_counter(G, 'k', 0, 0/0) engine:update_counter(G, 'k', 0, 1/0) engine:update_counter(G, 'k', 0, -1/0) engine:update_counter(G, 'k', 0, 'nan')",
    );
    assert_eq!(outcome.total(GROUP, "k", 0), None);
    assert!(outcome.logged("WARN", "").is_empty() && outcome.of("fault").len() <= 1, "{}", outcome.stderr);
}

#[test]
fn errors_are_logged_with_script_block_callback_and_line() {
    let outcome = Bench::new()
        .counter(
            "bad.lua",
            IPV4,
            "local function deep() error('boom') end",
            "if n == 1 then deep() end print('packet', n)",
        )
        .run(&Capture::udp(2, 100));
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["packet\t2"], "the script stays loaded");
    let errors = outcome.logged("ERROR", "boom");
    assert_eq!(errors.len(), 1);
    let lines: Vec<_> = errors[0].lines().collect();
    assert!(lines[0].starts_with("simplecounter.onpacket: ") && lines[0].ends_with("bad.lua:1: boom"), "{lines:?}");
    assert!(lines[1..].iter().any(|line| line.contains("bad.lua:1: in function 'deep'")), "a traceback: {lines:?}");
    assert!(outcome.stderr.contains(" ERROR [bad.lua] simplecounter.onpacket: "), "{}", outcome.stderr);
    let fault = &outcome.of("fault")[0];
    assert_eq!((fault["callback"].as_str(), fault["count"].as_u64()), (Some("simplecounter.onpacket"), Some(1)));
    assert!(fault["message"].as_str().is_some_and(|m| m.ends_with("bad.lua:1: boom")), "{fault}");
}

#[test]
fn wrong_types_are_errors_that_name_argument_and_method() {
    let flow = "06A:0A.00.00.05:p-0001_0A.00.00.09:p-0002";
    let outcome = run_cases(Bench::new().group().args(&["--args", flow]), "contract/types.lua", &Capture::udp(1, 100));
    outcome.exits(0);
}

/// A capture with several flows, protocols and buckets.
fn mixed() -> Capture {
    (0..1500u32).fold(Capture::new(), |capture, i| {
        let (time, host) = (100 + i / 5, i % 13);
        let packet = match i % 4 {
            0 => ether(&ipv4(&format!("10.0.0.{host}"), "10.0.1.1", 1, &icmp(8, 0, b"ping"))),
            _ => udp_packet((4000 + (i % 17) as u16, 53), &vec![b'x'; host as usize * 10]),
        };
        capture.at_micros(time, i % 5 * 1000, packet)
    })
}

const METERING: &str = r#"
local G = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"
local n = 0
TrisulPlugin = {
  id = { name = "metering" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      n = n + 1
      local p = layer:packet()
      engine:update_counter_bytes(G, p:flowid():id(), 0)
      engine:update_counter(G, p:flowid():ipa(), 1, p:wire_length() % 7)
      if p:wire_length() == 92 then engine:add_alert("{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", p:flowid(), "s", 1, "m") end
    end,
  },
}"#;

#[test]
fn two_engines_give_the_same_totals_as_one() {
    let run =
        |engines: &str| Bench::new().group().plugin("m.lua", METERING).args(&["--engines", engines]).run(&mixed());
    let (one, two) = (run("1"), run("2"));
    one.exits(0);
    two.exits(0);
    assert!(one.totals().len() > 20);
    assert_eq!(one.totals(), two.totals());
    assert_eq!(one.packets(), two.packets());
    assert_eq!(one.of("alert").len(), two.of("alert").len());
    let sorted = |outcome: &Outcome| {
        let mut rows = outcome.fields("counter", &["bucket", "key", "values"]);
        rows.retain(|row| !row.contains("SYS:GROUP_TOTALS"));
        rows.sort_unstable();
        rows.len()
    };
    assert!(sorted(&one) > 0 && sorted(&two) > 0);
}

#[test]
fn two_runs_over_a_file_are_byte_identical() {
    let bench = Bench::new().group().plugin("m.lua", METERING).plugin(
        "p.lua",
        r#"
        local n = 0
        TrisulPlugin = {
          id = { name = "p" },
          onmessage = function(id, m) print("got", id, m, T.contextid) end,
          simplecounter = { protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
            onpacket = function(engine, layer)
              n = n + 1
              if n % 100 == 0 then
                print(n, engine:instanceid(), engine:timestamp(), layer:flowkey())
                engine:post_message_frontend("m" .. n)
                T.async:schedule { data = n, onexecute = function(d) return d * 2 end,
                  onresult = function(e, d, r) print("result", d, r) end }
              end
            end },
        }"#,
    );
    let capture = mixed();
    let (first, second) = (bench.run(&capture), bench.run(&capture));
    first.exits(0);
    assert!(first.lines().len() >= 45, "{}", first.stdout);
    assert_eq!(first.raw_stdout, second.raw_stdout);
    assert_eq!(first.event_lines, second.event_lines);
}

#[test]
fn later_packets_of_a_flow_on_two_engines_meet_the_same_vm() {
    let outcome = Bench::new()
        .counter("v.lua", IPV4, "", "print(layer:flowkey() .. ' ' .. T.contextid)")
        .args(&["--engines", "2"])
        .run(&mixed());
    outcome.exits(0);
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut vms = std::collections::BTreeSet::new();
    for line in outcome.lines() {
        let (flow, vm) = line.split_once(' ').expect("two words");
        assert_eq!(*seen.entry(flow).or_insert(vm), vm, "{flow} was handled by two VMs");
        vms.insert(vm);
    }
    assert_eq!(vms.len(), 2, "both engines had work");
}
