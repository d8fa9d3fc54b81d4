//! The binary form of frequent keys, so that the metrics engine need not keep or compare text.

use super::{Host, KeyText, hex, host};

/// Which text a [`BinaryKey`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum KeyKind {
    /// Text that is none of the others; has no binary form and is only a marker for users of this type.
    #[default]
    Text,
    /// IPv4 host, four bytes.
    Host4,
    /// IPv6 host, sixteen bytes.
    Host6,
    /// Port, two bytes.
    Port,
    /// MAC address, six bytes.
    Mac,
}

impl KeyKind {
    /// How many bytes of [`BinaryKey::bytes`] are used; the others are zero.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Text => 0,
            Self::Host4 => 4,
            Self::Host6 => 16,
            Self::Port => 2,
            Self::Mac => 6,
        }
    }

    /// True for [`KeyKind::Text`], which has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::Text)
    }
}

/// A host, port or MAC key in network order. It and its text determine each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BinaryKey {
    /// Which kind of text.
    pub kind: KeyKind,
    /// The bytes, zero behind [`KeyKind::len`].
    pub bytes: [u8; 16],
}

impl BinaryKey {
    #[inline]
    fn padded<const N: usize>(kind: KeyKind, from: [u8; N]) -> Self {
        debug_assert_eq!(kind.len(), N);
        let mut bytes = [0; 16];
        bytes[..N].copy_from_slice(&from);
        Self { kind, bytes }
    }

    /// Of a host.
    #[inline]
    #[must_use]
    pub fn host(host: Host) -> Self {
        match host {
            Host::V4(bytes) => Self::padded(KeyKind::Host4, bytes),
            Host::V6(bytes) => Self { kind: KeyKind::Host6, bytes },
        }
    }

    /// Of a port.
    #[inline]
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::padded(KeyKind::Port, port.to_be_bytes())
    }

    /// Of a MAC address.
    #[inline]
    #[must_use]
    pub fn mac(mac: [u8; 6]) -> Self {
        Self::padded(KeyKind::Mac, mac)
    }

    /// The text of the key; empty for [`KeyKind::Text`].
    #[inline]
    #[must_use]
    pub fn text(&self) -> KeyText {
        let [b0, b1, b2, b3, b4, b5, ..] = self.bytes;
        match self.kind {
            KeyKind::Text => KeyText::new(),
            KeyKind::Host4 => Host::V4([b0, b1, b2, b3]).key(),
            KeyKind::Host6 => Host::V6(self.bytes).key(),
            KeyKind::Port => host::port_key(u16::from_be_bytes([b0, b1])),
            KeyKind::Mac => host::mac_key([b0, b1, b2, b3, b4, b5]),
        }
    }
}

/// The binary form of a text, if it is exactly the text the contract gives to an IPv4 host (`XX.XX.XX.XX`), an IPv6 host
/// (32 digits), a port (`p-XXXX`) or a MAC address (`XX:XX:XX:XX:XX:XX`), upper case throughout.
///
/// Whatever would not print back identically has none. Costs a few nanoseconds; most texts fail on their length.
#[inline]
#[must_use]
pub fn canonical(text: &[u8]) -> Option<BinaryKey> {
    match text.len() {
        6 => host::parse_port_digits(text, &hex::UPPER).map(BinaryKey::port),
        11 | 32 => Host::from_key_digits(text, &hex::UPPER).map(BinaryKey::host),
        17 => host::parse_mac_digits(text, &hex::UPPER).map(BinaryKey::mac),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Strategy;

    use super::{BinaryKey, Host, KeyKind, canonical};

    fn key() -> impl Strategy<Value = BinaryKey> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|b| BinaryKey::host(Host::V4(b))),
            any::<[u8; 16]>().prop_map(|b| BinaryKey::host(Host::V6(b))),
            any::<u16>().prop_map(BinaryKey::port),
            any::<[u8; 6]>().prop_map(BinaryKey::mac),
        ]
    }

    /// Texts near the four forms: right length and alphabet most of the time.
    fn near_key() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9A-Fa-f]{2}(\\.[0-9A-F]{2}){2}[.:][0-9A-Fg]{2}",
            "[0-9A-F]{31}[0-9A-Fa-f]",
            "[pP]-[0-9A-F]{3}[0-9A-Fa-fG]",
            "([0-9A-F]{2}:){5}[0-9A-Fa-f]{2}",
            "\\PC{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn every_binary_key_prints_and_parses_back(key in key()) {
            let text = key.text();
            assert_eq!(canonical(text.as_bytes()), Some(key));
            assert!(key.bytes[key.kind.len()..].iter().all(|&b| b == 0));
        }

        #[test]
        fn what_is_accepted_prints_back_identically(text in near_key()) {
            if let Some(key) = canonical(text.as_bytes()) {
                assert_eq!(key.text(), text.as_str());
            } else {
                // Refused: then it must differ from the text of the key it resembles.
                if let Some(host) = Host::from_key(text.as_bytes()) {
                    assert_ne!(host.key(), text.as_str());
                }
            }
        }

        #[test]
        fn any_bytes_are_handled(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(key) = canonical(&text) {
                assert_eq!(key.text().as_bytes(), &text[..]);
            }
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |text: &str| canonical(text.as_bytes()).map(|key| key.kind);
        assert_eq!(kind("C0.A8.01.02"), Some(KeyKind::Host4));
        assert_eq!(kind("FE80000000000000BA2A72FFFECC5E33"), Some(KeyKind::Host6));
        assert_eq!(kind("p-01BB"), Some(KeyKind::Port));
        assert_eq!(kind("00:1C:C0:B9:B9:10"), Some(KeyKind::Mac));
        for text in ["c0.A8.01.02", "p-01bb", "SYS:GROUP_TOTALS", "TOTALBW", "", "fe80000000000000ba2a72fffecc5e33"] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
