//! What the engine's methods do to flows, and what is recorded of flows.

use crate::support::conversation::{Conversation, Side};
use crate::support::frames::{ether, ethernet, ipv4, tcp, udp, udp_packet};
use crate::support::{Bench, Capture, ETHERNET, GROUP, IPV4, Outcome};

const FLOW: &str = "06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019";
const FIELDS: [&str; 10] =
    ["flow", "az_bytes", "za_bytes", "az_packets", "za_packets", "az_payload", "za_payload", "state", "tags", "reason"];

/// Runs a body for every packet, with its number as `n` and the flow as `flow`.
fn counting(body: &str, capture: &Capture) -> Outcome {
    let body = format!("local flow = layer:packet():flowid()\n{body}");
    Bench::new().counter("c.lua", IPV4, "", &body).run(capture)
}

fn smtp() -> Conversation {
    Conversation::open(40000, 25)
}

#[test]
fn a_flow_that_ended_is_recorded_with_all_its_fields() {
    let outcome = counting(
        "if n == 1 then engine:tag_flow(flow, 'one') engine:tag_flow(flow, 'two') engine:tag_flow(flow, 'one') end",
        &smtp().client(b"hello").server(b"you").close().capture(),
    );
    outcome.exits(0);
    // Seven packets from the client, of which one has 5 bytes; three from the server, of which one has 3.
    let state = 0x0001 | 0x0002 | 0x0004 | 0x0008 | 0x0020 | 0x0040 | 0x0800;
    let row = format!("{FLOW}\t{}\t{}\t5\t3\t5\t3\t{state}\tone|two\tfin", 5 * 54 + 5, 3 * 54 + 3);
    assert_eq!(outcome.fields("flow", &FIELDS), [row]);
    let event = &outcome.of("flow")[0];
    assert_eq!((&event["start"], &event["setup_rtt"], &event["retrans"]), (&100.01.into(), &20000.into(), &0.into()));
    assert_eq!((&event["script"], &event["side"]), (&"native:flow".into(), &"frontend".into()));
}

#[test]
fn nothing_is_recorded_unless_a_plugin_or_the_option_asks_for_flows() {
    let capture = smtp().close().capture();
    let outcome = counting("", &capture);
    assert!(outcome.of("flow").is_empty() && outcome.of("flow_attribute").is_empty());
    let outcome = Bench::new().counter("c.lua", IPV4, "", "").args(&["--flows"]).run(&capture);
    assert_eq!(outcome.of("flow").len(), 1);
    let names = outcome.fields("flow_attribute", &["script", "name"]);
    assert_eq!(names, ["native:flow\t", "native:flow\t^D"]);
}

#[test]
fn update_flow_adds_to_the_record_and_creates_unknown_flows() {
    let other = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    let body = format!(
        "if n == 1 then engine:update_flow(flow, 0, 1000) engine:update_flow_raw('{other}', 1, 5)
         engine:update_flow('{other}', 1, '7') engine:update_flow('{other}', 2, 3) engine:update_flow(flow, 99, 1) end"
    );
    let outcome = counting(&body, &Capture::new().at(1, udp_packet((5000, 6000), b"x")));
    outcome.exits(0);
    let rows = outcome.fields("flow", &["flow", "az_bytes", "za_bytes", "az_packets"]);
    let mut rows: Vec<_> = rows.iter().map(String::as_str).collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [format!("{other}\t0\t12\t3"), "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388\t1000\t43\t0".to_owned()]
    );
    assert_eq!(outcome.logged("WARN", "no flow meter 99").len(), 1);
}

#[test]
fn set_flow_duration_sets_the_time_window() {
    let outcome = counting(
        "if n == 2 then engine:set_flow_duration(flow, '1.5') end",
        &Capture::new().at(10, udp_packet((5000, 6000), b"x")).at(20, udp_packet((5000, 6000), b"x")),
    );
    let event = &outcome.of("flow")[0];
    assert_eq!((&event["start"], &event["end"]), (&18.5.into(), &20.into()));
}

#[test]
fn terminate_flow_ends_the_flow_now() {
    let handler = "TrisulPlugin = { id = {}, reassembly_handler = {
        onpayload = function(engine, ts, flow, dir, pos) print(pos) if pos == 0 then engine:terminate_flow(flow) end end,
        onterminateflow = function(engine, ts, flow) print('end', flow:id()) end } }";
    let capture = smtp().client(b"a").wait(1).capture();
    let outcome = Bench::new().plugin("t.lua", handler).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["0", &format!("end\t{FLOW}")]);
    assert_eq!(outcome.fields("flow", &["reason"]), ["script"]);
}

#[test]
fn a_counter_ends_a_flow_at_its_packet_wherever_a_batch_ends() {
    let mine = "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388";
    let counter = format!(
        "if flow:id() == '{mine}' then seen = (seen or 0) + 1 if seen == 5 then
        engine:terminate_flow(flow) end end"
    );
    for pad in [0, 100, 200] {
        let other = udp_packet((1, 2), b"pad");
        let capture = (0..pad).fold(Capture::new(), |capture, at| capture.at_micros(1, at, other.clone()));
        let packet = |capture: Capture, at: u32| capture.at_micros(1, pad + at, udp_packet((5000, 6000), b"x"));
        let outcome = counting(&counter, &(0..200).fold(capture, packet));
        outcome.exits(0);
        let mut rows = outcome.fields("flow", &["flow", "za_packets", "reason"]);
        rows.retain(|row| row.starts_with(mine));
        assert_eq!(rows, [format!("{mine}\t5\tscript"), format!("{mine}\t195\tend")], "{pad}");
    }
}

#[test]
fn nothing_is_told_of_a_flow_behind_its_end_by_a_script() {
    let handler = "TrisulPlugin = { id = {}, reassembly_handler = {
        onpayload = function(engine, ts, flow, dir, pos) print('payload', pos) if pos == 1 then engine:terminate_flow(flow) end end,
        onterminateflow = function(engine, ts, flow) print('end') end },
      sg_monitor = { onterminate = function(engine, flow) print('gone', flow:az_bytes(), string.format('%x', flow:state())) end } }";
    let capture = smtp().client(b"a").client(b"bb").client(b"ccc").client(b"dddd").close().capture();
    let outcome = Bench::new().plugin("t.lua", handler).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["payload\t0", "payload\t1", "end", "gone\t219\t82f"]);
    assert_eq!(outcome.fields("flow", &["reason"]), ["script"]);
}

#[test]
fn a_flow_that_scripts_made_lives_until_it_is_ended() {
    let other = "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    let silent = "11C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008";
    let body = format!(
        "if n == 6 then engine:update_flow_raw('{other}', 0, 1) engine:tag_flow('{other}', 'fw=deny') end
         if n == 7 then engine:update_flow('{silent}', 0, 5) end
         if n == 12 then engine:update_flow('{other}', 0, 1000) engine:terminate_flow('{other}') end"
    );
    let monitor = "TrisulPlugin = { id = {}, sg_monitor = {
        onnewflow = function(engine, flow) print('new', flow:key():sub(1, 3), flow:az_bytes()) end,
        onupdate = function(engine, flow) print('update', flow:key():sub(1, 3), flow:az_bytes()) end,
        onterminate = function(engine, flow) print('end', string.format('%x', flow:state()), flow:tags(), flow:az_bytes()) end,
        onflush = function(engine, flow) print('flush', flow:key():sub(1, 3), flow:az_bytes(), flow:time_window()) end } }";
    // A packet that belongs to no flow every five seconds, for three minutes.
    let capture = (0..36).fold(Capture::new(), |capture, at| capture.at(5 * at, ethernet(0x0806, &[0; 28])));
    let outcome = Bench::new().counter("c.lua", ETHERNET, "", &body).plugin("m.lua", monitor).run(&capture);
    outcome.exits(0);
    assert_eq!(
        outcome.lines(),
        [
            "new\t06C\t1",
            "update\t06C\t1",
            "new\t11C\t5",
            "update\t11C\t5",
            "end\t821\tfw=deny\t1001",
            "flush\t06C\t1001\t25\t55",
            "end\t121\t\t5",
            "flush\t11C\t5\t30\t30",
        ]
    );
    assert_eq!(outcome.fields("flow", &["reason", "t"]), ["script\t55", "idle\t90"]);
}

#[test]
fn flow_counters_count_from_their_packet_on_by_direction() {
    let body = format!(
        "if n == 4 then engine:add_flow_counter(flow, '{GROUP}', 'both', 0, 0) engine:add_flow_counter(flow, '{GROUP}', 'out', 0, 1)
           engine:add_flow_counter(flow, '{GROUP}', 'in', 0, 2) engine:add_flow_counter(flow, '{GROUP}', 'both', 0, 0)
           engine:add_flow_counter(flow, '{GROUP}', 'bad', 9, 0) end
         if n == 6 then engine:reset_flow_counter(flow, '{GROUP}', 'new', 1) end"
    );
    // Packets 4 and 5: 55 bytes from the client, 56 from the server; 6: 57 from the client.
    let capture = smtp().client(b"1").server(b"22").client(b"333").capture();
    let outcome = Bench::new()
        .group()
        .counter("c.lua", IPV4, "", &format!("local flow = layer:packet():flowid()\n{body}"))
        .run(&capture);
    outcome.exits(0);
    let total = |key: &str, meter| outcome.total(GROUP, key, meter).map(|total| total.sum);
    assert_eq!([total("both", 0), total("out", 0), total("in", 0)], [Some(111.0), Some(55.0), Some(56.0)]);
    assert_eq!(total("new", 1), Some(57.0));
    assert_eq!(outcome.logged("WARN", "has no meter 9").len(), 1);
}

#[test]
fn a_tag_waits_for_its_flow() {
    let head = "local flow = '11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388'";
    let outcome = Bench::new()
        .counter("c.lua", IPV4, head, "if n == 1 then engine:tag_flow(flow, 'early') end")
        .run(&Capture::new().at(1, udp_packet((1, 2), b"x")).at(30, udp_packet((5000, 6000), b"x")));
    let rows = outcome.fields("flow", &["flow", "tags"]);
    assert!(rows.contains(&"11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388\tearly".to_owned()), "{rows:?}");
}

#[test]
fn an_input_filter_makes_flows_and_records() {
    let filter = "local n = 0
      TrisulPlugin = { id = {}, inputfilter = { step = function(packet, engine)
        n = n + 1
        if n > 2 then return false end
        packet:set_timestamp(90 + 10 * n)
        engine:update_flow('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', 0, 500)
        engine:set_flow_duration('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', 10)
        engine:tag_flow('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', 't' .. n)
        engine:new_flow_record('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', n, 0, 1, 0)
        engine:add_flow_attribute('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', 'who', 'me')
        return true end } }";
    let monitor = "TrisulPlugin = { id = {}, messagemonitor = { onnewflowrecord = function(engine, flow, az) print(flow:portz_readable(), az) end },
        flowmonitor = { onflowattribute = function(engine, flow, ts, name, value) print(flow:porta(), name, value) end } }";
    let outcome = Bench::new().plugin("f.lua", filter).plugin("m.lua", monitor).run_with(&[]);
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["80\t1", "80\t2", "p-1000\twho\tme", "p-1000\twho\tme"]);
    let rows = outcome.fields("flow", &["flow", "start", "end", "az_bytes", "tags"]);
    assert_eq!(rows, ["06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050\t100\t110\t1000\tt1|t2"]);
}

#[test]
fn flows_are_pinned_to_an_engine_and_totals_stay_the_same() {
    let talker = "local n = 0
      TrisulPlugin = { id = {}, reassembly_handler = {
        onnewflow = function(engine, ts, flow) engine:tag_flow(flow, 'seen') end,
        onpayload = function(engine, ts, flow, dir, pos, buf) print(flow:id(), dir, pos, buf:tostring()) end } }";
    let segment = |i: u32, from: bool, seq: u32, data: &[u8]| {
        let (a, b) = (format!("10.0.0.{}", i % 200 + 1), format!("10.0.1.{}", i % 7 + 1));
        let ports = if from { (40000 + i as u16, 80) } else { (80, 40000 + i as u16) };
        let mut bytes = tcp(ports, 0x18, &[], data);
        bytes[4..8].copy_from_slice(&seq.to_be_bytes());
        let (source, destination) = if from { (&a, &b) } else { (&b, &a) };
        ether(&ipv4(source, destination, 6, &bytes))
    };
    let mut capture = Capture::new();
    for round in 0..4 {
        for i in 0..100 {
            let data = format!("r{round}");
            capture = capture.at(100 + round, segment(i, round % 2 == 0, 1 + round / 2 * 2, data.as_bytes()));
        }
    }
    let bench = |engines: &str| Bench::new().plugin("t.lua", talker).args(&["--engines", engines]).run(&capture);
    let (one, two) = (bench("1"), bench("2"));
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    let lines = |outcome: &Outcome| sorted(outcome.lines().iter().map(|line| (*line).to_owned()).collect());
    assert_eq!(lines(&one).len(), 400);
    assert_eq!(lines(&one), lines(&two));
    assert_eq!(sorted(one.fields("flow", &FIELDS)), sorted(two.fields("flow", &FIELDS)));
}

#[test]
fn an_attribute_is_announced_once_by_the_engine_that_has_the_flow() {
    // Each engine speaks of flows of both.
    let talker = "local said = 0
      TrisulPlugin = { id = {}, reassembly_handler = {
        onpayload = function(engine, ts, flow, dir, pos, buf)
          for i = 0, 19 do
            engine:add_flow_attribute(string.format('06A:0A.00.00.%02X:p-9C40_0A.00.01.01:p-0050', i + 1), 'said', flow:id() .. i)
          end
        end,
        onattribute = function(engine, ts, flow, name, value)
          if name == 'said' then print(flow:id(), value) engine:add_flow_attribute(flow:id(), 'echo', value) end
          if name == 'echo' then print('echo', value) end
        end } }";
    let mut capture = Capture::new();
    for i in 0..20 {
        let source = format!("10.0.0.{}", i + 1);
        let mut segment = tcp((40000, 80), 0x18, &[], b"x");
        segment[4..8].copy_from_slice(&1_u32.to_be_bytes());
        capture = capture.at(100, ether(&ipv4(&source, "10.0.1.1", 6, &segment)));
    }
    let run = |engines: &str| {
        let outcome = Bench::new().plugin("t.lua", talker).args(&["--engines", engines]).run(&capture);
        outcome.exits(0);
        let mut lines: Vec<String> = outcome.lines().into_iter().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let one = run("1");
    assert_eq!(one.len(), 2 * 20 * 20);
    assert_eq!(run("2"), one);
    assert_eq!(run("3"), one);
}

#[test]
fn what_is_asked_of_a_flow_is_done_by_the_engine_that_has_it() {
    // Each engine speaks of flows of both.
    let talker = "TrisulPlugin = { id = {}, reassembly_handler = {
        onpayload = function(engine, ts, flow, dir, pos, buf)
          if buf:tostring() ~= 'x' then return end
          for i = 1, 20 do
            local other = string.format('06A:0A.00.00.%02X:p-9C40_0A.00.01.01:p-0050', i)
            engine:tag_flow(other, flow:id():sub(14, 15))
          end
        end } }";
    let mut capture = Capture::new();
    for i in 0..20 {
        let mut segment = tcp((40000, 80), 0x18, &[], b"x");
        segment[4..8].copy_from_slice(&1_u32.to_be_bytes());
        capture = capture.at(100, ether(&ipv4(&format!("10.0.0.{}", i + 1), "10.0.1.1", 6, &segment)));
    }
    let run = |engines: &str| {
        let outcome = Bench::new().plugin("t.lua", talker).args(&["--engines", engines]).run(&capture);
        outcome.exits(0);
        let mut flows: Vec<String> = outcome
            .fields("flow", &["flow", "tags"])
            .into_iter()
            .filter(|line| line.starts_with("06A"))
            .map(|line| {
                let (flow, tags) = line.split_once('\t').unwrap();
                let mut tags: Vec<&str> = tags.split('|').collect();
                tags.sort_unstable();
                format!("{flow} {tags:?}")
            })
            .collect();
        flows.sort_unstable();
        flows
    };
    let one = run("1");
    assert!(one.len() == 20 && one.iter().all(|flow| flow.matches('"').count() == 40), "{one:?}");
    assert_eq!(run("2"), one);
    assert_eq!(run("3"), one);
}

#[test]
fn settings_switch_flows_and_reassembly_off() {
    let talker = "TrisulPlugin = { id = {}, reassembly_handler = { onnewflow = function() print('new') end,
        onpayload = function() print('payload') end, onattribute = function(e, ts, f, name) print('attribute', name) end,
        onterminateflow = function() print('end') end } }";
    let capture = smtp().client(b"x").close().capture();
    let run = |set: &str| Bench::new().plugin("t.lua", talker).args(&["--set", set]).run(&capture);
    run("Reassembly>TCPReassembly>Enabled=False").prints(&["new", "end"]);
    let off = run("Reassembly>TCPFlowTrack>Enabled=False");
    off.prints(&[]);
    assert!(off.of("flow").is_empty());
}

#[test]
fn two_runs_give_the_same_events() {
    let talker = "TrisulPlugin = { id = {}, reassembly_handler = { onpayload = function(e, ts, f, dir, pos, b) print(f:id(), dir, pos) end,
        onattribute = function(e, ts, f, name) e:tag_flow(f, name) end } }";
    let mut conversation = smtp();
    for i in 0..50 {
        conversation =
            conversation.client(b"x").frame(ether(&ipv4("10.0.0.1", "10.0.0.2", 17, &udp((i, 53), b"q")))).server(b"y");
        if i % 10 == 9 {
            conversation = conversation.close().then(41000 + i, 25);
        }
    }
    let capture = conversation.says(Side::Client, b"end").capture();
    let run = || Bench::new().plugin("t.lua", talker).run(&capture).event_lines.replace(char::is_whitespace, "");
    let (first, second) = (run(), run());
    let without_path =
        |text: &str| text.split("{\"ev\"").filter(|line| !line.contains("\"load\"")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_path(&first), without_path(&second));
}

/// Runs a plugin of the project over one of its captures.
fn own(folder: &str, name: &str, capture: &str) -> Outcome {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(folder).join(name)).expect("a file of the project");
    let capture = root.join("pcaps").join(capture).display().to_string();
    let outcome = Bench::new().plugin(name, &text).run_with(&["-r", &capture]);
    outcome.exits(0);
    outcome
}

#[test]
fn samples_and_plugins_of_flows_find_something() {
    let first_words = own("samples", "reassembly_handler.lua", "demo.pcap");
    assert!(!first_words.of("counter_total").is_empty(), "{:?}", first_words.stderr);
    let names = own("samples", "flowmonitor.lua", "demo.pcap");
    let group = "{32B5AFA9-57D7-4AA7-9D43-D17B1E6E5A09}";
    let count = |key: &str| names.total(group, key, 0).map(|total| total.sum);
    assert!(count("(begin)").is_some_and(|begun| begun > 10.0));
    assert_eq!(count("(begin)"), count("(end)"));
    let latency = own("samples", "messagemonitor.lua", "demo.pcap");
    assert!(!latency.of("counter_total").is_empty());
    let stored = own("samples", "packet_storage.lua", "demo.pcap");
    assert!(!stored.of("store_policy").is_empty());
    let clients = own("plugins", "tls-clients.lua", "tls-hello.pcap");
    assert!(!clients.by("resource", "tls-clients.lua").is_empty(), "{:?}", clients.of("flow_attribute"));
    let slow = own("plugins", "slow-servers.lua", "tcp-retransmission.pcap");
    assert!(slow.of("counter_total").iter().any(|total| total["meter"] == 2), "{:?}", slow.of("counter_total"));
}

#[test]
fn findings_are_events_of_the_module_that_made_them() {
    let path =
        |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name).display().to_string();
    let run = |name: &str, args: &[&str]| {
        let bench = Bench::new().counter("c.lua", IPV4, "", "").args(&["--flows"]).args(args);
        bench.run_with(&["-r", &path(name)])
    };
    let http = run("http-files.pcap", &[]);
    http.exits(0);
    let names: Vec<_> =
        http.by("flow_attribute", "native:http").iter().map(|e| e["name"].as_str().unwrap_or("?")).collect();
    assert_eq!(names[..2], ["HTTP-Header", "Host"], "{names:?}");
    assert!(!http.by("resource", "native:http").is_empty() && !http.by("fts", "native:http").is_empty());
    let applications = "Reassembly>TCPReassembly>Applications";
    let (log, fts) = (format!("{applications}>EnableURILog=False"), format!("{applications}>EnableHTTPFTS=False"));
    let quiet = run("http-files.pcap", &["--set", &log, "--set", &fts]);
    assert!(quiet.by("resource", "native:http").is_empty() && quiet.of("fts").is_empty());

    let records = |outcome: &Outcome| {
        outcome.by("flow_attribute", "native:tls").iter().filter(|event| event["name"] == "TLS:RECORD").count()
    };
    let tls = run("tls-hello.pcap", &[]);
    assert!(!tls.by("flow_attribute", "native:tls").is_empty());
    assert_eq!(records(&tls), 0);
    let extraction = format!("{applications}>EnableSSLRecordExtraction=True");
    assert!(records(&run("tls-hello.pcap", &["--set", &extraction])) > 0);
}

#[test]
fn built_in_groups_count_flows_and_contents() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/http-files.pcap").display().to_string();
    let outcome = Bench::new().counter("c.lua", IPV4, "", "").args(&["--builtin", "all"]).run_with(&["-r", &path]);
    outcome.exits(0);
    let groups: std::collections::BTreeSet<_> =
        outcome.of("counter_total").iter().filter_map(|e| e["guid"].as_str()).collect();
    assert!(groups.len() > 8, "{groups:?}");
    assert!(outcome.of("flow").is_empty(), "metering alone shows no flows");
}

/// A flow that ends by silence, and packets of others long after that; `body` runs for the second of these, with the first
/// flow as `gone`.
fn after_the_end(body: &str, more: Option<(&str, &str)>) -> Outcome {
    let head = "local gone = '11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388'";
    let body = format!("if n == 3 then {body} end");
    let capture = Capture::new()
        .at(10, udp_packet((5000, 6000), b"x"))
        .at(100, udp_packet((7, 8), b"x"))
        .at(101, udp_packet((7, 8), b"x"));
    let bench = Bench::new().counter("c.lua", IPV4, head, &body);
    match more {
        Some((name, text)) => bench.plugin(name, text),
        None => bench,
    }
    .run(&capture)
}

#[test]
fn what_is_said_of_a_flow_that_has_ended_is_counted_and_makes_no_other() {
    let outcome = after_the_end(
        "engine:update_flow(gone, 0, 1000) engine:update_flow_raw(gone, 9, 5) engine:set_flow_duration(gone, 3)
         engine:new_flow_record(gone, 1, 2, 3, 4) engine:tag_flow(gone, 'late')",
        None,
    );
    outcome.exits(0);
    let rows = outcome.fields("flow", &["flow", "az_bytes", "za_bytes", "tags", "reason"]);
    let of_it: Vec<_> = rows.iter().filter(|row| row.starts_with("11A:0A.00.00.09:p-1770")).collect();
    assert_eq!(of_it, ["11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388\t0\t43\t\tidle"]);
    assert_eq!(outcome.dropped("flow_statements_late"), 4);
    let warned = outcome.logged("WARN", "the flow has ended and its record is made");
    assert_eq!(warned.len(), 1, "{warned:?}");
}

#[test]
fn a_tag_for_a_flow_that_has_ended_reaches_the_record_that_waits_for_its_flush() {
    let monitor = "TrisulPlugin = { id = {}, sg_monitor = { onflush = function(engine, flow)
        print(flow:flow():porta_readable(), flow:tags()) end } }";
    let outcome = after_the_end("engine:tag_flow(gone, 'late')", Some(("m.lua", monitor)));
    outcome.exits(0);
    assert!(outcome.lines().contains(&"6000\tlate"), "{:?}", outcome.lines());
    assert_eq!(outcome.dropped("flow_statements_late"), 0);
}

#[test]
fn an_attribute_of_a_flow_that_has_ended_is_recorded_and_not_announced() {
    let monitor = "TrisulPlugin = { id = {}, flowmonitor = { onflowattribute = function(engine, flow, ts, name, value)
        print(name, value) end } }";
    let body = "engine:add_flow_attribute(gone, 'OS', 'old') \
         engine:add_flow_attribute('06A:0A.00.00.01:p-1000_0A.00.00.02:p-0050', 'OS', 'unknown')";
    let outcome = after_the_end(body, Some(("m.lua", monitor)));
    outcome.exits(0);
    assert_eq!(outcome.printed_by("m.lua"), ["OS\tunknown"]);
    assert_eq!(outcome.by("flow_attribute", "c.lua").len(), 2);
}
