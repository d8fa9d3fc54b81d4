//! Who talks to whom: addresses, ports, protocol, and the numbers that tell flows apart.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use super::json::{Object, push_count};
use super::proto_name::proto_name;
use crate::key::{End, FlowText, FlowTuple, Host, IpVersion, has_ports, parse_port};
use crate::metrics::FlowFacts;

/// Length of a community id: the version and a hash of twenty bytes.
const COMMUNITY_ID: usize = 2 + 28;

/// A flow, looked at from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub tuple: FlowTuple,
    /// Who sends what the event is about.
    pub source: End,
}

/// What tells a flow apart in events: made once for a flow, it costs more than the rest of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    flow_id: u64,
    community_id: Option<[u8; COMMUNITY_ID]>,
    /// Type and code of the first message, of ICMP.
    icmp: Option<[u8; 2]>,
}

impl Identity {
    /// The number of the flow.
    pub fn flow_id(&self) -> u64 {
        self.flow_id
    }

    /// Its community id, if it has one.
    pub fn community_id(&self) -> Option<&[u8; COMMUNITY_ID]> {
        self.community_id.as_ref()
    }

    /// Type and code of its first message, if it is of ICMP and these are known.
    pub fn write_icmp(&self, object: &mut Object<'_>) {
        if let Some([kind, code]) = self.icmp {
            object.count("icmp_type", u64::from(kind));
            object.count("icmp_code", u64::from(code));
        }
    }
}

impl Ends {
    /// What tells the flow apart, of which these things are known.
    pub fn identity(&self, facts: FlowFacts) -> Identity {
        Identity { flow_id: self.flow_id(), community_id: self.community_id(facts), icmp: facts.icmp }
    }

    /// Of a flow id; without knowledge of the client it is the A end, whose port is the higher one.
    pub fn of_id(id: &[u8], client: Option<End>) -> Option<Self> {
        let tuple = FlowTuple::from_id(id).or_else(|| of_text(&FlowText::new(id)))?;
        Some(Self { tuple, source: client.unwrap_or(End::A) })
    }

    /// The number of the flow: the same for all events of it, and small enough for every reader of JSON.
    fn flow_id(&self) -> u64 {
        let FlowTuple { a, z, port_a, port_z, proto, version } = &self.tuple;
        let ports = [port_a.to_be_bytes(), port_z.to_be_bytes()];
        let bytes = a.iter().chain(z).chain(ports.as_flattened()).chain([proto]).copied().chain([*version as u8]);
        let mut hash =
            bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        // The low bits of this hash are good, the high ones are not.
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> 11).max(1)
    }

    /// Addresses, ports and protocol.
    pub fn write(&self, object: &mut Object<'_>) {
        if self.tuple != FlowTuple::NO_IP {
            self.write_addresses(object);
            object.text("proto", proto_name(self.tuple.proto).as_bytes());
        }
    }

    /// Addresses and ports.
    pub fn write_addresses(&self, object: &mut Object<'_>) {
        let Self { tuple, source } = *self;
        let has_ports = has_ports(tuple.proto);
        for (end, ip, port) in [(source, "src_ip", "src_port"), (source.other(), "dest_ip", "dest_port")] {
            match tuple.host(end) {
                Host::V4(bytes) => object.raw(ip, |out| push_v4(out, bytes)),
                host => object.text(ip, host.readable().as_bytes()),
            }
            if has_ports {
                object.count(port, u64::from(tuple.port(end)));
            }
        }
    }

    /// Community ID, version 1, seed 0: a hash of the five-tuple with the smaller end first. None for ICMP of which the
    /// first message is not known.
    fn community_id(&self, facts: FlowFacts) -> Option<[u8; COMMUNITY_ID]> {
        let tuple = &self.tuple;
        let len = if tuple.version == IpVersion::V4 { 4 } else { 16 };
        let (mut a, mut z) = ((&tuple.a[..len], tuple.port_a), (&tuple.z[..len], tuple.port_z));
        let is_icmp = matches!(tuple.proto, 1 | 58);
        let (first, second) = match (is_icmp, facts.client, facts.icmp) {
            _ if tuple.proto == 0 => return None,
            (false, ..) => {
                if a <= z {
                    (a, z)
                } else {
                    (z, a)
                }
            }
            (true, Some(sender), Some([kind, code])) => {
                let answer = icmp_answer(tuple.proto, kind);
                let ports = (u16::from(kind), u16::from(answer.unwrap_or(code)));
                (a.1, z.1) = if sender == End::A { ports } else { (ports.1, ports.0) };
                // What has no answer goes one way, from its sender.
                let a_is_first = if answer.is_some() { a <= z } else { sender == End::A };
                if a_is_first { (a, z) } else { (z, a) }
            }
            (true, ..) => return None,
        };
        let mut hash = Sha1::new();
        hash.update([0, 0]);
        hash.update(first.0);
        hash.update(second.0);
        hash.update([tuple.proto, 0]);
        if is_icmp || has_ports(tuple.proto) {
            hash.update(first.1.to_be_bytes());
            hash.update(second.1.to_be_bytes());
        }
        let mut id = [0; COMMUNITY_ID];
        id[..2].copy_from_slice(b"1:");
        BASE64.encode_mut(&hash.finalize(), &mut id[2..]);
        Some(id)
    }
}

/// The type of messages that answer those of a type, or that those answer.
fn icmp_answer(proto: u8, kind: u8) -> Option<u8> {
    const V4: &[(u8, u8)] = &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
    const V6: &[(u8, u8)] = &[(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];
    let pairs = if proto == 1 { V4 } else { V6 };
    let answer = |&(ask, answer): &(u8, u8)| match kind {
        kind if kind == ask => Some(answer),
        kind if kind == answer => Some(ask),
        _ => None,
    };
    pairs.iter().find_map(answer)
}

/// An address in quotes.
fn push_v4(out: &mut Vec<u8>, bytes: [u8; 4]) {
    out.push(b'"');
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        push_count(out, u64::from(byte));
    }
    out.push(b'"');
}

/// A flow id with NetFlow fields, or in small letters.
fn of_text(text: &FlowText<'_>) -> Option<FlowTuple> {
    let address = |text: &str| match Host::from_key(text.as_bytes())? {
        Host::V4([a, b, c, d]) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&[a, b, c, d]);
            Some((bytes, IpVersion::V4))
        }
        Host::V6(bytes) => Some((bytes, IpVersion::V6)),
    };
    let ((a, version), (z, other)) = (address(text.ipa())?, address(text.ipz())?);
    // A token in place of a port is none.
    let port = |text: &str| parse_port(text.as_bytes()).unwrap_or(0);
    let (port_a, port_z) = (port(text.porta()), port(text.portz()));
    (version == other).then_some(FlowTuple { a, z, port_a, port_z, proto: text.protocol_number()?, version })
}

#[cfg(test)]
mod tests {
    use super::Ends;
    use crate::key::{End, FlowTuple};
    use crate::metrics::FlowFacts;

    #[test]
    fn community_ids_are_those_of_the_specification() {
        let tcp = FlowTuple::v4(6, [128, 232, 110, 120], [66, 35, 250, 204], 34_855, 80).0;
        let id = |tuple| Ends { tuple, source: End::A }.community_id(FlowFacts::default());
        assert_eq!(id(tcp), Some(*b"1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
        let udp = FlowTuple::v4(17, [192, 168, 1, 52], [8, 8, 8, 8], 54_585, 53).0;
        assert_eq!(id(udp), Some(*b"1:d/FP5EW3wiY1vCndhwleRRKHowQ="));
        assert_eq!(id(FlowTuple::v4(1, [1; 4], [2; 4], 0, 0).0), None);
    }

    #[test]
    fn community_ids_of_icmp_are_the_same_for_questions_and_answers() {
        let id = |tuple: (FlowTuple, End), icmp| {
            let (tuple, sender) = tuple;
            let facts = FlowFacts { client: Some(sender), icmp: Some(icmp), origin: None };
            String::from_utf8(Ends { tuple, source: End::A }.community_id(facts).unwrap().to_vec()).unwrap()
        };
        let (here, there) = ([192, 168, 0, 89], [192, 168, 0, 1]);
        let (forth, back) = (FlowTuple::v4(1, here, there, 0, 0), FlowTuple::v4(1, there, here, 0, 0));
        assert_eq!(id(forth, [8, 0]), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(id(back, [0, 0]), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        // Nobody answers that a port is not reachable.
        assert_eq!(id(back, [3, 3]), "1:ZouhgnVac3AK62b9tKlLG4N+dVQ=");
        assert_ne!(id(forth, [3, 3]), id(back, [3, 3]));
    }

    #[test]
    fn a_flow_has_one_number_whatever_end_is_looked_from() {
        let id = b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016";
        let (one, other) = (Ends::of_id(id, None).unwrap(), Ends::of_id(id, Some(End::Z)).unwrap());
        assert_eq!(one.flow_id(), other.flow_id());
        assert!((1..1 << 53).contains(&one.flow_id()));
        assert_ne!(one.flow_id(), Ends::of_id(b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0017", None).unwrap().flow_id());
        assert!(Ends::of_id(b"no flow", None).is_none());
    }
}
