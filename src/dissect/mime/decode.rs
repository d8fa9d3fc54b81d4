//! The bytes of a part out of its lines.

use data_encoding::BASE64;

use super::header::Encoding;
use crate::dissect::file_hash::FileHash;

/// Hashes a part as it is decoded. The same lines in other pieces give the same bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    encoding: Encoding,
    hash: FileHash,
    /// Characters that are not a whole group, or an escape that is not complete.
    carry: Vec<u8>,
    /// A line end that belongs to the part only if another line follows.
    line_end: &'static [u8],
    /// Base64 has ended.
    is_over: bool,
}

impl Decoder {
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, ..Self::default() }
    }

    /// The next line or piece of one, with its end.
    pub fn line(&mut self, bytes: &[u8]) {
        let text = bytes.strip_suffix(b"\n").map_or(bytes, |text| text.strip_suffix(b"\r").unwrap_or(text));
        let end: &'static [u8] = match bytes.len() - text.len() {
            0 => b"",
            1 => b"\n",
            _ => b"\r\n",
        };
        match self.encoding {
            Encoding::Plain => self.plain(text, end),
            Encoding::Base64 => self.base64(text),
            Encoding::Quoted => self.quoted(text, end),
        }
    }

    fn plain(&mut self, text: &[u8], end: &'static [u8]) {
        self.hash.update(std::mem::replace(&mut self.line_end, end));
        self.hash.update(text);
    }

    fn base64(&mut self, text: &[u8]) {
        if self.is_over {
            return;
        }
        // Room for a line of 1,024 and what was left of the one before.
        let mut decoded = [0; 780];
        let is_sign = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        self.carry.extend(text.iter().filter(is_sign));
        let whole = self.carry.len() / 4 * 4;
        for group in self.carry[..whole].chunks(1_024) {
            match BASE64.decode_mut(group, &mut decoded[..group.len() / 4 * 3]) {
                Ok(len) => self.hash.update(&decoded[..len]),
                Err(partial) => {
                    self.hash.update(&decoded[..partial.written]);
                    self.is_over = true;
                    break;
                }
            }
            self.is_over |= group.ends_with(b"=");
        }
        self.carry.drain(..whole);
    }

    fn quoted(&mut self, text: &[u8], end: &'static [u8]) {
        self.carry.extend_from_slice(text);
        let joined = std::mem::take(&mut self.carry);
        // Blanks at the end of a line were added on the way.
        let mut rest = if end.is_empty() { &joined[..] } else { joined.trim_ascii_end() };
        self.hash.update(std::mem::take(&mut self.line_end));
        self.line_end = end;
        while let Some(at) = rest.iter().position(|byte| *byte == b'=') {
            self.hash.update(&rest[..at]);
            let escape = &rest[at + 1..];
            rest = match escape.get(..2) {
                Some(digits) => {
                    match hex_byte(digits) {
                        Some(byte) => self.hash.update(&[byte]),
                        None => self.hash.update(&rest[at..at + 3]),
                    }
                    &escape[2..]
                }
                // The line goes on in the next one.
                None if escape.is_empty() && !end.is_empty() => {
                    self.line_end = b"";
                    escape
                }
                None if end.is_empty() => {
                    self.carry = rest[at..].to_vec();
                    &[]
                }
                None => {
                    self.hash.update(&rest[at..]);
                    &[]
                }
            };
        }
        self.hash.update(rest);
    }

    /// A boundary follows, which the last line end belongs to.
    pub fn finish(self) -> FileHash {
        self.hash
    }

    /// Nothing follows: the last line end is one of the part.
    pub fn finish_message(mut self) -> FileHash {
        self.hash.update(self.line_end);
        self.hash
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.carry.capacity()
    }
}

/// The byte that two hexadecimal digits stand for.
pub fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    match digits {
        [high, low] => Some((value(*high)? << 4 | value(*low)?) as u8),
        _ => None,
    }
}
