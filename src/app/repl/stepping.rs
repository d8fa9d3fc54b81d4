//! A source that hands over one packet at a time.

use crate::capture::{Fill, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::{Batch, Captured};

/// One packet of another source at a time.
pub struct OneByOne<S> {
    inner: S,
    ahead: Batch,
    next: usize,
}

impl<S: Source> OneByOne<S> {
    /// The packets of `inner`.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, ahead: Batch::new(), next: 0 }
    }
}

impl<S: Source> Source for OneByOne<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        while self.next >= self.ahead.len() {
            self.next = 0;
            match self.inner.fill(&mut self.ahead)? {
                Fill::Packets => {}
                other => return Ok(other),
            }
        }
        let packet = self.ahead.packets()[self.next];
        self.next += 1;
        batch.shared = None;
        batch.buffer.clear();
        batch.buffer.extend_from_slice(self.ahead.packet_bytes(&packet));
        batch.push(Captured { offset: 0, ..*packet }.into());
        Ok(Fill::Packets)
    }

    fn stats(&self) -> SourceStats {
        self.inner.stats()
    }

    fn progress(&self) -> Option<Progress> {
        self.inner.progress()
    }

    fn origins(&self) -> &[Origin] {
        self.inner.origins()
    }
}
