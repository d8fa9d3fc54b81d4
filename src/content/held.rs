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

#[cfg(test)]
mod tests {
    use super::{ContentCounts, Direction, Held, MAX_OF_ALL, MAX_OF_FLOW, OVERHEAD, Piece};

    fn piece(len: usize) -> Piece {
        Piece { direction: Direction::ToServer, position: 0, bytes: vec![0; len].into() }
    }

    #[test]
    fn bytes_beyond_what_a_flow_may_keep_are_counted() {
        let (mut held, mut total, mut counts) = (Held::default(), 0, ContentCounts::default());
        held.push(piece(MAX_OF_FLOW - OVERHEAD - 100), &mut total, &mut counts);
        held.push(piece(101 - OVERHEAD), &mut total, &mut counts);
        assert_eq!((total, counts.raw_bytes_dropped), (MAX_OF_FLOW - 100, 101 - OVERHEAD as u64));
        held.push(piece(7_000), &mut total, &mut counts);
        // One that fits is kept, whatever was dropped before it: pieces say where they were.
        held.push(piece(100 - OVERHEAD), &mut total, &mut counts);
        assert_eq!((total, counts.raw_bytes_dropped), (MAX_OF_FLOW, 7_037));
        assert_eq!(counts, ContentCounts { raw_bytes_dropped: 7_037, ..ContentCounts::default() });
        let kept: Vec<usize> = held.take(&mut total).iter().map(|piece| piece.bytes.len()).collect();
        assert_eq!((kept, total), (vec![MAX_OF_FLOW - OVERHEAD - 100, 100 - OVERHEAD], 0));
    }

    #[test]
    fn bytes_beyond_what_all_flows_may_keep_are_counted() {
        let (mut total, mut counts) = (0, ContentCounts::default());
        let mut full: Vec<Held> = (0..MAX_OF_ALL / MAX_OF_FLOW).map(|_| Held::default()).collect();
        full.iter_mut().for_each(|held| held.push(piece(MAX_OF_FLOW - OVERHEAD), &mut total, &mut counts));
        assert_eq!((total, counts), (MAX_OF_ALL, ContentCounts::default()));
        let mut late = Held::default();
        late.push(piece(30), &mut total, &mut counts);
        late.push(piece(3), &mut total, &mut counts);
        assert_eq!((late.is_empty(), total, counts.raw_bytes_dropped), (true, MAX_OF_ALL, 33));
        full[0].take(&mut total);
        late.push(piece(30), &mut total, &mut counts);
        assert_eq!((late.is_empty(), counts.raw_bytes_dropped), (false, 33));
    }
}
