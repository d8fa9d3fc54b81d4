//! Opening: who is the client, round trips, the state word.

use millstream::flow::{Direction, Flow, Happening, state};
use millstream::key;

use crate::flow_support::{ACK, RST, Run, SYN, ends, handshake, segment};

/// The flow of the first packet.
fn only_flow(run: &Run) -> Flow {
    *run.flows.flow(run.flows.of_packet(0).unwrap().flow).unwrap()
}

#[test]
fn a_handshake_gives_states_and_round_trip() {
    let (mut client, mut server) = ends();
    let packets: Vec<_> =
        handshake(&mut client, &mut server).into_iter().zip([0, 20, 25]).map(|(raw, ms)| raw.at(ms)).collect();
    let mut run = Run::new();
    run.batch(&packets);
    assert_eq!(run.log, ["0 new", "0 rtt 25000"]);
    let flow = only_flow(&run);
    assert_eq!(flow.setup_rtt, 25_000);
    let bits = state::INIT | state::SEEN_SYN | state::SEEN_SYN_ACK | state::SEEN_SYN_ACK_ACK | state::Z_END_SERVER;
    assert_eq!(flow.shown_state(), bits);
    assert_eq!((flow.packets, flow.payload), ([2, 1], [0, 0]));
}

#[test]
fn the_last_syn_counts_for_the_round_trip_and_it_is_told_once() {
    let (mut client, mut server) = ends();
    let syn = client.send(&mut server, SYN, b"");
    let packets = [
        syn.clone(),
        syn.at(1_000),
        server.send(&mut client, SYN | ACK, b"").at(1_030),
        client.send(&mut server, ACK, b"").at(1_040),
        client.send(&mut server, ACK, b"a").at(1_050),
    ];
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 >again", "0 rtt 40000", "0 >0:a"]);
}

#[test]
fn the_sender_of_the_syn_is_the_client_whatever_the_ports() {
    // From the lower port, so that the server is the A end.
    let packets = [segment((1, 80), (2, 9_000), 5, 0, SYN, 1_000, &[], b"")];
    let mut run = Run::new();
    run.batch(&packets);
    let flow = only_flow(&run);
    assert_eq!(flow.shown_state(), state::INIT | state::SEEN_SYN | state::A_END_SERVER);
    assert_eq!((flow.client(), flow.server()), (key::End::Z, key::End::A));
    assert_eq!(run.flows.of_packet(0).unwrap().direction, Direction::ToServer);
}

#[test]
fn the_sender_of_a_syn_ack_is_the_server() {
    let packets = [
        segment((1, 9_000), (2, 80), 700, 6, SYN | ACK, 1_000, &[], b""),
        segment((2, 80), (1, 9_000), 6, 701, ACK, 1_000, &[], b"hello"),
    ];
    let mut run = Run::new();
    run.batch(&packets);
    assert_eq!(run.log, ["0 new", "0 >0:hello"]);
    assert!(only_flow(&run).state & state::A_END_SERVER != 0);
}

#[test]
fn without_a_syn_the_first_sender_is_the_client_but_the_server_bit_a_guess() {
    let packets = [segment((2, 80), (1, 9_000), 50, 1, ACK, 1_000, &[], b"x")];
    let mut run = Run::new();
    run.batch(&packets);
    let flow = only_flow(&run);
    assert_eq!(flow.shown_state(), state::INIT | state::Z_END_SERVER);
    assert_eq!(flow.client(), key::End::Z);
    assert_eq!(run.log, ["0 new", "0 >0:x"]);
}

#[test]
fn both_ends_may_open_at_once() {
    let (mut one, mut other) = ends();
    let packets = [
        one.send(&mut other, SYN, b""),
        other.send(&mut one, SYN, b""),
        one.segment(&other, one.seq.wrapping_sub(1), other.seq, SYN | ACK, b""),
        other.segment(&one, other.seq.wrapping_sub(1), one.seq, SYN | ACK, b""),
        one.send(&mut other, ACK, b"a"),
        other.send(&mut one, ACK, b"b"),
    ];
    let mut run = Run::new();
    let events = run.feed(&packets);
    let data: Vec<_> = events.iter().filter(|event| !event.contains("rtt")).collect();
    assert_eq!(data, ["0 new", "0 >0:a", "0 <0:b"]);
}

#[test]
fn a_refused_connection_ends_with_the_reset() {
    let (mut client, mut server) = ends();
    let packets = [client.send(&mut server, SYN, b""), server.segment(&client, 0, client.seq, RST | ACK, b"")];
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 end rst"]);
}

#[test]
fn data_on_the_syn_is_the_beginning_of_the_stream() {
    let (mut client, mut server) = ends();
    let packets = [
        client.send(&mut server, SYN, b"early"),
        server.send(&mut client, SYN | ACK, b""),
        client.send(&mut server, ACK, b" late"),
    ];
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 >0:early", "0 rtt 0", "0 >5: late"]);
}

#[test]
fn a_new_attempt_with_another_number_is_the_same_half_open_flow() {
    let (mut client, mut server) = ends();
    let first = client.segment(&server, 1, 0, SYN, b"");
    let mut packets = vec![first];
    packets.extend(handshake(&mut client, &mut server));
    packets.push(client.send(&mut server, ACK, b"a"));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 >0:a"]);
}

#[test]
fn a_syn_in_an_established_connection_is_ignored_until_it_is_answered() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.segment(&server, 77_000, 0, SYN, b""));
    packets.push(client.send(&mut server, ACK, b"a"));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 >0:a"]);
    assert_eq!(run.flows.counts().syns_ignored, 1);
    let answer = [server.segment(&client, 5, 77_001, SYN | ACK, b""), client.segment(&server, 77_001, 6, ACK, b"new")];
    assert_eq!(run.feed(&answer), ["0 end idle", "1 new", "1 rtt 0", "1 >0:new"]);
}

#[test]
fn a_connection_that_takes_the_place_of_another_begins_with_its_syn() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, ACK, b"old").at(100));
    let syn = client.segment(&server, 77_000, 0, SYN, b"");
    packets.extend([syn.clone().at(1_000), syn.at(2_000)]);
    packets.push(server.segment(&client, 5, 77_001, SYN | ACK, b"").at(2_010));
    packets.push(client.segment(&server, 77_001, 6, ACK, b"new").at(2_030));
    for first in 1..packets.len() {
        let mut run = Run::new();
        let (mut old, mut began) = (None, Vec::new());
        for batch in [&packets[..first], &packets[first..]] {
            run.batch(batch);
            let news = run.flows.events().list().iter().filter(|event| event.what == Happening::New);
            began.extend(news.map(|event| event.time.as_nanos() / 1_000_000));
            let end = run.flows.events().list().iter().find(|event| matches!(event.what, Happening::End { .. }));
            old = old.or(end.map(|event| *run.flows.flow(event.flow).unwrap()));
            run.flows.settle();
        }
        let expected = ["0 new", "0 rtt 0", "0 >0:old", "0 >again", "0 end idle", "1 new", "1 rtt 30000", "1 >0:new"];
        assert_eq!(run.log, expected);
        assert_eq!(began, [0, 1_000], "told of with the time of the first packet");
        let (old, new) =
            (old.unwrap(), *run.flows.flow(run.flows.of_packet(run.batch.len() - 1).unwrap().flow).unwrap());
        let ms = |flow: &Flow| [flow.first, flow.last].map(|time| time.as_nanos() / 1_000_000);
        assert_eq!((ms(&old), old.packets, old.payload, old.retransmissions), ([0, 100], [3, 1], [3, 0], 0));
        assert_eq!((ms(&new), new.packets, new.payload, new.retransmissions), ([1_000, 2_030], [3, 1], [3, 0], 1));
        assert_eq!((old.bytes, new.bytes), ([123, 40], [123, 40]));
        let bits = state::INIT | state::SEEN_SYN | state::SEEN_SYN_ACK | state::SEEN_SYN_ACK_ACK | state::Z_END_SERVER;
        assert_eq!((new.shown_state(), new.setup_rtt), (bits, 30_000));
    }
}

#[test]
fn the_last_syn_that_may_begin_another_connection_counts_as_memory() {
    let (mut client, mut server) = ends();
    let mut run = Run::new();
    run.feed(&handshake(&mut client, &mut server));
    let before = run.flows.memory();
    let syn = |seq| client.segment(&server, seq, 0, SYN, b"");
    run.feed(&[syn(77_000)]);
    let kept = run.flows.memory();
    assert!(kept > before, "{before} {kept}");
    run.feed(&[syn(78_000), syn(79_000), syn(79_000)]);
    assert_eq!(run.flows.memory(), kept);
    run.feed(&[server.segment(&client, 5, 79_001, SYN | ACK, b"")]);
    assert_eq!((run.flows.memory(), run.flows.live()), (before, 1));
    assert_eq!(only_flow(&run).packets, [2, 1], "the last one, which came twice");
    run.feed(&[syn(80_000), client.segment(&server, 79_001, 6, RST | ACK, b"")]);
    // The flow that begins now has a lone SYN, and no connection.
    run.feed(&[syn(81_000)]);
    assert!(run.flows.memory() < before, "{before} {}", run.flows.memory());
}

#[test]
fn a_syn_that_nobody_answers_stays_in_the_flow_that_was_there() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.segment(&server, 77_000, 0, SYN, b"").at(1_000));
    let mut run = Run::new();
    run.batch(&packets);
    let flow = only_flow(&run);
    assert_eq!((flow.packets, flow.last.as_nanos()), ([3, 1], 1_000_000_000));
}

#[test]
fn the_same_syn_or_answer_again_is_a_retransmission() {
    let (mut client, mut server) = ends();
    let syn = client.send(&mut server, SYN, b"");
    let answer = server.send(&mut client, SYN | ACK, b"");
    let packets = [
        syn.clone(),
        syn.clone(),
        answer.clone(),
        syn,
        answer.clone(),
        client.send(&mut server, ACK, b"a"),
        answer,
        client.send(&mut server, ACK, b"b"),
    ];
    let mut run = Run::new();
    run.batch(&packets);
    let expected = ["0 new", "0 >again", "0 >again", "0 <again", "0 rtt 0", "0 >0:a", "0 <again", "0 >1:b"];
    assert_eq!(run.log, expected);
    assert_eq!((only_flow(&run).retransmissions, run.flows.counts().retransmissions), (4, 4));
}

#[test]
fn data_on_a_syn_that_comes_again_is_one_retransmission() {
    let (mut client, mut server) = ends();
    let syn = client.send(&mut server, SYN, b"early");
    let mut run = Run::new();
    assert_eq!(run.feed(&[syn.clone(), syn]), ["0 new", "0 >0:early", "0 >again"]);
}

/// A SYN, one answer to it with each of these numbers, and what the client sends after it chose one.
fn answered(numbers: &[u32], chosen: u32) -> Vec<String> {
    let (mut client, mut server) = ends();
    let mut packets = vec![client.send(&mut server, SYN, b"")];
    packets.extend(numbers.iter().map(|seq| server.segment(&client, *seq, client.seq, SYN | ACK, b"")));
    packets.push(client.segment(&server, client.seq, chosen + 1, ACK, b"ask"));
    packets.push(server.segment(&client, chosen + 1, client.seq + 3, ACK, b"tell"));
    Run::new().feed(&packets)
}

#[test]
fn of_two_answers_the_one_that_the_client_acknowledges_counts() {
    let expected = ["0 new", "0 rtt 0", "0 >0:ask", "0 <0:tell"];
    assert_eq!(answered(&[5_000, 99_000_000], 99_000_000), expected);
    assert_eq!(answered(&[99_000_000, 5_000], 5_000), expected);
    assert_eq!(answered(&[5_000, 99_000_000], 5_000), expected);
    assert_eq!(answered(&[99_000_000, 5_000], 99_000_000), expected);
}

#[test]
fn an_answer_with_another_number_counts_no_more_when_one_is_acknowledged() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(server.segment(&client, 99_000_000, client.seq, SYN | ACK, b""));
    packets.push(server.send(&mut client, ACK, b"tell"));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 <0:tell"]);
    assert_eq!(run.flows.counts().syns_ignored, 1);
}
