//! Live capture in a network namespace of the test's own. Needs root and iproute2, and says so where they are absent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unsafe_code, reason = "namespaces and capabilities of a thread have no safe wrapper")]

mod capture_support;

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use millstream::capture::{Delivery, Fill, LiveOptions, LiveSource, OpenError, Source, SourceStats};
use millstream::packet::Batch;
use millstream::time::{Stopwatch, wall};

const CAP_NET_RAW: u32 = 1 << 13;

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}

/// Runs a test on a thread of its own in a new network namespace with the pair of interfaces `here` and `there`, which
/// goes away with the thread.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let runner = thread::spawn(move || {
        // SAFETY: the call changes nothing but the namespace of this thread.
        let entered = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
        if !entered || !ip("link add here type veth peer name there") {
            let note = "skipped: needs root and iproute2 to make a network namespace\n";
            std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes()).unwrap();
            return;
        }
        for name in ["here", "there"] {
            assert!(ip(&format!("link set {name} addrgenmode none")));
            assert!(ip(&format!("link set {name} up")));
        }
        test();
    });
    runner.join().unwrap();
}

/// An Ethernet frame of a type that nothing but the tests uses.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.resize(100, 0);
    frame
}

/// A UDP packet of one of many flows, in one of both directions.
fn datagram(number: u32) -> Vec<u8> {
    let (flow, back) = (number / 2 % 64, number % 2 == 1);
    let (mut addresses, mut ports) = ([[10, 0, 0, 1], [10, 0, 1, flow as u8]], [[4, 0], [0x10, flow as u8]]);
    if back {
        addresses.reverse();
        ports.reverse();
    }
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(addresses.concat());
    frame.extend(ports.concat());
    frame.extend([0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// Sends frames from the other end; pauses after every hundred.
fn send(count: u32, pause: Duration, frame: fn(u32) -> Vec<u8>) {
    let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
    for number in 0..count {
        sender.sendpacket(frame(number)).unwrap();
        if number % 100 == 99 && !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

fn options() -> LiveOptions {
    LiveOptions { filter: Some("ether proto 0x88b5 or udp".to_owned()), ..LiveOptions::new(vec!["here".to_owned()]) }
}

/// Reads until the sender is done and nothing has come for a while; `slow` is a pause after every batch.
fn receive(source: &mut LiveSource, done: &AtomicBool, slow: Duration) -> (Vec<Vec<u8>>, SourceStats) {
    let mut batch = Batch::new();
    let mut frames = Vec::new();
    let mut quiet = 0;
    while quiet < 10 {
        let clock = Stopwatch::start();
        match source.fill(&mut batch).unwrap() {
            Fill::Packets => {
                quiet = 0;
                frames.extend(batch.packets().iter().map(|packet| batch.packet_bytes(packet).to_vec()));
                thread::sleep(slow);
            }
            Fill::Idle => quiet += u32::from(done.load(Ordering::Acquire)),
            Fill::End => panic!("an interface has no end"),
        }
        assert!(clock.elapsed() < Duration::from_millis(500) + slow, "{:?}", clock.elapsed());
    }
    (frames, source.stats())
}

fn spawn_sender(count: u32, pause: Duration, frame: fn(u32) -> Vec<u8>) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    thread::spawn(move || {
        send(count, pause, frame);
        told.store(true, Ordering::Release);
    });
    done
}

#[test]
fn received_and_dropped_are_what_was_sent() {
    in_namespace(|| {
        // Slow, fast, and faster than the reader with a small buffer.
        let rates = [
            (1_000, Duration::from_millis(50), Duration::ZERO, 16 << 20),
            (30_000, Duration::from_micros(500), Duration::ZERO, 16 << 20),
            (60_000, Duration::ZERO, Duration::from_millis(30), 1 << 20),
        ];
        for delivery in [Delivery::Batched, Delivery::Immediate] {
            for (count, pause, slow, buffer_bytes) in rates {
                let mut source =
                    LiveSource::open(&LiveOptions { delivery, buffer_bytes, snaplen: 2_048, ..options() }).unwrap();
                let done = spawn_sender(count, pause, frame);
                let (frames, stats) = receive(&mut source, &done, slow);
                assert_eq!(
                    stats.packets + stats.kernel_dropped + stats.interface_dropped,
                    u64::from(count),
                    "{delivery:?}: {stats:?}"
                );
                assert_eq!(stats.kernel_received, stats.packets + stats.kernel_dropped);
                assert_eq!(stats.packets, frames.len() as u64);
                assert!(frames.is_sorted() && frames.iter().all(|frame| frame.len() == 100));
                if slow.is_zero() {
                    assert_eq!(stats.kernel_dropped, 0, "{delivery:?} {count}");
                } else {
                    assert!(stats.kernel_dropped > 0, "the reader was meant to be too slow");
                }
            }
        }
    });
}

#[test]
fn a_quiet_link_delivers_at_once_and_gives_the_caller_its_turn() {
    in_namespace(|| {
        for delivery in [Delivery::Batched, Delivery::Immediate] {
            let mut source = LiveSource::open(&LiveOptions { delivery, ..options() }).unwrap();
            let mut batch = Batch::new();
            let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
            let mut idle: Vec<Duration> = Vec::new();
            let mut ages: Vec<Duration> = Vec::new();
            for number in 0..21 {
                let clock = Stopwatch::start();
                assert_eq!(source.fill(&mut batch).unwrap(), Fill::Idle);
                idle.push(clock.elapsed());
                sender.sendpacket(frame(number)).unwrap();
                while source.fill(&mut batch).unwrap() == Fill::Idle {}
                ages.push(wall().since(batch.packets()[0].ts));
            }
            // Medians, as the machine may be busy with other things.
            idle.sort();
            ages.sort();
            assert!(idle[10] >= Duration::from_millis(5) && idle[10] < Duration::from_millis(15), "{idle:?}");
            assert!(ages[10] < Duration::from_millis(10), "{ages:?}");
        }
    });
}

#[test]
fn engines_share_an_interface_by_flow() {
    in_namespace(|| {
        let mut sources = LiveSource::open_engines(&options(), 2).unwrap();
        let done = spawn_sender(20_000, Duration::from_micros(500), datagram);
        let threads: Vec<_> = sources
            .drain(..)
            .map(|mut source| {
                let done = Arc::clone(&done);
                thread::spawn(move || receive(&mut source, &done, Duration::ZERO))
            })
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let counted: u64 = results.iter().map(|(_, stats)| stats.packets + stats.kernel_dropped).sum();
        assert_eq!(counted, 20_000);
        let mut engine_of = HashMap::new();
        for (engine, (frames, _)) in results.iter().enumerate() {
            assert!(frames.len() > 1_000, "{}", frames.len());
            for frame in frames {
                let ends: [Vec<u8>; 2] =
                    [[&frame[26..30], &frame[34..36]].concat(), [&frame[30..34], &frame[36..38]].concat()];
                let flow: Vec<Vec<u8>> = ends.iter().min().into_iter().chain(ends.iter().max()).cloned().collect();
                assert_eq!(*engine_of.entry(flow).or_insert(engine), engine, "a flow went to two engines");
            }
        }
        assert_eq!(engine_of.len(), 64);
    });
}

#[test]
fn an_interface_that_went_down_or_away_comes_back() {
    in_namespace(|| {
        let mut source = LiveSource::open(&options()).unwrap();
        let mut batch = Batch::new();
        let mut until = |source: &mut LiveSource, what: &str, reached: fn(&SourceStats) -> bool| {
            let clock = Stopwatch::start();
            while !reached(&source.stats()) {
                source.fill(&mut batch).unwrap();
                assert!(clock.elapsed() < Duration::from_secs(4), "{what}: {:?}", source.stats());
            }
            clock.elapsed()
        };
        send(10, Duration::ZERO, frame);
        until(&mut source, "first packets", |stats| stats.packets == 10);
        assert!(ip("link set here down"));
        until(&mut source, "down", |stats| stats.interface_down == 1);
        assert!(ip("link set here up"));
        let back = until(&mut source, "up again", |stats| stats.interface_back == 1);
        assert!(back < Duration::from_secs(2), "{back:?}");
        send(10, Duration::ZERO, frame);
        until(&mut source, "packets again", |stats| stats.packets == 20);
        assert!(ip("link del here"));
        until(&mut source, "away", |stats| stats.interface_down == 2);
        assert!(ip("link add here type veth peer name there"));
        assert!(ip("link set here up") && ip("link set there up"));
        until(&mut source, "there again", |stats| stats.interface_back == 2);
        send(10, Duration::ZERO, frame);
        until(&mut source, "packets of the new one", |stats| stats.packets == 30);
        until(&mut source, "the kernel's count over all handles", |stats| stats.kernel_received == 30);
    });
}

#[test]
fn several_interfaces_are_told_apart() {
    in_namespace(|| {
        let names = vec!["here".to_owned(), "there".to_owned()];
        let mut source = LiveSource::open(&LiveOptions { interfaces: names, ..options() }).unwrap();
        send(50, Duration::ZERO, frame);
        let mut batch = Batch::new();
        let mut origins: Vec<u16> = Vec::new();
        let clock = Stopwatch::start();
        while origins.len() < 100 && clock.elapsed() < Duration::from_secs(3) {
            source.fill(&mut batch).unwrap();
            origins.extend(batch.packets().iter().map(|packet| packet.origin));
        }
        assert_eq!(origins.iter().filter(|&&origin| origin == 0).count(), 50);
        assert_eq!(origins.iter().copied().collect::<HashSet<_>>().len(), 2);
        assert_eq!(source.origins()[1].to_string(), "there");
    });
}

/// Leaves the thread with only these capabilities.
fn keep_capabilities(kept: u32) {
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets: [u32; 6] = [kept, kept, 0, 0, 0, 0];
    // SAFETY: both arrays have the layout of the kernel's structures for version 3 and live through the call.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(outcome, 0);
}

#[test]
fn the_right_to_capture_is_enough_and_its_absence_is_explained() {
    in_namespace(|| {
        keep_capabilities(CAP_NET_RAW);
        let mut source = LiveSource::open(&options()).unwrap();
        send(5, Duration::ZERO, frame);
        let (frames, _) = receive(&mut source, &AtomicBool::new(true), Duration::ZERO);
        assert_eq!(frames.len(), 5);
        keep_capabilities(0);
        let error = LiveSource::open(&options()).err().unwrap();
        assert!(matches!(error, OpenError::CaptureRight { .. }), "{error}");
        let text = error.to_string();
        let executable = std::env::current_exe().unwrap();
        let line = format!("sudo setcap cap_net_raw,cap_net_admin=eip {}", executable.display());
        assert!(text.starts_with("here: no right to capture packets") && text.ends_with(&line), "{text}");
    });
}

#[test]
fn wrong_names_filters_and_interfaces_that_are_down_are_explained() {
    in_namespace(|| {
        let missing = LiveOptions { interfaces: vec!["nowhere0".to_owned()], ..options() };
        match LiveSource::open(&missing) {
            Err(OpenError::NoSuchInterface { available, .. }) => assert!(available.contains(&"here".to_owned())),
            other => panic!("{:?}", other.err()),
        }
        let wrong = LiveOptions { filter: Some("tcp prt 80".to_owned()), ..options() };
        assert!(matches!(LiveSource::open(&wrong), Err(OpenError::Filter(_))));
        assert!(ip("link set here down"));
        assert!(matches!(LiveSource::open(&options()), Err(OpenError::InterfaceDown { .. })));
    });
}
