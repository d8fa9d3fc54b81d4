//! The gzip frame (RFC 1952) around deflate: members one after the other, their headers and trailers taken off.

use flate2::Decompress;

use super::decoder::{Step, Then, inflate};

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

/// Header bytes that every member has.
const FIXED: u8 = 10;

/// Checksum and length behind every member. They are not checked: what they would tell comes after the content.
const TRAILER: u8 = 8;

/// Where in a member the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the bytes that every header has.
    Fixed(u8),
    /// In the length of the extra field.
    ExtraLength { seen: u8, length: u16 },
    /// In the extra field.
    Extra(u16),
    /// In the name.
    Name,
    /// In the comment.
    Comment,
    /// In the checksum of the header.
    HeaderCheck(u8),
    /// In the deflated data.
    Data,
    /// In the trailer.
    Trailer(u8),
    /// Behind the last member: whatever it is, it is no content.
    Behind,
    /// In front of no member at all.
    Damaged,
}

/// A gzip stream.
#[derive(Debug)]
pub(super) struct Gzip {
    at: At,
    flags: u8,
    first: FirstMember,
    inflater: Decompress,
}

/// Whether the first member is still being read: damage in front of it is damage, behind it the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstMember {
    Yes,
    No,
}

impl Gzip {
    /// In front of the first member.
    pub fn new() -> Self {
        Self { at: At::Fixed(0), flags: 0, first: FirstMember::Yes, inflater: Decompress::new(false) }
    }

    /// Decodes some of the input.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut used = 0;
        loop {
            if self.at == At::Data {
                let mut step = inflate(&mut self.inflater, &input[used..], output);
                if step.then == Then::End {
                    self.at = At::Trailer(0);
                    step.then = Then::More;
                }
                return Step { used: used + step.used, ..step };
            }
            let then = match (self.at, input.get(used)) {
                (At::Behind, _) => Then::End,
                (At::Damaged, _) => Then::Damaged,
                (_, None) => Then::More,
                (_, Some(byte)) => {
                    used += 1;
                    self.byte(*byte);
                    continue;
                }
            };
            return Step { used, made: 0, then };
        }
    }

    fn byte(&mut self, byte: u8) {
        self.at = match self.at {
            At::Fixed(index) => {
                let fits = match index {
                    0 => byte == 0x1F,
                    1 => byte == 0x8B,
                    2 => byte == 8,
                    3 => {
                        self.flags = byte;
                        byte & 0xE0 == 0
                    }
                    _ => true,
                };
                match (fits, self.first) {
                    (true, _) if index + 1 < FIXED => At::Fixed(index + 1),
                    (true, _) => self.behind(0),
                    (false, FirstMember::Yes) => At::Damaged,
                    (false, FirstMember::No) => At::Behind,
                }
            }
            At::ExtraLength { seen: 0, .. } => At::ExtraLength { seen: 1, length: u16::from(byte) },
            At::ExtraLength { length, .. } => match length | u16::from(byte) << 8 {
                0 => self.behind(FEXTRA),
                length => At::Extra(length),
            },
            At::Extra(1) => self.behind(FEXTRA),
            At::Extra(left) => At::Extra(left - 1),
            At::Name if byte == 0 => self.behind(FNAME),
            At::Comment if byte == 0 => self.behind(FCOMMENT),
            At::Name | At::Comment => self.at,
            At::HeaderCheck(0) => At::HeaderCheck(1),
            At::HeaderCheck(_) => self.behind(FHCRC),
            At::Trailer(index) if index + 1 < TRAILER => At::Trailer(index + 1),
            At::Trailer(_) => {
                self.first = FirstMember::No;
                At::Fixed(0)
            }
            At::Data | At::Behind | At::Damaged => self.at,
        };
    }

    /// What follows a part of the header; 0 is the fixed one. They come in the order of this list.
    fn behind(&mut self, part: u8) -> At {
        const PARTS: [(u8, At); 4] = [
            (FEXTRA, At::ExtraLength { seen: 0, length: 0 }),
            (FNAME, At::Name),
            (FCOMMENT, At::Comment),
            (FHCRC, At::HeaderCheck(0)),
        ];
        let next = PARTS.iter().position(|(flag, _)| *flag == part).map_or(0, |index| index + 1);
        match PARTS[next..].iter().find(|(flag, _)| self.flags & flag != 0) {
            Some((_, at)) => *at,
            None => {
                self.inflater.reset(false);
                At::Data
            }
        }
    }
}
