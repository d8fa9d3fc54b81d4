//! Gathers what the groups need to know of the packets of a stretch, and the flows that begin and end in it.

use super::sight::{Change, IpSight, Macs, Opening, Side, Sight, Turn, Way, lower_port};
use crate::decode;
use crate::flow::{Flow, FlowEvent, FlowEvents, FlowHandle, FlowLookup, Flows, Happening, PacketFlow};
use crate::key::{End, FlowTuple, HomeNets, Host, has_ports};
use crate::memory::{lengthen, prefetch};
use crate::packet::{Batch, Layer, LinkType, Packet, builtin};

/// Packets of a batch that all lie in the same buckets.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// First packet.
    pub from: usize,
    /// The packet behind the last one.
    pub to: usize,
    /// The flow events of the whole batch.
    pub events: &'a [FlowEvent],
}

/// What metering reads of the flow stage.
pub trait FlowView: FlowLookup {
    /// The flow of a packet of the batch.
    fn of_packet(&self, index: usize) -> Option<PacketFlow>;
}

impl FlowView for Flows {
    #[inline]
    fn of_packet(&self, index: usize) -> Option<PacketFlow> {
        Self::of_packet(self, index)
    }
}

/// Events between asking for a flow and looking at it.
const AHEAD: usize = 12;

/// The application of a flow.
#[derive(Clone, Copy, Debug, Default)]
struct Application {
    /// Of its packets.
    port: u16,
    /// What it was when the flow began: counts of active flows go down where they went up.
    counted: u16,
    /// A SYN said which end is the server.
    is_certain: bool,
}

/// Keeps what is remembered of each flow.
#[derive(Debug)]
pub(super) struct Survey {
    home: HomeNets,
    /// By slot of the flow table, which bounds it.
    applications: Vec<Application>,
}

impl Survey {
    pub fn new(home: HomeNets) -> Self {
        Self { home, applications: Vec::new() }
    }

    /// Fills `sights` and `changes`.
    pub fn run<F: FlowView>(
        &mut self,
        stretch: &Stretch<'_>,
        flows: &F,
        sights: &mut Vec<Sight>,
        changes: &mut Vec<Change>,
    ) {
        let Stretch { batch, from, to, events } = *stretch;
        // All at once: one at a time, each would wait for the memory.
        let slots = (from..to).filter_map(|index| flows.of_packet(index)).map(|of| of.flow.slot as usize);
        slots.filter_map(|slot| self.applications.get(slot)).for_each(prefetch);
        let first = events.partition_point(|event| (event.packet as usize) < from);
        let mut ahead = events[first..].iter().skip(AHEAD);
        let mut events = events[first..].iter().peekable();
        for (index, packet) in batch.packets().iter().enumerate().take(to).skip(from) {
            let of = flows.of_packet(index);
            sights.push(Sight::NONE);
            let Some(sight) = sights.last_mut() else { continue };
            self.sight(batch, packet, of, flows, sight);
            while let Some(event) = events.next_if(|event| event.packet as usize <= index) {
                if let Some(later) = ahead.next().filter(|event| is_turn(event)) {
                    flows.prefetch(later.flow);
                }
                self.event(event, sight.ip.as_ref(), flows, changes);
            }
            if let Some(ip) = &mut sight.ip
                && let Some(of) = of
            {
                self.correct(ip, of.flow);
            }
        }
    }

    /// Fills `changes` from events that no packet led to.
    pub fn without_packets(&mut self, events: &[FlowEvent], flows: &impl FlowLookup, changes: &mut Vec<Change>) {
        for event in events.iter().filter(|event| event.packet == FlowEvents::NO_PACKET) {
            self.event(event, None, flows, changes);
        }
    }

    fn event(
        &mut self,
        event: &FlowEvent,
        packet: Option<&IpSight>,
        flows: &impl FlowLookup,
        changes: &mut Vec<Change>,
    ) {
        let what = match event.what {
            Happening::New => Turn::Began,
            Happening::End { reason } => Turn::Ended(reason),
            _ => return,
        };
        let Some(flow) = flows.flow(event.flow) else { return };
        let slot = event.flow.slot as usize;
        if what == Turn::Began {
            lengthen(&mut self.applications, slot + 1, Application::default());
            self.applications[slot] = application(flow, packet);
        }
        let counted = self.applications.get(slot).map(|application| application.counted);
        let app = counted.filter(|_| has_ports(flow.tuple.proto));
        changes.push(Change { tuple: flow.tuple, what, app });
    }

    /// Gives a packet the application of its flow.
    #[inline]
    fn correct(&mut self, ip: &mut IpSight, flow: FlowHandle) {
        let Some(application) = self.applications.get_mut(flow.slot as usize) else { return };
        if ip.app.is_none() {
            return;
        }
        if ip.opening == Opening::Syn && !application.is_certain {
            application.port = ip.ports.1;
            application.is_certain = true;
        }
        ip.app = Some(application.port);
    }

    /// Tells what is to be known of a packet. It is written where it stays: copies of what was just put together wait for
    /// it.
    #[inline]
    fn sight<F: FlowView>(&self, batch: &Batch, packet: &Packet, of: Option<PacketFlow>, flows: &F, sight: &mut Sight) {
        let data = batch.packet_bytes(packet);
        let v4 = packet.outermost[usize::from(builtin::IPV4.0)];
        let v6 = packet.outermost[usize::from(builtin::IPV6.0)];
        let mut of_ip = 0;
        if let Some(layer) = batch.layers(packet).get(usize::from(v4.min(v6))) {
            let frequent = if v4 < v6 { whole_v4(data, layer) } else { None };
            if let Some(Whole4 { source, destination, proto, ports }) = frequent {
                let ends = Ends {
                    source: Host::V4(source),
                    destination: Host::V4(destination),
                    proto,
                    ports,
                    is_fragment: false,
                };
                sight.ip = Some(self.ip(batch, packet, data, layer, ends));
                of_ip = 0x0800;
            } else {
                sight.ip = self.any_ip(batch, packet, of, flows, layer);
                of_ip = match &sight.ip {
                    Some(IpSight { source: Host::V4(_), .. }) => 0x0800,
                    Some(_) => 0x86DD,
                    None => 0,
                };
            }
        }
        let (ethertype, vlan, macs) = link(data, packet.linktype);
        sight.ethertype = if ethertype == 0 && packet.linktype != LinkType::ETHERNET { of_ip } else { ethertype };
        (sight.vlan, sight.macs) = (vlan, macs);
        (sight.wire, sight.origin) = (packet.wirelen, packet.origin);
    }

    #[inline(never)]
    fn any_ip<F: FlowView>(
        &self,
        batch: &Batch,
        packet: &Packet,
        of: Option<PacketFlow>,
        flows: &F,
        layer: &Layer,
    ) -> Option<IpSight> {
        let data = batch.packet_bytes(packet);
        let is_v6 = packet.outermost[usize::from(builtin::IPV4.0)] > packet.outermost[usize::from(builtin::IPV6.0)];
        let whole = if is_v6 { whole_v6(data, layer) } else { None };
        let ends = whole.or_else(|| self::ends(batch, packet, of, flows))?;
        Some(self.ip(batch, packet, data, layer, ends))
    }

    #[inline(always)]
    fn ip(&self, batch: &Batch, packet: &Packet, data: &[u8], layer: &Layer, ends: Ends) -> IpSight {
        let content = (layer.offset + layer.len) as usize;
        let starts_here = |protocol| batch.find_layer(packet, protocol).filter(|l| l.offset as usize == content);
        let opening = match ends.proto {
            6 if starts_here(builtin::TCP).is_some() => Opening::of_flags(data.get(content + 13).copied().unwrap_or(0)),
            _ => Opening::None,
        };
        let icmp = match ends.proto {
            1 | 58 if starts_here(builtin::ICMP).is_some() => match data.get(content..content + 2) {
                Some(&[kind, code]) => Some((kind, code)),
                _ => None,
            },
            _ => None,
        };
        let side = |host| Side::from(self.home.contains_host(host));
        IpSight {
            source: ends.source,
            destination: ends.destination,
            proto: ends.proto,
            way: Way::of(side(ends.source), side(ends.destination)),
            ports: ends.ports,
            app: lower_port(ends.proto, ends.ports),
            opening,
            icmp,
            is_fragment: ends.is_fragment,
        }
    }
}

/// Whether a flow begins or ends.
#[inline]
const fn is_turn(event: &FlowEvent) -> bool {
    matches!(event.what, Happening::New | Happening::End { .. })
}

/// The application of a new flow, from its first packet: where a SYN goes to, else the lower port.
fn application(flow: &Flow, packet: Option<&IpSight>) -> Application {
    let tuple = &flow.tuple;
    let (port, is_certain) = match packet {
        Some(IpSight { opening: Opening::Syn, ports, .. }) => (ports.1, true),
        _ => (tuple.port_a.min(tuple.port_z), false),
    };
    Application { port, counted: port, is_certain }
}

/// Who sends a packet to whom.
#[derive(Clone, Copy)]
struct Ends {
    source: Host,
    destination: Host,
    proto: u8,
    ports: (u16, u16),
    is_fragment: bool,
}

/// The same of a whole IPv4 packet.
struct Whole4 {
    source: [u8; 4],
    destination: [u8; 4],
    proto: u8,
    ports: (u16, u16),
}

/// Of the most frequent packets: IPv4 without fragmentation, its ports in place. Declines everything else.
#[inline(always)]
fn whole_v4(data: &[u8], layer: &Layer) -> Option<Whole4> {
    let start = layer.offset as usize;
    let header: &[u8; 20] = data.get(start..)?.first_chunk()?;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if u16::from_be_bytes([header[6], header[7]]) & 0x3FFF != 0 {
        return None;
    }
    let proto = header[9];
    let ports = if has_ports(proto) {
        if total < layer.len + 4 {
            return None;
        }
        ports(data, start + layer.len as usize)?
    } else {
        (0, 0)
    };
    let source = [header[12], header[13], header[14], header[15]];
    let destination = [header[16], header[17], header[18], header[19]];
    Some(Whole4 { source, destination, proto, ports })
}

/// IPv6 without extension headers, its ports in place.
#[inline]
fn whole_v6(data: &[u8], layer: &Layer) -> Option<Ends> {
    let start = layer.offset as usize;
    let header: &[u8; 40] = data.get(start..)?.first_chunk()?;
    let proto = header[6];
    if layer.len != 40 || !(has_ports(proto) || proto == 58) {
        return None;
    }
    let ports = if has_ports(proto) {
        if u16::from_be_bytes([header[4], header[5]]) < 4 {
            return None;
        }
        ports(data, start + 40)?
    } else {
        (0, 0)
    };
    let source = Host::V6(*header[8..].first_chunk()?);
    let destination = Host::V6(*header[24..].first_chunk()?);
    Some(Ends { source, destination, proto, ports, is_fragment: false })
}

#[inline]
fn ports(data: &[u8], at: usize) -> Option<(u16, u16)> {
    let &[s0, s1, d0, d1] = data.get(at..)?.first_chunk()?;
    Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
}

/// Of any packet, from its flow.
#[cold]
fn ends<F: FlowView>(batch: &Batch, packet: &Packet, of: Option<PacketFlow>, flows: &F) -> Option<Ends> {
    let known = of.and_then(|of| Some((flows.flow(of.flow)?.tuple, of.sender)));
    let (tuple, sender): (FlowTuple, End) = known.unwrap_or_else(|| decode::flow_tuple(batch, packet));
    if tuple == FlowTuple::NO_IP {
        return None;
    }
    let receiver = sender.other();
    Some(Ends {
        source: tuple.host(sender),
        destination: tuple.host(receiver),
        proto: tuple.proto,
        ports: (tuple.port(sender), tuple.port(receiver)),
        is_fragment: decode::fragment_info(batch, packet).is_some(),
    })
}

/// EtherType, id of the outermost VLAN tag, addresses.
#[inline]
fn link(data: &[u8], linktype: LinkType) -> (u16, Option<u16>, Option<Macs>) {
    let word = |at: usize| data.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    match linktype {
        LinkType::ETHERNET => {
            let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1]) = data.first_chunk::<14>() else {
                return (0, None, None);
            };
            let macs = Macs { destination: [d0, d1, d2, d3, d4, d5], source: [s0, s1, s2, s3, s4, s5] };
            let (ethertype, vlan) = match u16::from_be_bytes([t0, t1]) {
                tag @ (0x8100 | 0x88A8 | 0x9100 | 0x9200) => (tag, word(14).map(|tag| tag & 0x0FFF)),
                // A length (IEEE 802.3); the type, if any, stands behind LLC and SNAP headers.
                0..0x0600 => match data.get(14..20) {
                    Some([0xAA, 0xAA, 3, 0, 0, 0 | 0xF8]) => (word(20).unwrap_or(0), None),
                    _ => (0, None),
                },
                ethertype => (ethertype, None),
            };
            (ethertype, vlan, Some(macs))
        }
        LinkType::LINUX_SLL => (word(14).filter(|&t| t >= 0x0600).unwrap_or(0), None, None),
        LinkType::LINUX_SLL2 => (word(0).filter(|&t| t >= 0x0600).unwrap_or(0), None, None),
        _ => (0, None, None),
    }
}
