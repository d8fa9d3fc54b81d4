//! One capture file being read: its bytes in a buffer, its format, and the position in both.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::compressed::{Input, Opened};
use super::gate::{Gate, Item, Verdict};
use super::pcapfile::{FILE_HEADER_LEN, PcapFile};
use super::pcapng::Pcapng;
use super::record::{Cut, DamageReason, Format, MAX_BLOCK, Record, Step};
use super::sniff::{self, Kind};
use super::source::{Damage, OpenError, Origin};
use crate::packet::{Batch, LinkType, MAX_BATCH, Packet};
use crate::time::Timestamp;

/// Bytes read at a time into a batch: measured best on small packets, where 128 KiB and more were 30 % slower.
pub(super) const READ_LEN: usize = 64 * 1024;
/// Most bytes read at a time into a batch, where packets are so large that fewer would not fill one.
const MAX_READ_LEN: usize = 256 * 1024;

/// How far ahead of the record in hand the scan looks at the bytes, without waiting for them. Where the next record begins
/// is known only from this one, so that otherwise every header is waited for, one after the other.
const LOOK_AHEAD: usize = 512;
/// Distance of two looks: a line of the cache.
const LINE: usize = 64;

/// Where packets go: the bytes they point into and the list of them.
pub(super) trait Target {
    /// How it lists packets.
    type Item: Item;

    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut Vec<u8>;
    fn push(&mut self, packet: Self::Item);
    fn is_full(&self) -> bool;
    /// The bytes, the list of packets, and how many it takes.
    fn parts(&mut self) -> (&[u8], &mut Vec<Self::Item>, usize);
}

impl Target for Batch {
    type Item = Packet;

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn push(&mut self, packet: Packet) {
        Self::push(self, packet);
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }

    fn parts(&mut self) -> (&[u8], &mut Vec<Packet>, usize) {
        let (bytes, packets) = self.fill_parts();
        (bytes, packets, MAX_BATCH)
    }
}

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The target is full.
    Full,
    /// The next packet is later than the bound.
    Bound,
    /// The buffer holds no further whole record.
    Starved,
    /// The file is over.
    Ended,
}

/// What one more read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// Bytes.
    More,
    /// Nothing for now.
    Idle,
    /// The file is over.
    Ended,
}

enum Layout {
    /// Nothing known yet.
    Unknown,
    Pcap(PcapFile),
    Pcapng(Pcapng),
}

/// Position within the buffer and within the file.
#[derive(Debug, Default)]
struct Cursor {
    /// Start of the bytes not looked at yet.
    pos: usize,
    /// End of the bytes read.
    end: usize,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    /// Bytes still to be passed over.
    skip: u64,
    /// Length of the whole record that is passed over; 0 if none is.
    skip_len: u64,
    /// True while the record passed over is one to count.
    skip_counts: bool,
    /// Bytes the next record needs from `pos`.
    needed: usize,
    /// What would be cut there.
    cut: Cut,
}

impl Cursor {
    fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }
}

/// One capture file being read. The buffer is not part of it, because it travels with the batch.
pub(super) struct Reader {
    origin: Origin,
    index: u16,
    input: Input,
    layout: Layout,
    cursor: Cursor,
    read_len: usize,
    is_over: bool,
    damage: Option<Damage>,
}

impl Reader {
    /// Begins a file; nothing is read yet.
    pub fn begin(origin: &Origin, index: u16, opened: &Opened) -> Result<Self, OpenError> {
        Ok(Self {
            origin: origin.clone(),
            index,
            input: opened.begin().map_err(|source| OpenError::from_io(&origin.path(), source))?,
            layout: Layout::Unknown,
            cursor: Cursor::default(),
            read_len: READ_LEN,
            is_over: false,
            damage: None,
        })
    }

    pub const fn index(&self) -> u16 {
        self.index
    }

    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What ended the file early, once.
    pub const fn take_damage(&mut self) -> Option<Damage> {
        self.damage.take()
    }

    /// Bytes taken from the file.
    pub fn raw_read(&self) -> u64 {
        self.input.raw_read()
    }

    /// Link types known so far.
    pub fn linktypes(&self) -> Vec<LinkType> {
        match &self.layout {
            Layout::Unknown => Vec::new(),
            Layout::Pcap(file) => vec![file.linktype()],
            Layout::Pcapng(file) => file.linktypes().collect(),
        }
    }

    fn end_with(&mut self, offset: u64, reason: DamageReason) {
        self.is_over = true;
        let packed = self.input.compression();
        self.damage = Some(Damage { file: self.origin.path(), offset, packed, reason });
    }

    /// Hands packets up to `bound` to the target, as far as the bytes in it reach.
    pub fn scan<T: Target>(&mut self, target: &mut T, gate: &mut Gate, bound: Timestamp) -> Scan {
        if self.is_over {
            return Scan::Ended;
        }
        let damage = match &mut self.layout {
            Layout::Unknown => return Scan::Starved,
            Layout::Pcap(file) => match file.usual() {
                Some(mut file) => scan(&mut file, &mut self.cursor, target, gate, bound, self.index),
                None => scan(file, &mut self.cursor, target, gate, bound, self.index),
            },
            Layout::Pcapng(file) => scan(file, &mut self.cursor, target, gate, bound, self.index),
        };
        damage.unwrap_or_else(|reason| {
            self.end_with(self.cursor.offset(), reason);
            Scan::Ended
        })
    }

    /// The next packet without moving on; `None` if the buffer holds no whole one.
    pub fn peek(&mut self, buffer: &[u8], gate: &mut Gate) -> Option<Record> {
        if self.is_over {
            return None;
        }
        let step = match &mut self.layout {
            Layout::Unknown => return None,
            Layout::Pcap(file) => next(file, &mut self.cursor, buffer, gate),
            Layout::Pcapng(file) => next(file, &mut self.cursor, buffer, gate),
        };
        step.unwrap_or_else(|reason| {
            self.end_with(self.cursor.offset(), reason);
            None
        })
    }

    /// The bytes of a packet that [`Reader::peek`] returned.
    pub fn record_bytes<'a>(&self, record: &Record, buffer: &'a [u8]) -> &'a [u8] {
        let start = self.cursor.pos + record.data as usize;
        &buffer[start..start + record.caplen as usize]
    }

    /// Moves on past a packet that [`Reader::peek`] returned.
    pub fn advance(&mut self, record: &Record) {
        self.cursor.pos += record.len as usize;
    }

    /// The bytes read and not looked at yet move to the front of `next`.
    pub fn carry(&mut self, buffer: &[u8], next: &mut Vec<u8>, len: usize) {
        let tail = &buffer[self.cursor.pos..self.cursor.end];
        let len = len.max(tail.len());
        if next.len() < len {
            next.resize(len, 0);
        }
        next[..tail.len()].copy_from_slice(tail);
        self.cursor.base += self.cursor.pos as u64;
        self.cursor.end = tail.len();
        self.cursor.pos = 0;
    }

    /// Bytes that the next record needs, as far as known.
    pub const fn needed(&self) -> usize {
        self.cursor.needed
    }

    /// True if what is read has to be unpacked; known once something was read.
    pub fn is_compressed(&self) -> bool {
        self.input.compression().is_some()
    }

    /// Offset in the file of what is looked at next.
    pub fn offset(&self) -> u64 {
        self.cursor.offset()
    }

    /// The file, if parts of it may be read apart from this reader: plain, and known to be a capture.
    pub fn plain_file(&self) -> Option<&Arc<File>> {
        if matches!(self.layout, Layout::Unknown) { None } else { self.input.plain_file() }
    }

    /// Goes on in a buffer that holds `len` bytes of the file from `start` on, which is not behind what is looked at next.
    pub fn adopt(&mut self, start: u64, len: usize) -> io::Result<()> {
        let offset = self.cursor.offset();
        let cursor = &mut self.cursor;
        (cursor.base, cursor.pos, cursor.end) = match usize::try_from(offset - start) {
            Ok(pos) if pos <= len => (start, pos, len),
            // The record before was longer than all of this.
            _ => (offset, 0, 0),
        };
        self.input.go_to(cursor.base + cursor.end as u64)
    }

    /// Goes on without a buffer at what is looked at next.
    pub fn let_go(&mut self) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        self.adopt(self.cursor.offset(), 0)
    }

    /// Reads once: up to `until`, or what the record in hand lacks beyond it. The bytes in the buffer do not move.
    ///
    /// # Errors
    /// If the file turns out to be no capture.
    pub fn read_up_to(&mut self, buffer: &mut Vec<u8>, until: u64) -> Result<Refill, OpenError> {
        let cursor = &self.cursor;
        let lacking = (cursor.pos + cursor.needed.min(MAX_BLOCK as usize)).saturating_sub(cursor.end);
        let rest = until.saturating_sub(cursor.base + cursor.end as u64) as usize;
        let end = cursor.end + if rest > 0 { rest } else { lacking };
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        self.read_into(buffer, end)
    }

    /// Ends the file at a failure that met whoever read for this reader.
    pub fn fail(&mut self, error: &io::Error) -> Result<Refill, OpenError> {
        self.input_failed(error)
    }

    /// True if more bytes fit behind those in the buffer.
    pub fn has_room(&self, buffer: &[u8]) -> bool {
        self.cursor.end < buffer.len()
    }

    /// Makes room at the front of the buffer, and behind it for the record that is awaited, then reads once.
    ///
    /// # Errors
    /// If the file turns out to be no capture.
    pub fn refill(&mut self, buffer: &mut Vec<u8>) -> Result<Refill, OpenError> {
        let cursor = &mut self.cursor;
        if cursor.pos > 0 {
            buffer.copy_within(cursor.pos..cursor.end, 0);
            cursor.base += cursor.pos as u64;
            cursor.end -= cursor.pos;
            cursor.pos = 0;
        }
        // A record is at most MAX_BLOCK long, so this is bounded whatever the file claims.
        let wanted = cursor.needed.min(MAX_BLOCK as usize).next_power_of_two().max(self.read_len);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        self.read_behind(buffer)
    }

    /// Reads more at a time from now on: what a read brought did not fill a batch.
    pub fn widen(&mut self) {
        self.read_len = (self.read_len * 2).min(MAX_READ_LEN);
    }

    /// Reads once behind the bytes in the buffer, which do not move.
    ///
    /// # Errors
    /// If the file turns out to be no capture.
    pub fn read_behind(&mut self, buffer: &mut [u8]) -> Result<Refill, OpenError> {
        let end = buffer.len().min((self.cursor.end + self.read_len).max(self.cursor.pos + self.cursor.needed));
        self.read_into(buffer, end)
    }

    fn read_into(&mut self, buffer: &mut [u8], end: usize) -> Result<Refill, OpenError> {
        if self.is_over {
            return Ok(Refill::Ended);
        }
        match self.input.read(&mut buffer[self.cursor.end..end]) {
            Ok(0) => self.input_ended(buffer),
            Ok(read) => {
                self.cursor.end += read;
                if matches!(self.layout, Layout::Unknown) {
                    self.recognize(buffer, Ending::Open)
                } else {
                    Ok(Refill::More)
                }
            }
            Err(error) => self.input_failed(&error),
        }
    }

    fn input_failed(&mut self, error: &io::Error) -> Result<Refill, OpenError> {
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            return Ok(Refill::Idle);
        }
        let reason = match self.input.compression() {
            Some(compression) => DamageReason::Compressed { compression, kind },
            None => DamageReason::Read { kind },
        };
        self.end_with(self.cursor.offset(), reason);
        Ok(Refill::Ended)
    }

    fn input_ended(&mut self, buffer: &[u8]) -> Result<Refill, OpenError> {
        if matches!(self.layout, Layout::Unknown) {
            match self.recognize(buffer, Ending::Final)? {
                Refill::Ended => return Ok(Refill::Ended),
                // The layout became known, or unpacking begins: the caller scans what there is and comes back.
                outcome if !matches!(self.layout, Layout::Unknown) || self.cursor.end == 0 => return Ok(outcome),
                _ => {}
            }
        }
        let cursor = &self.cursor;
        let found = (cursor.end - cursor.pos) as u64;
        if cursor.skip > 0 {
            let (needed, passed) = (cursor.skip_len, cursor.skip_len - cursor.skip);
            let start = cursor.offset() - passed;
            self.end_with(start, DamageReason::Truncated { cut: Cut::Record, found: passed, needed });
        } else if found > 0 {
            let (cut, needed) = (cursor.cut, cursor.needed as u64);
            self.end_with(cursor.offset(), DamageReason::Truncated { cut, found, needed });
        }
        self.is_over = true;
        Ok(Refill::Ended)
    }

    /// Finds out the format from the first bytes.
    fn recognize(&mut self, buffer: &[u8], ending: Ending) -> Result<Refill, OpenError> {
        let head = &buffer[..self.cursor.end];
        match sniff::kind(head) {
            Kind::Pcap => {
                let Some(header) = head.first_chunk::<FILE_HEADER_LEN>() else {
                    self.cursor.cut = Cut::FileHeader;
                    self.cursor.needed = FILE_HEADER_LEN;
                    return Ok(Refill::More);
                };
                match PcapFile::new(header) {
                    Ok(file) => {
                        self.layout = Layout::Pcap(file);
                        self.cursor.pos = FILE_HEADER_LEN;
                    }
                    Err(reason) => {
                        self.end_with(0, reason);
                        return Ok(Refill::Ended);
                    }
                }
            }
            Kind::Pcapng => self.layout = Layout::Pcapng(Pcapng::new()),
            Kind::Compressed(compression) if self.input.compression().is_none() => {
                if let Err(error) = self.input.unpack(compression, head) {
                    return self.input_failed(&error);
                }
                self.cursor.end = 0;
            }
            Kind::Other(_) if ending == Ending::Open && head.len() < sniff::HEAD_LEN => {}
            Kind::Compressed(compression) => {
                return Err(self.not_a_capture(sniff::Content::Twice(compression)));
            }
            Kind::Other(content) => return Err(self.not_a_capture(content)),
        }
        Ok(Refill::More)
    }

    fn not_a_capture(&mut self, content: sniff::Content) -> OpenError {
        self.is_over = true;
        if self.origin == Origin::Stdin && content == sniff::Content::Empty {
            return OpenError::EmptyStdin;
        }
        OpenError::NotACapture { file: self.origin.path(), content }
    }
}

/// Whether more bytes may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Final,
}

/// Passes over what is to be passed over; true once that is done.
fn pass_over(cursor: &mut Cursor, gate: &mut Gate) -> bool {
    let step = cursor.skip.min((cursor.end - cursor.pos) as u64);
    cursor.pos += step as usize;
    cursor.skip -= step;
    if cursor.skip > 0 {
        return false;
    }
    gate.stats.oversize += u64::from(cursor.skip_counts);
    cursor.skip_counts = false;
    true
}

/// Acts on a step that is no packet; true if there may be another one in the buffer.
#[inline(never)]
fn act_on(step: Step, cursor: &mut Cursor, gate: &mut Gate) -> Result<bool, DamageReason> {
    match step {
        Step::Packet(_) => Ok(true),
        Step::Skip(len) => {
            (cursor.skip, cursor.skip_len) = (len, len);
            Ok(pass_over(cursor, gate))
        }
        Step::Oversize(len) => {
            (cursor.skip, cursor.skip_len, cursor.skip_counts) = (len, len, true);
            Ok(pass_over(cursor, gate))
        }
        Step::More { needed, cut } => {
            (cursor.needed, cursor.cut) = (needed, cut);
            Ok(false)
        }
        Step::Damaged(reason) => Err(reason),
    }
}

/// Moves to the next packet; `None` if the buffer holds no whole one.
fn next<F: Format>(
    format: &mut F,
    cursor: &mut Cursor,
    buffer: &[u8],
    gate: &mut Gate,
) -> Result<Option<Record>, DamageReason> {
    if !pass_over(cursor, gate) {
        return Ok(None);
    }
    loop {
        let step = format.step(&buffer[cursor.pos..cursor.end]);
        if let Step::Packet(record) = step {
            return Ok(Some(record));
        }
        if !act_on(step, cursor, gate)? {
            return Ok(None);
        }
    }
}

fn scan<F: Format, T: Target>(
    format: &mut F,
    cursor: &mut Cursor,
    target: &mut T,
    gate: &mut Gate,
    bound: Timestamp,
    origin: u16,
) -> Result<Scan, DamageReason> {
    // A loop of its own for the usual case: what the other one needs costs registers even where it is not reached.
    if gate.is_open() {
        scan_through::<F, T, true>(format, cursor, target, gate, bound, origin)
    } else {
        scan_through::<F, T, false>(format, cursor, target, gate, bound, origin)
    }
}

fn scan_through<F: Format, T: Target, const IS_OPEN: bool>(
    format: &mut F,
    cursor: &mut Cursor,
    target: &mut T,
    gate: &mut Gate,
    bound: Timestamp,
    origin: u16,
) -> Result<Scan, DamageReason> {
    if !pass_over(cursor, gate) {
        return Ok(Scan::Starved);
    }
    let tally = gate.tally;
    // The position in a register too: each record begins where the length of the one before says, and a way through
    // memory would be added to that chain.
    let (mut pos, mut end) = (cursor.pos, cursor.end);
    let (buffer, packets, limit) = target.parts();
    let before = packets.len();
    let mut seen = 0;
    let outcome = loop {
        if packets.len() >= limit {
            break Ok(Scan::Full);
        }
        let bytes = &buffer[pos..end];
        if let Some(ahead) = bytes.get(LOOK_AHEAD..=LOOK_AHEAD + LINE) {
            seen |= ahead[0] | ahead[LINE];
        }
        let record = match format.packet(bytes) {
            Some(record) => record,
            None => match format.step(bytes) {
                Step::Packet(record) => record,
                step => {
                    cursor.pos = pos;
                    let acted = act_on(step, cursor, gate);
                    (pos, end) = (cursor.pos, cursor.end);
                    match acted {
                        Ok(true) => continue,
                        Ok(false) => break Ok(Scan::Starved),
                        Err(reason) => break Err(reason),
                    }
                }
            },
        };
        if record.ts > bound {
            break Ok(Scan::Bound);
        }
        let offset = pos + record.data as usize;
        pos += record.len as usize;
        if IS_OPEN {
            packets.push(tally.packet(&record, offset, origin).into());
            continue;
        }
        match gate.judge(&record, &buffer[offset..offset + record.caplen as usize]) {
            Verdict::Passed => packets.push(tally.packet(&record, offset, origin).into()),
            Verdict::Rejected => {}
        }
    };
    std::hint::black_box(seen);
    cursor.pos = pos;
    gate.tally.count(&packets[before..]);
    outcome
}
