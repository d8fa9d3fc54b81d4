//! Packets made by hand, and their decoding.

use millstream::decode::{Decoder, Registry};
use millstream::packet::{Batch, Layer, LinkType, Packet, ProtocolId, builtin};
use millstream::time::Timestamp;

pub const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const MAC_Z: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const A: [u8; 4] = [192, 168, 1, 2];
pub const Z: [u8; 4] = [209, 216, 249, 58];

pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn ethernet(ethertype: u16, content: &[u8]) -> Vec<u8> {
    join(&[&MAC_Z, &MAC_A, &ethertype.to_be_bytes(), content])
}

/// A VLAN tag without the EtherType in front of it.
pub fn tag(vlan: u16, ethertype: u16) -> Vec<u8> {
    join(&[&vlan.to_be_bytes(), &ethertype.to_be_bytes()])
}

pub fn ipv4_with(proto: u8, fragment: u16, options: &[u8], content: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let total = (20 + options.len() + content.len()) as u16;
    let first = 0x45 + (options.len() / 4) as u8;
    let [t0, t1] = total.to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    join(&[&[first, 0, t0, t1, 0, 7, f0, f1, 64, proto, 0, 0], &A, &Z, options, content])
}

pub fn ipv4(proto: u8, content: &[u8]) -> Vec<u8> {
    ipv4_with(proto, 0, &[], content)
}

pub fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let [l0, l1] = (content.len() as u16).to_be_bytes();
    let (mut a, mut z) = ([0; 16], [0; 16]);
    (a[0], a[15]) = (0xFE, 1);
    (z[0], z[15]) = (0xFE, 2);
    join(&[&[0x60, 0, 0, 0, l0, l1, next, 64], &a, &z, content])
}

pub fn tcp_with(sport: u16, dport: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let offset = (((20 + options.len()) / 4) << 4) as u8;
    let ports = join(&[&sport.to_be_bytes(), &dport.to_be_bytes()]);
    join(&[&ports, &[0, 0, 0, 1, 0, 0, 0, 0, offset, 2, 0xFF, 0xFF, 0, 0, 0, 0], options, payload])
}

pub fn tcp(payload: &[u8]) -> Vec<u8> {
    tcp_with(2964, 22, &[], payload)
}

pub fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    join(&[&sport.to_be_bytes(), &dport.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload])
}

/// A batch of one packet whose bytes are all there.
pub fn batch(linktype: LinkType, bytes: &[u8]) -> Batch {
    cut_batch(linktype, bytes, bytes.len())
}

/// A batch of one packet of which only the first `caplen` bytes were captured.
pub fn cut_batch(linktype: LinkType, bytes: &[u8], caplen: usize) -> Batch {
    let mut batch = Batch::new();
    batch.buffer.extend_from_slice(&bytes[..caplen]);
    batch.push(Packet::new(Timestamp::EPOCH, 0, caplen as u32, bytes.len() as u32, linktype, 0));
    batch
}

/// Decodes a single packet of a batch.
pub fn layers_of(batch: &mut Batch, registry: &Registry, decoder: &mut Decoder) -> Vec<Layer> {
    decoder.decode(registry, batch);
    let packet = batch.packets()[0];
    let layers = batch.layers(&packet).to_vec();
    check(&packet, &layers);
    layers
}

/// What holds for every packet whatever its bytes are.
pub fn check(packet: &Packet, layers: &[Layer]) {
    assert_eq!(usize::from(packet.layer_count), layers.len());
    assert!(layers.len() <= millstream::decode::MAX_LAYERS);
    for layer in layers {
        assert!(layer.offset + layer.len <= packet.caplen, "{layer:?} leaves its packet of {}", packet.caplen);
    }
    assert!(layers.is_sorted_by_key(|layer| layer.offset));
    for protocol in 0..8 {
        let first = layers.iter().position(|layer| layer.protocol == ProtocolId(protocol));
        assert_eq!(packet.outermost[usize::from(protocol)], first.map_or(0xFF, |index| index as u8));
    }
}

/// Protocol name, offset and length of every layer of a whole packet, such as `Ethernet 0+14, IPv4 14+20`.
pub fn shown(linktype: LinkType, bytes: &[u8]) -> String {
    shown_with(&mut Decoder::new(), linktype, bytes)
}

pub fn shown_with(decoder: &mut Decoder, linktype: LinkType, bytes: &[u8]) -> String {
    let registry = Registry::new();
    let layers = layers_of(&mut batch(linktype, bytes), &registry, decoder);
    show(&registry, &layers)
}

pub fn show(registry: &Registry, layers: &[Layer]) -> String {
    let one = |layer: &Layer| format!("{} {}+{}", registry.name(layer.protocol), layer.offset, layer.len);
    layers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The link layer of a packet, whose content starts with IPv4.
pub fn is_link_before_ip(layers: &[Layer]) -> bool {
    matches!(layers, [link, ip, ..] if link.protocol == builtin::LINK && ip.protocol == builtin::IPV4)
}
