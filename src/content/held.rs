//! Bytes of a flow that came before its protocol was known.

use super::counts::ContentCounts;
use crate::flow::Direction;

/// Most bytes of a flow; protocols are told from far less.
const MAX_OF_FLOW: usize = 64 << 10;
/// Most bytes of all flows.
const MAX_OF_ALL: usize = 16 << 20;
/// What a piece costs besides its bytes.
const OVERHEAD: usize = 64;

/// One segment.
#[derive(Debug)]
pub(super) struct Piece {
    pub direction: Direction,
    pub position: u64,
    pub bytes: Box<[u8]>,
}

/// The segments of one flow, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Keeps a segment; `total` counts what all flows keep.
    pub fn push(&mut self, piece: Piece, total: &mut usize, counts: &mut ContentCounts) {
        let size = piece.bytes.len() + OVERHEAD;
        if self.bytes + size > MAX_OF_FLOW || *total + size > MAX_OF_ALL {
            counts.raw_bytes_dropped += piece.bytes.len() as u64;
            return;
        }
        self.bytes += size;
        *total += size;
        self.pieces.push(piece);
    }

    /// Hands out the segments.
    pub fn take(&mut self, total: &mut usize) -> Vec<Piece> {
        *total -= self.bytes;
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}
