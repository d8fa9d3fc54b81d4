//! The table of captures: every file, in the order of the list in the README of this folder.

use super::container::{START, Trace};
use super::{
    conversation, demo, dhcp, disorder, dns, fragments, http, incidents, interfaces, mail, scan, ssh, tls, transfer,
    tunnels,
};

/// One finished file.
pub struct Capture {
    pub name: &'static str,
    pub packets: usize,
    pub bytes: Vec<u8>,
}

fn pings() -> Trace {
    let mut trace = Trace::default();
    trace.datagrams(&conversation::ping([10, 20, 0, 13].into(), [192, 0, 2, 1].into(), START, 5));
    let six = |last: [u16; 2], net| [0x2001, 0xDB8, net, 0, 0, 0, last[0], last[1]].into();
    trace.datagrams(&conversation::ping(six([0x0A14, 13], 0x20), six([0, 1], 0x80), START, 5));
    trace.sort();
    trace
}

/// Makes every capture anew.
pub fn captures() -> Vec<Capture> {
    let (interfaces, interface_packets) = interfaces::capture();
    let mut all: Vec<Capture> = [
        ("demo.pcap", demo::capture()),
        ("incidents.pcap", incidents::capture()),
        ("dns.pcap", dns::capture()),
        ("http-files.pcap", http::capture()),
        ("tls-hello.pcap", tls::capture()),
        ("ssh-session.pcap", ssh::capture()),
        ("smtp.pcap", mail::capture()),
        ("ftp.pcap", transfer::capture()),
        ("dhcp.pcap", dhcp::capture()),
        ("port-scan.pcap", scan::capture()),
        ("ping.pcap", pings()),
        ("vlan.pcap", tunnels::vlan()),
        ("qinq.pcap", tunnels::qinq()),
        ("mpls.pcap", tunnels::mpls()),
        ("pppoe.pcap", tunnels::pppoe()),
        ("gre.pcap", tunnels::gre()),
        ("ip-in-ip.pcap", tunnels::ip_in_ip()),
        ("vxlan.pcap", tunnels::vxlan()),
        ("geneve.pcap", tunnels::geneve()),
        ("gtp-u.pcap", tunnels::gtp_u()),
        ("fragments-ipv4.pcap", fragments::ipv4()),
        ("fragments-ipv6.pcap", fragments::ipv6()),
        ("ipv6-extensions.pcap", fragments::extensions()),
        ("tcp-out-of-order.pcap", disorder::out_of_order()),
        ("tcp-retransmission.pcap", disorder::retransmission()),
        ("tcp-overlap.pcap", disorder::overlap()),
    ]
    .into_iter()
    .map(|(name, trace)| Capture { name, packets: trace.frames.len(), bytes: trace.to_pcap() })
    .collect();
    all.push(Capture { name: "interfaces.pcapng", packets: interface_packets, bytes: interfaces });
    all
}
