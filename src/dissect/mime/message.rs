//! The structure of a message: fields, parts, parts of parts.

use super::decode::Decoder;
use super::header::Fields;
use crate::dissect::Context;
use crate::dissect::lines::{Line, Start};
use crate::flow::Direction;

/// How deep parts may nest.
const MAX_DEPTH: usize = 8;

/// What the lines belong to.
#[derive(Debug)]
enum Place {
    Fields(Box<Fields>),
    /// A file with its name.
    File(Box<[u8]>, Box<Decoder>),
    /// Text, or what stands in front of, between and behind parts.
    Other,
}

/// A message on its way to a server of mail.
#[derive(Debug)]
pub struct Mime {
    place: Place,
    /// Boundaries that are open, the innermost last.
    boundaries: Vec<Box<[u8]>>,
    number: u64,
}

impl Mime {
    /// A message, by its number within the flow.
    pub fn new(number: u64) -> Self {
        Self { place: Place::Fields(Box::default()), boundaries: Vec::new(), number }
    }

    /// The next line.
    pub fn line(&mut self, cx: &mut Context<'_>, line: Line<'_>) {
        if line.start == Start::Line && line.bytes.starts_with(b"--") && self.boundary(cx, line.text()) {
            return;
        }
        match &mut self.place {
            Place::Fields(fields) => {
                let text = line.text();
                if line.start == Start::Line && text.is_empty() {
                    fields.close();
                    let fields = std::mem::take(&mut **fields);
                    self.body(cx, fields);
                } else {
                    let is_folded = matches!(text, [b' ' | b'\t', ..]);
                    fields.line(text, if is_folded { Start::Middle } else { line.start });
                }
            }
            Place::File(_, decoder) => decoder.line(line.bytes),
            Place::Other => {}
        }
    }

    /// A line that may separate parts; false if it does not.
    fn boundary(&mut self, cx: &mut Context<'_>, text: &[u8]) -> bool {
        let text = text.trim_ascii_end();
        let fits = |boundary: &[u8]| matches!(text.strip_prefix(boundary), Some(b"" | b"--"));
        let Some(depth) = self.boundaries.iter().rposition(|boundary| fits(boundary)) else { return false };
        self.part_ends(cx);
        let is_close = text.len() > self.boundaries[depth].len();
        // Parts within it end with it, closed or not.
        self.boundaries.truncate(if is_close { depth } else { depth + 1 });
        self.place = if is_close { Place::Other } else { Place::Fields(Box::default()) };
        true
    }

    /// The fields are read, what they describe follows.
    fn body(&mut self, cx: &mut Context<'_>, fields: Fields) {
        self.place = match fields {
            Fields { boundary: Some(boundary), .. } => {
                if self.boundaries.len() < MAX_DEPTH {
                    self.boundaries.push(boundary);
                } else {
                    cx.counts.add("mime parts too deep");
                }
                Place::Other
            }
            Fields { name: Some(name), encoding, .. } => Place::File(name, Box::new(Decoder::new(encoding))),
            Fields { is_message: true, .. } => Place::Fields(Box::default()),
            _ => Place::Other,
        };
    }

    fn part_ends(&mut self, cx: &mut Context<'_>) {
        if let Place::File(name, decoder) = std::mem::replace(&mut self.place, Place::Other) {
            decoder.finish().report(cx, Direction::ToServer, &name, self.number);
        }
    }

    /// The message is complete.
    pub fn finish(&mut self, cx: &mut Context<'_>) {
        if let Place::File(name, decoder) = std::mem::replace(&mut self.place, Place::Other) {
            decoder.finish_message().report(cx, Direction::ToServer, &name, self.number);
        }
    }

    /// Bytes it holds beyond its own size.
    pub fn held(&self) -> usize {
        let boundaries: usize = self.boundaries.iter().map(|boundary| boundary.len() + size_of::<Box<[u8]>>()).sum();
        boundaries
            + match &self.place {
                Place::Fields(fields) => size_of::<Fields>() + fields.held(),
                Place::File(name, decoder) => size_of::<Decoder>() + name.len() + decoder.held(),
                Place::Other => 0,
            }
    }
}
