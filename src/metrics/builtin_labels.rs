//! Labels of keys that mean the same everywhere: protocols, well-known ports, ICMP messages.

/// Key and label.
type Labels = &'static [(&'static str, &'static str)];

/// The labels of a built-in counter group.
pub(super) fn of(group: &str) -> Labels {
    match group {
        "Apps" => APPS,
        "NetworkLayerStats" => NETWORK_LAYER,
        "LinkLayerStats" => LINK_LAYER,
        "ICMP Types" => ICMP_TYPES,
        _ => &[],
    }
}

#[rustfmt::skip]
const APPS: Labels = &[
    ("p-0007", "echo"), ("p-0009", "discard"), ("p-0013", "chargen"), ("p-0014", "ftp-data"), ("p-0015", "ftp"),
    ("p-0016", "ssh"), ("p-0017", "telnet"), ("p-0019", "smtp"), ("p-0025", "time"), ("p-002B", "whois"),
    ("p-0031", "tacacs"), ("p-0035", "dns"), ("p-0043", "dhcp-server"), ("p-0044", "dhcp-client"), ("p-0045", "tftp"),
    ("p-0046", "gopher"), ("p-004F", "finger"), ("p-0050", "http"), ("p-0058", "kerberos"), ("p-006E", "pop3"),
    ("p-006F", "rpc"), ("p-0077", "nntp"), ("p-007B", "ntp"), ("p-0087", "epmap"), ("p-0089", "netbios-ns"),
    ("p-008A", "netbios-dgm"), ("p-008B", "netbios-ssn"), ("p-008F", "imap"), ("p-00A1", "snmp"),
    ("p-00A2", "snmp-trap"), ("p-00B3", "bgp"), ("p-00C2", "irc"), ("p-0185", "ldap"), ("p-01BB", "https"),
    ("p-01BD", "smb"), ("p-01D1", "smtps"), ("p-01F4", "isakmp"), ("p-01F6", "modbus"), ("p-0202", "syslog"),
    ("p-0203", "printer"), ("p-0208", "rip"), ("p-0222", "dhcpv6-client"), ("p-0223", "dhcpv6-server"),
    ("p-022A", "rtsp"), ("p-024B", "submission"), ("p-0277", "ipp"), ("p-027C", "ldaps"), ("p-0286", "ldp"),
    ("p-0355", "dns-tls"), ("p-0369", "rsync"), ("p-03DD", "ftps-data"), ("p-03DE", "ftps"), ("p-03E1", "imaps"),
    ("p-03E3", "pop3s"), ("p-0438", "socks"), ("p-04AA", "openvpn"), ("p-0599", "ms-sql"), ("p-059A", "ms-sql-m"),
    ("p-05F1", "oracle"), ("p-06A5", "l2tp"), ("p-06B7", "h323"), ("p-06BB", "pptp"), ("p-0714", "radius"),
    ("p-0715", "radius-acct"), ("p-075B", "mqtt"), ("p-076C", "ssdp"), ("p-07C1", "hsrp"), ("p-0801", "nfs"),
    ("p-0807", "netflow"), ("p-084B", "gtp-c"), ("p-0868", "gtp-u"), ("p-0CEA", "mysql"), ("p-0D3D", "rdp"),
    ("p-0D96", "stun"), ("p-1194", "ipsec-nat-t"), ("p-12B5", "vxlan"), ("p-13C4", "sip"), ("p-13C5", "sips"),
    ("p-1466", "xmpp-client"), ("p-1495", "xmpp-server"), ("p-14E9", "mdns"), ("p-14EB", "llmnr"),
    ("p-1538", "postgresql"), ("p-1633", "coap"), ("p-170C", "vnc"), ("p-1761", "winrm"), ("p-17C1", "geneve"),
    ("p-18C7", "sflow"), ("p-18EB", "redis"), ("p-1A0B", "irc"), ("p-1A0D", "ircs"), ("p-1F90", "http-alt"),
    ("p-20FB", "https-alt"), ("p-22B3", "mqtts"), ("p-23F0", "elasticsearch"), ("p-4E20", "dnp3"),
    ("p-6989", "mongodb"), ("p-AF12", "ethernet-ip"), ("p-BAC0", "bacnet"), ("p-C822", "wireguard"),
];

#[rustfmt::skip]
const NETWORK_LAYER: Labels = &[
    ("00", "HOPOPT"), ("01", "ICMP"), ("02", "IGMP"), ("04", "IPv4 in IP"), ("06", "TCP"), ("08", "EGP"), ("09", "IGP"),
    ("11", "UDP"), ("1B", "RDP"), ("21", "DCCP"), ("29", "IPv6 in IP"), ("2E", "RSVP"), ("2F", "GRE"), ("32", "ESP"),
    ("33", "AH"), ("3A", "ICMPv6"), ("3B", "IPv6 no next header"), ("58", "EIGRP"), ("59", "OSPF"),
    ("61", "EtherIP"), ("67", "PIM"), ("6C", "IPComp"), ("70", "VRRP"), ("73", "L2TP"), ("84", "SCTP"),
    ("88", "UDP-Lite"), ("89", "MPLS in IP"),
];

#[rustfmt::skip]
const LINK_LAYER: Labels = &[
    ("0800", "IPv4"), ("0806", "ARP"), ("0842", "Wake-on-LAN"), ("2000", "CDP"), ("22F0", "AVTP"), ("22F3", "TRILL"),
    ("6558", "Ethernet bridging"), ("8035", "RARP"), ("809B", "AppleTalk"), ("80F3", "AARP"), ("8100", "VLAN"),
    ("8137", "IPX"), ("86DD", "IPv6"), ("8808", "Ethernet flow control"), ("8809", "LACP"), ("8847", "MPLS"),
    ("8848", "MPLS multicast"), ("8863", "PPPoE discovery"), ("8864", "PPPoE session"), ("888E", "EAPOL"),
    ("8892", "PROFINET"), ("889A", "HyperSCSI"), ("88A2", "AoE"), ("88A4", "EtherCAT"), ("88A8", "Provider bridging"),
    ("88AB", "POWERLINK"), ("88B8", "GOOSE"), ("88CC", "LLDP"), ("88E1", "HomePlug"), ("88E5", "MACsec"),
    ("88E7", "Provider backbone bridging"), ("88F7", "PTP"), ("8902", "CFM"), ("8906", "FCoE"), ("894F", "NSH"),
    ("9000", "Loopback"), ("9100", "VLAN"), ("9200", "VLAN"),
];

#[rustfmt::skip]
const ICMP_TYPES: Labels = &[
    ("00/00", "echo reply"), ("03/00", "network unreachable"), ("03/01", "host unreachable"),
    ("03/02", "protocol unreachable"), ("03/03", "port unreachable"), ("03/04", "fragmentation needed"),
    ("03/0D", "prohibited"), ("05/00", "redirect for network"), ("05/01", "redirect for host"),
    ("08/00", "echo request"), ("09/00", "router advertisement"), ("0A/00", "router solicitation"),
    ("0B/00", "time to live exceeded"), ("0B/01", "reassembly time exceeded"), ("0D/00", "timestamp"),
    ("0E/00", "timestamp reply"), ("80/00", "ICMPv6 echo request"), ("81/00", "ICMPv6 echo reply"),
    ("82/00", "multicast listener query"), ("83/00", "multicast listener report"),
    ("84/00", "multicast listener done"), ("85/00", "ICMPv6 router solicitation"),
    ("86/00", "ICMPv6 router advertisement"), ("87/00", "neighbour solicitation"),
    ("88/00", "neighbour advertisement"), ("89/00", "ICMPv6 redirect"), ("8F/00", "multicast listener report v2"),
];

#[cfg(test)]
mod tests {
    use super::{APPS, ICMP_TYPES, LINK_LAYER, NETWORK_LAYER, of};
    use crate::key::parse_port;

    #[test]
    fn keys_have_the_form_of_their_group_and_are_there_once() {
        for labels in [APPS, NETWORK_LAYER, LINK_LAYER, ICMP_TYPES] {
            assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, no key twice");
        }
        assert!(APPS.iter().all(|(key, _)| parse_port(key.as_bytes()).is_some()));
        assert!(NETWORK_LAYER.iter().all(|(key, _)| key.len() == 2));
        assert!(LINK_LAYER.iter().all(|(key, _)| key.len() == 4));
        assert!(ICMP_TYPES.iter().all(|(key, _)| key.len() == 5));
        assert!(of("Hosts").is_empty() && of("Apps").contains(&("p-01BB", "https")));
    }
}
