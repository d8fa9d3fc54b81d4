//! DHCP: two hosts that get an address, one with a plain name, one with a full name; a third without a name.

use std::net::{Ipv4Addr, SocketAddr};

use super::container::{MILLISECOND, SECOND, START, Trace};
use super::conversation::{Datagram, Direction};
use super::wire;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

/// A message: operation, transaction, address given, hardware address, options.
fn message(operation: u8, transaction: u32, given: Ipv4Addr, mac: [u8; 6], options: &[u8]) -> Vec<u8> {
    let mut out = vec![operation, 1, 6, 0];
    out.extend(transaction.to_be_bytes());
    out.extend([0; 8]);
    out.extend(given.octets());
    out.extend([0; 8]);
    out.extend(mac);
    out.extend([0; 10 + 64 + 128]);
    out.extend([0x63, 0x82, 0x53, 0x63]);
    out.extend(options);
    out.push(255);
    out.resize(out.len().max(300), 0);
    out
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, value.len() as u8], value].concat()
}

fn lease(trace: &mut Trace, at: i64, host: u8, name: &[u8]) {
    let address = Ipv4Addr::new(10, 20, 0, host);
    let mac = wire::mac_of(address.into());
    let transaction = 0x5EED_0000 | u32::from(host);
    let (nobody, all) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let kind = |kind: u8| option(53, &[kind]);
    let server = option(54, &SERVER.octets());
    let given = [server.clone(), option(51, &3_600u32.to_be_bytes()), option(1, &[255, 255, 255, 0])].concat();
    let wanted = option(50, &address.octets());
    let from = |ip: Ipv4Addr, port| SocketAddr::new(ip.into(), port);
    let exchange = [
        (Direction::ToServer, message(1, transaction, nobody, mac, &[kind(1), name.to_vec()].concat())),
        (Direction::ToClient, message(2, transaction, address, mac, &[kind(2), given.clone()].concat())),
        (Direction::ToServer, message(1, transaction, nobody, mac, &[kind(3), wanted, server, name.to_vec()].concat())),
        (Direction::ToClient, message(2, transaction, address, mac, &[kind(5), given].concat())),
    ];
    let datagrams: Vec<Datagram> = (0..)
        .zip(exchange)
        .map(|(i, (direction, payload))| {
            let (source, target) = match direction {
                Direction::ToServer => (from(nobody, 68), from(all, 67)),
                Direction::ToClient => (from(SERVER, 67), from(address, 68)),
            };
            let ends = ((source.ip(), source.port()), (target.ip(), target.port()));
            let bytes = wire::udp_packet(ends.0, ends.1, u16::from(host) << 4 | i, &payload);
            Datagram { at: at + i64::from(i) * 3 * MILLISECOND, direction, bytes }
        })
        .collect();
    trace.datagrams(&datagrams);
}

pub fn capture() -> Trace {
    let mut trace = Trace::default();
    lease(&mut trace, START, 31, &option(12, b"reception"));
    let full = [&[0, 0, 0][..], b"press.example.com"].concat();
    lease(&mut trace, START + SECOND, 32, &option(81, &full));
    lease(&mut trace, START + 2 * SECOND, 33, &[]);
    trace
}
