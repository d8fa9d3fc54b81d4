//! IP fragments of both versions, and chains of IPv6 extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::container::{MILLISECOND, START, Trace};
use super::wire::{self, MORE_FRAGMENTS, Tcp, flag, protocol};

const A4: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 14);
const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 14);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0x20, 0, 0, 0, 0x0A14, 0x000E);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0x80, 0, 0, 0, 0, 0x50);

/// Payload whose every byte tells where it stood.
fn counted(length: usize) -> Vec<u8> {
    (0..length).map(|i| b'0' + (i / 8 % 10) as u8).collect()
}

/// The datagram cut at multiples of `size` (itself one of eight): offset, more-follows, bytes.
fn cut(datagram: &[u8], size: usize) -> Vec<(u16, u16, &[u8])> {
    let pieces = datagram.len().div_ceil(size);
    let more = |i: usize| if i + 1 < pieces { 1 } else { 0 };
    datagram.chunks(size).enumerate().map(|(i, piece)| ((i * size / 8) as u16, more(i), piece)).collect()
}

fn fragments4(protocol: u8, ident: u16, datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    cut(datagram, size)
        .into_iter()
        .map(|(offset, more, piece)| wire::ipv4((A4, B4), protocol, ident, offset | (more * MORE_FRAGMENTS), piece))
        .collect()
}

fn add(trace: &mut Trace, packets: &[Vec<u8>], order: &[usize]) {
    for &i in order {
        let at = START + trace.frames.len() as i64 * 3 * MILLISECOND;
        trace.packet(at, &packets[i]);
    }
}

/// In order; last first; shuffled with a repeat; two datagrams interleaved; one that never completes; a TCP segment cut
/// inside its header.
pub fn ipv4() -> Trace {
    let mut trace = Trace::default();
    let ends: (IpAddr, IpAddr) = (A4.into(), B4.into());
    let udp = |ports, length| wire::udp(ends.0, ends.1, ports, &counted(length));
    let ping = wire::icmp(ends, 8, 0, 0x0001_0001, &counted(3_000));
    add(&mut trace, &fragments4(protocol::ICMP, 0x1001, &ping, 1_480), &[0, 1, 2]);
    add(&mut trace, &fragments4(protocol::UDP, 0x1002, &udp((5_001, 7_001), 2_500), 1_000), &[2, 1, 0]);
    add(&mut trace, &fragments4(protocol::UDP, 0x1003, &udp((5_002, 7_001), 2_500), 800), &[1, 3, 1, 0, 2]);
    let mut both = fragments4(protocol::UDP, 0x1004, &udp((5_003, 7_001), 1_800), 1_000);
    both.extend(fragments4(protocol::UDP, 0x1005, &udp((5_004, 7_001), 1_800), 1_000));
    add(&mut trace, &both, &[0, 2, 3, 1]);
    add(&mut trace, &fragments4(protocol::UDP, 0x1006, &udp((5_005, 7_001), 2_500), 1_000), &[0, 2]);
    let fields = Tcp { ports: (5_006, 7_002), seq: 1, ack: 0, flags: flag::SYN, window: 1_024, options: &[] };
    let segment = wire::tcp(ends.0, ends.1, &fields, &counted(40));
    add(&mut trace, &fragments4(protocol::TCP, 0x1007, &segment, 16), &[0, 1, 2, 3]);
    trace
}

fn fragment_header(next: u8, offset: u16, more: u16, ident: u32) -> Vec<u8> {
    [&[next, 0][..], &(offset << 3 | more).to_be_bytes(), &ident.to_be_bytes()].concat()
}

fn fragments6(next: u8, ident: u32, datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    cut(datagram, size)
        .into_iter()
        .map(|(offset, more, piece)| {
            let payload = [&fragment_header(next, offset, more, ident), piece].concat();
            wire::ipv6((A6, B6), protocol::FRAGMENT, &payload)
        })
        .collect()
}

/// In order, last first, shuffled, never complete, and an atomic fragment (RFC 6946).
pub fn ipv6() -> Trace {
    let mut trace = Trace::default();
    let ends: (IpAddr, IpAddr) = (A6.into(), B6.into());
    let udp = |ports, length| wire::udp(ends.0, ends.1, ports, &counted(length));
    let ping = wire::icmp(ends, 128, 0, 0x0001_0001, &counted(3_000));
    add(&mut trace, &fragments6(protocol::ICMPV6, 0xA001, &ping, 1_448), &[0, 1, 2]);
    add(&mut trace, &fragments6(protocol::UDP, 0xA002, &udp((5_001, 7_001), 2_500), 1_000), &[2, 1, 0]);
    add(&mut trace, &fragments6(protocol::UDP, 0xA003, &udp((5_002, 7_001), 2_500), 800), &[1, 3, 0, 2]);
    add(&mut trace, &fragments6(protocol::UDP, 0xA004, &udp((5_003, 7_001), 2_500), 1_000), &[0, 2]);
    add(&mut trace, &fragments6(protocol::UDP, 0xA005, &udp((5_004, 7_001), 100), 1_000), &[0]);
    trace
}

/// An options header: next header, length in units of eight beyond the first, padding option.
fn options(next: u8, option: &[u8]) -> Vec<u8> {
    let mut out = [&[next, 0][..], option].concat();
    let missing = out.len().next_multiple_of(8) - out.len();
    match missing {
        0 => {}
        1 => out.push(0),
        _ => {
            out.extend_from_slice(&[1, (missing - 2) as u8]);
            out.resize(out.len().next_multiple_of(8), 0);
        }
    }
    out[1] = (out.len() / 8 - 1) as u8;
    out
}

/// A segment routing header (RFC 8754) that has been used up: its only segment is the destination.
fn routing(next: u8) -> Vec<u8> {
    [&[next, 2, 4, 0, 0, 0, 0, 0][..], &B6.octets()].concat()
}

/// One packet for each extension header, one with all of them, and one with none and nothing after it.
pub fn extensions() -> Trace {
    let mut trace = Trace::default();
    let ends: (IpAddr, IpAddr) = (A6.into(), B6.into());
    let udp = wire::udp(ends.0, ends.1, (5_400, 7_001), &counted(64));
    let fields = Tcp { ports: (50_104, 80), seq: 77, ack: 0, flags: flag::SYN, window: 64_800, options: &[] };
    let tcp = wire::tcp(ends.0, ends.1, &fields, &[]);
    // Multicast listener report: router alert in a hop-by-hop header, from a link-local address.
    let local = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0x0A14, 0x000E);
    let routers = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0x16);
    let group = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0xFB);
    let record = [&[4, 0, 0, 0][..], &group.octets()].concat();
    let report = wire::icmp((local.into(), routers.into()), 143, 0, 1, &record);
    let alert = options(protocol::ICMPV6, &[5, 2, 0, 0]);
    let packet = |next, parts: &[&[u8]]| wire::ipv6((A6, B6), next, &parts.concat());
    let (hop, dest, route, frag) = (protocol::HOP_BY_HOP, protocol::DESTINATION, protocol::ROUTING, protocol::FRAGMENT);
    let packets = [
        wire::ipv6((local, routers), hop, &[alert, report].concat()),
        packet(dest, &[&options(protocol::UDP, &[4, 1, 4]), &udp]),
        packet(route, &[&routing(protocol::TCP), &tcp]),
        packet(frag, &[&fragment_header(protocol::TCP, 0, 0, 0xB001), &tcp]),
        packet(
            hop,
            &[
                &options(dest, &[5, 2, 0, 0]),
                &options(route, &[4, 1, 4]),
                &routing(frag),
                &fragment_header(dest, 0, 0, 0xB002),
                &options(protocol::TCP, &[4, 1, 4]),
                &tcp,
            ],
        ),
        // Twenty padding options make a long header.
        packet(dest, &[&options(protocol::UDP, &[1, 1, 0].repeat(20)), &udp]),
        packet(protocol::NO_NEXT_HEADER, &[]),
    ];
    let order: Vec<usize> = (0..packets.len()).collect();
    add(&mut trace, &packets, &order);
    trace
}
