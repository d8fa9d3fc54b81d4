//! Every way to reach IP, and every tunnel.

use millstream::decode::{Decoder, Event, MAX_LAYERS};
use millstream::packet::LinkType;

use crate::frames::{
    A, MAC_A, MAC_Z, Z, cut_batch, ethernet, ipv4, ipv4_with, ipv6, join, layers_of, shown, shown_with, tag, tcp,
    tcp_with, udp,
};

const ETHERNET: LinkType = LinkType::ETHERNET;

fn ssh() -> Vec<u8> {
    ipv4(6, &tcp(b"x"))
}

#[test]
fn the_plain_stacks() {
    assert_eq!(shown(ETHERNET, &ethernet(0x0800, &ssh())), "Ethernet 0+14, IPv4 14+20, TCP 34+20");
    assert_eq!(
        shown(ETHERNET, &ethernet(0x86DD, &ipv6(17, &udp(1, 2, b"abc")))),
        "Ethernet 0+14, IPv6 14+40, UDP 54+8"
    );
    let options = ipv4_with(6, 0, &[1; 40], &tcp_with(1, 2, &[1; 40], b""));
    assert_eq!(shown(ETHERNET, &ethernet(0x0800, &options)), "Ethernet 0+14, IPv4 14+60, TCP 74+60");
}

#[test]
fn icmp_is_the_whole_message_without_padding() {
    let mut frame = ethernet(0x0800, &ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1, b'a', b'b']));
    frame.resize(60, 0);
    assert_eq!(shown(ETHERNET, &frame), "Ethernet 0+14, IPv4 14+20, ICMP 34+10");
    let neighbour = ipv6(58, &[135; 24]);
    assert_eq!(shown(ETHERNET, &ethernet(0x86DD, &neighbour)), "Ethernet 0+14, IPv6 14+40, ICMP 54+24");
}

#[test]
fn tags_labels_and_pppoe_belong_to_the_link_layer() {
    let one = join(&[&tag(5, 0x0800), &ssh()]);
    assert_eq!(shown(ETHERNET, &ethernet(0x8100, &one)), "Ethernet 0+18, IPv4 18+20, TCP 38+20");
    let two = join(&[&tag(5, 0x8100), &tag(6, 0x0800), &ssh()]);
    assert_eq!(shown(ETHERNET, &ethernet(0x88A8, &two)), "Ethernet 0+22, IPv4 22+20, TCP 42+20");
    let four = join(&[&tag(5, 0x9100), &tag(5, 0x88A8), &tag(5, 0x8100), &tag(6, 0x0800), &ssh()]);
    assert_eq!(shown(ETHERNET, &ethernet(0x9200, &four)), "Ethernet 0+30, IPv4 30+20, TCP 50+20");
    let labels = join(&[&[0, 1, 0, 64], &[0, 2, 1, 64], &ssh()]);
    assert_eq!(shown(ETHERNET, &ethernet(0x8847, &labels)), "Ethernet 0+22, IPv4 22+20, TCP 42+20");
    let wide = join(&[&[0, 2, 1, 64], &ipv6(6, &tcp(b""))]);
    assert_eq!(shown(ETHERNET, &ethernet(0x8848, &wide)), "Ethernet 0+18, IPv6 18+40, TCP 58+20");
    let session = join(&[&[0x11, 0, 0, 1], &[0, 43], &[0, 0x21], &ssh()]);
    assert_eq!(shown(ETHERNET, &ethernet(0x8864, &session)), "Ethernet 0+22, IPv4 22+20, TCP 42+20");
    let both = join(&[&tag(5, 0x8864), &session]);
    assert_eq!(shown(ETHERNET, &ethernet(0x8100, &both)), "Ethernet 0+26, IPv4 26+20, TCP 46+20");
    let discovery = shown(ETHERNET, &ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0]));
    assert_eq!(discovery, "Ethernet 0+14");
}

#[test]
fn pseudowire_carries_another_ethernet() {
    let inner = ethernet(0x0800, &ssh());
    let frame = ethernet(0x8847, &join(&[&[0, 2, 1, 64], &[0, 0, 0, 0], &inner]));
    assert_eq!(shown(ETHERNET, &frame), "Ethernet 0+22, Ethernet 22+14, IPv4 36+20, TCP 56+20");
}

#[test]
fn llc_and_snap_belong_to_the_link_layer() {
    let ip = ssh();
    let snap = join(&[&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &ip]);
    let frame = join(&[&MAC_Z, &MAC_A, &(snap.len() as u16).to_be_bytes(), &snap, &[0; 9]]);
    assert_eq!(shown(ETHERNET, &frame), "Ethernet 0+22, IPv4 22+20, TCP 42+20");
    let spanning_tree = ethernet(38, &[0x42; 38]);
    assert_eq!(shown(ETHERNET, &spanning_tree), "Ethernet 0+14");
}

#[test]
fn arp_is_counted_and_has_no_layer() {
    let mut decoder = Decoder::new();
    assert_eq!(shown_with(&mut decoder, ETHERNET, &ethernet(0x0806, &[0; 28])), "Ethernet 0+14");
    assert_eq!(decoder.counters().get(Event::Arp), 1);
}

#[test]
fn raw_links_start_with_ip() {
    for linktype in [LinkType::RAW, LinkType::IPV4, LinkType(12), LinkType(14)] {
        assert_eq!(shown(linktype, &ssh()), "IPv4 0+20, TCP 20+20");
    }
    let wide = ipv6(6, &tcp(b""));
    for linktype in [LinkType::RAW, LinkType::IPV6] {
        assert_eq!(shown(linktype, &wide), "IPv6 0+40, TCP 40+20");
    }
    assert_eq!(shown(LinkType::IPV4, &wide), "");
    assert_eq!(shown(LinkType::RAW, &[0x90; 60]), "");
}

#[test]
fn other_links_keep_ip_as_layer_one() {
    let ip = ssh();
    let sll = join(&[&[0, 0, 0, 1, 0, 6], &MAC_A, &[0, 0], &[8, 0], &ip]);
    let sll2 = join(&[&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6], &MAC_A, &[0, 0], &ip]);
    let sll_vlan = join(&[&[0, 0, 0, 1, 0, 6], &MAC_A, &[0, 0], &[0x81, 0], &tag(3, 0x0800), &ip]);
    let sll_llc = join(&[&[0, 0, 0, 1, 0, 6], &MAC_A, &[0, 0], &[0, 4], &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &ip]);
    let cases: &[(LinkType, Vec<u8>, usize)] = &[
        (LinkType::LINUX_SLL, sll, 16),
        (LinkType::LINUX_SLL, sll_vlan, 20),
        (LinkType::LINUX_SLL, sll_llc, 24),
        (LinkType::LINUX_SLL2, sll2, 20),
        (LinkType::NULL, join(&[&[2, 0, 0, 0], &ip]), 4),
        (LinkType::NULL, join(&[&[0, 0, 0, 2], &ip]), 4),
        (LinkType::LOOP, join(&[&[0, 0, 0, 2], &ip]), 4),
        (LinkType::PPP, join(&[&[0xFF, 3, 0, 0x21], &ip]), 4),
        (LinkType::PPP, join(&[&[0, 0x21], &ip]), 2),
        (LinkType::PPP, join(&[&[0x21], &ip]), 1),
        (LinkType::PPP_HDLC, join(&[&[0xFF, 3, 0, 0x21], &ip]), 4),
        (LinkType::PPP_HDLC, join(&[&[0x0F, 0, 8, 0], &ip]), 4),
        (LinkType(104), join(&[&[0x0F, 0, 8, 0], &ip]), 4),
        (LinkType::PPP_ETHER, join(&[&[0x11, 0, 0, 1, 0, 43, 0, 0x21], &ip]), 8),
        (LinkType::PPP_WITH_DIR, join(&[&[1, 0xFF, 3, 0, 0x21], &ip]), 5),
        (LinkType::PPP, join(&[&[0xFF, 3, 2, 0x81], &[0, 2, 1, 64], &ip]), 8),
    ];
    for (linktype, frame, len) in cases {
        let expected = format!("Link 0+{len}, IPv4 {len}+20, TCP {}+20", len + 20);
        assert_eq!(shown(*linktype, frame), expected, "{linktype}");
    }
    for family in [10, 24, 28, 30] {
        let frame = join(&[&[family, 0, 0, 0], &ipv6(6, &tcp(b""))]);
        assert_eq!(shown(LinkType::NULL, &frame), "Link 0+4, IPv6 4+40, TCP 44+20");
    }
}

#[test]
fn wireless_data_frames() {
    let snap = join(&[&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0], &ssh()]);
    let data = join(&[&[0x08, 0x01, 0, 0], &MAC_A, &MAC_Z, &MAC_A, &[0, 0], &snap]);
    assert_eq!(shown(LinkType::IEEE802_11, &data), "Link 0+32, IPv4 32+20, TCP 52+20");
    let qos = join(&[&[0x88, 0x03, 0, 0], &MAC_A, &MAC_Z, &MAC_A, &[0, 0], &MAC_Z, &[0, 0], &snap]);
    assert_eq!(shown(LinkType::IEEE802_11, &qos), "Link 0+40, IPv4 40+20, TCP 60+20");
    let beacon = join(&[&[0x80, 0, 0, 0], &[0; 40]]);
    assert_eq!(shown(LinkType::IEEE802_11, &beacon), "Link 0+44");
    let mut decoder = Decoder::new();
    let mut secret = data.clone();
    secret[1] |= 0x40;
    assert_eq!(shown_with(&mut decoder, LinkType::IEEE802_11, &secret), "Link 0+24");
    assert_eq!(decoder.counters().get(Event::Encrypted), 1);

    let plain = join(&[&[0, 0, 8, 0, 0, 0, 0, 0], &data]);
    assert_eq!(shown(LinkType::IEEE802_11_RADIOTAP, &plain), "Link 0+40, IPv4 40+20, TCP 60+20");
    // Timestamp and flags, the latter announcing that the 26-byte header is padded to 28.
    let padded_qos = join(&[&[0x88, 0x01, 0, 0], &MAC_A, &MAC_Z, &MAC_A, &[0; 6], &snap]);
    let radio = join(&[&[0, 0, 17, 0, 3, 0, 0, 0], &[0; 8], &[0x20], &padded_qos]);
    assert_eq!(shown(LinkType::IEEE802_11_RADIOTAP, &radio), "Link 0+53, IPv4 53+20, TCP 73+20");
}

#[test]
fn packets_of_unknown_links_are_one_opaque_layer() {
    let mut decoder = Decoder::new();
    let frame = ethernet(0x0800, &ssh());
    assert_eq!(shown_with(&mut decoder, LinkType(64999), &frame), format!("Opaque 0+{}", frame.len()));
    assert_eq!(shown_with(&mut decoder, LinkType(64999), &[]), "");
    assert_eq!(decoder.counters().get(Event::UnknownLinkType), 2);
    // Of one that is known, but cut or broken, nothing is made up.
    for (link, bytes) in [(ETHERNET, vec![0; 13]), (LinkType::RAW, vec![0x75; 40]), (LinkType::LINUX_SLL, vec![0; 15])]
    {
        assert_eq!(shown_with(&mut decoder, link, &bytes), "", "{link}");
    }
}

#[test]
fn extension_headers_belong_to_ipv6() {
    let hop_by_hop = |next: u8| [next, 0, 5, 2, 0, 0, 1, 0];
    let routing = |next: u8| join(&[&[next, 2, 0, 0], &[0; 20]]);
    let ah = |next: u8| join(&[&[next, 4, 0, 0], &[0; 20]]);
    let content = join(&[&hop_by_hop(43), &routing(60), &hop_by_hop(51), &ah(6), &tcp(b"")]);
    assert_eq!(shown(ETHERNET, &ethernet(0x86DD, &ipv6(0, &content))), "Ethernet 0+14, IPv6 14+104, TCP 118+20");
    // An atomic fragment is whole.
    let atomic = join(&[&[6, 0, 0, 0, 0, 0, 0, 9], &tcp(b"")]);
    assert_eq!(shown(ETHERNET, &ethernet(0x86DD, &ipv6(44, &atomic))), "Ethernet 0+14, IPv6 14+48, TCP 62+20");
    let nothing = ethernet(0x86DD, &ipv6(59, b"rest"));
    assert_eq!(shown(ETHERNET, &nothing), "Ethernet 0+14, IPv6 14+40");
}

#[test]
fn layering_stops_at_later_fragments() {
    let mut decoder = Decoder::new();
    let first = ethernet(0x0800, &ipv4_with(17, 0x2000, &[], &udp(1, 2, &[0; 400])[..64]));
    assert_eq!(shown_with(&mut decoder, ETHERNET, &first), "Ethernet 0+14, IPv4 14+20, UDP 34+8");
    let later = ethernet(0x0800, &ipv4_with(17, 0x0008, &[], &[0; 64]));
    assert_eq!(shown_with(&mut decoder, ETHERNET, &later), "Ethernet 0+14, IPv4 14+20");
    let wide = join(&[&[17, 0, 0, 9, 0, 0, 0, 9], &[0; 64]]);
    assert_eq!(shown_with(&mut decoder, ETHERNET, &ethernet(0x86DD, &ipv6(44, &wide))), "Ethernet 0+14, IPv6 14+48");
    assert_eq!(decoder.counters().get(Event::Fragment), 2);
    assert_eq!(decoder.counters().get(Event::UdpLength), 0, "a fragment is shorter than its datagram");
}

#[test]
fn tunnels_leave_no_layer_and_the_inner_packet_follows() {
    let inner4 = ssh();
    let inner6 = ipv6(6, &tcp(b""));
    let frame = ethernet(0x0800, &inner4);
    let outer = "Ethernet 0+14, IPv4 14+20";
    let over = |proto: u8, content: &[u8]| shown(ETHERNET, &ethernet(0x0800, &ipv4(proto, content)));
    assert_eq!(over(4, &inner4), format!("{outer}, IPv4 34+20, TCP 54+20"));
    assert_eq!(over(41, &inner6), format!("{outer}, IPv6 34+40, TCP 74+20"));
    let gre = |flags: u16, protocol: u16, rest: &[u8]| {
        over(47, &join(&[&flags.to_be_bytes(), &protocol.to_be_bytes(), rest]))
    };
    assert_eq!(gre(0, 0x0800, &inner4), format!("{outer}, IPv4 38+20, TCP 58+20"));
    assert_eq!(gre(0, 0x86DD, &inner6), format!("{outer}, IPv6 38+40, TCP 78+20"));
    assert_eq!(
        gre(0xB000, 0x6558, &join(&[&[0; 12], &frame])),
        format!("{outer}, Ethernet 50+14, IPv4 64+20, TCP 84+20")
    );
    assert_eq!(
        gre(0x3081, 0x880B, &join(&[&[0; 12], &[0xFF, 3, 0, 0x21], &inner4])),
        format!("{outer}, IPv4 54+20, TCP 74+20")
    );
    assert_eq!(
        gre(0x1000, 0x88BE, &join(&[&[0; 12], &frame])),
        format!("{outer}, Ethernet 50+14, IPv4 64+20, TCP 84+20")
    );
    assert_eq!(gre(0, 0x88BE, &frame), format!("{outer}, Ethernet 38+14, IPv4 52+20, TCP 72+20"));
    let mut erspan3 = join(&[&[0; 16], &[0; 8], &frame]);
    erspan3[15] = 1;
    assert_eq!(gre(0x1000, 0x22EB, &erspan3), format!("{outer}, Ethernet 62+14, IPv4 76+20, TCP 96+20"));
    let of_type = |frame_type: u8, rest: &[u8]| join(&[&[0; 14], &[frame_type << 2, 0], rest]);
    assert_eq!(gre(0x1000, 0x22EB, &of_type(2, &inner4)), format!("{outer}, IPv4 54+20, TCP 74+20"));
    assert_eq!(gre(0x1000, 0x22EB, &of_type(7, &frame)), outer, "what frame type 7 mirrors is not followed");
    assert_eq!(gre(0, 0x8847, &join(&[&[0, 2, 1, 64], &inner4])), format!("{outer}, IPv4 42+20, TCP 62+20"));
    assert_eq!(gre(0x4000, 0x0800, &inner4), outer, "routing fields are not followed");

    let outer = "Ethernet 0+14, IPv4 14+20, UDP 34+8";
    let over = |port: u16, content: &[u8]| shown(ETHERNET, &ethernet(0x0800, &ipv4(17, &udp(5000, port, content))));
    for port in [4789, 8472] {
        assert_eq!(
            over(port, &join(&[&[8, 0, 0, 0, 0, 0, 7, 0], &frame])),
            format!("{outer}, Ethernet 50+14, IPv4 64+20, TCP 84+20")
        );
    }
    assert_eq!(over(4789, &join(&[&[0; 8], &frame])), outer, "no network id, no VXLAN");
    assert_eq!(
        over(6081, &join(&[&[1, 0, 0x65, 0x58, 0, 0, 7, 0], &[0; 4], &frame])),
        format!("{outer}, Ethernet 54+14, IPv4 68+20, TCP 88+20")
    );
    assert_eq!(over(6081, &join(&[&[0, 0, 0x08, 0, 0, 0, 7, 0], &inner4])), format!("{outer}, IPv4 50+20, TCP 70+20"));
    assert_eq!(
        over(2152, &join(&[&[0x30, 0xFF, 0, 0, 0, 0, 0, 1], &inner4])),
        format!("{outer}, IPv4 50+20, TCP 70+20")
    );
    // Sequence number, and an extension header of four bytes.
    let extended = join(&[&[0x36, 0xFF, 0, 0, 0, 0, 0, 1], &[0, 1, 0, 0x85], &[1, 0, 0, 0], &inner6]);
    assert_eq!(over(2152, &extended), format!("{outer}, IPv6 58+40, TCP 98+20"));
    assert_eq!(over(2152, &join(&[&[0x30, 1, 0, 0, 0, 0, 0, 1], &inner4])), outer, "an echo carries nothing");
}

#[test]
fn sctp_has_ports_but_no_layer() {
    assert_eq!(shown(ETHERNET, &ethernet(0x0800, &ipv4(132, &[0; 32]))), "Ethernet 0+14, IPv4 14+20");
}

#[test]
fn nesting_is_bounded_and_counted() {
    let mut packet = ssh();
    for _ in 0..12 {
        packet = ipv4(4, &packet);
    }
    let mut decoder = Decoder::new();
    let shown = shown_with(&mut decoder, LinkType::RAW, &packet);
    assert_eq!(shown.matches("IPv4").count(), 9, "the outer one and eight levels");
    assert_eq!(decoder.counters().get(Event::TunnelLimit), 1);

    // Ethernet, IPv6, UDP, VXLAN: three layers a level stay below the limit of layers together with that of levels.
    let mut frame = ethernet(0x86DD, &ipv6(6, &tcp(b"")));
    for _ in 0..8 {
        frame = ethernet(0x86DD, &ipv6(17, &udp(1, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 0, 0], &frame]))));
    }
    let layers =
        layers_of(&mut cut_batch(ETHERNET, &frame, frame.len()), &millstream::decode::Registry::new(), &mut decoder);
    assert!(layers.len() == 27 && layers.len() <= MAX_LAYERS);
}

#[test]
fn the_outermost_layer_of_a_protocol_is_found() {
    let frame = ethernet(0x0800, &ipv4(4, &join(&[&ipv4(17, &udp(1, 2, b""))])));
    let mut batch = crate::frames::batch(ETHERNET, &frame);
    Decoder::new().decode(&millstream::decode::Registry::new(), &mut batch);
    let packet = batch.packets()[0];
    let ip = batch.find_layer(&packet, millstream::packet::builtin::IPV4).unwrap();
    assert_eq!((ip.offset, ip.len), (14, 20));
    assert_eq!(frame[26..34], join(&[&A, &Z])[..]);
}
