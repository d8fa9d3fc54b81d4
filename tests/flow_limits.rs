//! Floods in the sizes that the limits of the flow stage are made for: what is kept, what goes, and what it costs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use millstream::decode::{Decoder, Registry};
use millstream::flow::{FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::key::FlowTuple;
use millstream::packet::{Batch, LinkType, Packet};
use millstream::time::Timestamp;
use support::conversation::Conversation;
use support::{Bench, Capture, frames};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const MIB: usize = 1 << 20;
/// What a batch may add before what was evicted in it is freed.
const SLACK: usize = 256 * 512;
const SERVER: ([u8; 4], u16) = ([10, 9, 0, 1], 80);

type Place = ([u8; 4], u16);

/// Puts packets through the flow stage and holds it to its limits after every batch.
struct Flood {
    flows: Flows,
    limit: usize,
    batch: Batch,
    decoder: Decoder,
    registry: Registry,
    micros: i64,
    /// Bytes of events so far.
    delivered: u64,
}

impl Flood {
    fn new(config: FlowsConfig) -> Self {
        let wants = FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::Yes };
        Self {
            flows: Flows::new(config, wants),
            limit: config.memory,
            batch: Batch::new(),
            decoder: Decoder::new(),
            registry: Registry::new(),
            micros: 0,
            delivered: 0,
        }
    }

    fn push(&mut self, proto: u8, from: Place, to: Place, rest: &[u8], payload: &[u8]) {
        let start = self.batch.buffer.len();
        let buffer = &mut self.batch.buffer;
        let total = (24 + rest.len() + payload.len()) as u16;
        buffer.extend([0x45, 0]);
        buffer.extend(total.to_be_bytes());
        buffer.extend([0, 0, 0, 0, 64, proto, 0, 0]);
        buffer.extend(from.0);
        buffer.extend(to.0);
        buffer.extend(from.1.to_be_bytes());
        buffer.extend(to.1.to_be_bytes());
        buffer.extend(rest);
        buffer.extend(payload);
        let len = (self.batch.buffer.len() - start) as u32;
        let time = Timestamp::from_nanos(self.micros * 1_000);
        self.batch.push(Packet::new(time, start as u32, len, len, LinkType::RAW, 0));
        if self.batch.is_full() {
            self.flush();
        }
    }

    fn tcp(&mut self, from: Place, to: Place, (seq, ack): (u32, u32), flags: u8, payload: &[u8]) {
        let mut rest = [0; 16];
        rest[..4].copy_from_slice(&seq.to_be_bytes());
        rest[4..8].copy_from_slice(&ack.to_be_bytes());
        rest[8..12].copy_from_slice(&[0x50, flags, 0xFF, 0xFF]);
        self.push(6, from, to, &rest, payload);
    }

    fn udp(&mut self, from: Place, to: Place) {
        self.push(17, from, to, &[0, 9, 0, 0], b"x");
    }

    fn establish(&mut self, client: Place) {
        self.tcp(client, SERVER, (99, 0), SYN, b"");
        self.tcp(SERVER, client, (499, 100), SYN | ACK, b"");
        self.tcp(client, SERVER, (100, 500), ACK, b"hello");
    }

    fn flush(&mut self) {
        self.decoder.decode(&self.registry, &mut self.batch);
        self.flows.process(&self.batch, &Fragments::default());
        self.flows.settle();
        self.batch.clear();
        self.batch.buffer.clear();
        self.delivered += self.flows.events().list().len() as u64;
        let counts = self.flows.counts();
        assert_eq!(counts.created, counts.ended() + counts.evicted() + self.flows.live() as u64);
        assert!(self.flows.memory() <= self.limit + SLACK, "{}", self.flows.memory());
    }

    fn finish(&mut self) {
        self.flush();
        while self.flows.finish() == Want::Yes {
            self.flows.settle();
        }
        self.flows.settle();
        let counts = self.flows.counts();
        assert_eq!(counts.created, counts.ended() + counts.evicted());
        assert_eq!((self.flows.live(), self.flows.held()), (0, 0));
    }
}

/// A client of its own for each number.
fn client(number: u32) -> Place {
    let [_, b, c, d] = number.to_be_bytes();
    ([172, b, c, d], 40_000)
}

/// Memory of this process. Each test runs in one of its own.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// Processor time of this thread so far, nanoseconds.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_syn_flood_of_ten_million_flows_leaves_established_ones_alone() {
    let mut flood = Flood::new(FlowsConfig::default());
    let established: Vec<Place> =
        (0..1_000).map(|number| ([10, 0, (number / 256) as u8, number as u8], 50_000)).collect();
    established.iter().for_each(|place| flood.establish(*place));
    for number in 0..10_000_000 {
        // A microsecond each: all within the time that a half-open flow may take.
        flood.micros += 1;
        flood.tcp(client(number), SERVER, (number, 0), SYN, b"");
    }
    flood.flush();
    let counts = flood.flows.counts();
    assert_eq!(counts.created, 10_001_000);
    let tuple = |place: &Place| FlowTuple::v4(6, place.0, SERVER.0, place.1, SERVER.1).0;
    let survivors = established.iter().filter(|place| flood.flows.find(&tuple(place)).is_some()).count();
    assert!(survivors >= 990, "{survivors}");
    assert!(counts.evicted_tcp <= 10, "{counts:?}");
    eprintln!("{} evicted, {} live, {} MiB resident", counts.evicted(), flood.flows.live(), resident() / MIB);
    assert!(resident() < 500 * MIB, "{}", resident());
    flood.finish();
}

#[test]
fn connections_that_never_end_are_evicted_at_the_limit_and_end_by_silence() {
    let mut flood = Flood::new(FlowsConfig { memory: 32 * MIB, ..FlowsConfig::default() });
    for number in 0..250_000 {
        flood.micros += 100;
        flood.establish(client(number));
    }
    flood.flush();
    let counts = flood.flows.counts();
    assert!(counts.evicted_tcp > 10_000, "{counts:?}");
    assert!(flood.flows.live() > 50_000, "{}", flood.flows.live());
    // An hour of silence.
    flood.micros += 3_600_000_000;
    while flood.flows.live() > 1 {
        flood.udp(client(1), SERVER);
        flood.flush();
    }
    assert_eq!(flood.flows.counts().ended_idle + counts.evicted(), 250_000);
    flood.finish();
}

#[test]
fn a_million_live_flows_take_less_than_500_mb_however_often_they_come_back() {
    let mut flood = Flood::new(FlowsConfig { memory: 512 * MIB, ..FlowsConfig::default() });
    let mut rounds = Vec::new();
    for _ in 0..4 {
        for number in 0..1_000_000 {
            flood.udp(client(number), SERVER);
        }
        flood.flush();
        assert_eq!(flood.flows.live(), 1_000_000);
        rounds.push(resident());
        // Longer than any timeout; the next round begins with their ends.
        flood.micros += 600_000_000;
        while flood.flows.live() > 1 {
            flood.udp(client(0), SERVER);
            flood.flush();
        }
        flood.micros += 600_000_000;
    }
    eprintln!("MiB resident: {:?}", rounds.iter().map(|bytes| bytes / MIB).collect::<Vec<_>>());
    assert!(rounds.iter().all(|bytes| *bytes < 500_000_000), "{rounds:?}");
    assert!(rounds[3] <= rounds[0] + rounds[0] / 20, "{rounds:?}");
}

#[test]
fn what_waits_for_missing_bytes_has_a_limit_each_and_one_for_all() {
    let mut flood = Flood::new(FlowsConfig::default());
    let payload = vec![b'x'; 32_000];
    let mut most = 0;
    for number in 0..300 {
        flood.tcp(client(number), SERVER, (1_000, 1), ACK, b"first");
        let before = flood.flows.held();
        // Behind one missing byte, more than a direction may hold.
        for part in 0..40 {
            flood.tcp(client(number), SERVER, (1_006 + part * 32_000, 1), ACK, &payload);
            flood.flush();
            most = most.max(flood.flows.held());
            assert!(flood.flows.held() <= before + MIB + 2 * 32_000, "{}", flood.flows.held());
        }
        // And once more, so that it waits again to the end.
        for part in 0..30 {
            flood.tcp(client(number), SERVER, (2_000_000 + part * 32_000, 1), ACK, &payload);
            flood.flush();
            most = most.max(flood.flows.held());
        }
    }
    let counts = flood.flows.counts();
    assert!(most > 200 * MIB && most <= 256 * MIB, "{most}");
    assert!(counts.stream_limit > 0 && counts.stream_total_limit > 0, "{counts:?}");
    flood.finish();
}

/// Cost of finding flows, whose two ends are made from a number, in nanoseconds.
fn cost(ends: impl Fn(u32) -> (Place, Place)) -> u64 {
    let mut flood = Flood::new(FlowsConfig { memory: 512 * MIB, ..FlowsConfig::default() });
    let begin = spent();
    for _ in 0..2 {
        for number in 0..60_000 {
            let (from, to) = ends(number);
            flood.udp(from, to);
        }
    }
    flood.flush();
    assert_eq!(flood.flows.counts().created, 60_000);
    spent() - begin
}

#[test]
fn keys_made_to_collide_cost_no_more_than_others() {
    let random = |number: u32| {
        let mixed = (u64::from(number) + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
            .wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let [a, b, c, d, e, f, g, h] = mixed.to_be_bytes();
        (([a, b, c, d], 40_000), ([e, f, g, h], 53))
    };
    // Address pairs whose exclusive or, or whose sum, is always the same, and ones that differ in the upper half only.
    let alike = |number: u32| ((number.to_be_bytes(), 40_000), ((number ^ 0x0A0B_0C0D).to_be_bytes(), 53));
    let balanced =
        |number: u32| ((number.to_be_bytes(), 40_000), (0xE000_0000_u32.wrapping_sub(number).to_be_bytes(), 53));
    let upper =
        |number: u32| (((number << 16).to_be_bytes(), 40_000), ((number >> 16 | 0x0A00_0000).to_be_bytes(), 53));
    // The least of several, as everything else that runs only adds.
    let (mut plain, mut chosen) = (u64::MAX, [u64::MAX; 3]);
    for _ in 0..7 {
        plain = plain.min(cost(random));
        chosen[0] = chosen[0].min(cost(alike));
        chosen[1] = chosen[1].min(cost(balanced));
        chosen[2] = chosen[2].min(cost(upper));
    }
    eprintln!("random {plain} ns, chosen {chosen:?} ns");
    for one in chosen {
        assert!(one * 2 <= plain * 3, "random {plain} ns, chosen {chosen:?} ns");
    }
}

#[test]
fn a_reset_far_outside_the_window_ends_no_flow() {
    let mut flood = Flood::new(FlowsConfig::default());
    for number in 0..1_000 {
        flood.establish(client(number));
        for step in 1..50_u32 {
            flood.tcp(client(number), SERVER, (100_u32.wrapping_add(step * 80_000_000), 500), 0x04, b"");
        }
    }
    flood.flush();
    assert_eq!((flood.flows.live(), flood.flows.counts().resets_ignored), (1_000, 49_000));
    for number in 0..1_000 {
        flood.tcp(client(number), SERVER, (105, 500), FIN | ACK, b"");
        flood.tcp(SERVER, client(number), (500, 106), FIN | ACK, b"");
        flood.tcp(client(number), SERVER, (106, 501), ACK, b"");
    }
    flood.flush();
    assert_eq!(flood.flows.counts().ended_fin, 1_000);
    flood.finish();
}

/// How many flows ended, and for which reasons, in a run with these options.
fn ends(capture: &Capture, options: &[&str]) -> Vec<String> {
    let outcome = Bench::new().args(&[&["--flows"], options].concat()).run(capture);
    outcome.exits(0).fields("flow", &["reason"])
}

#[test]
fn people_say_how_long_flows_live() {
    let packet = || frames::udp_packet((5000, 6000), b"x");
    let udp = (0..6).fold(Capture::new(), |capture, number| capture.at(100 + number * 10, packet()));
    assert_eq!(ends(&udp, &[]), ["end"]);
    assert_eq!(ends(&udp, &["--udp-timeout", "5s"]), ["idle", "idle", "idle", "idle", "idle", "end"]);
    assert_eq!(ends(&udp, &["--tcp-timeout", "5s"]), ["end"]);
    assert_eq!(ends(&udp, &["--flow-age", "25s"]), ["age", "end"]);

    let tcp = Conversation::open(40_000, 80).client(b"a").wait(10).client(b"b").wait(10).client(b"c").capture();
    assert_eq!(ends(&tcp, &[]), ["end"]);
    // What follows is a connection whose beginning was not seen, a packet at a time: it has no other time.
    assert_eq!(ends(&tcp, &["--tcp-timeout", "5s"]), ["idle", "idle", "end"]);
    assert_eq!(ends(&tcp, &["--udp-timeout", "5s"]), ["end"]);
}

#[test]
fn people_say_how_much_traffic_may_take() {
    let flood = (0..20_000_u32).fold(Capture::new(), |capture, number| {
        let [_, _, high, low] = number.to_be_bytes();
        let source = format!("172.16.{high}.{low}");
        let packet = frames::ether(&frames::ipv4(&source, "10.0.0.9", 17, &frames::udp((5000, 6000), b"x")));
        capture.at_micros(100, number, packet)
    });
    let evicted = |options: &[&str]| {
        let outcome = Bench::new().args(&[&["--flows"], options].concat()).run(&flood);
        assert_eq!(outcome.exits(0).of("flow").len(), 20_000);
        outcome.dropped("flow_evicted_udp")
    };
    assert_eq!(evicted(&[]), 0);
    // 128 bytes a flow, and the index.
    let most = evicted(&["--flow-memory", "1m"]);
    assert!((12_000..14_000).contains(&most), "{most}");
    assert!(evicted(&["--flow-memory", "1m", "--engines", "2"]) >= 12_000);
}
