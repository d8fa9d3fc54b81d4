//! Packets made by hand: each builder returns the bytes from its own header on, with lengths filled in.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const MAC_A: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0A];
pub const MAC_Z: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0F];

/// TCP flag bits.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// An Ethernet frame with any EtherType.
pub fn ethernet(ethertype: u16, content: &[u8]) -> Vec<u8> {
    [&MAC_Z[..], &MAC_A, &ethertype.to_be_bytes(), content].concat()
}

/// An Ethernet frame whose content begins with an IPv4 or IPv6 header.
pub fn ether(ip: &[u8]) -> Vec<u8> {
    ethernet(ethertype_of(ip), ip)
}

/// An Ethernet frame with VLAN tags, outermost first.
pub fn vlan(ids: &[u16], ip: &[u8]) -> Vec<u8> {
    let mut frame = [&MAC_Z[..], &MAC_A].concat();
    for id in ids {
        frame.extend(0x8100u16.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype_of(ip).to_be_bytes());
    frame.extend(ip);
    frame
}

fn ethertype_of(ip: &[u8]) -> u16 {
    if ip[0] >> 4 == 6 { 0x86DD } else { 0x0800 }
}

/// An IPv4 packet; the checksum is left at zero.
pub fn ipv4(source: &str, destination: &str, protocol: u8, content: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv4Addr>().expect("an IPv4 address").octets();
    let [high, low] = u16::try_from(20 + content.len()).expect("a length that fits").to_be_bytes();
    let fixed = [0x45, 0, high, low, 0, 1, 0, 0, 64, protocol, 0, 0];
    [&fixed[..], &address(source), &address(destination), content].concat()
}

/// An IPv6 packet without extension headers.
pub fn ipv6(source: &str, destination: &str, next: u8, content: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    let [high, low] = u16::try_from(content.len()).expect("a length that fits").to_be_bytes();
    let fixed = [0x60, 0, 0, 0, high, low, next, 64];
    [&fixed[..], &address(source), &address(destination), content].concat()
}

/// A TCP segment with a header of 20 bytes and `options`, padded by the caller to words.
pub fn tcp(ports: (u16, u16), flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4), "options end at a word");
    let words = u8::try_from((20 + options.len()) / 4).expect("a header that fits") << 4;
    let (source, destination) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
    let rest = [0, 0, 0, 1, 0, 0, 0, 0, words, flags, 0xFF, 0xFF, 0, 0, 0, 0];
    [&source[..], &destination, &rest, options, payload].concat()
}

/// A UDP datagram.
pub fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a length that fits").to_be_bytes();
    [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length, &[0, 0], payload].concat()
}

/// An ICMP message.
pub fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0][..], rest].concat()
}

/// UDP over IPv4 over Ethernet between 10.0.0.5 and 10.0.0.9.
pub fn udp_packet(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    ether(&ipv4("10.0.0.5", "10.0.0.9", 17, &udp(ports, payload)))
}

/// The SYN of the contract's first example: 74 bytes, a TCP header of 40.
pub fn example_syn() -> Vec<u8> {
    let options = [2, 4, 5, 0xB4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let segment = tcp((2964, 22), SYN, &options, b"");
    let frame = ether(&ipv4("192.168.1.2", "209.216.249.58", 6, &segment));
    assert_eq!(frame.len(), 74);
    frame
}

/// A UDP packet of exactly `length` bytes on the wire.
pub fn sized(length: usize) -> Vec<u8> {
    udp_packet((5000, 6000), &vec![b'.'; length - 42])
}
