//! What is wrong with a packet is counted by name, and what was sound before it is kept.

use millstream::decode::{Decoder, Event, Malformed, Registry};
use millstream::packet::{LinkType, builtin};

use crate::frames::{cut_batch, ethernet, ipv4, ipv6, is_link_before_ip, join, layers_of, shown_with, tcp, udp};

const ETHERNET: LinkType = LinkType::ETHERNET;

/// Decodes a frame, and names what was counted.
fn decoded(frame: &[u8]) -> (String, Vec<&'static str>) {
    let mut decoder = Decoder::new();
    let shown = shown_with(&mut decoder, ETHERNET, frame);
    let counted = decoder.counters().iter().filter(|&(_, count)| count > 0).map(|(name, _)| name).collect();
    (shown, counted)
}

#[test]
fn every_fault_has_its_counter() {
    let with = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    let v4 = ethernet(0x0800, &ipv4(6, &tcp(b"data")));
    let v4_udp = ethernet(0x0800, &ipv4(17, &udp(1, 2, b"data")));
    let v6 = ethernet(0x86DD, &ipv6(6, &tcp(b"data")));
    let (link, ip) = ("Ethernet 0+14", "Ethernet 0+14, IPv4 14+20");
    let cases: &[(Vec<u8>, &str, &str)] = &[
        (v4[..13].to_vec(), "", "link_short"),
        (ethernet(0x8100, &[0, 1]), link, "link_short"),
        (ethernet(0x8847, &[0, 1]), link, "link_short"),
        (ethernet(0x8864, &[0x11, 0, 0]), link, "link_short"),
        (v4[..30].to_vec(), link, "ipv4_short"),
        (with(&v4, 14, 0x65), link, "ipv4_version"),
        (with(&v4, 14, 0x44), link, "ipv4_header_length"),
        (with(&v4, 17, 19), ip, "ipv4_total_length"),
        (with(&v4, 17, 99), "Ethernet 0+14, IPv4 14+20, TCP 34+20", "ipv4_total_length"),
        (v6[..50].to_vec(), link, "ipv6_short"),
        (with(&v6, 14, 0x45), link, "ipv6_version"),
        (with(&v6, 19, 99), "Ethernet 0+14, IPv6 14+40, TCP 54+20", "ipv6_payload_length"),
        (ethernet(0x86DD, &ipv6(0, &[6, 9, 0, 0])), "Ethernet 0+14, IPv6 14+40", "ipv6_extension_short"),
        (ethernet(0x0800, &ipv4(6, &[0; 19])), ip, "tcp_short"),
        (with(&v4, 46, 0x40), ip, "tcp_header_length"),
        (with(&v4, 46, 0xF0), ip, "tcp_short"),
        (ethernet(0x0800, &ipv4(17, &[0; 7])), ip, "udp_short"),
        (with(&v4_udp, 39, 7), "Ethernet 0+14, IPv4 14+20, UDP 34+8", "udp_length"),
        (with(&v4_udp, 39, 99), "Ethernet 0+14, IPv4 14+20, UDP 34+8", "udp_length"),
        (ethernet(0x0800, &ipv4(1, &[8; 7])), ip, "icmp_short"),
        (ethernet(0x0800, &ipv4(47, &[0, 0, 8])), ip, "tunnel_short"),
        (ethernet(0x0800, &ipv4(47, &[0, 5, 8, 0])), ip, "tunnel_unknown"),
        (ethernet(0x0800, &ipv4(200, &[0; 8])), ip, "unknown_protocol"),
        (ethernet(0x0800, &ipv4(50, &[0; 8])), ip, "encrypted"),
        (ethernet(0x1234, &[0; 8]), link, "unknown_ethertype"),
        (with(&v4, 17, 0), "Ethernet 0+14, IPv4 14+20, TCP 34+20", "zero_ip_length"),
    ];
    for (frame, layers, counter) in cases {
        assert_eq!(decoded(frame), ((*layers).to_owned(), vec![*counter]), "{frame:02x?}");
    }
}

#[test]
fn extension_headers_are_followed_to_a_limit() {
    let mut content = tcp(b"");
    for i in 0..20 {
        content = join(&[&[if i == 0 { 6 } else { 60 }, 0, 0, 0, 0, 0, 0, 0], &content]);
    }
    let (layers, counted) = decoded(&ethernet(0x86DD, &ipv6(60, &content)));
    assert_eq!(layers, "Ethernet 0+14, IPv6 14+176");
    assert_eq!(counted, ["ipv6_extension_limit"]);
}

#[test]
fn the_latest_malformed_header_is_described() {
    let mut decoder = Decoder::new();
    shown_with(&mut decoder, ETHERNET, &ethernet(0x0800, &ipv4(6, &[0; 12])));
    let expected = Malformed { event: Event::TcpShort, layer: builtin::TCP, offset: 34, needed: 20, found: 12 };
    assert_eq!(decoder.last_malformed(), Some(expected));
}

#[test]
fn a_header_cut_by_the_snap_length_is_no_fault() {
    let frame = ethernet(0x0800, &ipv4(6, &tcp(&[0; 600])));
    let registry = Registry::new();
    for (caplen, layers, cuts) in [(40, 2, 1), (53, 2, 1), (54, 3, 0), (33, 1, 1), (10, 0, 1), (14, 1, 1)] {
        let mut decoder = Decoder::new();
        let found = layers_of(&mut cut_batch(ETHERNET, &frame, caplen), &registry, &mut decoder);
        assert_eq!(found.len(), layers, "{caplen}");
        assert_eq!(decoder.counters().get(Event::SnaplenCut), cuts, "{caplen}");
        assert_eq!(decoder.counters().iter().map(|(_, count)| count).sum::<u64>(), cuts);
        assert_eq!(decoder.last_malformed(), None);
    }
}

#[test]
fn padding_never_becomes_a_header() {
    // The IP packet ends within the TCP header; what follows is the frame's padding.
    let mut frame = ethernet(0x0800, &ipv4(6, &tcp(b"")[..10]));
    frame.resize(60, 0x50);
    assert_eq!(decoded(&frame), ("Ethernet 0+14, IPv4 14+20".to_owned(), vec!["tcp_short"]));
}

#[test]
fn counters_have_distinct_names() {
    let decoder = Decoder::new();
    let mut names: Vec<_> = decoder.counters().iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), Event::ALL.len());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Event::ALL.len());
}

#[test]
fn link_layers_with_ip_are_recognised_as_such() {
    let frame = join(&[&[2, 0, 0, 0], &ipv4(6, &tcp(b""))]);
    let layers = layers_of(&mut crate::frames::batch(LinkType::NULL, &frame), &Registry::new(), &mut Decoder::new());
    assert!(is_link_before_ip(&layers));
}
