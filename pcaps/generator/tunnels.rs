//! The same little conversation inside every kind of encapsulation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::container::{MILLISECOND, SECOND, START, Trace};
use super::conversation::{Conversation, Datagram, Direction, exchange, ping};
use super::wire::{self, ethertype, protocol};
use super::{dns, http};

use Direction::{ToClient, ToServer};

const WEST4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const EAST4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const WEST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0xA, 0, 0, 0, 0, 1);
const EAST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0xB, 0, 0, 0, 0, 1);

/// A name lookup, a page and two pings from one client, about twenty packets of either IP version.
fn small_talk(client: IpAddr, server: IpAddr, from: i64) -> Vec<Datagram> {
    let end = |address, port| SocketAddr::new(address, port);
    let question = dns::message(0x1234, dns::QUERY, "intranet.example.com", dns::kind::A, &[], &[]);
    let host = dns::Data::Host(Ipv4Addr::new(172, 16, 5, 80).into());
    let answers = [dns::record("intranet.example.com", 60, host)];
    let answer = dns::message(0x1234, dns::ANSWER, "intranet.example.com", dns::kind::A, &answers, &[]);
    let mut all = exchange(end(client, 40_400), end(server, 53), from, &question, &answer);
    let mut page = Conversation::new(end(client, 51_400), end(server, 80), from + 30 * MILLISECOND);
    page.open();
    page.send(ToServer, &http::request("GET", "/hello.txt", "intranet.example.com", "", b""));
    page.send(ToClient, &http::response("200 OK", "text/plain", "", b"Hello from inside the tunnel.\n"));
    page.close();
    all.append(&mut page.datagrams);
    all.extend(ping(client, server, from + 400 * MILLISECOND, 2));
    all
}

fn inner4() -> Vec<Datagram> {
    small_talk([172, 16, 4, 10].into(), [172, 16, 5, 80].into(), START)
}

fn inner6() -> Vec<Datagram> {
    let at = |last| IpAddr::from([0xFD00, 0x20, 4, 0, 0, 0, 0, last]);
    small_talk(at(0x10), at(0x80), START + 3 * SECOND)
}

/// Both versions of the inner conversation, each packet wrapped by `wrap`, as frames.
fn wrapped(mut wrap: impl FnMut(Direction, &[u8]) -> Vec<u8>) -> Trace {
    let mut trace = Trace::default();
    for datagram in inner4().into_iter().chain(inner6()) {
        let bytes = wrap(datagram.direction, &datagram.bytes);
        trace.frame(datagram.at, bytes);
    }
    trace
}

/// Hardware addresses of the two ends of a link, in the direction of travel: destination, source.
fn macs(direction: Direction) -> (wire::Mac, wire::Mac) {
    let (west, east) = ([0x02, 0x4D, 0, 0, 1, 1], [0x02, 0x4D, 0, 0, 2, 2]);
    match direction {
        ToServer => (east, west),
        ToClient => (west, east),
    }
}

fn frame(direction: Direction, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let (destination, source) = macs(direction);
    wire::ethernet(destination, source, ethertype, payload)
}

/// An 802.1Q tag and what follows it.
fn tag(vlan: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes()[..], &ethertype.to_be_bytes(), payload].concat()
}

pub fn vlan() -> Trace {
    wrapped(|way, ip| frame(way, ethertype::VLAN, &tag(0x6000 | 42, wire::ethertype_of(ip), ip)))
}

/// A service tag outside, a customer tag inside; every other packet the way older switches write it, 0x8100 twice.
pub fn qinq() -> Trace {
    let mut count = 0;
    wrapped(|way, ip| {
        count += 1;
        let inner = tag(42, wire::ethertype_of(ip), ip);
        let outer = if count % 2 == 1 { ethertype::SERVICE_VLAN } else { ethertype::VLAN };
        frame(way, outer, &tag(1_007, ethertype::VLAN, &inner))
    })
}

/// One label towards the server, two back.
pub fn mpls() -> Trace {
    wrapped(|way, ip| {
        let label = |number: u32, bottom: u32| (number << 12 | bottom << 8 | 62).to_be_bytes();
        let stack = match way {
            ToServer => label(16_010, 1).to_vec(),
            ToClient => [label(24_001, 0), label(16_020, 1)].concat(),
        };
        frame(way, ethertype::MPLS, &[&stack, ip].concat())
    })
}

/// Discovery, session, termination.
pub fn pppoe() -> Trace {
    let session = 0x0011u16;
    let code = |way, ethertype, code: u8, session: u16, payload: &[u8]| {
        let length = wire::len16(payload);
        let head = [&[0x11, code][..], &session.to_be_bytes(), &length.to_be_bytes()].concat();
        frame(way, ethertype, &[&head, payload].concat())
    };
    let discovery = |way, kind, session, tags: &[u8]| code(way, ethertype::PPPOE_DISCOVERY, kind, session, tags);
    let named = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &wire::len16(value).to_be_bytes(), value].concat();
    let (any_service, server) = (named(0x0101, b""), named(0x0102, b"access-1"));
    let offer = [any_service.clone(), server].concat();
    let mut padi = discovery(ToServer, 0x09, 0, &any_service);
    padi[..6].fill(0xFF);
    let mut trace = Trace::default();
    let before = START - 100 * MILLISECOND;
    let opening = [
        padi,
        discovery(ToClient, 0x07, 0, &offer),
        discovery(ToServer, 0x19, 0, &offer),
        discovery(ToClient, 0x65, session, &any_service),
    ];
    for (i, bytes) in opening.into_iter().enumerate() {
        trace.frame(before + i as i64 * 10 * MILLISECOND, bytes);
    }
    let talk = wrapped(|way, ip| {
        let ppp: [u8; 2] = if ip[0] >> 4 == 4 { [0x00, 0x21] } else { [0x00, 0x57] };
        code(way, ethertype::PPPOE_SESSION, 0, session, &[&ppp[..], ip].concat())
    });
    trace.frames.extend(talk.frames);
    trace.frame(START + 6 * SECOND, discovery(ToServer, 0xA7, session, &[]));
    trace
}

/// The two ends of a tunnel over IPv4, in the direction of travel.
fn ends4(direction: Direction) -> (Ipv4Addr, Ipv4Addr) {
    if direction == ToServer { (WEST4, EAST4) } else { (EAST4, WEST4) }
}

fn ends6(direction: Direction) -> (Ipv6Addr, Ipv6Addr) {
    if direction == ToServer { (WEST6, EAST6) } else { (EAST6, WEST6) }
}

fn over_ipv4(direction: Direction, protocol: u8, payload: &[u8]) -> Vec<u8> {
    frame(direction, ethertype::IPV4, &wire::ipv4(ends4(direction), protocol, 0x0B0B, wire::DONT_FRAGMENT, payload))
}

/// Plain towards the server; with checksum, key and sequence number back; bridged Ethernet for IPv6.
pub fn gre() -> Trace {
    let mut sequence = 0u32;
    wrapped(|way, ip| {
        if ip[0] >> 4 == 6 {
            let bridged = frame(way, ethertype::IPV6, ip);
            let head = [&[0, 0][..], &ethertype::BRIDGED.to_be_bytes()].concat();
            return over_ipv4(way, protocol::GRE, &[&head[..], &bridged].concat());
        }
        let kind = wire::ethertype_of(ip).to_be_bytes();
        if way == ToServer {
            return over_ipv4(way, protocol::GRE, &[&[0, 0][..], &kind, ip].concat());
        }
        sequence += 1;
        let mut head = [&[0xB0, 0][..], &kind, &[0, 0, 0, 0], &77u32.to_be_bytes(), &sequence.to_be_bytes()].concat();
        let sum = wire::checksum(&[&head, ip]);
        head[4..6].copy_from_slice(&sum.to_be_bytes());
        over_ipv4(way, protocol::GRE, &[&head[..], ip].concat())
    })
}

/// IPv4 in IPv4 and in IPv6, IPv6 in IPv4 and in IPv6: the outer version changes with the direction.
pub fn ip_in_ip() -> Trace {
    wrapped(|way, ip| {
        let inside = if ip[0] >> 4 == 4 { protocol::IPV4 } else { protocol::IPV6 };
        match way {
            ToServer => over_ipv4(way, inside, ip),
            ToClient => frame(way, ethertype::IPV6, &wire::ipv6(ends6(way), inside, ip)),
        }
    })
}

fn over_udp(direction: Direction, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ends4(direction);
    over_ipv4(direction, protocol::UDP, &wire::udp(source.into(), destination.into(), ports, payload))
}

/// The addresses of the inner frame of a bridging tunnel.
fn inner_frame(direction: Direction, ip: &[u8]) -> Vec<u8> {
    let (near, far) = ([0x02, 0x4D, 0xAC, 0x10, 4, 10], [0x02, 0x4D, 0xAC, 0x10, 5, 80]);
    let (destination, source) = if direction == ToServer { (far, near) } else { (near, far) };
    wire::ethernet(destination, source, wire::ethertype_of(ip), ip)
}

pub fn vxlan() -> Trace {
    wrapped(|way, ip| {
        let head = [0x08, 0, 0, 0, 0x00, 0x12, 0x34, 0];
        over_udp(way, (49_300, 4_789), &[&head[..], &inner_frame(way, ip)].concat())
    })
}

/// With an option of four bytes towards the server, without options back.
pub fn geneve() -> Trace {
    wrapped(|way, ip| {
        let kind = ethertype::BRIDGED.to_be_bytes();
        let length = if way == ToServer { 2 } else { 0 };
        let head = [length, 0, kind[0], kind[1], 0x00, 0x56, 0x78, 0];
        let option: &[u8] = if way == ToServer { &[0xFF, 0xFF, 0x01, 1, 0xDE, 0xAD, 0xBE, 0xEF] } else { &[] };
        over_udp(way, (49_301, 6_081), &[&head[..], option, &inner_frame(way, ip)].concat())
    })
}

/// Short header towards the network; sequence number and session container back, as 5G uplinks have it.
pub fn gtp_u() -> Trace {
    let mut sequence = 0u16;
    wrapped(|way, ip| {
        let optional = match way {
            ToServer => vec![],
            ToClient => {
                sequence += 1;
                let seq = sequence.to_be_bytes();
                // Next extension 0x85: PDU session container of one word, downlink, flow 9; nothing after it.
                vec![seq[0], seq[1], 0, 0x85, 1, 0x00, 9, 0]
            }
        };
        let flags = if optional.is_empty() { 0x30 } else { 0x36 };
        let length = u16::try_from(optional.len() + ip.len()).expect("short packets");
        let teid: u32 = if way == ToServer { 0x0000_A001 } else { 0x0000_B002 };
        let head = [&[flags, 0xFF][..], &length.to_be_bytes(), &teid.to_be_bytes()].concat();
        over_udp(way, (2_152, 2_152), &[&head[..], &optional, ip].concat())
    })
}
