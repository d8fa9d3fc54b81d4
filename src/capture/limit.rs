//! Ends a source after a number of packets or a length of time.

use std::time::Duration;

use super::source::{Fill, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::Batch;
use crate::time::{Stopwatch, Timestamp};

/// Which clock a duration is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBase {
    /// Time of the packets, from the first one on: for files.
    Packets,
    /// Time that passes, from the first call on: for interfaces.
    Elapsed,
}

/// When a source is to end; without either value it runs to its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets delivered in all.
    pub count: Option<u64>,
    /// Length of time.
    pub duration: Option<Duration>,
    /// What the duration is measured on.
    pub time_base: TimeBase,
}

/// A source that ends early.
pub struct Limit<S> {
    inner: S,
    limits: Limits,
    start: Option<Start>,
    is_over: bool,
    packets: u64,
    bytes: u64,
    over_limit: u64,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Packet(Timestamp),
    Call(Stopwatch),
}

impl<S: Source> Limit<S> {
    /// Wraps a source.
    pub const fn new(inner: S, limits: Limits) -> Self {
        Self { inner, limits, start: None, is_over: false, packets: 0, bytes: 0, over_limit: 0 }
    }

    /// How many packets of the batch are within the limits.
    fn within(&mut self, batch: &Batch) -> usize {
        let count = self.limits.count.map_or(u64::MAX, |count| count - self.packets);
        let mut kept = usize::try_from(count).unwrap_or(usize::MAX).min(batch.len());
        if let (Some(duration), TimeBase::Packets) = (self.limits.duration, self.limits.time_base)
            && let Some(first) = batch.packets().first()
        {
            let start = match *self.start.get_or_insert(Start::Packet(first.ts)) {
                Start::Packet(ts) => ts,
                Start::Call(_) => first.ts,
            };
            let late = batch.packets().iter().position(|packet| packet.ts.since(start) >= duration);
            kept = late.map_or(kept, |late| late.min(kept));
        }
        kept
    }
}

impl<S: Source> Source for Limit<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        if let (Some(duration), TimeBase::Elapsed) = (self.limits.duration, self.limits.time_base) {
            let start = *self.start.get_or_insert_with(|| Start::Call(Stopwatch::start()));
            self.is_over |= matches!(start, Start::Call(stopwatch) if stopwatch.elapsed() >= duration);
        }
        if self.is_over || self.limits.count == Some(self.packets) {
            batch.clear();
            return Ok(Fill::End);
        }
        let fill = self.inner.fill(batch)?;
        if fill != Fill::Packets {
            return Ok(fill);
        }
        let kept = self.within(batch);
        if kept < batch.len() {
            self.over_limit += (batch.len() - kept) as u64;
            self.is_over = true;
            batch.truncate(kept);
        }
        self.packets += kept as u64;
        self.bytes += batch.packets().iter().map(|packet| u64::from(packet.wirelen)).sum::<u64>();
        Ok(if kept == 0 { Fill::End } else { Fill::Packets })
    }

    fn stats(&self) -> SourceStats {
        SourceStats { packets: self.packets, bytes: self.bytes, over_limit: self.over_limit, ..self.inner.stats() }
    }

    fn progress(&self) -> Option<Progress> {
        self.inner.progress()
    }

    fn origins(&self) -> &[Origin] {
        self.inner.origins()
    }
}
