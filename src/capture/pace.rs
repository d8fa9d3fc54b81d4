//! Delivers the packets of a file at the speed they were recorded at, or a multiple of it.

use std::time::Duration;

use super::poll::MAX_WAIT;
use super::source::{Fill, OpenError, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::{Batch, MAX_BATCH, Packet};
use crate::time::{Stopwatch, Timestamp};

/// A source that holds packets back until they are due.
///
/// Packets that wait stay in the batch's buffer; only the list of them is kept here.
pub struct Paced<S> {
    inner: S,
    speed: f64,
    start: Option<(Stopwatch, Timestamp)>,
    waiting: Vec<Packet>,
    next: usize,
}

impl<S: Source> Paced<S> {
    /// Wraps a source; a speed of 1 is that of the recording, 2 twice as fast.
    ///
    /// # Errors
    /// [`OpenError::Speed`] for a speed that is not a positive number.
    pub fn new(inner: S, speed: f64) -> Result<Self, OpenError> {
        if !(speed.is_finite() && speed > 0.0) {
            return Err(OpenError::Speed { speed });
        }
        Ok(Self { inner, speed, start: None, waiting: Vec::with_capacity(MAX_BATCH), next: 0 })
    }

    /// How long after the start a packet is due; packets that go back in time are due at once.
    fn due(&self, packet: &Packet, first: Timestamp) -> Duration {
        Duration::try_from_secs_f64(packet.ts.since(first).as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }
}

impl<S: Source> Source for Paced<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        if self.next == self.waiting.len() {
            let fill = self.inner.fill(batch)?;
            if fill != Fill::Packets {
                return Ok(fill);
            }
            self.waiting.clear();
            self.waiting.extend_from_slice(batch.packets());
            self.next = 0;
        }
        batch.clear();
        let Some(&head) = self.waiting.get(self.next) else { return Ok(Fill::Idle) };
        let (clock, first) = *self.start.get_or_insert_with(|| (Stopwatch::start(), head.ts));
        let early = self.due(&head, first).saturating_sub(clock.elapsed());
        if !early.is_zero() {
            std::thread::sleep(early.min(MAX_WAIT));
        }
        let now = clock.elapsed();
        while let Some(packet) = self.waiting.get(self.next)
            && self.due(packet, first) <= now
        {
            batch.push(*packet);
            self.next += 1;
        }
        Ok(if batch.is_empty() { Fill::Idle } else { Fill::Packets })
    }

    fn stats(&self) -> SourceStats {
        let mut stats = self.inner.stats();
        let waiting = &self.waiting[self.next..];
        stats.packets -= waiting.len() as u64;
        stats.bytes -= waiting.iter().map(|packet| u64::from(packet.wirelen)).sum::<u64>();
        stats
    }

    fn progress(&self) -> Option<Progress> {
        self.inner.progress()
    }

    fn origins(&self) -> &[Origin] {
        self.inner.origins()
    }
}
