//! Chunks of a file dealt out to engines, and the memory they are made of.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::file::{Block, Chunk, FileSource, Place};
use super::source::{Fill, SourceError, SourceStats};
use crate::packet::{Deal, Share, Tick};
use crate::time::Timestamp;

/// Chunks kept to be used again.
const MAX_KEPT: usize = 64;
/// Room behind a block for the end of its last record.
const SLACK: usize = 16 * 1024;

/// What comes behind a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// Another chunk.
    #[default]
    Open,
    /// Nothing.
    Ended,
    /// Reading failed.
    Failed,
}

/// A chunk with the packets of each engine, and how things stood when it had been read.
#[derive(Debug, Default)]
pub(super) struct Dealt {
    pub number: u64,
    pub bytes: Arc<Vec<u8>>,
    /// Packets of each engine.
    pub shares: Vec<Share>,
    /// With which of them all a tick begins.
    pub ticks: Vec<Tick>,
    pub ending: Ending,
    /// Where the next chunk comes from, as far as known.
    pub next: Option<Place>,
    /// Counters of the source but those of delivered packets.
    pub stats: Option<Arc<SourceStats>>,
    /// Time of the last packet up to here.
    pub reached: Option<Timestamp>,
    /// Bytes read up to here.
    pub read: u64,
}

impl Dealt {
    /// Packets of all engines.
    pub fn len(&self) -> usize {
        self.shares.iter().map(|share| share.packets().len()).sum()
    }
}

/// Deals out the chunks that one engine reads, and uses their memory again when all engines are done with them.
pub(super) struct Dealer {
    engines: usize,
    deal: Deal,
    block_len: usize,
    chunk: Chunk,
    /// Handed out, the latest last.
    handed_out: Vec<Arc<Dealt>>,
    buffers: Vec<Vec<u8>>,
    /// Lists of packets, one for each engine, and of ticks.
    lists: Vec<(Vec<Share>, Vec<Tick>)>,
}

impl Dealer {
    pub fn new(engines: usize, deal: Deal, block_len: usize) -> Self {
        Self {
            engines,
            deal,
            block_len,
            chunk: Chunk::default(),
            handed_out: Vec::new(),
            buffers: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Takes back what nobody else has any more; the latest, of which most may still be in the cache.
    fn reclaim(&mut self) {
        let is_free = |dealt: &Arc<Dealt>| Arc::strong_count(dealt) == 1 && Arc::strong_count(&dealt.bytes) == 1;
        let Some(at) = self.handed_out.iter().rposition(is_free) else { return };
        let Some(dealt) = Arc::into_inner(self.handed_out.remove(at)) else { return };
        self.lists.push((dealt.shares, dealt.ticks));
        if let Some(bytes) = Arc::into_inner(dealt.bytes) {
            self.keep(bytes);
        }
    }

    /// Keeps a buffer for later, unless one giant record made it too large for that.
    fn keep(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() <= 2 * self.block_len + SLACK {
            self.buffers.push(bytes);
        }
    }

    fn buffer(&mut self) -> Vec<u8> {
        if self.buffers.is_empty() {
            self.reclaim();
        }
        self.buffers.pop().unwrap_or_default()
    }

    /// Reads a block of a file; `None` if there is nothing to be had.
    pub fn read(&mut self, place: Place) -> Option<Block> {
        let wanted = place.size.saturating_sub(place.start).min(self.block_len as u64) as usize;
        if wanted == 0 {
            return None;
        }
        let file = place.file.upgrade()?;
        let mut bytes = self.buffer();
        if bytes.len() < self.block_len + SLACK {
            bytes.resize(self.block_len + SLACK, 0);
        }
        let mut len = 0;
        // Whoever scans the block goes on where this ends, and meets what ended it.
        while len < wanted {
            match file.read_at(&mut bytes[len..wanted], place.start + len as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => len += read,
            }
        }
        Some(Block { place, bytes, len })
    }

    /// A block was not needed.
    pub fn put_back(&mut self, block: Option<Block>) {
        if let Some(block) = block {
            self.keep(block.bytes);
        }
    }

    /// Fills the next chunk from a source; the block is what was read of it.
    ///
    /// # Errors
    /// As those of the source.
    pub fn fill(&mut self, source: &mut FileSource, block: Option<Block>) -> Result<Fill, SourceError> {
        if block.is_none() {
            self.chunk.bytes = self.buffer();
        }
        source.fill_block(&mut self.chunk, block)
    }

    /// Sees whose each packet of the chunk is.
    pub fn deal(&mut self, mut dealt: Dealt) -> Arc<Dealt> {
        let bytes = std::mem::take(&mut self.chunk.bytes);
        if self.lists.is_empty() {
            self.reclaim();
        }
        (dealt.shares, dealt.ticks) = self.lists.pop().unwrap_or_default();
        dealt.shares.resize_with(self.engines, Share::default);
        (self.deal)(&self.chunk.packets, &bytes, &mut dealt.shares, &mut dealt.ticks);
        dealt.bytes = Arc::new(bytes);
        let dealt = Arc::new(dealt);
        if self.handed_out.len() == MAX_KEPT {
            self.handed_out.remove(0);
        }
        self.handed_out.push(Arc::clone(&dealt));
        dealt
    }
}
