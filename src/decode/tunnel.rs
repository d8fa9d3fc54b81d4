//! Tunnel headers. They make no layer; the layers of the packet inside follow those outside.

use super::counters::Event;
use super::read::{be16, be32, chunk};
use super::walk::{Next, Walk};
use crate::packet::builtin;

/// GRE (RFC 2784 with the fields of RFC 2890), and its version 1 of PPTP (RFC 2637).
pub(super) fn gre(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let (Some(flags), Some(protocol)) = (be16(walk.visible(), at), be16(walk.visible(), at + 2)) else {
        return short(walk, at, 4);
    };
    let version = flags & 7;
    // A routing field (RFC 1701) has a length of its own; it is long out of use.
    if version > 1 || flags & 0x4000 != 0 {
        return walk.stop(Event::TunnelUnknown, at);
    }
    let optional = |bit: u16| if flags & bit != 0 { 4 } else { 0 };
    let mut len = 4 + optional(0x8000) + optional(0x2000) + optional(0x1000);
    if version == 1 {
        len += optional(0x0080);
    }
    if walk.end < at + len {
        return short(walk, at, len);
    }
    let inner = at + len;
    match (version, protocol) {
        (1, 0x880B) => (Next::Ppp, inner),
        (1, _) => walk.stop(Event::TunnelUnknown, at),
        (_, 0x0800) => (Next::InnerIpv4, inner),
        (_, 0x86DD) => (Next::InnerIpv6, inner),
        (_, 0x6558) => (Next::InnerEthernet, inner),
        (_, 0x880B) => (Next::Ppp, inner),
        // ERSPAN: type I has no header of its own, type II eight bytes, told by the sequence number.
        (_, 0x88BE) if flags & 0x1000 == 0 => (Next::InnerEthernet, inner),
        (_, 0x88BE) => inner_ethernet(walk, inner, 8),
        (_, 0x22EB) => erspan3(walk, inner),
        (_, 0x8847 | 0x8848 | 0x8100 | 0x88A8) => (Next::EtherType(protocol), inner),
        _ => walk.stop(Event::TunnelUnknown, at),
    }
}

/// ERSPAN type III: twelve bytes, and eight more if the lowest bit is set. The frame type says what was mirrored.
fn erspan3(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<12>(walk.visible(), at) else { return short(walk, at, 12) };
    let len = if header[11] & 1 != 0 { 20 } else { 12 };
    match (header[10] >> 2) & 0x1F {
        0 => inner_ethernet(walk, at, len),
        2 => (Next::InnerIp, at + len),
        _ => walk.stop(Event::TunnelUnknown, at),
    }
}

fn inner_ethernet(walk: &mut Walk<'_>, at: usize, len: usize) -> (Next, usize) {
    if walk.end < at + len {
        return short(walk, at, len);
    }
    (Next::InnerEthernet, at + len)
}

/// VXLAN (RFC 7348).
pub(super) fn vxlan(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    match be32(walk.visible(), at) {
        // Without a valid network id this is something else on the same port.
        Some(flags) if flags & 0x0800_0000 == 0 => walk.stop(Event::TunnelUnknown, at),
        Some(_) => inner_ethernet(walk, at, 8),
        None => short(walk, at, 8),
    }
}

/// Geneve (RFC 8926).
pub(super) fn geneve(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<8>(walk.visible(), at) else { return short(walk, at, 8) };
    if header[0] >> 6 != 0 {
        return walk.stop(Event::TunnelUnknown, at);
    }
    let len = 8 + usize::from(header[0] & 0x3F) * 4;
    if walk.end < at + len {
        return short(walk, at, len);
    }
    match u16::from_be_bytes([header[2], header[3]]) {
        0x6558 => (Next::InnerEthernet, at + len),
        0x0800 => (Next::InnerIpv4, at + len),
        0x86DD => (Next::InnerIpv6, at + len),
        _ => walk.stop(Event::TunnelUnknown, at),
    }
}

/// GTP-U (3GPP TS 29.281): user data only; its other messages carry none.
pub(super) fn gtp(walk: &mut Walk<'_>, at: usize) -> (Next, usize) {
    let Some(header) = chunk::<8>(walk.visible(), at) else { return short(walk, at, 8) };
    let flags = header[0];
    if flags & 0xF0 != 0x30 || header[1] != 0xFF {
        return walk.stop(Event::TunnelUnknown, at);
    }
    let mut inner = at + 8;
    if flags & 7 != 0 {
        // Any of the three flags brings all three fields.
        let Some(fields) = chunk::<4>(walk.visible(), inner) else { return short(walk, at, 12) };
        inner += 4;
        let mut extension = if flags & 4 != 0 { fields[3] } else { 0 };
        while extension != 0 {
            // Every header has at least four bytes, so the packet's end bounds the loop.
            let len = match walk.visible().get(inner) {
                Some(0) => return walk.stop(Event::TunnelUnknown, at),
                Some(&words) => usize::from(words) * 4,
                None => return short(walk, at, inner + 4 - at),
            };
            match walk.visible().get(inner + len - 1) {
                Some(&next) => extension = next,
                None => return short(walk, at, inner + len - at),
            }
            inner += len;
        }
    }
    (Next::InnerIp, inner)
}

fn short(walk: &mut Walk<'_>, at: usize, needed: usize) -> (Next, usize) {
    walk.short(Event::TunnelShort, builtin::OPAQUE, at, needed)
}
