//! Lines of text under construction.

use std::fmt::Display;
use std::io::Write as _;

/// Text that grows at its end.
#[derive(Debug)]
pub struct Page<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Page<'a> {
    /// Writes behind what is there.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A whole line.
    pub fn line(&mut self, indent: usize, text: impl Display) {
        self.start(indent);
        self.add(text);
        self.end();
    }

    /// The blanks at the start of a line.
    pub fn start(&mut self, indent: usize) {
        self.out.resize(self.out.len() + indent, b' ');
    }

    /// More of a line.
    pub fn add(&mut self, text: impl Display) {
        write!(self.out, "{text}").expect("memory takes everything");
    }

    /// Bytes of a peer; what is not printable becomes a dot, so that no contents look like a line of ours.
    pub fn printable(&mut self, bytes: &[u8]) {
        self.out.extend(bytes.iter().map(|byte| if (b' '..=b'~').contains(byte) { *byte } else { b'.' }));
    }

    /// The end of a line.
    pub fn end(&mut self) {
        self.out.push(b'\n');
    }

    /// Bytes in hex with colons between, in lines of so many bytes; lines but the last end in a colon. Nothing for none.
    pub fn hex_lines(&mut self, indent: usize, width: usize, case: Case, bytes: &[u8]) {
        let last = bytes.len().div_ceil(width);
        for (line, piece) in bytes.chunks(width).enumerate() {
            self.start(indent);
            self.hex(case, piece);
            if line + 1 < last {
                self.out.push(b':');
            }
            self.end();
        }
    }

    /// Bytes in hex with colons between.
    pub fn hex(&mut self, case: Case, bytes: &[u8]) {
        let digits = match case {
            Case::Lower => b"0123456789abcdef",
            Case::Upper => b"0123456789ABCDEF",
        };
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 {
                self.out.push(b':');
            }
            self.out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }

    /// The text so far, for what writes bytes itself.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.out
    }
}

/// How hex digits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `ab`.
    Lower,
    /// `AB`.
    Upper,
}
