//! What the decoder met besides plain packets, counted by name.

use crate::packet::ProtocolId;

macro_rules! events {
    ($($variant:ident $name:literal $doc:literal,)+) => {
        /// Something the decoder counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Event {
            $(#[doc = $doc] $variant,)+
        }

        impl Event {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name of the counter.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

events! {
    SnaplenCut "snaplen_cut" "A header is cut by the snap length; not the packet's fault.",
    LinkShort "link_short" "The packet ends within the link layer.",
    Ipv4Short "ipv4_short" "The packet ends within the IPv4 header.",
    Ipv4Version "ipv4_version" "IPv4 is announced, and the version is another.",
    Ipv4HeaderLength "ipv4_header_length" "An IPv4 header length below 20.",
    Ipv4TotalLength "ipv4_total_length" "An IPv4 total length below the header's or beyond the packet.",
    Ipv6Short "ipv6_short" "The packet ends within the IPv6 header.",
    Ipv6Version "ipv6_version" "IPv6 is announced, and the version is another.",
    Ipv6PayloadLength "ipv6_payload_length" "An IPv6 payload length beyond the packet.",
    Ipv6ExtensionShort "ipv6_extension_short" "The packet ends within an IPv6 extension header.",
    Ipv6ExtensionLimit "ipv6_extension_limit" "More IPv6 extension headers than are followed.",
    IpVersion "ip_version" "Raw IP that is neither version 4 nor 6.",
    TcpShort "tcp_short" "The packet ends within the TCP header.",
    TcpHeaderLength "tcp_header_length" "A TCP header length below 20.",
    UdpShort "udp_short" "The packet ends within the UDP header.",
    UdpLength "udp_length" "A UDP length below 8 or beyond the packet.",
    IcmpShort "icmp_short" "The packet ends within the ICMP header.",
    TunnelShort "tunnel_short" "The packet ends within a tunnel header.",
    TunnelUnknown "tunnel_unknown" "A tunnel header whose version, flags or content are not followed.",
    TunnelLimit "tunnel_limit" "Tunnels nested deeper than are followed.",
    LayerLimit "layer_limit" "More layers than a packet may have.",
    FirstFragment "fragment_first" "The first fragment of several.",
    Fragment "fragment" "A fragment other than the first: layers end with IP.",
    ZeroIpLength "zero_ip_length" "An IP length of zero, as segmentation offload and jumbograms have; the packet's end is taken.",
    Arp "arp" "ARP, which has no layer of its own.",
    UnknownLinkType "unknown_link_type" "A link type without decoder: one opaque layer.",
    UnknownEtherType "unknown_ethertype" "A link layer whose content has no decoder.",
    UnknownProtocol "unknown_protocol" "An IP protocol without decoder.",
    Encrypted "encrypted" "Content that is encrypted below IP.",
}

/// How often each [`Event`] happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Event::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Event::ALL.len()])
    }
}

impl Counters {
    /// How often one happened.
    #[must_use]
    pub const fn get(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// Names and numbers of all.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Event::ALL.iter().map(|&event| (event.name(), self.get(event)))
    }

    pub(super) fn add(&mut self, event: Event) {
        self.0[event as usize] += 1;
    }
}

/// A header that is not what its announcement promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub event: Event,
    /// The protocol whose layer is missing or in doubt; opaque for tunnel headers.
    pub layer: ProtocolId,
    /// Where the header starts in the packet.
    pub offset: u32,
    /// Bytes needed from there.
    pub needed: u32,
    /// Bytes found there.
    pub found: u32,
}
