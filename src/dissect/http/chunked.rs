//! The chunked transfer coding (RFC 9112, 7.1), any number of bytes at a time and without memory of them.

/// Most digits of a chunk size that count; zeros in front do not.
const MAX_DIGITS: u8 = 16;

/// Most bytes of chunk extensions in one line, and of trailer fields.
const MAX_EXTRA: u32 = 64 << 10;

/// Where in the coding the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In front of or within a chunk size.
    Size { size: u64, digits: u8, any: Any },
    /// Behind a size, up to the end of the line.
    Extension { size: u64 },
    /// In the data of a chunk; at least one byte is missing.
    Data { left: u64 },
    /// Behind the data of a chunk: a line end must follow.
    DataEnd { seen_cr: Any },
    /// In the trailer; the line so far is empty but for a carriage return.
    TrailerStart { seen_cr: Any },
    /// Within a line of the trailer.
    TrailerLine,
}

/// Whether there has been one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Any {
    None,
    Some,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Part of the coding itself.
    Coding,
    /// Data of a chunk.
    Data,
    /// The rest of the coding: the body ends behind them.
    End,
    /// No chunked coding.
    Damaged,
}

/// A body in the chunked transfer coding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    at: At,
    extra: u32,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { at: At::Size { size: 0, digits: 0, any: Any::None }, extra: 0 }
    }
}

impl Chunked {
    /// How many of the next bytes, at least one, are of one kind. `bytes` is not empty.
    pub fn step(&mut self, bytes: &[u8]) -> (usize, Piece) {
        if let At::Data { left } = self.at {
            let len = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.skip_data(len as u64);
            return (len, Piece::Data);
        }
        for (index, byte) in bytes.iter().enumerate() {
            match self.byte(*byte) {
                Piece::Coding if !matches!(self.at, At::Data { .. }) => {}
                piece => return (index + 1, piece),
            }
        }
        (bytes.len(), Piece::Coding)
    }

    /// Takes missing bytes for data of the chunk that is being read, if they all belong to it.
    pub fn skip(&mut self, missing: u64) -> Option<()> {
        match self.at {
            At::Data { left } if missing <= left => {
                self.skip_data(missing);
                Some(())
            }
            _ => None,
        }
    }

    fn skip_data(&mut self, len: u64) {
        if let At::Data { left } = &mut self.at {
            *left -= len.min(*left);
            if *left == 0 {
                self.at = At::DataEnd { seen_cr: Any::None };
            }
        }
    }

    fn byte(&mut self, byte: u8) -> Piece {
        let next = match (self.at, byte) {
            (At::Size { size, digits, .. }, _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                let digits = if size == 0 { u8::from(digit != 0) } else { digits + 1 };
                self.extra += u32::from(digits == 0);
                if digits > MAX_DIGITS {
                    return Piece::Damaged;
                }
                At::Size { size: size << 4 | digit, digits, any: Any::Some }
            }
            (At::Size { any: Any::None, .. }, b' ' | b'\t') => {
                self.extra += 1;
                self.at
            }
            (At::Size { size, any: Any::Some, .. }, b';' | b' ' | b'\t' | b'\r') => At::Extension { size },
            (At::Size { size, any: Any::Some, .. } | At::Extension { size }, b'\n') => self.line_end(size),
            (At::Extension { .. }, _) => {
                self.extra += 1;
                self.at
            }
            (At::DataEnd { seen_cr: Any::None }, b'\r') => At::DataEnd { seen_cr: Any::Some },
            (At::DataEnd { .. }, b'\n') => At::Size { size: 0, digits: 0, any: Any::None },
            (At::TrailerStart { .. }, b'\n') => return Piece::End,
            (At::TrailerStart { seen_cr: Any::None }, b'\r') => At::TrailerStart { seen_cr: Any::Some },
            (At::TrailerLine, b'\n') => At::TrailerStart { seen_cr: Any::None },
            (At::TrailerStart { .. } | At::TrailerLine, _) => {
                self.extra += 1;
                At::TrailerLine
            }
            _ => return Piece::Damaged,
        };
        self.at = next;
        if self.extra > MAX_EXTRA { Piece::Damaged } else { Piece::Coding }
    }

    fn line_end(&mut self, size: u64) -> At {
        self.extra = 0;
        if size == 0 { At::TrailerStart { seen_cr: Any::None } } else { At::Data { left: size } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a coded body fed in pieces, how it ended, and how many bytes it took.
    fn read(coded: &[u8], piece: usize) -> (Vec<u8>, Piece, usize) {
        let mut chunked = Chunked::default();
        let (mut data, mut used, mut last) = (Vec::new(), 0, Piece::Coding);
        for mut bytes in coded.chunks(piece) {
            while !bytes.is_empty() {
                let (len, kind) = chunked.step(bytes);
                assert!(len > 0);
                if kind == Piece::Data {
                    data.extend_from_slice(&bytes[..len]);
                }
                used += len;
                last = kind;
                if matches!(kind, Piece::End | Piece::Damaged) {
                    return (data, last, used);
                }
                bytes = &bytes[len..];
            }
        }
        (data, last, used)
    }

    #[test]
    fn chunks_extensions_and_trailers_are_taken_off() {
        for coded in [
            "4\r\nWiki\r\n6\r\npedia \r\n0\r\n\r\n",
            "4\nWiki\n6\npedia \n0\n\n",
            "4;name=value\r\nWiki\r\n00006 ; x\r\npedia \r\n000\r\nExpires: never\r\nA: b\r\n\r\n",
            " 4\r\nWiki\r\n6  \r\npedia \r\n0\r\n\n",
        ] {
            for piece in [1, 2, 3, 7, 1_000] {
                let with_more = [coded.as_bytes(), b"HTTP/1.1"].concat();
                let expected = (b"Wikipedia ".to_vec(), Piece::End, coded.len());
                assert_eq!(read(&with_more, piece), expected, "{coded:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_damage() {
        for coded in ["x\r\n", "\r\n", "-1\r\n", "4\r\nWikixx", "4\r\nWiki\rx", "10000000000000000\r\n", ";\r\n"] {
            assert_eq!(read(coded.as_bytes(), 1).1, Piece::Damaged, "{coded:?}");
            assert_eq!(read(coded.as_bytes(), 99).1, Piece::Damaged, "{coded:?}");
        }
    }

    #[test]
    fn sizes_up_to_64_bits_and_any_zeros_in_front_are_read() {
        let (data, last, _) = read(b"00000000000000000000ffffffffffffffff\r\nabc", 1);
        assert_eq!((data, last), (b"abc".to_vec(), Piece::Data));
    }

    #[test]
    fn endless_extensions_and_trailers_are_damage() {
        let long = "x".repeat(MAX_EXTRA as usize + 1);
        for coded in [
            format!("1;{long}"),
            format!("0\r\n{long}"),
            format!("1{}", " ".repeat(long.len() + 1)),
            "0".repeat(long.len()),
        ] {
            assert_eq!(read(coded.as_bytes(), 1_000).1, Piece::Damaged);
        }
    }

    #[test]
    fn missing_bytes_must_lie_within_the_data_of_one_chunk() {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.step(b"5\r\nab"), (3, Piece::Coding));
        assert_eq!(chunked.step(b"ab"), (2, Piece::Data));
        assert_eq!(chunked.skip(4), None);
        assert_eq!(chunked.skip(3), Some(()));
        assert_eq!(chunked.step(b"\r\n0\r\n\r\nX"), (7, Piece::End));
        assert_eq!(Chunked::default().skip(1), None);
    }
}
