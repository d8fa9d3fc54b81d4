//! Several engines and one backend: the same totals, the same order in every run.

use crate::support::{Bench, Capture, GROUP, Outcome, frames};
use crate::{block, counting};

/// Packets of many flows over three minutes.
pub fn many() -> Capture {
    (0..4_000_u32).fold(Capture::new(), |capture, n| {
        let ports = (2_000 + (n % 97) as u16, 6_000 + (n % 13) as u16);
        let datagram = frames::udp(ports, b"payload");
        let packet = frames::ether(&frames::ipv4(&format!("10.0.0.{}", n % 23), "10.0.1.1", 17, &datagram));
        capture.at_micros(100 + n / 25, n % 25 * 1_000, packet)
    })
}

fn run(engines: &str) -> Outcome {
    let count = "engine:update_counter(G, layer:packet():flowid():portz(), 0, 1) \
                 engine:update_counter_bytes(G, 'all', 1)";
    let monitor = format!(
        "counter_guid = '{GROUP}', onflush = function(e, ts, key, m) print(ts, key, m[1], m[2]) end, \
         onnewkey = function(e, ts, key) e:update_counter('{GROUP}', 'new', 0, 1) end"
    );
    counting(Bench::new(), count)
        .plugin("c.lua", &block("cg_monitor", &monitor))
        .plugin(
            "d.lua",
            &block("sg_monitor", "onflush = function(e, f) print(f:key(), f:az_packets(), f:za_packets()) end"),
        )
        .args(&["--engines", engines])
        .run(&many())
}

#[test]
fn two_engines_flush_what_one_does_in_the_same_order() {
    let (one, two) = (run("1"), run("2"));
    one.exits(0);
    two.exits(0);
    assert!(one.lines().len() > 150);
    assert_eq!(one.printed_by("c.lua"), two.printed_by("c.lua"));
    // Flows end a little earlier or later, by the packets that their engine sees.
    let flows = |outcome: &Outcome| {
        let mut flows: Vec<String> = outcome.printed_by("d.lua").iter().map(ToString::to_string).collect();
        flows.sort_unstable();
        flows
    };
    assert_eq!(flows(&one), flows(&two));
    assert_eq!(
        one.fields("counter", &["key", "bucket", "values"]),
        two.fields("counter", &["key", "bucket", "values"])
    );
    assert_eq!(one.totals(), two.totals());
}

#[test]
fn several_engines_give_the_same_flush_in_every_run() {
    let first = run("3");
    for _ in 0..2 {
        let again = run("3");
        assert_eq!(first.printed_by("c.lua"), again.printed_by("c.lua"));
        assert_eq!(first.printed_by("d.lua"), again.printed_by("d.lua"));
    }
}

#[test]
fn an_engine_that_gets_no_packets_holds_nothing_up() {
    let outcome = counting(Bench::new(), "engine:update_counter(G, 'k', 0, 1)")
        .plugin("e.lua", &block("engine_monitor", "onendflush = function(e, ts) print(ts) end"))
        .args(&["--engines", "3"])
        .run(&Capture::udp(5, 100));
    outcome.prints(&["60"]);
    let empty = counting(Bench::new(), "")
        .plugin("e.lua", &block("engine_monitor", "onendflush = function(e, ts) print(ts) end"));
    empty.run(&Capture::new()).prints(&[]);
}

#[test]
fn messages_cross_between_engines_and_backend() {
    let backend = "TrisulPlugin = { id = { name = 'b' }, onmessage = function(id, text) print(text) end, \
        engine_monitor = { onbeginflush = function(e, ts) e:post_message_frontend('from the back') end } }";
    let frontend = format!(
        "local sent TrisulPlugin = {{ id = {{ name = 'f' }}, onmessage = function(id, text) print(text) end, \
         simplecounter = {{ protocol_guid = '{}', onpacket = function(engine) if not sent then sent = true \
         engine:post_message_backend('from the front') end end }} }}",
        crate::IPV4
    );
    let outcome =
        Bench::new().plugin("b.lua", backend).plugin("f.lua", &frontend).args(&["--engines", "2"]).run(&many());
    outcome.exits(0);
    assert_eq!(outcome.printed_by("b.lua"), ["from the front", "from the front"]);
}
