//! IPv4 and IPv6 headers.

use super::counters::Event;
use super::read::{be16, be32, chunk};
use super::walk::{Next, Walk};
use crate::packet::{ProtocolId, builtin};

/// Most IPv6 extension headers that are followed.
const MAX_EXTENSIONS: usize = 16;

/// Length of an IPv4 header; `None` if the version or the length is wrong.
#[inline]
pub(super) fn ipv4_header_len(header: &[u8; 20]) -> Option<usize> {
    let len = usize::from(header[0] & 15) * 4;
    (header[0] >> 4 == 4 && len >= 20).then_some(len)
}

pub(super) fn ipv4(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<20>(walk.visible(), at) else {
        return match walk.visible().get(at) {
            Some(first) if first >> 4 != 4 => walk.malformed(Event::Ipv4Version, builtin::IPV4, at, 20),
            _ => walk.short(Event::Ipv4Short, builtin::IPV4, at, 20),
        };
    };
    if header[0] >> 4 != 4 {
        return walk.malformed(Event::Ipv4Version, builtin::IPV4, at, 20);
    }
    let Some(len) = ipv4_header_len(header) else {
        return walk.malformed(Event::Ipv4HeaderLength, builtin::IPV4, at, 20);
    };
    if walk.visible().len() < at + len {
        return walk.short(Event::Ipv4Short, builtin::IPV4, at, len);
    }
    if !walk.add(builtin::IPV4, at, at + len) {
        return (Next::Stop, at);
    }
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total == 0 {
        walk.counters.add(Event::ZeroIpLength);
    } else if total < len {
        return walk.malformed(Event::Ipv4TotalLength, builtin::IPV4, at, len);
    } else {
        walk.limit(at + total, Event::Ipv4TotalLength, builtin::IPV4, at);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x1FFF != 0 {
        return walk.stop(Event::Fragment, at + len);
    }
    if fragment & 0x2000 != 0 {
        walk.first_fragment();
    }
    (Next::Number(builtin::IPV4, header[9]), at + len)
}

pub(super) fn ipv6(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<40>(walk.visible(), at) else {
        return match walk.visible().get(at) {
            Some(first) if first >> 4 != 6 => walk.malformed(Event::Ipv6Version, builtin::IPV6, at, 40),
            _ => walk.short(Event::Ipv6Short, builtin::IPV6, at, 40),
        };
    };
    if header[0] >> 4 != 6 {
        return walk.malformed(Event::Ipv6Version, builtin::IPV6, at, 40);
    }
    match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        // No payload, or a jumbogram (RFC 2675) or offloaded segment.
        0 if header[6] == 59 || walk.end == at + 40 => walk.end = at + 40,
        0 => walk.counters.add(Event::ZeroIpLength),
        payload => walk.limit(at + 40 + payload, Event::Ipv6PayloadLength, builtin::IPV6, at),
    }
    let registry = walk.registry;
    let chain = extensions(walk.visible(), at + 40, header[6], |number| registry.ip(builtin::IPV6, number).is_some());
    if !walk.add(builtin::IPV6, at, chain.end) {
        return (Next::Stop, at);
    }
    match chain.stopped {
        Some(Stopped::Short(needed)) => {
            return walk.short(Event::Ipv6ExtensionShort, builtin::IPV6, chain.end, needed);
        }
        Some(Stopped::Limit) => return walk.malformed(Event::Ipv6ExtensionLimit, builtin::IPV6, chain.end, 0),
        None => {}
    }
    if let Some(fragment) = chain.fragment {
        if fragment.offset != 0 {
            return walk.stop(Event::Fragment, chain.end);
        }
        if fragment.more {
            walk.first_fragment();
        }
    }
    (Next::Number(builtin::IPV6, chain.number), chain.end)
}

/// What follows an IP header by its protocol or next header number.
pub(super) fn content(walk: &mut Walk<'_>, host: ProtocolId, number: u8) -> Next {
    if let Some(script) = walk.registry.ip(host, number) {
        return Next::Script(script);
    }
    match number {
        6 => Next::Tcp,
        17 => Next::Udp,
        1 => Next::Icmp(8),
        58 => Next::Icmp(4),
        4 => Next::InnerIpv4,
        41 => Next::InnerIpv6,
        47 => Next::Gre,
        // They have ports, which the flow knows, but no layer.
        33 | 132 | 136 => Next::Stop,
        50 => {
            walk.counters.add(Event::Encrypted);
            Next::Stop
        }
        59 => Next::Stop,
        _ => {
            walk.counters.add(Event::UnknownProtocol);
            Next::Stop
        }
    }
}

/// A chain of IPv6 extension headers.
pub(super) struct Extensions {
    /// Where it ends.
    pub end: usize,
    /// Number of what follows.
    pub number: u8,
    pub fragment: Option<FragmentHeader>,
    pub stopped: Option<Stopped>,
}

/// The fragment header of a chain, which is then its last one unless the offset is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentHeader {
    /// Where the header starts.
    pub at: usize,
    /// Where the number that announces it stands.
    pub announced_at: usize,
    /// Bytes of the fragmented part before this fragment's.
    pub offset: u16,
    pub more: bool,
    pub id: u32,
}

/// Why a chain could not be followed to its end.
pub(super) enum Stopped {
    /// The bytes end within a header of this many.
    Short(usize),
    Limit,
}

/// Follows the extension headers (RFC 8200, section 4) that start at `at`, until `is_claimed` stops at one.
pub(super) fn extensions(data: &[u8], at: usize, number: u8, is_claimed: impl Fn(u8) -> bool) -> Extensions {
    // The fixed header's number is at its byte 6, 34 bytes before the first extension header.
    let mut announced_at = at - 34;
    let mut chain = Extensions { end: at, number, fragment: None, stopped: None };
    for _ in 0..=MAX_EXTENSIONS {
        if is_claimed(chain.number) {
            return chain;
        }
        let at = chain.end;
        let len = match chain.number {
            44 => {
                let (Some(&[next, _, high, low]), Some(id)) = (chunk(data, at), be32(data, at + 4)) else {
                    chain.stopped = Some(Stopped::Short(8));
                    return chain;
                };
                let field = u16::from_be_bytes([high, low]);
                let (offset, more) = (field & 0xFFF8, field & 1 != 0);
                chain.fragment = Some(FragmentHeader { at, announced_at, offset, more, id });
                if offset != 0 {
                    chain.end += 8;
                    chain.number = next;
                    return chain;
                }
                8
            }
            0 | 43 | 60 | 135 | 139 | 140 => match be16(data, at) {
                Some(field) => (usize::from(field & 0xFF) + 1) * 8,
                None => {
                    chain.stopped = Some(Stopped::Short(8));
                    return chain;
                }
            },
            51 => match be16(data, at) {
                Some(field) => (usize::from(field & 0xFF) + 2) * 4,
                None => {
                    chain.stopped = Some(Stopped::Short(8));
                    return chain;
                }
            },
            _ => return chain,
        };
        if data.len() < at + len {
            chain.stopped = Some(Stopped::Short(len));
            return chain;
        }
        announced_at = at;
        chain.number = data[at];
        chain.end += len;
    }
    chain.stopped = Some(Stopped::Limit);
    chain
}
