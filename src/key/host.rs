//! Keys of hosts, ports and MAC addresses.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{KeyText, hex};

/// An IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// IPv4, network order.
    V4([u8; 4]),
    /// IPv6, network order.
    V6([u8; 16]),
}

impl Host {
    /// From the text of a key: `C0.A8.01.02` or 32 hexadecimal digits, of either case.
    #[must_use]
    pub fn from_key(text: &[u8]) -> Option<Self> {
        Self::from_key_digits(text, &hex::ANY_CASE)
    }

    pub(super) fn from_key_digits(text: &[u8], digits: &[u8; 256]) -> Option<Self> {
        if let Ok(text) = <&[u8; 11]>::try_from(text) {
            let is_separated = text[2] == b'.' && text[5] == b'.' && text[8] == b'.';
            return is_separated.then(|| hex::decode::<4, 3, 11>(text, digits).map(Self::V4)).flatten();
        }
        hex::decode::<16, 2, 32>(text.try_into().ok()?, digits).map(Self::V6)
    }

    /// From readable text: `192.168.1.2` (decimal, without leading zeros) or any RFC 4291 form of an IPv6 address.
    #[must_use]
    pub fn from_readable(text: &str) -> Option<Self> {
        match text.parse().ok()? {
            IpAddr::V4(address) => Some(Self::V4(address.octets())),
            IpAddr::V6(address) => Some(Self::V6(address.octets())),
        }
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> KeyText {
        let mut text = KeyText::new();
        self.push_key(&mut text);
        text
    }

    /// Appends the key to longer text.
    #[inline]
    pub fn push_key<const N: usize>(&self, text: &mut super::Inline<N>) {
        match self {
            Self::V4(bytes) => push_separated::<4, 11, N>(text, *bytes, b'.'),
            Self::V6(bytes) => text.push_hex_all(bytes),
        }
    }

    /// The address as people write it; IPv6 as in RFC 5952.
    #[must_use]
    pub fn readable(&self) -> KeyText {
        let mut text = KeyText::new();
        match *self {
            Self::V4([a, b, c, d]) => {
                for (i, octet) in [a, b, c, d].into_iter().enumerate() {
                    if i > 0 {
                        text.push_ascii(b".");
                    }
                    text.push_decimal(u32::from(octet));
                }
            }
            Self::V6(bytes) => {
                write!(text, "{}", Ipv6Addr::from(bytes)).expect("writing to inline text does not fail");
            }
        }
        text
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(address.octets()),
        }
    }
}

impl From<Host> for IpAddr {
    fn from(host: Host) -> Self {
        match host {
            Host::V4(bytes) => Self::V4(Ipv4Addr::from(bytes)),
            Host::V6(bytes) => Self::V6(Ipv6Addr::from(bytes)),
        }
    }
}

/// Key of a port: `p-0050`.
#[inline]
#[must_use]
pub fn port_key(port: u16) -> KeyText {
    let mut text = KeyText::new();
    push_port(&mut text, port);
    text
}

#[inline]
pub(super) fn push_port<const N: usize>(text: &mut super::Inline<N>, port: u16) {
    let [high, low] = port.to_be_bytes();
    if let Some([p, dash, h1, h2, l1, l2]) = text.room() {
        (*p, *dash) = (b'p', b'-');
        [*h1, *h2] = hex::PAIRS[high as usize];
        [*l1, *l2] = hex::PAIRS[low as usize];
    }
}

/// Adds `B` bytes as digit pairs with a separator between, `L` characters in all.
#[inline]
fn push_separated<const B: usize, const L: usize, const N: usize>(
    text: &mut super::Inline<N>,
    bytes: [u8; B],
    separator: u8,
) {
    const { assert!(L == B * 3 - 1, "two digits for every byte, and a separator between") };
    if let Some(room) = text.room::<L>() {
        *room = [separator; L];
        for (i, byte) in bytes.into_iter().enumerate() {
            [room[i * 3], room[i * 3 + 1]] = hex::PAIRS[byte as usize];
        }
    }
}

/// The port of a key `p-XXXX`, digits of either case.
#[must_use]
pub fn parse_port(text: &[u8]) -> Option<u16> {
    parse_port_digits(text, &hex::ANY_CASE)
}

pub(super) fn parse_port_digits(text: &[u8], digits: &[u8; 256]) -> Option<u16> {
    let port: &[u8; 4] = text.strip_prefix(b"p-")?.try_into().ok()?;
    hex::decode::<2, 2, 4>(port, digits).map(u16::from_be_bytes)
}

/// Key of a MAC address: `00:1C:C0:B9:B9:10`.
#[inline]
#[must_use]
pub fn mac_key(mac: [u8; 6]) -> KeyText {
    let mut text = KeyText::new();
    push_separated::<6, 17, 47>(&mut text, mac, b':');
    text
}

/// The address of a MAC key, digits of either case.
#[must_use]
pub fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    parse_mac_digits(text, &hex::ANY_CASE)
}

pub(super) fn parse_mac_digits(text: &[u8], digits: &[u8; 256]) -> Option<[u8; 6]> {
    let text: &[u8; 17] = text.try_into().ok()?;
    let separated = [2, 5, 8, 11, 14].iter().all(|&i| text[i] == b':');
    separated.then(|| hex::decode::<6, 3, 17>(text, digits)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Host, mac_key, parse_mac, parse_port, port_key};

    #[test]
    fn keys_of_the_contract() {
        assert_eq!(Host::V4([192, 168, 1, 2]).key(), "C0.A8.01.02");
        assert_eq!(Host::V4([192, 168, 1, 2]).readable(), "192.168.1.2");
        let link_local = Host::from_readable("fe80::ba2a:72ff:fecc:5e33").unwrap();
        assert_eq!(link_local.key(), "FE80000000000000BA2A72FFFECC5E33");
        assert_eq!(link_local.readable(), "fe80::ba2a:72ff:fecc:5e33");
        for (port, key) in [(80, "p-0050"), (443, "p-01BB"), (22, "p-0016"), (0, "p-0000")] {
            assert_eq!(port_key(port), key);
            assert_eq!(parse_port(key.as_bytes()), Some(port));
        }
        assert_eq!(mac_key([0, 0x1C, 0xC0, 0xB9, 0xB9, 0x10]), "00:1C:C0:B9:B9:10");
    }

    #[test]
    fn ipv6_is_written_as_rfc_5952_says() {
        for text in ["::", "::1", "ff02::2", "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1", "1:2:3:4:5:6:7:8"] {
            assert_eq!(Host::from_readable(text).unwrap().readable(), text);
        }
        assert_eq!(Host::from_readable("2001:0DB8:0:0:0:0:2:1").unwrap().readable(), "2001:db8::2:1");
    }

    #[test]
    fn addresses_and_keys_are_not_guessed() {
        assert_eq!(Host::from_key(b"64.60.23.17"), Some(Host::V4([0x64, 0x60, 0x23, 0x17])));
        assert_eq!(Host::from_readable("64.60.23.17"), Some(Host::V4([64, 60, 23, 17])));
        for text in ["", "1.2.3", "C0.A8.01.0", "C0.A8.01.020", "C0-A8.01.02", "G0.A8.01.02", "C0.A8.01.0\u{e9}"] {
            assert_eq!(Host::from_key(text.as_bytes()), None, "{text}");
        }
        for text in ["", "01.2.3.4", "256.1.1.1", "1.2.3.4 ", "fe80::1%eth0"] {
            assert_eq!(Host::from_readable(text), None, "{text}");
        }
    }

    #[test]
    fn parsers_take_either_case_and_nothing_malformed() {
        assert_eq!(Host::from_key(b"c0.a8.01.02"), Some(Host::V4([192, 168, 1, 2])));
        assert_eq!(parse_port(b"p-01bb"), Some(443));
        assert_eq!(parse_mac(b"00:1c:c0:b9:B9:10"), Some([0, 0x1C, 0xC0, 0xB9, 0xB9, 0x10]));
        for text in [&b""[..], b"p-", b"p-01B", b"P-01BB", b"p-01BBB", b"p-01BG", b"p--1BB"] {
            assert_eq!(parse_port(text), None);
        }
        assert_eq!(parse_mac(b"00-1C-C0-B9-B9-10"), None);
        assert_eq!(parse_mac(b"00:1C:C0:B9:B9:1"), None);
    }
}
