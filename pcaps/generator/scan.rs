//! Port scans: SYN to many ports with every kind of answer, odd flag combinations, UDP with unreachable messages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};
use super::wire::{self, Tcp, flag, protocol};

use Direction::{ToClient, ToServer};

/// How the target treats a port.
enum Port {
    Open,
    Closed,
    Filtered,
}

const fn state(port: u16) -> Port {
    match port {
        22 | 80 | 443 => Port::Open,
        25 | 135..=139 | 445 => Port::Filtered,
        _ => Port::Closed,
    }
}

/// SYN to each port in turn: open ones answer and are reset, closed ones reset, filtered ones stay silent.
pub fn syn(trace: &mut Trace, client: Ipv4Addr, server: Ipv4Addr, ports: impl Iterator<Item = u16>, from: i64) {
    for (i, port) in ports.enumerate() {
        let ends = (SocketAddr::new(client.into(), 43_210), SocketAddr::new(server.into(), port));
        let at = from + i as i64 * 7 * MILLISECOND;
        let mut talk = Conversation::new(ends.0, ends.1, at).round_trip(MILLISECOND / 2);
        talk.next(ToServer, flag::SYN, &[]);
        match state(port) {
            Port::Open => {
                talk.next(ToClient, flag::SYN | flag::ACK, &[]);
                talk.next(ToServer, flag::RST, &[]);
            }
            Port::Closed => talk.reset(ToClient),
            Port::Filtered => {}
        }
        trace.datagrams(&talk.datagrams);
    }
}

fn odd_flags(trace: &mut Trace, client: IpAddr, server: IpAddr, from: i64) {
    for (i, flags) in [0, flag::FIN, flag::FIN | flag::PSH | flag::URG, flag::ACK].into_iter().enumerate() {
        for (j, port) in [81u16, 8_080].into_iter().enumerate() {
            let at = from + (i * 2 + j) as i64 * 9 * MILLISECOND;
            let probe = Tcp { ports: (43_211, port), seq: 1_000, ack: 0, flags, window: 1_024, options: &[] };
            let sent = wire::tcp(client, server, &probe, &[]);
            trace.packet(at, &wire::ip(client, server, protocol::TCP, 0x6000 + i as u16, &sent));
            // RFC 9293, section 3.10.7.1: a reset takes its number from the acknowledgement if there is one.
            let ack = if flags & flag::ACK == 0 { 1_000 + u32::from(flags & flag::FIN) } else { 0 };
            let flags = if flags & flag::ACK == 0 { flag::RST | flag::ACK } else { flag::RST };
            let answer = Tcp { ports: (port, 43_211), seq: 0, ack, flags, window: 0, options: &[] };
            let answer = wire::tcp(server, client, &answer, &[]);
            trace.packet(at + MILLISECOND, &wire::ip(server, client, protocol::TCP, 0, &answer));
        }
    }
}

fn udp(trace: &mut Trace, client: IpAddr, server: IpAddr, from: i64) {
    for (i, port) in [69u16, 123, 161, 500, 1_900, 5_353].into_iter().enumerate() {
        let at = from + i as i64 * 20 * MILLISECOND;
        let probe = wire::udp_packet((client, 43_212), (server, port), 0x7000 + i as u16, &[]);
        trace.packet(at, &probe);
        trace.packet(at + MILLISECOND, &wire::icmp_packet((server, client), 3, 3, 0, &probe));
    }
}

pub fn capture() -> Trace {
    let (client, server) = (Ipv4Addr::new(10, 20, 0, 66), Ipv4Addr::new(10, 20, 0, 5));
    let mut trace = Trace::default();
    trace.frame(START - MILLISECOND * 2, wire::arp(1, client, server));
    trace.frame(START - MILLISECOND, wire::arp(2, server, client));
    syn(&mut trace, client, server, (20..160).chain([443, 445, 3_306, 8_080]), START);
    odd_flags(&mut trace, client.into(), server.into(), START + 1_200 * MILLISECOND);
    udp(&mut trace, client.into(), server.into(), START + 1_400 * MILLISECOND);
    trace
}
