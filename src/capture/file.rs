//! Capture files as one source: in order of time, merged where they overlap, once or in several rounds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::slice;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::compressed::Opened;
use super::filter::Filter;
use super::gate::{Gate, Verdict};
use super::opening::{Active, MAX_EMPTY_READS, Opening, Planned, let_go};
use super::reader::{READ_LEN, Reader, Refill, Scan, Target};
use super::source::{Fill, OpenError, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::{Batch, Captured, MAX_BATCH};
use crate::time::Timestamp;

/// Bytes of one chunk that engines share.
pub(super) const CHUNK_LEN: usize = 256 * 1024;
/// Bytes copied into a batch by a merge before it is handed out.
const MERGE_LEN: usize = 256 * 1024;
/// Packets a merge looks at before it hands out what it has, if the filter rejects most of them.
const MAX_MERGED: u32 = 16_384;
/// Time between the last packet of a round and the first one of the next.
const ROUND_GAP: Duration = Duration::from_micros(1);

/// How files are read.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// BPF expression; packets that it rejects are counted and not delivered.
    pub filter: Option<String>,
    /// Bytes kept of every packet.
    pub snaplen: Option<u32>,
    /// How often all files are read; packet times of later rounds follow on those of the one before.
    pub rounds: NonZeroU64,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { filter: None, snaplen: None, rounds: NonZeroU64::MIN }
    }
}

/// Bytes and packets of a chunk, not limited to the size of a batch.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub bytes: Vec<u8>,
    pub packets: Vec<Captured>,
}

impl Target for Chunk {
    type Item = Captured;

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn push(&mut self, packet: Captured) {
        self.packets.push(packet);
    }

    fn is_full(&self) -> bool {
        false
    }

    fn parts(&mut self) -> (&[u8], &mut Vec<Captured>, usize) {
        (&self.bytes, &mut self.packets, usize::MAX)
    }
}

/// Where a block is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Open as long as its reader is at it.
    pub file: Weak<File>,
    pub start: u64,
    /// Bytes of the file when it was first seen.
    pub size: u64,
}

/// A block that was read ahead.
#[derive(Debug)]
pub(super) struct Block {
    pub place: Place,
    pub bytes: Vec<u8>,
    /// Bytes that were read.
    pub len: usize,
}

/// Start of the block that an offset is in.
const fn block_start(offset: u64, len: u64) -> u64 {
    offset - offset % len
}

/// Capture files, standard input, or directories of files.
pub struct FileSource {
    origins: Vec<Origin>,
    plan: Vec<Planned>,
    /// First entry of the plan that has not been opened in this round.
    next: usize,
    /// One place per entry of the plan.
    files: Vec<Option<Active>>,
    /// Entries of the plan that are open.
    open: Vec<usize>,
    /// Next packet of every open file, during a merge.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Whose buffer the batch holds since the last call, and its address there.
    lent: Option<(usize, usize)>,
    gate: Gate,
    round: Round,
    progress: Progress,
    /// False if some file is compressed or can be read only once.
    is_plain: bool,
    /// A block that somebody has read already.
    ahead: Option<Block>,
    block_len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    left: u64,
    is_first: bool,
}

impl FileSource {
    /// Opens the files; a directory stands for the capture files in it, `-` for standard input.
    ///
    /// # Errors
    /// [`OpenError`] for the first path that cannot be read or is no capture, or for a wrong filter.
    pub fn open(paths: &[PathBuf], options: &FileOptions) -> Result<Self, OpenError> {
        let mut opening = Opening::new();
        for path in paths {
            opening.add(path)?;
        }
        if opening.origins.is_empty() {
            return Err(OpenError::NoInput);
        }
        if options.rounds.get() > 1 && opening.has_pipe {
            return Err(OpenError::StdinTwice);
        }
        let mut filter = options.filter.as_deref().map(Filter::new);
        if let Some(filter) = &mut filter {
            opening.linktypes.iter().for_each(|&linktype| filter.prepare(linktype));
            if let Some(failure) = filter.failure() {
                return Err(failure.into());
            }
        }
        let Opening { origins, mut entries, skipped, has_pipe, has_compressed, .. } = opening;
        entries.sort_by_key(|(planned, pipe)| (pipe.is_none(), planned.first, planned.origin));
        let total = if has_pipe {
            0
        } else {
            let all = entries.iter().map(|(planned, _)| planned.size).sum::<u64>();
            all.saturating_mul(options.rounds.get())
        };
        let (plan, files): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let mut gate = Gate::new(filter, options.snaplen.unwrap_or(u32::MAX));
        gate.stats.skipped = skipped;
        let mut source = Self {
            origins,
            plan,
            next: 0,
            open: Vec::new(),
            heads: BinaryHeap::new(),
            lent: None,
            gate,
            round: Round { left: options.rounds.get() - 1, is_first: true },
            progress: Progress { bytes: 0, total },
            files,
            is_plain: !has_pipe && !has_compressed,
            ahead: None,
            block_len: CHUNK_LEN as u64,
        };
        // Pipes stay open from the start; they come first in the plan, as their first packet is not known.
        while source.files.get(source.next).is_some_and(Option::is_some) {
            source.open.push(source.next);
            source.next += 1;
        }
        Ok(source)
    }

    /// True if reading it several times over is cheap: no pipe, nothing to unpack.
    pub(super) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// With blocks of that length, which is not 0.
    pub(super) const fn in_blocks_of(mut self, len: u64) -> Self {
        self.block_len = len;
        self
    }

    /// Bytes read so far, in all rounds.
    pub(super) fn bytes_read(&self) -> u64 {
        let reading = self.open.iter().filter_map(|&rank| self.files[rank].as_ref()).map(|file| file.reader.raw_read());
        self.progress.bytes + reading.sum::<u64>()
    }

    /// Opens the next file of the plan.
    fn open_next(&mut self) -> Result<(), OpenError> {
        let planned = &mut self.plan[self.next];
        let (index, origin) = (planned.origin, &self.origins[usize::from(planned.origin)]);
        let held = if self.round.left == 0 { planned.held.take() } else { planned.held.clone() };
        let opened = match held.map_or_else(|| Opened::open(origin), Ok) {
            Err(OpenError::TooManyFiles { .. }) => {
                let_go(self.plan.iter_mut(), &self.origins);
                Opened::open(origin)?
            }
            outcome => outcome?,
        };
        let reader = Reader::begin(origin, index, &opened)?;
        self.files[self.next] = Some(Active { reader, buffer: Vec::new(), head: None });
        self.open.push(self.next);
        self.next += 1;
        Ok(())
    }

    /// Time of the first packet of the next file of the plan.
    fn bound(&self) -> Timestamp {
        match self.plan.get(self.next) {
            Some(planned) => planned.first.unwrap_or(Timestamp::from_nanos(i64::MIN)),
            None => Timestamp::from_nanos(i64::MAX),
        }
    }

    /// Closes files that are over.
    fn close_finished(&mut self) {
        let (files, gate, progress, round) = (&mut self.files, &mut self.gate, &mut self.progress, self.round);
        self.open.retain(|&rank| {
            let is_over = files[rank].as_ref().is_none_or(|file| file.reader.is_over() && file.head.is_none());
            if is_over && let Some(mut file) = files[rank].take() {
                progress.bytes += file.reader.raw_read();
                // The same damage is met in every round.
                gate.stats.damage.extend(file.reader.take_damage().filter(|_| round.is_first));
            }
            !is_over
        });
    }

    /// Starts the next round; false if there is none.
    fn start_round(&mut self) -> bool {
        if self.round.left == 0 || !self.gate.start_round(ROUND_GAP) {
            return false;
        }
        self.round = Round { left: self.round.left - 1, is_first: false };
        self.next = 0;
        true
    }

    /// Takes back the buffer that the batch held since the last call.
    fn reclaim<T: Target>(&mut self, target: &mut T) -> Result<(), SourceError> {
        let Some((rank, address)) = self.lent.take() else { return Ok(()) };
        if target.bytes().as_ptr() as usize != address {
            return Err(SourceError::ForeignBatch);
        }
        if let Some(file) = &mut self.files[rank] {
            std::mem::swap(target.bytes_mut(), &mut file.buffer);
        }
        Ok(())
    }

    fn fill_target<T: Target>(&mut self, target: &mut T, placement: Placement) -> Result<Fill, SourceError> {
        for _ in 0..MAX_EMPTY_READS {
            self.reclaim(target)?;
            self.close_finished();
            let outcome = match (self.open.len(), placement) {
                (0, _) if self.next < self.plan.len() => Outcome::NextFile,
                (0, _) if self.start_round() => Outcome::Nothing,
                (0, _) => return Ok(Fill::End),
                (1, Placement::Lend) => self.read_one(self.open[0], target)?,
                (1, Placement::Give) => self.read_chunk(self.open[0], target)?,
                (1, Placement::Block) => self.read_block(self.open[0], target)?,
                _ => self.merge(target)?,
            };
            self.check_filter()?;
            match outcome {
                Outcome::Packets => return Ok(Fill::Packets),
                Outcome::Idle => break,
                Outcome::Nothing => {}
                Outcome::NextFile => self.open_next()?,
            }
        }
        self.reclaim(target)?;
        Ok(Fill::Idle)
    }

    /// Fills a chunk that the caller keeps, with as many packets as fit.
    pub(super) fn fill_chunk(&mut self, chunk: &mut Chunk) -> Result<Fill, SourceError> {
        chunk.packets.clear();
        self.fill_target(chunk, Placement::Give)
    }

    /// Fills a chunk that the caller keeps with the packets that begin in the next block of the only file that is open, or
    /// with those of a merge. Where blocks end depends on the files alone. A block that was read `ahead` is used if it is
    /// the one that comes next.
    pub(super) fn fill_block(&mut self, chunk: &mut Chunk, ahead: Option<Block>) -> Result<Fill, SourceError> {
        chunk.packets.clear();
        self.ahead = ahead;
        let filled = self.fill_target(chunk, Placement::Block);
        self.ahead = None;
        filled
    }

    /// The block that [`FileSource::fill_block`] comes to next, as far as that is known.
    pub(super) fn next_block(&self) -> Option<Place> {
        let &[rank] = &self.open[..] else { return None };
        let reader = &self.files[rank].as_ref()?.reader;
        let file = if reader.is_over() { None } else { reader.plain_file() };
        let start = block_start(reader.offset(), self.block_len);
        file.map(|file| Place { file: Arc::downgrade(file), start, size: self.plan[rank].size })
    }

    /// All counters, if some other than those of delivered packets differ from earlier ones.
    pub(super) fn news_since(&self, earlier: &SourceStats) -> Option<SourceStats> {
        self.gate.differs_from(earlier).then(|| self.gate.all_stats())
    }

    /// A wrong expression shows only at the first packet if that comes through a pipe.
    fn check_filter(&self) -> Result<(), SourceError> {
        if self.gate.stats.filter_linktype > 0
            && let Some(failure) = self.gate.filter.as_ref().and_then(Filter::failure)
        {
            return Err(OpenError::from(failure).into());
        }
        Ok(())
    }

    /// One file is open: its packets stay where they were read. Reads at most once.
    fn read_one<T: Target>(&mut self, rank: usize, target: &mut T) -> Result<Outcome, OpenError> {
        let bound = self.bound();
        self.heads.clear();
        let Some(file) = &mut self.files[rank] else { return Ok(Outcome::Nothing) };
        file.head = None;
        std::mem::swap(target.bytes_mut(), &mut file.buffer);
        let before = self.gate.tally.packets;
        let mut refill = Refill::More;
        let mut scan = file.reader.scan(target, &mut self.gate, bound);
        if scan == Scan::Starved && self.gate.tally.packets == before {
            refill = file.reader.refill(target.bytes_mut())?;
            if refill == Refill::More {
                scan = file.reader.scan(target, &mut self.gate, bound);
                let delivered = (self.gate.tally.packets - before) as usize;
                if scan == Scan::Starved && delivered > 0 && delivered < MAX_BATCH {
                    file.reader.widen();
                }
            }
        }
        self.lent = Some((rank, target.bytes().as_ptr() as usize));
        Ok(Outcome::of(scan, refill, self.gate.tally.packets - before))
    }

    /// One file is open and the bytes are to be kept by the caller: what is left over is copied back.
    fn read_chunk<T: Target>(&mut self, rank: usize, target: &mut T) -> Result<Outcome, OpenError> {
        let bound = self.bound();
        self.heads.clear();
        let Some(file) = &mut self.files[rank] else { return Ok(Outcome::Nothing) };
        file.head = None;
        let before = self.gate.tally.packets;
        let len = file.reader.needed().next_power_of_two().max(CHUNK_LEN);
        file.reader.carry(&file.buffer, target.bytes_mut(), len);
        let mut refill = Refill::More;
        let scan = loop {
            let scan = file.reader.scan(target, &mut self.gate, bound);
            if scan != Scan::Starved || refill != Refill::More || !file.reader.has_room(target.bytes()) {
                break scan;
            }
            refill = file.reader.read_behind(target.bytes_mut())?;
        };
        file.reader.carry(target.bytes(), &mut file.buffer, READ_LEN);
        Ok(Outcome::of(scan, refill, self.gate.tally.packets - before))
    }

    /// One file is open: what begins in the block at hand. One that has no packet for anybody counts as waited for.
    fn read_block<T: Target>(&mut self, rank: usize, target: &mut T) -> Result<Outcome, OpenError> {
        let bound = self.bound();
        self.heads.clear();
        let ahead = self.ahead.take();
        let Some(file) = &mut self.files[rank] else { return Ok(Outcome::Nothing) };
        file.head = None;
        let before = self.gate.tally.packets;
        let reader = &mut file.reader;
        let start = block_start(reader.offset(), self.block_len);
        let is_next = |Block { place, .. }: &Block| {
            place.start == start && reader.plain_file().is_some_and(|file| Arc::as_ptr(file) == place.file.as_ptr())
        };
        let begun = match ahead.filter(is_next) {
            Some(block) => {
                *target.bytes_mut() = block.bytes;
                reader.adopt(start, block.len)
            }
            None => reader.let_go(),
        };
        let mut refill = match begun {
            Ok(()) => Refill::More,
            Err(error) => reader.fail(&error)?,
        };
        let end = start + self.block_len;
        let scan = loop {
            let scan = reader.scan(target, &mut self.gate, bound);
            if scan != Scan::Starved || refill != Refill::More || reader.offset() >= end {
                break scan;
            }
            refill = reader.read_up_to(target.bytes_mut(), end)?;
        };
        if let Err(error) = reader.let_go() {
            reader.fail(&error)?;
        }
        Ok(match Outcome::of(scan, refill, self.gate.tally.packets - before) {
            Outcome::Nothing if !reader.is_over() => Outcome::Idle,
            outcome => outcome,
        })
    }

    /// Several files are open: their packets are copied in order of time, those of the same time in order of the plan.
    fn merge<T: Target>(&mut self, target: &mut T) -> Result<Outcome, OpenError> {
        target.bytes_mut().clear();
        let bound = self.bound();
        let before = self.gate.tally.packets;
        for index in 0..self.open.len() {
            if self.look_ahead(self.open[index])? == Refill::Idle {
                return Ok(Outcome::Idle);
            }
        }
        // A merge that found nothing for so long lets the engine do other work, as one file does that was read for so long.
        let mut found_nothing = Outcome::Idle;
        for _ in 0..MAX_MERGED {
            let next = self.heads.peek().map(|&Reverse(head)| head);
            let Some((ts, rank)) = next else {
                found_nothing = Outcome::Nothing;
                break;
            };
            let delivered = self.gate.tally.packets > before;
            if ts > bound && !delivered {
                return Ok(Outcome::NextFile);
            }
            if ts > bound || target.is_full() || target.bytes().len() >= MERGE_LEN {
                break;
            }
            self.heads.pop();
            let Some(file) = &mut self.files[rank] else { continue };
            let Some(record) = file.head.take() else { continue };
            let bytes = file.reader.record_bytes(&record, &file.buffer);
            match self.gate.judge(&record, bytes) {
                Verdict::Passed => {
                    let offset = target.bytes().len();
                    target.bytes_mut().extend_from_slice(bytes);
                    let packet = self.gate.tally.packet(&record, offset, file.reader.index());
                    self.gate.tally.count(slice::from_ref(&packet));
                    target.push(packet.into());
                }
                Verdict::Rejected => {}
            }
            file.reader.advance(&record);
            if self.look_ahead(rank)? == Refill::Idle {
                break;
            }
        }
        Ok(if self.gate.tally.packets > before { Outcome::Packets } else { found_nothing })
    }

    /// Finds the next packet of an open file, if that is not known yet.
    fn look_ahead(&mut self, rank: usize) -> Result<Refill, OpenError> {
        let Some(file) = &mut self.files[rank] else { return Ok(Refill::Ended) };
        if file.head.is_some() {
            return Ok(Refill::More);
        }
        let found = file.look_ahead(&mut self.gate)?;
        if let Some(head) = &file.head {
            self.heads.push(Reverse((head.ts, rank)));
        }
        Ok(found)
    }
}

/// Where the bytes of packets belong after the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placement {
    /// Lent until the next call.
    Lend,
    /// The caller's.
    Give,
    /// The caller's, one block of the file at a time.
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Packets,
    Idle,
    /// Neither packets nor the end yet.
    Nothing,
    /// The next file of the plan comes first.
    NextFile,
}

impl Outcome {
    fn of(scan: Scan, refill: Refill, delivered: u64) -> Self {
        match (scan, refill) {
            _ if delivered > 0 => Self::Packets,
            (_, Refill::Idle) => Self::Idle,
            (Scan::Bound, _) => Self::NextFile,
            _ => Self::Nothing,
        }
    }
}

impl Source for FileSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        batch.shared = None;
        self.fill_target(batch, Placement::Lend)
    }

    fn stats(&self) -> SourceStats {
        self.gate.all_stats()
    }

    fn progress(&self) -> Option<Progress> {
        let total = self.progress.total;
        (total > 0).then(|| Progress { bytes: self.bytes_read(), total })
    }

    fn reached(&self) -> Option<Timestamp> {
        self.gate.tally.reached()
    }

    fn origins(&self) -> &[Origin] {
        &self.origins
    }
}
