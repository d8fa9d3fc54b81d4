//! Packets with a long header, one after the other in a datagram.

use super::version::{Kind, Version};
use crate::dissect::tls::Cursor;

/// Longest connection id of the versions that are understood.
const MAX_ID: usize = 20;

/// A packet with a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A list of versions instead of an answer; the rest of the datagram.
    Negotiation {
        /// Four bytes each.
        versions: &'a [u8],
    },
    /// One of a version that is understood.
    Long {
        /// The version.
        version: Version,
        /// The kind.
        kind: Kind,
        /// Connection id of whom it is for.
        destination: &'a [u8],
        /// All of the packet; the rest of the datagram for a retry.
        whole: &'a [u8],
        /// Where the protected packet number begins in it.
        number_at: usize,
    },
}

/// A number of one to eight bytes (RFC 9000, section 16).
pub fn number(cursor: &mut Cursor<'_>) -> Option<u64> {
    let first = cursor.number8()?;
    let rest = cursor.take((1 << (first >> 6)) - 1)?;
    Some(rest.iter().fold(u64::from(first & 0x3F), |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Takes the next packet off a datagram; nothing at its end, at a short header, or at anything that cannot be read.
pub fn next<'a>(datagram: &mut &'a [u8]) -> Option<Packet<'a>> {
    let bytes = std::mem::take(datagram);
    let mut cursor = Cursor::new(bytes);
    let first = cursor.number8()?;
    if first & 0x80 == 0 {
        return None;
    }
    let wire = cursor.number32()?;
    let destination = cursor.vector8()?;
    let source = cursor.vector8()?;
    if destination.len() > MAX_ID || source.len() > MAX_ID {
        return None;
    }
    if wire == 0 {
        return Some(Packet::Negotiation { versions: cursor.rest() });
    }
    let version = Version::from_wire(wire)?;
    // Version negotiation aside, a cleared second bit is no QUIC.
    if first & 0x40 == 0 {
        return None;
    }
    let kind = version.kind(first >> 4 & 3);
    if kind == Kind::Retry {
        return Some(Packet::Long { version, kind, destination, whole: bytes, number_at: bytes.len() });
    }
    if kind == Kind::Initial {
        let token = number(&mut cursor)?;
        cursor.take(usize::try_from(token).ok()?)?;
    }
    let length = usize::try_from(number(&mut cursor)?).ok()?;
    let number_at = bytes.len() - cursor.rest().len();
    let (whole, rest) = bytes.split_at_checked(number_at.checked_add(length)?)?;
    *datagram = rest;
    Some(Packet::Long { version, kind, destination, whole, number_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_length_in_the_first_two_bits() {
        for (bytes, value) in [
            (&[0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C][..], 151_288_809_941_952_652),
            (&[0x9D, 0x7F, 0x3E, 0x7D], 494_878_333),
            (&[0x7B, 0xBD], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(number(&mut Cursor::new(bytes)), Some(value));
            assert_ne!(number(&mut Cursor::new(&bytes[1..])), Some(value));
        }
    }

    #[test]
    fn packets_follow_each_other_in_a_datagram() {
        let initial = [0xC0, 0, 0, 0, 1, 1, 7, 0, 0, 2, 8, 9];
        let handshake = [0xE0, 0, 0, 0, 1, 0, 0, 1, 5];
        let bytes = [&initial[..], &handshake, &[0x40, 1, 2]].concat();
        let mut rest = &bytes[..];
        let kinds: Vec<_> = std::iter::from_fn(|| match next(&mut rest)? {
            Packet::Long { kind, destination, number_at, whole, .. } => {
                Some((kind, destination.len(), whole.len() - number_at))
            }
            Packet::Negotiation { .. } => None,
        })
        .collect();
        assert_eq!(kinds, [(Kind::Initial, 1, 2), (Kind::Handshake, 0, 1)]);
    }
}
