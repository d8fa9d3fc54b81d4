//! The names of IP protocols in events.

use std::borrow::Cow;

/// By number: those that IANA has assigned, spelt as readers of the schema know them. `Any` stands for those of one's own.
#[rustfmt::skip]
const NAMES: [&str; 144] = [
    "HOPOPT", "ICMP", "IGMP", "GGP", "IP-in-IP", "ST", "TCP", "CBT",
    "EGP", "IGP", "BBN-RCC-MON", "NVP-II", "PUP", "ARGUS", "EMCON", "XNET",
    "CHAOS", "UDP", "MUX", "DCN-MEAS", "HMP", "PRM", "XNS-IDP", "TRUNK-1",
    "TRUNK-2", "LEAF-1", "LEAF-2", "RDP", "IRTP", "ISO-TP4", "NETBLT", "MFE-NSP",
    "MERIT-INP", "DCCP", "3PC", "IDPR", "XTP", "DDP", "IDPR-CMTP", "TP++",
    "IL", "IPv6", "SDRP", "IPv6-Route", "IPv6-Frag", "IDRP", "RSVP", "GRE",
    "DSR", "BNA", "ESP", "AH", "I-NLSP", "SwIPe", "NARP", "MOBILE",
    "TLSP", "SKIP", "IPv6-ICMP", "IPv6-NoNxt", "IPv6-Opts", "Any", "CFTP", "Any",
    "SAT-EXPAK", "KRYPTOLAN", "RVD", "IPPC", "Any", "SAT-MON", "VISA", "IPCU",
    "CPNX", "CPHB", "WSN", "PVP", "BR-SAT-MON", "SUN-ND", "WB-MON", "WB-EXPAK",
    "ISO-IP", "VMTP", "SECURE-VMTP", "VINES", "TTP", "NSFNET-IGP", "DGP", "TCF",
    "EIGRP", "OSPF", "Sprite-RPC", "LARP", "MTP", "AX.25", "OS", "MICP",
    "SCC-SP", "ETHERIP", "ENCAP", "Any", "GMTP", "IFMP", "PNNI", "PIM",
    "ARIS", "SCPS", "QNX", "A/N", "IPComp", "SNP", "Compaq-Peer", "IPX-in-IP",
    "VRRP", "PGM", "Any", "L2TP", "DDX", "IATP", "STP", "SRP",
    "UTI", "SMP", "SM", "PTP", "IS-IS", "FIRE", "CRTP", "CRUDP",
    "SSCOPMCE", "IPLT", "SPS", "PIPE", "SCTP", "FC", "RSVP-E2E-IGNORE", "Mobility",
    "UDPLite", "MPLS-in-IP", "manet", "HIP", "Shim6", "WESP", "ROHC", "Ethernet",
];

/// The name of a protocol; its number, three digits, where none is assigned.
pub(super) fn proto_name(proto: u8) -> Cow<'static, str> {
    match NAMES.get(usize::from(proto)) {
        Some(name) => (*name).into(),
        None => format!("{proto:03}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::proto_name;

    #[test]
    fn assigned_numbers_have_names_and_others_three_digits() {
        let named = [
            (0, "HOPOPT"),
            (4, "IP-in-IP"),
            (6, "TCP"),
            (41, "IPv6"),
            (46, "RSVP"),
            (54, "NARP"),
            (59, "IPv6-NoNxt"),
            (88, "EIGRP"),
            (115, "L2TP"),
            (136, "UDPLite"),
            (143, "Ethernet"),
            (144, "144"),
            (255, "255"),
        ];
        for (number, name) in named {
            assert_eq!(proto_name(number), name);
        }
    }
}
