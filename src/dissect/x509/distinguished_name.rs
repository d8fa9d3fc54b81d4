//! Names of subjects and issuers.

use super::der::{self, Elements};
use super::object::Object;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];

/// A distinguished name: contents of its outer sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(pub(super) &'a [u8]);

/// One part of a name.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    kind: Object<'a>,
    value: der::Element<'a>,
    /// Whether it belongs to the set of the part before it.
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Joined,
}

impl<'a> Name<'a> {
    fn parts(self) -> impl Iterator<Item = Part<'a>> {
        Elements::new(self.0).filter(|set| set.tag == der::SET).flat_map(|set| {
            set.inside().enumerate().filter_map(|(index, pair)| {
                let mut fields = pair.inside();
                let kind = Object(fields.expect(der::OBJECT)?);
                let place = if index == 0 { Place::First } else { Place::Joined };
                Some(Part { kind, value: fields.next()?, place })
            })
        })
    }

    /// The organisation as UTF-8, or the common name if there is none.
    #[must_use]
    pub fn organisation(self) -> Option<Vec<u8>> {
        let find = |oid: &[u8]| self.parts().find(|part| part.kind.0 == oid).map(|part| utf8(part.value));
        find(ORGANISATION).or_else(|| find(COMMON_NAME))
    }

    /// `/C=US/O=Example Corp/CN=www.example.com`; bytes that are not printable ASCII as `\xHH`.
    #[must_use]
    pub fn one_line(self) -> String {
        let mut text = String::new();
        for part in self.parts() {
            text.push('/');
            push_kind(&mut text, part.kind);
            for byte in narrow(part.value) {
                match byte {
                    // What separates parts of names is marked where it is part of one.
                    b'/' | b'+' => text.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => text.push(char::from(byte)),
                    _ => text.push_str(&format!("\\x{byte:02X}")),
                }
            }
        }
        text
    }

    /// `C=US, O="Example, Inc.", CN=www.example.com`.
    #[must_use]
    pub fn listed(self) -> String {
        let mut text = String::new();
        for part in self.parts() {
            if !text.is_empty() {
                text.push_str(match part.place {
                    Place::First => ", ",
                    Place::Joined => " + ",
                });
            }
            push_kind(&mut text, part.kind);
            escape(&mut text, part.value);
        }
        text
    }
}

fn push_kind(text: &mut String, kind: Object<'_>) {
    match kind.names() {
        Some((short, _)) => text.push_str(short),
        None => text.push_str(&kind.dotted()),
    }
    text.push('=');
}

/// The bytes of a string; wide ones without the zeros that all of their characters share.
fn narrow(value: der::Element<'_>) -> Vec<u8> {
    if value.tag == der::BMP && value.value.len().is_multiple_of(2) {
        let pairs = value.value.chunks_exact(2);
        if pairs.clone().all(|pair| pair[0] == 0) {
            return pairs.map(|pair| pair[1]).collect();
        }
    }
    value.value.to_vec()
}

/// A string as UTF-8.
fn utf8(value: der::Element<'_>) -> Vec<u8> {
    match value.tag {
        der::BMP => {
            let units = value.value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes()
        }
        // Latin 1 is what issuers mean by it.
        der::TELETEX => value.value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes(),
        _ => value.value.to_vec(),
    }
}

/// The value as RFC 2253 escapes it, with quotes where those spare escapes.
fn escape(text: &mut String, value: der::Element<'_>) {
    if !matches!(
        value.tag,
        der::UTF8 | der::PRINTABLE | der::IA5 | der::TELETEX | der::BMP | der::VISIBLE | der::NUMERIC
    ) {
        text.push('#');
        value.whole.iter().for_each(|byte| text.push_str(&format!("{byte:02X}")));
        return;
    }
    let bytes = utf8(value);
    let last = bytes.len().saturating_sub(1);
    let quoted = bytes.iter().enumerate().any(|(index, byte)| match byte {
        b',' | b'+' | b';' | b'<' | b'>' => true,
        b' ' => index == 0 || index == last,
        b'#' => index == 0,
        _ => false,
    });
    if quoted {
        text.push('"');
    }
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:02X}")),
        }
    }
    if quoted {
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let pair = [&[6, 3, 0x55, 4, kind, tag, value.len() as u8][..], value].concat();
        let sequence = [&[0x30, pair.len() as u8][..], &pair].concat();
        [&[0x31, sequence.len() as u8][..], &sequence].concat()
    }

    #[test]
    fn names_have_a_form_for_lists_and_one_for_lines() {
        let bytes = [part(6, 0x13, b"US"), part(10, 0x0C, b"Ex, \"Inc\""), part(3, 0x1E, b"\0a\x20\xAC")].concat();
        let name = Name(&bytes);
        assert_eq!(name.one_line(), "/C=US/O=Ex, \"Inc\"/CN=\\x00a \\xAC");
        assert_eq!(name.listed(), "C=US, O=\"Ex, \\\"Inc\\\"\", CN=a\\E2\\82\\AC");
        assert_eq!(name.organisation(), Some(b"Ex, \"Inc\"".to_vec()));
    }

    #[test]
    fn the_common_name_stands_in_for_an_organisation() {
        let bytes = part(3, 0x14, b"caf\xE9");
        assert_eq!(Name(&bytes).organisation(), Some("café".as_bytes().to_vec()));
        assert_eq!(Name(&[]).organisation(), None);
    }

    #[test]
    fn line_ends_in_a_name_do_not_end_the_line() {
        let bytes = part(3, 0x0C, b"a\nCN=b");
        assert_eq!(Name(&bytes).listed(), "CN=a\\0ACN=b");
        assert_eq!(Name(&bytes).one_line(), "/CN=a\\x0ACN=b");
    }
}
