//! Live capture with the built program, in a network namespace of the test's own. Needs root and iproute2, and says so where
//! they are absent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;
#[path = "e2e/namespace.rs"]
mod namespace;

use std::process::Command;
use std::thread;
use std::time::Duration;

use e2e::{Ended, Place, dropped, events, say, totals};
use millstream::time::Stopwatch;
use namespace::{capturing, in_namespace, ip};
use serde_json::Value;

const UDP: &str = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}";
const GROUP: &str = "{0B1C2D3E-0000-4000-8000-0000000000CB}";
const LIMIT: Duration = Duration::from_secs(10);

/// A UDP packet of one of 64 flows, numbered in its last four bytes.
fn datagram(number: u32) -> Vec<u8> {
    let flow = (number % 64) as u8;
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 1, flow]);
    frame.extend([4, 0, 0x10, flow, 0, 26, 0, 0]);
    frame.extend([0; 14]);
    frame.extend(number.to_be_bytes());
    frame
}

/// Sends packets from the other end; pauses after every hundred.
fn send(count: u32, pause: Duration) {
    let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
    for number in 0..count {
        sender.sendpacket(datagram(number)).unwrap();
        if number % 100 == 99 && !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

/// Plugins that count packets and say when the first one has come.
fn counting(body: &str) -> Place {
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'group', description = '' }}, countergroup = {{ control = {{ guid = '{GROUP}', \
         name = 'Seen', bucketsize = 60 }}, meters = {{ {{ 0, T.K.vartype.COUNTER, 10, 0, 'n', '', '' }} }} }} }}"
    );
    let body = format!("engine:update_counter('{GROUP}', layer:packet():flowid():id(), 0, 1) {body}");
    Place::new().plugin("a-group.lua", &group).counter("count.lua", UDP, "", &body)
}

/// Probes that were sent before the packets: everything that is neither UDP nor dropped.
fn processed(ended: &Ended, place: &Place) -> u64 {
    let written = events(&place.path("events"));
    let counted: u64 = written
        .iter()
        .filter(|e| e["ev"] == "counter_total" && e["guid"] == GROUP)
        .filter_map(|e| e["updates"].as_u64())
        .sum();
    let report = ended.report();
    // What the plugin saw is what the report says.
    assert!(report["run"]["packets"].as_u64().unwrap() > counted, "{report}");
    counted
}

fn with_events(place: &Place, arguments: &[&str]) -> Vec<String> {
    let written = place.path("events").display().to_string();
    [arguments, &["--json", "--events", &written]].concat().iter().map(ToString::to_string).collect()
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn processed_and_dropped_are_what_was_sent() {
    in_namespace(|| {
        // Slow, fast, and faster than the plugin with a small buffer.
        let busy = "local t = os.clock() while os.clock() - t < 0.0002 do end";
        for (count, pause, body, buffer) in [
            (500, Duration::from_millis(100), "", "16"),
            (30_000, Duration::from_millis(1), "", "16"),
            (20_000, Duration::ZERO, busy, "1"),
        ] {
            let place = counting(body);
            let arguments = with_events(&place, &["-i", "here", "--buffer", buffer]);
            let (place, running) = capturing(place, &as_strs(&arguments));
            // Probes are counted apart: a filter would hide what the kernel dropped of them.
            thread::sleep(Duration::from_millis(50));
            let before = statistics();
            send(count, pause);
            assert_eq!(statistics() - before, u64::from(count), "packets reached the other end of the pair");
            thread::sleep(Duration::from_millis(if body.is_empty() { 150 } else { 3_500 }));
            running.signal("INT");
            let ended = running.wait(LIMIT);
            ended.exits(0);
            let report = ended.report();
            let lost = dropped(&report, "kernel_dropped") + dropped(&report, "interface_dropped");
            let seen = processed(&ended, &place);
            assert_eq!(seen + lost, u64::from(count), "{report}");
            assert!(body.is_empty() == (lost == 0), "{count} packets, {lost} lost");
        }
    });
}

/// Packets that the interface `here` has received.
fn statistics() -> u64 {
    let output = Command::new("ip").args(["-s", "-j", "link", "show", "here"]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// How many want the interface `here` to take packets for others.
fn promiscuity() -> u64 {
    let output = Command::new("ip").args(["-d", "-j", "link", "show", "here"]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["promiscuity"].as_u64().unwrap()
}

#[test]
fn an_interface_is_promiscuous_while_it_is_read_unless_that_is_not_wanted() {
    in_namespace(|| {
        for (arguments, expected) in [(&["-i", "here"][..], 1), (&["-i", "here", "--no-promisc"], 0)] {
            assert_eq!(promiscuity(), 0);
            let place = counting("print('packet ' .. n)");
            let (_place, mut running) = capturing(place, arguments);
            assert_eq!(promiscuity(), expected, "{arguments:?}");
            send(1, Duration::ZERO);
            running.until("the packet is printed", |running| running.said().contains("packet 1\n"));
            running.signal("INT");
            running.wait(LIMIT).exits(0);
        }
        assert_eq!(promiscuity(), 0);
    });
}

#[test]
fn a_quiet_link_delivers_a_single_packet_at_once() {
    in_namespace(|| {
        let place = counting("print('packet ' .. n)");
        let (_place, mut running) = capturing(place, &["-i", "here"]);
        let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
        let mut times = Vec::new();
        for number in 1..=15_u32 {
            thread::sleep(Duration::from_millis(60));
            let watch = Stopwatch::start();
            sender.sendpacket(datagram(number)).unwrap();
            running.until("the packet is printed", |running| running.said().contains(&format!("packet {number}\n")));
            times.push(watch.elapsed());
        }
        times.sort();
        // The median, as the machine may be busy with other things.
        assert!(times[7] < Duration::from_millis(50), "{times:?}");
        say(&format!("from sending to print: {:?}, median {:?}", times[0], times[7]));
        running.signal("TERM");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        // The clock goes on between packets, and is ahead of one that is on its way.
        assert!(ended.stdout.contains("packet 15\n") && !ended.stdout.contains("time_back"), "{}", ended.stdout);
    });
}

#[test]
fn a_slow_backend_script_never_holds_up_packets() {
    in_namespace(|| {
        // A line that a script prints is shown when its callback is over, so a file tells that it sleeps.
        let place = counting("print('packet ' .. n)");
        let asleep = place.path("asleep");
        let slow = format!(
            "local n = 0 TrisulPlugin = {{ id = {{ name = 'slow' }}, engine_monitor = {{ \
             onmetronome = function(engine, ts) n = n + 1 if n == 1 then io.open('{}', 'w'):close() \
             os.execute('sleep 3') print('awake') end end, onendflush = function() print('flushed') end }} }}",
            asleep.display()
        );
        let place = place.plugin("slow.lua", &slow);
        let arguments = with_events(&place, &["-i", "here"]);
        let (place, mut running) = capturing(place, &as_strs(&arguments));
        running.until("the backend sleeps", |_| asleep.exists());
        let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
        let mut times = Vec::new();
        for number in 1..=15_u32 {
            thread::sleep(Duration::from_millis(40));
            let watch = Stopwatch::start();
            sender.sendpacket(datagram(number)).unwrap();
            running.until("the packet is printed", |running| running.said().contains(&format!("packet {number}\n")));
            times.push(watch.elapsed());
        }
        assert!(!running.said().contains("awake"), "the packets came while the backend slept");
        times.sort();
        assert!(times[7] < Duration::from_millis(100), "{times:?}");
        running.until("the backend wakes", |running| running.said().contains("awake"));
        running.signal("INT");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        assert!(ended.stderr.contains("flushed"), "{}", ended.stderr);
        assert_eq!(dropped(&ended.report(), "kernel_dropped"), 0);
        assert_eq!(processed(&ended, &place), 15);
    });
}

#[test]
fn an_interface_that_goes_down_and_comes_back_is_told_of_once() {
    in_namespace(|| {
        let socket = |place: &Place| place.path("socket").display().to_string();
        let place = counting("print('packet ' .. n)");
        let control = socket(&place);
        let (place, mut running) =
            capturing(place, &["-i", "here", "-i", "there", "--engines", "2", "--json", "--control", &control]);
        let down = |place: &Place| {
            let asked = Command::new(env!("CARGO_BIN_EXE_millstream"))
                .args(["stats", "--json", "--control", &socket(place)])
                .output()
                .unwrap();
            serde_json::from_slice::<Value>(&asked.stdout).unwrap()["interfaces_down"].clone()
        };
        assert_eq!(down(&place), serde_json::json!([]));
        assert!(ip("link set here down"));
        let told = "WARN [millstream] here: the interface is down or away; it is tried again every second\n";
        running.until("it is told that it is down", |running| running.said().contains(told));
        running.until("it is down for all", |_| down(&place).as_array().unwrap().contains(&"here".into()));
        assert!(ip("link set here up"));
        let told_back = "NOTICE [millstream] here: packets come again\n";
        running.until("it is told that it is back", |running| running.said().contains(told_back));
        running.until("it is up for all", |_| down(&place) == serde_json::json!([]));
        running.signal("INT");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        for line in [told, told_back] {
            assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
        }
        let report = ended.report();
        for name in ["interface_down", "interface_back"] {
            let notes = report["notes"].as_array().unwrap();
            let count = notes.iter().find(|note| note["name"] == name).map(|note| note["count"].clone());
            assert!(count.and_then(|count| count.as_u64()).is_some_and(|count| count >= 1), "{name}: {report}");
        }
    });
}

#[test]
fn two_engines_share_the_traffic_and_add_up() {
    in_namespace(|| {
        let place = counting("");
        let arguments = with_events(&place, &["-i", "here", "--engines", "2"]);
        let (place, running) = capturing(place, &as_strs(&arguments));
        send(20_000, Duration::from_millis(1));
        thread::sleep(Duration::from_millis(200));
        running.signal("INT");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        let report = ended.report();
        assert_eq!(report["run"]["engines"], 2);
        assert_eq!(processed(&ended, &place) + dropped(&report, "kernel_dropped"), 20_000, "{report}");
        let flows = totals(&events(&place.path("events")));
        assert_eq!(flows.keys().filter(|key| key.contains(GROUP)).count(), 64);
    });
}

#[test]
fn count_and_duration_end_a_live_run() {
    in_namespace(|| {
        let place = counting("");
        let (_place, running) =
            capturing(place, &["-i", "here", "--count", "300", "-f", "udp or ether proto 0x88b5", "--json"]);
        send(1_000, Duration::from_millis(1));
        let ended = running.wait(LIMIT);
        ended.exits(0);
        assert_eq!(ended.report()["run"]["packets"], 300);

        let place = counting("");
        let watch = Stopwatch::start();
        let ended = place.run(&["-i", "here", "--duration", "1s", "--json"], LIMIT);
        ended.exits(0);
        assert_eq!(ended.report()["run"]["packets"], 0);
        assert!(
            watch.elapsed() >= Duration::from_secs(1) && watch.elapsed() < Duration::from_secs(4),
            "{:?}",
            watch.elapsed()
        );
    });
}

#[test]
fn what_cannot_be_captured_is_explained() {
    in_namespace(|| {
        let place = counting("");
        let refused = |arguments: &[&str], parts: &[&str]| {
            let ended = place.run(arguments, LIMIT);
            ended.exits(2);
            assert_eq!((ended.stderr.lines().count(), ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
            assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{parts:?}: {}", ended.stderr);
        };
        refused(&["-i", "nowhere0"], &["millstream: nowhere0: no such interface; choose one of: ", "here", "there"]);
        let misspelt = place.run(&["-i", "here", "-f", "tcp prt 80"], LIMIT);
        misspelt.exits(2);
        assert!(misspelt.stderr.contains("this does not compile"), "{}", misspelt.stderr);
        assert!(ip("link set here down"));
        refused(&["-i", "here"], &["here: the interface is down: sudo ip link set here up"]);
        assert!(ip("link set here up"));

        // Nobody has no right; the program must be where nobody can read it.
        let program = place.path("millstream");
        std::fs::copy(env!("CARGO_BIN_EXE_millstream"), &program).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"])
            .arg(&program);
        command.args(["run", "-i", "here", "-p"]).arg(place.path("plugins"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("MILLSTREAM_DATA", "/nonexistent").current_dir("/");
        let ended = place.start_command(&mut command).wait(LIMIT);
        ended.exits(2);
        let line = format!("sudo setcap cap_net_raw,cap_net_admin=eip {}", program.display());
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("no right to capture") && ended.stderr.trim_end().ends_with(&line),
            "{}",
            ended.stderr
        );
    });
}
