//! A message as data, for whoever shows it in a form of its own.

use super::data;
use super::kind::{OPT, push_kind};
use super::message::{Message, Section};
use super::name::{self, NameStyle};

/// Most bytes of text made of one message.
const MAX_TEXT: usize = 64 << 10;

/// Room that is made for names and data, and for types: enough for most.
const USUAL_NAME: usize = 48;
const USUAL_KIND: usize = 8;

/// Parts of a message that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsSection {
    /// Questions; their time to live is 0 and they have no data.
    Question,
    /// Answers.
    Answer,
    /// Authority.
    Authority,
}

/// A question or a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsLine {
    /// Where it stands.
    pub section: DnsSection,
    /// Owner.
    pub name: Vec<u8>,
    /// Name of its type.
    pub kind: Vec<u8>,
    /// Time to live.
    pub ttl: u32,
    /// Data in the form of zone files.
    pub data: Vec<u8>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsOutline {
    /// Identification.
    pub id: u16,
    /// Flags, operation, response code.
    pub flags: u16,
    /// Questions and records, in order; not those that would make the text longer than 64 KiB.
    pub records: Vec<DnsLine>,
}

impl DnsOutline {
    /// Reads a message; nothing if it is none.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let message = Message::check(bytes).ok()?;
        let mut records = Vec::new();
        let mut left = MAX_TEXT;
        let name_of = |at| {
            let mut text = Vec::with_capacity(USUAL_NAME);
            if name::push(&mut text, message.bytes, at, NameStyle::Plain).is_none() {
                text.push(b'?');
            }
            text
        };
        let kind_of = |kind| {
            let mut text = Vec::with_capacity(USUAL_KIND);
            push_kind(&mut text, kind);
            text
        };
        let mut push = |line: DnsLine| {
            let fits = left.checked_sub(line.name.len() + line.data.len());
            left = fits.unwrap_or(0);
            if fits.is_some() {
                records.push(line);
            }
            fits.is_some()
        };
        let behind = message.questions(|question| {
            let (name, kind) = (name_of(question.name), kind_of(question.kind));
            push(DnsLine { section: DnsSection::Question, name, kind, ttl: 0, data: Vec::new() });
        });
        message.records(behind, |section, record| {
            let section = match section {
                Section::Answer => DnsSection::Answer,
                Section::Authority => DnsSection::Authority,
                Section::Additional => return false,
            };
            if record.kind == OPT {
                return true;
            }
            let mut data = Vec::with_capacity(USUAL_NAME);
            data::push(&mut data, message.bytes, &record, NameStyle::Plain);
            let (name, kind) = (name_of(record.name), kind_of(record.kind));
            push(DnsLine { section, name, kind, ttl: record.ttl, data })
        });
        Some(Self { id: message.id, flags: message.flags, records })
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsOutline, DnsSection};
    use proptest::prelude::*;

    #[test]
    fn a_response_is_read_with_its_questions_and_answers() {
        let message = b"\x99\x33\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\x5D\xB8\xD8\x22";
        let outline = DnsOutline::of(message).unwrap();
        assert_eq!((outline.id, outline.flags, outline.records.len()), (0x9933, 0x8180, 2));
        let answer = &outline.records[1];
        assert_eq!((answer.section, answer.ttl, &answer.data[..]), (DnsSection::Answer, 60, &b"93.184.216.34"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(outline) = DnsOutline::of(&bytes) {
                let text: usize = outline.records.iter().map(|line| line.name.len() + line.data.len()).sum();
                prop_assert!(text <= super::MAX_TEXT);
            }
        }
    }
}
