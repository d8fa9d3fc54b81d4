//! Domain names: read within bounds, written as text.

/// Longest name on the wire, without pointers.
const MAX_NAME: usize = 255;

/// Most pointers that are followed in one name. More than a name has labels would only repeat places.
const MAX_JUMPS: usize = 127;

/// Why a name ends where it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// The message ends within it.
    Short,
    /// It is none.
    Wrong,
}

/// How names are written. Both ways the root is a single dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameStyle {
    /// `www.example.com`.
    Plain,
    /// `.www.example.com`.
    Dotted,
}

/// Where the bytes behind a name begin. Pointers are not followed.
pub fn skip(message: &[u8], mut at: usize) -> Result<usize, NameFault> {
    let start = at;
    loop {
        let len = *message.get(at).ok_or(NameFault::Short)?;
        match len {
            0 => return Ok(at + 1),
            0xC0.. => return if at + 1 < message.len() { Ok(at + 2) } else { Err(NameFault::Short) },
            0x40.. => return Err(NameFault::Wrong),
            _ => at += 1 + usize::from(len),
        }
        // The root takes one more.
        if at - start >= MAX_NAME {
            return Err(NameFault::Wrong);
        }
    }
}

/// Appends the name at a place, and gives where the bytes behind it begin; nothing is appended if it cannot be read.
pub fn push(text: &mut Vec<u8>, message: &[u8], at: usize, style: NameStyle) -> Option<usize> {
    let mark = text.len();
    let behind = skip(message, at).ok()?;
    if push_labels(text, message, at, style).is_none() {
        text.truncate(mark);
        return None;
    }
    if text.len() == mark {
        text.push(b'.');
    }
    Some(behind)
}

fn push_labels(text: &mut Vec<u8>, message: &[u8], mut at: usize, style: NameStyle) -> Option<()> {
    let mark = text.len();
    let (mut wire, mut jumps) = (1, 0);
    loop {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some(()),
            0xC0.. => {
                jumps += 1;
                if jumps > MAX_JUMPS {
                    return None;
                }
                at = (len & 0x3F) << 8 | usize::from(*message.get(at + 1)?);
            }
            0x40.. => return None,
            _ => {
                let label = message.get(at + 1..at + 1 + len)?;
                wire += 1 + len;
                if wire > MAX_NAME {
                    return None;
                }
                if style == NameStyle::Dotted || text.len() > mark {
                    text.push(b'.');
                }
                if label.iter().all(|&byte| is_plain(byte)) {
                    text.extend_from_slice(label);
                } else {
                    label.iter().for_each(|&byte| push_byte(text, byte));
                }
                at += 1 + len;
            }
        }
    }
}

/// Whether a byte stands for itself: all of those that names of hosts are made of, and then some.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn push_byte(text: &mut Vec<u8>, byte: u8) {
    match byte {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => text.extend_from_slice(&[b'\\', byte]),
        0x21..=0x7E => text.push(byte),
        _ => push_escaped(text, byte),
    }
}

/// A byte as a backslash and three decimal digits.
pub fn push_escaped(text: &mut Vec<u8>, byte: u8) {
    text.extend_from_slice(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &[u8], at: usize) -> Option<(String, usize)> {
        let mut text = Vec::new();
        let behind = push(&mut text, message, at, NameStyle::Plain)?;
        Some((String::from_utf8(text).expect("escaped"), behind))
    }

    #[test]
    fn pointers_are_followed_and_the_bytes_behind_are_those_after_the_first() {
        let message = b"\x07example\x03com\x00\x03www\xC0\x00rest";
        assert_eq!(read(message, 13), Some(("www.example.com".to_owned(), 19)));
        let mut text = Vec::new();
        push(&mut text, message, 13, NameStyle::Dotted).expect("a name");
        assert_eq!(text, b".www.example.com");
    }

    #[test]
    fn the_root_is_a_dot_in_both_styles() {
        for style in [NameStyle::Plain, NameStyle::Dotted] {
            let mut text = Vec::new();
            assert_eq!(push(&mut text, &[0], 0, style), Some(1));
            assert_eq!(text, b".");
        }
    }

    #[test]
    fn loops_and_names_that_grow_for_ever_are_refused() {
        assert_eq!(read(b"\xC0\x00", 0), None);
        assert_eq!(read(b"\x01a\xC0\x00", 0), None);
        assert_eq!(read(b"\xC0\x02\xC0\x00", 0), None);
    }

    #[test]
    fn odd_bytes_are_escaped() {
        assert_eq!(read(b"\x05a. \\\xFF\x00", 0), Some(("a\\.\\032\\\\\\255".to_owned(), 7)));
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat();
        assert_eq!(longest.len(), 255);
        assert_eq!(read(&longest, 0).map(|(_, behind)| behind), Some(255));
        let longer = [&[63; 64][..], &[63; 64], &[63; 64], &[62; 63], &[0]].concat();
        assert_eq!(skip(&longer, 0), Err(NameFault::Wrong));
        assert_eq!(read(&longer, 0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(message in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..700) {
            if let Some((text, behind)) = read(&message, at) {
                prop_assert!(behind <= message.len() && text.len() <= 4 * MAX_NAME);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
