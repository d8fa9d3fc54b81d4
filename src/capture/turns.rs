//! Plain files read by several engines, a chunk each by turns.
//!
//! Chunks are numbered. Whoever has little left to do takes the next number, reads that block of the file, and waits for
//! its turn: where the first record of a block begins is known when the one before has been scanned. It then finds the
//! records, passes the turn on, sees whose each packet is, and hands the chunk to all engines. So reading and hashing run
//! side by side, and only the walk from record to record goes through all chunks one after the other. Engines take chunks
//! in order of their numbers, and a chunk carries the counters as they stood behind it, so that what an engine gets depends
//! neither on who read it nor on when.
//!
//! No engine depends on another one for long. The turn belongs to a number and not to an engine: a chunk whose reader does
//! not come for it, because it has gone or is in the hands of a slow script, is read by whoever waits for it. The lock
//! around the file is only tried. An engine that gets ahead waits for the others, so that memory is bounded and what engines
//! tell each other finds the other at about the same time of the capture. Every wait ends after [`MAX_WAIT`] with
//! [`Fill::Idle`].

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::dealing::{Dealer, Dealt, Ending};
use super::file::{Block, FileSource, Place};
use super::opening::MAX_EMPTY_READS;
use super::poll::MAX_WAIT;
use super::source::{Fill, Origin, Progress, Source, SourceError, SourceStats};
use super::ticks::Ticks;
use crate::packet::{Batch, Deal, MAX_BATCH, Packet};
use crate::time::{Stopwatch, Timestamp};

/// Bytes of a file that one engine reads at a time for all.
const BLOCK_LEN: usize = 256 * 1024;
/// Chunks that one engine may be ahead of the last one: several milliseconds of work.
const MAX_LEAD: u64 = (8 << 20) / BLOCK_LEN as u64;
/// Chunks taken on beyond the one in hand, at least; as many as there are engines, so that all can read. More would leave
/// the cache before they are used.
const MIN_AHEAD: u64 = 2;
/// How long a reader waits for its turn before it goes on with packets. The one before it needs as long to read a block.
const PATIENCE: Duration = Duration::from_micros(50);
/// How long an engine that has nothing to do waits at a time.
const PAUSE: Duration = Duration::from_micros(100);
/// How long an engine waits for a chunk that another one has taken on before it reads it itself.
const OVERDUE: Duration = Duration::from_millis(1);
/// Packets of others that an engine passes over before it looks after other work.
const MAX_PASSED: usize = 16_384;

/// A number that one engine writes and the others read, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Position(AtomicU64);

/// What goes from turn to turn.
struct Token {
    source: FileSource,
    /// The chunk that is next.
    number: u64,
    /// What was last told about the source as a whole.
    stats: Arc<SourceStats>,
    is_over: bool,
}

struct Turns {
    token: Mutex<Token>,
    /// The chunk that is scanned next.
    turn: AtomicU64,
    /// The first chunk that nobody has taken on.
    untaken: AtomicU64,
    /// First chunk that each engine still needs; the largest number once it has gone.
    positions: Box<[Position]>,
    outlets: Box<[Sender<Arc<Dealt>>]>,
    /// True once an engine panicked while it read.
    is_abandoned: AtomicBool,
    origins: Vec<Origin>,
    /// Bytes of all inputs.
    total: Option<u64>,
}

/// A chunk that this engine has taken on.
struct Taken {
    number: u64,
    /// Absent where it was not known in advance what comes next.
    block: Option<Block>,
}

/// What one engine gets of files that it reads together with others.
///
/// Its statistics are its own packets and bytes; everything that concerns the source as a whole is told by the first engine
/// only, as far as it has come itself.
pub struct TurnSource {
    turns: Arc<Turns>,
    engine: usize,
    inlet: Receiver<Arc<Dealt>>,
    /// Chunks that came before their time.
    early: Vec<Arc<Dealt>>,
    /// The chunk in hand, and the next of its packets.
    chunk: Option<Arc<Dealt>>,
    next: usize,
    ticks: Ticks,
    /// The chunk that is needed next, or that is in hand.
    position: u64,
    taken: Option<Taken>,
    dealer: Dealer,
    ahead: u64,
    block_len: u64,
    /// Where a chunk of some number is, as far as known.
    guess: Option<(u64, Place)>,
    failure: Option<SourceError>,
    is_over: bool,
    /// True once the last chunk has been scanned.
    knows_end: bool,
    is_reading: bool,
    stats: SourceStats,
    whole: Arc<SourceStats>,
    reached: Option<Timestamp>,
    read: u64,
}

impl TurnSource {
    /// Splits a source of plain files; both directions of a flow go to the same engine, and each engine gets its packets in
    /// the order of the source. Fewer than one engine counts as one.
    #[must_use]
    pub fn split(source: FileSource, engines: usize, deal: Deal) -> Vec<Self> {
        const LEN: NonZeroU32 = NonZeroU32::new(BLOCK_LEN as u32).unwrap();
        Self::split_in_blocks(source, engines, deal, LEN)
    }

    /// As [`TurnSource::split`], with blocks of another length.
    #[must_use]
    pub fn split_in_blocks(source: FileSource, engines: usize, deal: Deal, len: NonZeroU32) -> Vec<Self> {
        let engines = engines.max(1);
        let source = source.in_blocks_of(len.get().into());
        let stats = Arc::new(source.stats());
        // No more chunks are on the way to an engine than it may be behind.
        let (outlets, inlets): (Vec<_>, Vec<_>) = (0..engines).map(|_| bounded(MAX_LEAD as usize)).unzip();
        let turns = Arc::new(Turns {
            turn: AtomicU64::new(0),
            untaken: AtomicU64::new(0),
            positions: (0..engines).map(|_| Position::default()).collect(),
            outlets: outlets.into(),
            is_abandoned: AtomicBool::new(false),
            origins: source.origins().to_vec(),
            total: source.progress().map(|progress| progress.total),
            token: Mutex::new(Token { source, number: 0, stats: Arc::clone(&stats), is_over: false }),
        });
        let source = |(engine, inlet)| Self {
            turns: Arc::clone(&turns),
            engine,
            inlet,
            early: Vec::new(),
            chunk: None,
            next: 0,
            ticks: Ticks::default(),
            position: 0,
            taken: None,
            dealer: Dealer::new(engines, deal, len.get() as usize),
            ahead: MIN_AHEAD.max(engines as u64),
            block_len: len.get().into(),
            guess: None,
            failure: None,
            is_over: false,
            knows_end: false,
            is_reading: false,
            stats: SourceStats::default(),
            whole: Arc::clone(&stats),
            reached: None,
            read: 0,
        };
        inlets.into_iter().enumerate().map(source).collect()
    }

    /// Takes the next number; false if an engine is too far behind.
    fn take_on(&mut self) -> bool {
        let last = self.turns.positions.iter().map(|position| position.0.load(Ordering::Acquire)).min();
        let limit = last.unwrap_or(0).saturating_add(MAX_LEAD);
        let free = |number: u64| (number < limit).then_some(number + 1);
        let Ok(number) = self.turns.untaken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) else {
            return false;
        };
        let block = self.guess.as_ref().and_then(|(known, place)| {
            let start = place.start + number.checked_sub(*known)? * self.block_len;
            self.dealer.read(Place { start, ..place.clone() })
        });
        self.taken = Some(Taken { number, block });
        true
    }

    /// Reads chunks while few of them lie ahead.
    fn read_ahead(&mut self) {
        while !self.knows_end {
            if let Some(taken) = &self.taken {
                if !self.turns.comes(taken.number) || !self.scan_taken() {
                    return;
                }
            } else if self.turns.untaken.load(Ordering::Relaxed) >= self.position + self.ahead || !self.take_on() {
                return;
            }
        }
    }

    /// Scans what this engine has taken on, or gives up what somebody else has scanned; false if somebody is at it.
    fn scan_taken(&mut self) -> bool {
        let Some(taken) = self.taken.take() else { return true };
        self.taken = self.scan(taken).err();
        self.taken.is_none()
    }

    /// Scans a chunk if it is its turn, and hands it to all engines; gives it back if somebody else is at work.
    fn scan(&mut self, taken: Taken) -> Result<(), Taken> {
        let turns = Arc::clone(&self.turns);
        let mut token = match turns.token.try_lock() {
            Ok(token) => token,
            Err(TryLockError::WouldBlock) => return Err(taken),
            Err(TryLockError::Poisoned(_)) => {
                turns.is_abandoned.store(true, Ordering::Release);
                return Err(taken);
            }
        };
        let Taken { number, block } = taken;
        self.knows_end |= token.is_over;
        if token.number != number || token.is_over {
            self.dealer.put_back(block);
            return Ok(());
        }
        self.is_reading = true;
        let mut dealt = Dealt { number, ..Dealt::default() };
        dealt.ending = match self.dealer.fill(&mut token.source, block) {
            Ok(Fill::End) => Ending::Ended,
            Ok(_) => Ending::Open,
            Err(error) => {
                self.failure = Some(error);
                Ending::Failed
            }
        };
        token.is_over = dealt.ending != Ending::Open;
        if let Some(news) = token.source.news_since(&token.stats) {
            token.stats = Arc::new(news);
        }
        dealt.stats = Some(Arc::clone(&token.stats));
        dealt.next = token.source.next_block();
        dealt.reached = token.source.reached();
        dealt.read = token.source.bytes_read();
        token.number += 1;
        drop(token);
        turns.turn.store(number + 1, Ordering::Release);
        let dealt = self.dealer.deal(dealt);
        for outlet in &turns.outlets {
            // A queue has room for as many chunks as an engine may be behind, and one without an owner takes none.
            let _ = outlet.try_send(Arc::clone(&dealt));
        }
        self.is_reading = false;
        Ok(())
    }

    /// Takes the next chunk into hand, if it has come.
    fn take(&mut self) -> bool {
        let early = self.early.iter().position(|chunk| chunk.number == self.position);
        let mut next = early.map(|at| self.early.swap_remove(at));
        while next.is_none() {
            match self.inlet.try_recv() {
                Ok(chunk) if chunk.number == self.position => next = Some(chunk),
                Ok(chunk) => self.early.push(chunk),
                Err(_) => return false,
            }
        }
        self.next = 0;
        self.chunk = next;
        if let Some(chunk) = &self.chunk {
            self.guess = chunk.next.as_ref().map(|place| (chunk.number + 1, place.clone()));
        }
        true
    }

    /// Is done with the chunk in hand.
    fn put_away(&mut self) {
        let Some(chunk) = self.chunk.take() else { return };
        self.ticks.put_away(&chunk.ticks);
        self.reached = chunk.reached.or(self.reached);
        self.read = chunk.read;
        if let Some(stats) = &chunk.stats {
            self.whole = Arc::clone(stats);
        }
        self.is_over = chunk.ending != Ending::Open;
        self.position += 1;
        // The reader may use it again once it sees that it is the only one who has it.
        drop(chunk);
        self.turns.positions[self.engine].0.store(self.position, Ordering::Release);
    }

    /// Waits for the chunk that is needed next; reads it itself when it is overdue.
    fn wait(&mut self, clock: Stopwatch) {
        let turns = Arc::clone(&self.turns);
        if self.taken.as_ref().is_some_and(|taken| turns.comes(taken.number)) && self.scan_taken() {
            return;
        }
        match self.inlet.recv_timeout(PAUSE) {
            Ok(chunk) => self.early.push(chunk),
            // All engines hold the other end.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let turn = turns.turn.load(Ordering::Acquire);
                let is_taken = turn < turns.untaken.load(Ordering::Acquire);
                if clock.elapsed() >= OVERDUE && turn <= self.position && is_taken {
                    // Its own chunk comes later, or else it would be at it.
                    let _ = self.scan(Taken { number: turn, block: None });
                }
            }
        }
    }

    fn serve(&mut self, chunk: &Arc<Dealt>, batch: &mut Batch) -> Fill {
        let packets = chunk.shares[self.engine].packets();
        batch.shared = Some(Arc::clone(&chunk.bytes));
        let end = packets.len().min(self.next + MAX_BATCH);
        let packets = &packets[self.next..end];
        let mut wirelen = 0;
        batch.fill_parts().1.extend(packets.iter().map(|packet| {
            wirelen += u64::from(packet.wirelen);
            Packet::from(*packet)
        }));
        self.stats.bytes += wirelen;
        self.stats.packets += packets.len() as u64;
        self.next = end;
        self.ticks.tell(&chunk.ticks, batch);
        Fill::Packets
    }

    /// The next packets, once a chunk with some has come.
    fn next_packets(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        if let Some(fill) = self.serve_in_hand(batch) {
            return Ok(fill);
        }
        let clock = Stopwatch::start();
        let (mut chunks, mut packets) = (0, 0);
        loop {
            chunks += u32::from(self.chunk.is_some());
            packets += self.chunk.as_ref().map_or(0, |chunk| chunk.len());
            self.put_away();
            if self.is_over {
                return self.failure.take().map_or(Ok(Fill::End), Err);
            }
            if packets >= MAX_PASSED || chunks >= MAX_EMPTY_READS || clock.elapsed() >= MAX_WAIT {
                return Ok(Fill::Idle);
            }
            self.read_ahead();
            if self.take() {
                if let Some(fill) = self.serve_in_hand(batch) {
                    return Ok(fill);
                }
                continue;
            }
            if self.turns.is_abandoned.load(Ordering::Acquire) {
                return Err(SourceError::ReaderAbandoned);
            }
            self.wait(clock);
        }
    }

    /// The next packets of the chunk in hand.
    fn serve_in_hand(&mut self, batch: &mut Batch) -> Option<Fill> {
        let chunk = self.chunk.take()?;
        let has_more = self.next < chunk.shares[self.engine].packets().len();
        let fill = has_more.then(|| self.serve(&chunk, batch));
        self.chunk = Some(chunk);
        fill
    }
}

impl Turns {
    /// Waits a little until a chunk can be scanned or has been; false if that is not so.
    fn comes(&self, number: u64) -> bool {
        let has_come = || self.turn.load(Ordering::Acquire) >= number;
        if has_come() {
            return true;
        }
        let clock = Stopwatch::start();
        while clock.elapsed() < PATIENCE {
            for _ in 0..32 {
                if has_come() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }
}

impl Source for TurnSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        batch.shared = None;
        let fill = self.next_packets(batch)?;
        self.ticks.tell_without_packets(fill, batch);
        Ok(fill)
    }

    fn stats(&self) -> SourceStats {
        if self.engine != 0 {
            return self.stats.clone();
        }
        let SourceStats { packets, bytes, .. } = self.stats;
        SourceStats { packets, bytes, ..SourceStats::clone(&self.whole) }
    }

    fn progress(&self) -> Option<Progress> {
        self.turns.total.map(|total| Progress { bytes: self.read, total })
    }

    fn reached(&self) -> Option<Timestamp> {
        self.reached
    }

    fn origins(&self) -> &[Origin] {
        &self.turns.origins
    }
}

impl Drop for TurnSource {
    fn drop(&mut self) {
        if self.is_reading {
            self.turns.is_abandoned.store(true, Ordering::Release);
        }
        self.turns.positions[self.engine].0.store(u64::MAX, Ordering::Release);
    }
}
