//! Reads a store: the packets that may match, in time order over all files. Works while a run writes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use super::directory::{StoreError, captures, is_in_use};
use super::record::{FILE_HEADER, RECORD_HEADER, read_record};
use super::segment::{FoundSegment, StoreDamage, StoreDamageReason};
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Which packets are wanted, as far as the index can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Marks that a packet must have, all of them.
    pub marks: Vec<u32>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
}

/// A packet of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPacket<'a> {
    /// Packet time.
    pub time: Timestamp,
    /// Length on the wire.
    pub wirelen: u32,
    /// Type of the first layer.
    pub linktype: LinkType,
    /// The bytes that were stored.
    pub bytes: &'a [u8],
}

/// One file being read.
#[derive(Debug)]
struct Reader {
    segment: FoundSegment,
    /// The stretch that is in memory; those behind it come later.
    stretch: usize,
    bytes: Vec<u8>,
    at: usize,
}

/// Packets of a store, in time order; within a file in the order in which they were stored.
#[derive(Debug)]
pub struct StoredPackets {
    selection: Selection,
    /// Files not begun, the one that begins last first.
    waiting: Vec<FoundSegment>,
    readers: Vec<Reader>,
    /// Time of the next packet of a reader, and its number.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The reader whose packet was handed out last.
    current: Option<usize>,
    span: Option<(Timestamp, Timestamp)>,
    damage: Vec<StoreDamage>,
    /// A file could not be read at all.
    lacks_files: bool,
}

/// Opens a store for reading.
///
/// # Errors
/// [`StoreError`] if the folder cannot be read or has no packets.
pub fn query(directory: &Path) -> Result<StoredPackets, StoreError> {
    let files = captures(directory).map_err(|error| StoreError::Unreadable { path: directory.to_owned(), error })?;
    let (mut waiting, mut damage, mut lacks_files) = (Vec::new(), Vec::new(), false);
    // The latest first: those that a run may be writing come before the others of their link type.
    let mut linktypes: Vec<Option<LinkType>> = Vec::new();
    for (_, path) in files.into_iter().rev() {
        let (linktype, wrong) = match FoundSegment::open(&path) {
            Ok(mut found) => {
                let read = (Some(found.linktype), found.damage().unwrap_or_default());
                if found.first().is_some() {
                    waiting.push(found);
                }
                read
            }
            // A file that was deleted at a limit meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (None, headless(&path)),
            Err(error) => {
                log::warn!("{}: left out: {error}", path.display());
                lacks_files = true;
                continue;
            }
        };
        let may_grow = if linktype.is_some() { !linktypes.contains(&linktype) } else { linktypes.is_empty() };
        linktypes.push(linktype);
        let is_cut = |damage: &StoreDamage| matches!(damage.reason, StoreDamageReason::Cut { .. });
        // A packet that is still being written.
        damage.extend(wrong.filter(|wrong| !(may_grow && is_cut(wrong) && is_in_use(directory))));
    }
    damage.reverse();
    if waiting.is_empty() && damage.is_empty() {
        return Err(StoreError::Empty { path: directory.to_owned() });
    }
    let first = waiting.iter().filter_map(FoundSegment::first).min();
    let span = first.zip(waiting.iter().filter_map(FoundSegment::last).max());
    waiting.sort_by_key(|found| Reverse(found.first()));
    let (readers, heads) = (Vec::new(), BinaryHeap::new());
    let selection = Selection::default();
    Ok(StoredPackets { selection, waiting, readers, heads, current: None, span, damage, lacks_files })
}

/// What is wrong with a file that has no whole header.
fn headless(path: &Path) -> Option<StoreDamage> {
    let found = std::fs::metadata(path).ok()?.len();
    let reason = StoreDamageReason::Cut { part: "file header", found, needed: FILE_HEADER };
    Some(StoreDamage { file: path.to_owned(), offset: 0, reason })
}

impl StoredPackets {
    /// Times of the earliest and the latest packet of the whole store.
    #[must_use]
    pub const fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// What could not be read: at first where files end too early, in the end also what was met on the way.
    #[must_use]
    pub fn damage(&self) -> &[StoreDamage] {
        &self.damage
    }

    /// Whether all files could be read, and to their ends.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && !self.lacks_files
    }

    /// Says what is wanted; before the first packet is read.
    pub fn select(&mut self, selection: Selection) {
        self.selection = selection;
    }

    /// The next packet that may match. What the index cannot tell, such as whether a flow really is the one asked for, is
    /// left to the caller; times are exact.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next_packet(&mut self) -> io::Result<Option<StoredPacket<'_>>> {
        if let Some(reader) = self.current.take() {
            self.wait(reader)?;
        }
        let next = loop {
            let head = self.heads.peek().map(|Reverse((time, _))| *time);
            let begins = self.waiting.last().and_then(FoundSegment::first);
            match (head, begins) {
                (None, None) => return Ok(None),
                // A file is opened when its first packet is due, so that few are in memory at a time.
                (head, Some(begins)) if head.is_none_or(|head| begins < head) => {
                    let Some(segment) = self.waiting.pop() else { return Ok(None) };
                    self.readers.push(Reader { segment, stretch: 0, bytes: Vec::new(), at: 0 });
                    let reader = self.readers.len() - 1;
                    self.load(reader)?;
                    self.wait(reader)?;
                }
                _ => match self.heads.pop() {
                    Some(Reverse((_, reader))) => break reader,
                    None => return Ok(None),
                },
            }
        };
        self.current = Some(next);
        let reader = &mut self.readers[next];
        let Some(record) = read_record(&reader.bytes[reader.at..]) else { return Ok(None) };
        let from = reader.at + RECORD_HEADER;
        reader.at = from + record.caplen as usize;
        Ok(Some(StoredPacket {
            time: record.time,
            wirelen: record.wirelen,
            linktype: reader.segment.linktype,
            bytes: &reader.bytes[from..reader.at],
        }))
    }

    /// Puts a reader into the queue with its next packet that is in time; leaves it out when it has none.
    fn wait(&mut self, number: usize) -> io::Result<()> {
        loop {
            let reader = &mut self.readers[number];
            let whole = read_record(&reader.bytes[reader.at..])
                .filter(|record| reader.at + RECORD_HEADER + record.caplen as usize <= reader.bytes.len());
            let Some(record) = whole else {
                if reader.at < reader.bytes.len() {
                    self.damage.extend(reader.segment.damage_at(reader.stretch, reader.at));
                }
                reader.stretch += 1;
                if !self.load(number)? {
                    return Ok(());
                }
                continue;
            };
            let early = self.selection.from.is_some_and(|from| record.time < from);
            let late = self.selection.to.is_some_and(|to| record.time > to);
            if !early && !late {
                self.heads.push(Reverse((record.time, number)));
                return Ok(());
            }
            reader.at += RECORD_HEADER + record.caplen as usize;
        }
    }

    /// Reads the next stretch that may hold something, from the one at hand on; false if there is none.
    fn load(&mut self, number: usize) -> io::Result<bool> {
        let reader = &mut self.readers[number];
        let selection = &self.selection;
        let wanted = |stretch: &super::index::Stretch| {
            selection.from.is_none_or(|from| stretch.last >= from)
                && selection.to.is_none_or(|to| stretch.first <= to)
                && selection.marks.iter().all(|mark| stretch.may_have(*mark))
        };
        reader.at = 0;
        reader.bytes.clear();
        let rest = reader.segment.stretches.get(reader.stretch..).unwrap_or_default();
        let Some(skip) = rest.iter().position(wanted) else {
            reader.stretch = reader.segment.stretches.len();
            reader.bytes = Vec::new();
            return Ok(false);
        };
        reader.stretch += skip;
        let stretch = reader.stretch;
        reader.segment.bytes(stretch, &mut reader.bytes)?;
        Ok(true)
    }
}
