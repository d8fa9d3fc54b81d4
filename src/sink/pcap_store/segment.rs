//! One capture file of the store: being written, or closed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::index::{self, IndexFile, MAX_BYTES, Stretch};
use super::record::{FILE_HEADER, MAGIC, MAX_CAPLEN, RECORD_HEADER, file_header, read_record};
use crate::packet::LinkType;
use crate::time::Timestamp;

/// The index beside a capture file.
pub(super) fn index_path(capture: &Path) -> PathBuf {
    capture.with_extension("idx")
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) path: PathBuf,
    pub(super) linktype: LinkType,
    /// Bytes of whole packets, the file's header included.
    pub(super) len: u64,
    /// Whole packets in it.
    pub(super) packets: u64,
    /// Earliest and latest packet.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    file: File,
    index: Option<IndexFile>,
    stretch: Stretch,
    marks: Vec<u32>,
}

/// What appending did to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    Yes,
    /// A stretch could not be written; it will be read packet by packet.
    Lost,
}

impl OpenSegment {
    /// Begins a file and its index.
    ///
    /// # Errors
    /// If one of them is there already or cannot be made.
    pub(super) fn create(path: PathBuf, linktype: LinkType) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).mode(0o640);
        let mut file = options.open(&path)?;
        if let Err(error) = file.write_all(&file_header(linktype)) {
            // A file without a header is no capture.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let index = IndexFile::create(&index_path(&path)).ok();
        let stretch = Stretch::new(FILE_HEADER);
        let (len, marks) = (FILE_HEADER, Vec::new());
        Ok(Self { path, linktype, len, packets: 0, span: None, file, index, stretch, marks })
    }

    /// Whether the file has no name any more: nobody finds what is written there.
    pub(super) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.nlink() == 0)
    }

    /// Appends whole records; `packets` has the time, length and marks of each.
    ///
    /// # Errors
    /// If the file cannot be written; it then ends with the packet before.
    pub(super) fn append<'a>(
        &mut self,
        records: &[u8],
        packets: impl Iterator<Item = (Timestamp, u32, &'a [u32])>,
    ) -> io::Result<Indexed> {
        if let Err(error) = self.file.write_all(records) {
            // If even this fails, the part of a packet at the end is cut off when the store is opened again.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(error);
        }
        let mut indexed = Indexed::Yes;
        for (time, len, marks) in packets {
            self.stretch.extend(time, len);
            self.marks.extend_from_slice(marks);
            self.len += u64::from(len);
            self.packets += 1;
            self.span = Some(self.span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
            if self.stretch.is_full() && self.end_stretch() == Indexed::Lost {
                indexed = Indexed::Lost;
            }
        }
        Ok(indexed)
    }

    /// Writes the open stretch to the index.
    fn end_stretch(&mut self) -> Indexed {
        let mut stretch = std::mem::replace(&mut self.stretch, Stretch::new(self.len));
        self.marks.sort_unstable();
        self.marks.dedup();
        stretch.marks = Some(self.marks.clone());
        self.marks.clear();
        let written = self.index.as_mut().is_some_and(|index| index.append(&stretch).is_ok());
        if !written {
            // Records behind a broken one would not be found.
            self.index = None;
            return Indexed::Lost;
        }
        Indexed::Yes
    }

    /// Ends the file.
    pub(super) fn close(mut self) -> (ClosedSegment, Indexed) {
        let indexed = if self.stretch.packets > 0 { self.end_stretch() } else { Indexed::Yes };
        let last = self.span.map_or(Timestamp::EPOCH, |(_, last)| last);
        (ClosedSegment { path: self.path, len: self.len, last }, indexed)
    }
}

/// A file nobody writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClosedSegment {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Latest packet.
    pub(super) last: Timestamp,
}

/// Where and why a file of the store could not be read further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: damaged at byte {offset}: {reason}", file.display())]
pub struct StoreDamage {
    /// The file.
    pub file: PathBuf,
    /// Where the first packet that could not be read begins.
    pub offset: u64,
    /// What is wrong there.
    pub reason: StoreDamageReason,
}

/// What is wrong with a file of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreDamageReason {
    /// The file ends too early.
    #[error("the file ends inside a {part}: {found} of {needed} bytes")]
    Cut {
        /// What is cut.
        part: &'static str,
        /// Bytes of it that there are.
        found: u64,
        /// Bytes it should have.
        needed: u64,
    },
    /// Something else is there.
    #[error("what is there is no packet")]
    NoPacket,
}

/// A file as it is found: its link type and all its stretches.
#[derive(Debug)]
pub(super) struct FoundSegment {
    path: PathBuf,
    file: File,
    pub(super) linktype: LinkType,
    pub(super) stretches: Vec<Stretch>,
    /// End of the last whole packet.
    pub(super) end: u64,
    /// Length of the file.
    pub(super) len: u64,
}

impl FoundSegment {
    /// Opens a file of the store and finds out what is in it; what its index does not cover is read.
    ///
    /// # Errors
    /// If it cannot be read or is no file the store wrote.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a plain file"));
        }
        let mut header = [0; FILE_HEADER as usize];
        file.read_exact(&mut header)?;
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let linktype = u16::try_from(word(20)).ok().filter(|_| word(0) == MAGIC);
        let Some(linktype) = linktype else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a capture of the packet store"));
        };
        let len = data.len();
        let known = index::read(&index_path(path), len);
        let (path, linktype) = (path.to_owned(), LinkType(linktype));
        let mut found = Self { path, file, linktype, stretches: Vec::new(), end: FILE_HEADER, len };
        for stretch in known {
            found.read_until(stretch.offset)?;
            if found.end != stretch.offset {
                // The index speaks of another file.
                break;
            }
            found.end = stretch.end();
            found.stretches.push(stretch);
        }
        found.read_until(len)?;
        Ok(found)
    }

    /// What keeps the rest of the file from being read; `None` if it ends with a whole packet.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn damage(&mut self) -> io::Result<Option<StoreDamage>> {
        let left = self.len.saturating_sub(self.end);
        if left == 0 {
            return Ok(None);
        }
        let mut header = [0; RECORD_HEADER];
        let got = read_at(&mut self.file, self.end, &mut header)?;
        let cut = |part, needed| StoreDamageReason::Cut { part, found: left, needed };
        let reason = match read_record(&header[..got]) {
            Some(record) => cut("record", RECORD_HEADER as u64 + u64::from(record.caplen)),
            None if left < RECORD_HEADER as u64 => cut("record header", RECORD_HEADER as u64),
            None => StoreDamageReason::NoPacket,
        };
        Ok(Some(StoreDamage { file: self.path.clone(), offset: self.end, reason }))
    }

    /// The same for a place within a stretch.
    pub(super) fn damage_at(&self, stretch: usize, at: usize) -> Option<StoreDamage> {
        let offset = self.stretches.get(stretch)?.offset + at as u64;
        Some(StoreDamage { file: self.path.clone(), offset, reason: StoreDamageReason::NoPacket })
    }

    /// Reads packets from the end of what is known up to `limit`.
    fn read_until(&mut self, limit: u64) -> io::Result<()> {
        let mut stretch = Stretch::new(self.end);
        let mut bytes = Vec::new();
        while self.end < limit {
            bytes.resize((limit - self.end).min(u64::from(MAX_BYTES)) as usize, 0);
            let got = read_at(&mut self.file, self.end, &mut bytes)?;
            let mut at = 0;
            while let Some(record) = read_record(&bytes[at..got]) {
                let whole = RECORD_HEADER + record.caplen as usize;
                if at + whole > got {
                    break;
                }
                stretch.extend(record.time, whole as u32);
                at += whole;
                if stretch.is_full() {
                    let next = Stretch::new(stretch.end());
                    self.stretches.push(std::mem::replace(&mut stretch, next));
                }
            }
            if at == 0 {
                // Damage, or a packet that is still being written.
                break;
            }
            self.end += at as u64;
        }
        if stretch.packets > 0 {
            self.stretches.push(stretch);
        }
        Ok(())
    }

    /// The bytes of a stretch.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn bytes(&mut self, stretch: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(stretch) = self.stretches.get(stretch) else { return Ok(()) };
        // A stretch of a damaged index is no longer than the file; the largest sound one is not much above its mark.
        let len = stretch.len.min(MAX_BYTES + MAX_CAPLEN + RECORD_HEADER as u32);
        out.resize(len as usize, 0);
        let got = read_at(&mut self.file, stretch.offset, out)?;
        out.truncate(got);
        Ok(())
    }

    /// Earliest packet.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.stretches.iter().map(|stretch| stretch.first).min()
    }

    /// Latest packet.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.stretches.iter().map(|stretch| stretch.last).max()
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &mut File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
