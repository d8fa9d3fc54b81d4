//! Which engine a packet goes to, before it is decoded.

use super::link::{self, Content};
use super::read::{be16, chunk};
use super::walk::{MAX_TUNNELS, Next};
use super::{ieee80211, network};
use crate::key::{FlowTuple, IpVersion};
use crate::packet::{self, Captured, LinkType, Share, Tick};

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

/// A [`Deal`](crate::packet::Deal) by [`flow_hash`].
pub fn deal_by_flow(packets: &[Captured], bytes: &[u8], shares: &mut [Share], ticks: &mut Vec<Tick>) {
    packet::deal_by(flow_hash, packets, bytes, shares, ticks);
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
    let FlowTuple { a, z, .. } = tuple;
    match tuple.version {
        _ if *tuple == FlowTuple::NO_IP => 0,
        IpVersion::V4 => of_ipv4([a[0], a[1], a[2], a[3], z[0], z[1], z[2], z[3]]),
        IpVersion::V6 => of_ipv6(a, z),
    }
}

/// Nearly all packets: Ethernet, then IPv4 without options. The same as [`ipv4`] with half as many steps.
#[inline]
fn plain_ipv4(bytes: &[u8]) -> Option<u32> {
    let head = bytes.first_chunk::<34>()?;
    let word = chunk::<4>(head, 12).map_or(0, |word| u32::from_be_bytes(*word));
    let addresses = chunk::<8>(head, 26)?;
    (word >> 8 == 0x08_0045).then(|| of_ipv4(*addresses))
}

#[inline]
fn ipv4(bytes: &[u8], at: usize) -> u32 {
    let Some(header) = chunk::<20>(bytes, at) else { return 0 };
    if network::ipv4_header_len(header).is_none_or(|len| bytes.len() < at + len) {
        return 0;
    }
    chunk::<8>(header, 12).map_or(0, |addresses| of_ipv4(*addresses))
}

#[inline]
fn ipv6(bytes: &[u8], at: usize) -> u32 {
    let Some(header) = chunk::<40>(bytes, at) else { return 0 };
    if header[0] >> 4 != 6 {
        return 0;
    }
    let (Some(source), Some(destination)) = (chunk::<16>(header, 8), chunk::<16>(header, 24)) else { return 0 };
    of_ipv6(source, destination)
}

/// The hash of two addresses, which lie one behind the other.
#[inline]
fn of_ipv4(addresses: [u8; 8]) -> u32 {
    let one_way = u64::from_le_bytes(addresses);
    // Of the two orders the smaller one, whatever the direction.
    upper_half(mix(one_way.min(one_way.rotate_left(32)), FIRST))
}

#[inline]
fn of_ipv6(one: &[u8; 16], other: &[u8; 16]) -> u32 {
    let halves = |address: &[u8; 16]| {
        let whole = u128::from_le_bytes(*address);
        mix(whole as u64 ^ SECOND, (whole >> 64) as u64 ^ FIRST)
    };
    let (one, other) = (halves(one), halves(other));
    upper_half(mix(one.min(other) ^ SECOND, one.max(other) ^ FIRST))
}

/// Odd numbers without a pattern in their bits. Which they are is of no importance, as long as all engines have the same.
const FIRST: u64 = 0xD6E8_FEB8_6659_FD93;
const SECOND: u64 = 0x9E37_79B9_7F4A_7C15;

/// Both halves of a product, put together: neighbours come out far apart in high and in low bits.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

const fn upper_half(word: u64) -> u32 {
    (word >> 32) as u32
}
