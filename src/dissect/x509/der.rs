//! Elements of DER, one level at a time.

use der::{Decode as _, Header, Reader as _, SliceReader};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT: u8 = 0x06;
pub const UTF8: u8 = 0x0C;
pub const TELETEX: u8 = 0x14;
pub const NUMERIC: u8 = 0x12;
pub const PRINTABLE: u8 = 0x13;
pub const IA5: u8 = 0x16;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const VISIBLE: u8 = 0x1A;
pub const BMP: u8 = 0x1E;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Tag of a context-specific element with primitive contents.
pub const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Tag of a context-specific element with elements in it.
pub const fn context_of(number: u8) -> u8 {
    0xA0 | number
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// Its first byte.
    pub tag: u8,
    /// Its contents.
    pub value: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements in it.
    pub fn inside(self) -> Elements<'a> {
        Elements::new(self.value)
    }

    /// The contents if the tag is this one.
    pub fn only(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.value)
    }
}

/// Elements that follow each other; ends at the first that cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The contents of the next element, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag)
    }

    /// The contents of the next element if it has this tag; else it stays.
    pub fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.rest.first() != Some(&tag) {
            return None;
        }
        self.next().map(|element| element.value)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let read = |rest: &'a [u8]| -> Option<(u8, &'a [u8], usize)> {
            let mut reader = SliceReader::new(rest).ok()?;
            let header = Header::decode(&mut reader).ok()?;
            let value = reader.read_slice(header.length()).ok()?;
            let end = usize::try_from(reader.position()).ok()?;
            Some((*rest.first()?, value, end))
        };
        let Some((tag, value, end)) = read(self.rest) else {
            self.rest = &[];
            return None;
        };
        let (whole, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(Element { tag, value, whole })
    }
}

/// The one element these bytes are.
pub fn single(bytes: &[u8]) -> Option<Element<'_>> {
    Elements::new(bytes).next()
}

/// The elements in the sequence these bytes are.
pub fn sequence(bytes: &[u8]) -> Option<Elements<'_>> {
    single(bytes)?.only(SEQUENCE).map(Elements::new)
}

/// Bytes of an unsigned or negative integer without the zero that only carries the sign; at least one byte.
pub fn magnitude(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => bytes,
    }
}

/// A small integer that is not negative.
pub fn small(bytes: &[u8]) -> Option<u64> {
    let bytes = match bytes {
        [first, ..] if *first >= 0x80 => return None,
        _ => magnitude(bytes),
    };
    (!bytes.is_empty() && bytes.len() <= 8).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// The bytes of a bit string, without its count of unused bits.
pub fn bits(value: &[u8]) -> Option<&[u8]> {
    let (unused, bytes) = value.split_first()?;
    (*unused < 8).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_end_where_a_length_lies() {
        let bytes = [0x02, 1, 5, 0x04, 2, 1, 2, 0x04, 9, 1];
        let mut list = Elements::new(&bytes);
        assert_eq!(list.optional(OCTET_STRING), None);
        assert_eq!(list.expect(INTEGER), Some(&[5][..]));
        let second = list.next().unwrap();
        assert_eq!((second.tag, second.value, second.whole), (4, &[1, 2][..], &bytes[3..7]));
        assert!(list.next().is_none());
        assert!(list.next().is_none());
    }

    #[test]
    fn integers_are_read_with_their_sign() {
        assert_eq!(small(&[0, 0x80]), Some(128));
        assert_eq!(small(&[0x80]), None);
        assert_eq!(small(&[]), None);
        assert_eq!(small(&[1; 9]), None);
        assert_eq!(magnitude(&[0]), [0]);
    }
}
