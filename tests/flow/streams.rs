//! Streams: order, holes, repeats, windows, limits.

use millstream::flow::{FlowsConfig, StreamLimits};
use proptest::collection::vec;
use proptest::prelude::{Just, any, proptest};
use proptest::strategy::Strategy;

use crate::flow_support::{ACK, ALL, End, Raw, Run, SYN, ends, handshake, segment};

/// An open connection.
fn open(config: FlowsConfig) -> (Run, End, End) {
    let (mut client, mut server) = ends();
    let mut run = Run::with(config, ALL);
    run.feed(&handshake(&mut client, &mut server));
    (run, client, server)
}

#[test]
fn segments_in_order_come_one_by_one_and_late_ones_release_the_others() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    let parts: Vec<Raw> =
        ["a", "bb", "ccc", "d"].iter().map(|text| client.send(&mut server, ACK, text.as_bytes())).collect();
    let order = [&parts[0], &parts[2], &parts[3], &parts[1]].map(Raw::clone);
    assert_eq!(run.feed(&order), ["0 >0:a", "0 >1:bb", "0 >3:ccc", "0 >6:d"]);
    assert_eq!(run.flows.counts().retransmissions, 0);
}

#[test]
fn repeats_are_told_and_cut_off_and_keep_alives_are_neither() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    let first = client.send(&mut server, ACK, b"abc");
    let start = client.seq.wrapping_sub(3);
    let packets = [
        first.clone(),
        first,
        client.segment(&server, client.seq - 1, server.seq, ACK, b"\0"),
        client.segment(&server, client.seq - 1, server.seq, ACK, b""),
        client.segment(&server, start + 1, server.seq, ACK, b"XXd"),
    ];
    assert_eq!(run.feed(&packets), ["0 >0:abc", "0 >again", "0 >3:d", "0 >again"]);
    let flow = run.flows.flow(run.flows.of_packet(0).unwrap().flow).unwrap();
    assert_eq!(flow.retransmissions, 2);
}

#[test]
fn zero_window_probes_are_no_repeats() {
    let from = ((1, 40_000), (2, 80));
    let mut small = Run::new();
    let syn = segment(from.0, from.1, 999, 0, SYN, 8, &[], b"");
    let answer = segment(from.1, from.0, 8_999, 1_000, SYN | ACK, 4, &[], b"");
    let (client, server) = ends();
    small.feed(&[syn, answer, client.segment(&server, 1_000, 9_000, ACK, b"")]);
    let filled = client.segment(&server, 1_000, 9_000, ACK, b"wxyz");
    let shut = segment(from.1, from.0, 9_000, 1_004, ACK, 0, &[], b"");
    let ask = client.segment(&server, 1_004, 9_000, ACK, b"1");
    let more = client.segment(&server, 1_004, 9_000, ACK, b"123");
    let events = small.feed(&[filled, shut, ask.clone(), ask, more]);
    assert_eq!(events, ["0 >0:wxyz", "0 >4:1", "0 >5:23"]);
}

#[test]
fn without_a_beginning_the_first_byte_seen_is_position_0() {
    let (client, server) = ends();
    let packets = [
        client.segment(&server, 5_000, 1, ACK, b"cd"),
        client.segment(&server, 4_998, 1, ACK, b"ab"),
        client.segment(&server, 5_002, 1, ACK, b"ef"),
        server.segment(&client, 1, 5_004, ACK, b"answer"),
    ];
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 >0:cd", "0 >2:ef", "0 <0:answer"]);
}

#[test]
fn segments_beyond_the_window_are_ignored_and_counted() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    let packets = [
        client.segment(&server, client.seq.wrapping_add(10_000_000), server.seq, ACK, b"evil"),
        client.segment(&server, client.seq.wrapping_sub(10_000), server.seq, ACK, b"evil"),
        client.send(&mut server, ACK, b"good"),
    ];
    assert_eq!(run.feed(&packets), ["0 >0:good"]);
    assert_eq!(run.flows.counts().out_of_window, 2);
}

#[test]
fn the_urgent_pointer_does_not_take_bytes_out() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    let urgent = client.send(&mut server, ACK | 0x20, b"ab!");
    assert_eq!(run.feed(&[urgent, client.send(&mut server, ACK, b"cd")]), ["0 >0:ab!", "0 >3:cd"]);
}

#[test]
fn bytes_that_were_not_captured_are_a_gap() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    let packets = [client.send(&mut server, ACK, b"abcdef").cut(4), client.send(&mut server, ACK, b"gh")];
    assert_eq!(run.feed(&packets), ["0 >0:ab", "0 >2+4", "0 >6:gh"]);
    let flow = run.flows.flow(run.flows.of_packet(0).unwrap().flow).unwrap();
    assert_eq!(flow.payload, [8, 0]);
    assert_eq!((run.flows.counts().gaps, run.flows.counts().gap_bytes), (1, 4));
}

#[test]
fn a_hole_is_given_up_when_too_much_waits_behind_it() {
    let streams = StreamLimits { bytes: 10, ..StreamLimits::default() };
    let (mut run, mut client, mut server) = open(FlowsConfig { streams, ..FlowsConfig::default() });
    client.seq += 5;
    let packets: Vec<Raw> = ["aaaa", "bbbb", "cccc"].map(|text| client.send(&mut server, ACK, text.as_bytes())).into();
    assert_eq!(run.feed(&packets), ["0 >0+5", "0 >5:aaaa", "0 >9:bbbb", "0 >13:cccc"]);
    assert_eq!(run.flows.counts().stream_limit, 1);
    assert_eq!((run.flows.counts().gaps, run.flows.counts().gap_bytes), (1, 5));
    assert_eq!(run.flows.held(), 0);
}

#[test]
fn a_hole_is_given_up_when_too_many_segments_wait_behind_it() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    client.seq += 5;
    let packets: Vec<Raw> = (0..1_025).map(|_| client.send(&mut server, ACK, b"x")).collect();
    let events = run.feed(&packets);
    assert_eq!((events.len(), events[0].as_str()), (1_026, "0 >0+5"));
}

#[test]
fn all_streams_together_have_a_limit() {
    let streams = StreamLimits { total: 3_000, ..StreamLimits::default() };
    let mut run = Run::with(FlowsConfig { streams, ..FlowsConfig::default() }, ALL);
    for port in 0..20 {
        let (mut client, mut server) = ends();
        client.port += port;
        let mut packets = handshake(&mut client, &mut server);
        client.seq += 5;
        packets.push(client.send(&mut server, ACK, &[b'x'; 500]));
        run.feed(&packets);
        assert!(run.flows.held() <= 3_000);
    }
    assert!(run.flows.counts().stream_total_limit > 10);
    run.finish();
}

#[test]
fn a_stopped_stream_gives_nothing_more_and_holds_nothing() {
    let (mut run, mut client, mut server) = open(FlowsConfig::default());
    client.seq += 1;
    run.batch(&[client.send(&mut server, ACK, b"waits")]);
    let flow = run.flows.of_packet(0).unwrap().flow;
    run.flows.stop_payload(flow);
    assert_eq!(run.flows.counts().stream_bytes_dropped, 5);
    client.seq -= 6;
    let packets = [client.send(&mut server, ACK, b"?waits"), client.send(&mut server, ACK, b"more")];
    assert_eq!(run.feed(&packets), ["0 >again"]);
    assert_eq!(run.finish(), ["0 end end"]);
}

/// A message cut into segments, which are sent in some order, some of them twice.
fn shuffled() -> impl Strategy<Value = (u32, Vec<u8>, Vec<(usize, usize)>)> {
    (any::<u32>(), vec(any::<u8>(), 1..200), vec(1..30usize, 1..20)).prop_flat_map(|(isn, message, sizes)| {
        let mut parts = Vec::new();
        let mut at = 0;
        for size in sizes.into_iter().cycle() {
            if at >= message.len() {
                break;
            }
            let end = (at + size).min(message.len());
            // Segments overlap the ones before.
            parts.push((at.saturating_sub(size / 3), end));
            at = end;
        }
        let twice = [parts.clone(), parts].concat();
        let isn = if isn % 2 == 0 { u32::MAX - isn % 150 } else { isn };
        (Just(isn), Just(message), Just(twice).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn whatever_the_order_the_stream_is_the_message((isn, message, parts) in shuffled(), batch in 1..8usize) {
        let (mut client, mut server) = ends();
        client.seq = isn;
        let mut run = Run::new();
        run.feed(&handshake(&mut client, &mut server));
        let first = client.seq;
        let packets: Vec<Raw> = parts
            .iter()
            .map(|&(from, to)| client.segment(&server, first.wrapping_add(from as u32), server.seq, ACK, &message[from..to]))
            .collect();
        let mut stream = Vec::new();
        for chunk in packets.chunks(batch) {
            run.batch(chunk);
            for event in run.flows.events().list() {
                if let millstream::flow::Happening::Payload { position, bytes, .. } = event.what {
                    assert_eq!(position, stream.len() as u64);
                    stream.extend_from_slice(run.flows.events().bytes(&run.batch, bytes));
                }
            }
            run.flows.settle();
        }
        assert_eq!(stream, message);
        assert_eq!(run.flows.held(), 0);
    }
}
