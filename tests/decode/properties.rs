//! What holds for all bytes.

use etherparse::{PacketBuilder, SlicedPacket};
use millstream::decode::{Decoder, Registry, flow_hash, flow_tuple, fragment_info, payload_range};
use millstream::guid::Guid;
use millstream::key::FlowTuple;
use millstream::packet::{Batch, Layer, LinkType, builtin};
use proptest::collection::vec;
use proptest::prelude::{Just, any, prop_oneof, proptest};
use proptest::strategy::Strategy;

use crate::frames::{check, cut_batch, ethernet, ipv4, ipv4_with, ipv6, join, layers_of, tag, tcp, udp};

const LINK_TYPES: [u16; 19] = [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 204, 228, 229, 276, 147, 65535];

fn linktype() -> impl Strategy<Value = LinkType> {
    proptest::sample::select(&LINK_TYPES[..]).prop_map(LinkType)
}

/// Sound packets, nested at random, then damaged in up to three places.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let content = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(|payload| (6, tcp(&payload))),
        (any::<u16>(), vec(any::<u8>(), 0..40)).prop_map(|(port, payload)| (17, udp(port, 53, &payload))),
        vec(any::<u8>(), 0..40).prop_map(|message| (1, message)),
        vec(any::<u8>(), 0..40).prop_map(|message| (58, message)),
        (any::<u8>(), vec(any::<u8>(), 0..40)),
    ];
    let packet = content.prop_recursive(6, 24, 1, |inner| {
        (0..12u8, any::<u16>(), inner).prop_map(|(kind, field, (number, content))| {
            let packet = ipv4(number, &content);
            let wide = ipv6(number, &content);
            let framed = ethernet(0x0800, &packet);
            match kind {
                0 => (4, packet),
                1 => (41, wide),
                2 => (47, join(&[&[0, 0, 8, 0], &packet])),
                3 => (47, join(&[&[0xB0, 0, 0x65, 0x58], &[0; 12], &framed])),
                4 => (17, udp(field, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 0, 0], &framed]))),
                5 => (17, udp(field, 6081, &join(&[&[0, 0, 0x86, 0xDD, 0, 0, 0, 0], &wide]))),
                6 => (17, udp(2152, field, &join(&[&[0x30, 0xFF, 0, 0, 0, 0, 0, 0], &packet]))),
                7 => (4, ipv4_with(number, field & 0x2003, &[1; 8], &content)),
                8 => (0, join(&[&[number, 0, 0, 0, 0, 0, 0, 0], &content])),
                9 => (44, join(&[&[number, 0], &(field & 9).to_be_bytes(), &[0; 4], &content])),
                10 => (60, join(&[&[number, 1], &[0; 14], &content])),
                _ => (51, join(&[&[number, 1], &[0; 10], &content])),
            }
        })
    });
    let framed = (packet, 0..7u8, any::<u16>()).prop_map(|((number, content), kind, vlan)| {
        let (v4, v6) = (ipv4(number, &content), ipv6(number, &content));
        match kind {
            0 | 1 => ethernet(0x0800, &v4),
            2 => ethernet(0x86DD, &v6),
            3 => ethernet(0x8100, &join(&[&tag(vlan, 0x86DD), &v6])),
            4 => ethernet(0x88A8, &join(&[&tag(vlan, 0x8100), &tag(vlan, 0x0800), &v4, &[0; 6]])),
            5 => ethernet(0x8847, &join(&[&[0, 1, 0, 9, 0, 1, 1, 9], &v6])),
            _ => ethernet(0x8864, &join(&[&[0x11, 0, 0, 1, 0xFF, 0xFF, 0, 0x21], &v4])),
        }
    });
    let damage = prop_oneof![Just(vec![]), vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)];
    (framed, damage).prop_map(|(mut frame, damage)| {
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        frame
    })
}

fn some_attachments() -> Registry {
    let mut registry = Registry::new();
    let guid = |i: u128| Guid::from_u128(i);
    for (i, host, number) in
        [(1, builtin::UDP, 53), (2, builtin::TCP, 22), (3, builtin::IPV4, 47), (4, builtin::IPV6, 60)]
    {
        let host = registry.guid(host);
        registry.add(guid(i), "P", Some(host), &[number]).expect("the GUID is new");
    }
    registry
}

/// Decodes, follows every pending place, and asks every question there is.
fn exercise(linktype: LinkType, bytes: &[u8], caplen: usize) {
    for registry in [Registry::new(), some_attachments()] {
        let mut batch = cut_batch(linktype, bytes, caplen);
        let mut decoder = Decoder::new();
        decoder.decode(&registry, &mut batch);
        let packet = batch.packets()[0];
        check(&packet, batch.layers(&packet));
        ask(linktype, &batch);
        for place in decoder.pending().to_vec() {
            assert!(place.offset + place.available <= packet.caplen);
            for protocol in
                [builtin::ETHERNET, builtin::IPV4, builtin::IPV6, builtin::UDP, builtin::TCP, builtin::OPAQUE]
            {
                let _ = decoder.resume(&registry, &mut batch, place.after(3, protocol));
                let packet = batch.packets()[0];
                check(&packet, batch.layers(&packet));
                ask(linktype, &batch);
            }
        }
    }
}

fn ask(linktype: LinkType, batch: &Batch) {
    let packet = &batch.packets()[0];
    let (tuple, _) = flow_tuple(batch, packet);
    if let Some(payload) = payload_range(batch, packet) {
        assert!(payload.start + payload.len <= packet.caplen);
        assert!(payload.wire_len >= payload.len);
    }
    if let Some(fragment) = fragment_info(batch, packet) {
        assert!(fragment.header_start < fragment.header_end && fragment.header_end <= fragment.data_start);
        assert!(fragment.data_start + fragment.data_len <= packet.caplen);
        assert_eq!(fragment.transport.is_some(), fragment.position == 0);
    }
    let hash = flow_hash(linktype, batch.packet_bytes(packet));
    let is_ip = packet.outermost[usize::from(builtin::IPV4.0)] != 0xFF
        || packet.outermost[usize::from(builtin::IPV6.0)] != 0xFF;
    if !is_ip {
        assert_eq!((tuple, hash), (FlowTuple::NO_IP, 0), "what is not IP is one flow on one engine");
    }
}

/// The layers of a prefix: those of the whole, of which the last may be shorter.
fn assert_is_prefix(prefix: &[Layer], whole: &[Layer]) {
    assert!(prefix.len() <= whole.len(), "{prefix:?}\n{whole:?}");
    let Some((last, before)) = prefix.split_last() else { return };
    assert_eq!(before, &whole[..before.len()]);
    let same = whole[before.len()];
    assert_eq!((last.protocol, last.offset), (same.protocol, same.offset));
    assert!(last.len <= same.len);
}

proptest! {
    #[test]
    fn any_bytes_decode(linktype in linktype(), bytes in vec(any::<u8>(), 0..200), cut in 0..3usize) {
        exercise(linktype, &bytes, bytes.len().saturating_sub(cut));
    }

    #[test]
    fn damaged_packets_decode(frame in frame(), linktype in linktype(), cut: proptest::sample::Index) {
        exercise(LinkType::ETHERNET, &frame, frame.len());
        exercise(LinkType::ETHERNET, &frame, cut.index(frame.len() + 1));
        exercise(linktype, &frame[14.min(frame.len())..], frame.len() - 14);
    }

    #[test]
    fn a_prefix_decodes_to_a_prefix_of_the_layers(frame in frame()) {
        let registry = Registry::new();
        let whole = layers_of(&mut cut_batch(LinkType::ETHERNET, &frame, frame.len()), &registry, &mut Decoder::new());
        for caplen in 0..frame.len() {
            let cut = layers_of(&mut cut_batch(LinkType::ETHERNET, &frame, caplen), &registry, &mut Decoder::new());
            assert_is_prefix(&cut, &whole);
            let short = layers_of(&mut cut_batch(LinkType::ETHERNET, &frame[..caplen], caplen), &registry, &mut Decoder::new());
            assert_eq!(short, cut, "missing bytes are missing, whoever cut them");
        }
    }

    #[test]
    fn valid_stacks_are_seen_as_etherparse_sees_them(
        tags in 0..3u8, wide: bool, is_tcp: bool, sport: u16, dport in 1..1024u16,
        options in vec(Just(1u8), 0..=40), payload in vec(any::<u8>(), 0..64), padding in 0..20usize,
    ) {
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let vlan = |id: u16| etherparse::VlanId::try_new(id).unwrap();
        let ip_header = |wide: bool| if wide {
            let mut header = etherparse::Ipv6Header { hop_limit: 9, source: [3; 16], destination: [4; 16], ..Default::default() };
            header.traffic_class = 1;
            etherparse::IpHeaders::Ipv6(header, Default::default())
        } else {
            let mut header = etherparse::Ipv4Header::new(0, 9, etherparse::IpNumber::TCP, [3; 4], [4; 4]).unwrap();
            header.options = etherparse::Ipv4Options::try_from(&options[..options.len() / 4 * 4]).unwrap();
            etherparse::IpHeaders::Ipv4(header, Default::default())
        };
        let ip = match tags {
            0 => builder.ip(ip_header(wide)),
            1 => builder.single_vlan(vlan(5)).ip(ip_header(wide)),
            _ => builder.double_vlan(vlan(5), vlan(6)).ip(ip_header(wide)),
        };
        let mut bytes = Vec::new();
        if is_tcp {
            let step = ip.tcp(sport, dport, 1, 1000).options_raw(&options[..options.len() / 4 * 4]).unwrap();
            step.write(&mut bytes, &payload).unwrap();
        } else {
            ip.udp(sport, dport).write(&mut bytes, &payload).unwrap();
        }
        bytes.extend(vec![0; padding]);

        let mut batch = cut_batch(LinkType::ETHERNET, &bytes, bytes.len());
        let mut decoder = Decoder::new();
        let layers = layers_of(&mut batch, &Registry::new(), &mut decoder);
        assert_eq!(decoder.counters().iter().map(|(_, count)| count).sum::<u64>(), u64::from(sport == 2152 && !is_tcp));
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let within = |slice: &[u8]| (slice.as_ptr() as usize - bytes.as_ptr() as usize) as u32;
        let (ip_protocol, ip_start, ip_payload) = match &sliced.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => (builtin::IPV4, within(ip.header().slice()), ip.payload().payload),
            Some(etherparse::NetSlice::Ipv6(ip)) => (builtin::IPV6, within(ip.header().slice()), ip.payload().payload),
            other => panic!("{other:?}"),
        };
        let (protocol, start, header, content) = match &sliced.transport {
            Some(etherparse::TransportSlice::Tcp(tcp)) => {
                (builtin::TCP, within(tcp.slice()), tcp.header_slice().len() as u32, tcp.payload())
            }
            Some(etherparse::TransportSlice::Udp(udp)) => (builtin::UDP, within(udp.slice()), 8, udp.payload()),
            other => panic!("{other:?}"),
        };
        assert_eq!(within(ip_payload), start);
        let expected = [
            Layer { protocol: builtin::ETHERNET, offset: 0, len: ip_start },
            Layer { protocol: ip_protocol, offset: ip_start, len: start - ip_start },
            Layer { protocol, offset: start, len: header },
        ];
        assert_eq!(layers, expected);
        let found = payload_range(&batch, &batch.packets()[0]).unwrap();
        assert_eq!(&bytes[found.start as usize..][..found.len as usize], content);
    }
}
