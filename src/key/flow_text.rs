//! Parts of any flow id text, including those that scripts build and that carry NetFlow fields.

use std::ops::Range;

use super::{Host, Inline, KeyText, hex, host};

/// One padded line that describes a flow.
pub type FlowLine = Inline<224>;

/// Longest port token that scripts may put in place of a port key; a longer one makes the id malformed.
const MAX_TOKEN: usize = 32;

/// A flow id text, types A to D, cut into its parts.
///
/// The text is kept as it is; parts are ranges of it, so a copy is cheap and nothing is re-cased. A malformed text has an
/// id and otherwise only empty parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowText<'a> {
    text: &'a [u8],
    parts: Option<Parts>,
}

/// Ends of the parts, as offsets into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    // A text longer than this type counts is malformed, so the narrow offsets are no limit.
    port_a: (u8, u8),
    ip_z: (u8, u8),
    port_z: (u8, u8),
    netflow: Option<Netflow>,
}

/// Where the router starts, and where the first interface ends; the second ends with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Netflow {
    router: u8,
    input_end: u8,
}

const ROUTER_LEN: usize = 11;
/// Digits of an interface index. Ids of older scripts have four.
const MAX_IFINDEX_LEN: usize = 8;

impl<'a> FlowText<'a> {
    /// Cuts a text. Digits of either case are accepted, and any token of printable ASCII without `:` and `_` as a port.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, parts: parse(text) }
    }

    /// True if the text is no flow id.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        self.parts.is_none()
    }

    /// The text itself.
    #[must_use]
    pub const fn id(&self) -> &'a [u8] {
        self.text
    }

    /// `A` IPv4, `B` IPv6, `C` IPv4 with NetFlow fields, `D` IPv6 with NetFlow fields.
    #[must_use]
    pub fn flow_type(&self) -> &'a str {
        self.part(|_| 2..3)
    }

    /// Two hexadecimal digits of the IP protocol.
    #[must_use]
    pub fn protocol(&self) -> &'a str {
        self.part(|_| 0..2)
    }

    /// The protocol as a number.
    #[must_use]
    pub fn protocol_number(&self) -> Option<u8> {
        hex::parse_u32(self.protocol().as_bytes()).map(|number| number as u8)
    }

    /// Host key of the A end.
    #[must_use]
    pub fn ipa(&self) -> &'a str {
        self.part(|parts| 4..usize::from(parts.port_a.0) - 1)
    }

    /// Host key of the Z end.
    #[must_use]
    pub fn ipz(&self) -> &'a str {
        self.part(|parts| wide(parts.ip_z))
    }

    /// Address of the A end.
    #[must_use]
    pub fn ipa_readable(&self) -> KeyText {
        readable(self.ipa())
    }

    /// Address of the Z end.
    #[must_use]
    pub fn ipz_readable(&self) -> KeyText {
        readable(self.ipz())
    }

    /// Port key of the A end, or the token that stands in its place.
    #[must_use]
    pub fn porta(&self) -> &'a str {
        self.part(|parts| wide(parts.port_a))
    }

    /// Port key of the Z end, or the token that stands in its place.
    #[must_use]
    pub fn portz(&self) -> &'a str {
        self.part(|parts| wide(parts.port_z))
    }

    /// Decimal port of the A end, or its token in lower case.
    #[must_use]
    pub fn porta_readable(&self) -> KeyText {
        port_readable(self.porta())
    }

    /// Decimal port of the Z end, or its token in lower case.
    #[must_use]
    pub fn portz_readable(&self) -> KeyText {
        port_readable(self.portz())
    }

    /// Host key of the exporter; empty without NetFlow fields, as are the five below.
    #[must_use]
    pub fn netflow_router(&self) -> &'a str {
        self.netflow(|netflow| usize::from(netflow.router)..usize::from(netflow.router) + ROUTER_LEN)
    }

    /// Address of the exporter.
    #[must_use]
    pub fn netflow_router_readable(&self) -> KeyText {
        readable(self.netflow_router())
    }

    /// Index of the input interface in hexadecimal digits, as many as the id has; eight are usual.
    #[must_use]
    pub fn netflow_ifindex_in(&self) -> &'a str {
        self.netflow(|netflow| usize::from(netflow.router) + ROUTER_LEN + 1..usize::from(netflow.input_end))
    }

    /// Index of the output interface in hexadecimal digits, as many as the id has; eight are usual.
    #[must_use]
    pub fn netflow_ifindex_out(&self) -> &'a str {
        self.netflow(|netflow| usize::from(netflow.input_end) + 1..self.text.len())
    }

    /// Index of the input interface, decimal.
    #[must_use]
    pub fn netflow_ifindex_in_readable(&self) -> KeyText {
        decimal(self.netflow_ifindex_in())
    }

    /// Index of the output interface, decimal.
    #[must_use]
    pub fn netflow_ifindex_out_readable(&self) -> KeyText {
        decimal(self.netflow_ifindex_out())
    }

    /// The flow in one padded line; empty for a malformed text.
    #[must_use]
    pub fn to_s(&self) -> FlowLine {
        let mut line = FlowLine::new();
        let (Some(parts), Some(protocol)) = (self.parts, self.protocol_number()) else { return line };
        line.push_padded(&protocol_name(protocol), 4);
        line.push_ascii(b" ");
        line.push_padded(&self.ipa_readable(), 15);
        line.push_ascii(b" ");
        line.push_padded(&self.porta_readable(), 5);
        line.push_ascii(b" ");
        line.push_padded(&self.ipz_readable(), 15);
        line.push_ascii(b" ");
        line.push_padded(&self.portz_readable(), 5);
        if parts.netflow.is_some() {
            line.push_ascii(b" ");
            line.push_padded(&self.netflow_router_readable(), 15);
            line.push_ascii(b" ");
            line.push_padded(&self.netflow_ifindex_in_readable(), 7);
            line.push_ascii(b" ");
            line.push_padded(&self.netflow_ifindex_out_readable(), 7);
            line.push_ascii(b" ");
        }
        line
    }

    fn part(&self, range: impl FnOnce(&Parts) -> Range<usize>) -> &'a str {
        let Some(parts) = &self.parts else { return "" };
        std::str::from_utf8(&self.text[range(parts)]).expect("a parsed id is ASCII")
    }

    fn netflow(&self, range: impl FnOnce(&Netflow) -> Range<usize>) -> &'a str {
        self.part(|parts| parts.netflow.as_ref().map_or(0..0, range))
    }
}

/// Name of an IP protocol as `to_s()` prints it: that of ten frequent ones, else the decimal number.
#[must_use]
pub fn protocol_name(protocol: u8) -> KeyText {
    let mut text = KeyText::new();
    match protocol {
        1 => text.push_str("ICMP"),
        2 => text.push_str("IGMP"),
        6 => text.push_str("TCP"),
        17 => text.push_str("UDP"),
        47 => text.push_str("GRE"),
        50 => text.push_str("ESP"),
        51 => text.push_str("AH"),
        58 => text.push_str("ICMP6"),
        89 => text.push_str("OSPF"),
        132 => text.push_str("SCTP"),
        other => text.push_decimal(u32::from(other)),
    }
    text
}

fn wide((start, end): (u8, u8)) -> Range<usize> {
    usize::from(start)..usize::from(end)
}

fn readable(key: &str) -> KeyText {
    Host::from_key(key.as_bytes()).map_or_else(KeyText::new, |host| host.readable())
}

fn port_readable(key: &str) -> KeyText {
    let mut text = KeyText::new();
    match host::parse_port(key.as_bytes()) {
        Some(port) => text.push_decimal(u32::from(port)),
        None => {
            for c in key.bytes() {
                text.push_ascii(&[c.to_ascii_lowercase()]);
            }
        }
    }
    text
}

fn decimal(digits: &str) -> KeyText {
    let mut text = KeyText::new();
    if let Some(number) = hex::parse_u32(digits.as_bytes()) {
        text.push_decimal(number);
    }
    text
}

fn parse(text: &[u8]) -> Option<Parts> {
    let (host_len, has_netflow) = match text.get(2)? {
        b'A' => (11, false),
        b'B' => (32, false),
        b'C' => (11, true),
        b'D' => (32, true),
        _ => return None,
    };
    if text.len() > usize::from(u8::MAX) || text.get(3) != Some(&b':') {
        return None;
    }
    hex::parse_u32(&text[..2])?;
    let (port_a, second) = parse_end(text, 4, host_len)?;
    (text.get(second) == Some(&b'_')).then_some(())?;
    let (port_z, rest) = parse_end(text, second + 1, host_len)?;
    let netflow = if has_netflow { Some(parse_netflow(text, rest)?) } else { None };
    if !has_netflow && rest != text.len() {
        return None;
    }
    let ip_z = (second as u8 + 1, second as u8 + 1 + host_len as u8);
    Some(Parts { port_a, ip_z, port_z, netflow })
}

/// The range of the port behind a host key at `from`, and where the end is over.
fn parse_end(text: &[u8], from: usize, host_len: usize) -> Option<((u8, u8), usize)> {
    Host::from_key(text.get(from..from + host_len)?)?;
    let colon = from + host_len;
    (text.get(colon) == Some(&b':')).then_some(())?;
    let port = &text[colon + 1..];
    let len = port.iter().position(|&c| c == b'_').unwrap_or(port.len());
    let is_token = (1..=MAX_TOKEN).contains(&len) && port[..len].iter().all(|&c| c.is_ascii_graphic() && c != b':');
    is_token.then_some(((colon as u8 + 1, (colon + 1 + len) as u8), colon + 1 + len))
}

/// The parts of `_router_in_out`, if that is what the rest of the text is.
fn parse_netflow(text: &[u8], from: usize) -> Option<Netflow> {
    let fields = text.get(from..)?.strip_prefix(b"_")?;
    Host::from_key(fields.get(..ROUTER_LEN)?)?;
    let interfaces = fields[ROUTER_LEN..].strip_prefix(b"_")?;
    let input_len = interfaces.iter().position(|&c| c == b'_')?;
    for index in [&interfaces[..input_len], &interfaces[input_len + 1..]] {
        (1..=MAX_IFINDEX_LEN).contains(&index.len()).then_some(())?;
        hex::parse_u32(index)?;
    }
    let router = from + 1;
    Some(Netflow { router: router as u8, input_end: (router + ROUTER_LEN + 1 + input_len) as u8 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::FlowText;

    #[test]
    fn parts_of_an_ipv4_flow() {
        let flow = FlowText::new(b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016");
        assert_eq!((flow.protocol(), flow.flow_type()), ("06", "A"));
        assert_eq!((flow.ipa(), flow.ipz()), ("C0.A8.01.02", "D1.D8.F9.3A"));
        assert_eq!((flow.porta(), flow.portz()), ("p-0B94", "p-0016"));
        assert_eq!(flow.ipa_readable(), "192.168.1.2");
        assert_eq!(flow.ipz_readable(), "209.216.249.58");
        assert_eq!((flow.porta_readable().as_str(), flow.portz_readable().as_str()), ("2964", "22"));
        assert_eq!((flow.netflow_router(), flow.netflow_ifindex_in(), flow.netflow_ifindex_out()), ("", "", ""));
        assert_eq!(flow.netflow_router_readable(), "");
        assert_eq!(flow.netflow_ifindex_in_readable(), "");
        assert_eq!(flow.netflow_ifindex_out_readable(), "");
        assert_eq!(flow.to_s(), "TCP  192.168.1.2     2964  209.216.249.58  22   ");
    }

    #[test]
    fn parts_of_an_ipv6_flow() {
        let flow =
            FlowText::new(b"11B:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF020000000000000000000000000002:p-14E9");
        assert_eq!(flow.flow_type(), "B");
        assert_eq!(flow.ipa(), "FE80000000000000BA2A72FFFECC5E33");
        assert_eq!(flow.ipz_readable(), "ff02::2");
        assert_eq!(flow.portz_readable(), "5353");
        assert_eq!(flow.to_s(), "UDP  fe80::ba2a:72ff:fecc:5e33 5353  ff02::2         5353 ");
    }

    #[test]
    fn parts_of_an_exported_flow() {
        let flow = FlowText::new(b"06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_0A.81.4A.92_0000000A_00000008");
        assert_eq!(flow.flow_type(), "C");
        assert_eq!((flow.porta_readable().as_str(), flow.portz_readable().as_str()), ("80", "36774"));
        assert_eq!(flow.netflow_router(), "0A.81.4A.92");
        assert_eq!(flow.netflow_router_readable(), "10.129.74.146");
        assert_eq!((flow.netflow_ifindex_in(), flow.netflow_ifindex_out()), ("0000000A", "00000008"));
        assert_eq!(flow.netflow_ifindex_in_readable(), "10");
        assert_eq!(flow.netflow_ifindex_out_readable(), "8");
        assert_eq!(flow.to_s(), "TCP  74.207.234.90   80    192.168.1.33    36774 10.129.74.146   10      8       ");
        let wide = "06D:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF020000000000000000000000000002:p-14E9_0A.81.4A.92_0000000A_FFFFFFFF";
        assert_eq!(FlowText::new(wide.as_bytes()).netflow_ifindex_out_readable(), "4294967295");
    }

    #[test]
    fn interfaces_of_fewer_digits_are_kept_as_they_are() {
        let flow = FlowText::new(b"11C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_0A.81.4A.92_0003_4");
        assert_eq!((flow.ipa(), flow.ipz_readable().as_str()), ("4A.CF.EA.5A", "192.168.1.33"));
        assert_eq!(
            (flow.netflow_router(), flow.netflow_ifindex_in(), flow.netflow_ifindex_out()),
            ("0A.81.4A.92", "0003", "4")
        );
        assert_eq!(
            (flow.netflow_ifindex_in_readable().as_str(), flow.netflow_ifindex_out_readable().as_str()),
            ("3", "4")
        );
        assert_eq!(flow.to_s(), "UDP  74.207.234.90   80    192.168.1.33    36774 10.129.74.146   3       4       ");
    }

    #[test]
    fn tokens_stand_for_ports() {
        let flow = FlowText::new(b"01A:0A.00.00.01:ICMP00_0A.00.00.09:GRE00");
        assert_eq!((flow.porta(), flow.portz()), ("ICMP00", "GRE00"));
        assert_eq!((flow.porta_readable().as_str(), flow.portz_readable().as_str()), ("icmp00", "gre00"));
        assert_eq!(flow.to_s(), "ICMP 10.0.0.1        icmp00 10.0.0.9        gre00");
        let none = FlowText::new(b"01A:0A.00.00.01:p-0000_0A.00.00.09:p-0000");
        assert_eq!((none.porta(), none.porta_readable().as_str()), ("p-0000", "0"));
    }

    #[test]
    fn malformed_texts_have_an_id_only() {
        for text in [
            "",
            "06",
            "06A",
            "06A:",
            "06A:...",
            "06E:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016",
            "G6A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016",
            "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A",
            "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:",
            "06A:C0.A8.01.02:p-0B94-D1.D8.F9.3A:p-0016",
            "06A:192.168.1.2:p-0B94_D1.D8.F9.3A:p-0016",
            "06B:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016",
            "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016_",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_0011",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_0011_",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01__0011",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_0011_0008_",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_000000011_0008",
            "06C:4A.CF.EA.5A:p-0050_C0.A8.01.21:p-8FA6_C0.A8.00.01_nil_0008",
            "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p 0016",
        ] {
            let flow = FlowText::new(text.as_bytes());
            assert!(flow.is_malformed(), "{text}");
            assert_eq!(flow.id(), text.as_bytes());
            for part in [flow.protocol(), flow.flow_type(), flow.ipa(), flow.ipz(), flow.porta(), flow.netflow_router()]
            {
                assert_eq!(part, "", "{text}");
            }
            for part in [flow.ipa_readable(), flow.porta_readable(), flow.netflow_ifindex_in_readable()] {
                assert_eq!(part, "", "{text}");
            }
            assert_eq!(flow.to_s(), "");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let flow = FlowText::new(&text);
            assert_eq!(flow.id(), &text[..]);
            assert_eq!(flow.to_s().is_empty(), flow.is_malformed());
        }

        #[test]
        fn parts_are_cut_from_the_text(text in "[0-9A-F]{2}[AC]:([0-9A-F]{2}\\.){3}[0-9A-F]{2}:[A-Za-z0-9-]{1,40}_([0-9a-f]{2}\\.){3}[0-9A-F]{2}:[!-~]{1,9}(_([0-9A-F]{2}\\.){3}[0-9A-F]{2}_[0-9A-F]{1,8}_[0-9A-F]{1,8})?") {
            let flow = FlowText::new(text.as_bytes());
            let mut joined = format!("{}{}:{}:{}_{}:{}", flow.protocol(), flow.flow_type(), flow.ipa(), flow.porta(), flow.ipz(), flow.portz());
            if !flow.netflow_router().is_empty() {
                joined += &format!("_{}_{}_{}", flow.netflow_router(), flow.netflow_ifindex_in(), flow.netflow_ifindex_out());
            }
            if !flow.is_malformed() {
                assert_eq!(joined, text);
                assert!(flow.to_s().len() >= 48);
            }
        }
    }
}
