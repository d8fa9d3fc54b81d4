//! What metering needs to know of one packet, gathered once for all groups.

use crate::key::{End, FlowTuple, Host, has_ports};

/// One packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Bytes on the wire.
    pub wire: u32,
    /// Which input it came from.
    pub origin: u16,
    /// EtherType of the outermost header; for links without one, that of the IP version. 0 if there is none.
    pub ethertype: u16,
    /// Id of the outermost VLAN tag.
    pub vlan: Option<u16>,
    /// Addresses of an Ethernet frame.
    pub macs: Option<Macs>,
    /// The outermost IP packet.
    pub ip: Option<IpSight>,
}

impl Sight {
    /// A packet of which nothing is known.
    pub const NONE: Self = Self { wire: 0, origin: 0, ethertype: 0, vlan: None, macs: None, ip: None };
}

/// Addresses of an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Macs {
    pub destination: [u8; 6],
    pub source: [u8; 6],
}

impl Macs {
    pub const BROADCAST: [u8; 6] = [0xFF; 6];
}

/// What the outermost IP header and the flow of its packet say.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpSight {
    pub source: Host,
    pub destination: Host,
    /// IP protocol number.
    pub proto: u8,
    pub way: Way,
    /// Source and destination port, 0 without.
    pub ports: (u16, u16),
    /// The port that counts as the application; `None` for protocols without ports.
    pub app: Option<u16>,
    pub opening: Opening,
    /// Type and code.
    pub icmp: Option<(u8, u8)>,
    /// Part of a fragmented packet.
    pub is_fragment: bool,
}

/// Whether a host is in the home networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Inside,
    Outside,
}

impl From<bool> for Side {
    #[inline]
    fn from(is_home: bool) -> Self {
        if is_home { Self::Inside } else { Self::Outside }
    }
}

/// Where a packet goes, as seen from the home networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Into,
    OutOf,
    Internal,
    Transit,
}

impl Way {
    #[inline]
    pub const fn of(source: Side, destination: Side) -> Self {
        match (source, destination) {
            (Side::Outside, Side::Inside) => Self::Into,
            (Side::Inside, Side::Outside) => Self::OutOf,
            (Side::Inside, Side::Inside) => Self::Internal,
            (Side::Outside, Side::Outside) => Self::Transit,
        }
    }

    #[inline]
    pub const fn source_inside(self) -> bool {
        matches!(self, Self::OutOf | Self::Internal)
    }

    #[inline]
    pub const fn destination_inside(self) -> bool {
        matches!(self, Self::Into | Self::Internal)
    }
}

/// What part a packet has in the set-up of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    None,
    Syn,
    SynAck,
}

impl Opening {
    #[inline]
    pub const fn of_flags(flags: u8) -> Self {
        match flags & 0x12 {
            0x02 => Self::Syn,
            0x12 => Self::SynAck,
            _ => Self::None,
        }
    }
}

/// A flow began or ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub tuple: FlowTuple,
    pub what: Turn,
    /// The application it is counted under, from its first packet to its end.
    pub app: Option<u16>,
}

/// Which end of its life a flow is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Began,
    Ended(crate::flow::EndReason),
}

impl Change {
    /// Both ends.
    pub fn hosts(&self) -> [Host; 2] {
        [self.tuple.host(End::A), self.tuple.host(End::Z)]
    }
}

/// The port that counts as the application when no SYN says which end is the server.
#[inline]
pub(super) fn lower_port(proto: u8, ports: (u16, u16)) -> Option<u16> {
    has_ports(proto).then(|| ports.0.min(ports.1))
}
