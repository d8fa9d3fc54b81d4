//! Two ends talking: TCP connections with handshake, acknowledgements and teardown, and exchanges of UDP datagrams.

use std::net::{IpAddr, SocketAddr};

use super::container::{MICROSECOND, MILLISECOND};
use super::wire::{self, Tcp, flag, protocol};

/// Which way a packet travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    ToServer,
    ToClient,
}

use Direction::{ToClient, ToServer};

/// An IP packet with its time.
pub struct Datagram {
    pub at: i64,
    pub direction: Direction,
    pub bytes: Vec<u8>,
}

/// Largest TCP payload: 1500 bytes less IPv4 and TCP headers with the timestamp option; also right for IPv6.
const SEGMENT: usize = 1428;

/// A TCP connection as seen from beside the client.
pub struct Conversation {
    client: SocketAddr,
    server: SocketAddr,
    /// Next sequence number of each end; client first.
    pub seq: [u32; 2],
    ident: [u16; 2],
    last: Direction,
    pub now: i64,
    round_trip: i64,
    pub datagrams: Vec<Datagram>,
}

impl Conversation {
    pub fn new(client: SocketAddr, server: SocketAddr, at: i64) -> Self {
        // Spread start values over their range without a random source: neighbouring ports get unrelated numbers.
        let mix = u32::from(client.port()).wrapping_mul(0x9E37_79B1) ^ u32::from(server.port());
        Self {
            client,
            server,
            seq: [mix, mix.rotate_left(13).wrapping_mul(0x85EB_CA6B)],
            ident: [(mix >> 16) as u16, (mix >> 3) as u16],
            last: ToServer,
            now: at,
            round_trip: 14 * MILLISECOND,
            datagrams: Vec::new(),
        }
    }

    pub const fn round_trip(mut self, nanos: i64) -> Self {
        self.round_trip = nanos;
        self
    }

    pub const fn wait(&mut self, nanos: i64) {
        self.now += nanos;
    }

    const fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr, usize) {
        match direction {
            ToServer => (self.client, self.server, 0),
            ToClient => (self.server, self.client, 1),
        }
    }

    /// One segment with everything said: nothing is advanced but the clock.
    pub fn segment(&mut self, direction: Direction, flags: u8, seq: u32, payload: &[u8]) {
        // The capture point is beside the client: answers take a round trip, what follows in a row does not.
        self.now += match (self.last, direction) {
            (ToServer, ToClient) => self.round_trip,
            (ToClient, ToServer) => 310 * MICROSECOND,
            _ => 95 * MICROSECOND,
        };
        self.last = direction;
        let (from, to, end) = self.ends(direction);
        self.ident[end] = self.ident[end].wrapping_add(1);
        let clock = (self.now / MILLISECOND) as u32;
        let mut options = Vec::new();
        if flags & flag::SYN != 0 {
            // Maximum segment size, SACK permitted; timestamps and window scale follow.
            options.extend_from_slice(&[2, 4, 0x05, 0xB4, 4, 2]);
        } else {
            options.extend_from_slice(&[1, 1]);
        }
        options.extend_from_slice(&[8, 10]);
        options.extend_from_slice(&clock.wrapping_add(end as u32 * 77_777).to_be_bytes());
        let echo = if flags & flag::ACK == 0 { 0 } else { clock.wrapping_add((1 - end as u32) * 77_777) };
        options.extend_from_slice(&echo.to_be_bytes());
        if flags & flag::SYN != 0 {
            options.extend_from_slice(&[1, 3, 3, 7]);
        }
        let acknowledged = if flags & flag::ACK == 0 { 0 } else { self.seq[1 - end] };
        let fields = Tcp {
            ports: (from.port(), to.port()),
            seq,
            ack: acknowledged,
            flags,
            window: if flags & flag::SYN == 0 { 501 } else { 64_240 },
            options: &options,
        };
        let segment = wire::tcp(from.ip(), to.ip(), &fields, payload);
        let bytes = wire::ip(from.ip(), to.ip(), protocol::TCP, self.ident[end], &segment);
        self.datagrams.push(Datagram { at: self.now, direction, bytes });
    }

    /// A segment at the current sequence number, which moves past it.
    pub fn next(&mut self, direction: Direction, flags: u8, payload: &[u8]) {
        let (_, _, end) = self.ends(direction);
        let seq = self.seq[end];
        self.segment(direction, flags, seq, payload);
        let control = u32::from(flags & (flag::SYN | flag::FIN) != 0);
        self.seq[end] = seq.wrapping_add(u32::from(wire::len16(payload)) + control);
    }

    pub fn acknowledge(&mut self, direction: Direction) {
        self.next(direction, flag::ACK, &[]);
    }

    pub fn open(&mut self) {
        self.next(ToServer, flag::SYN, &[]);
        self.next(ToClient, flag::SYN | flag::ACK, &[]);
        self.acknowledge(ToServer);
    }

    /// Sends `data` in as many segments as it takes; every second one and the last are acknowledged.
    pub fn send(&mut self, direction: Direction, data: &[u8]) {
        let back = if direction == ToServer { ToClient } else { ToServer };
        let count = data.len().div_ceil(SEGMENT);
        for (i, piece) in data.chunks(SEGMENT).enumerate() {
            let last = i + 1 == count;
            self.next(direction, if last { flag::PSH | flag::ACK } else { flag::ACK }, piece);
            if i % 2 == 1 || last {
                self.acknowledge(back);
            }
        }
    }

    /// Both ends close, the client first.
    pub fn close(&mut self) {
        self.next(ToServer, flag::FIN | flag::ACK, &[]);
        self.next(ToClient, flag::FIN | flag::ACK, &[]);
        self.acknowledge(ToServer);
    }

    pub fn reset(&mut self, direction: Direction) {
        self.next(direction, flag::RST | flag::ACK, &[]);
    }
}

/// A UDP question and its answer.
pub fn exchange(client: SocketAddr, server: SocketAddr, at: i64, question: &[u8], answer: &[u8]) -> Vec<Datagram> {
    let ident = client.port().rotate_left(3);
    let (c, s) = ((client.ip(), client.port()), (server.ip(), server.port()));
    vec![
        Datagram { at, direction: ToServer, bytes: wire::udp_packet(c, s, ident, question) },
        Datagram {
            at: at + 4 * MILLISECOND + i64::from(ident % 97) * 53 * MICROSECOND,
            direction: ToClient,
            bytes: wire::udp_packet(s, c, ident ^ 0x5555, answer),
        },
    ]
}

/// Echo requests a second apart, each answered.
pub fn ping(client: IpAddr, server: IpAddr, at: i64, count: u16) -> Vec<Datagram> {
    let (request, reply) = if client.is_ipv4() { (8, 0) } else { (128, 129) };
    let payload: Vec<u8> = (0x10..0x48).collect();
    let mut datagrams = Vec::new();
    for i in 0..count {
        let rest = 0x2B1D_0000 | u32::from(i + 1);
        let sent = at + i64::from(i) * super::container::SECOND;
        let there = wire::icmp_packet((client, server), request, 0, rest, &payload);
        let back = wire::icmp_packet((server, client), reply, 0, rest, &payload);
        datagrams.push(Datagram { at: sent, direction: ToServer, bytes: there });
        let took = 11 * MILLISECOND + i64::from(i % 5) * 230 * MICROSECOND;
        datagrams.push(Datagram { at: sent + took, direction: ToClient, bytes: back });
    }
    datagrams
}
