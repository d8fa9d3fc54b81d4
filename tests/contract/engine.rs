//! Every method of the engine object of a frontend script, through the events it leaves.

use crate::support::frames::{ether, example_syn, icmp, ipv4, sized, udp_packet};
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome, Total};

const FLOW: &str = "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388";
const ALERTS: &str = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}";
const RESOURCES: &str = "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}";

/// Runs a body once, with `G`, `A`, `R` and `flow` at hand, on the packet of 100 bytes at second 100.
fn once(body: &str) -> Outcome {
    let head = format!("local G, A, R = '{GROUP}', '{ALERTS}', '{RESOURCES}'");
    let body = format!("local flow = layer:packet():flowid()\n{body}");
    Bench::new().group().counter("e.lua", IPV4, &head, &body).run(&Capture::new().at(100, sized(100)))
}

fn one(updates: u64, value: f64) -> Option<Total> {
    Some(Total { updates, sum: value, min: value, max: value, last: value })
}

#[test]
fn update_counter_adds_one_update() {
    let outcome = once(
        "engine:update_counter(G, 'k', 0, 5) engine:update_counter(G, 'k', 0, 7) engine:update_counter(G, 'z', 1, 0)",
    );
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0), Some(Total { updates: 2, sum: 12.0, min: 5.0, max: 7.0, last: 7.0 }));
    assert_eq!(outcome.total(GROUP, "z", 1), one(1, 0.0), "a zero update makes the key");
}

#[test]
fn update_counter_raw_is_update_counter() {
    let outcome = once("engine:update_counter_raw(G, 'k', '0', '5')");
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0), one(1, 5.0));
}

#[test]
fn update_counter_bytes_adds_the_wire_length() {
    let outcome = once("engine:update_counter_bytes(G, 'k', 0) engine:update_counter_bytes(G, 'x', 1, 99999)");
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0), one(1, 100.0));
    assert_eq!(outcome.total(GROUP, "x", 1), one(1, 100.0), "a fourth argument is ignored");
}

#[test]
fn update_counter_bytes_of_a_cut_packet_is_its_length_on_the_wire() {
    let outcome = Bench::new()
        .group()
        .counter("e.lua", IPV4, "", &format!("engine:update_counter_bytes('{GROUP}', 'k', 0)"))
        .run(&Capture::new().cut(1, &sized(900), 60));
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "k", 0), one(1, 900.0));
}

#[test]
fn update_counter_bytes_without_a_packet_is_dropped() {
    let outcome = Bench::new()
        .group()
        .plugin(
            "e.lua",
            &format!(
                "local e
                 TrisulPlugin = {{ id = {{ name = 'e' }},
                   onmessage = function() e:update_counter_bytes('{GROUP}', 'm', 0) e:update_counter('{GROUP}', 'm', 1, 1) end,
                   onunload = function() e:update_counter_bytes('{GROUP}', 'u', 0) end,
                   simplecounter = {{ protocol_guid = '{IPV4}',
                     onpacket = function(engine) e = engine; engine:post_message_frontend('x') end }} }}"
            ),
        )
        .run(&Capture::new().at(1, sized(100)));
    outcome.prints(&[]);
    assert_eq!(outcome.total(GROUP, "m", 0), None);
    assert_eq!(outcome.total(GROUP, "m", 1), one(1, 1.0));
    assert_eq!(outcome.total(GROUP, "u", 0), None);
    assert!(outcome.dropped("no_current_packet") >= 1, "{:?}", outcome.of("drop"));
}

#[test]
fn update_key_info_sets_label_and_description() {
    let outcome = once(
        "engine:update_key_info(G, 'k', 'label') engine:update_key_info(G, 'k', 7, 'long') engine:update_key_info(G, 'k', '')",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("keyinfo", &["guid", "key", "label", "description"]);
    assert_eq!(rows, [format!("{GROUP}\tk\tlabel\t"), format!("{GROUP}\tk\t7\tlong"), format!("{GROUP}\tk\t\t")]);
}

#[test]
fn set_key_attribute_stores_text() {
    let outcome = once("engine:set_key_attribute(G, 'k', 'name', 42) engine:set_key_attribute(G, 'k', 'name', 'v')");
    outcome.prints(&[]);
    let rows = outcome.fields("key_attribute", &["guid", "key", "name", "value"]);
    assert_eq!(rows, [format!("{GROUP}\tk\tname\t42"), format!("{GROUP}\tk\tname\tv")]);
}

const ALERT_FIELDS: [&str; 8] = ["guid", "flow", "sigid", "priority", "message", "classification", "status", "kind"];

#[test]
fn add_alert_with_and_without_a_flow() {
    let outcome = once(
        "engine:add_alert(A, flow, 'sig', 1, 'text') engine:add_alert(A:lower(), nil, 7, '2', nil)
         engine:add_alert(A, flow:id(), 'x', 3, 9) engine:add_alert(A, flow, nil, 1, 'dropped')",
    );
    outcome.prints(&[]);
    assert_eq!(
        outcome.fields("alert", &ALERT_FIELDS),
        [
            format!("{ALERTS}\t{FLOW}\tsig\t1\ttext\t\tALARM\tsimple"),
            format!("{ALERTS}\t\t7\t2\t\t\tALARM\tsimple"),
            format!("{ALERTS}\t{FLOW}\tx\t3\t9\t\tALARM\tsimple"),
        ]
    );
    assert!(outcome.of("alert").iter().all(|event| event["t"] == 100 && event["script"] == "e.lua"));
}

#[test]
fn add_alert_without_a_priority_ends_with_the_message() {
    let outcome = once(
        "engine:add_alert(A, flow, 'old', 'maj=3 min=1') engine:add_alert(A, nil, 'old', '')
         engine:add_alert(A, flow, 'number', '2')
         print(pcall(engine.add_alert, engine, A, flow, 'both', 'high', 'text'))
         print(pcall(engine.add_alert, engine, A, flow, 'table', {}))",
    );
    outcome.prints(&[
        "false\tbad argument #4 to 'add_alert' (number expected, got string)",
        "false\tbad argument #4 to 'add_alert' (number expected, got table)",
    ]);
    assert_eq!(
        outcome.fields("alert", &ALERT_FIELDS),
        [
            format!("{ALERTS}\t{FLOW}\told\t1\tmaj=3 min=1\t\tALARM\tsimple"),
            format!("{ALERTS}\t\told\t1\t\t\tALARM\tsimple"),
            format!("{ALERTS}\t{FLOW}\tnumber\t2\t\t\tALARM\tsimple"),
        ]
    );
}

#[test]
fn add_alert_full_and_its_alias() {
    let outcome = once(
        "engine:add_alert_full(A, flow, 'sig', 'class', 1, 'text', 'CLEAR')
         engine:add_alert_full(A, nil, 'sig', nil, 1, 'text')
         engine:add_alert_ids(A, flow, 'sig', '', 2, 'text', nil)",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("alert", &ALERT_FIELDS);
    assert_eq!(rows[0], format!("{ALERTS}\t{FLOW}\tsig\t1\ttext\tclass\tCLEAR\tfull"));
    assert_eq!(rows[1], format!("{ALERTS}\t\tsig\t1\ttext\t\tALARM\tfull"));
    assert!(rows[2].starts_with(&format!("{ALERTS}\t{FLOW}\tsig\t2\ttext\t\tALARM\t")), "{rows:?}");
    assert_eq!(rows.len(), 3);
}

#[test]
fn add_alert_tca_has_no_flow() {
    let outcome = once("engine:add_alert_tca(A, 1004, 'FIRED', 'high') engine:add_alert_tca(A, '5', 'CLEAR', 'low')");
    outcome.prints(&[]);
    assert_eq!(
        outcome.fields("alert", &ALERT_FIELDS),
        [format!("{ALERTS}\t\t1004\t1\thigh\t\tFIRED\ttca"), format!("{ALERTS}\t\t5\t1\tlow\t\tCLEAR\ttca")]
    );
}

#[test]
fn add_resource_with_contents_cut_to_32767_bytes() {
    let outcome = once(
        "engine:add_resource(R, flow, 'uri') engine:add_resource(R, nil, 'u', 'a\\0b')
         engine:add_resource(R, 'malformed', 5, string.rep('x', 40000)) engine:add_resource(R, flow, nil, 'dropped')",
    );
    outcome.prints(&[]);
    let events = outcome.of("resource");
    let row = |i: usize| {
        [&events[i]["flow"], &events[i]["uri"], &events[i]["label"]].map(|v| v.as_str().unwrap_or("?").to_owned())
    };
    assert_eq!(row(0), [FLOW, "uri", ""]);
    assert_eq!(row(1), ["", "u", "a\0b"]);
    assert_eq!(row(2), ["malformed", "5", &"x".repeat(32767)]);
    assert_eq!(events.len(), 3);
}

#[test]
fn flow_ids_and_texts_of_scripts_are_cut() {
    let outcome = once(
        "local long = ('x'):rep(40000)
         engine:add_alert(A, long, 'k', 1, 'm') engine:add_resource(R, long, 'u') engine:tag_flow(long, long)
         engine:add_flow_attribute(long, long, long) engine:add_flow_counter(long, G, 'k', 0, 1)
         engine:update_flow(long, 1, 1) engine:terminate_flow(long) engine:disable_reassembly(long)
         engine:set_key_attribute(G, 'k', long, long) engine:update_key_info(G, 'k', long, long)
         print(long) T.logwarning(long)",
    );
    outcome.exits(0);
    let long = "x".repeat(32767);
    assert_eq!(outcome.lines(), [&*long]);
    assert_eq!(outcome.logged("WARN", "xxx"), [&*long]);
    for kind in [
        "alert",
        "resource",
        "tag",
        "flow_attribute",
        "flow_counter",
        "flow_update",
        "terminate_flow",
        "disable_reassembly",
    ] {
        let events = outcome.of(kind);
        assert!(!events.is_empty(), "{kind}");
        assert!(events.iter().all(|event| event["flow"] == "x".repeat(255)), "{kind}: {events:?}");
    }
    assert_eq!(outcome.of("tag")[0]["tag"], long);
    for (kind, fields) in [
        ("flow_attribute", ["name", "value"]),
        ("key_attribute", ["name", "value"]),
        ("keyinfo", ["label", "description"]),
    ] {
        for field in fields {
            assert_eq!(outcome.of(kind)[0][field], long, "{kind} {field}");
        }
    }
}

#[test]
fn add_flow_counter_and_reset_flow_counter() {
    let outcome = once(
        "engine:add_flow_counter(flow, G, 'k', 0, 1) engine:add_flow_counter(flow:id(), G, 'k', '1')
         engine:add_flow_counter(flow, G, nil, 0, 0) engine:add_flow_counter(nil, G, 'k', 0, 0)
         engine:reset_flow_counter(flow, G) engine:reset_flow_counter(flow, G, 'new', 1, 2)",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("flow_counter", &["flow", "key", "meter", "direction", "reset"]);
    assert_eq!(
        rows,
        [
            format!("{FLOW}\tk\t0\t1\tfalse"),
            format!("{FLOW}\tk\t1\t0\tfalse"),
            format!("{FLOW}\tnull\t0\t0\ttrue"),
            format!("{FLOW}\tnew\t1\t2\ttrue"),
        ]
    );
}

#[test]
fn tag_flow_replaces_separators_and_ends_at_nul() {
    let outcome = once(
        "engine:tag_flow(flow, '[ip]10.0.0.1') engine:tag_flow(flow:id(), 'a|b\\r\\nc') engine:tag_flow(flow, 'cut\\0off')
         engine:tag_flow(nil, 'x') engine:tag_flow(flow, nil)",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("tag", &["flow", "tag"]);
    assert_eq!(rows, [format!("{FLOW}\t[ip]10.0.0.1"), format!("{FLOW}\ta_b__c"), format!("{FLOW}\tcut")]);
}

#[test]
fn keys_of_every_method_are_cut_at_255_bytes() {
    let hosts = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}";
    let outcome = once(&format!(
        "local k = ('k'):rep(300)
         engine:update_key_info('{hosts}', k, 'label') engine:set_key_attribute('{hosts}', k, 'a', 'b')
         engine:add_edge('{hosts}', k, '{hosts}', k) engine:add_flow_edges(flow, '{hosts}', k)
         engine:add_alert('{ALERTS}', nil, k, 1, 'text') engine:add_flow_counter(flow, '{hosts}', k, 0, 0)"
    ));
    outcome.prints(&[]);
    let cut = "k".repeat(255);
    for (kind, field) in [
        ("keyinfo", "key"),
        ("key_attribute", "key"),
        ("edge", "from_key"),
        ("edge", "to_key"),
        ("flow_edges", "key"),
        ("alert", "sigid"),
        ("flow_counter", "key"),
    ] {
        assert_eq!(outcome.fields(kind, &[field]), [cut.as_str()], "{kind} {field}");
    }
}

#[test]
fn an_alert_belongs_to_its_group_under_either_guid() {
    let (guid, alias) = ("{BE7F367F-8533-45F7-9AE8-A33E5E1AA783}", "{18CE5961-38FF-4AEA-BAF8-2019F3A09063}");
    let body = format!(
        "if n == 1 then engine:add_alert('{guid}', nil, 'one', 1, 'text') engine:add_alert('{alias}', nil, 'two', 1, 'text')
         engine:add_alert_tca('{alias}', 3, 'ALARM', 'text') end"
    );
    let monitor = |guid: &str| {
        let seen = "onnewalert = function(engine, alert) print(alert:sigid()) end";
        format!("TrisulPlugin = {{ id = {{}}, alert_monitor = {{ alert_guid = '{guid}', {seen} }} }}")
    };
    for bound in [guid, alias] {
        let bench = Bench::new().counter("c.lua", IPV4, "", &body).plugin("m.lua", &monitor(bound));
        let outcome = bench.run(&Capture::udp(1, 1));
        outcome.exits(0);
        assert_eq!(outcome.printed_by("m.lua"), ["one", "two", "3"], "bound to {bound}");
        assert_eq!(outcome.fields("alert", &["guid"]), [guid; 3]);
    }
}

#[test]
fn flow_updates_and_durations() {
    let outcome = once(
        "engine:update_flow(flow, 0, 10) engine:update_flow_raw('06A:x', '1', '2.5') engine:set_flow_duration(flow, '1.5')
         engine:new_flow_record(flow, 1, 2, 3, 4) engine:update_flow(nil, 0, 1) engine:set_flow_duration(nil, 1)
         engine:update_flow(flow, 0, 0/0)",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("flow_update", &["flow", "field", "value"]);
    assert_eq!(rows[0], format!("{FLOW}\tmeter 0\t10"));
    assert_eq!(rows[1], "06A:x\tmeter 1\t2.5");
    assert_eq!(rows[2], format!("{FLOW}\tduration\t1.5"));
    let record: Vec<_> = rows[3..].iter().map(|row| row.rsplit('\t').next().unwrap_or_default()).collect();
    assert_eq!(record, ["1", "2", "3", "4"], "bytes A to Z, Z to A, packets A to Z, Z to A: {rows:?}");
}

#[test]
fn terminate_flow_and_disable_reassembly() {
    let outcome = once(
        "engine:terminate_flow(flow) engine:terminate_flow(nil) engine:disable_reassembly('06A:y') engine:disable_reassembly(nil)",
    );
    outcome.prints(&[]);
    assert_eq!(outcome.fields("terminate_flow", &["flow"]), [FLOW]);
    assert_eq!(outcome.fields("disable_reassembly", &["flow"]), ["06A:y"]);
}

#[test]
fn add_flow_attribute_keeps_any_byte() {
    let outcome = once("engine:add_flow_attribute(flow, 'name', 'a\\0b') engine:add_flow_attribute(nil, 'n', 'v')");
    outcome.prints(&[]);
    let rows = outcome.fields("flow_attribute", &["flow", "name", "value"]);
    assert_eq!(rows, [format!("{FLOW}\tname\ta\0b")]);
}

#[test]
fn edges_accept_any_guid_and_no_nil_key() {
    let other = "{11111111-2222-3333-4444-555555555555}";
    let outcome = once(&format!(
        "engine:add_edge(G, 'a', '{other}', 5) engine:add_edge(G, nil, G, 'x') engine:add_edge(G, 'x', G, nil)
         engine:add_flow_edges(flow, '{other}', 'v\\0w') engine:add_flow_edges(flow, G, nil) engine:add_flow_edges(nil, G, 'x')"
    ));
    outcome.prints(&[]);
    let rows = outcome.fields("edge", &["from_guid", "from_key", "to_guid", "to_key"]);
    assert_eq!(rows, [format!("{GROUP}\ta\t{other}\t5")]);
    assert_eq!(outcome.fields("flow_edges", &["flow", "guid", "key"]), [format!("{FLOW}\t{other}\tv")]);
    assert!(outcome.logged("WARN", "").is_empty(), "{}", outcome.stderr);
}

#[test]
fn post_message_backend_is_recorded() {
    let outcome = once(
        "engine:post_message_backend('b') engine:post_message_backend('{x}', 'a\\0b') engine:post_message_backend(nil, 'n')",
    );
    outcome.prints(&[]);
    let rows = outcome.fields("message", &["to", "id", "text"]);
    assert_eq!(rows, ["backend\t\tb", "backend\t{x}\ta\0b", "backend\t\tn"]);
}

#[test]
fn timestamp_is_that_of_the_latest_packet() {
    let capture =
        Capture::new().at_micros(100, 999_999, example_syn()).at(160, udp_packet((1, 2), b"")).at(7000, sized(99));
    let outcome = Bench::new()
        .counter("t.lua", IPV4, "", "print(engine:timestamp(), (layer:packet():timestamp()))")
        .run(&capture);
    outcome.prints(&["100\t100", "160\t160", "7000\t7000"]);
}

#[test]
fn instanceid_id_and_probeid() {
    let outcome = once(
        "print(engine:instanceid() == engine:id(), #engine:id(), (engine:id():match('^%x+$')) == engine:id():upper())
         print(engine:probeid() == T.probeid, T.host:id() == engine:id(), tostring(engine) ~= '')",
    );
    outcome.prints(&["true\t7\ttrue", "true\ttrue\ttrue"]);
}

#[test]
fn each_vm_has_an_instanceid_of_its_own() {
    let body = "print(engine:instanceid(), T.contextid)";
    let outcome =
        Bench::new().counter("a.lua", IPV4, "", body).counter("b.lua", IPV4, "", body).run(&Capture::udp(2, 100));
    outcome.exits(0);
    let (a, b) = (outcome.printed_by("a.lua"), outcome.printed_by("b.lua"));
    assert_eq!(a[0], a[1], "fixed for the VM");
    let parts = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(parts(a[0])[0], parts(b[0])[0]);
    assert_ne!(parts(a[0])[1], parts(b[0])[1]);
}

#[test]
fn no_method_returns_a_value_unless_it_says_so() {
    let outcome = once(
        "local function n(...) return select('#', ...) end
         print(n(engine:update_counter(G, 'k', 0, 1)), n(engine:update_counter_raw(G, 'k', 0, 1)),
           n(engine:update_counter_bytes(G, 'k', 0)), n(engine:update_key_info(G, 'k', 'l')),
           n(engine:set_key_attribute(G, 'k', 'n', 'v')), n(engine:add_alert(A, nil, 's', 1, 'm')),
           n(engine:add_alert_full(A, nil, 's', 'c', 1, 'm')), n(engine:add_alert_tca(A, 1, 'FIRED', 'm')),
           n(engine:add_resource(R, nil, 'u')), n(engine:add_flow_counter(flow, G, 'k', 0, 0)),
           n(engine:reset_flow_counter(flow, G)), n(engine:tag_flow(flow, 't')), n(engine:update_flow(flow, 0, 1)),
           n(engine:new_flow_record(flow, 1, 1, 1, 1)), n(engine:set_flow_duration(flow, 1)),
           n(engine:terminate_flow(flow)), n(engine:disable_reassembly(flow)),
           n(engine:add_flow_attribute(flow, 'a', 'b')), n(engine:add_edge(G, 'a', G, 'b')),
           n(engine:add_flow_edges(flow, G, 'k')), n(engine:post_message_frontend('m')), n(engine:post_message_backend('m')))",
    );
    outcome.prints(&[&["0"; 22].join("\t")]);
}

#[test]
fn a_flow_key_may_be_text_or_a_flowid_kept_from_an_earlier_packet() {
    let capture = Capture::new()
        .at(1, ether(&ipv4("10.0.0.9", "10.0.0.1", 1, &icmp(8, 0, b"ping"))))
        .at(2, ether(&ipv4("10.0.0.1", "10.0.0.9", 1, &icmp(0, 0, b"ping"))));
    let outcome = Bench::new()
        .counter(
            "f.lua",
            IPV4,
            "local kept",
            "kept = kept or layer:packet():flowid() print(kept == layer:packet():flowid()) engine:tag_flow(kept, n)",
        )
        .run(&capture);
    outcome.prints(&["true", "true"]);
    let flow = "01A:0A.00.00.01:p-0000_0A.00.00.09:p-0000";
    assert_eq!(outcome.fields("tag", &["flow", "tag"]), [format!("{flow}\t1"), format!("{flow}\t2")]);
}
