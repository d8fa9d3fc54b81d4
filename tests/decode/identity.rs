//! Flow ids, payloads and fragments of decoded packets, and the hash that keeps a flow on one engine.

use millstream::decode::{Decoder, Payload, Registry, flow_hash, flow_tuple, fragment_info, payload_range};
use millstream::key::{End, FlowTuple};
use millstream::packet::{Batch, LinkType, engine_of};
use proptest::prelude::proptest;

use crate::frames::{A, Z, cut_batch, ethernet, ipv4, ipv4_with, ipv6, join, tag, tcp, tcp_with, udp};

fn decoded(frame: &[u8]) -> Batch {
    let mut batch = crate::frames::batch(LinkType::ETHERNET, frame);
    Decoder::new().decode(&Registry::new(), &mut batch);
    batch
}

fn id(frame: &[u8]) -> String {
    let batch = decoded(frame);
    flow_tuple(&batch, &batch.packets()[0]).0.id().to_string()
}

#[test]
fn flow_ids_of_packets() {
    assert_eq!(id(&ethernet(0x0800, &ipv4(6, &tcp(b"")))), "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016");
    assert_eq!(
        id(&ethernet(0x86DD, &ipv6(17, &udp(5353, 5353, b"")))),
        "11B:FE000000000000000000000000000001:p-14E9_FE000000000000000000000000000002:p-14E9"
    );
    assert_eq!(id(&ethernet(0x0800, &ipv4(1, &[8; 8]))), "01A:C0.A8.01.02:p-0000_D1.D8.F9.3A:p-0000");
    assert_eq!(id(&ethernet(0x0806, &[0; 28])), "00A:00.00.00.00:p-0000_00.00.00.00:p-0000");
    let sctp = join(&[&[0, 22, 0x0B, 0x94], &[0; 8]]);
    assert_eq!(id(&ethernet(0x0800, &ipv4(132, &sctp))), "84A:D1.D8.F9.3A:p-0B94_C0.A8.01.02:p-0016");
    // Tunnels: the outermost addresses, and no ports of the inner packet.
    let gre = ipv4(47, &join(&[&[0, 0, 8, 0], &ipv4(6, &tcp(b""))]));
    assert_eq!(id(&ethernet(0x0800, &gre)), "2FA:C0.A8.01.02:p-0000_D1.D8.F9.3A:p-0000");
    let extended = ipv6(0, &join(&[&[6, 0, 0, 0, 0, 0, 0, 0], &tcp(b"")]));
    assert_eq!(
        id(&ethernet(0x86DD, &extended)),
        "06B:FE000000000000000000000000000001:p-0B94_FE000000000000000000000000000002:p-0016"
    );
    let later = ipv4_with(17, 0x0008, &[], &[0xEE; 64]);
    assert_eq!(id(&ethernet(0x0800, &later)), "11A:C0.A8.01.02:p-0000_D1.D8.F9.3A:p-0000");
}

#[test]
fn the_sender_is_told() {
    let client = decoded(&ethernet(0x0800, &ipv4(6, &tcp_with(2964, 22, &[], b""))));
    let server = decoded(&ethernet(0x0800, &ipv4(6, &tcp_with(22, 2964, &[], b""))));
    assert_eq!(flow_tuple(&client, &client.packets()[0]).1, End::A);
    assert_eq!(flow_tuple(&server, &server.packets()[0]).1, End::Z);
}

#[test]
fn payload_ends_with_the_ip_packet_and_counts_what_was_cut() {
    let payload = |frame: &[u8], caplen: usize| {
        let mut batch = cut_batch(LinkType::ETHERNET, frame, caplen);
        Decoder::new().decode(&Registry::new(), &mut batch);
        payload_range(&batch, &batch.packets()[0])
    };
    let mut padded = ethernet(0x0800, &ipv4(6, &tcp(b"abc")));
    padded.resize(60, 0);
    assert_eq!(payload(&padded, 60), Some(Payload { transport: Some(34), start: 54, len: 3, wire_len: 3 }));
    let long = ethernet(0x0800, &ipv4(6, &tcp(&[0; 1000])));
    assert_eq!(payload(&long, 96), Some(Payload { transport: Some(34), start: 54, len: 42, wire_len: 1000 }));
    assert_eq!(payload(&long, 40), Some(Payload { transport: None, start: 34, len: 6, wire_len: 1020 }));
    // The UDP length is the shorter one.
    let mut datagram = udp(1, 2, b"abcdef");
    datagram[5] = 10;
    let short = ethernet(0x0800, &ipv4(17, &datagram));
    assert_eq!(payload(&short, short.len()), Some(Payload { transport: Some(34), start: 42, len: 2, wire_len: 2 }));
    let ping = ethernet(0x0800, &ipv4(1, &[8; 12]));
    assert_eq!(payload(&ping, ping.len()), Some(Payload { transport: None, start: 34, len: 12, wire_len: 12 }));
    let arp = ethernet(0x0806, &[0; 28]);
    assert_eq!(payload(&arp, arp.len()), None);
}

#[test]
fn fragments_are_described() {
    let info = |frame: &[u8]| {
        let batch = decoded(frame);
        fragment_info(&batch, &batch.packets()[0])
    };
    assert_eq!(info(&ethernet(0x0800, &ipv4(6, &tcp(b"")))), None);
    let first = info(&ethernet(0x0800, &ipv4_with(17, 0x2000, &[], &udp(9, 53, &[0; 32])))).unwrap();
    assert_eq!((first.header_start, first.header_end, first.data_start, first.data_len), (14, 34, 34, 40));
    assert_eq!((first.position, first.more, first.transport), (0, true, Some((17, 9, 53))));
    let last = info(&ethernet(0x0800, &ipv4_with(17, 0x0005, &[], &[0; 6]))).unwrap();
    assert_eq!((last.position, last.more, last.transport, last.data_len), (40, false, None, 6));
    assert_eq!(first.key, last.key);
    assert_eq!(last.key.flow(17, 9, 53).0, FlowTuple::v4(17, A, Z, 9, 53).0);

    let part = |field: u16| join(&[&[17, 0], &field.to_be_bytes(), &[0, 0, 0, 9], &udp(9, 53, &[0; 8])]);
    let wide = info(&ethernet(0x86DD, &ipv6(0, &join(&[&[44, 0, 0, 0, 0, 0, 0, 0], &part(1)])))).unwrap();
    assert_eq!((wide.header_start, wide.header_end, wide.announced_at), (14, 62, 54));
    assert_eq!((wide.data_start, wide.data_len, wide.number, wide.key.id), (70, 16, 17, 9));
    assert_eq!(wide.transport, Some((17, 9, 53)));
    let later = info(&ethernet(0x86DD, &ipv6(44, &part(17)))).unwrap();
    assert_eq!((later.position, later.more, later.transport), (16, true, None));
    assert_eq!(info(&ethernet(0x86DD, &ipv6(44, &part(0)))), None, "an atomic fragment is whole");
}

#[test]
fn all_parts_of_a_flow_have_one_hash() {
    let hash = |frame: &[u8]| flow_hash(LinkType::ETHERNET, frame);
    let plain = hash(&ethernet(0x0800, &ipv4(6, &tcp(b""))));
    assert_ne!(plain, 0);
    let mut back = ethernet(0x0800, &ipv4(6, &tcp_with(22, 2964, &[], b"")));
    back[26..34].copy_from_slice(&join(&[&Z, &A]));
    assert_eq!(hash(&back), plain);
    assert_eq!(hash(&ethernet(0x0800, &ipv4_with(6, 0x2000, &[], &tcp(b"")))), plain, "first fragment");
    assert_eq!(hash(&ethernet(0x0800, &ipv4_with(6, 0x0008, &[], &[0; 8]))), plain, "later fragment");
    assert_eq!(hash(&ethernet(0x8100, &join(&[&tag(4, 0x0800), &ipv4(6, &tcp(b""))]))), plain, "tagged");
    assert_eq!(flow_hash(LinkType::RAW, &ipv4(6, &tcp(b""))), plain);
    assert_eq!(hash(&ethernet(0x0806, &[0; 28])), 0);
    assert_eq!(flow_hash(LinkType(64999), &[0; 40]), 0);
}

#[test]
fn the_hash_spreads_neighbouring_addresses() {
    // Tables take the low bits, engines the high ones.
    let mut counts = [[0; 8]; 4];
    for a in 0..64 {
        for z in 0..64 {
            let mut narrow = ethernet(0x0800, &ipv4(6, &tcp(b"")));
            narrow[26..34].copy_from_slice(&[10, 0, 0, a, 10, 0, 1, z]);
            let mut wide = ethernet(0x86DD, &ipv6(6, &tcp(b"")));
            (wide[37], wide[53]) = (a, z);
            for (frame, counts) in [narrow, wide].iter().zip(counts.chunks_mut(2)) {
                let hash = flow_hash(LinkType::ETHERNET, frame);
                counts[0][hash as usize % 8] += 1;
                counts[1][engine_of(hash, 8)] += 1;
            }
        }
    }
    assert!(counts.iter().flatten().all(|&count| (412..=612).contains(&count)), "{counts:?}");
}

proptest! {
    #[test]
    fn packets_of_one_flow_hash_alike(link in 0..4u8, proto: u8, field: u16, src: [u8; 4], dst: [u8; 4], data: [u8; 24]) {
        let mut ip = ipv4_with(proto, field, &[], &data);
        ip[12..20].copy_from_slice(&join(&[&src, &dst]));
        let mut back = ip.clone();
        back[12..20].copy_from_slice(&join(&[&dst, &src]));
        let (linktype, head) = match link {
            0 => (LinkType::ETHERNET, ethernet(0x0800, b"")),
            1 => (LinkType::ETHERNET, ethernet(0x8847, &[0, 1, 1, 9])),
            2 => (LinkType::RAW, vec![]),
            _ => (LinkType::NULL, vec![2, 0, 0, 0]),
        };
        let expected = flow_hash(LinkType::IPV4, &ip);
        assert_eq!(flow_hash(linktype, &join(&[&head, &ip])), expected);
        assert_eq!(flow_hash(linktype, &join(&[&head, &back])), expected);
    }
}
