//! The index beside a capture file: for each stretch of it the time span and the marks of the flows and hosts in it.
//!
//! A file of records that is only ever appended to: magic and version, then per stretch the length and the CRC-32 of a
//! body (offset and length in the capture, packets, first and last time, marks in ascending order; little-endian). Reading
//! stops at the first record that does not check; what the records do not cover is read packet by packet.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::record::{FILE_HEADER, RECORD_HEADER};
use crate::time::Timestamp;

const HEAD: [u8; 8] = *b"MSIX\x01\0\0\0";
const FIXED: usize = 8 + 4 + 4 + 8 + 8;
/// Packets of a stretch.
pub(super) const MAX_PACKETS: u32 = 4_096;
/// Bytes of a stretch, but for the packet that goes beyond.
pub(super) const MAX_BYTES: u32 = 1 << 20;
/// No record the store writes has a longer body: three marks a packet.
const MAX_BODY: usize = FIXED + 3 * 4 * MAX_PACKETS as usize;
/// No index is longer that a file of 4 GiB needs.
const MAX_INDEX: u64 = 256 << 20;

/// A stretch of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where its first packet's record starts.
    pub(super) offset: u64,
    /// Bytes of its records.
    pub(super) len: u32,
    /// Packets in it.
    pub(super) packets: u32,
    /// Earliest packet.
    pub(super) first: Timestamp,
    /// Latest packet.
    pub(super) last: Timestamp,
    /// Marks in ascending order; `None` if they are not known.
    pub(super) marks: Option<Vec<u32>>,
}

impl Stretch {
    /// A stretch that starts at an offset and has nothing yet.
    pub(super) const fn new(offset: u64) -> Self {
        let (first, last) = (Timestamp::from_nanos(i64::MAX), Timestamp::from_nanos(i64::MIN));
        Self { offset, len: 0, packets: 0, first, last, marks: None }
    }

    /// Where it ends.
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// Takes in the time of a packet whose record has this many bytes.
    pub(super) fn extend(&mut self, time: Timestamp, len: u32) {
        self.len += len;
        self.packets += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }

    /// True if no further packet should be added.
    pub(super) const fn is_full(&self) -> bool {
        self.packets >= MAX_PACKETS || self.len >= MAX_BYTES
    }

    /// False if no packet of it can have the mark.
    pub(super) fn may_have(&self, mark: u32) -> bool {
        self.marks.as_ref().is_none_or(|marks| marks.binary_search(&mark).is_ok())
    }

    /// The record, marks sorted.
    pub(super) fn to_record(&self) -> Vec<u8> {
        let marks = self.marks.as_deref().unwrap_or_default();
        let mut body = Vec::with_capacity(8 + FIXED + marks.len() * 4);
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&self.offset.to_le_bytes());
        body.extend_from_slice(&self.len.to_le_bytes());
        body.extend_from_slice(&self.packets.to_le_bytes());
        body.extend_from_slice(&self.first.as_nanos().to_le_bytes());
        body.extend_from_slice(&self.last.as_nanos().to_le_bytes());
        marks.iter().for_each(|mark| body.extend_from_slice(&mark.to_le_bytes()));
        let (len, crc) = ((body.len() - 8) as u32, crc32fast::hash(&body[8..]));
        body[..4].copy_from_slice(&len.to_le_bytes());
        body[4..8].copy_from_slice(&crc.to_le_bytes());
        body
    }

    fn from_body(body: &[u8]) -> Option<Self> {
        let (fixed, marks) = body.split_at_checked(FIXED)?;
        let word = |at: usize| fixed.get(at..at + 4)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        let long = |at: usize| fixed.get(at..at + 8)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        if marks.len() % 4 != 0 {
            return None;
        }
        let marks: Vec<u32> = marks.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let time = |at| Some(Timestamp::from_nanos(long(at)?.cast_signed()));
        Some(Self {
            offset: long(0)?,
            len: word(8)?,
            packets: word(12)?,
            first: time(16)?,
            last: time(24)?,
            marks: marks.is_sorted().then_some(marks),
        })
    }
}

/// An index that is being written.
#[derive(Debug)]
pub(super) struct IndexFile {
    file: File,
}

impl IndexFile {
    /// Begins an index.
    ///
    /// # Errors
    /// If the file is there already or cannot be made.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).mode(0o640).open(path)?;
        file.write_all(&HEAD)?;
        Ok(Self { file })
    }

    /// Adds a stretch.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn append(&mut self, stretch: &Stretch) -> io::Result<()> {
        self.file.write_all(&stretch.to_record())
    }
}

/// The stretches an index knows, in the order of the capture file, which is `len` bytes long. An index that is missing or
/// damaged knows fewer.
pub(super) fn read(path: &Path, len: u64) -> Vec<Stretch> {
    let mut bytes = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|data| data.is_file()) => {
            // What cannot be read is not covered.
            let _ = file.take(MAX_INDEX).read_to_end(&mut bytes);
        }
        _ => return Vec::new(),
    }
    parse(&bytes, len)
}

fn parse(bytes: &[u8], len: u64) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(&HEAD) else { return stretches };
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let Some((body, next)) = behind.split_at_checked(word(0) as usize).filter(|(body, _)| body.len() <= MAX_BODY)
        else {
            break;
        };
        if crc32fast::hash(body) != word(4) {
            break;
        }
        let Some(stretch) = Stretch::from_body(body) else { break };
        let from = stretches.last().map_or(FILE_HEADER, Stretch::end);
        let end = stretch.offset.checked_add(u64::from(stretch.len));
        if stretch.offset < from || end.is_none_or(|end| end > len) || (stretch.len as usize) < RECORD_HEADER {
            break;
        }
        stretches.push(stretch);
        rest = next;
    }
    stretches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{HEAD, Stretch, parse};
    use crate::time::Timestamp;

    fn stretch(offset: u64, marks: Vec<u32>) -> Stretch {
        let (first, last) = (Timestamp::new(5, 0), Timestamp::new(9, 1));
        Stretch { offset, len: 100, packets: 2, first, last, marks: Some(marks) }
    }

    fn index(stretches: &[Stretch]) -> Vec<u8> {
        stretches.iter().fold(HEAD.to_vec(), |mut all, stretch| {
            all.extend(stretch.to_record());
            all
        })
    }

    #[test]
    fn records_read_back() {
        let all = [stretch(24, vec![1, 7, 9]), stretch(124, Vec::new()), stretch(300, vec![u32::MAX])];
        assert_eq!(parse(&index(&all), 400), all);
        assert_eq!(parse(&index(&all), 399), all[..2]);
    }

    #[test]
    fn a_record_cut_short_or_changed_ends_the_index() {
        let all = [stretch(24, vec![1, 7, 9]), stretch(124, vec![3])];
        let bytes = index(&all);
        for cut in 0..bytes.len() {
            let found = parse(&bytes[..cut], 400);
            assert_eq!(found, all[..found.len()]);
            let mut changed = bytes.clone();
            changed[cut] ^= 0x10;
            let found = parse(&changed, 400);
            assert!(found.len() < 2 && found == all[..found.len()]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_index_of_something(bytes in prop::collection::vec(any::<u8>(), 0..400), len: u64) {
            let mut all = HEAD.to_vec();
            all.extend(bytes);
            parse(&all, len);
        }
    }
}
