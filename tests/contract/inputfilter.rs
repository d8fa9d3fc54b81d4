//! `inputfilter`: packets and flows from a script, alerts from another system.

use crate::support::{Bench, Capture, GROUP, IPV4, Outcome};

const ALERTS: &str = "{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}";

/// Runs an input filter with this head and block; a counter prints what packets arrive.
fn input(bench: Bench, head: &str, block: &str) -> Outcome {
    bench
        .plugin("input.lua", &format!("{head}\nTrisulPlugin = {{ id = {{ name = 'input' }}, inputfilter = {{ {block} }} }}"))
        .counter("show.lua", IPV4, "", "local p = layer:packet() print('packet', (p:timestamp()), select(2, p:timestamp()), p:flowid():id(), p:wire_length(), p:num_layers())")
        .args(&["--args", "the argument"])
        .run_with(&[])
}

/// An IPv4 packet of UDP as a Lua string.
const UDP_PACKET: &str = r"'\69\0\0\30\0\1\0\0\64\17\0\0\10\0\0\5\10\0\0\9\18\52\0\53\0\10\0\0ab'";

#[test]
fn step_builds_packets_until_it_says_false() {
    let outcome = input(
        Bench::new(),
        "local n = 0",
        &format!(
            "step = function(packet, engine)
               n = n + 1
               if n == 1 then packet:set_packet(100, 250, 101, {UDP_PACKET}) return true end
               if n == 2 then return true end
               if n == 3 then packet:set_packet('101', '7', 228, {UDP_PACKET}) return true end
               if n == 4 then packet:set_packet(50, 0, 1, string.rep('\\0', 12) .. '\\8\\0' .. {UDP_PACKET}) return true end
               print('end', T.args, n, packet:num_layers(), packet:rawbytes():size())
               return false
             end"
        ),
    );
    outcome.exits(0);
    let id = "11A:0A.00.00.05:p-1234_0A.00.00.09:p-0035";
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "end\tthe argument\t5\t0\t0".to_owned(),
            format!("packet\t100\t250\t{id}\t30\t2"),
            format!("packet\t101\t7\t{id}\t30\t2"),
            format!("packet\t101\t7\t{id}\t44\t3"),
        ],
        "time never runs backwards"
    );
    assert_eq!(outcome.packets(), Some(3));
}

#[test]
fn a_packet_that_was_set_reads_as_such() {
    let show = "local function show(p)
        local secs, usecs = p:timestamp()
        local udp = p:find_layer('{14D7AB53-CC51-47E9-8814-9C06AAE60189}')
        print(secs, usecs, p:wire_length(), p:capture_length(), p:num_layers(), p:rawbytes():size(), p:flowid():id(),
          udp and udp:layer_bytes(), p:get_layer(p:num_layers() - 1):rawbytes():size())
        return p:get_layer(0)
      end";
    let outcome = input(
        Bench::new(),
        show,
        &format!(
            "step = function(packet, engine)
               packet:set_packet(100, 250, 101, {UDP_PACKET})
               local layer = show(packet)
               packet:set_packet(90, 0, 1, string.rep('\\0', 12) .. '\\8\\0' .. {UDP_PACKET})
               print(pcall(layer.layer_bytes, layer))
               show(packet)
               packet:set_packet(102, 0, 9999, 'abc')
               show(packet)
               return false
             end"
        ),
    );
    outcome.exits(0);
    let id = "11A:0A.00.00.05:p-1234_0A.00.00.09:p-0035";
    let lines = outcome.lines();
    assert_eq!(lines[0], format!("100\t250\t30\t30\t2\t30\t{id}\t8\t8"));
    assert!(lines[1].contains("ERR_STALE: Layer used outside its callback"), "{lines:?}");
    assert_eq!(lines[2], format!("100\t250\t44\t44\t3\t44\t{id}\t8\t8"), "time never runs backwards");
    assert_eq!(lines[3..], ["102\t0\t3\t3\t1\t3\t00A:00.00.00.00:p-0000_00.00.00.00:p-0000\tnil\t3"]);
    assert_eq!(outcome.packets(), Some(1), "the last one counts");
}

#[test]
fn step_ends_with_nil_and_nothing_too() {
    for answer in ["return nil", "", "return false"] {
        let outcome = input(Bench::new(), "", &format!("step = function() print('once') {answer} end"));
        outcome.prints(&["once"]);
    }
}

#[test]
fn step_feeds_metrics_and_flows_at_the_time_it_sets() {
    let flow = "06C:0A.00.00.05:p-9C40_0A.00.00.09:p-0019_C0.A8.00.01_00000011_00000008";
    let outcome = input(
        Bench::new().group(),
        "local times, n = { 100, '130.5', 90, 200 }, 0",
        &format!(
            "step = function(packet, engine)
               n = n + 1
               packet:set_timestamp(times[n])
               engine:update_counter('{GROUP}', 'k', 0, '1')
               engine:update_counter_bytes('{GROUP}', 'none', 0)
               engine:update_flow('{flow}', 0, 500) engine:update_flow_raw('{flow}', 2, 5)
               engine:new_flow_record('{flow}', 1, 2, 3, 4) engine:set_flow_duration('{flow}', 9.5) engine:tag_flow('{flow}', 'tag')
               print(engine:timestamp(), (packet:timestamp()))
               return n < 4
             end"
        ),
    );
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["100\t100", "130\t130", "130\t130", "200\t200"]);
    assert_eq!(outcome.total(GROUP, "k", 0).map(|total| total.updates), Some(4));
    assert_eq!(outcome.total(GROUP, "none", 0), None, "there is no packet to count");
    let rows: Vec<_> = outcome
        .fields("counter", &["key", "bucket", "values"])
        .into_iter()
        .filter(|row| row.starts_with("k\t"))
        .collect();
    assert_eq!(rows, ["k\t60\t[1,0]", "k\t120\t[2,0]", "k\t180\t[1,0]"]);
    assert_eq!(outcome.of("tag").len(), 4);
    assert_eq!(outcome.of("tag")[1]["t"].as_f64(), Some(130.5));
    assert!(outcome.of("flow_update").len() >= 4 * 3);
}

#[test]
fn an_error_counts_as_true_and_a_hundred_in_a_row_end_the_input() {
    let outcome = input(
        Bench::new(),
        "local n = 0",
        "step = function() n = n + 1 if n == 3 then return true end error('step ' .. n) end",
    );
    outcome.exits(1);
    assert_eq!(outcome.faults("input.lua"), 102, "2 before the good one, then 100: {}", outcome.stderr);
    assert!(!outcome.logged("ERROR", "inputfilter.step: ").is_empty(), "{}", outcome.stderr);
}

#[test]
fn fractions_of_seconds_become_the_nearest_microseconds() {
    let outcome = input(
        Bench::new(),
        "local times, n = { 1600000000.1, '1600000000.123', 1600000000.999999, 1600000000.9999999 }, 0",
        "step = function(packet) n = n + 1 packet:set_timestamp(times[n]) print(packet:timestamp()) return n < 4 end",
    );
    outcome.exits(0);
    let printed = ["1600000000\t100000", "1600000000\t123000", "1600000000\t999999", "1600000001\t0"];
    assert_eq!(outcome.lines(), printed);
}

#[test]
fn alerts_of_step_alert_are_metered() {
    let alert = |ports: &str, class: &str, secs: u32| {
        format!(
            "{{ AlertGroupGUID = '{ALERTS}', TimestampSecs = {secs}, SigIDKey = 'sig', SourceIP = '10.0.0.9', DestIP = '10.0.0.5',
               Protocol = 6, Priority = 2, {ports}, {class} }}"
        )
    };
    let ports = "SourcePort = 25, DestPort = 40000";
    let alerts =
        [alert(ports, "ClassificationKey = 'c'", 100), alert(ports, "ClassificationKey = 'd'", 200)].join(", ");
    let run = |step: &str| {
        let block = format!("{step} step_alert = function() return table.remove(alerts, 1) end");
        let outcome =
            input(Bench::new().args(&["--builtin", "all"]), &format!("local n, alerts = 0, {{ {alerts} }}"), &block);
        outcome.exits(0);
        outcome
    };
    let outcome = run("step = function(packet) n = n + 1 packet:set_timestamp(1000) return n < 3 end,");
    let sum = |guid: &str, key: &str, meter: u32| outcome.total(guid, key, meter).map(|total| total.sum);
    assert_eq!(sum("{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}", "sig", 0), Some(2.0), "signatures");
    assert_eq!(sum("{20BC4345-37F0-44D0-ABFF-3BED97363CB1}", "c", 0), Some(1.0), "classes");
    assert_eq!(sum("{9EFAFDD0-6CBB-4C04-8B13-2C8E0A9D3F85}", "2", 0), Some(2.0), "priorities");
    assert_eq!(sum("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", "0A.00.00.09", 5), Some(2.0), "attackers");
    assert_eq!(sum("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", "0A.00.00.05", 12), Some(2.0), "victims");
    // Without a clock of the script, alerts are counted at their own time.
    let outcome = run("step = function() n = n + 1 return n < 3 end,");
    let signatures = outcome.total("{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}", "sig", 0).map(|total| total.sum);
    assert_eq!(signatures, Some(2.0));
    let late = [1_700_000_100, 1_700_000_110, 1_700_000_500].map(|at| alert(ports, "ClassificationKey = 'c'", at));
    let monitor = "TrisulPlugin = { id = {}, cg_monitor = { counter_guid = '{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}',
        onflush = function(engine, time, key, values) print(time, key, values[1]) end } }";
    let outcome = input(
        Bench::new().args(&["--builtin", "all"]).plugin("m.lua", monitor),
        &format!("local n, alerts = 0, {{ {} }}", late.join(", ")),
        "step = function() n = n + 1 return n < 3 end, step_alert = function() return table.remove(alerts, 1) end",
    );
    outcome.exits(0);
    assert_eq!(
        outcome.printed_by("m.lua"),
        [
            "1700000100\tsig\t2",
            "1700000100\tSYS:GROUP_TOTALS\t2",
            "1700000400\tsig\t1",
            "1700000400\tSYS:GROUP_TOTALS\t1"
        ]
    );
}

#[test]
fn the_time_of_a_packet_that_was_set_can_be_set_again() {
    let outcome = input(
        Bench::new(),
        "",
        &format!(
            "step = function(packet)
               packet:set_packet(100, 0, 101, {UDP_PACKET})
               packet:set_timestamp(200, 7)
               print('step', packet:timestamp())
               return false
             end"
        ),
    );
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["packet\t200\t7\t11A:0A.00.00.05:p-1234_0A.00.00.09:p-0035\t30\t2", "step\t200\t7"]);
}

#[test]
fn an_input_filter_that_is_not_the_input_is_told_of() {
    let filter = "TrisulPlugin = { id = {}, inputfilter = { step = function() print('asked') return false end } }";
    let bench = || Bench::new().plugin("a.lua", filter).plugin("b.lua", filter).plugin("sub/c.lua", "return 1");
    let said = |outcome: &Outcome, script: &str| {
        outcome.by("log", script).iter().map(|line| format!("{} {}", line["level"], line["text"])).collect::<Vec<_>>()
    };
    let outcome = bench().run_with(&[]);
    outcome.exits(0);
    assert_eq!((outcome.printed_by("a.lua"), outcome.printed_by("b.lua")), (vec!["asked"], vec![]));
    assert!(said(&outcome, "a.lua").is_empty());
    assert_eq!(said(&outcome, "b.lua"), [r#""NOTICE" "inputfilter: not used, a.lua is the input; there can be one""#]);
    // Those that lie about in a folder are no input, and nothing to speak of; those that were named are.
    let (capture, bench) = (Capture::udp(1, 100), bench());
    let outcome = bench.run(&capture);
    assert!(outcome.exits(0).lines().is_empty() && said(&outcome, "a.lua").is_empty());
    let outcome = bench.plugin_paths(&["plugins/b.lua"]).run(&capture);
    assert!(outcome.exits(0).lines().is_empty());
    assert_eq!(said(&outcome, "b.lua"), [r#""NOTICE" "inputfilter: not used, the packets are those of -r or -i""#]);
}

#[test]
fn step_alert_returns_tables() {
    let outcome = input(
        Bench::new(),
        "local n, alerts = 0, {
           { AlertGroupGUID = '{9afd8c08-07eb-47e0-bf05-28b4a7ae8dc9}', TimestampSecs = 100, TimestampUsecs = '5', SigIDKey = 1234,
             SigIDLabel = 'a label', SensorID = 1, ProtocolFamily = 0, SourceIP = '10.0.0.9', DestIP = '10.0.0.5', SourcePort = 25,
             DestPort = '40000', Protocol = 6, SigGenerator = 3, SigRev = 2, ClassificationKey = 7, Priority = 3, EventID = 9,
             AcknowledgeFlag = 1, AlertDetails = 'details', AlertStatus = 'FIRED', helper = {} },
           { AlertGroupGUID = '{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}', TimestampSecs = 101, SigIDKey = 'sig', SigIDKeyLabel = 'key label',
             SigIDLabel = 'not this', SourcePort = 'icmp01' },
           { TimestampSecs = 1, SigIDKey = 'no group' }, { AlertGroupGUID = '{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}', SigIDKey = 'no time' },
           { AlertGroupGUID = '{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}', TimestampSecs = 1 },
         }",
        "step = function() n = n + 1 return n < 3 end, step_alert = function() return table.remove(alerts, 1) end",
    );
    outcome.exits(0);
    let events = outcome.of("alert");
    assert_eq!(events.len(), 2, "{}", outcome.stderr);
    let field = |index: usize, name: &str| {
        events[index][name].as_str().map_or_else(|| events[index][name].to_string(), str::to_owned)
    };
    for (name, value) in [
        ("guid", ALERTS),
        ("kind", "ids"),
        ("sigid", "1234"),
        ("message", "a label"),
        ("source_ip", "10.0.0.9"),
        ("destination_ip", "10.0.0.5"),
        ("source_port", "25"),
        ("destination_port", "40000"),
        ("protocol", "6"),
        ("sig_rev", "2"),
        ("classification", "7"),
        ("priority", "3"),
        ("status", "FIRED"),
        ("extra_message", "details"),
        ("flow", "06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019"),
        ("time", "100.000005"),
    ] {
        assert_eq!(field(0, name), value, "{name}");
    }
    for (name, value) in [
        ("sigid", "sig"),
        ("message", "key label"),
        ("source_ip", "0.0.0.0"),
        ("destination_ip", "0.0.0.0"),
        ("source_port", "icmp01"),
        ("destination_port", "0"),
        ("classification", "c-xx"),
        ("priority", "1"),
        ("status", "ALARM"),
    ] {
        assert_eq!(field(1, name), value, "{name}");
    }
    let signatures = "{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}";
    let labels: Vec<_> = outcome
        .fields("keyinfo", &["guid", "key", "label"])
        .into_iter()
        .filter(|row| row.starts_with(signatures))
        .collect();
    assert_eq!(labels, [format!("{signatures}\t1234\ta label"), format!("{signatures}\tsig\tkey label")]);
    for missing in ["AlertGroupGUID", "TimestampSecs", "SigIDKey"] {
        assert_eq!(outcome.logged("WARN", missing).len(), 1, "{missing}: {}", outcome.stderr);
    }
}

#[test]
fn fields_of_step_alert_are_converted_as_arguments_are() {
    let outcome = input(
        Bench::new(),
        "local G = '{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}'
         local n, alerts = 0, {
           { AlertGroupGUID = G, TimestampSecs = 100LL, TimestampUsecs = 5ULL, SigIDKey = 7ULL, Priority = ' 2 ', Protocol = 6LL,
             SourceIP = '10.0.0.9', DestIP = '10.0.0.5', SourcePort = 25LL, DestPort = 40000 },
           { AlertGroupGUID = G, TimestampSecs = '0x65', SigIDKey = 1e15, ClassificationKey = 1.5 },
           { AlertGroupGUID = G, TimestampSecs = true, SigIDKey = 'no time' },
           { AlertGroupGUID = G, TimestampSecs = 102, SigIDKey = {} },
         }",
        "step = function() n = n + 1 return n < 3 end, step_alert = function() return table.remove(alerts, 1) end",
    );
    outcome.exits(0);
    let names = ["time", "sigid", "priority", "classification", "source_port", "flow"];
    assert_eq!(
        outcome.fields("alert", &names),
        [
            "100.000005\t7\t2\tc-xx\t25\t06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019",
            "101\t1e+15\t1\t1.5\t0\t00A:00.00.00.00:p-0000_00.00.00.00:p-0000",
        ],
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_flow_of_an_alert_has_ports_only_where_the_protocol_has() {
    let outcome = input(
        Bench::new(),
        "local n, alerts = 0, {
           { AlertGroupGUID = '{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}', TimestampSecs = 1, SigIDKey = 'ping', Protocol = 1,
             SourceIP = '10.0.0.9', DestIP = '10.0.0.5', SourcePort = 8, DestPort = '0' },
         }",
        "step = function() n = n + 1 return n < 3 end, step_alert = function() return table.remove(alerts, 1) end",
    );
    outcome.exits(0);
    let flow = "01A:0A.00.00.05:p-0000_0A.00.00.09:p-0000";
    assert_eq!(outcome.fields("alert", &["flow", "source_port"]), [format!("{flow}\t8")]);
}

#[test]
fn a_link_type_out_of_range_is_one_that_nobody_knows() {
    let outcome = Bench::new()
        .plugin(
            "input.lua",
            "local n, types = 0, { -1, 0 / 0, 1e300, 65536 }
             local ip = '\\69\\0\\0\\28\\0\\0\\0\\0\\64\\17\\0\\0\\10\\0\\0\\1\\10\\0\\0\\2\\0\\7\\0\\9\\0\\8\\0\\0'
             TrisulPlugin = { id = { name = 'in' },
               inputfilter = { step = function(packet)
                 n = n + 1
                 packet:set_packet(n, 0, types[n], '\\2\\0\\0\\0' .. ip)
                 return n < 4 end },
               simplecounter = { protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}',
                 onpacket = function(engine, layer) print(layer:packet():timestamp()) end } }",
        )
        .run_with(&[]);
    outcome.prints(&[]);
    assert_eq!(outcome.packets(), Some(4));
}

#[test]
fn an_input_filter_is_not_used_for_ordinary_runs() {
    let outcome = Bench::new()
        .plugin(
            "input.lua",
            "TrisulPlugin = { id = {}, inputfilter = { step = function() print('never') return false end } }",
        )
        .counter("show.lua", IPV4, "", "print('from the file')")
        .run(&crate::support::Capture::udp(1, 100));
    outcome.prints(&["from the file"]);
}

#[test]
fn messages_and_jobs_work_in_an_input_filter() {
    let outcome = Bench::new()
        .plugin(
            "input.lua",
            &format!(
                "local n, heard = 0, 0
                 TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) heard = heard + 1 end,
                   onunload = function() print('input heard', heard > 0) end,
                   inputfilter = {{ step = function(packet, engine)
                     n = n + 1
                     packet:set_packet(100 + n, 0, 101, {UDP_PACKET})
                     if n == 1 then engine:post_message_frontend('from the input')
                       T.async:schedule {{ data = 'd', onexecute = function(d) return d .. 'r' end, onresult = function(e, d, r) print('result', r) end }} end
                     return n < 50 end }} }}"
            ),
        )
        .plugin(
            "hear.lua",
            &format!(
                "TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) print('heard', m) end,
                   simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
            ),
        )
        .run_with(&[]);
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["heard\tfrom the input", "input heard\ttrue", "result\tdr"]);
}

#[test]
fn an_alert_whose_metatable_does_not_return_is_given_up() {
    let outcome = input(
        Bench::new().args(&["--callback-budget", "100"]),
        "local n, told = 0, false",
        "step = function() n = n + 1 return n < 3 end,
         step_alert = function()
           if told then return nil end
           told = true
           return setmetatable({}, { __index = function() while true do end end })
         end",
    );
    outcome.exits(1);
    assert_eq!(outcome.logged("ERROR", "inputfilter.step_alert: ").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.logged("ERROR", "exceeded its time budget of 100 ms").len(), 1, "{}", outcome.stderr);
}
