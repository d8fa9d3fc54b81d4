//! Which engine a packet goes to, before it is decoded.

use super::link::{self, Content};
use super::read::{be16, chunk};
use super::walk::{MAX_TUNNELS, Next};
use super::{ieee80211, network};
use crate::key::{FlowTuple, IpVersion};
use crate::packet::{Captured, LinkType};

/// A hash of the flow a packet belongs to, the same for both directions; 0 for everything that is not IP, which is one
/// flow.
///
/// The rule: only the two addresses of the outermost IP header count. Ports cannot, because fragments other than the
/// first have none and must meet the rest of their flow; the protocol need not, and without it an ICMP error and the
/// data connection of a control connection stay on one engine too.
#[inline]
#[must_use]
pub fn flow_hash(linktype: LinkType, bytes: &[u8]) -> u32 {
    if linktype == LinkType::ETHERNET {
        if let Some(hash) = plain_ipv4(bytes) {
            return hash;
        }
        match be16(bytes, 12) {
            Some(0x0800) => return ipv4(bytes, 14),
            Some(0x86DD) => return ipv6(bytes, 14),
            _ => {}
        }
    }
    behind_other_headers(linktype, bytes)
}

/// Appends the [`flow_hash`] of each packet; the bytes are those that the packets point into.
pub fn flow_hashes(packets: &[Captured], bytes: &[u8], hashes: &mut Vec<u32>) {
    hashes.extend(packets.iter().map(|packet| {
        let start = packet.offset as usize;
        flow_hash(packet.linktype, &bytes[start..start + packet.caplen as usize])
    }));
}

/// The hash where IP does not follow right behind the header of Ethernet.
#[inline(never)]
fn behind_other_headers(linktype: LinkType, bytes: &[u8]) -> u32 {
    let mut content = match linktype {
        LinkType::ETHERNET => link::ethernet(bytes, 0, &|_| None),
        LinkType::RAW | link::RAW_BSD | link::RAW_OPENBSD => Content::new(0, bytes.len(), Next::Ip),
        LinkType::IPV4 => Content::new(0, bytes.len(), Next::Ipv4),
        LinkType::IPV6 => Content::new(0, bytes.len(), Next::Ipv6),
        LinkType::IEEE802_11 => ieee80211::frame(bytes, 0, ieee80211::Padding::None),
        LinkType::IEEE802_11_RADIOTAP => ieee80211::radiotap(bytes),
        _ => match link::other(linktype, bytes) {
            Some(content) => content,
            None => return 0,
        },
    };
    // A pseudowire hides the first IP header in an Ethernet frame of its own.
    for _ in 0..MAX_TUNNELS {
        if content.short.is_some() || content.next != Next::InnerEthernet {
            break;
        }
        content = link::ethernet(&bytes[..content.end], content.at, &|_| None);
    }
    if content.short.is_some() {
        return 0;
    }
    let visible = &bytes[..content.end];
    match (content.next, visible.get(content.at).map(|byte| byte >> 4)) {
        (Next::Ipv4 | Next::Ip, Some(4)) => ipv4(visible, content.at),
        (Next::Ipv6 | Next::Ip, Some(6)) => ipv6(visible, content.at),
        _ => 0,
    }
}

/// The same hash of the packets of a flow.
#[must_use]
pub fn tuple_hash(tuple: &FlowTuple) -> u32 {
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let address = |bytes: &[u8; 16]| match tuple.version {
        IpVersion::V4 => mix(word(&bytes[..4])),
        IpVersion::V6 => mix(mix(word(&bytes[..8])) ^ word(&bytes[8..])),
    };
    if *tuple == FlowTuple::NO_IP { 0 } else { symmetric(address(&tuple.a), address(&tuple.z)) }
}

/// Nearly all packets: Ethernet, then IPv4 without options. The same as [`ipv4`] with half as many steps.
#[inline]
fn plain_ipv4(bytes: &[u8]) -> Option<u32> {
    let head = bytes.first_chunk::<34>()?;
    let word = chunk::<4>(head, 12).map_or(0, |word| u32::from_be_bytes(*word));
    let addresses = chunk::<8>(head, 26).map_or(0, |word| u64::from_be_bytes(*word));
    (word >> 8 == 0x08_0045).then(|| symmetric(mix(addresses >> 32), mix(addresses & 0xFFFF_FFFF)))
}

#[inline]
fn ipv4(bytes: &[u8], at: usize) -> u32 {
    let Some(header) = chunk::<20>(bytes, at) else { return 0 };
    if network::ipv4_header_len(header).is_none_or(|len| bytes.len() < at + len) {
        return 0;
    }
    let address = |from: usize| {
        u64::from(u32::from_be_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]))
    };
    symmetric(mix(address(12)), mix(address(16)))
}

#[inline]
fn ipv6(bytes: &[u8], at: usize) -> u32 {
    let Some(header) = chunk::<40>(bytes, at) else { return 0 };
    if header[0] >> 4 != 6 {
        return 0;
    }
    let word = |from: usize| chunk::<8>(header, from).map_or(0, |word| u64::from_be_bytes(*word));
    let address = |from: usize| mix(mix(word(from)) ^ word(from + 8));
    symmetric(address(8), address(24))
}

/// Multiplication by an odd constant with a good spectrum; the upper half carries the mixture.
#[inline]
const fn mix(value: u64) -> u64 {
    let spread = (value ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    spread ^ (spread >> 32)
}

/// The sum of two mixed addresses does not depend on their order, and unlike their exclusive or does not cancel out
/// for neighbours.
#[inline]
const fn symmetric(a: u64, z: u64) -> u32 {
    (mix(a.wrapping_add(z)) >> 32) as u32
}
