//! The blocks that hear of flows, callback by callback.

use crate::support::conversation::{Conversation, Side};
use crate::support::frames::{ACK, SYN, ether, ipv6, tcp, udp_packet};
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome, TCP};

const FLOW: &str = "06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019";

/// A plugin with one block.
fn block(name: &str, body: &str) -> String {
    format!("local seen = {{}}\nTrisulPlugin = {{ id = {{ name = 't' }}, {name} = {{ {body} }} }}\n")
}

/// A `reassembly_handler` that prints every callback.
const TALKER: &str = "
  filter = function(engine, ts, flow) print('filter', ts, flow:id()) end,
  onnewflow = function(engine, ts, flow) print('new', ts, flow:id()) end,
  onpayload = function(engine, ts, flow, dir, pos, buf) print('payload', ts, dir, pos, buf:tostring()) end,
  onattribute = function(engine, ts, flow, name, value) print('attribute', ts, name, value) end,
  onterminateflow = function(engine, ts, flow) print('end', ts, flow:id()) end,";

fn run(name: &str, body: &str, capture: &Capture) -> Outcome {
    Bench::new().group().plugin("t.lua", &block(name, body)).run(capture)
}

fn smtp() -> Conversation {
    Conversation::open(40000, 25)
}

#[test]
fn example_3_reassembly() {
    let body = r#"
    filter = function(engine, ts, flow) return flow:portz_readable() == "25" end,
    onnewflow = function(engine, ts, flow) print("new", flow:id()) end,
    onpayload = function(engine, ts, flow, dir, pos, buf) print(dir, pos, buf:size(), buf:tostring(0, 4)) end,
    onterminateflow = function(engine, ts, flow) print("end", flow:id()) end,"#;
    let capture = smtp()
        .ahead(Side::Client, 2, b"LO a\r\n")
        .client(b"EH")
        .sent(Side::Client, 6)
        .server(b"250 ok\r\n")
        .close()
        .then(40001, 26)
        .client(b"not followed")
        .capture();
    let new = format!("new\t{FLOW}");
    let end = format!("end\t{FLOW}");
    run("reassembly_handler", body, &capture).prints(&[&new, "1\t0\t2\tEH", "1\t2\t6\tLO a", "0\t0\t8\t250 ", &end]);
}

#[test]
fn callbacks_of_a_flow_come_in_order_with_the_time_of_their_packet() {
    let capture = smtp().wait(1).client(b"a").wait(1).server(b"b").wait(1).close().capture();
    let outcome = run("reassembly_handler", TALKER, &capture);
    outcome.prints(&[
        &format!("filter\t100\t{FLOW}"),
        &format!("new\t100\t{FLOW}"),
        "attribute\t100\t\t",
        "payload\t101\t1\t0\ta",
        "payload\t102\t0\t0\tb",
        "attribute\t103\t^D\t",
        &format!("end\t103\t{FLOW}"),
    ]);
}

#[test]
fn a_no_is_individual_and_everything_else_is_a_yes() {
    let vote = |answer: &str| {
        let rest = TALKER.split_once("onnewflow").map_or("", |(_, rest)| rest);
        block("reassembly_handler", &format!("filter = function() {answer} end, onnewflow{rest}"))
    };
    let outcome = Bench::new()
        .plugin("a-no.lua", &vote("return false"))
        .plugin("b-nil.lua", &vote(""))
        .plugin("c-zero.lua", &vote("return 0"))
        .plugin("d-error.lua", &vote("error('x')"))
        .run(&smtp().client(b"x").close().capture());
    outcome.exits(1);
    assert!(outcome.printed_by("a-no.lua").is_empty(), "{:?}", outcome.lines());
    for yes in ["b-nil.lua", "c-zero.lua", "d-error.lua"] {
        assert_eq!(outcome.printed_by(yes).len(), 5, "{yes}: {:?}", outcome.printed_by(yes));
    }
    assert_eq!(outcome.faults("d-error.lua"), 1);
}

#[test]
fn nothing_but_tcp_is_filtered() {
    let capture = Capture::udp(3, 100);
    run("reassembly_handler", TALKER, &capture).prints(&[]);
}

#[test]
fn the_client_is_the_sender_of_the_syn_even_with_the_lower_port() {
    let capture = Conversation::open(25, 40000).client(b"up").server(b"down").close().capture();
    run(
        "reassembly_handler",
        "onpayload = function(e, ts, f, dir, pos, buf) print(dir, buf:tostring(), f:portz_readable()) end",
        &capture,
    )
    .prints(&["1\tup\t25", "0\tdown\t25"]);
}

#[test]
fn without_a_syn_the_sender_of_the_first_packet_is_the_client() {
    let capture = Conversation::new(40000, 25).server(b"first").client(b"second").capture();
    let body = "onpayload = function(e, ts, f, dir, pos, buf) print(dir, pos, buf:tostring()) end";
    run("reassembly_handler", body, &capture).prints(&["1\t0\tfirst", "0\t0\tsecond"]);
    let capture =
        Conversation::new(40000, 25).flags(Side::Server, SYN | ACK).flags(Side::Client, ACK).client(b"up").capture();
    run("reassembly_handler", body, &capture).prints(&["1\t0\tup"]);
}

#[test]
fn a_hole_is_skipped_at_the_end_of_the_flow() {
    let capture = smtp().client(b"abc").ahead(Side::Client, 10, b"xyz").capture();
    let body = "onpayload = function(e, ts, f, dir, pos, buf) print(dir, pos, buf:tostring()) end";
    run("reassembly_handler", body, &capture).prints(&["1\t0\tabc", "1\t13\txyz"]);
}

#[test]
fn retransmitted_bytes_are_delivered_once() {
    let capture = smtp()
        .client(b"abcdef")
        .ahead(Side::Client, 0_u32.wrapping_sub(3), b"defghi")
        .sent(Side::Client, 3)
        .client(b"jkl")
        .capture();
    let body = "onpayload = function(e, ts, f, dir, pos, buf) print(pos, buf:tostring()) end";
    run("reassembly_handler", body, &capture).prints(&["0\tabcdef", "6\tghi", "9\tjkl"]);
}

#[test]
fn segments_are_not_merged() {
    let capture = (0..5).fold(smtp(), |c, _| c.client(&[b'.'; 76])).capture();
    let body = "onpayload = function(e, ts, f, dir, pos, buf) print(pos, buf:size()) end";
    run("reassembly_handler", body, &capture).prints(&["0\t76", "76\t76", "152\t76", "228\t76", "304\t76"]);
}

#[test]
fn the_current_packet_is_the_one_that_completed_the_data() {
    let body = format!(
        "onpayload = function(engine, ts, f, dir, pos, buf)
           engine:update_counter_bytes('{GROUP}', 'k' .. pos, 0) print(engine:timestamp() == ts) end"
    );
    let capture = smtp().client(&[b'a'; 46]).ahead(Side::Client, 10, b"late").client(&[b'b'; 10]).capture();
    let outcome = run("reassembly_handler", &body, &capture);
    outcome.prints(&["true", "true", "true"]);
    let total = |key: &str| outcome.total(GROUP, key, 0).map(|total| total.sum);
    assert_eq!([total("k0"), total("k46"), total("k56")], [Some(100.0), Some(64.0), Some(64.0)]);
}

#[test]
fn a_buffer_is_stale_after_its_callback() {
    let body = "
      onpayload = function(e, ts, f, dir, pos, buf)
        if seen.buf then print(pcall(seen.buf.size, seen.buf)) end
        seen.buf = buf
        print(buf:hval_8(0), buf:hval_16(1), buf:hexdump(0, 2))
      end,
      onterminateflow = function() print(pcall(seen.buf.tostring, seen.buf)) end";
    let outcome = run("reassembly_handler", body, &smtp().client(b"abc").client(b"def").close().capture());
    outcome.exits(0);
    let lines = outcome.lines();
    assert!(
        lines.iter().filter(|line| line.contains("ERR_STALE: Buffer used outside its callback")).count() == 2,
        "{lines:?}"
    );
    assert!(lines[0].starts_with("97\t25187\t00000000   61 62"), "{lines:?}");
}

#[test]
fn a_flow_is_the_same_object_in_every_callback_of_a_vm() {
    let body = "
      onnewflow = function(e, ts, flow) seen[flow] = 'kept' end,
      onpayload = function(e, ts, flow) print(seen[flow], flow:id()) end,
      onterminate = function(e, ts, flow) print(seen[flow]) seen.last = flow print(seen.last:porta_readable()) end";
    let line = format!("kept\t{FLOW}");
    run("reassembly_handler", body, &smtp().client(b"x").server(b"y").close().capture())
        .prints(&[&line, &line, "kept", "40000"]);
}

#[test]
fn a_flow_is_the_same_object_for_a_function_that_a_callback_hands_it_to() {
    let body = "
      onnewflow = function(e, ts, flow)
        remember(seen, flow)
      end,
      onpayload = function(e, ts, flow)
        print(seen[flow])
      end";
    let head = "local function remember(seen, flow) seen[flow] = flow:porta_readable() end\n";
    let outcome = Bench::new()
        .plugin("t.lua", &format!("{head}{}", block("reassembly_handler", body)))
        .run(&smtp().client(b"x").server(b"y").close().capture());
    outcome.prints(&["40000", "40000"]);
}

#[test]
fn a_flow_that_no_callback_keeps_says_the_same_each_time() {
    let body = "
      onnewflow = function(engine, ts, flow)
        print(flow:id(), flow:to_s())
      end,
      onpayload = function(engine, ts, flow, dir, pos, buf)
        print(flow:id(), flow:portz(), buf:size(), flow == nil)
        engine:disable_reassembly(flow)
      end,
      onterminateflow = function(engine, ts, flow)
        print(flow:id(), flow:ipa())
      end";
    run("reassembly_handler", body, &smtp().client(b"x").server(b"y").close().capture()).prints(&[
        &format!("{FLOW}\tTCP  10.0.0.5        40000 10.0.0.9        25   "),
        &format!("{FLOW}\tp-0019\t1\tfalse"),
        &format!("{FLOW}\t0A.00.00.05"),
    ]);
}

#[test]
fn a_flow_of_ipv6_says_what_it_is_in_every_callback_and_packet() {
    let packet = ether(&ipv6("fe80::1", "fe80::2", 6, &tcp((40000, 25), ACK, &[], b"a")));
    let body = "
      onnewflow = function(engine, ts, flow) print(flow:id()) end,
      onpayload = function(engine, ts, flow, dir, pos, buf)
        print(flow:portz_readable(), flow:flow_type(), buf:tostring())
        engine:disable_reassembly(flow)
      end,
      onterminateflow = function(engine, ts, flow) print(flow:ipa_readable(), flow:ipz_readable(), flow:portz()) end
    }, simplecounter = {
      protocol_guid = '{77E462AB-2E42-42EC-9A58-C1A6821D6B31}',
      onpacket = function(engine, layer)
        local flow = layer:packet():flowid()
        print(flow:porta_readable(), flow == layer:packet():flowid(), flow == layer:flowkey(), flow == nil)
      end,";
    let id = "06B:FE800000000000000000000000000001:p-9C40_FE800000000000000000000000000002:p-0019";
    run("reassembly_handler", body, &Capture::new().at(100, packet)).prints(&[
        "40000\ttrue\tfalse\tfalse",
        id,
        "25\tB\ta",
        "fe80::1\tfe80::2\tp-0019",
    ]);
}

#[test]
fn a_flow_that_a_script_keeps_tells_its_parts_in_any_order_after_its_end() {
    let body = "onnewflow = function(e, ts, flow)
      local f = seen[1]
      seen[1] = flow
      if not f then return end
      print(f:portz_readable(), f:ipa(), f:portz_readable(), f:ipa(), f:protocol(), f:netflow_router())
      print(f:id(), f:ipz_readable(), f:flow_type(), tostring(f), f == f, f == flow)
      print(flow == seen[1], flow:id())
    end,";
    let capture = smtp().client(b"a").close().wait(10).then(40001, 26).client(b"b").capture();
    run("reassembly_handler", body, &capture).prints(&[
        "25\t0A.00.00.05\t25\t0A.00.00.05\t06\t",
        &format!("{FLOW}\t10.0.0.9\tA\tFlowID: {FLOW}\ttrue\tfalse"),
        "true\t06A:0A.00.00.05:p-9C41_0A.00.00.09:p-001A",
    ]);
}

#[test]
fn an_attribute_that_a_library_adds_is_announced_when_the_callback_has_returned() {
    let body = "
      onpayload = function(engine, ts, flow, dir, pos, buf) say(engine, flow) print('payload', pos) end,
      onattribute = function(engine, ts, flow, name, value) print('attribute', name, value) end";
    let head = "local say = require 'say'\n";
    let outcome = Bench::new()
        .file("plugins/say.lua", "return function(engine, flow) engine:add_flow_attribute(flow, 'said', 'x') end")
        .plugin("t.lua", &format!("{head}{}", block("reassembly_handler", body)))
        .run(&smtp().client(b"one").client(b"two").close().capture());
    outcome.prints(&[
        "attribute\t\t",
        "payload\t0",
        "attribute\tsaid\tx",
        "payload\t3",
        "attribute\tsaid\tx",
        "attribute\t^D\t",
    ]);
}

#[test]
fn onterminate_is_used_only_without_onterminateflow() {
    let alias = "onterminate = function() print('alias') end";
    run("reassembly_handler", alias, &smtp().close().capture()).prints(&["alias"]);
    let both = format!("{alias}, onterminateflow = function() print('flow') end");
    run("reassembly_handler", &both, &smtp().close().capture()).prints(&["flow"]);
}

#[test]
fn flows_end_by_reset_timeout_and_the_end_of_input() {
    let body = "onterminateflow = function(e, ts, flow) print(ts, flow:porta_readable()) end";
    let capture = smtp().reset().then(40001, 25).wait(400).then(40002, 25).capture();
    let outcome = run("reassembly_handler", body, &capture);
    outcome.prints(&["100\t40000", "500\t40001", "500\t40002"]);
    let reasons = outcome.fields("flow", &["reason"]);
    assert_eq!(reasons, ["rst", "idle", "end"]);
}

#[test]
fn onattribute_knows_the_older_order_of_parameters_by_their_names() {
    let handler = |parameters: &str| {
        block(
            "reassembly_handler",
            &format!("onattribute = function({parameters}) print(type(timestamp), flow:id(), #name) end"),
        )
    };
    let capture = smtp().capture();
    for parameters in ["engine, flow, timestamp, name, value", "engine, timestamp, flow, name, value"] {
        let outcome = Bench::new().plugin("t.lua", &handler(parameters)).run(&capture);
        outcome.prints(&[&format!("number\t{FLOW}\t0"), &format!("number\t{FLOW}\t2")]);
    }
    let other =
        block("reassembly_handler", "onattribute = function(engine, flowish, x, name) print(type(flowish)) end");
    Bench::new().plugin("t.lua", &other).run(&capture).prints(&["number", "number"]);
}

#[test]
fn with_a_list_of_names_only_those_attributes_are_told() {
    let list = "attribute_names = { 'SNI', '^D' },";
    let handler = "onattribute = function(engine, ts, flow, name, value) print('h', flow:id(), name, value) end,";
    let older = "onattribute = function(engine, flow, timestamp, name, value) print('o', flow:id(), name, value) end,";
    let monitor = "onflowattribute = function(engine, flow, ts, name, value) print('m', flow:id(), name, value) end";
    let adder = "onpayload = function(engine, ts, flow, dir, pos, buf)
        engine:add_flow_attribute(flow, 'other', 'x') engine:add_flow_attribute(flow, 'SNI', buf:tostring()) end";
    let outcome = Bench::new()
        .plugin("a.lua", &block("reassembly_handler", &format!("{list} {handler}")))
        .plugin("b.lua", &block("reassembly_handler", &format!("{list} {older}")))
        .plugin("c.lua", &block("flowmonitor", &format!("attribute_names = {{ '' }}, {monitor}")))
        .plugin("d.lua", &block("reassembly_handler", adder))
        .run(&smtp().client(b"one").close().capture());
    let of = |who: &str, told: &str| format!("{who}\t{FLOW}\t{told}");
    let expected = [of("m", "\t"), of("h", "SNI\tone"), of("o", "SNI\tone"), of("h", "^D\t"), of("o", "^D\t")];
    outcome.prints(&expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_list_of_names_is_a_list_of_strings() {
    for list in ["'SNI'", "{ 1 }"] {
        let body = format!("attribute_names = {list}, onattribute = function() print('called') end");
        let outcome = Bench::new().plugin("t.lua", &block("reassembly_handler", &body)).run(&smtp().capture());
        assert!(outcome.lines().is_empty());
    }
}

#[test]
fn flowmonitor_gets_flow_before_timestamp_and_every_flow() {
    let body = "onflowattribute = function(engine, flow, timestamp, name, value)
        print(flow:id(), timestamp, name, value:tostring(), value:size()) end";
    run("flowmonitor", body, &smtp().wait(2).close().capture())
        .prints(&[&format!("{FLOW}\t100\t\t\t0"), &format!("{FLOW}\t102\t^D\t\t0")]);
}

#[test]
fn attributes_of_scripts_are_announced_to_all_after_the_callback() {
    let listener = "onattribute = function(engine, ts, flow, name, value)
        if name == 'SNI' then print(value, flow:id()) end end,";
    let adder = format!(
        "{listener} onpayload = function(engine, ts, flow, dir, pos, buf)
           engine:add_flow_attribute(flow, 'SNI', buf:tostring()) print('said', buf:tostring()) end"
    );
    let outcome = Bench::new()
        .plugin("a-listen.lua", &block("reassembly_handler", listener))
        .plugin("b-add.lua", &block("reassembly_handler", &adder))
        .plugin(
            "c-monitor.lua",
            &block(
                "flowmonitor",
                "onflowattribute = function(e, flow, ts, name, value) if name == 'SNI' then print('m', value) end end",
            ),
        )
        .run(&smtp().client(b"one").client(b"two").capture());
    outcome.prints(&[
        "said\tone",
        &format!("one\t{FLOW}"),
        &format!("one\t{FLOW}"),
        "m\tone",
        "said\ttwo",
        &format!("two\t{FLOW}"),
        &format!("two\t{FLOW}"),
        "m\ttwo",
    ]);
    let events = outcome.by("flow_attribute", "b-add.lua");
    assert_eq!(events.len(), 2);
}

#[test]
fn attributes_said_while_a_flow_begins_are_announced_when_all_know_it() {
    let tells = |name: &str| format!("print('{name}', name, value)");
    let adder = format!(
        "filter = function(engine, ts, flow) engine:add_flow_attribute(flow, 'SNI', 1) end,
         onnewflow = function(engine, ts, flow) print('new') engine:add_flow_attribute(flow:id(), 'SNI', 2) end,
         onattribute = function(engine, ts, flow, name, value) {}
           if name == '' then engine:add_flow_attribute(flow, 'SNI', 3) end end",
        tells("a")
    );
    let refuser =
        "filter = function() return false end, onattribute = function(e, ts, flow, name) print('never', name) end";
    let monitor = format!("onflowattribute = function(e, flow, ts, name, value) {} end", tells("c"));
    let outcome = Bench::new()
        .plugin("a.lua", &block("reassembly_handler", &adder))
        .plugin("b.lua", &block("reassembly_handler", refuser))
        .plugin("c.lua", &block("flowmonitor", &monitor))
        .run(&smtp().capture());
    outcome.prints(&[
        "new",
        "a\t\t",
        "c\t\t",
        "a\tSNI\t1",
        "c\tSNI\t1",
        "a\tSNI\t2",
        "c\tSNI\t2",
        "a\tSNI\t3",
        "c\tSNI\t3",
        "a\t^D\t",
        "c\t^D\t",
    ]);
}

#[test]
fn attributes_are_announced_even_if_the_name_of_the_method_is_put_together() {
    let adder = "onattribute = function(engine, ts, flow, name, value) if name == 'x' then print(name, value) end end,
      onpayload = function(engine, ts, flow) engine['add_flow_' .. 'attribute'](engine, flow, 'x', 'y') end";
    run("reassembly_handler", adder, &smtp().client(b"a").client(b"b").capture()).prints(&["x\ty", "x\ty"]);
}

#[test]
fn attributes_that_lead_to_each_other_end_at_depth_8() {
    let body = "onattribute = function(engine, ts, flow, name, value)
        if name == '' then engine:add_flow_attribute(flow, 'n', 1) end
        if name == 'n' then print(value) engine:add_flow_attribute(flow, 'n', value + 1) end end";
    let outcome = run("reassembly_handler", body, &smtp().capture());
    outcome.prints(&["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(outcome.logged("WARN", "8 deep").len(), 1);
    assert_eq!(outcome.dropped("flow_notes_dropped"), 1);
}

#[test]
fn attributes_that_lead_to_many_others_end_at_a_thousand() {
    let body = "onattribute = function(engine, ts, flow, name, value)
        if name == '' or name == 'n' then for i = 1, 6 do engine:add_flow_attribute(flow, 'n', i) end end
        if name == 'n' then N = (N or 0) + 1 elseif name == '^D' then print(N) end end";
    let outcome = run("reassembly_handler", body, &smtp().capture());
    outcome.prints(&["1006"]);
    assert_eq!(outcome.logged("WARN", "more than 1000 announcements").len(), 1);
    assert!(outcome.dropped("flow_notes_dropped") > 0);
}

/// A handler, and in the same file a counter that adds an attribute to the flow of its `n`th packet.
fn with_sayer(body: &str, n: u32) -> String {
    format!(
        "{body} }}, simplecounter = {{ protocol_guid = '{TCP}', onpacket = function(engine, layer)
           seen.n = (seen.n or 0) + 1
           if seen.n == {n} then engine:add_flow_attribute(layer:packet():flowid(), 'SC', 'v') end end"
    )
}

#[test]
fn attributes_of_packet_callbacks_come_before_the_flow_events_of_the_packet() {
    run("reassembly_handler", &with_sayer(TALKER, 4), &smtp().client(b"a").capture()).prints(&[
        &format!("filter\t100\t{FLOW}"),
        &format!("new\t100\t{FLOW}"),
        "attribute\t100\t\t",
        "attribute\t100\tSC\tv",
        "payload\t100\t1\t0\ta",
        "attribute\t100\t^D\t",
        &format!("end\t100\t{FLOW}"),
    ]);
}

#[test]
fn attributes_of_packet_callbacks_come_behind_the_start_of_the_flow() {
    let with = |answer: &str, names: &str| {
        let body = format!(
            "{names} filter = function() print('filter') return {answer} end,
             onattribute = function(e, ts, flow, name) print('attr', name) end"
        );
        run("reassembly_handler", &with_sayer(&body, 1), &smtp().close().capture())
    };
    with("false", "").prints(&["filter"]);
    with("true", "").prints(&["filter", "attr\t", "attr\tSC", "attr\t^D"]);
    with("true", "attribute_names = { 'SC' },").prints(&["filter", "attr\tSC"]);
}

#[test]
fn attributes_of_scripts_that_hear_of_none_come_behind_the_start_of_the_flow() {
    let adder = |callback: &str| {
        format!("{callback} = function(engine, ts, flow) engine:add_flow_attribute(flow, '{callback}', 'v') end,")
    };
    let hears = "onattribute = function(e, ts, flow, name) print('attr', name) end";
    for answer in ["false", "true"] {
        let outcome = Bench::new()
            .plugin("a.lua", &block("packet_storage", &adder("filter")))
            .plugin("b.lua", &block("reassembly_handler", &adder("onnewflow")))
            .plugin("c.lua", &block("reassembly_handler", &format!("filter = function() return {answer} end, {hears}")))
            .run(&smtp().capture());
        match answer {
            "true" => outcome.prints(&["attr\t", "attr\tfilter", "attr\tonnewflow", "attr\t^D"]),
            _ => outcome.prints(&[]),
        };
    }
}

#[test]
fn what_packet_storage_says_while_a_flow_begins_waits_for_the_start() {
    let storage = "onmessage = function() end,
      packet_storage = { filter = function(engine, ts, flow) engine:add_flow_attribute(flow, 'PS', 'v') end }";
    let handler = "filter = function() print('filter') end, onattribute = function(e, ts, flow, name) print(name) end";
    Bench::new()
        .plugin("a.lua", &format!("TrisulPlugin = {{ id = {{}}, {storage} }}"))
        .plugin("b.lua", &block("reassembly_handler", handler))
        .run(&smtp().capture())
        .prints(&["filter", "", "PS", "^D"]);
}

#[test]
fn what_is_said_of_a_flow_at_its_end_is_recorded_and_not_announced() {
    let handler = "
      onattribute = function(engine, ts, flow, name)
        print('attr', name)
        if name == '^D' then engine:add_flow_attribute(flow, 'at ^D', 1) end
      end,
      onterminateflow = function(engine, ts, flow) print('end') engine:add_flow_attribute(flow, 'LAST', 1) end },
      flowmonitor = { onflowattribute = function(engine, flow, ts, name) print('monitor', name) end";
    let body = "onterminateflow = function(engine, ts, flow) engine:add_flow_attribute(flow:id(), 'SILENT', 1) end";
    let outcome = Bench::new()
        .plugin("a.lua", &block("reassembly_handler", handler))
        .plugin("b.lua", &block("reassembly_handler", body))
        .run(&smtp().close().capture());
    outcome.prints(&["attr\t", "monitor\t", "attr\t^D", "attr\tat ^D", "monitor\tat ^D", "monitor\t^D", "end"]);
    assert_eq!(outcome.fields("flow_attribute", &["script", "name"])[1..].len(), 4, "{:?}", outcome.event_lines);
}

#[test]
fn disable_reassembly_is_for_the_calling_script_alone() {
    let quiet = "onpayload = function(engine, ts, flow, dir, pos, buf) print(buf:tostring()) engine:disable_reassembly(flow:id()) end,
      onterminateflow = function() print('end') end";
    let outcome = Bench::new()
        .plugin("a-quiet.lua", &block("reassembly_handler", quiet))
        .plugin(
            "b-all.lua",
            &block("reassembly_handler", "onpayload = function(e, ts, flow, dir, pos, buf) print(buf:tostring()) end"),
        )
        .run(&smtp().client(b"1").client(b"2").server(b"3").close().capture());
    outcome.exits(0);
    assert_eq!(outcome.printed_by("a-quiet.lua"), ["1", "end"]);
    assert_eq!(outcome.printed_by("b-all.lua"), ["1", "2", "3"]);
}

#[test]
fn an_error_in_one_callback_stops_nothing() {
    let body = "onnewflow = function() error('new') end, onpayload = function(e, ts, f, dir, pos, buf) print(pos) error('payload') end,
      onterminateflow = function() print('end') end";
    let outcome = run("reassembly_handler", body, &smtp().client(b"a").client(b"b").close().capture());
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["0", "1", "end"]);
    let faults = outcome.fields("fault", &["callback"]);
    assert_eq!(
        faults,
        ["reassembly_handler.onnewflow", "reassembly_handler.onpayload", "reassembly_handler.onpayload"]
    );
    let log = outcome.logged("ERROR", "reassembly_handler.onpayload: ");
    assert_eq!(log.len(), 2, "{}", outcome.stderr);
}

#[test]
fn a_callback_that_never_ends_is_interrupted_and_the_next_one_comes() {
    let body = "onpayload = function(e, ts, f, dir, pos) if pos == 0 then while true do end end print(pos) end";
    let outcome = Bench::new()
        .plugin("t.lua", &block("reassembly_handler", body))
        .args(&["--callback-budget", "100"])
        .run(&smtp().client(b"a").client(b"b").capture());
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["1"]);
    assert_eq!(outcome.fields("fault", &["callback"]), ["reassembly_handler.onpayload"]);
}

#[test]
fn a_callback_that_only_fails_is_suspended() {
    let capture = (0..1_500).fold(smtp(), |c, _| c.client(b"x")).wait(60).client(b"y").client(b"z").capture();
    let outcome = run("reassembly_handler", "onpayload = function() error('always') end", &capture);
    outcome.exits(1);
    assert_eq!(outcome.faults("t.lua"), 1_002);
    assert_eq!(outcome.dropped("callbacks_skipped"), 500);
    assert_eq!(outcome.logged("ERROR", "reassembly_handler.onpayload: suspended for 30 s").len(), 1);
}

#[test]
fn calls_that_would_not_have_been_made_anyway_do_not_count_as_skipped() {
    // The handler declines the first flow; the events of it are there for the other script.
    let capture = (0..1_005).fold(Conversation::open(40_001, 26).then(40_000, 25), |c, _| c.client(b"x"));
    let capture = (0..20).fold(capture.again(40_001, 26), |c, _| c.client(b"y")).capture();
    let body = "filter = function(e, ts, flow) return flow:portz_readable() == '25' end,
      onpayload = function() error('always') end";
    let other = "onpayload = function(e, ts, flow, dir, pos, buf) if buf:tostring() == 'y' then print(pos) end end";
    let outcome = Bench::new()
        .plugin("t.lua", &block("reassembly_handler", body))
        .plugin("u.lua", &block("reassembly_handler", other))
        .run(&capture);
    outcome.exits(1);
    assert_eq!(outcome.printed_by("u.lua").len(), 20);
    assert_eq!(outcome.faults("t.lua"), 1_000);
    assert_eq!(outcome.dropped("callbacks_skipped"), 5);
}

#[test]
fn messages_arrive_between_two_events() {
    let hearer = "local last
      TrisulPlugin = { id = {}, onmessage = function(id, m) print('heard', m, last) end,
        reassembly_handler = { onpayload = function(e, ts, f, dir, pos, buf) last = pos print('payload', pos) end } }";
    let sender = format!(
        "local n = 0
         TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{TCP}', onpacket = function(engine, layer)
           n = n + 1 if n == 4 then engine:post_message_frontend('m') end end }} }}"
    );
    Bench::new()
        .plugin("a.lua", hearer)
        .plugin("b.lua", &sender)
        .run(&smtp().client(b"1").client(b"2").capture())
        .prints(&["payload\t0", "heard\tm\t0", "payload\t1"]);
}

#[test]
fn onnewflowrecord_hears_every_new_flow_record() {
    let counter = format!(
        "TrisulPlugin = {{ id = {{}}, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine, layer)
           engine:new_flow_record('06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_00000011_00000008', 1, '2', 3, 4)
         end }} }}"
    );
    let monitor = "onnewflowrecord = function(engine, flow, az, za, paz, pza)
        print(flow:ipz_readable(), flow:netflow_ifindex_in_readable(), az, za, paz, pza) end";
    Bench::new()
        .plugin("a.lua", &block("messagemonitor", monitor))
        .plugin("b.lua", &counter)
        .run(&Capture::udp(2, 100))
        .prints(&["192.168.1.33\t17\t1\t2\t3\t4"; 2]);
}

#[test]
fn onflowmetric_reports_round_trip_and_retransmissions_only() {
    let capture =
        smtp().client(b"abc").ahead(Side::Client, 0_u32.wrapping_sub(3), b"abc").client(b"d").close().capture();
    let body = "onflowmetric = function(engine, flow, meter, value) print(flow:id(), meter, value) end";
    run("messagemonitor", body, &capture).prints(&[&format!("{FLOW}\t6\t20000"), &format!("{FLOW}\t7\t1")]);
}

const UDP_FLOW: &str = "11A:0A.00.00.09:p-1770_0A.00.00.05:p-1388";

#[test]
fn packet_storage_filter_is_asked_once_per_flow_of_any_protocol() {
    let body =
        "filter = function(engine, ts, flow) print(ts, flow:id()) return flow:protocol() == '11' and 2 or '3' end";
    let capture =
        smtp().frame(udp_packet((5000, 6000), b"x")).client(b"y").frame(udp_packet((6000, 5000), b"z")).capture();
    let outcome = run("packet_storage", body, &capture);
    outcome.exits(0);
    assert_eq!(outcome.lines()[0], format!("100\t{FLOW}"));
    assert_eq!(outcome.lines().len(), 3, "{:?}", outcome.lines());
    let policies = outcome.fields("store_policy", &["flow", "policy"]);
    assert_eq!(policies[0], format!("{FLOW}\t3"));
    assert_eq!(policies.len(), 3);
}

#[test]
fn filter_payload_sees_the_first_payload_of_each_direction_and_overrides() {
    let body = "filter = function() return 2 end,
      filter_payload = function(engine, ts, flow, dir, pos, buf) print(dir, pos, buf:tostring()) return dir == 0 and -1 or 4 end";
    let capture = smtp().client(b"abc").client(b"def").server(b"ghi").server(b"jkl").capture();
    let outcome = run("packet_storage", body, &capture);
    outcome.prints(&["0\t0\tabc", "1\t0\tghi"]);
    assert_eq!(outcome.fields("store_policy", &["flow", "policy"]), [format!("{FLOW}\t2"), format!("{FLOW}\t4")]);
}

#[test]
fn filter_payload_sees_the_first_datagrams() {
    let body = "filter_payload = function(engine, ts, flow, dir, pos, buf) print(flow:id(), dir, pos, buf:tostring()) return 1 end";
    let capture = Capture::new()
        .at(1, udp_packet((5000, 6000), b"one"))
        .at(1, udp_packet((5000, 6000), b"two"))
        .at(2, udp_packet((5000, 6000), b""));
    let outcome = run("packet_storage", body, &capture);
    outcome.prints(&[&format!("{UDP_FLOW}\t0\t0\tone")
        .replace("0A.00.00.09:p-1770_0A.00.00.05:p-1388", "0A.00.00.09:p-1770_0A.00.00.05:p-1388")]);
}

#[test]
fn the_most_liberal_opinion_wins() {
    let opinion = |number: &str| block("packet_storage", &format!("filter = function() return {number} end"));
    let decided = |numbers: &[&str]| {
        let bench = numbers
            .iter()
            .enumerate()
            .fold(Bench::new(), |bench, (i, number)| bench.plugin(&format!("{i}.lua"), &opinion(number)));
        let outcome = bench.run(&Capture::new().at(1, udp_packet((5000, 6000), b"x")));
        outcome.fields("store_policy", &["policy"])
    };
    assert_eq!(decided(&["0", "2"]), ["2"]);
    assert_eq!(decided(&["3", "6", "0"]), ["6"]);
    assert_eq!(decided(&["5", "-1", "0"]), ["5"]);
    assert_eq!(decided(&["-1", "nil"]), [""; 0]);
    assert_eq!(decided(&["7", "'x'"]), [""; 0]);
    assert_eq!(decided(&["1", "6"]), ["1"]);
}

#[test]
fn a_block_without_callbacks_is_said_once() {
    let outcome = run("reassembly_handler", "helper = 1", &smtp().capture());
    outcome.prints(&[]);
    assert_eq!(outcome.logged("WARN", "reassembly_handler: has no callback").len(), 1);
}
