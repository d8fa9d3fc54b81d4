//! A pcapng file with four interfaces: different link types, clocks and snap lengths, and the less common blocks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::container::{MICROSECOND, MILLISECOND, SECOND, START, block, option, word};
use super::conversation::{Conversation, Direction, ping};
use super::{http, wire};

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// A block type reserved for local use: readers have to skip it.
const LOCAL: u32 = 0x8000_0001;

struct Interface {
    name: &'static str,
    linktype: u16,
    snaplen: u32,
    /// Nanoseconds per unit of its clock, and how the file says so.
    unit: i64,
    resolution: u8,
}

const INTERFACES: [Interface; 4] = [
    Interface { name: "eth0", linktype: 1, snaplen: 262_144, unit: 1, resolution: 9 },
    Interface { name: "tun0", linktype: 101, snaplen: 262_144, unit: MICROSECOND, resolution: 6 },
    Interface { name: "any", linktype: 113, snaplen: 262_144, unit: MICROSECOND, resolution: 6 },
    Interface { name: "eth1", linktype: 1, snaplen: 96, unit: MILLISECOND, resolution: 3 },
];

fn interface(of: &Interface) -> Vec<u8> {
    let body = [
        &of.linktype.to_le_bytes()[..],
        &[0, 0],
        &of.snaplen.to_le_bytes(),
        &option(2, of.name.as_bytes()),
        &option(9, &[of.resolution]),
        &option(0, &[]),
    ]
    .concat();
    block(INTERFACE, &body)
}

fn packet(id: usize, at: i64, bytes: &[u8], options: &[u8]) -> Vec<u8> {
    let of = &INTERFACES[id];
    let time = (at / of.unit) as u64;
    let kept = bytes.len().min(of.snaplen as usize);
    let mut padded = bytes[..kept].to_vec();
    padded.resize(kept.next_multiple_of(4), 0);
    let body = [
        &word(id).to_le_bytes()[..],
        &word(time >> 32).to_le_bytes(),
        &word(time & 0xFFFF_FFFF).to_le_bytes(),
        &word(kept).to_le_bytes(),
        &word(bytes.len()).to_le_bytes(),
        &padded,
        options,
    ]
    .concat();
    block(ENHANCED_PACKET, &body)
}

/// The Linux "any" device puts its own header in front: packet kind, hardware type, sender, protocol.
fn cooked(ip: &[u8]) -> Vec<u8> {
    let (source, _) = wire::addresses(ip);
    let mut address = wire::mac_of(source).to_vec();
    address.resize(8, 0);
    [&[0, 0, 0, 1, 0, 6][..], &address, &wire::ethertype_of(ip).to_be_bytes(), ip].concat()
}

/// The file and how many packets are in it.
pub fn capture() -> (Vec<u8>, usize) {
    let client: IpAddr = Ipv4Addr::new(10, 20, 0, 15).into();
    let mut out = block(
        SECTION,
        &[
            &0x1A2B_3C4Du32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xFF; 8],
            &option(1, b"four interfaces in one file"),
            &option(0, &[]),
        ]
        .concat(),
    );
    for of in &INTERFACES[..2] {
        out.extend(interface(of));
    }
    let name = [&[10, 20, 0, 15][..], b"desk15.example.com\0"].concat();
    let resolution = [option(1, &name), option(0, &[])].concat();
    out.extend(block(NAME_RESOLUTION, &resolution));

    let mut count = 0;
    let mut put = |out: &mut Vec<u8>, id: usize, at: i64, bytes: &[u8], options: &[u8]| {
        out.extend(packet(id, at, bytes, options));
        count += 1;
    };
    let mut page = Conversation::new(
        SocketAddr::new(client, 52_001),
        SocketAddr::new([192, 0, 2, 80].into(), 80),
        START + 123_456_789,
    );
    page.open();
    page.send(Direction::ToServer, &http::request("GET", "/", "www.example.com", "", b""));
    page.send(Direction::ToClient, &http::response("200 OK", "text/html", "", &http::page("Interfaces", 20)));
    page.close();
    for (i, datagram) in page.datagrams.iter().enumerate() {
        let comment = [option(1, b"the first packet has a comment"), option(0, &[])].concat();
        let at = datagram.at + i as i64;
        put(&mut out, 0, at, &wire::on_lan(&datagram.bytes), if i == 0 { &comment } else { &[] });
    }
    let server: IpAddr = Ipv4Addr::new(172, 16, 5, 80).into();
    for datagram in ping(Ipv4Addr::new(172, 16, 4, 10).into(), server, START + SECOND, 3) {
        put(&mut out, 1, datagram.at, &datagram.bytes, &[]);
    }
    // Interfaces may be announced in mid-file; their numbers go on from the last one.
    for of in &INTERFACES[2..] {
        out.extend(interface(of));
    }
    out.extend(block(LOCAL, b"skip me"));
    let v6 = |last| IpAddr::from([0x2001, 0xDB8, 0x20, 0, 0, 0, 0x0A14, last]);
    for datagram in ping(v6(0x0F), v6(0x05), START + 5 * SECOND, 3) {
        put(&mut out, 2, datagram.at, &cooked(&datagram.bytes), &[]);
    }
    for datagram in page.datagrams.iter().filter(|d| d.direction == Direction::ToClient) {
        put(&mut out, 3, datagram.at + 9 * SECOND, &wire::on_lan(&datagram.bytes), &[]);
    }
    // A simple packet block has no time and belongs to interface 0.
    let simple = wire::arp(1, Ipv4Addr::new(10, 20, 0, 15), Ipv4Addr::new(10, 20, 0, 1));
    out.extend(block(SIMPLE_PACKET, &[&word(simple.len()).to_le_bytes()[..], &simple].concat()));
    let end = ((START + 10 * SECOND) / INTERFACES[0].unit) as u64;
    let received = option(4, &(count as u64).to_le_bytes());
    let statistics = [
        &0u32.to_le_bytes()[..],
        &word(end >> 32).to_le_bytes(),
        &word(end & 0xFFFF_FFFF).to_le_bytes(),
        &received,
        &option(5, &3u64.to_le_bytes()),
        &option(0, &[]),
    ]
    .concat();
    out.extend(block(STATISTICS, &statistics));
    (out, count + 1)
}
