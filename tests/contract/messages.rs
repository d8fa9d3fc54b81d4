//! Messages between frontend scripts, broadcasts to classes, and their order.

use crate::support::conversation::Conversation;
use crate::support::frames::{ether, ipv4, udp, udp_packet};
use crate::support::{Bench, Capture, GROUP, IPV4, Outcome, UDP};

const ID: &str = "{11111111-2222-3333-4444-55555555555a}";

/// A plugin that hears messages with these subscriptions, sends what `body` says, and prints both.
fn script(name: &str, subscriptions: &str, body: &str) -> String {
    format!(
        "local n = 0
         TrisulPlugin = {{ id = {{ name = '{name}' }}, {subscriptions}
           onmessage = function(id, m) print('{name}', 'got', id, m) end,
           simplecounter = {{ protocol_guid = '{IPV4}',
             onpacket = function(engine, layer) n = n + 1 print('{name}', n) {body} end }} }}"
    )
}

fn of<'a>(outcome: &'a Outcome, name: &str) -> Vec<&'a str> {
    outcome.lines().into_iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('\t')).collect()
}

#[test]
fn the_subscription_table_decides_what_is_delivered() {
    let send = format!(
        "if n == 1 then engine:post_message_frontend('{upper}', 'addressed') engine:post_message_frontend('{{22222222-2222-3333-4444-555555555555}}', 'other')
           engine:post_message_frontend('broadcast') engine:post_message_frontend('', 'empty id') engine:post_message_frontend(nil, 'nil id')
           engine:post_message_frontend('no guid', 'odd id') end",
        upper = ID.to_uppercase()
    );
    let outcome = Bench::new()
        .plugin("absent.lua", &script("absent", "", &send))
        .plugin("none.lua", &script("none", "message_subscriptions = {},", ""))
        .plugin("listed.lua", &script("listed", &format!("message_subscriptions = {{ '{ID}' }},"), ""))
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    let upper = ID.to_uppercase();
    assert_eq!(
        of(&outcome, "absent"),
        [
            "1".to_owned(),
            format!("got\t{upper}\taddressed"),
            "got\t{22222222-2222-3333-4444-555555555555}\tother".to_owned(),
            "got\t\tbroadcast".to_owned(),
            "got\t\tempty id".to_owned(),
            "got\t\tnil id".to_owned(),
            "got\tno guid\todd id".to_owned(),
        ]
    );
    let broadcasts = ["got\t\tbroadcast", "got\t\tempty id", "got\t\tnil id"];
    assert_eq!(of(&outcome, "none"), [&["1"][..], &broadcasts].concat());
    let first = format!("got\t{upper}\taddressed");
    assert_eq!(of(&outcome, "listed"), [&["1", &first][..], &broadcasts].concat(), "GUIDs compare without case");
}

#[test]
fn a_message_arrives_before_the_next_packet_whatever_the_order_of_scripts() {
    // 600 packets are three batches. The sender stands between two receivers and hears itself.
    let sender = script("b", "", "if n % 50 == 7 then engine:post_message_frontend('m' .. n) end");
    let outcome = Bench::new()
        .plugin("a.lua", &script("a", "", ""))
        .plugin("b.lua", &sender)
        .plugin("c.lua", &script("c", "", ""))
        .run(&Capture::udp(600, 100));
    outcome.exits(0);
    let mut expected = Vec::new();
    for n in 1..=600 {
        expected.push(n.to_string());
        if n % 50 == 7 {
            expected.push(format!("got\t\tm{n}"));
        }
    }
    for name in ["a", "b", "c"] {
        assert_eq!(of(&outcome, name), expected, "{name}");
    }
}

#[test]
fn a_single_receiver_hears_a_script_that_cannot_hear() {
    for (sender, receiver) in [("a.lua", "b.lua"), ("b.lua", "a.lua")] {
        let outcome = Bench::new()
            .counter(sender, IPV4, "", "if n % 100 == 0 then engine:post_message_frontend(tostring(n)) end")
            .plugin(receiver, &script("r", "", ""))
            .run(&Capture::udp(700, 100));
        outcome.exits(0);
        let mut expected = Vec::new();
        for n in 1..=700 {
            expected.push(n.to_string());
            if n % 100 == 0 {
                expected.push(format!("got\t\t{n}"));
            }
        }
        assert_eq!(of(&outcome, "r"), expected, "{sender} to {receiver}");
    }
}

#[test]
fn what_the_last_flows_say_is_delivered_when_they_have_ended() {
    let text = "TrisulPlugin = { id = {},
      onmessage = function(id, m) print('got', m) end,
      reassembly_handler = { onterminateflow = function(engine, ts, flow)
        print('end', flow:porta_readable())
        engine:post_message_frontend(flow:porta_readable())
      end } }";
    let capture = Conversation::open(40000, 25).client(b"x").then(40001, 25).client(b"y").capture();
    let outcome = Bench::new().plugin("a.lua", text).plugin("b.lua", &script("b", "", "")).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.printed_by("a.lua"), ["end\t40000", "end\t40001", "got\t40000", "got\t40001"]);
    let last: Vec<&str> = outcome.lines().into_iter().filter(|line| !line.starts_with("b\t")).collect();
    assert_eq!(last, ["end\t40000", "end\t40001", "got\t40000", "got\t40001"]);
    assert_eq!(of(&outcome, "b").last(), Some(&"got\t\t40001"));
}

#[test]
fn messages_of_one_vm_arrive_in_the_order_sent_and_are_never_nested() {
    let text = format!(
        "local depth, e = 0
         TrisulPlugin = {{ id = {{}},
           onmessage = function(id, m)
             depth = depth + 1
             print(depth, m)
             if #m < 4 then e:post_message_frontend(m .. '1') e:post_message_frontend(m .. '2') end
             depth = depth - 1
           end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine)
             e = engine
             depth = depth + 1
             engine:post_message_frontend('a') engine:post_message_frontend('b') print(depth, 'packet')
             depth = depth - 1 end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).run(&Capture::udp(1, 100));
    outcome.exits(0);
    let expected = [
        "packet", "a", "b", "a1", "a2", "b1", "b2", "a11", "a12", "a21", "a22", "b11", "b12", "b21", "b22", "a111",
        "a112", "a121", "a122", "a211", "a212", "a221", "a222", "b111", "b112", "b121", "b122", "b211", "b212", "b221",
        "b222",
    ];
    assert_eq!(outcome.lines(), expected.map(|text| format!("1\t{text}")));
}

#[test]
fn messages_that_answer_each_other_for_ever_end() {
    let text = format!(
        "local e TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) e:post_message_frontend(m) end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) e = engine; engine:post_message_frontend('x') end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).run(&Capture::udp(3, 100));
    outcome.exits(0);
    assert!(outcome.dropped("messages_dropped") >= 1, "what was left is counted: {:?}", outcome.of("drop"));
}

#[test]
fn messages_keep_every_byte_up_to_16_mib() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) print(#m, m:byte(1), m:byte(2), m:byte(-1)) end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine)
           engine:post_message_frontend('\\0\\255') engine:post_message_frontend('') engine:post_message_frontend(string.rep('z', 16 * 1048576))
           engine:post_message_frontend(string.rep('z', 16 * 1048576 + 1)) engine:post_message_frontend(42) end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).run(&Capture::udp(1, 100));
    outcome.prints(&["2\t0\t255\t255", "0\tnil\tnil", "16777216\t122\t122\t122", "2\t52\t50\t50"]);
    assert_eq!(outcome.dropped("messages_dropped"), 1);
}

#[test]
fn what_a_message_leads_to_carries_the_time_of_the_latest_packet() {
    let text = format!(
        "local e TrisulPlugin = {{ id = {{}}, onmessage = function() print(e:timestamp()) e:update_counter('{GROUP}', 'm', 0, 1) end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) e = engine; engine:post_message_frontend('x') end }} }}"
    );
    let capture = [100, 101, 161, 162].into_iter().fold(Capture::new(), |c, t| c.at(t, udp_packet((1, 2), b"")));
    let outcome = Bench::new().group().plugin("m.lua", &text).run(&capture);
    outcome.prints(&["100", "101", "161", "162"]);
    let times: Vec<_> = outcome.of("print").iter().map(|event| event["t"].as_f64()).collect();
    assert_eq!(times, [Some(100.0), Some(101.0), Some(161.0), Some(162.0)]);
    let rows: Vec<_> = outcome
        .fields("counter", &["bucket", "key", "values"])
        .into_iter()
        .filter(|row| row.contains("\tm\t"))
        .collect();
    assert_eq!(rows, ["60\tm\t[2,0]", "120\tm\t[2,0]"]);
}

#[test]
fn messages_reach_every_engine() {
    let text = format!(
        "local n = 0
         TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) print(T.contextid, m) end,
         simplecounter = {{ protocol_guid = '{UDP}', onpacket = function(engine, layer)
           n = n + 1
           if n == 1 then engine:post_message_frontend(tostring(T.contextid)) end end }} }}"
    );
    // Many flows, so that both engines have packets.
    // However early an engine comes to the end of its share, it hears what the other one still sends.
    let packet = |i: u32| ether(&ipv4(&format!("10.0.{}.{}", i % 7, i % 97), "10.0.0.200", 17, &udp((1000, 53), b"x")));
    let capture = (0..20_000).fold(Capture::new(), |c, i| c.at(100, packet(i)));
    let outcome = Bench::new().plugin("m.lua", &text).args(&["--engines", "2"]).run(&capture);
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    let count = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), count, "each message once: {lines:?}");
    assert_eq!(lines.len(), 4, "the VM of each engine hears both: {lines:?}");
}

const CLASS: &str = "{AAAABBBB-0000-4000-8000-000000000001}";

#[test]
fn broadcast_reaches_the_listeners_of_a_class_in_every_vm_of_the_file() {
    let listener = format!(
        "TrisulPlugin = {{ id = {{ name = 'l', clsid = '{}' }},
           onmessage = function(id, m) print('never', id, m) end,
           channellistener = {{ onchannelmessage = function(id, data) print('l', id, data:tostring(), data:size()) end }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}",
        CLASS.to_lowercase()
    );
    let by_message = format!(
        "TrisulPlugin = {{ id = {{ name = 'm', clsid = '{CLASS}' }}, message_subscriptions = {{}},
           onmessage = function(id, m) print('m', id, m) end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let outcome = Bench::new()
        .plugin("a-other.lua", &script("other", "", ""))
        .plugin("b-listener.lua", &listener)
        .plugin("c-message.lua", &by_message)
        .counter("d-sender.lua", IPV4, "", &format!("T.host:broadcast('{ID}', '{CLASS}', 'x\\0y') T.host.broadcast('{ID}', '{{00000000-0000-4000-8000-000000000009}}', 'nobody')"))
        .run(&Capture::udp(1, 100));
    outcome.exits(0);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, [format!("l\t{ID}\tx\0y\t3"), format!("m\t{ID}\tx\0y"), "other\t1".to_owned()]);
}

#[test]
fn a_listener_shares_the_state_of_its_file() {
    let text = format!(
        "local seen = 0
         TrisulPlugin = {{ id = {{ clsid = '{CLASS}' }},
           channellistener = {{ onchannelmessage = function(id, data) print('listener', seen, data) end }},
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
             seen = seen + 1
             if seen == 3 then T.host:broadcast('{ID}', '{CLASS}', 'now') end end }} }}"
    );
    let outcome = Bench::new().plugin("l.lua", &text).run(&Capture::udp(5, 100));
    outcome.prints(&["listener\t3\tnow"]);
}

#[test]
fn messages_posted_with_the_last_packet_are_delivered_before_unloading() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) print(m) end, onunload = function() print('unload') end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine) engine:post_message_frontend('last') end }} }}"
    );
    Bench::new().plugin("m.lua", &text).run(&Capture::udp(1, 100)).prints(&["last", "unload"]);
}

#[test]
fn messages_of_one_batch_take_at_most_64_mib() {
    let body = "local large = ('x'):rep(16 * 1024 * 1024)
        for i = 1, 6 do engine:post_message_frontend(large) end
        engine:post_message_frontend('small')";
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) print(#m) end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).counter("s.lua", IPV4, "", body).run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["16777216", "16777216", "16777216", "16777216", "5"]);
    assert_eq!(outcome.dropped("messages_dropped"), 2);
}

#[test]
fn broadcasts_of_one_batch_take_no_more() {
    let body = format!(
        "local large = ('x'):rep(16 * 1024 * 1024) for i = 1, 6 do T.host:broadcast('{ID}', '{CLASS}', large) end"
    );
    let text = format!(
        "TrisulPlugin = {{ id = {{ clsid = '{CLASS}' }}, channellistener = {{ onchannelmessage = function(id, m) print(#m) end }},
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).counter("s.lua", IPV4, "", &body).run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.lines(), ["16777216"; 4]);
    assert_eq!(outcome.dropped("messages_dropped"), 2);
}

#[test]
fn what_one_script_says_about_one_batch_takes_at_most_64_mib() {
    let (large, other) = ("local large = ('x'):rep(32 * 1024 - 1)", "print('another script')");
    let body = format!("{large} for i = 1, 2100 do engine:set_key_attribute('{GROUP}', 'k', 'n', large) end");
    let packet = Capture::udp(1, 100);
    let outcome = Bench::new().counter("a.lua", IPV4, "", &body).counter("b.lua", IPV4, "", other).run(&packet);
    outcome.exits(0);
    // With name and key each takes 32,769 bytes, and 128 for itself.
    let fit = (64 << 20) / (32_769 + 128);
    assert_eq!(outcome.of("key_attribute").len(), fit);
    assert_eq!(outcome.dropped("records_dropped"), 2_100 - fit as u64);
    assert_eq!(outcome.lines(), ["another script"], "each has its own 64 MiB");
    let told = outcome.logged("WARN", "more than 64 MiB said about one batch of packets");
    assert!(told.len() == 1 && told[0].starts_with("a.lua:6: "), "{told:?}");
    // The next batch has room again.
    let capture = (0..257).fold(Capture::new(), |c, _| c.at(100, udp_packet((1, 2), b"")));
    let body = format!("if n % 256 == 1 then {body} end");
    let outcome = Bench::new().counter("a.lua", IPV4, "", &body).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.of("key_attribute").len(), 2 * fit);
}

#[test]
fn what_one_call_says_counts_once() {
    let body = "local large = ('x'):rep(32 * 1024 - 1) local flow = layer:packet():flowid()
        for i = 1, 1100 do engine:tag_flow(flow, large) end
        for i = 1, 900 do engine:add_flow_attribute(flow, 'n', large) end";
    let bench = Bench::new().counter("a.lua", IPV4, "", body).args(&["--callback-budget", "60000"]);
    let outcome = bench.run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.dropped("records_dropped"), 0, "{}", outcome.stderr);
    assert_eq!(outcome.of("tag").len(), 1100);
}

#[test]
fn messages_are_recorded_if_they_wait_and_within_the_64_mib_if_nobody_reads_them() {
    let text = format!(
        "TrisulPlugin = {{ id = {{}}, onmessage = function() end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() end }} }}"
    );
    let body = "for i = 1, 100010 do engine:post_message_frontend('x') end";
    let bench = Bench::new().plugin("m.lua", &text).counter("s.lua", IPV4, "", body);
    let outcome = bench.args(&["--callback-budget", "60000"]).run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!((outcome.of("message").len(), outcome.dropped("messages_dropped")), (100_000, 10));
    let body = "local text = ('x'):rep(1024) for i = 1, 60000 do engine:post_message_backend(text) end
        local text = 'p' print(text)";
    let bench = Bench::new().counter("s.lua", IPV4, "", body).args(&["--callback-budget", "60000"]);
    let outcome = bench.run(&Capture::udp(1, 100));
    outcome.exits(0);
    let fit = (64 << 20) / (1024 + 128);
    assert_eq!(outcome.of("message").len(), fit);
    assert_eq!((outcome.dropped("records_dropped"), outcome.dropped("messages_unread")), (60_000 - fit as u64, 60_000));
    assert_eq!(outcome.lines(), ["p"], "what is short still fits");
}

#[test]
fn messages_that_wait_for_the_backend_take_at_most_64_mib() {
    let hears = "local n = 0
        TrisulPlugin = { id = {}, onmessage = function(id, m) n = n + 1 end, onunload = function() print(n) end,
          engine_monitor = { onendflush = function() end } }";
    let body = "engine:post_message_backend(('x'):rep(1024 * 1024))";
    // Two batches within one second.
    let capture = (0..300).fold(Capture::new(), |c, _| c.at(100, udp_packet((1, 2), b"")));
    let outcome = Bench::new().plugin("b.lua", hears).counter("s.lua", IPV4, "", body).run(&capture);
    outcome.prints(&["64"]);
    assert_eq!(outcome.dropped("messages_dropped"), 300 - 64);
}
