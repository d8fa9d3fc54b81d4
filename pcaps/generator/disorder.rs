//! TCP connections whose segments come late, twice, or on top of each other.

use std::net::SocketAddr;

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};
use super::wire::flag;

use Direction::{ToClient, ToServer};

const DATA: u8 = flag::PSH | flag::ACK;

fn connected(port: u16) -> Conversation {
    let client = SocketAddr::new([10, 20, 0, 13].into(), port);
    let mut talk = Conversation::new(client, SocketAddr::new([192, 0, 2, 80].into(), 7_000), START);
    talk.open();
    talk
}

/// Lines that say where in the stream they belong, so that a wrong order can be read off.
fn lines(count: usize) -> Vec<u8> {
    (0..count).map(|i| format!("line {i:05} of the stream\n")).collect::<String>().into_bytes()
}

/// Ends a connection in which segments were placed by hand: `sent` bytes went to the client.
fn finish(mut talk: Conversation, sent: usize) -> Trace {
    talk.seq[1] = talk.seq[1].wrapping_add(super::container::word(sent));
    talk.acknowledge(ToServer);
    talk.close();
    let mut trace = Trace::default();
    trace.datagrams(&talk.datagrams);
    trace
}

/// Segments of 1000 bytes in the order 0 2 1 5 4 3 6, then the FIN before the last piece.
pub fn out_of_order() -> Trace {
    let mut talk = connected(50_101);
    let data = lines(320);
    let base = talk.seq[1];
    let piece = |i: usize| &data[i * 1_000..(i + 1) * 1_000];
    for i in [0, 2, 1, 5, 4, 3, 6] {
        talk.segment(ToClient, DATA, base.wrapping_add(i as u32 * 1_000), piece(i));
        talk.wait(2 * MILLISECOND);
    }
    talk.segment(ToClient, flag::FIN | flag::ACK, base.wrapping_add(8_000), &[]);
    talk.segment(ToClient, DATA, base.wrapping_add(7_000), &data[7_000..8_000]);
    talk.seq[1] = base.wrapping_add(8_001);
    talk.acknowledge(ToServer);
    talk.next(ToServer, flag::FIN | flag::ACK, &[]);
    talk.acknowledge(ToClient);
    let mut trace = Trace::default();
    trace.datagrams(&talk.datagrams);
    trace
}

/// A lost segment sent again, a needless repeat, a keep-alive probe; the sequence numbers pass zero on the way.
pub fn retransmission() -> Trace {
    let client = SocketAddr::new([10, 20, 0, 13].into(), 50_102);
    let mut talk = Conversation::new(client, SocketAddr::new([192, 0, 2, 80].into(), 7_000), START);
    talk.seq[1] = u32::MAX - 2_499;
    talk.open();
    let data = lines(200);
    let base = talk.seq[1];
    let at = |offset: usize| base.wrapping_add(offset as u32);
    for (from, to) in [(0, 1_000), (2_000, 3_000), (3_000, 4_000)] {
        talk.segment(ToClient, DATA, at(from), &data[from..to]);
    }
    talk.wait(210 * MILLISECOND);
    talk.segment(ToClient, DATA, at(1_000), &data[1_000..2_000]);
    talk.segment(ToClient, DATA, at(4_000), &data[4_000..]);
    talk.wait(300 * MILLISECOND);
    talk.segment(ToClient, DATA, at(3_000), &data[3_000..4_000]);
    talk.seq[1] = at(data.len());
    talk.acknowledge(ToServer);
    talk.wait(900 * MILLISECOND);
    talk.segment(ToClient, flag::ACK, at(data.len() - 1), &[]);
    talk.acknowledge(ToServer);
    finish(talk, 0)
}

/// Segments that overlap: with the same bytes, with other bytes, partly, and one that swallows two others.
pub fn overlap() -> Trace {
    let mut talk = connected(50_103);
    let data = lines(40);
    let base = talk.seq[1];
    let other = vec![b'X'; 1_000];
    let mut put = |from: usize, bytes: &[u8]| {
        talk.segment(ToClient, DATA, base.wrapping_add(from as u32), bytes);
        talk.wait(MILLISECOND);
    };
    put(0, &data[..300]);
    put(200, &data[200..400]);
    put(100, &other[..150]);
    put(350, &other[..150]);
    put(600, &data[600..700]);
    put(800, &data[800..900]);
    put(500, &data[500..1_000]);
    put(400, &data[400..500]);
    finish(talk, 1_000)
}
