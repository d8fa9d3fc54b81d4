//! The frames that Initial packets may have.

use super::packet::number;
use crate::dissect::tls::Cursor;

/// Bytes of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Where they belong in the stream.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The next frame with handshake bytes; nothing at the end or at a frame that may not be here.
pub fn next_crypto<'a>(cursor: &mut Cursor<'a>) -> Option<Crypto<'a>> {
    loop {
        match cursor.number8()? {
            // Padding and ping.
            0 | 1 => {}
            kind @ (2 | 3) => acknowledgement(cursor, kind)?,
            6 => {
                let offset = number(cursor)?;
                let length = usize::try_from(number(cursor)?).ok()?;
                return Some(Crypto { offset, bytes: cursor.take(length)? });
            }
            _ => return None,
        }
    }
}

fn acknowledgement(cursor: &mut Cursor<'_>, kind: u8) -> Option<()> {
    // Highest number and delay.
    number(cursor)?;
    number(cursor)?;
    let ranges = number(cursor)?;
    number(cursor)?;
    // Every range takes bytes, so a lie about their number ends with the packet.
    for _ in 0..ranges {
        number(cursor)?;
        number(cursor)?;
    }
    if kind == 3 {
        for _ in 0..3 {
            number(cursor)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_bytes_are_found_between_other_frames() {
        let bytes = [0, 1, 2, 9, 0, 1, 0, 0, 0, 6, 3, 2, 7, 8, 3, 9, 0, 0, 0, 1, 1, 1, 6, 0, 1, 5, 0, 6, 0, 9];
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(next_crypto(&mut cursor), Some(Crypto { offset: 3, bytes: &[7, 8] }));
        assert_eq!(next_crypto(&mut cursor), Some(Crypto { offset: 0, bytes: &[5] }));
        assert_eq!(next_crypto(&mut cursor), None);
        assert_eq!(next_crypto(&mut Cursor::new(&[2, 9, 0, 0xFF, 0xFF])), None);
    }
}
