//! Protocol headers around a payload: every function takes what is inside and returns it with the header in front.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Numbers of the IP protocol and next-header fields.
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION: u8 = 60;
}

/// EtherTypes.
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const BRIDGED: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86DD;
    pub const MPLS: u16 = 0x8847;
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    pub const PPPOE_SESSION: u16 = 0x8864;
    pub const SERVICE_VLAN: u16 = 0x88A8;
}

/// TCP flags.
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

pub type Mac = [u8; 6];

/// The address of the router of the office network; every address outside it is behind it.
pub const ROUTER: Mac = [0x02, 0x4D, 0x0A, 0x14, 0x00, 0x01];

/// RFC 1071 checksum over the concatenation of `parts`; only the last part may have an odd length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// The length of something as the 16-bit field of a header.
pub fn len16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("generated payloads are far below 64 KiB")
}

pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// The hardware address of an IP address as seen on the office network.
pub fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [255, ..] => [0xFF; 6],
            [224..=239, b, c, d] => [0x01, 0x00, 0x5E, b & 0x7F, c, d],
            [10, 20, c, d] => [0x02, 0x4D, 10, 20, c, d],
            _ => ROUTER,
        },
        IpAddr::V6(v6) => match v6.octets() {
            [0xFF, .., a, b, c, d] => [0x33, 0x33, a, b, c, d],
            // The last 32 bits of an office address are those of the same host's IPv4 address.
            [0x20, 0x01, 0x0D, 0xB8, 0x00, 0x20, .., a, b, c, d] | [0xFE, 0x80, .., a, b, c, d] => {
                [0x02, 0x4D, a, b, c, d]
            }
            _ => ROUTER,
        },
    }
}

/// Source and destination of an IP packet made here.
pub fn addresses(ip: &[u8]) -> (IpAddr, IpAddr) {
    if ip[0] >> 4 == 4 {
        let at = |i: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[i..i + 4]).expect("four bytes"));
        (at(12), at(16))
    } else {
        let at = |i: usize| IpAddr::from(<[u8; 16]>::try_from(&ip[i..i + 16]).expect("sixteen bytes"));
        (at(8), at(24))
    }
}

/// The EtherType of an IP packet made here.
pub fn ethertype_of(ip: &[u8]) -> u16 {
    if ip[0] >> 4 == 4 { ethertype::IPV4 } else { ethertype::IPV6 }
}

/// An IP packet as a frame on the office network.
pub fn on_lan(ip: &[u8]) -> Vec<u8> {
    let (source, destination) = addresses(ip);
    ethernet(mac_of(destination), mac_of(source), ethertype_of(ip), ip)
}

/// The 16 bits after the identification: flags and fragment offset in units of eight bytes.
pub const DONT_FRAGMENT: u16 = 0x4000;
pub const MORE_FRAGMENTS: u16 = 0x2000;

pub fn ipv4(
    (source, destination): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    ident: u16,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let total = 20 + len16(payload);
    let mut header = [0u8; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].copy_from_slice(&ident.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = if destination.is_multicast() { 255 } else { 64 };
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], payload].concat()
}

pub fn ipv6((source, destination): (Ipv6Addr, Ipv6Addr), next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&len16(payload).to_be_bytes());
    header[6] = next_header;
    // Link-local control messages must arrive with an untouched hop limit.
    header[7] = if destination.is_multicast() { 255 } else { 64 };
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&destination.octets());
    [&header[..], payload].concat()
}

/// An IP packet of either version, not fragmented.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, ident: u16, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => ipv4((s, d), protocol, ident, DONT_FRAGMENT, payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => ipv6((s, d), protocol, payload),
        _ => panic!("both ends of a packet have the same IP version"),
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = u32::try_from(length).expect("generated payloads are far below 4 GiB");
    [octets(source), octets(destination), vec![0, protocol], length.to_be_bytes().to_vec()].concat()
}

pub fn udp(source: IpAddr, destination: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + len16(payload);
    let mut header = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    let pseudo = pseudo_header(source, destination, protocol::UDP, usize::from(length));
    let sum = match checksum(&[&pseudo, &header, payload]) {
        0 => 0xFFFF,
        sum => sum,
    };
    header[6..8].copy_from_slice(&sum.to_be_bytes());
    [&header[..], payload].concat()
}

/// A whole UDP packet.
pub fn udp_packet(source: (IpAddr, u16), destination: (IpAddr, u16), ident: u16, payload: &[u8]) -> Vec<u8> {
    let segment = udp(source.0, destination.0, (source.1, destination.1), payload);
    ip(source.0, destination.0, protocol::UDP, ident, &segment)
}

/// The fields of a TCP header that vary.
pub struct Tcp<'a> {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// Padded to a multiple of four by the caller.
    pub options: &'a [u8],
}

pub fn tcp(source: IpAddr, destination: IpAddr, fields: &Tcp<'_>, payload: &[u8]) -> Vec<u8> {
    let words = 5 + u8::try_from(fields.options.len() / 4).expect("at most 40 bytes of options");
    let mut header = [
        &fields.ports.0.to_be_bytes()[..],
        &fields.ports.1.to_be_bytes(),
        &fields.seq.to_be_bytes(),
        &fields.ack.to_be_bytes(),
        &[words << 4, fields.flags],
        &fields.window.to_be_bytes(),
        &[0, 0, 0, 0],
        fields.options,
    ]
    .concat();
    let pseudo = pseudo_header(source, destination, protocol::TCP, header.len() + payload.len());
    let sum = checksum(&[&pseudo, &header, payload]);
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    [&header[..], payload].concat()
}

/// An ICMP or ICMPv6 message; `rest` is the second word of its header.
pub fn icmp(ends: (IpAddr, IpAddr), kind: u8, code: u8, rest: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], &rest.to_be_bytes()[..], payload].concat();
    let sum = match ends.0 {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo_header(ends.0, ends.1, protocol::ICMPV6, message.len()), &message]),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A whole ICMP packet of the version the addresses have.
pub fn icmp_packet(ends: (IpAddr, IpAddr), kind: u8, code: u8, rest: u32, payload: &[u8]) -> Vec<u8> {
    let protocol = if ends.0.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
    ip(ends.0, ends.1, protocol, 0x1C3F, &icmp(ends, kind, code, rest, payload))
}

/// An ARP message for IPv4 over Ethernet as a frame; operation 1 asks, 2 answers.
pub fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let sender_mac = mac_of(sender.into());
    let asks = operation == 1;
    let target_mac = if asks { [0; 6] } else { mac_of(target.into()) };
    let message =
        [&[0, 1, 8, 0, 6, 4, 0, operation][..], &sender_mac, &sender.octets(), &target_mac, &target.octets()].concat();
    let destination = if asks { [0xFF; 6] } else { target_mac };
    ethernet(destination, sender_mac, ethertype::ARP, &message)
}
