//! The versions of QUIC that are understood, and what differs between them.

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
    /// Drafts 23 to 34 of version 1.
    Draft(u8),
}

impl Version {
    /// From the number on the wire.
    pub const fn from_wire(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            0x6B33_43CF => Some(Self::Two),
            0xFF00_0017..=0xFF00_0022 => Some(Self::Draft((number & 0xFF) as u8)),
            _ => None,
        }
    }

    /// The name in attributes.
    pub fn name(self) -> String {
        match self {
            Self::One => "1".into(),
            Self::Two => "2".into(),
            Self::Draft(number) => format!("draft-{number}"),
        }
    }

    /// What Initial keys are derived with.
    pub const fn salt(self) -> [u8; 20] {
        match self {
            Self::Two => [
                0x0D, 0xED, 0xE3, 0xDE, 0xF7, 0x00, 0xA6, 0xDB, 0x81, 0x93, 0x81, 0xBE, 0x6E, 0x26, 0x9D, 0xCB, 0xF9,
                0xBD, 0x2E, 0xD9,
            ],
            Self::Draft(..=28) => [
                0xC3, 0xEE, 0xF7, 0x12, 0xC7, 0x2E, 0xBB, 0x5A, 0x11, 0xA7, 0xD2, 0x43, 0x2B, 0xB4, 0x63, 0x65, 0xBE,
                0xF9, 0xF5, 0x02,
            ],
            Self::Draft(29..=32) => [
                0xAF, 0xBF, 0xEC, 0x28, 0x99, 0x93, 0xD2, 0x4C, 0x9E, 0x97, 0x86, 0xF1, 0x9C, 0x61, 0x11, 0xE0, 0x43,
                0x90, 0xA8, 0x99,
            ],
            Self::One | Self::Draft(_) => [
                0x38, 0x76, 0x2C, 0xF7, 0xF5, 0x59, 0x34, 0xB3, 0x4D, 0x17, 0x9A, 0xE6, 0xA4, 0xC8, 0x0C, 0xAD, 0xCC,
                0xBB, 0x7F, 0x0A,
            ],
        }
    }

    /// Labels of key, vector and header key.
    pub const fn labels(self) -> [&'static [u8]; 3] {
        match self {
            Self::Two => [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"],
            Self::One | Self::Draft(_) => [b"quic key", b"quic iv", b"quic hp"],
        }
    }

    /// The kind of a packet with a long header, from the two bits that say so.
    pub const fn kind(self, bits: u8) -> Kind {
        // Version 2 moved every kind up by one.
        let bits = match self {
            Self::Two => bits.wrapping_sub(1),
            Self::One | Self::Draft(_) => bits,
        };
        match bits & 3 {
            0 => Kind::Initial,
            1 => Kind::EarlyData,
            2 => Kind::Handshake,
            _ => Kind::Retry,
        }
    }
}

/// Kinds of packets with a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First packets, protected with keys that anybody can derive.
    Initial,
    /// 0-RTT.
    EarlyData,
    /// The rest of the handshake.
    Handshake,
    /// The server asks to try again with a token.
    Retry,
}
