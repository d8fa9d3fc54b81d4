//! The state of decoding one packet, and the loop over its headers.

use super::counters::{Counters, Event, Malformed};
use super::link::{self, Content};
use super::registry::Registry;
use super::{ieee80211, network, transport, tunnel};
use crate::packet::{Layer, LinkType, ProtocolId, builtin};

/// Most layers a packet has.
pub const MAX_LAYERS: usize = 32;

/// Most tunnels within each other that are followed.
pub const MAX_TUNNELS: u8 = 8;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing further is decoded.
    Stop,
    /// The first layer of a packet.
    Link(LinkType),
    /// An Ethernet frame.
    Ethernet,
    /// An Ethernet frame within another packet.
    InnerEthernet,
    /// What an EtherType announces, inside a tunnel.
    EtherType(u16),
    /// A PPP frame inside a tunnel.
    Ppp,
    /// IP of either version, by its first nibble.
    Ip,
    Ipv4,
    Ipv6,
    /// IP within IP or another tunnel.
    InnerIp,
    InnerIpv4,
    InnerIpv6,
    /// Content of an IP packet: the IP layer's protocol and the number it carries.
    Number(ProtocolId, u8),
    Tcp,
    Udp,
    /// An ICMP message with a header of this many bytes.
    Icmp(u8),
    Gre,
    Vxlan,
    Geneve,
    Gtp,
    /// A layer whose extent nobody finds: all bytes left.
    Rest(ProtocolId),
    /// A script finds the layer's extent.
    Script(ProtocolId),
}

/// Decoding of one packet.
pub(super) struct Walk<'a> {
    pub registry: &'a Registry,
    /// All captured bytes.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub wirelen: u32,
    /// Where the innermost length field (or the capture) ends the packet; bytes behind belong to no layer.
    pub end: usize,
    /// The bytes are a first fragment: lengths inside point beyond its end without being wrong.
    pub fragmented: bool,
    pub tunnels: u8,
    pub layers: &'a mut Vec<Layer>,
    pub first: usize,
    pub outermost: [u8; 8],
    pub counters: &'a mut Counters,
    pub last_malformed: &'a mut Option<Malformed>,
}

impl<'a> Walk<'a> {
    /// Follows the headers from `at`. Returns the protocol and place where a script has to go on.
    pub fn run(&mut self, mut next: Next, mut at: usize) -> Option<(ProtocolId, usize)> {
        loop {
            (next, at) = match next {
                Next::Stop => return None,
                Next::Script(protocol) => return Some((protocol, at)),
                Next::Link(linktype) => self.link(linktype),
                Next::Ethernet => self.ethernet(at),
                Next::InnerEthernet => self.within(Next::Ethernet, at),
                Next::EtherType(ethertype) => {
                    let content = link::content(self.visible(), at, ethertype, &|_| None);
                    self.enter_content(&content, builtin::OPAQUE)
                }
                Next::Ppp => {
                    let content = link::ppp(self.visible(), at, self.end);
                    self.enter_content(&content, builtin::OPAQUE)
                }
                Next::Ip | Next::InnerIp => match (self.visible().get(at).map(|byte| byte >> 4), next) {
                    (Some(4), Next::Ip) => (Next::Ipv4, at),
                    (Some(6), Next::Ip) => (Next::Ipv6, at),
                    (Some(4), _) => (Next::InnerIpv4, at),
                    (Some(6), _) => (Next::InnerIpv6, at),
                    (Some(_), _) => self.malformed(Event::IpVersion, builtin::OPAQUE, at, 1),
                    (None, _) => self.short(Event::Ipv4Short, builtin::IPV4, at, 20),
                },
                Next::InnerIpv4 => self.within(Next::Ipv4, at),
                Next::InnerIpv6 => self.within(Next::Ipv6, at),
                Next::Ipv4 => network::ipv4(self, at),
                Next::Ipv6 => network::ipv6(self, at),
                Next::Number(host, number) => (network::content(self, host, number), at),
                Next::Tcp => transport::tcp(self, at),
                Next::Udp => transport::udp(self, at),
                Next::Icmp(header) => transport::icmp(self, at, usize::from(header)),
                Next::Gre => tunnel::gre(self, at),
                Next::Vxlan => tunnel::vxlan(self, at),
                Next::Geneve => tunnel::geneve(self, at),
                Next::Gtp => tunnel::gtp(self, at),
                Next::Rest(protocol) => {
                    self.add(protocol, at, self.end);
                    return None;
                }
            };
        }
    }

    /// The bytes up to the end of the packet as far as known.
    pub fn visible(&self) -> &'a [u8] {
        &self.data[..self.end]
    }

    /// Adds a layer; `false` if the packet has too many.
    pub fn add(&mut self, protocol: ProtocolId, start: usize, end: usize) -> bool {
        let index = self.layers.len() - self.first;
        if index >= MAX_LAYERS {
            self.counters.add(Event::LayerLimit);
            return false;
        }
        if let Some(outermost) = self.outermost.get_mut(usize::from(protocol.0))
            && *outermost == 0xFF
        {
            *outermost = index as u8;
        }
        self.layers.push(Layer { protocol, offset: start as u32, len: end.saturating_sub(start) as u32 });
        true
    }

    /// The packet ends before `at + needed`: cut by the snap length, or malformed.
    pub fn short(&mut self, event: Event, layer: ProtocolId, at: usize, needed: usize) -> (Next, usize) {
        if self.is_cut() {
            self.counters.add(Event::SnaplenCut);
        } else {
            self.note(event, layer, at, needed);
        }
        (Next::Stop, at)
    }

    /// A header is wrong whatever follows it.
    pub fn malformed(&mut self, event: Event, layer: ProtocolId, at: usize, needed: usize) -> (Next, usize) {
        self.note(event, layer, at, needed);
        (Next::Stop, at)
    }

    /// Counts a wrong header without stopping at it.
    pub fn note(&mut self, event: Event, layer: ProtocolId, at: usize, needed: usize) {
        self.counters.add(event);
        let found = self.end.saturating_sub(at) as u32;
        *self.last_malformed = Some(Malformed { event, layer, offset: at as u32, needed: needed as u32, found });
    }

    /// Counts something that ends decoding and is nobody's fault.
    pub fn stop(&mut self, event: Event, at: usize) -> (Next, usize) {
        self.counters.add(event);
        (Next::Stop, at)
    }

    /// The packet is the first of several fragments; what it lacks comes in the others.
    pub fn first_fragment(&mut self) {
        self.fragmented = true;
        self.counters.add(Event::FirstFragment);
    }

    /// True if the bytes end where the capture was cut, so that what is missing was on the wire.
    pub fn is_cut(&self) -> bool {
        self.end == self.data.len() && (self.data.len() as u64) < u64::from(self.wirelen)
    }

    /// Ends the packet where a length field says, `claimed` being beyond `at`. A claim beyond the bytes there are is
    /// counted, unless they are cut or a fragment.
    pub fn limit(&mut self, claimed: usize, event: Event, layer: ProtocolId, at: usize) {
        if claimed <= self.end {
            self.end = claimed;
        } else if !self.is_cut() && !self.fragmented {
            self.note(event, layer, at, claimed - at);
        }
    }

    fn link(&mut self, linktype: LinkType) -> (Next, usize) {
        match linktype {
            LinkType::ETHERNET => self.ethernet(0),
            LinkType::RAW | link::RAW_BSD | link::RAW_OPENBSD => (Next::Ip, 0),
            LinkType::IPV4 => (Next::Ipv4, 0),
            LinkType::IPV6 => (Next::Ipv6, 0),
            _ => {
                let content = match linktype {
                    LinkType::IEEE802_11 => ieee80211::frame(self.data, 0, ieee80211::Padding::None),
                    LinkType::IEEE802_11_RADIOTAP => ieee80211::radiotap(self.data),
                    _ => match link::other(linktype, self.data) {
                        Some(content) => content,
                        None => return self.unknown_link(),
                    },
                };
                self.layered_content(&content, builtin::LINK, 0)
            }
        }
    }

    /// A packet of which nobody knows where its headers are: all bytes are one layer.
    fn unknown_link(&mut self) -> (Next, usize) {
        self.counters.add(Event::UnknownLinkType);
        (if self.data.is_empty() { Next::Stop } else { Next::Rest(builtin::OPAQUE) }, 0)
    }

    fn ethernet(&mut self, at: usize) -> (Next, usize) {
        let registry = self.registry;
        let content = link::ethernet(self.visible(), at, &|ethertype| registry.ethertype(ethertype));
        self.layered_content(&content, builtin::ETHERNET, at)
    }

    /// Adds the link layer that ends where its content starts.
    fn layered_content(&mut self, content: &Content, protocol: ProtocolId, start: usize) -> (Next, usize) {
        if content.at > start && !self.add(protocol, start, content.at) {
            return (Next::Stop, start);
        }
        self.enter_content(content, protocol)
    }

    fn enter_content(&mut self, content: &Content, layer: ProtocolId) -> (Next, usize) {
        if let Some((event, needed)) = content.short {
            return self.short(event, layer, content.at, needed);
        }
        if let Some(event) = content.event {
            self.counters.add(event);
        }
        self.end = self.end.min(content.end);
        (content.next, content.at)
    }

    /// Goes one tunnel deeper, unless that is too deep.
    fn within(&mut self, next: Next, at: usize) -> (Next, usize) {
        if self.tunnels >= MAX_TUNNELS {
            return self.stop(Event::TunnelLimit, at);
        }
        self.tunnels += 1;
        (next, at)
    }
}
