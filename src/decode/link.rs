//! Link layers: Ethernet with tags, labels and PPPoE behind it, cooked captures, loopback, PPP, Cisco HDLC.
//!
//! Pure functions of the bytes, because the engine of a packet is chosen by them before it is decoded.

use super::counters::Event;
use super::read::{be16, be32, chunk, le32};
use super::walk::Next;
use crate::packet::{LinkType, ProtocolId};

/// Raw IP as some BSD systems number it.
pub(super) const RAW_BSD: LinkType = LinkType(12);
/// Raw IP as OpenBSD numbers it.
pub(super) const RAW_OPENBSD: LinkType = LinkType(14);
/// Cisco HDLC.
const C_HDLC: LinkType = LinkType(104);

/// What a link layer carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// Where the content starts; the link layer ends there.
    pub at: usize,
    /// Where the content ends at most.
    pub end: usize,
    pub next: Next,
    /// Something to count.
    pub event: Option<Event>,
    /// The bytes end within a header at `at` that has this many.
    pub short: Option<(Event, usize)>,
}

impl Content {
    pub const fn new(at: usize, end: usize, next: Next) -> Self {
        Self { at, end, next, event: None, short: None }
    }

    pub const fn stop(at: usize, end: usize, event: Event) -> Self {
        Self { at, end, next: Next::Stop, event: Some(event), short: None }
    }

    pub const fn short(at: usize, needed: usize) -> Self {
        Self { at, end: at, next: Next::Stop, event: None, short: Some((Event::LinkShort, needed)) }
    }
}

/// An Ethernet frame at `at`, the end of `data` being that of the frame.
pub(super) fn ethernet(data: &[u8], at: usize, attached: &dyn Fn(u16) -> Option<ProtocolId>) -> Content {
    match be16(data, at + 12) {
        Some(ethertype) => content(data, at + 14, ethertype, attached),
        None => Content::short(at, 14),
    }
}

/// What an EtherType announces at `at`, behind any VLAN tags, LLC and SNAP headers, MPLS labels and PPPoE headers.
pub(super) fn content(
    data: &[u8],
    mut at: usize,
    mut ethertype: u16,
    attached: &dyn Fn(u16) -> Option<ProtocolId>,
) -> Content {
    let mut end = data.len();
    loop {
        if let Some(protocol) = attached(ethertype) {
            return Content::new(at, end, Next::Script(protocol));
        }
        match ethertype {
            0x0800 => return Content::new(at, end, Next::Ipv4),
            0x86DD => return Content::new(at, end, Next::Ipv6),
            0x8100 | 0x88A8 | 0x9100 | 0x9200 => match be16(&data[..end], at + 2) {
                Some(inner) => {
                    ethertype = inner;
                    at += 4;
                }
                None => return Content::short(at, 4),
            },
            0x0806 | 0x8035 => return Content::stop(at, end, Event::Arp),
            0x8847 | 0x8848 => return mpls(data, at, end),
            0x8864 => return pppoe(data, at, end),
            0x6558 => return Content::new(at, end, Next::InnerEthernet),
            // Below 1536 it is the length of an LLC frame (IEEE 802.3, 3.2.6).
            0..0x0600 => {
                end = end.min(at + usize::from(ethertype));
                match llc(data, at, end) {
                    Ok(inner) => {
                        ethertype = inner;
                        at += 8;
                    }
                    Err(content) => return content,
                }
            }
            _ => return Content::stop(at, end, Event::UnknownEtherType),
        }
    }
}

/// The EtherType behind LLC and SNAP headers.
pub(super) fn llc(data: &[u8], at: usize, end: usize) -> Result<u16, Content> {
    let Some(bytes) = data.get(at..end) else { return Err(Content::short(at, 8)) };
    match *bytes {
        [0xAA, 0xAA, 3, 0, 0, 0 | 0xF8, high, low, ..] => Ok(u16::from_be_bytes([high, low])),
        [0xAA, 0xAA, 3, ..] | [0xAA, 0xAA] | [0xAA] if bytes.len() < 8 => Err(Content::short(at, 8)),
        [] => Err(Content::short(at, 3)),
        _ => Err(Content::stop(at, end, Event::UnknownEtherType)),
    }
}

/// MPLS labels (RFC 3032) up to the bottom of the stack; the content shows itself by its first nibble.
fn mpls(data: &[u8], mut at: usize, end: usize) -> Content {
    let data = &data[..end];
    loop {
        let Some(label) = be32(data, at) else { return Content::short(at, 4) };
        at += 4;
        if label & 0x100 != 0 {
            break;
        }
    }
    match data.get(at).map(|byte| byte >> 4) {
        Some(4) => Content::new(at, end, Next::Ipv4),
        Some(6) => Content::new(at, end, Next::Ipv6),
        // A control word (RFC 4385) in front of a pseudowire, of which Ethernet is by far the most frequent.
        Some(0) if data.len() >= at + 4 => Content::new(at + 4, end, Next::InnerEthernet),
        Some(0) | None => Content::short(at, 4),
        Some(_) => Content::stop(at, end, Event::UnknownEtherType),
    }
}

/// A PPPoE session header (RFC 2516) and the PPP protocol behind it.
fn pppoe(data: &[u8], at: usize, end: usize) -> Content {
    let Some(length) = be16(&data[..end], at + 4) else { return Content::short(at, 6) };
    ppp(data, at + 6, end.min(at + 6 + usize::from(length)))
}

/// A PPP frame (RFC 1661), with or without address and control (RFC 1662) and protocol field compression.
pub(super) fn ppp(data: &[u8], mut at: usize, end: usize) -> Content {
    let data = &data[..end];
    if let Some([0xFF, 0x03]) = chunk(data, at) {
        at += 2;
    }
    let (protocol, len) = match data.get(at) {
        Some(&low) if low & 1 != 0 => (u16::from(low), 1),
        _ => match be16(data, at) {
            Some(protocol) => (protocol, 2),
            None => return Content::short(at, 2),
        },
    };
    at += len;
    match protocol {
        0x0021 => Content::new(at, end, Next::Ipv4),
        0x0057 => Content::new(at, end, Next::Ipv6),
        0x0281 | 0x0283 => mpls(data, at, end),
        _ => Content::stop(at, end, Event::UnknownEtherType),
    }
}

/// A link type whose layer is not Ethernet; `None` if it is not known.
pub(super) fn other(linktype: LinkType, data: &[u8]) -> Option<Content> {
    Some(match linktype {
        LinkType::NULL | LinkType::LOOP => loopback(data),
        LinkType::PPP => ppp(data, 0, data.len()),
        LinkType::PPP_HDLC => match data.first() {
            Some(0x0F | 0x8F) => cisco_hdlc(data),
            _ => ppp(data, 0, data.len()),
        },
        C_HDLC => cisco_hdlc(data),
        LinkType::PPP_ETHER => pppoe(data, 0, data.len()),
        LinkType::PPP_WITH_DIR if data.is_empty() => Content::short(0, 1),
        LinkType::PPP_WITH_DIR => ppp(data, 1, data.len()),
        LinkType::LINUX_SLL => cooked(data, 14, 16),
        LinkType::LINUX_SLL2 => cooked(data, 0, 20),
        _ => return None,
    })
}

/// Linux cooked capture: the protocol field is at `field`, the header has `len` bytes.
fn cooked(data: &[u8], field: usize, len: usize) -> Content {
    match be16(data, field) {
        // Below 1536 it names what kind of frame follows; 4 is LLC.
        Some(4) if data.len() >= len => match llc(data, len, data.len()) {
            Ok(ethertype) => content(data, len + 8, ethertype, &|_| None),
            Err(content) => content,
        },
        Some(0..0x0600) if data.len() >= len => Content::stop(len, data.len(), Event::UnknownEtherType),
        Some(ethertype) if data.len() >= len => content(data, len, ethertype, &|_| None),
        _ => Content::short(0, len),
    }
}

fn cisco_hdlc(data: &[u8]) -> Content {
    match be16(data, 2) {
        Some(ethertype @ 0x0600..) => content(data, 4, ethertype, &|_| None),
        Some(_) => Content::stop(4, data.len(), Event::UnknownEtherType),
        None => Content::short(0, 4),
    }
}

/// Loopback of the BSDs: an address family in the byte order of a host we do not know. The numbers are small, so that
/// both readings can be tried.
fn loopback(data: &[u8]) -> Content {
    let Some(family) = le32(data, 0) else { return Content::short(0, 4) };
    let next = |family: u32| match family {
        2 => Some(Next::Ipv4),
        // Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
        10 | 24 | 28 | 30 => Some(Next::Ipv6),
        _ => None,
    };
    match next(family).or_else(|| next(family.swap_bytes())) {
        Some(next) => Content::new(4, data.len(), next),
        None => Content::stop(4, data.len(), Event::UnknownEtherType),
    }
}
