//! `sg_monitor`, the session Flow, and `flowtracker`.

use crate::support::conversation::{Conversation, Side};
use crate::support::frames::udp_packet;
use crate::support::{Bench, Capture, Outcome};
use crate::{block, sized};

const TCP_FLOW: &str = "06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019";

fn run(body: &str, capture: &Capture) -> Outcome {
    Bench::new().plugin("s.lua", &block("sg_monitor", body)).run(capture)
}

#[test]
fn a_flow_is_announced_updated_ended_and_flushed_once() {
    let body = "onnewflow = function(e, f) print('new', f:key()) end, \
        onupdate = function(e, f) print('update', f:az_packets() + f:za_packets()) end, \
        onterminate = function(e, f) print('end', f:state()) end, \
        onbeginflush = function(e, ts) print('begin', ts) end, flushfilter = function(e, f) print('filter') end, \
        onflush = function(e, f) print('flush', f:key(), f:az_bytes(), f:za_bytes(), f:az_packets(), f:za_packets(), \
          f:az_payload_bytes(), f:za_payload_bytes(), f:setup_rtt(), f:retransmissions(), f:time_window()) end, \
        onendflush = function(e, ts) print('endflush', ts) end, onmetronome = function() end";
    let capture = Conversation::open(40000, 25).client(b"hello").server(b"hi").wait(2).close().capture();
    let outcome = run(body, &capture);
    outcome.prints(&[
        &format!("new\t{TCP_FLOW}"),
        "update\t5",
        "end\t2159",
        "begin\t60",
        "filter",
        &format!("flush\t{TCP_FLOW}\t275\t164\t5\t3\t5\t2\t20000\t0\t100\t102"),
        "endflush\t60",
    ]);
    assert_eq!(outcome.fields("stored", &["what", "flow", "stored"]), [format!("flow\t{TCP_FLOW}\ttrue")]);
}

#[test]
fn flows_that_go_on_are_flushed_every_five_minutes_with_all_they_have() {
    let body = "onflush = function(e, f) print(f:za_packets(), bit.band(f:state(), 0x9C0), f:time_window()) end";
    let capture = (0..=620_u32)
        .step_by(20)
        .fold(Capture::new(), |capture, at| capture.at(1_000 + at, udp_packet((5000, 6000), b"x")));
    let outcome = run(body, &capture);
    outcome.exits(0);
    // Of the second in which the mark falls, and at the end.
    let lines = outcome.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("\t0\t1000\t")), "{lines:?}");
    assert!(lines[2].starts_with("32\t"), "{lines:?}");
}

#[test]
fn flows_are_shown_as_they_were_in_the_second_that_is_told_of() {
    let body = "onnewflow = function(e, f) print('new', f:az_packets() + f:za_packets(), f:time_window()) end, \
        onupdate = function(e, f) print('update', f:az_packets() + f:za_packets(), f:time_window()) end";
    run(body, &sized(&[(100, 60), (100, 60), (110, 60), (125, 60)])).prints(&[
        "new\t2\t100\t100",
        "update\t2\t100\t100",
        "update\t3\t100\t110",
    ]);
}

#[test]
fn a_script_ends_a_flow_before_silence_does() {
    let capture = Capture::new().at(100, udp_packet((5000, 6000), b"x")).at(130, udp_packet((7000, 8000), b"end"));
    let capture = capture.at(400, udp_packet((7000, 8000), b"x"));
    let ends = "if n == 2 then engine:terminate_flow('11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388') end";
    let monitor = "onterminate = function(e, f) print(f:key(), f:state()) end";
    let outcome = crate::beside("sg_monitor", monitor, ends, &capture);
    assert_eq!(outcome.lines()[0], "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388\t2081");
}

#[test]
fn tags_given_in_the_flush_are_in_the_record() {
    let body = "flushfilter = function(e, f) f:add_tag('[a]one') f:add_tag(nil) return true end, \
        onflush = function(e, f) f:add_tag('two|x') f:add_tag('two|x') print(f:tags(), #f:tags()) end";
    let outcome = run(body, &Capture::udp(3, 100));
    outcome.prints(&["[a]one|two_x\t12"]);
    assert_eq!(outcome.fields("stored", &["tags"]), ["[a]one|two_x"]);
}

#[test]
fn a_tag_given_while_the_flow_goes_on_stays_with_it() {
    let body = "onnewflow = function(e, f) f:add_tag('[seen]yes') print(f:tags()) end, \
        onflush = function(e, f) print('flush', f:tags()) end";
    run(body, &sized(&[(100, 60), (101, 60), (102, 60)])).prints(&["[seen]yes", "flush\t[seen]yes"]);
}

fn stored_flows(outcome: &Outcome) -> Vec<String> {
    let rows = outcome.fields("stored", &["what", "tags"]);
    rows.iter().filter_map(|row| row.strip_prefix("flow\t")).map(str::to_owned).collect()
}

fn short_talk() -> Capture {
    Conversation::open(40000, 25).client(b"hello").server(b"hi").close().capture()
}

#[test]
fn tags_given_by_id_reach_the_record_that_is_being_flushed() {
    let body = "onflush = function(e, f) e:tag_flow(f:key(), '[net]10.0.0.0/26') e:tag_flow(f:key(), 'a|b') \
        e:tag_flow('06A:x', 'other') end, onendflush = function(e) e:tag_flow('06A:x', 'late') end";
    let outcome = run(body, &short_talk());
    assert_eq!(stored_flows(&outcome), ["[net]10.0.0.0/26|a_b"]);
}

#[test]
fn tags_given_in_the_second_in_which_the_flow_ends_are_in_its_record() {
    for give in ["e:tag_flow(f:flow():id(), 'short')", "f:add_tag('short')"] {
        let body = format!("onnewflow = function(e, f) {give} end, onflush = function(e, f) print(f:tags()) end");
        let outcome = run(&body, &short_talk());
        outcome.prints(&["short"]);
        assert_eq!(stored_flows(&outcome), ["short"]);
    }
}

#[test]
fn scripts_that_look_at_other_things_tag_flows_that_are_over() {
    let user_alerts = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}";
    let raise = format!("if n == 1 then engine:add_alert('{user_alerts}', layer:flowkey(), 'sig', 1, 'seen') end");
    let tags = format!(
        "alert_guid = '{user_alerts}', onflush = function(e, alert) e:tag_flow(alert:flow():id(), alert:sigid()) end"
    );
    let outcome = Bench::new()
        .counter("a.lua", crate::IPV4, "", &raise)
        .plugin("b.lua", &block("alert_monitor", &tags))
        .run(&short_talk());
    assert_eq!(stored_flows(&outcome), ["sig"]);
}

#[test]
fn flows_are_flushed_by_start_and_key_and_a_no_of_all_drops_them() {
    let body = "flushfilter = function(e, f) return f:flow():porta_readable() ~= '6001' end, \
        onflush = function(e, f) print(f:flow():porta_readable(), f:flow():id() == f:key(), tostring(f):match('^Flow: ')) end";
    let packet = |port: u16| udp_packet((5000, port), b"x");
    let capture =
        Capture::new().at(101, packet(6003)).at(101, packet(6002)).at(100, packet(6001)).at(102, packet(6000));
    let outcome = run(body, &capture);
    let line = |port: &str| format!("{port}\ttrue\tFlow: ");
    outcome.prints(&[&line("6002"), &line("6003"), &line("6000")]);
    let stored: Vec<_> = outcome.fields("stored", &["stored"]);
    assert_eq!(stored.iter().filter(|stored| *stored == "false").count(), 1);
}

#[test]
fn a_session_group_without_flows_is_attached_and_silent_and_an_unknown_one_is_not() {
    let of = |guid: &str| format!("session_guid = '{guid}', onflush = function() print('flow') end");
    run(&of("{99A78737-4B41-4387-8F31-8077DB917336}"), &Capture::udp(1, 100)).prints(&["flow"]);
    let outcome = run(&of("{0B1C2D3E-0000-4000-8000-000000000009}"), &Capture::udp(1, 100));
    outcome.prints(&[]);
    assert_eq!(outcome.logged("WARN", "there is no session group").len(), 1);
}

#[test]
fn flows_that_scripts_speak_of_are_announced_and_flushed() {
    let id = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    let outcome = Bench::new()
        .counter(
            "a.lua",
            crate::IPV4,
            "",
            &format!("engine:update_flow('{id}', 0, 500) engine:update_flow('{id}', 2, 3) engine:terminate_flow('{id}')"),
        )
        .plugin(
            "s.lua",
            &block(
                "sg_monitor",
                "onnewflow = function(e, f) if f:flow():flow_type() == 'C' then print('new', f:key()) end end, \
                 onflush = function(e, f) if f:flow():flow_type() == 'C' then print(f:az_bytes(), f:az_packets()) end end",
            ),
        )
        .run(&Capture::udp(1, 100));
    outcome.prints(&[&format!("new\t{id}"), "500\t3"]);
}

fn tracked(control: &str, metric: &str, capture: &Capture) -> Outcome {
    let text = format!("control = {{ {control} }}, getmetric = function(engine, flow) {metric} end");
    Bench::new().plugin("t.lua", &block("flowtracker", &text)).run(capture)
}

fn ports() -> Capture {
    [6000_u16, 6001, 6001, 6002, 6002, 6002]
        .iter()
        .fold(Capture::new(), |capture, &port| capture.at(100, udp_packet((5000, port), b"x")))
}

#[test]
fn a_tracker_keeps_the_flows_with_the_largest_metrics() {
    let outcome = tracked("name = 'Long', description = 'd', count = 2", "return flow:za_packets()", &ports());
    outcome.exits(0);
    let flow = |port: &str| format!("11A:0A.00.00.09:p-{port}_0A.00.00.05:p-1388");
    assert_eq!(
        outcome.fields("flow_tracker", &["tracker", "flow", "metric", "bucket"]),
        [format!("Long\t{}\t3\t0", flow("1772")), format!("Long\t{}\t2\t0", flow("1771"))]
    );
}

#[test]
fn metrics_that_are_none_are_not_tracked() {
    for metric in
        ["return 0", "return nil", "", "return -1", "return 0/0", "return 1/0", "error('x')", "return {}", "return 'x'"]
    {
        let outcome = tracked("name = 'none'", metric, &Capture::udp(1, 100));
        assert_eq!(outcome.of("flow_tracker").len(), 0, "{metric}");
    }
    let outcome = tracked("name = 'text'", "return '2.5'", &Capture::udp(1, 100));
    assert_eq!(outcome.fields("flow_tracker", &["metric"]), ["2.5"]);
}

#[test]
fn trackers_are_cleared_at_the_end_of_their_interval() {
    let outcome = Bench::new()
        .plugin(
            "t.lua",
            &block(
                "flowtracker",
                "control = { name = 'short', bucketsize = 61 }, getmetric = function(e, f) return 1 end, \
                 onbeginflush = function(e, ts) print('begin', ts) end, onendflush = function(e, ts) print('end', ts) end, \
                 onmetronome = function() end",
            ),
        )
        .run(&Conversation::open(40000, 25).close().wait(200).then(40001, 26).flags(Side::Client, 0x14).capture());
    outcome.exits(0);
    assert_eq!(outcome.fields("flow_tracker", &["bucket"]), ["0", "240"]);
    assert_eq!(outcome.lines()[..2], ["begin\t60", "end\t60"]);
}

#[test]
fn of_two_trackers_with_one_name_the_first_is_used() {
    let text = block("flowtracker", "control = { name = 'same' }, getmetric = function() return 1 end");
    let outcome = Bench::new().plugin("a.lua", &text).plugin("b.lua", &text).run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.of("flow_tracker").len(), 1);
    assert_eq!(outcome.logged("WARN", "'same' is taken").len(), 1);
}

/// More flows in one second than leave the packet thread at once.
fn crowd(flows: u32) -> Capture {
    let ports = |n: u32| (1_024 + (n % 50_000) as u16, 7_000 + (n / 50_000) as u16);
    (0..flows).fold(Capture::new(), |capture, n| capture.at(100, udp_packet(ports(n), b"x")))
}

#[test]
fn a_crowd_of_flows_in_one_second_is_all_flushed() {
    let monitor = "onnewflow = function(e, f) new = (new or 0) + 1 end, onflush = function(e, f) n = (n or 0) + 1 end, \
                   onendflush = function(e, ts) print(new, n) end";
    let flushed = Bench::new().plugin("m.lua", &block("sg_monitor", monitor)).without_events().run(&crowd(110_000));
    flushed.prints(&["110000\t110000"]);
}

#[test]
fn flows_that_no_script_flushes_are_stored_however_many_there_are() {
    let folder = Bench::new();
    for engines in ["1", "2"] {
        let run = folder.path(engines).display().to_string();
        let bench = Bench::new().without_events().args(&["--flows", "--store", &run, "--engines", engines]);
        let outcome = bench.run(&crowd(110_000));
        outcome.exits(0);
        let rows = rusqlite::Connection::open(&run).and_then(|db| {
            db.query_row("SELECT count(*), count(DISTINCT flow) FROM flows", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        });
        assert_eq!(rows, Ok((110_000, 110_000)), "{engines}: {}", outcome.stderr);
    }
}
