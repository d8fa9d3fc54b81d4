//! What a decoded packet says about its flow: ends, payload, fragments. Always the outermost IP header counts.

use super::network;
use super::read::{be16, chunk};
use crate::key::{End, FlowTuple, Host, IpVersion, has_ports};
use crate::packet::{Batch, Layer, Packet, builtin};

/// What belongs to the datagram of a fragment. IPv4 tells datagrams apart by protocol too (RFC 791), IPv6 does not
/// (RFC 8200); `proto` is 0 there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// IP version.
    pub version: IpVersion,
    /// Protocol of an IPv4 datagram.
    pub proto: u8,
    /// Identification.
    pub id: u32,
    /// Source, IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Destination, IPv4 in the first four bytes.
    pub dst: [u8; 16],
}

impl FragmentKey {
    /// The flow of a fragment whose protocol and ports are known from elsewhere, and the end that sent it.
    #[must_use]
    pub fn flow(&self, proto: u8, sport: u16, dport: u16) -> (FlowTuple, End) {
        match self.version {
            IpVersion::V4 => {
                let [s0, s1, s2, s3, ..] = self.src;
                let [d0, d1, d2, d3, ..] = self.dst;
                FlowTuple::v4(proto, [s0, s1, s2, s3], [d0, d1, d2, d3], sport, dport)
            }
            IpVersion::V6 => FlowTuple::v6(proto, self.src, self.dst, sport, dport),
        }
    }
}

/// A fragment of an IP datagram. Offsets are from the start of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram it belongs to.
    pub key: FragmentKey,
    /// Where the IP header starts.
    pub header_start: u32,
    /// Where the part of the header ends that every fragment repeats; an IPv6 fragment header is not part of it.
    pub header_end: u32,
    /// Where the number that announces the fragment header stands (IPv6).
    pub announced_at: u32,
    /// Number of the protocol that the fragmented part starts with.
    pub number: u8,
    /// Where this fragment's part of the datagram starts.
    pub data_start: u32,
    /// Captured bytes of it.
    pub data_len: u32,
    /// Bytes of it on the wire.
    pub wire_len: u32,
    /// Place of those bytes in the fragmented part.
    pub position: u32,
    /// True if another one follows.
    pub more: bool,
    /// Protocol and ports, known from a first fragment.
    pub transport: Option<(u8, u16, u16)>,
}

/// The bytes a flow carries in one packet. Offsets are from the start of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Where the TCP or UDP header starts; without a complete one the payload is what follows the IP header.
    pub transport: Option<u32>,
    /// Where the payload starts.
    pub start: u32,
    /// Captured bytes.
    pub len: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
}

/// The outermost IP header.
struct Ip {
    start: usize,
    /// Where its content starts.
    content: usize,
    /// Where the captured content ends.
    end: usize,
    /// Where the content ended on the wire.
    wire_end: usize,
    number: u8,
    version: IpVersion,
    fragment: Option<Part>,
}

/// Which part of a datagram an IP packet has.
struct Part {
    offset: u16,
    more: bool,
    id: u32,
    header_end: usize,
    announced_at: usize,
}

impl Ip {
    #[inline]
    fn of(data: &[u8], packet: &Packet, layers: &[Layer]) -> Option<Self> {
        let v4 = packet.outermost[usize::from(builtin::IPV4.0)];
        let v6 = packet.outermost[usize::from(builtin::IPV6.0)];
        let layer = layers.get(usize::from(v4.min(v6)))?;
        let (start, content) = (layer.offset as usize, (layer.offset + layer.len) as usize);
        let header = data.get(start..content)?;
        if v4 < v6 { Self::v4(header, data.len(), packet, start) } else { Self::v6(header, data.len(), packet, start) }
    }

    #[inline]
    fn v4(header: &[u8], caplen: usize, packet: &Packet, start: usize) -> Option<Self> {
        let content = start + header.len();
        let header: &[u8; 20] = header.first_chunk()?;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let wire_end = wire_end(packet, content, if total == 0 { None } else { Some(start + total) });
        let field = u16::from_be_bytes([header[6], header[7]]);
        let fragment = (field & 0x3FFF != 0).then(|| Part {
            offset: (field & 0x1FFF) << 3,
            more: field & 0x2000 != 0,
            id: u32::from(u16::from_be_bytes([header[4], header[5]])),
            header_end: content,
            announced_at: start + 9,
        });
        let end = wire_end.min(caplen);
        Some(Self { start, content, end, wire_end, number: header[9], version: IpVersion::V4, fragment })
    }

    fn v6(header: &[u8], caplen: usize, packet: &Packet, start: usize) -> Option<Self> {
        let content = start + header.len();
        let fixed: &[u8; 40] = header.first_chunk()?;
        let payload = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let claimed = if payload == 0 { None } else { Some(start + 40 + payload) };
        let wire_end = wire_end(packet, content, claimed);
        let end = wire_end.min(caplen);
        let (mut number, mut fragment) = (fixed[6], None);
        if header.len() > 40 || number == 44 {
            let chain = network::extensions(header, 40, number, |_| false);
            number = chain.number;
            fragment = chain.fragment.filter(|fragment| fragment.offset != 0 || fragment.more).map(|fragment| Part {
                offset: fragment.offset,
                more: fragment.more,
                id: fragment.id,
                header_end: start + fragment.at,
                announced_at: start + fragment.announced_at,
            });
        }
        Some(Self { start, content, end, wire_end, number, version: IpVersion::V6, fragment })
    }

    fn is_later_fragment(&self) -> bool {
        self.fragment.as_ref().is_some_and(|fragment| fragment.offset != 0)
    }

    /// Source and destination port; 0 where the protocol has none, or they are in another fragment or cut off.
    #[inline]
    fn ports(&self, data: &[u8]) -> (u16, u16) {
        if !has_ports(self.number) || self.is_later_fragment() {
            return (0, 0);
        }
        match data.get(..self.end).and_then(|data| chunk::<4>(data, self.content)) {
            Some(&[s0, s1, d0, d1]) => (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])),
            None => (0, 0),
        }
    }

    fn addresses(&self, data: &[u8]) -> Option<([u8; 16], [u8; 16])> {
        match self.version {
            IpVersion::V4 => {
                let pair = chunk::<8>(data, self.start + 12)?;
                let (mut src, mut dst) = ([0; 16], [0; 16]);
                src[..4].copy_from_slice(&pair[..4]);
                dst[..4].copy_from_slice(&pair[4..]);
                Some((src, dst))
            }
            IpVersion::V6 => Some((*chunk(data, self.start + 8)?, *chunk(data, self.start + 24)?)),
        }
    }
}

/// Where content ended on the wire: as its header says, but neither before its start nor beyond the packet.
#[inline]
fn wire_end(packet: &Packet, content: usize, claimed: Option<usize>) -> usize {
    let whole = packet.wirelen as usize;
    claimed.unwrap_or(whole).min(whole).max(content)
}

/// The flow of a packet and the end that sent it; [`FlowTuple::NO_IP`] without an IP layer.
///
/// Fragments other than the first have ports 0 here; whoever joins fragments knows better.
#[inline]
#[must_use]
pub fn flow_tuple(batch: &Batch, packet: &Packet) -> (FlowTuple, End) {
    let data = batch.packet_bytes(packet);
    let layers = batch.layers(packet);
    match whole_v4(data, packet, layers) {
        Some(Whole4 { proto, src, dst, sport, dport, .. }) => FlowTuple::v4(proto, src, dst, sport, dport),
        None => any_flow_tuple(data, packet, layers),
    }
}

/// What [`flow_tuple`] and [`payload_range`] find in the most frequent packet: IPv4, no fragment, ports in place. `None`
/// for everything else, whatever it is.
#[inline(always)]
#[must_use]
pub fn frequent_flow(batch: &Batch, packet: &Packet) -> Option<(FlowTuple, End, Payload)> {
    let data = batch.packet_bytes(packet);
    let Whole4 { proto, src, dst, sport, dport, start, content, total } = whole_v4(data, packet, batch.layers(packet))?;
    let wire_end = wire_end(packet, content, Some(start + total));
    let payload = payload_of(data, content, (wire_end.min(data.len()), wire_end), Some(proto));
    let (tuple, sender) = FlowTuple::v4(proto, src, dst, sport, dport);
    Some((tuple, sender, payload))
}

/// Address and port of one end of a packet's flow, as [`flow_tuple`] finds it.
#[inline(always)]
#[must_use]
pub fn flow_end(batch: &Batch, packet: &Packet, end: End) -> (Host, u16) {
    match frequent_end(batch, packet, end) {
        Some((address, port)) => (Host::V4(address), port),
        None => {
            let tuple = any_flow_tuple(batch.packet_bytes(packet), packet, batch.layers(packet)).0;
            (tuple.host(end), tuple.port(end))
        }
    }
}

/// The same for the most frequent packet, as in [`frequent_flow`]: an address that may be of either version is put together
/// byte by byte.
#[inline(always)]
#[must_use]
pub fn frequent_end(batch: &Batch, packet: &Packet, end: End) -> Option<([u8; 4], u16)> {
    let data = batch.packet_bytes(packet);
    let Whole4 { src, dst, sport, dport, .. } = whole_v4(data, packet, batch.layers(packet))?;
    Some(FlowTuple::v4_end(end, src, dst, sport, dport))
}

/// Of a whole IPv4 packet with ports.
struct Whole4 {
    proto: u8,
    src: [u8; 4],
    dst: [u8; 4],
    sport: u16,
    dport: u16,
    /// Where the IP header starts.
    start: usize,
    /// Where its content starts.
    content: usize,
    /// Length of the packet, as its header says.
    total: usize,
}

/// What makes the flow of the most frequent packet: IPv4, no fragment, ports in place. Declines everything else. Its
/// parts are returned rather than the tuple, which would be copied on the way out.
#[inline(always)]
fn whole_v4(data: &[u8], packet: &Packet, layers: &[Layer]) -> Option<Whole4> {
    let v4 = packet.outermost[usize::from(builtin::IPV4.0)];
    if v4 > packet.outermost[usize::from(builtin::IPV6.0)] {
        return None;
    }
    let layer = layers.get(usize::from(v4))?;
    let start = layer.offset as usize;
    let header: &[u8; 20] = chunk(data, start)?;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3FFF != 0;
    if is_fragment || total < layer.len + 4 || !has_ports(header[9]) {
        return None;
    }
    let ports: &[u8; 4] = chunk(data, start + layer.len as usize)?;
    let (sport, dport) = (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    Some(Whole4 {
        proto: header[9],
        src: [header[12], header[13], header[14], header[15]],
        dst: [header[16], header[17], header[18], header[19]],
        sport,
        dport,
        start,
        content: start + layer.len as usize,
        total: total as usize,
    })
}

fn any_flow_tuple(data: &[u8], packet: &Packet, layers: &[Layer]) -> (FlowTuple, End) {
    let Some(ip) = Ip::of(data, packet, layers) else { return (FlowTuple::NO_IP, End::A) };
    let (sport, dport) = ip.ports(data);
    match ip.version {
        IpVersion::V4 => match chunk(data, ip.start + 12) {
            Some(&[s0, s1, s2, s3, d0, d1, d2, d3]) => {
                FlowTuple::v4(ip.number, [s0, s1, s2, s3], [d0, d1, d2, d3], sport, dport)
            }
            None => (FlowTuple::NO_IP, End::A),
        },
        IpVersion::V6 => match ip.addresses(data) {
            Some((src, dst)) => FlowTuple::v6(ip.number, src, dst, sport, dport),
            None => (FlowTuple::NO_IP, End::A),
        },
    }
}

/// The payload of the outermost IP packet: behind its TCP or UDP header, or else behind the IP header. `None` without an
/// IP layer.
#[inline]
#[must_use]
pub fn payload_range(batch: &Batch, packet: &Packet) -> Option<Payload> {
    let data = batch.packet_bytes(packet);
    let ip = Ip::of(data, packet, batch.layers(packet))?;
    Some(payload_of(data, ip.content, (ip.end, ip.wire_end), (!ip.is_later_fragment()).then_some(ip.number)))
}

/// The payload of an IP packet whose content starts at `content` and ends at `end`, in what was captured and on the wire.
/// `number` is the protocol of the header that the content starts with, if it does.
#[inline(always)]
fn payload_of(data: &[u8], content: usize, (mut end, mut wire_end): (usize, usize), number: Option<u8>) -> Payload {
    let visible = data.get(..end).unwrap_or(data);
    let mut header = None;
    match number {
        Some(6) => {
            let len = visible.get(content + 12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            header = (len >= 20 && content + len <= end).then_some(len);
        }
        Some(17) => {
            if let Some(len) = be16(visible, content + 4).map(usize::from)
                && content + 8 <= end
            {
                header = Some(8);
                if len >= 8 {
                    end = end.min(content + len);
                    wire_end = wire_end.min(content + len);
                }
            }
        }
        _ => {}
    }
    let start = content + header.unwrap_or(0);
    Payload {
        transport: header.map(|_| content as u32),
        start: start as u32,
        len: end.saturating_sub(start) as u32,
        wire_len: wire_end.saturating_sub(start) as u32,
    }
}

/// What joining fragments needs to know; `None` if the outermost IP packet is whole or there is none.
#[must_use]
pub fn fragment_info(batch: &Batch, packet: &Packet) -> Option<Fragment> {
    let data = batch.packet_bytes(packet);
    let ip = Ip::of(data, packet, batch.layers(packet))?;
    let part = ip.fragment.as_ref()?;
    let (src, dst) = ip.addresses(data)?;
    let proto = if ip.version == IpVersion::V4 { ip.number } else { 0 };
    // With more extension headers behind the fragment header, those are part of what was fragmented.
    let (data_start, number) = match ip.version {
        IpVersion::V4 => (ip.content, ip.number),
        IpVersion::V6 => (part.header_end + 8, *data.get(part.header_end)?),
    };
    let (sport, dport) = ip.ports(data);
    Some(Fragment {
        key: FragmentKey { version: ip.version, proto, id: part.id, src, dst },
        header_start: ip.start as u32,
        header_end: part.header_end as u32,
        announced_at: part.announced_at as u32,
        number,
        data_start: data_start as u32,
        data_len: ip.end.saturating_sub(data_start) as u32,
        wire_len: ip.wire_end.saturating_sub(data_start) as u32,
        position: u32::from(part.offset),
        more: part.more,
        transport: (part.offset == 0).then_some((ip.number, sport, dport)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{End, any_flow_tuple, flow_end, flow_tuple, frequent_flow, payload_range};
    use crate::decode::{Decoder, Registry};
    use crate::packet::{Batch, LinkType, Packet};
    use crate::time::Timestamp;

    proptest! {
        #[test]
        fn the_short_way_finds_the_same_flow(
            first in 0x45..0x48u8, total in 18..60u8, fragment in proptest::sample::select(&[0u16, 0, 0x4000, 0x2000, 1][..]),
            number in proptest::sample::select(&[6u8, 17, 132, 1][..]), rest: [u8; 36], caplen in 20..48usize,
        ) {
            let [f0, f1] = fragment.to_be_bytes();
            let mut bytes = vec![first, 0, 0, total, 0, 0, f0, f1, 9, number, 0, 0];
            bytes.extend(rest);
            let mut batch = Batch::new();
            batch.buffer.extend_from_slice(&bytes[..caplen]);
            batch.push(Packet::new(Timestamp::EPOCH, 0, caplen as u32, 48, LinkType::IPV4, 0));
            Decoder::new().decode(&Registry::new(), &mut batch);
            let packet = batch.packets()[0];
            let expected = any_flow_tuple(batch.packet_bytes(&packet), &packet, batch.layers(&packet));
            assert_eq!(flow_tuple(&batch, &packet), expected);
            if let Some((tuple, sender, payload)) = frequent_flow(&batch, &packet) {
                assert_eq!((tuple, sender), expected);
                assert_eq!(Some(payload), payload_range(&batch, &packet));
            }
            for end in [End::A, End::Z] {
                assert_eq!(flow_end(&batch, &packet, end), (expected.0.host(end), expected.0.port(end)));
            }
        }
    }
}
