//! Tells from the first bytes what a file is; names never matter.

use std::fmt;

use super::pcapfile;
use super::pcapng;

/// How many bytes from the start of a file are enough to tell.
pub(super) const HEAD_LEN: usize = 512;

/// A compression that is unpacked on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip, several members included.
    Gzip,
    /// Zstandard, several frames included.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What the first bytes of a file say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pcap,
    Pcapng,
    Compressed(Compression),
    Other(Content),
}

/// What a file looks like that is no capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No bytes at all.
    Empty,
    /// A compression that is not unpacked here; the tool that does is named.
    Packed {
        /// The format.
        format: &'static str,
        /// Command that unpacks it to standard output.
        tool: &'static str,
    },
    /// Another format, known by its first bytes.
    Known(&'static str),
    /// A compressed file within a compressed file.
    Twice(Compression),
    /// Readable text.
    Text,
    /// Anything else.
    Binary {
        /// The first four bytes, zero where there are fewer.
        head: [u8; 4],
    },
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::Packed { format, tool } => {
                write!(f, "it looks like {format}, unpack it first: {tool} FILE | millstream run -r -")
            }
            Self::Known(what) => write!(f, "it looks like {what}"),
            Self::Twice(compression) => write!(f, "it holds another {compression} file; unpack it once first"),
            Self::Text => f.write_str("it looks like a text file"),
            Self::Binary { head: [a, b, c, d] } => {
                write!(f, "it starts with the unknown bytes {a:02x} {b:02x} {c:02x} {d:02x}")
            }
        }
    }
}

const KNOWN: [(&[u8], Content); 16] = [
    (b"\x7fELF", Content::Known("an ELF executable")),
    (b"MZ", Content::Known("a Windows executable")),
    (b"#!", Content::Known("a script")),
    (b"snoop\0\0\0", Content::Known("a snoop capture; convert it with: editcap FILE FILE.pcapng")),
    (b"GMBU", Content::Known("a Network Monitor capture; convert it with: editcap FILE FILE.pcapng")),
    (b"RTSS", Content::Known("a Network Monitor capture; convert it with: editcap FILE FILE.pcapng")),
    (b"SQLite format 3\0", Content::Known("an SQLite database")),
    (b"%PDF-", Content::Known("a PDF document")),
    (b"\x89PNG", Content::Known("a PNG image")),
    (b"\xff\xd8\xff", Content::Known("a JPEG image")),
    (b"\x1bLJ", Content::Known("LuaJIT bytecode")),
    (b"\xfd7zXZ\0", Content::Packed { format: "an xz file", tool: "xz -dc" }),
    (b"BZh", Content::Packed { format: "a bzip2 file", tool: "bzip2 -dc" }),
    (b"\x04\x22\x4d\x18", Content::Packed { format: "an lz4 file", tool: "lz4 -dc" }),
    (b"PK\x03\x04", Content::Packed { format: "a zip archive", tool: "unzip -p" }),
    (b"7z\xbc\xaf\x27\x1c", Content::Packed { format: "a 7-Zip archive", tool: "7z e -so" }),
];

/// Tells what a file with these first bytes is; `head` is all there is, or at least [`HEAD_LEN`] bytes.
pub(super) fn kind(head: &[u8]) -> Kind {
    if let Some(&magic) = head.first_chunk::<4>() {
        let magic = u32::from_ne_bytes(magic);
        if pcapfile::is_magic(magic) {
            return Kind::Pcap;
        }
        if magic == pcapng::SECTION_HEADER {
            return Kind::Pcapng;
        }
        // Frames that a zstd reader passes over have sixteen magic numbers of their own.
        let little = u32::from_le(magic);
        if little == 0xFD2F_B528 || little & 0xFFFF_FFF0 == 0x184D_2A50 {
            return Kind::Compressed(Compression::Zstd);
        }
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Kind::Compressed(Compression::Gzip);
    }
    Kind::Other(content(head))
}

fn content(head: &[u8]) -> Content {
    if head.is_empty() {
        return Content::Empty;
    }
    if let Some(&(_, content)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return content;
    }
    // A multi-byte character may be cut at the end of the view.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true);
    let is_printable = !head.iter().any(|&b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b));
    if is_utf8 && is_printable {
        return Content::Text;
    }
    let mut first = [0; 4];
    let known = head.len().min(4);
    first[..known].copy_from_slice(&head[..known]);
    Content::Binary { head: first }
}

#[cfg(test)]
mod tests {
    use super::{Compression, Content, Kind, kind};

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        assert_eq!(kind(&0xa1b2_c3d4_u32.to_le_bytes()), Kind::Pcap);
        assert_eq!(kind(&0xa1b2_3c4d_u32.to_be_bytes()), Kind::Pcap);
        assert_eq!(kind(b"\n\r\r\n"), Kind::Pcapng);
        assert_eq!(kind(&[0x1f, 0x8b, 8]), Kind::Compressed(Compression::Gzip));
        assert_eq!(kind(&[0x28, 0xb5, 0x2f, 0xfd]), Kind::Compressed(Compression::Zstd));
        assert_eq!(kind(b""), Kind::Other(Content::Empty));
        assert_eq!(kind(b"\x7fELF\x02\x01"), Kind::Other(Content::Known("an ELF executable")));
        assert_eq!(kind("gr\u{fc}n\n".as_bytes()), Kind::Other(Content::Text));
        assert_eq!(kind(&[0, 1]), Kind::Other(Content::Binary { head: [0, 1, 0, 0] }));
    }
}
