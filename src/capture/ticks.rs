//! What an engine is told of the clock of an input that it shares with others.

use super::source::Fill;
use crate::packet::{Batch, Clock, Tick};

/// Ticks on their way to one engine. It is told of those in front of its packets with these, and of those of seconds that
/// are over when it has none: how often that is does not show in what it is told before each packet.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// Chunks are dealt out each by itself; a tick may have begun in an earlier one.
    clock: Clock,
    /// The first one of the chunk in hand that was not looked at.
    next: usize,
    /// Those of chunks that are done with.
    passed: Vec<Tick>,
}

impl Ticks {
    /// Tells of those up to the last packet of a batch; `of_chunk` are those of its chunk.
    pub fn tell(&mut self, of_chunk: &[Tick], batch: &mut Batch) {
        let Some(last) = batch.packets().last().map(|packet| packet.offset) else { return };
        batch.ticks.append(&mut self.passed);
        while let Some(tick) = of_chunk.get(self.next).filter(|tick| tick.offset <= last) {
            self.next += 1;
            if self.clock.strike(tick) {
                batch.ticks.push(*tick);
            }
        }
    }

    /// Is done with a chunk, of which these are the ticks.
    pub fn put_away(&mut self, of_chunk: &[Tick]) {
        for tick in &of_chunk[std::mem::take(&mut self.next)..] {
            if self.clock.strike(tick) {
                self.passed.push(Tick { offset: 0, ..*tick });
            }
        }
    }

    /// Tells of those that go by without packets: while more may come, of seconds that are over.
    pub fn tell_without_packets(&mut self, fill: Fill, batch: &mut Batch) {
        let told = match (fill, self.passed.last()) {
            (Fill::Packets, _) | (_, None) => return,
            (Fill::End, _) => self.passed.len(),
            (Fill::Idle, Some(last)) => {
                let is_over = |tick: &Tick| tick.time.secs() < last.time.secs();
                self.passed.iter().rposition(is_over).map_or(0, |place| place + 1)
            }
        };
        batch.ticks.extend(self.passed.drain(..told));
    }
}
