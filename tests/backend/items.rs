//! `alert_monitor`, `resource_monitor`, `fts_monitor`: every callback and every method of their objects.

use crate::support::frames::{ether, ipv4, udp};
use crate::support::{Bench, Capture, IPV4, Outcome};
use crate::{beside, block, sized};

const IDS: &str = "{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}";
const RESOURCES: &str = "{0B1C2D3E-0000-4000-8000-0000000000E5}";
const FLOW: &str = "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388";

/// A plugin that defines a resource group and adds a resource for every packet.
fn resources(bench: Bench) -> Bench {
    bench
        .plugin(
            "a.lua",
            &format!(
                "TrisulPlugin = {{ id = {{ name = 'r' }}, resourcegroup = {{ control = {{ guid = '{RESOURCES}', \
                 name = 'Logins' }} }} }}"
            ),
        )
        .counter(
            "b.lua",
            IPV4,
            "",
            &format!("engine:add_resource('{RESOURCES}', layer:flowkey(), 'uri ' .. n, 'label ' .. n)"),
        )
}

#[test]
fn alerts_have_their_fields_and_ends() {
    let monitor = format!(
        "alert_guid = '{IDS}', onnewalert = function(e, a) local s, us = a:timestamp() \
         print(s, us, a:flow() and a:flow():id(), a:source_ip(), a:source_port(), a:destination_ip(), \
         a:destination_port(), a:sigid(), a:classification(), a:priority(), a:message(), a:extra_message() == '', \
         a:status(), a:ack_flag()) print(tostring(a):match('^Alert: ') ~= nil, T.monitor_group_name) end"
    );
    let body = format!(
        "if n == 1 then engine:add_alert_full('{IDS}', layer:flowkey(), 'sig', 'class', 2, 'text', 'FIRED') \
         else engine:add_alert('{IDS}', nil, 'bare', 3, nil) end"
    );
    let capture = Capture::udp(2, 100);
    beside("alert_monitor", &monitor, &body, &capture).prints(&[
        &format!("100\t0\t{FLOW}\t10.0.0.9\t6000\t10.0.0.5\t5000\tsig\tclass\t2\ttext\ttrue\tFIRED\t0"),
        "true\tExternal IDS",
        "100\t1000\tnil\t0.0.0.0\t0\t0.0.0.0\t0\tbare\t\t3\t\ttrue\tALARM\t0",
        "true\tExternal IDS",
    ]);
}

#[test]
fn what_alert_callbacks_change_is_what_is_flushed() {
    let monitor = "alert_name_regex = 'External', onnewalert = function(e, a) a:set_priority('9') a:set_message('first') end, \
         onbeginflush = function(e, ts) print('begin', ts) end, \
         flushfilter = function(e, a) a:set_message(a:message() .. '!') a:set_extra_message('more') a:set_message(nil) \
           return a:sigid() ~= 's2' end, \
         onflush = function(e, a) print(a:sigid(), a:priority(), a:message(), a:extra_message()) \
           a:set_message('too late') end, \
         onendflush = function(e, ts) print('end', ts) end, onmetronome = function(e, ts, n) print('tick', n) end";
    let body = format!("engine:add_alert('{IDS}', nil, 's' .. n, 1, 'm')");
    let outcome = beside("alert_monitor", monitor, &body, &sized(&[(100, 60), (100, 60), (101, 60)]));
    outcome.prints(&["tick\t1", "begin\t60", "s1\t9\tfirst!\tmore", "s3\t9\tfirst!\tmore", "end\t60"]);
    let stored = outcome.fields("stored", &["what", "guid", "sigid", "message", "stored"]);
    let line = |sig: &str, stored: bool| format!("alert\t{IDS}\t{sig}\tfirst!\t{stored}");
    assert_eq!(stored, [line("s1", true), line("s2", false), line("s3", true)]);
}

#[test]
fn texts_that_callbacks_set_are_cut_as_those_that_are_added() {
    let alerts = "alert_name_regex = 'External', onnewalert = function(e, a) local long = ('x'):rep(40000) \
         a:set_message(long) a:set_extra_message(long) end, \
         onflush = function(e, a) print(#a:message(), #a:extra_message()) end";
    beside("alert_monitor", alerts, &format!("engine:add_alert('{IDS}', nil, 's', 1, 'm')"), &Capture::udp(1, 100))
        .prints(&["32767\t32767"]);
    let monitor = format!(
        "resource_guid = '{RESOURCES}', onnewresource = function(e, r) local long = ('x'):rep(40000) \
         r:set_uri(long) r:set_label(long) end, onflush = function(e, r) print(#r:uri(), #r:label()) end"
    );
    resources(Bench::new())
        .plugin("c.lua", &block("resource_monitor", &monitor))
        .run(&Capture::udp(1, 100))
        .prints(&["32767\t32767"]);
}

#[test]
fn input_alerts_bring_their_own_ends() {
    let text = format!(
        "local done TrisulPlugin = {{ id = {{ name = 'i' }}, inputfilter = {{ step = function(packet) return false end, \
         step_alert = function() if done then return end done = true return {{ AlertGroupGUID = '{IDS}', \
         TimestampSecs = 1000, TimestampUsecs = 5, SigIDKey = 77, SigIDLabel = 'label', SigRev = 1, Priority = 2, \
         SourceIP = '1.2.3.4', SourcePort = 99, DestIP = '5.6.7.8', DestPort = 'http', Protocol = 6, \
         AlertStatus = 'OPEN', AlertDetails = 'details', ClassificationKey = 'c', AcknowledgeFlag = 1 }} end }} }}"
    );
    let monitor = format!(
        "alert_guid = {{ '{IDS}' }}, onnewalert = function(e, a) print(a:source_ip(), a:source_port(), \
         a:destination_ip(), a:destination_port(), a:sigid(), a:extra_message(), a:ack_flag(), a:status()) end"
    );
    let outcome = Bench::new().plugin("i.lua", &text).plugin("m.lua", &block("alert_monitor", &monitor)).run_with(&[]);
    outcome.exits(0);
    assert_eq!(outcome.printed_by("m.lua"), ["1.2.3.4\t99\t5.6.7.8\thttp\t77\tdetails\t1\tOPEN"]);
}

#[test]
fn input_alerts_bring_their_own_time() {
    let text = format!(
        "local alerts = {{ {{ 1000, 5 }}, {{ '2000', '7' }}, {{ 900 }} }} TrisulPlugin = {{ id = {{ name = 'i' }}, \
         inputfilter = {{ step = function(packet) packet:set_timestamp(3000) return #alerts > 0 end, \
         step_alert = function() local at = table.remove(alerts, 1) return at and {{ AlertGroupGUID = '{IDS}', \
         TimestampSecs = at[1], TimestampUsecs = at[2], SigIDKey = 77 }} end }} }}"
    );
    let monitor = format!(
        "alert_guid = '{IDS}', onnewalert = function(e, a) print('new', a:timestamp()) end, \
         onflush = function(e, a) print('flush', a:timestamp()) end"
    );
    let outcome = Bench::new().plugin("i.lua", &text).plugin("m.lua", &block("alert_monitor", &monitor)).run_with(&[]);
    outcome.exits(0);
    let printed = ["new\t1000\t5", "flush\t1000\t5", "new\t2000\t7", "new\t900\t0", "flush\t2000\t7", "flush\t900\t0"];
    assert_eq!(outcome.printed_by("m.lua"), printed);
}

#[test]
fn resources_have_their_fields_and_setters() {
    let monitor = format!(
        "resource_guid = '{RESOURCES}', onnewresource = function(e, r) print(r:timestamp()) print(r:flow():id(), \
         r:source_ip(), r:source_port(), r:destination_ip(), r:destination_port(), r:uri(), r:label(), \
         tostring(r):match('^Resource: ')) r:set_uri('changed') r:set_label('L') end, \
         onbeginflush = function(e, ts) print('begin', ts) end, \
         onflush = function(e, r) print(r:uri(), r:label()) end, onendflush = function(e, ts) print('end', ts) end, \
         onmetronome = function() end"
    );
    let outcome =
        resources(Bench::new()).plugin("c.lua", &block("resource_monitor", &monitor)).run(&Capture::udp(1, 100));
    outcome.prints(&[
        "100\t0",
        &format!("{FLOW}\t10.0.0.9\t6000\t10.0.0.5\t5000\turi 1\tlabel 1\tResource: "),
        "begin\t60",
        "changed\tL",
        "end\t60",
    ]);
    assert_eq!(outcome.fields("stored", &["what", "uri", "stored"]), ["resource\tchanged\ttrue"]);
}

#[test]
fn example_4_votes() {
    let voter = |name: &str, filter: &str| {
        block(
            "resource_monitor",
            &format!("resource_guid = '{RESOURCES}', {filter} onflush = function(e, r) print('{name}', r:uri()) end"),
        )
    };
    let no = voter("A", "flushfilter = function() return false end,");
    let outcome = resources(Bench::new())
        .plugin("c.lua", &no)
        .plugin("d.lua", &voter("B", "flushfilter = function() end,"))
        .plugin("e.lua", &voter("C", ""))
        .run(&Capture::udp(1, 100));
    outcome.prints(&["A\turi 1", "B\turi 1", "C\turi 1"]);
    assert_eq!(outcome.fields("stored", &["stored"]), ["true"]);
    let alone = resources(Bench::new()).plugin("c.lua", &no).run(&Capture::udp(1, 100));
    alone.prints(&[]);
    assert_eq!(alone.fields("stored", &["stored"]), ["false"]);
}

#[test]
fn a_resource_without_a_flow_has_the_flow_of_zeros() {
    let monitor =
        format!("resource_guid = '{RESOURCES}', onflush = function(e, r) print(r:flow():id(), r:source_ip()) end");
    let outcome = resources(Bench::new())
        .counter("d.lua", IPV4, "", &format!("engine:add_resource('{RESOURCES}', nil, 'bare')"))
        .plugin("e.lua", &block("resource_monitor", &monitor))
        .run(&Capture::udp(1, 100));
    assert_eq!(outcome.lines()[1], "00A:00.00.00.00:p-0000_00.00.00.00:p-0000\t0.0.0.0");
}

#[test]
fn what_a_backend_script_adds_is_announced_in_the_next_second_and_flushed_in_its_window() {
    let monitor = format!(
        "resource_guid = '{RESOURCES}', onnewresource = function(e, r) print('new', r:uri(), r:timestamp()) \
         if r:uri() == 'uri 1' then e:add_resource('{RESOURCES}', r:flow(), 'mine', 'x') end end, \
         onflush = function(e, r) print('flush', r:uri()) if r:uri() == 'uri 1' then \
         e:add_resource('{RESOURCES}', nil, 'late') end end, \
         onmetronome = function(e, ts) if ts == 102 or ts == 120 then print('tick', ts) end end"
    );
    let outcome = resources(Bench::new()).plugin("c.lua", &block("resource_monitor", &monitor)).run(&sized(&[
        (100, 60),
        (101, 60),
        (102, 60),
        (119, 60),
        (130, 60),
    ]));
    let lines = outcome.lines();
    assert_eq!(
        lines[..5],
        ["new\turi 1\t100\t0", "new\tmine\t100\t0", "new\turi 2\t101\t0", "tick\t102", "new\turi 3\t102\t0"]
    );
    let flushed: Vec<_> = lines.iter().filter(|line| line.starts_with("flush") || line.contains("late")).collect();
    assert_eq!(
        flushed,
        [
            &"flush\turi 1",
            &"flush\tmine",
            &"flush\turi 2",
            &"flush\turi 3",
            &"flush\turi 4",
            &"new\tlate\t120\t0",
            &"flush\tlate",
            &"flush\turi 5"
        ],
        "{lines:?}"
    );
}

/// A query for a name, as UDP to port 53.
fn query() -> Capture {
    let name = b"\x07example\x03com\x00";
    let message = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat();
    let answer = [
        &[0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
        name,
        &[0, 1, 0, 1, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 93, 184, 216, 34],
    ]
    .concat();
    Capture::new()
        .at(100, ether(&ipv4("10.0.0.5", "10.0.0.9", 17, &udp((40_000, 53), &message))))
        .at(101, ether(&ipv4("10.0.0.9", "10.0.0.5", 17, &udp((53, 40_000), &answer))))
}

fn documents(monitor: &str) -> Outcome {
    Bench::new()
        .plugin("m.lua", &block("fts_monitor", monitor))
        .args(&["--set", "Reassembly>TCPReassembly>Applications>EnableDNSFTS=True"])
        .run(&query())
}

#[test]
fn documents_have_their_fields() {
    let name = "fts_guid = function() for name, guid in pairs(T.ftsgroups) do if name:find('DNS') then return guid end end end";
    let outcome = documents(&format!(
        "{name}, onnewfts = function(e, f) print(f:timestamp()) print(#f:key(), f:key() == f:key():lower(), \
         f:flow():id(), #f:text() > 10, tostring(f):match('^FTS: ')) end, \
         onbeginflush = function(e, ts) print('begin', ts) end, \
         flushfilter = function(e, f) print('filter') return false end, onflush = function() print('never') end, \
         onendflush = function(e, ts) print('end', ts) end, onmetronome = function() end"
    ));
    let lines = outcome.lines();
    assert_eq!(lines.iter().filter(|line| **line == "never").count(), 0);
    assert!(lines.contains(&"40\ttrue\t11A:0A.00.00.05:p-9C40_0A.00.00.09:p-0035\ttrue\tFTS: "), "{outcome:?}");
    assert_eq!(lines.iter().filter(|line| **line == "begin\t60").count(), 1);
    let stored = outcome.fields("stored", &["what", "stored"]);
    assert!(stored.iter().any(|line| line == "fts\tfalse") && !stored.iter().any(|line| line == "fts\ttrue"));
    let outcome = documents(&format!("{name}, onflush = function(e, f) print('flush', f:text():sub(1, 1) ~= '') end"));
    assert_eq!(outcome.lines()[0], "flush\ttrue");
}

#[test]
fn built_in_resources_are_found_for_a_monitor_alone() {
    let body = "resource_guid = function() for name, guid in pairs(T.resourcegroups) do if name:find('DNS') then \
                return guid end end end, onnewresource = function(e, r) print(r:uri()) end";
    let outcome = Bench::new().plugin("m.lua", &block("resource_monitor", body)).run(&query());
    assert!(outcome.lines().iter().any(|line| line.contains("example.com")), "{outcome:?}");
}

#[test]
fn an_object_used_after_its_callback_is_stale() {
    let monitor = format!(
        "alert_guid = '{IDS}', onnewalert = function(e, a) kept = a end, onmetronome = function() \
         print(select(2, pcall(kept.message, kept)):match('ERR_STALE.*')) \
         print(select(2, pcall(kept.set_message, kept, 'x')):match('ERR_STALE.*')) print(tostring(kept):match('Alert: ')) end"
    );
    let body = format!("if n == 1 then engine:add_alert('{IDS}', nil, 's', 1, 'm') end");
    let outcome = beside("alert_monitor", &monitor, &body, &sized(&[(100, 60), (101, 60)]));
    let stale = "ERR_STALE: Alert used outside its callback";
    outcome.prints(&[stale, stale, "Alert: "]);
}

#[test]
fn backend_alerts_are_metered_like_all_others() {
    let monitor = format!("onbeginflush = function(e, ts) e:add_alert('{IDS}', '{FLOW}', 'sig-1', 1, 'm') end");
    let outcome = Bench::new()
        .plugin("e.lua", &block("engine_monitor", &monitor))
        .args(&["--builtin", "Alert Signatures"])
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert!(outcome.of("counter_total").iter().any(|event| event["key"] == "sig-1"), "{}", outcome.event_lines);
}

#[test]
fn a_monitor_of_dns_documents_says_how_they_are_switched_on() {
    let monitor =
        block("fts_monitor", "fts_guid = '{09B305DF-078C-4B9E-8E2F-EA64B7326880}', onnewfts = function() end");
    let hints = |bench: Bench| {
        bench.plugin("m.lua", &monitor).run(&Capture::udp(1, 100)).logged("NOTICE", "EnableDNSFTS").len()
    };
    assert_eq!(hints(Bench::new()), 1);
    assert_eq!(hints(Bench::new().args(&["--set", "Reassembly>TCPReassembly>Applications>EnableDNSFTS=true"])), 0);
}
