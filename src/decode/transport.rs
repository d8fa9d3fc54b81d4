//! TCP, UDP and ICMP headers.

use super::counters::Event;
use super::read::{be16, chunk};
use super::walk::{Next, Walk};
use crate::packet::builtin;

pub(super) fn tcp(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<20>(walk.visible(), at) else {
        return walk.short(Event::TcpShort, builtin::TCP, at, 20);
    };
    let len = usize::from(header[12] >> 4) * 4;
    if len < 20 {
        return walk.malformed(Event::TcpHeaderLength, builtin::TCP, at, 20);
    }
    if walk.end < at + len {
        return walk.short(Event::TcpShort, builtin::TCP, at, len);
    }
    if !walk.add(builtin::TCP, at, at + len) {
        return (Next::Stop, at);
    }
    let (sport, dport) = ports(header);
    match walk.registry.tcp(sport, dport) {
        Some(script) => (Next::Script(script), at + len),
        None => (Next::Stop, at + len),
    }
}

pub(super) fn udp(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<8>(walk.visible(), at) else {
        return walk.short(Event::UdpShort, builtin::UDP, at, 8);
    };
    if !walk.add(builtin::UDP, at, at + 8) {
        return (Next::Stop, at);
    }
    let (sport, dport) = ports(header);
    match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        // Zero is legal in a jumbogram (RFC 2675, section 4) and otherwise a sender's shortcut: the IP length counts.
        0 => walk.counters.add(Event::UdpLength),
        len if len < 8 => return walk.malformed(Event::UdpLength, builtin::UDP, at, 8),
        len => walk.limit(at + len, Event::UdpLength, builtin::UDP, at),
    }
    if let Some(script) = walk.registry.udp(sport, dport) {
        return (Next::Script(script), at + 8);
    }
    (udp_tunnel(sport, dport).unwrap_or(Next::Stop), at + 8)
}

/// The tunnel that a UDP port announces. VXLAN and Geneve choose the source port freely, GTP answers from its own.
#[inline]
pub(super) fn udp_tunnel(sport: u16, dport: u16) -> Option<Next> {
    match (sport, dport) {
        (_, 4789 | 8472) => Some(Next::Vxlan),
        (_, 6081) => Some(Next::Geneve),
        (2152, _) | (_, 2152) => Some(Next::Gtp),
        _ => None,
    }
}

/// The whole message: ICMP is the one layer that is more than its header.
pub(super) fn icmp(walk: &mut Walk<'_>, at: usize, header: usize) -> (Next, usize) {
    if walk.end < at + header {
        return walk.short(Event::IcmpShort, builtin::ICMP, at, header);
    }
    walk.add(builtin::ICMP, at, walk.end);
    (Next::Stop, walk.end)
}

fn ports(header: &[u8]) -> (u16, u16) {
    (be16(header, 0).unwrap_or(0), be16(header, 2).unwrap_or(0))
}
