//! One file input for several engines, without a thread of its own.
//!
//! An engine that has little left to do takes the reader's lock, reads the next chunk and deals its packets out by flow
//! hash: one [`Portion`] per engine and chunk, so a queue's lock is taken once per chunk and not per packet. Engines that
//! run dry meanwhile wait for their queue to change. An engine that gets ahead waits for the others: when a queue is full, the
//! portions dealt but not delivered stay with the reader, and no further chunk is read before they are gone.
//!
//! No deadlock: the lock is held only for reading and for bounded waits; whoever holds it needs nothing but room in a
//! queue whose engine never waits for the lock, and asks for it before that queue is empty only if there is room in all.
//! Every wait ends after [`MAX_WAIT`] with [`Fill::Idle`], so engines may even take turns on one thread.
//! No lost wake-up: a waiting engine compares its queue's `version`, read before it tried the lock, and whoever releases
//! the lock moves every version on under the queue's own lock.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::file::{CHUNK_LEN, Chunk, FileSource};
use super::poll::MAX_WAIT;
use super::source::{Fill, Origin, Progress, Source, SourceError, SourceStats};
use super::ticks::Ticks;
use crate::packet::{Batch, Deal, MAX_BATCH, Share, Tick};
use crate::time::{Stopwatch, Timestamp};

/// Portions a queue holds: at 64 to 256 KiB a chunk this keeps an engine busy for a millisecond or more, and memory to a few
/// MiB.
const QUEUE_LEN: usize = 32;

/// Portions that an engine reads on to when it has used up one. It must be the work of a millisecond: an engine that sleeps
/// is awake again after 50 to 100 us, which is as long as it takes to count the packets of a few small portions.
const READ_AHEAD: usize = 16;

/// Ticks that may come together for an engine without packets: of hours.
const MAX_TICKS: usize = 1 << 16;

/// Packets of one chunk that belong to one engine.
#[derive(Debug, Default)]
struct Portion {
    /// Present whenever there are packets.
    chunk: Option<Arc<Vec<u8>>>,
    share: Share,
    /// Ticks since the last portion, and those of the chunk.
    ticks: Vec<Tick>,
}

#[derive(Debug, Default)]
struct QueueState {
    portions: VecDeque<Portion>,
    /// Ticks of chunks behind those of the portions.
    passed: Vec<Tick>,
    /// Portions whose lists are empty again, for the next ones.
    spare: Vec<Portion>,
    /// Moved on whenever something happened that a waiting engine should look at.
    version: u64,
    /// True once the engine has dropped its source.
    is_closed: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    /// Signalled when a portion or a new version comes.
    changed: Condvar,
    /// Signalled when there is room again.
    drained: Condvar,
}

/// What only the holder of the lock touches.
struct Reading {
    source: FileSource,
    chunk: Chunk,
    /// Chunks handed out, to be used again when all engines are done with them.
    handed_out: Vec<Arc<Vec<u8>>>,
    /// Dealt and not delivered yet, one share per engine, and the bytes they point into.
    dealt: Vec<Share>,
    ticks: Vec<Tick>,
    bytes: Option<Arc<Vec<u8>>>,
    /// Engines that have got theirs.
    delivered: usize,
    outcome: Ending,
    engine_gone: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Reading,
    Ended,
    Failed,
}

struct Shared {
    reading: Mutex<Reading>,
    queues: Vec<Queue>,
    deal: Deal,
    origins: Vec<Origin>,
}

/// Makes one [`SharedSource`] per engine out of one file source.
pub struct SharedReader;

impl SharedReader {
    /// Splits a source; both directions of a flow go to the same engine, and each engine gets its packets in the order
    /// of the source. Fewer than one engine counts as one.
    #[must_use]
    pub fn split(source: FileSource, engines: usize, deal: Deal) -> Vec<SharedSource> {
        let engines = engines.max(1);
        let origins = source.origins().to_vec();
        let reading = Reading {
            source,
            chunk: Chunk::default(),
            handed_out: Vec::new(),
            dealt: (0..engines).map(|_| Share::default()).collect(),
            ticks: Vec::new(),
            bytes: None,
            delivered: engines,
            outcome: Ending::Reading,
            engine_gone: 0,
        };
        let shared = Arc::new(Shared {
            reading: Mutex::new(reading),
            queues: (0..engines).map(|_| Queue::default()).collect(),
            deal,
            origins,
        });
        (0..engines)
            .map(|engine| SharedSource {
                shared: Arc::clone(&shared),
                engine,
                portion: Portion::default(),
                failure: None,
                next: 0,
                ticks: Ticks::default(),
                packets: 0,
                bytes: 0,
            })
            .collect()
    }
}

/// What one engine gets of a shared source.
///
/// Its statistics are its own packets and bytes; everything that concerns the source as a whole (drops, damage) is
/// told by the first engine only, so that sums over engines are right.
pub struct SharedSource {
    shared: Arc<Shared>,
    engine: usize,
    portion: Portion,
    /// What went wrong while reading ahead; told when the packets before it are gone.
    failure: Option<SourceError>,
    next: usize,
    ticks: Ticks,
    packets: u64,
    bytes: u64,
}

impl QueueState {
    /// Whether there is no room for so many packets, or for ticks alone.
    fn is_full(&self, packets: usize) -> bool {
        let is_full = packets > 0 && self.portions.len() >= QUEUE_LEN || self.passed.len() >= MAX_TICKS;
        is_full && !self.is_closed
    }
}

impl Queue {
    /// A queue's state is consistent between any two statements, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_on(&self) {
        self.lock().version += 1;
        self.changed.notify_all();
    }
}

impl Reading {
    /// Delivers what was dealt; true once all of it is gone. Waits for room until `clock` has run for [`MAX_WAIT`].
    fn deliver(&mut self, queues: &[Queue], clock: Stopwatch) -> bool {
        for (share, queue) in self.dealt.iter_mut().zip(queues).skip(self.delivered) {
            let packets = share.packets().len();
            if packets == 0 && self.ticks.is_empty() {
                self.delivered += 1;
                continue;
            }
            let mut state = queue.lock();
            while state.is_full(packets) {
                let left = MAX_WAIT.saturating_sub(clock.elapsed());
                if left.is_zero() {
                    return false;
                }
                state = queue.drained.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            self.delivered += 1;
            if state.is_closed {
                self.engine_gone += packets as u64;
                share.clear();
                continue;
            }
            if packets == 0 {
                state.passed.extend(self.ticks.iter().map(|tick| Tick { offset: 0, ..*tick }));
                continue;
            }
            let mut portion = state.spare.pop().unwrap_or_default();
            std::mem::swap(&mut portion.share, share);
            std::mem::swap(&mut portion.ticks, &mut state.passed);
            portion.ticks.extend_from_slice(&self.ticks);
            portion.chunk.clone_from(&self.bytes);
            state.portions.push_back(portion);
            state.version += 1;
            drop(state);
            queue.changed.notify_all();
        }
        self.bytes = None;
        true
    }

    /// A buffer nobody uses any more, or a new one.
    fn free_buffer(&mut self) -> Vec<u8> {
        let free = self.handed_out.iter_mut().position(|chunk| Arc::get_mut(chunk).is_some());
        free.map(|index| self.handed_out.swap_remove(index)).and_then(Arc::into_inner).unwrap_or_default()
    }

    /// Reads one chunk and deals it out.
    fn read(&mut self, deal: Deal) -> Result<Fill, SourceError> {
        self.chunk.bytes = self.free_buffer();
        let fill = match self.source.fill_chunk(&mut self.chunk) {
            Ok(fill) => fill,
            Err(error) => {
                self.outcome = Ending::Failed;
                return Err(error);
            }
        };
        if fill == Fill::End {
            self.outcome = Ending::Ended;
        }
        let chunk = Arc::new(std::mem::take(&mut self.chunk.bytes));
        deal(&self.chunk.packets, &chunk, &mut self.dealt, &mut self.ticks);
        self.delivered = 0;
        self.bytes = Some(Arc::clone(&chunk));
        // A buffer grown by one giant record is not worth keeping.
        if chunk.capacity() <= 2 * CHUNK_LEN {
            self.handed_out.push(chunk);
        }
        Ok(fill)
    }
}

impl SharedSource {
    fn queue(&self) -> &Queue {
        &self.shared.queues[self.engine]
    }

    /// Takes the next portion from the queue; answers with the queue's version if there is none.
    fn take_portion(&mut self) -> Result<(), u64> {
        let mut used = std::mem::take(&mut self.portion);
        // The chunk may be used again from here on.
        used.chunk = None;
        used.share.clear();
        self.ticks.put_away(&used.ticks);
        used.ticks.clear();
        self.next = 0;
        let queue = &self.shared.queues[self.engine];
        let mut state = queue.lock();
        if state.spare.len() < QUEUE_LEN {
            state.spare.push(used);
        }
        let Some(portion) = state.portions.pop_front() else {
            self.ticks.put_away(&state.passed);
            state.passed.clear();
            queue.drained.notify_all();
            return Err(state.version);
        };
        drop(state);
        queue.drained.notify_all();
        self.portion = portion;
        Ok(())
    }

    /// Waits until something happens to the queue, or the time is over.
    fn wait(&self, version: u64, clock: Stopwatch) {
        let queue = self.queue();
        let left = MAX_WAIT.saturating_sub(clock.elapsed());
        let state = queue.lock();
        drop(
            queue
                .changed
                .wait_timeout_while(state, left, |state| state.version == version && state.portions.is_empty())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Reads for all engines, if none of the others does; `None` if another one does.
    fn read(&self, clock: Stopwatch) -> Result<Option<Fill>, SourceError> {
        let mut reading = match self.shared.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Poisoned(_)) => return Err(SourceError::ReaderAbandoned),
        };
        let mut fill = Fill::Idle;
        if reading.deliver(&self.shared.queues, clock) {
            match reading.outcome {
                Ending::Ended => fill = Fill::End,
                Ending::Failed => return Err(SourceError::ReaderAbandoned),
                Ending::Reading => {
                    fill = reading.read(self.shared.deal)?;
                    reading.deliver(&self.shared.queues, clock);
                    // The end is told only when nothing is left to deliver to anyone.
                    if fill == Fill::End {
                        fill = Fill::Packets;
                    }
                }
            }
        }
        drop(reading);
        self.shared.queues.iter().for_each(Queue::move_on);
        Ok(Some(fill))
    }

    /// Reads chunks before this engine runs dry, unless another one reads or somebody has no room. Not from pipes, where
    /// it could mean to wait; and not for long, as nothing may be for this engine.
    fn read_ahead(&mut self) {
        if self.shared.queues.len() < 2
            || self.failure.is_some()
            || self.queue().lock().portions.len() >= READ_AHEAD / 2
        {
            return;
        }
        let Ok(mut reading) = self.shared.reading.try_lock() else { return };
        let (queues, clock) = (&self.shared.queues, Stopwatch::start());
        while reading.outcome == Ending::Reading
            && clock.elapsed() < MAX_WAIT
            && reading.source.progress().is_some()
            && reading.delivered == queues.len()
            && queues[self.engine].lock().portions.len() < READ_AHEAD
            && !queues.iter().any(|queue| queue.lock().is_full(MAX_BATCH))
        {
            match reading.read(self.shared.deal) {
                // Nobody else adds to the queues, so the room seen above is still there.
                Ok(_) => drop(reading.deliver(queues, Stopwatch::start())),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        drop(reading);
        queues.iter().for_each(Queue::move_on);
    }

    fn serve(&mut self, batch: &mut Batch) -> Fill {
        batch.shared.clone_from(&self.portion.chunk);
        let end = self.portion.share.packets().len().min(self.next + MAX_BATCH);
        for packet in &self.portion.share.packets()[self.next..end] {
            batch.push((*packet).into());
            self.bytes += u64::from(packet.wirelen);
        }
        self.packets += (end - self.next) as u64;
        self.next = end;
        self.ticks.tell(&self.portion.ticks, batch);
        Fill::Packets
    }

    /// The next packets, once some have come.
    fn next_packets(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        if self.next < self.portion.share.packets().len() {
            return Ok(self.serve(batch));
        }
        self.read_ahead();
        let clock = Stopwatch::start();
        loop {
            let Err(version) = self.take_portion() else { return Ok(self.serve(batch)) };
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if clock.elapsed() >= MAX_WAIT {
                return Ok(Fill::Idle);
            }
            match self.read(clock)? {
                None => self.wait(version, clock),
                // Between the look at the queue and the lock, another engine may have delivered the last portion.
                Some(Fill::End) => {
                    return Ok(if self.take_portion().is_ok() { self.serve(batch) } else { Fill::End });
                }
                Some(Fill::Idle) => {
                    return Ok(if self.take_portion().is_ok() { self.serve(batch) } else { Fill::Idle });
                }
                Some(Fill::Packets) => {}
            }
        }
    }
}

impl Source for SharedSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        batch.shared = None;
        let fill = self.next_packets(batch)?;
        self.ticks.tell_without_packets(fill, batch);
        Ok(fill)
    }

    fn stats(&self) -> SourceStats {
        let own = SourceStats { packets: self.packets, bytes: self.bytes, ..SourceStats::default() };
        if self.engine != 0 {
            return own;
        }
        let reading = self.shared.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = reading.source.stats();
        SourceStats { packets: own.packets, bytes: own.bytes, engine_gone: reading.engine_gone, ..whole }
    }

    fn progress(&self) -> Option<Progress> {
        self.shared.reading.lock().unwrap_or_else(PoisonError::into_inner).source.progress()
    }

    /// Waits for the lock as [`Source::progress`] does: an engine that asks has room in its queue.
    fn reached(&self) -> Option<Timestamp> {
        let reading = self.shared.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_behind = self.next < self.portion.share.packets().len()
            || !reading.dealt[self.engine].packets().is_empty()
            || !self.queue().lock().portions.is_empty();
        if is_behind { None } else { reading.source.reached() }
    }

    fn origins(&self) -> &[Origin] {
        &self.shared.origins
    }
}

impl Drop for SharedSource {
    fn drop(&mut self) {
        let mut state = self.queue().lock();
        state.is_closed = true;
        let undelivered: u64 = state.portions.drain(..).map(|portion| portion.share.packets().len() as u64).sum();
        drop(state);
        self.queue().drained.notify_all();
        let left = undelivered + (self.portion.share.packets().len() - self.next) as u64;
        // A reader that waits for room in this queue was woken above, so the lock comes free.
        if let Ok(mut reading) = self.shared.reading.lock() {
            reading.engine_gone += left;
        }
    }
}
