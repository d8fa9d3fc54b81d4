//! Fragments: what they carry comes out once, whole, with the packet that completes it.

use millstream::flow::{FlowsConfig, StreamLimits};
use proptest::collection::vec;
use proptest::prelude::{Just, any, proptest};
use proptest::strategy::Strategy;

use crate::flow_support::{ACK, ALL, FIN, Raw, Run, SYN, ends, fragments, fragments6, handshake, udp};

#[test]
fn a_datagram_in_fragments_comes_out_once_and_whole() {
    for cut in [fragments, |raw: &Raw, id: u16, size| fragments6(raw, id.into(), size)] {
        let parts = cut(&udp((1, 5_000), (2, 53), b"one datagram in three pieces"), 7, 16);
        assert_eq!(parts.len(), 3);
        let mut run = Run::new();
        assert_eq!(run.feed(&parts[..2]), ["0 new"]);
        assert_eq!(run.feed(&parts[2..]), ["0 >one datagram in three pieces"]);
        let flow = *run.flows.flow(run.flows.of_packet(0).unwrap().flow).unwrap();
        assert_eq!((flow.packets.iter().sum::<u64>(), flow.payload.iter().sum::<u64>()), (3, 28));
        assert_eq!(run.finish(), ["0 end end"]);
    }
}

#[test]
fn before_the_first_fragment_the_flow_is_that_without_ports() {
    let parts = fragments(&udp((1, 5_000), (2, 53), b"last piece first"), 7, 8);
    let mut run = Run::new();
    let reversed: Vec<Raw> = parts.into_iter().rev().collect();
    assert_eq!(run.feed(&reversed), ["0 new", "1 new", "1 >last piece first"]);
    let ports = [0, 1, 2].map(|index| run.flows.flow(run.flows.of_packet(index).unwrap().flow).unwrap().tuple.port_a);
    assert_eq!(ports, [0, 0, 5_000]);
}

#[test]
fn pings_in_fragments_are_one_datagram_too() {
    let ping = crate::flow_support::ipv4(1, 1, 2, b"\x08\0..\0\x01\0\x01and so on and so forth");
    let run = &mut Run::new();
    let events = run.feed(&fragments(&ping, 9, 16));
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[1].ends_with("and so on and so forth"), "{events:?}");
}

#[test]
fn segments_in_fragments_are_parts_of_their_stream() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let parts = [
        client.send(&mut server, ACK, b"first, "),
        client.send(&mut server, ACK, b"second in fragments, "),
        client.send(&mut server, ACK, b"third"),
    ];
    let mut second = fragments(&parts[1], 1, 8);
    assert!(second.len() > 4);
    // The whole stream, with the header of the second segment in three pieces of which the last comes first.
    second.reverse();
    let mut packets = vec![parts[0].clone()];
    packets.extend(second);
    packets.push(parts[2].clone());
    let events = run.feed(&packets);
    let payload: Vec<&String> = events.iter().filter(|event| event.contains('>')).collect();
    assert_eq!(payload, ["0 >0:first, ", "0 >7:second in fragments, ", "0 >28:third"]);
}

#[test]
fn a_fragmented_segment_waits_for_the_one_before_it() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let (first, second) = (client.send(&mut server, ACK, b"ab"), client.send(&mut server, ACK, b"cdefghij"));
    assert_eq!(run.feed(&fragments(&second, 1, 16)), Vec::<String>::new());
    assert!(run.flows.held() > 0);
    assert_eq!(run.feed(&[first]), ["0 >0:ab", "0 >2:cdefghij"]);
}

#[test]
fn flags_in_fragments_count_when_the_header_is_whole() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    let mut packets = Vec::new();
    for packet in handshake(&mut client, &mut server) {
        packets.extend(fragments(&packet, packets.len() as u16, 8));
    }
    packets.extend(fragments(&client.send(&mut server, FIN | ACK, b"x"), 90, 8));
    packets.extend(fragments(&server.send(&mut client, FIN | ACK, b""), 91, 8));
    packets.extend(fragments(&client.send(&mut server, ACK, b""), 92, 8));
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 >0:x", "0 end fin"]);
}

#[test]
fn a_syn_in_fragments_begins_another_connection_when_it_is_whole() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let end = [
        client.send(&mut server, FIN | ACK, b""),
        server.send(&mut client, FIN | ACK, b""),
        client.send(&mut server, ACK, b""),
    ];
    assert_eq!(run.feed(&end), ["0 end fin"]);
    client.seq += 100_000;
    let parts = fragments(&client.send(&mut server, SYN, b""), 5, 8);
    assert_eq!(run.feed(&parts), ["1 new"]);
    let flow = run.flows.flow(run.flows.of_packet(parts.len() - 1).unwrap().flow).unwrap();
    assert_eq!(flow.packets.iter().sum::<u64>(), 1);
}

#[test]
fn what_lacks_a_fragment_is_a_hole() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let (lost, next) = (client.send(&mut server, ACK, b"0123456789"), client.send(&mut server, ACK, b"next"));
    let mut parts = fragments(&lost, 1, 16);
    parts.pop();
    parts.push(next);
    run.feed(&parts);
    assert_eq!(run.finish(), ["0 >0+10", "0 >10:next", "0 end end"]);
}

#[test]
fn fragments_that_were_cut_off_stay_a_hole() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let (lost, next) = (client.send(&mut server, ACK, b"0123456789"), client.send(&mut server, ACK, b"next"));
    let mut parts = fragments(&lost, 1, 16);
    let last = parts.pop().unwrap();
    parts.push(last.cut(3));
    parts.push(next);
    run.feed(&parts);
    assert_eq!(run.defrag.counters().cut, 1);
    assert_eq!(run.finish(), ["0 >0+10", "0 >10:next", "0 end end"]);
    let mut run = Run::new();
    let mut parts = fragments(&udp((1, 5_000), (2, 53), b"not all of it"), 7, 16);
    let last = parts.pop().unwrap();
    parts.push(last.cut(1));
    assert_eq!(run.feed(&parts), ["0 new"]);
}

#[test]
fn limits_of_streams_hold_for_what_fragments_carry() {
    let limits = StreamLimits { bytes: 64 << 10, ..StreamLimits::default() };
    let (mut client, mut server) = ends();
    let mut run = Run::with(FlowsConfig { streams: limits, ..FlowsConfig::default() }, ALL);
    run.feed(&handshake(&mut client, &mut server));
    let _lost = client.send(&mut server, ACK, b"x");
    let content = vec![b'y'; 20_000];
    for id in 0..10 {
        run.feed(&fragments(&client.send(&mut server, ACK, &content), id, 1_480));
        assert!(run.flows.held() <= (64 << 10) + 20_000, "{}", run.flows.held());
    }
    assert!(run.flows.counts().stream_limit > 0);
    run.finish();
}

/// Segments of a stream, the size of their fragments, and an order in which all of those arrive.
fn traffic() -> impl Strategy<Value = (Vec<usize>, usize, Vec<u64>)> {
    (vec(1..60_usize, 1..8), 1..5_usize, vec(any::<u64>(), 0..64))
        .prop_flat_map(|(sizes, eighths, order)| (Just(sizes), Just(eighths * 8), Just(order)))
}

proptest! {
    #[test]
    fn any_order_of_any_fragments_makes_the_stream((sizes, size, order) in traffic()) {
        let (mut client, mut server) = ends();
        let mut run = Run::new();
        run.feed(&handshake(&mut client, &mut server));
        let mut packets = Vec::new();
        let mut expected = String::new();
        for (id, len) in sizes.iter().enumerate() {
            let text: String = (0..*len).map(|index| char::from(b'a' + ((id * 7 + index) % 26) as u8)).collect();
            packets.extend(fragments(&client.send(&mut server, ACK, text.as_bytes()), id as u16, size));
            expected += &text;
        }
        let mut keyed: Vec<(u64, Raw)> =
            packets.into_iter().enumerate().map(|(index, raw)| (order.get(index).copied().unwrap_or(0), raw)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let packets: Vec<Raw> = keyed.into_iter().map(|(_, raw)| raw).collect();
        let mut events = run.feed(&packets);
        events.extend(run.finish());
        let stream: String =
            events.iter().filter_map(|event| event.split_once('>')?.1.split_once(':').map(|(_, text)| text)).collect();
        assert_eq!(stream, expected);
        assert!(events.iter().all(|event| !event.contains('+')), "{events:?}");
    }
}
