//! Messages as the texts of resources and documents.

use std::io::Write;

use super::data;
use super::kind::{push_class, push_kind};
use super::message::{Message, Record, Section};
use super::name::{self, NameStyle};

/// Most bytes of text made of one message. Pointers make more text than there are bytes on the wire.
const MAX_TEXT: usize = 64 << 10;

/// Whether a text is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It is.
    Whole,
    /// Records are missing: beyond the limit, or cut off.
    Cut,
}

/// Appends the name that the message is about, in lower case: that of the question, else of the first record.
pub fn push_subject(text: &mut Vec<u8>, message: &Message<'_>) {
    let mark = text.len();
    let mut place = None;
    let records = message.questions(|question| {
        place.get_or_insert(question.name);
    });
    if place.is_none() {
        message.records(records, |_, record| {
            place = Some(record.name);
            false
        });
    }
    if let Some(place) = place {
        name::push(text, message.bytes, place, NameStyle::Plain);
    }
    text[mark..].make_ascii_lowercase();
}

/// Appends one line per record.
pub fn push_label(text: &mut Vec<u8>, message: &Message<'_>) -> Completeness {
    let mark = text.len();
    let records = message.questions(|_| {});
    let end = message.records(records, |_, record| {
        let line = text.len();
        push_name(text, message, &record, NameStyle::Plain);
        text.push(b'\t');
        push_kind(text, record.kind);
        text.push(b'\t');
        data::push(text, message.bytes, &record, NameStyle::Plain);
        text.push(b'\n');
        within(text, mark, line)
    });
    if end.is_some() { Completeness::Whole } else { Completeness::Cut }
}

/// Appends the document of a message.
pub fn push_document(text: &mut Vec<u8>, message: &Message<'_>) -> Completeness {
    let mark = text.len();
    let what = if message.is_response() { "RESPONSE" } else { "QUERY" };
    let [questions, answers, authority, additional] = message.counts;
    writeln!(
        text,
        "{what}\tID: {}\tFlags:0x{:04x}\tQDCount:{questions}\tANCount:{answers}\tNSCount:{authority}\tARCount:{additional}",
        message.id, message.flags
    )
    .expect("writing to memory does not fail");
    if questions > 0 {
        text.extend_from_slice(b"Questions\n");
    }
    let records = message.questions(|question| {
        name::push(text, message.bytes, question.name, NameStyle::Dotted);
        text.extend_from_slice(b"\t\t");
        push_kind(text, question.kind);
        text.push(b'\t');
        push_class(text, question.class);
        text.push(b'\n');
    });
    let mut before = None;
    let end = message.records(records, |section, record| {
        let line = text.len();
        if before.replace(section) != Some(section) {
            text.extend_from_slice(heading(section));
        }
        push_name(text, message, &record, NameStyle::Dotted);
        text.extend_from_slice(b"\t\t");
        push_kind(text, record.kind);
        text.push(b'\t');
        push_class(text, record.class);
        text.push(b'\t');
        data::push(text, message.bytes, &record, NameStyle::Dotted);
        text.push(b'\n');
        within(text, mark, line)
    });
    text.push(b'\n');
    if end.is_some() { Completeness::Whole } else { Completeness::Cut }
}

const fn heading(section: Section) -> &'static [u8] {
    match section {
        Section::Answer => b"Answers\n",
        Section::Authority => b"Authority\n",
        Section::Additional => b"Additional\n",
    }
}

/// An owner whose name cannot be read is a question mark.
fn push_name(text: &mut Vec<u8>, message: &Message<'_>, record: &Record, style: NameStyle) {
    if name::push(text, message.bytes, record.name, style).is_none() {
        text.push(b'?');
    }
}

/// Whether the text is within the limit; the line that goes beyond it is taken away.
fn within(text: &mut Vec<u8>, mark: usize, line: usize) -> bool {
    let fits = text.len() - mark <= MAX_TEXT;
    if !fits {
        text.truncate(line);
    }
    fits
}
