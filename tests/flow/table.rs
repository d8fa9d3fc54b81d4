//! Which packets are one flow: timeouts, eviction, order, identity.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use millstream::flow::{FlowHandle, FlowWants, FlowsConfig, Timeouts};
use millstream::key::FlowTuple;
use millstream::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::proptest;

use crate::flow_support::{ACK, ALL, FIN, Raw, Run, SYN, ends, handshake, ipv4, ipv4_between, segment, udp};

#[test]
fn both_directions_and_a_ping_are_one_flow_each() {
    let packets = [
        udp((1, 5_000), (2, 53), b"ask"),
        udp((2, 53), (1, 5_000), b"answer"),
        ipv4(1, 2, 1, &[8, 0, 0, 0]),
        ipv4(1, 1, 2, &[0, 0, 0, 0]),
    ];
    let mut run = Run::new();
    run.batch(&packets);
    let expected = ["0 new", "0 >ask", "0 <answer", "1 new", "1 >\u{8}\0\0\0", "1 <\0\0\0\0"];
    assert_eq!(run.log, expected);
    let flow = *run.flows.flow(run.flows.of_packet(1).unwrap().flow).unwrap();
    assert_eq!((flow.packets, flow.bytes, flow.payload), ([1, 1], [31, 34], [3, 6]));
}

#[test]
fn what_is_not_ip_has_no_flow() {
    let mut run = Run::new();
    run.batch(&[Raw { ms: 0, bytes: vec![0; 60], uncaptured: 0 }]);
    assert_eq!(run.flows.of_packet(0), None);
    assert_eq!(run.flows.counts().created, 0);
}

#[test]
fn nothing_is_done_when_nobody_asks() {
    let mut run = Run::with(FlowsConfig::default(), FlowWants::default());
    run.batch(&[udp((1, 5_000), (2, 53), b"ask")]);
    assert_eq!(run.flows.of_packet(0), None);
    assert!(run.log.is_empty());
}

#[test]
fn stopped_datagrams_are_counted_and_give_no_events_until_another_flow_has_the_place() {
    let mut run = Run::new();
    run.batch(&[udp((1, 5_000), (2, 53), b"ask")]);
    run.flows.stop_payload(run.flows.of_packet(0).unwrap().flow);
    assert_eq!(run.feed(&[udp((1, 5_000), (2, 53), b"more")]), [""; 0]);
    let flow = run.flows.of_packet(0).unwrap().flow;
    assert_eq!(run.flows.flow(flow).unwrap().payload, [7, 0]);
    assert_eq!(run.feed(&[udp((1, 5_000), (2, 53), b"again").at(100_000)]).len(), 3);
    run.finish();
}

#[test]
fn silence_ends_a_flow_in_front_of_the_packet_that_shows_it() {
    let packets = [
        udp((1, 5_000), (2, 53), b"a"),
        udp((1, 6_000), (2, 53), b"b").at(59_999),
        udp((1, 7_000), (2, 53), b"c").at(61_000),
        udp((1, 6_000), (2, 53), b"d").at(119_999),
    ];
    let mut run = Run::new();
    run.batch(&packets);
    let expected = ["0 new", "0 >a", "1 new", "1 >b", "0 end idle", "2 new", "2 >c", "1 end idle", "3 new", "3 >d"];
    assert_eq!(run.log, expected);
    let ends: Vec<u32> = run.flows.events().list().iter().map(|event| event.packet).collect();
    assert_eq!(ends, [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]);
}

#[test]
fn kinds_have_timeouts_of_their_own() {
    let (mut client, mut server) = ends();
    let mut packets = vec![segment((9, 999), (8, 80), 1, 0, SYN, 100, &[], b""), ipv4(47, 3, 4, b"")];
    packets.extend(handshake(&mut client, &mut server));
    packets.push(udp((1, 5), (2, 6), b""));
    let mut run = Run::new();
    run.feed(&packets);
    let mut at = |seconds: i64| {
        run.flows.expire(Timestamp::new(seconds, 0));
        let from = run.log.len();
        run.note();
        run.flows.settle();
        let mut log = run.log[from..].to_vec();
        log.sort();
        log
    };
    assert_eq!(at(59), [""; 0]);
    assert_eq!(at(61), ["1 end idle", "3 end idle"]);
    assert_eq!(at(119), [""; 0]);
    assert_eq!(at(121), ["0 end idle", "2 end idle"], "TCP without FIN or RST, answered or not");
}

#[test]
fn attempts_to_connect_that_are_repeated_after_a_pause_are_one_flow() {
    // A host that gets no answer tries again after 1, 3, 7, 15, 31 and 63 seconds.
    let syn = |ms| segment((9, 999), (8, 80), 1, 0, SYN, 100, &[], b"").at(ms);
    let packets: Vec<Raw> = [0, 1_000, 3_000, 7_000, 15_000, 31_000, 63_000].map(syn).to_vec();
    assert_eq!(Run::new().feed(&packets).iter().filter(|line| line.ends_with("new")).count(), 1);
    // Of a connection whose beginning was not seen, what keeps it alive every 45 seconds.
    let packets: Vec<Raw> =
        (0..3).map(|i| segment((9, 999), (8, 22), 1, 7, ACK, 100, &[], b"").at(i * 45_000)).collect();
    assert_eq!(Run::new().feed(&packets).iter().filter(|line| line.ends_with("new")).count(), 1);
}

#[test]
fn flows_that_begin_and_end_in_one_batch_are_among_those_at_a_time() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, FIN | ACK, b""));
    packets.push(server.send(&mut client, FIN | ACK, b""));
    packets.push(client.send(&mut server, ACK, b""));
    packets.push(udp((1, 5), (2, 6), b"").at(10_000));
    packets.push(udp((3, 5), (4, 6), b"").at(90_000));
    let mut run = Run::new();
    run.feed(&packets);
    let counts = run.flows.counts();
    assert_eq!((counts.created, run.flows.live(), counts.live_peak), (3, 1, 1));
}

#[test]
fn a_busy_flow_ends_at_its_age_if_there_is_a_limit() {
    let timeouts = Timeouts { age: Some(Duration::from_secs(100)), ..Timeouts::default() };
    let mut run = Run::with(FlowsConfig { timeouts, ..FlowsConfig::default() }, ALL);
    let packets: Vec<Raw> = (0..15).map(|i| udp((1, 5), (2, 6), b"").at(i * 10_000)).collect();
    assert_eq!(run.feed(&packets), ["0 new", "0 end age", "1 new"]);
}

#[test]
fn jumps_in_time_cost_nothing_and_lose_nothing() {
    let day = 86_400_000;
    let packets = [
        udp((1, 5), (2, 6), b""),
        udp((1, 5), (2, 6), b"").at(400 * day),
        udp((1, 5), (2, 6), b"").at(0),
        udp((1, 5), (2, 6), b"").at(-400 * day),
        udp((1, 5), (2, 6), b"").at(i64::from(i32::MAX)),
    ];
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 end idle", "1 new"]);
    let mut run = Run::new();
    run.feed(&[udp((1, 5), (2, 6), b"").at(i64::MIN / 1_000_000), udp((1, 5), (2, 6), b"").at(i64::MAX / 1_000_000)]);
    run.flows.expire(Timestamp::from_nanos(i64::MAX));
    run.flows.expire(Timestamp::from_nanos(i64::MIN));
    assert_eq!(run.flows.counts().created, 2);
}

#[test]
fn what_ends_by_a_jump_in_time_is_shared_out_over_batches() {
    let mut run = Run::new();
    let packets: Vec<Raw> = (0..16_400u16).map(|port| udp((1, 20_000 + port), (2, 9), b"")).collect();
    run.feed(&packets);
    let later = |seconds: i64| udp((3, 5), (4, 6), b"").at(seconds * 1_000);
    run.feed(&[later(1_000)]);
    assert_eq!((run.flows.counts().ended(), run.flows.live()), (16_384, 17));
    run.feed(&[later(1_001)]);
    assert_eq!((run.flows.counts().ended(), run.flows.live()), (16_400, 1));
}

#[test]
fn handles_of_flows_that_are_gone_find_nothing() {
    let mut run = Run::new();
    run.batch(&[udp((1, 5), (2, 6), b"")]);
    let old = run.flows.of_packet(0).unwrap().flow;
    run.flows.settle();
    run.batch(&[udp((3, 5), (4, 6), b"").at(100_000)]);
    assert!(run.flows.flow(old).is_some(), "it stays until the batch is done");
    run.flows.settle();
    assert!(run.flows.flow(old).is_none());
    run.batch(&[udp((5, 5), (6, 6), b"").at(100_000)]);
    let new = run.flows.of_packet(0).unwrap().flow;
    assert_eq!(new.slot, old.slot);
    assert!(run.flows.flow(old).is_none());
}

#[test]
fn the_end_of_input_ends_flows_in_the_order_of_their_creation() {
    let mut run = Run::new();
    let packets: Vec<Raw> = (0..3_000).map(|port| udp((1, port), (2, 9_999), b"")).collect();
    run.feed(&packets);
    let expected: Vec<String> = (0..3_000).map(|number| format!("{number} end end")).collect();
    assert_eq!(run.finish(), expected);
}

#[test]
fn half_open_flows_are_evicted_before_established_ones() {
    let mut run = Run::with(FlowsConfig { memory: 1 << 20, ..FlowsConfig::default() }, ALL);
    let mut established = Vec::new();
    for port in 0..100 {
        let (mut client, mut server) = ends();
        client.port += port;
        established.extend(handshake(&mut client, &mut server));
    }
    run.feed(&established);
    for wave in 0..200u32 {
        let flood: Vec<Raw> = (0..256u32)
            .map(|i| {
                let number = (wave * 256 + i).to_be_bytes();
                let tcp = [9, 9, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, SYN, 1, 0, 0, 0, 0, 0];
                ipv4_between(6, [172, number[1], number[2], number[3]], [10, 0, 0, 2], &tcp).at(i64::from(wave))
            })
            .collect();
        run.feed(&flood);
        assert!(run.flows.memory() <= (1 << 20) + 256 * 256, "{}", run.flows.memory());
        let counts = run.flows.counts();
        assert_eq!(counts.created, counts.ended() + counts.evicted() + run.flows.live() as u64);
    }
    let counts = run.flows.counts();
    assert_eq!((counts.evicted_tcp, counts.evicted_half_open > 40_000), (0, true));
    run.finish();
}

#[test]
fn a_thousand_batches_of_one_flow_keep_one_flow() {
    let mut run = Run::new();
    for i in 0..1_000 {
        run.feed(&[segment((1, 9), (2, 8), 5, 0, ACK, 100, &[], b"").at(i)]);
    }
    assert_eq!(run.flows.counts().created, 1);
}

/// What a table without timers, slots or limits does.
#[derive(Default)]
struct Naive {
    flows: HashMap<FlowTuple, (i64, usize)>,
    created: usize,
}

impl Naive {
    fn packet(&mut self, tuple: FlowTuple, now: i64) -> usize {
        let timeout = 60_000;
        match self.flows.get_mut(&tuple) {
            Some((last, number)) if now - *last < timeout => {
                *last = now;
                *number
            }
            _ => {
                self.created += 1;
                self.flows.insert(tuple, (now, self.created));
                self.created
            }
        }
    }
}

proptest! {
    #[test]
    fn flows_are_those_of_the_naive_twin(
        packets in vec((0..2u8, 1..4u8, 1..4u8, 0..3u16, -5_000..70_000i64), 1..300),
        batch in 1..40usize,
    ) {
        let (mut run, mut naive) = (Run::new(), Naive::default());
        let mut now = 0;
        let raws: Vec<Raw> = packets
            .iter()
            .map(|&(kind, src, dst, port, step)| {
                now += if step % 3 == 0 { step } else { step / 100 };
                if kind == 0 { udp((src, port), (dst, 7), b"x") } else { ipv4(47, src, dst, b"y") }.at(now)
            })
            .collect();
        let mut numbers: HashMap<FlowHandle, usize> = HashMap::new();
        let mut latest = i64::MIN;
        for chunk in raws.chunks(batch) {
            run.batch(chunk);
            for (index, raw) in chunk.iter().enumerate() {
                latest = latest.max(raw.ms);
                let found = run.flows.of_packet(index).unwrap().flow;
                let tuple = run.flows.flow(found).unwrap().tuple;
                let number = naive.packet(tuple, latest);
                assert_eq!(*numbers.entry(found).or_insert(number), number);
            }
            let counts = run.flows.counts();
            assert_eq!(counts.created, counts.ended() + run.flows.live() as u64);
            run.flows.settle();
        }
        assert_eq!(run.flows.counts().created, naive.created as u64);
        assert_eq!(numbers.values().collect::<HashSet<_>>().len(), naive.created);
        run.flows.expire(Timestamp::new(100_000_000, 0));
        run.note();
        run.flows.settle();
        assert_eq!(run.flows.live(), 0);
        assert_eq!(run.log.iter().filter(|line| line.ends_with("end idle")).count(), naive.created);
    }
}
