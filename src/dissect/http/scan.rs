//! Finds the end of a header block that comes in pieces.

/// How far a block has been looked at; every byte is looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockScan {
    /// Where the line begins that has not ended yet.
    line: usize,
    /// First byte not looked at.
    seen: usize,
}

impl BlockScan {
    /// Length of the block up to and including its empty line, once that is there. `bytes` are all bytes of the block so
    /// far and may go beyond it.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(found) = bytes.get(self.seen..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let at = self.seen + found;
            let line = &bytes[self.line..at];
            let empty = line.is_empty() || line == b"\r";
            self.line = at + 1;
            self.seen = at + 1;
            if empty {
                return Some(at + 1);
            }
        }
        self.seen = bytes.len();
        None
    }

    /// True once the first line is complete.
    pub const fn has_line(self) -> bool {
        self.line > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_same_in_one_piece_and_byte_by_byte() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nbody", Some(24)),
            ("GET / HTTP/1.1\nA: b\n\nbody", Some(21)),
            ("GET / HTTP/1.1\r\n\nbody", Some(17)),
            ("GET / HTTP/1.1\r\n \r\n\r\n", Some(21)),
            ("GET / HTTP/1.1\r\nA: b\r\n", None),
            ("GET / HTTP/1.1\r\n\r", None),
        ] {
            assert_eq!(BlockScan::default().end(text.as_bytes()), end, "{text:?}");
            let mut scan = BlockScan::default();
            let found = (1..=text.len()).find_map(|len| scan.end(&text.as_bytes()[..len]));
            assert_eq!(found, end, "{text:?}");
        }
    }
}
