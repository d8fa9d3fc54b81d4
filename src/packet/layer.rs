//! Protocol layers of a packet.

/// Index of a protocol in the decoder's registry; [`builtin`] names the fixed ones, scripts add more behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ProtocolId(pub u16);

impl ProtocolId {
    /// True for those of which a packet knows its outermost layer.
    #[inline]
    #[must_use]
    pub const fn is_covered(self) -> bool {
        self.0 < 8
    }
}

/// Protocols that exist before any script is loaded.
pub mod builtin {
    use super::ProtocolId;

    /// Ethernet, with VLAN tags, MPLS labels and PPPoE headers behind it.
    pub const ETHERNET: ProtocolId = ProtocolId(0);
    /// IPv4 header with options.
    pub const IPV4: ProtocolId = ProtocolId(1);
    /// IPv6 header with extension headers.
    pub const IPV6: ProtocolId = ProtocolId(2);
    /// A whole ICMP or ICMPv6 message.
    pub const ICMP: ProtocolId = ProtocolId(3);
    /// UDP header.
    pub const UDP: ProtocolId = ProtocolId(4);
    /// TCP header with options.
    pub const TCP: ProtocolId = ProtocolId(5);
    /// A link layer that is not Ethernet (cooked, PPP, loopback, 802.11).
    pub const LINK: ProtocolId = ProtocolId(6);
    /// Bytes nobody has a decoder for.
    pub const OPAQUE: ProtocolId = ProtocolId(7);
    /// sFlow: a name only, an opaque layer unless a handler defines it.
    pub const SFLOW: ProtocolId = ProtocolId(8);
    /// NetFlow: a name only, like sFlow.
    pub const NETFLOW: ProtocolId = ProtocolId(9);
    /// Number of built-in protocols; the first one a script adds gets this index.
    pub const COUNT: u16 = 10;
}

/// One protocol layer: which protocol, and which bytes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The protocol.
    pub protocol: ProtocolId,
    /// Offset of the first byte from the start of the packet.
    pub offset: u32,
    /// Number of captured bytes covered.
    pub len: u32,
}
