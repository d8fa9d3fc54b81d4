//! The identity of a flow found in packets.

use super::{Host, Inline, hex, host};

/// Text of a flow id of type A or B.
pub type FlowIdText = Inline<87>;

/// IP version of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum IpVersion {
    /// IPv4: addresses use the first four bytes, the others are zero.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The first end of the id: the higher port, normally the client.
    A,
    /// The second end of the id: the lower port, normally the server.
    Z,
}

impl End {
    /// The other one.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::Z,
            Self::Z => Self::A,
        }
    }
}

/// Protocol, addresses and ports of a flow in A/Z order; it and the text of its id (types A and B) determine each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlowTuple {
    /// Address of the A end.
    pub a: [u8; 16],
    /// Address of the Z end.
    pub z: [u8; 16],
    /// Port of the A end.
    pub port_a: u16,
    /// Port of the Z end.
    pub port_z: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Version of both addresses.
    pub version: IpVersion,
}

/// True for IP protocols whose flows have ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
#[inline]
#[must_use]
pub const fn has_ports(proto: u8) -> bool {
    matches!(proto, 6 | 17 | 33 | 132 | 136)
}

impl FlowTuple {
    /// The identity of everything that is not IP: `00A:00.00.00.00:p-0000_00.00.00.00:p-0000`.
    pub const NO_IP: Self = Self { a: [0; 16], z: [0; 16], port_a: 0, port_z: 0, proto: 0, version: IpVersion::V4 };

    /// The flow of an IPv4 packet, and which end sent the packet. Ports are 0 for protocols without.
    #[inline(always)]
    #[must_use]
    pub fn v4(proto: u8, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> (Self, End) {
        let sender = end_of_source(sport, dport, u32::from_be_bytes(src), u32::from_be_bytes(dst));
        // The choice is made before widening: choosing between sixteen bytes just put together costs 10 ns.
        let ((a, port_a), (z, port_z)) = in_order((src, sport), (dst, dport), sender);
        (Self { a: widen(a), z: widen(z), port_a, port_z, proto, version: IpVersion::V4 }, sender)
    }

    /// The flow of an IPv6 packet, and which end sent the packet. Ports are 0 for protocols without.
    #[inline]
    #[must_use]
    pub fn v6(proto: u8, src: [u8; 16], dst: [u8; 16], sport: u16, dport: u16) -> (Self, End) {
        let sender = end_of_source(sport, dport, u128::from_be_bytes(src), u128::from_be_bytes(dst));
        let ((a, port_a), (z, port_z)) = in_order((src, sport), (dst, dport), sender);
        (Self { a, z, port_a, port_z, proto, version: IpVersion::V6 }, sender)
    }

    /// Address and port of one end of the flow of an IPv4 packet, without putting the whole together: copies of parts just
    /// written wait for them.
    #[inline]
    #[must_use]
    pub fn v4_end(end: End, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> ([u8; 4], u16) {
        // As numbers: chosen between as arrays they would be put together byte by byte.
        let (src, dst) = (u32::from_be_bytes(src), u32::from_be_bytes(dst));
        let (address, port) = if end_of_source(sport, dport, src, dst) == end { (src, sport) } else { (dst, dport) };
        (address.to_be_bytes(), port)
    }

    /// The address of an end.
    #[inline]
    #[must_use]
    pub fn host(&self, end: End) -> Host {
        let bytes = match end {
            End::A => self.a,
            End::Z => self.z,
        };
        match self.version {
            IpVersion::V4 => Host::V4([bytes[0], bytes[1], bytes[2], bytes[3]]),
            IpVersion::V6 => Host::V6(bytes),
        }
    }

    /// The port of an end.
    #[inline]
    #[must_use]
    pub const fn port(&self, end: End) -> u16 {
        match end {
            End::A => self.port_a,
            End::Z => self.port_z,
        }
    }

    /// Four words that say what the tuple of an IPv4 flow says: the addresses, both ports, the protocol.
    #[inline]
    #[must_use]
    pub fn v4_words(&self) -> Option<[u32; 4]> {
        let (Host::V4(a), Host::V4(z)) = (self.host(End::A), self.host(End::Z)) else { return None };
        let ports = u32::from(self.port_a) << 16 | u32::from(self.port_z);
        Some([u32::from_be_bytes(a), u32::from_be_bytes(z), ports, u32::from(self.proto)])
    }

    /// The tuple whose [`FlowTuple::v4_words`] these are; some tuple for any others.
    #[must_use]
    pub fn from_v4_words([a, z, ports, protocol]: [u32; 4]) -> Self {
        let (port_a, port_z) = ((ports >> 16) as u16, ports as u16);
        let (a, z) = (widen(a.to_be_bytes()), widen(z.to_be_bytes()));
        Self { a, z, port_a, port_z, proto: protocol as u8, version: IpVersion::V4 }
    }

    /// Appends the flow as [`FlowTuple::unpack`] reads it: 16 bytes of IPv4, 40 of IPv6.
    // From registers: to move bytes that were written in other portions just now takes ten times as long.
    #[inline]
    pub fn pack(&self, out: &mut Vec<u8>) {
        let pair = |high: u32, low: u32| (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
        if let Some([a, z, ports, protocol]) = self.v4_words() {
            out.extend_from_slice(&pair(a, z));
            out.extend_from_slice(&pair(ports, protocol));
            return;
        }
        out.extend_from_slice(&self.a);
        out.extend_from_slice(&self.z);
        let ports = u32::from(self.port_a) << 16 | u32::from(self.port_z);
        out.extend_from_slice(&pair(ports, u32::from(self.proto)));
    }

    /// The flow that was packed into these bytes; `None` for bytes of another length.
    #[must_use]
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let (hosts, last) = bytes.split_last_chunk::<8>()?;
        let words = |pair: &[u8; 8]| {
            let pair = u64::from_le_bytes(*pair);
            [(pair >> 32) as u32, pair as u32]
        };
        let [ports, protocol] = words(last);
        if let Ok(pair) = <&[u8; 8]>::try_from(hosts) {
            let [a, z] = words(pair);
            return Some(Self::from_v4_words([a, z, ports, protocol]));
        }
        let (a, z) = hosts.split_first_chunk::<16>()?;
        let (port_a, port_z) = ((ports >> 16) as u16, ports as u16);
        Some(Self { a: *a, z: z.try_into().ok()?, port_a, port_z, proto: protocol as u8, version: IpVersion::V6 })
    }

    /// The flow id.
    #[must_use]
    pub fn id(&self) -> FlowIdText {
        let mut text = FlowIdText::new();
        text.push_hex(self.proto);
        text.push_ascii(match self.version {
            IpVersion::V4 => b"A:",
            IpVersion::V6 => b"B:",
        });
        self.host(End::A).push_key(&mut text);
        text.push_ascii(b":");
        host::push_port(&mut text, self.port_a);
        text.push_ascii(b"_");
        self.host(End::Z).push_key(&mut text);
        text.push_ascii(b":");
        host::push_port(&mut text, self.port_z);
        text
    }

    /// The tuple whose [`FlowTuple::id`] is exactly this text; `None` for every other text.
    ///
    /// The ends stay as written: ids that scripts build are never reordered, so the result may violate the order that
    /// flows found in packets have, and is then another flow.
    #[must_use]
    pub fn from_id(text: &[u8]) -> Option<Self> {
        let (version, host_len, total) = match text.get(2)? {
            b'A' => (IpVersion::V4, 11, 41),
            b'B' => (IpVersion::V6, 32, 83),
            _ => return None,
        };
        if text.len() != total || text[3] != b':' {
            return None;
        }
        let [proto] = hex::decode::<1, 2, 2>(text.first_chunk()?, &hex::UPPER)?;
        let end = |from: usize| {
            let address = match Host::from_key_digits(&text[from..from + host_len], &hex::UPPER)? {
                Host::V4(bytes) => widen(bytes),
                Host::V6(bytes) => bytes,
            };
            let at = from + host_len;
            let port = host::parse_port_digits(&text[at + 1..at + 7], &hex::UPPER)?;
            (text[at] == b':').then_some((address, port))
        };
        let second = 4 + host_len + 8;
        let (a, port_a) = end(4)?;
        let (z, port_z) = end(second)?;
        (text[second - 1] == b'_').then_some(Self { a, z, port_a, port_z, proto, version })
    }
}

/// The rule: the higher port, or else the lower address, is the A end.
#[inline]
fn end_of_source<T: Ord>(sport: u16, dport: u16, src: T, dst: T) -> End {
    let is_a = if sport == dport { src <= dst } else { sport > dport };
    if is_a { End::A } else { End::Z }
}

/// Source and destination as A and Z end.
#[inline]
fn in_order<T>(source: T, destination: T, sender: End) -> (T, T) {
    match sender {
        End::A => (source, destination),
        End::Z => (destination, source),
    }
}

/// Four bytes and twelve zeros, in registers.
#[inline]
fn widen(bytes: [u8; 4]) -> [u8; 16] {
    u128::from(u32::from_le_bytes(bytes)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{End, FlowTuple, Host, IpVersion};

    fn v6(text: &str) -> [u8; 16] {
        match Host::from_readable(text) {
            Some(Host::V6(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ids_of_the_contract() {
        let (ssh, source) = FlowTuple::v4(6, [192, 168, 1, 2], [209, 216, 249, 58], 2964, 22);
        assert_eq!(ssh.id(), "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016");
        assert_eq!(source, End::A);
        let (mdns, _) = FlowTuple::v6(17, v6("fe80::ba2a:72ff:fecc:5e33"), v6("ff02::fb"), 5353, 5353);
        assert_eq!(mdns.id(), "11B:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF0200000000000000000000000000FB:p-14E9");
        let (ping, source) = FlowTuple::v4(1, [10, 0, 0, 9], [10, 0, 0, 1], 0, 0);
        assert_eq!(ping.id(), "01A:0A.00.00.01:p-0000_0A.00.00.09:p-0000");
        assert_eq!(source, End::Z);
        assert_eq!(FlowTuple::NO_IP.id(), "00A:00.00.00.00:p-0000_00.00.00.00:p-0000");
    }

    #[test]
    fn only_the_exact_text_is_a_tuple() {
        let id = "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016";
        assert!(FlowTuple::from_id(id.as_bytes()).is_some());
        for at in 0..id.len() {
            let mut other = id.as_bytes().to_vec();
            other[at] = b'*';
            assert_eq!(FlowTuple::from_id(&other), None, "{at}");
        }
        assert_eq!(FlowTuple::from_id(id.to_lowercase().as_bytes()), None);
        assert_eq!(FlowTuple::from_id(b""), None);
    }

    #[test]
    fn ends_built_by_scripts_are_not_reordered() {
        let reversed = "06A:D1.D8.F9.3A:p-0016_C0.A8.01.02:p-0B94";
        assert_eq!(FlowTuple::from_id(reversed.as_bytes()).unwrap().id(), reversed);
    }

    proptest! {
        #[test]
        fn both_directions_are_one_flow(proto: u8, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) {
            let (forth, sender) = FlowTuple::v4(proto, src, dst, sport, dport);
            let (back, answerer) = FlowTuple::v4(proto, dst, src, dport, sport);
            assert_eq!(forth, back);
            if (src, sport) != (dst, dport) {
                assert_eq!(sender, answerer.other());
            }
            assert_eq!(forth.port(sender), sport);
            assert_eq!(forth.host(sender), Host::V4(src));
            for end in [End::A, End::Z] {
                let (host, port) = FlowTuple::v4_end(end, src, dst, sport, dport);
                assert_eq!((Host::V4(host), port), (forth.host(end), forth.port(end)));
            }
            assert!(forth.port_a > forth.port_z || forth.port_a == forth.port_z && forth.a <= forth.z);
        }

        #[test]
        fn four_words_say_what_an_ipv4_tuple_says(proto: u8, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) {
            let (tuple, _) = FlowTuple::v4(proto, src, dst, sport, dport);
            assert_eq!(tuple.v4_words().map(FlowTuple::from_v4_words), Some(tuple));
            assert_eq!(FlowTuple { version: IpVersion::V6, ..tuple }.v4_words(), None);
        }

        #[test]
        fn any_four_words_say_some_tuple(words: [u32; 4]) {
            let tuple = FlowTuple::from_v4_words(words);
            assert_eq!(FlowTuple::from_id(tuple.id().as_bytes()), Some(tuple));
        }

        #[test]
        fn id_and_tuple_determine_each_other(proto: u8, wide in any::<bool>(), a: [u8; 16], z: [u8; 16], port_a: u16, port_z: u16) {
            let mut tuple = FlowTuple { a, z, port_a, port_z, proto, version: IpVersion::V6 };
            if !wide {
                tuple.version = IpVersion::V4;
                tuple.a[4..].fill(0);
                tuple.z[4..].fill(0);
            }
            assert_eq!(FlowTuple::from_id(tuple.id().as_bytes()), Some(tuple));
            let mut packed = b"others".to_vec();
            tuple.pack(&mut packed);
            let packed = &packed[6..];
            assert_eq!((FlowTuple::unpack(packed), packed.len()), (Some(tuple), if wide { 40 } else { 16 }));
            for len in (0..packed.len()).filter(|len| *len != 16) {
                assert_eq!(FlowTuple::unpack(&packed[..len]), None);
            }
        }
    }
}
