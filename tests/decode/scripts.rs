//! Where protocols that scripts parse stop native decoding, and how it goes on.

use millstream::decode::{Decoder, Pending, Registry};
use millstream::guid::Guid;
use millstream::packet::{Batch, Layer, LinkType, ProtocolId, builtin};

use crate::frames::{check, ethernet, ipv4, ipv6, join, show, tcp, tcp_with, udp};

const PING: Guid = Guid::literal("{AAAAAAAA-0000-0000-0000-000000000001}");
const PONG: Guid = Guid::literal("{AAAAAAAA-0000-0000-0000-000000000002}");

/// A registry in which PING has the given attachment.
fn attached(host: ProtocolId, numbers: &[u32]) -> (Registry, ProtocolId) {
    let mut registry = Registry::new();
    let host = registry.guid(host);
    let id = registry.add(PING, "PING", Some(host), numbers).expect("the GUID is new").id;
    (registry, id)
}

fn pending_of(registry: &Registry, frame: &[u8]) -> (Batch, Decoder, Vec<Pending>) {
    let mut batch = crate::frames::batch(LinkType::ETHERNET, frame);
    let mut decoder = Decoder::new();
    decoder.decode(registry, &mut batch);
    let mut list = Vec::new();
    decoder.swap_pending(&mut list);
    assert!(decoder.pending().is_empty());
    (batch, decoder, list)
}

#[test]
fn ports_numbers_and_ethertypes_attach() {
    let cases: &[(ProtocolId, u32, Vec<u8>, u32, u32)] = &[
        (builtin::UDP, 4711, ethernet(0x0800, &ipv4(17, &udp(9, 4711, b"abc"))), 42, 3),
        (builtin::UDP, 4711, ethernet(0x0800, &ipv4(17, &udp(4711, 9, b"abc"))), 42, 3),
        (builtin::UDP, 4789, ethernet(0x0800, &ipv4(17, &udp(9, 4789, b"abc"))), 42, 3),
        (builtin::TCP, 179, ethernet(0x86DD, &ipv6(6, &tcp_with(179, 9, &[], b"abcd"))), 74, 4),
        (builtin::TCP, 179, ethernet(0x0800, &ipv4(6, &tcp_with(9, 179, &[], b""))), 54, 0),
        (builtin::IPV4, 2, ethernet(0x0800, &ipv4(2, &[0x11; 8])), 34, 8),
        (builtin::IPV4, 6, ethernet(0x0800, &ipv4(6, &tcp(b""))), 34, 20),
        (builtin::IPV4, 47, ethernet(0x0800, &ipv4(47, &[0; 9])), 34, 9),
        (builtin::IPV6, 60, ethernet(0x86DD, &ipv6(60, &[0; 8])), 54, 8),
        (builtin::ETHERNET, 0x0806, ethernet(0x0806, &[0; 28]), 14, 28),
        (builtin::ETHERNET, 0x88CC, ethernet(0x8100, &join(&[&[0, 1, 0x88, 0xCC], &[0; 5]])), 18, 5),
    ];
    for (host, number, frame, offset, available) in cases {
        let (registry, id) = attached(*host, &[*number]);
        // Padding is not available to scripts.
        let mut padded = frame.clone();
        if *host != builtin::ETHERNET {
            padded.extend([0; 7]);
        }
        let (_, _, pending) = pending_of(&registry, &padded);
        let expected = Pending { packet: 0, protocol: id, offset: *offset, available: *available, tunnels: 0 };
        assert_eq!(pending, [expected], "{host:?} {number}");
    }
}

#[test]
fn other_packets_are_not_stopped() {
    let (registry, _) = attached(builtin::UDP, &[4711]);
    for frame in
        [ethernet(0x0800, &ipv4(6, &tcp_with(4711, 4711, &[], b""))), ethernet(0x0800, &ipv4(17, &udp(1, 2, b"")))]
    {
        let (_, _, pending) = pending_of(&registry, &frame);
        assert_eq!(pending, []);
    }
    let (registry, _) = attached(builtin::IPV4, &[6]);
    let (batch, _, pending) = pending_of(&registry, &ethernet(0x86DD, &ipv6(6, &tcp(b""))));
    assert!(pending.is_empty() && batch.packets()[0].layer_count == 3);
}

#[test]
fn decoding_goes_on_behind_what_a_script_claimed() {
    let (mut registry, ping) = attached(builtin::UDP, &[4711]);
    let pong = registry.add(PONG, "PONG", None, &[]).unwrap().id;
    let inner = ipv4(6, &tcp(b"x"));
    let mut frame = ethernet(0x0800, &ipv4(17, &udp(9, 4711, &join(&[b"head", &inner]))));
    frame.extend([0; 9]);
    let (mut batch, mut decoder, pending) = pending_of(&registry, &frame);

    batch.append_layer(0, pending[0].layer(4));
    let next = decoder.resume(&registry, &mut batch, pending[0].after(4, pong)).unwrap();
    assert_eq!((next.protocol, next.offset, next.available), (pong, 46, 41));
    // The second script claims nothing and hands over, as a director does.
    assert_eq!(decoder.resume(&registry, &mut batch, next.after(0, builtin::IPV4)), None);
    let packet = batch.packets()[0];
    check(&packet, batch.layers(&packet));
    assert_eq!(
        show(&registry, batch.layers(&packet)),
        "Ethernet 0+14, IPv4 14+20, UDP 34+8, PING 42+4, IPv4 46+20, TCP 66+20"
    );
    assert_eq!(batch.find_layer(&packet, ping).unwrap().offset, 42);
}

#[test]
fn resuming_keeps_the_layers_of_other_packets() {
    let (registry, _) = attached(builtin::UDP, &[4711]);
    let asked = ethernet(0x0800, &ipv4(17, &udp(9, 4711, b"head....")));
    let plain = ethernet(0x0800, &ipv4(6, &tcp(b"")));
    let mut batch = Batch::new();
    for frame in [&asked, &plain, &asked] {
        let offset = batch.buffer.len() as u32;
        batch.buffer.extend_from_slice(frame);
        let len = frame.len() as u32;
        let time = millstream::time::Timestamp::EPOCH;
        batch.push(millstream::packet::Packet::new(time, offset, len, len, LinkType::ETHERNET, 0));
    }
    let mut decoder = Decoder::new();
    decoder.decode(&registry, &mut batch);
    let pending = decoder.pending().to_vec();
    assert_eq!(pending.iter().map(|pending| pending.packet).collect::<Vec<_>>(), [0, 2]);
    for pending in pending {
        batch.append_layer(pending.packet as usize, pending.layer(4));
        assert_eq!(decoder.resume(&registry, &mut batch, pending.after(4, builtin::SFLOW)), None);
    }
    let shown: Vec<_> = batch.packets().iter().map(|packet| show(&registry, batch.layers(packet))).collect();
    let asked = "Ethernet 0+14, IPv4 14+20, UDP 34+8, PING 42+4, sFlow 46+4";
    assert_eq!(shown, [asked, "Ethernet 0+14, IPv4 14+20, TCP 34+20", asked]);
}

#[test]
fn claims_are_clamped_to_what_is_there() {
    let place = Pending { packet: 0, protocol: ProtocolId(10), offset: 40, available: 5, tunnels: 0 };
    assert_eq!(place.layer(9), Layer { protocol: ProtocolId(10), offset: 40, len: 5 });
    assert_eq!((place.after(9, builtin::TCP).offset, place.after(9, builtin::TCP).available), (45, 0));
}

#[test]
fn every_native_protocol_can_follow_a_script() {
    let (registry, _) = attached(builtin::UDP, &[4711]);
    let inner4 = ipv4(6, &tcp(b""));
    let cases: &[(ProtocolId, Vec<u8>, &str)] = &[
        (builtin::ETHERNET, ethernet(0x0800, &inner4), "Ethernet 42+14, IPv4 56+20, TCP 76+20"),
        (builtin::IPV4, inner4, "IPv4 42+20, TCP 62+20"),
        (builtin::IPV6, ipv6(58, &[1; 8]), "IPv6 42+40, ICMP 82+8"),
        (builtin::ICMP, vec![8; 12], "ICMP 42+12"),
        (builtin::UDP, udp(1, 2, b"ab"), "UDP 42+8"),
        (builtin::TCP, tcp(b""), "TCP 42+20"),
        (builtin::OPAQUE, vec![1, 2, 3], "Opaque 42+3"),
    ];
    for (protocol, content, expected) in cases {
        let (mut batch, mut decoder, pending) =
            pending_of(&registry, &ethernet(0x0800, &ipv4(17, &udp(9, 4711, content))));
        assert_eq!(decoder.resume(&registry, &mut batch, pending[0].after(0, *protocol)), None);
        let packet = batch.packets()[0];
        let shown = show(&registry, batch.layers(&packet));
        assert_eq!(shown, format!("Ethernet 0+14, IPv4 14+20, UDP 34+8, {expected}"));
        check(&packet, batch.layers(&packet));
    }
}
