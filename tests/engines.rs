//! Several engines over files: they wait for each other at the end, and never for long for one that does not come.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;
mod e2e;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use capture_support::gzip;
use e2e::{Place, Running};
use serde_json::Value;
use support::frames::{ether, ipv4, udp};
use support::{Bench, Capture, IPV4, UDP};

const LIMIT: Duration = Duration::from_secs(60);
/// Takes half a millisecond for each packet to port 6000, and none for others.
const SLOW: &str = "local flow = layer:packet():flowid()
   if flow:porta_readable() == '6000' or flow:portz_readable() == '6000' then
     if not begun then begun = true print('begun') end
     local start = os.clock() while os.clock() - start < 0.0005 do end
   end";

/// Packets of many flows at one time, then of one flow only, which takes long.
fn uneven(slow: u32) -> Capture {
    let packet = |from: u32, to| ether(&ipv4(&format!("10.0.0.{from}"), "10.0.1.1", 17, &udp((5_000, to), b"x")));
    let capture = (1..40).fold(Capture::new(), |capture, from| capture.at(100, packet(from, 53)));
    (0..slow).fold(capture, |capture, _| capture.at(100, packet(1, 6_000)))
}

/// A run with a slow plugin over such captures, that has begun.
fn begun(place: &Place, captures: &[(&str, &Capture)]) -> Running {
    let mut arguments = vec!["-r".to_owned()];
    for (name, capture) in captures {
        fs::write(place.path(name), capture.to_pcap()).unwrap();
        arguments.push(place.path(name).display().to_string());
    }
    let socket = place.path("socket");
    let more = ["--engines", "2", "--json", "--control", &socket.display().to_string()];
    arguments.extend(more.map(str::to_owned));
    let mut running = place.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    running.until("it has begun", |running| running.said().contains("begun"));
    running
}

fn stats(mut stream: &UnixStream) -> Value {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"{\"request\":\"stats\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn an_engine_that_waits_for_the_others_answers_and_ends_when_told_to() {
    let place = Place::new().counter("slow.lua", IPV4, "", SLOW);
    let mut running = begun(&place, &[("a.pcap", &uneven(60_000))]);
    let socket = place.path("socket");
    // The one that waits and the one that works.
    running.until("both answer", |_| stats(&UnixStream::connect(&socket).unwrap())["engines_silent"] == 0);
    running.signal("INT");
    running.wait(Duration::from_secs(20)).exits(0);
}

#[test]
fn an_engine_whose_input_fails_is_not_waited_for() {
    let place = Place::new().counter("slow.lua", IPV4, "", SLOW);
    let later = (0..10).fold(Capture::new(), |capture, i| {
        capture.at(900, ether(&ipv4(&format!("10.0.0.{i}"), "10.0.1.1", 17, &udp((5_000, 53), b"x"))))
    });
    // 10 MB, more than one engine may be ahead.
    let long = (0..8_000).fold(uneven(4_000), |capture, i| {
        let from = format!("10.0.0.{}", i % 40);
        capture.at(100, ether(&ipv4(&from, "10.0.1.1", 17, &udp((5_000, 53), &[0; 1_200]))))
    });
    let running = begun(&place, &[("a.pcap", &long), ("b.pcap", &later)]);
    // While the slow one is at the beginning, nobody has come to it yet.
    fs::write(place.path("b.pcap"), [0; 100]).unwrap();
    let ended = running.wait(LIMIT);
    ended.exits(1);
    assert_eq!(ended.report()["verdict"]["reasons"], serde_json::json!(["the input ended early"]));
}

#[test]
fn messages_that_answer_each_other_for_ever_end_between_engines_too() {
    let text = format!(
        "local e
         TrisulPlugin = {{ id = {{}}, onmessage = function(id, m) if e then e:post_message_frontend(m) end end,
         simplecounter = {{ protocol_guid = '{UDP}', onpacket = function(engine)
           if not e then e = engine engine:post_message_frontend('x') end end }} }}"
    );
    let outcome = Bench::new().plugin("m.lua", &text).args(&["--engines", "2"]).run(&uneven(10));
    outcome.exits(0);
    assert!(outcome.dropped("messages_dropped") >= 1, "what was left is counted: {:?}", outcome.of("drop"));
}

#[test]
fn what_an_engine_says_with_its_last_packet_is_heard_while_flows_are_open() {
    // Every packet of either engine says something to the other one, whose flows must not have ended by then.
    let text = "local ended = false
         TrisulPlugin = { id = {}, onmessage = function(id, m) print(ended and 'late' or 'heard') end,
         reassembly_handler = {
           onnewflow = function(engine, ts, flow) engine:post_message_frontend(flow:id()) end,
           onterminateflow = function() ended = true end } }";
    let flows = 40;
    let capture = (0..flows).fold(Capture::new(), |capture, i| {
        let mut segment = support::frames::tcp((40_000 + i, 80), 0x02, &[], b"");
        segment[4..8].copy_from_slice(&1_u32.to_be_bytes());
        capture.at(100, ether(&ipv4(&format!("10.0.0.{}", i + 1), "10.0.1.1", 6, &segment)))
    });
    for engines in [2_usize, 3] {
        let outcome = Bench::new().plugin("m.lua", text).args(&["--engines", &engines.to_string()]).run(&capture);
        outcome.exits(0);
        assert_eq!(outcome.lines(), vec!["heard"; engines * usize::from(flows)]);
    }
}

#[test]
fn all_flows_that_had_timed_out_at_the_end_are_said_to_have() {
    // More than end by time in one batch.
    let packet = |from: u16| ether(&ipv4("10.0.0.1", "10.0.1.1", 17, &udp((from, 53), b"x")));
    let capture =
        (1..=20_000).fold(Capture::new(), |capture, from| capture.at(100, packet(from))).at(1_000, packet(30_000));
    for engines in ["1", "2", "3"] {
        let place = Place::new();
        fs::write(place.path("a.pcap"), capture.to_pcap()).unwrap();
        let file = place.path("a.pcap").display().to_string();
        let ended = place.run(&["-r", &file, "--engines", engines, "--flows", "--json"], LIMIT);
        let expected = serde_json::json!([{"name": "end", "count": 1}, {"name": "idle", "count": 20_000}]);
        assert_eq!(ended.exits(0).report()["flows"]["ended"], expected, "{engines} engines");
    }
}

#[test]
fn flows_are_as_old_at_the_end_as_with_one_engine() {
    // Flows that fell silent in time, and one that goes on: only one engine sees the last packets.
    let packet = |from: u32| ether(&ipv4(&format!("10.0.0.{from}"), "10.0.1.1", 17, &udp((5_000, 53), b"x")));
    let capture = (1..40).fold(Capture::new(), |capture, from| capture.at(100 + from, packet(from)));
    let capture = (0..40).fold(capture, |capture, i| capture.at(150 + 10 * i, packet(50)));
    let run = |engines: &str| {
        let place = Place::new();
        fs::write(place.path("a.pcap"), capture.to_pcap()).unwrap();
        let file = place.path("a.pcap").display().to_string();
        let ended = place.run(&["-r", &file, "--engines", engines, "--builtin", "default", "--json"], LIMIT);
        let mut report = ended.exits(0).report();
        // What is counted of the engine itself is another matter, and so is how many flows live at a time on each.
        let groups = report["groups"].as_array_mut().unwrap();
        groups.retain(|group| group["name"] != "Meta Counter Group");
        let meters = groups.iter().map(|group| format!("{}: {}", group["name"], group["meters"])).collect::<Vec<_>>();
        (report["flows"]["ended"].clone(), meters)
    };
    let one = run("1");
    assert_eq!(one.0, serde_json::json!([{"name": "end", "count": 1}, {"name": "idle", "count": 39}]));
    for engines in ["2", "3"] {
        assert_eq!(run(engines), one, "{engines} engines");
    }
}

/// Active flows in each bucket, and how flows ended, with so many engines; the event stream besides.
fn active(place: &Place, files: &[&str], more: &[&str]) -> (Vec<(i64, f64)>, Value, Vec<u8>) {
    let files = files.iter().flat_map(|file| ["-r", file]);
    let own = ["--builtin", "Aggregates", "--events", "events", "--json", "--no-store"];
    let ended = place.run(&files.chain(own).chain(more.iter().copied()).collect::<Vec<_>>(), LIMIT);
    let report = ended.exits(0).report();
    let events = e2e::events(&place.path("events"));
    let total = events.iter().filter(|event| event["ev"] == "counter" && event["key"] == "TOTALBW");
    let buckets = total.map(|event| (event["bucket"].as_i64().unwrap(), event["values"][2].as_f64().unwrap()));
    (buckets.collect(), report["flows"]["ended"].clone(), fs::read(place.path("events")).unwrap())
}

#[test]
fn flows_are_as_old_in_every_bucket_as_with_one_engine() {
    let packet = |from: u32| ether(&ipv4(&format!("10.0.0.{from}"), "10.0.1.1", 17, &udp((5_000, 53), b"x")));
    // ARP, by which no flow grows older.
    let other = || [&[0xFF; 6][..], &[2; 6], &[8, 6], &[0; 28]].concat();
    // Flows that all engines have, then for long one alone, then all again. UDP lives for a minute.
    let all =
        |capture: Capture, secs: u32| (1..40).fold(capture, |capture, from| capture.at(secs + from, packet(from)));
    let begin = all(Capture::new(), 600);
    let alone = (0..60).fold(Capture::new(), |capture, i| capture.at(640 + 10 * i, packet(50)));
    let alone = all(alone, 1_300);
    let quiet = (0..30).fold(Capture::new(), |capture, i| capture.at(1_350 + 10 * i, other()));
    let quiet = all(quiet, 1_700);
    let whole = [&begin, &alone, &quiet].map(Capture::to_pcap);
    let whole = [&whole[0][..], &whole[1][24..], &whole[2][24..]].concat();
    let place = Place::new();
    fs::write(place.path("whole.pcap"), &whole).unwrap();
    fs::write(place.path("whole.pcap.gz"), gzip(&whole)).unwrap();
    for (name, capture) in [("1.pcap", begin), ("2.pcap", alone), ("3.pcap", quiet)] {
        fs::write(place.path(name), capture.to_pcap()).unwrap();
    }
    let (buckets, ends, _) = active(&place, &["whole.pcap"], &[]);
    let expected = [
        (600, 40.0),
        (660, 40.0),
        (720, 1.0),
        (780, 1.0),
        (840, 1.0),
        (900, 1.0),
        (960, 1.0),
        (1_020, 1.0),
        (1_080, 1.0),
        (1_140, 1.0),
        (1_200, 1.0),
        (1_260, 20.0),
        (1_320, 39.0),
        (1_380, 39.0),
        (1_440, 39.0),
        (1_500, 39.0),
        (1_560, 39.0),
        (1_620, 39.0),
        (1_680, 78.0),
    ];
    assert_eq!(buckets, expected);
    for files in [&["whole.pcap"][..], &["whole.pcap.gz"], &["1.pcap", "2.pcap", "3.pcap"]] {
        for engines in ["2", "3"] {
            let some = active(&place, files, &["--engines", engines]);
            assert_eq!((some.0, &some.1), (buckets.clone(), &ends), "{files:?} {engines} engines");
        }
    }
    let more = ["--engines", "2", "--backends", "2"];
    let [first, second] = [(); 2].map(|()| active(&place, &["whole.pcap"], &more));
    assert_eq!((first.0, first.1), (buckets, ends));
    assert!(first.2 == second.2, "the event streams of two runs differ");
}

#[test]
fn time_that_goes_back_is_where_it_is_with_one_engine() {
    let packet = |from: u32| ether(&ipv4(&format!("10.0.0.{from}"), "10.0.1.1", 17, &udp((5_000, 53), b"x")));
    // One engine alone has the packets from which time goes back.
    let times = [600, 601, 2_000, 602, 603, 2_001, 604];
    let capture = times.into_iter().fold(Capture::new(), |capture, secs| match secs {
        2_000.. => capture.at(secs, packet(50)),
        _ => (1..40).fold(capture, |capture, from| capture.at(secs, packet(from))),
    });
    let place = Place::new();
    fs::write(place.path("back.pcap"), capture.to_pcap()).unwrap();
    let one = active(&place, &["back.pcap"], &[]);
    assert_eq!(one.0, [(600, 39.0), (1_980, 79.0)]);
    for engines in ["2", "3"] {
        let some = active(&place, &["back.pcap"], &["--engines", engines]);
        assert_eq!((some.0, some.1), (one.0.clone(), one.1.clone()), "{engines} engines");
    }
}
