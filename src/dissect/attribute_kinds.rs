//! Which attributes somebody wants, by the protocol that they are found in.

use std::ops::BitOr;

/// Kinds of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeKinds(u8);

impl AttributeKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(0xFF);
    /// Begins and ends of TCP flows.
    pub const FLOWS: Self = Self(1);
    /// Headers of HTTP.
    pub const HTTP: Self = Self(2);
    /// Banners and fingerprints of SSH.
    pub const SSH: Self = Self(4);
    /// What TLS and QUIC say before they encrypt.
    pub const TLS: Self = Self(8);
    /// Fingerprints of TLS, which are work.
    pub const FINGERPRINTS: Self = Self(16);

    /// The kinds that an attribute of this name may be of. What no dissector finds is of none: scripts announce it.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Self {
        match name {
            b"" | b"^D" => Self::FLOWS,
            b"HTTP-Header" | b"Host" | b"User-Agent" | b"URI" | b"Content-Type" => Self::HTTP,
            _ if name.starts_with(b"SSH:") => Self::SSH,
            _ if name.starts_with(b"TLS:JA") => Self::TLS | Self::FINGERPRINTS,
            _ if name.starts_with(b"TLS:") || name.starts_with(b"QUIC:") => Self::TLS,
            _ => Self::NONE,
        }
    }

    /// Whether one of the other's kinds is among them.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for AttributeKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::AttributeKinds;
    use crate::dissect::rehearsal::overheard;
    use crate::flow::Direction::ToClient;

    #[test]
    fn every_name_that_a_dissector_gives_has_a_kind() {
        let found = overheard(&[(ToClient, b"SSH-2.0-x\r\n".to_vec())]);
        let names = found.iter().filter_map(|line| Some(line.split_once('=')?.0));
        let given = ["TLS:SNI", "TLS:O", "TLS:RECORD", "TLS:JA4", "QUIC:VERSION", "HTTP-Header", "Host", "URI"];
        for name in names.chain(given).chain(["User-Agent", "Content-Type"]) {
            assert!(AttributeKinds::ALL.has(AttributeKinds::of_name(name.as_bytes())), "{name}");
        }
        assert_eq!(AttributeKinds::of_name(b"my own"), AttributeKinds::NONE);
    }
}
