//! Closing: FINs, resets, what comes late.

use millstream::flow::{Happening, state};

use crate::flow_support::{ACK, FIN, RST, Raw, Run, SYN, ends, handshake};

fn flow_state(run: &Run) -> u16 {
    run.flows.flow(run.flows.of_packet(0).unwrap().flow).unwrap().shown_state()
}

#[test]
fn the_flow_ends_when_both_fins_are_acknowledged() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, FIN | ACK, b"bye"));
    packets.push(server.send(&mut client, ACK, b""));
    packets.push(server.send(&mut client, ACK, b"half-closed"));
    packets.push(server.send(&mut client, FIN | ACK, b""));
    packets.push(client.send(&mut server, ACK, b""));
    let mut run = Run::new();
    run.batch(&packets);
    assert_eq!(run.log, ["0 new", "0 rtt 0", "0 >0:bye", "0 <0:half-closed", "0 end fin"]);
    assert_eq!(run.flows.events().list().last().unwrap().packet, 7);
    let bits = state::SEEN_FIN | state::TERMINATED | state::INCOMPLETE | state::SEEN_RST;
    assert_eq!(flow_state(&run) & bits, state::SEEN_FIN | state::TERMINATED);
}

#[test]
fn both_ends_may_close_at_once() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    let fins = [
        client.segment(&server, client.seq, server.seq, FIN | ACK, b""),
        server.segment(&client, server.seq, client.seq, FIN | ACK, b""),
        client.segment(&server, client.seq + 1, server.seq + 1, ACK, b""),
        server.segment(&client, server.seq + 1, client.seq + 1, ACK, b""),
    ];
    packets.extend(fins);
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 end fin"]);
}

/// A connection that was closed, and its ends.
fn closed() -> (Run, crate::flow_support::End, crate::flow_support::End) {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, FIN | ACK, b""));
    packets.push(server.send(&mut client, FIN | ACK, b""));
    packets.push(client.send(&mut server, ACK, b""));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets).last().unwrap(), "0 end fin");
    (run, client, server)
}

#[test]
fn late_packets_open_no_flow_and_are_those_of_the_old_one() {
    let (mut run, mut client, mut server) = closed();
    let late = [
        server.segment(&client, server.seq - 1, client.seq, FIN | ACK, b"").at(500),
        client.send(&mut server, ACK, b"").at(1_900),
    ];
    assert_eq!(run.feed(&late), [""; 0]);
    assert_eq!(run.flows.counts().late_packets, 2);
    assert_eq!(run.flows.live(), 0);
    assert!(run.flows.of_packet(1).is_some());
    assert_eq!(
        run.feed(&[client.send(&mut server, ACK, b"").at(3_800)]),
        [""; 0],
        "what comes late may come later still"
    );
    assert_eq!(run.feed(&[client.send(&mut server, ACK, b"").at(6_000)]), ["1 new"]);
}

/// Packets of each flow when it is recorded, with a batch that ends after so many packets, and how many came late.
fn recorded(packets: &[Raw], first: usize) -> (Vec<[u64; 2]>, u64) {
    let ended = |run: &Run| -> Vec<[u64; 2]> {
        let ends = run.flows.events().list().iter().filter(|event| matches!(event.what, Happening::End { .. }));
        ends.map(|event| run.flows.flow(event.flow).unwrap().packets).collect()
    };
    let mut run = Run::new();
    let mut records = Vec::new();
    for batch in [&packets[..first], &packets[first..]] {
        run.batch(batch);
        records.extend(ended(&run));
        run.flows.settle();
    }
    run.flows.finish();
    records.extend(ended(&run));
    (records, run.flows.counts().late_packets)
}

#[test]
fn late_packets_are_in_no_record_wherever_a_batch_ends() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, FIN | ACK, b""));
    packets.push(server.send(&mut client, FIN | ACK, b""));
    packets.push(client.send(&mut server, ACK, b""));
    packets.push(server.segment(&client, server.seq - 1, client.seq, FIN | ACK, b"").at(500));
    packets.push(client.send(&mut server, ACK, b"").at(500));
    for first in 1..packets.len() {
        assert_eq!(recorded(&packets, first), (vec![[4, 2]], 2), "{first}");
    }
}

#[test]
fn each_attempt_that_is_refused_is_a_flow() {
    let (mut client, mut server) = ends();
    let syn = client.send(&mut server, SYN, b"");
    let refusal = server.segment(&client, 0, client.seq, RST | ACK, b"");
    let packets: Vec<Raw> =
        [0, 500, 1_000].into_iter().flat_map(|ms| [syn.clone().at(ms), refusal.clone().at(ms)]).collect();
    for first in 1..packets.len() {
        assert_eq!(recorded(&packets, first), (vec![[1, 1]; 3], 0), "{first}");
    }
}

#[test]
fn a_fin_again_is_a_retransmission_and_what_keeps_a_half_closed_connection_alive_is_none() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    let last = client.send(&mut server, FIN | ACK, b"bye");
    packets.extend([last.clone(), last]);
    packets.push(client.segment(&server, client.seq - 1, server.seq, FIN | ACK, b""));
    packets.push(client.segment(&server, client.seq - 1, server.seq, ACK, b""));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets)[2..], ["0 >0:bye", "0 >again", "0 >again"]);
}

#[test]
fn a_new_syn_after_the_end_opens_a_flow_and_the_old_one_again_does_not() {
    let (mut run, mut client, server) = closed();
    let old = client.segment(&server, 1_000, 0, SYN, b"").at(100);
    assert_eq!(run.feed(&[old]), [""; 0]);
    client.seq = 500_000;
    let new = client.segment(&server, 500_000, 0, SYN, b"").at(200);
    assert_eq!(run.feed(&[new]), ["1 new"]);
    assert_eq!(run.flows.live(), 1);
}

#[test]
fn resets_count_only_where_they_are_expected() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, ACK, b"abc"));
    packets.push(server.send(&mut client, ACK, b""));
    packets.push(client.segment(&server, client.seq + 2_000_000, 0, RST, b""));
    packets.push(client.segment(&server, client.seq.wrapping_sub(100), 0, RST, b""));
    packets.push(server.segment(&client, 0, 0, RST, b""));
    packets.push(client.send(&mut server, ACK, b"def"));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets), ["0 new", "0 rtt 0", "0 >0:abc", "0 >3:def"]);
    assert_eq!(run.flows.counts().resets_ignored, 3);
    assert_eq!(run.feed(&[client.send(&mut server, RST, b"")]), ["0 end rst"]);
}

#[test]
fn a_reset_after_a_fin_leaves_one_direction_open() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    packets.push(client.send(&mut server, FIN | ACK, b""));
    packets.push(server.segment(&client, server.seq, client.seq, RST | ACK, b""));
    let mut run = Run::new();
    run.batch(&packets);
    assert_eq!(run.log.last().unwrap(), "0 end rst");
    let bits = state::SEEN_FIN | state::SEEN_RST | state::INCOMPLETE | state::TERMINATED;
    assert_eq!(flow_state(&run) & bits, state::SEEN_FIN | state::SEEN_RST | state::INCOMPLETE);
}

#[test]
fn what_waits_comes_out_before_the_end() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    let _lost: Raw = client.send(&mut server, ACK, b"lost");
    packets.push(client.send(&mut server, ACK, b"kept"));
    packets.push(server.segment(&client, server.seq, client.seq, RST | ACK, b""));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets)[2..], ["0 >0+4", "0 >4:kept", "0 end rst"]);
}

#[test]
fn a_fin_before_the_last_data_waits_for_it() {
    let (mut client, mut server) = ends();
    let mut packets = handshake(&mut client, &mut server);
    let data = client.send(&mut server, ACK, b"data");
    packets.push(client.send(&mut server, FIN | ACK, b""));
    packets.push(data);
    packets.push(server.send(&mut client, FIN | ACK, b""));
    packets.push(client.send(&mut server, ACK, b""));
    let mut run = Run::new();
    assert_eq!(run.feed(&packets)[2..], ["0 >0:data", "0 end fin"]);
}
