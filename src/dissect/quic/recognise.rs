//! Whether a datagram is one of QUIC's first.

use super::packet::{Packet, next};
use super::version::{Kind, Version};
use crate::dissect::Recognition;

/// Judges the first datagram of a flow: an Initial or Retry packet of a version that is understood, or a list of
/// versions with such a one. A connection that is met later shows nothing that could be read.
#[must_use]
pub fn recognise(datagram: &[u8]) -> Recognition {
    let mut rest = datagram;
    let known = match next(&mut rest) {
        Some(Packet::Long { kind, whole, number_at, .. }) => match kind {
            // Protection needs a packet number and a sample of sixteen bytes.
            Kind::Initial => whole.len() - number_at >= 20,
            Kind::Retry => whole.len() >= 23,
            Kind::EarlyData | Kind::Handshake => false,
        },
        Some(Packet::Negotiation { versions }) => {
            let mut listed = versions.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
            versions.len().is_multiple_of(4) && listed.any(|number| Version::from_wire(number).is_some())
        }
        None => false,
    };
    if known { Recognition::Yes } else { Recognition::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_read_further_is_recognised() {
        let mut initial = vec![0xC0, 0, 0, 0, 1, 1, 7, 0, 0, 20];
        initial.extend([0; 20]);
        assert_eq!(recognise(&initial), Recognition::Yes);
        assert_eq!(recognise(&initial[..29]), Recognition::No);
        initial[4] = 9;
        assert_eq!(recognise(&initial), Recognition::No);
        assert_eq!(recognise(&[0x80, 0, 0, 0, 0, 0, 0, 0x0A, 0x1A, 0x2A, 0x3A, 0, 0, 0, 1]), Recognition::Yes);
        assert_eq!(recognise(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Recognition::No);
        assert_eq!(recognise(b"\x12\x34\x01\0\0\x01"), Recognition::No);
    }
}
