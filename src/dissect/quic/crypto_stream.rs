//! Handshake bytes of one direction, put together from frames in any order.

/// Bytes of handshake that are kept per direction.
pub const MAX_CRYPTO: usize = 64 << 10;
/// Pieces with holes between them. Clients that shuffle their hello make about twenty.
const MAX_PIECES: usize = 64;

/// A pure data structure: what is there, and where.
#[derive(Debug, Default)]
pub struct CryptoStream {
    bytes: Vec<u8>,
    /// Start and end of what is there; ordered, apart from each other.
    pieces: Vec<(usize, usize)>,
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// They are kept.
    Kept,
    /// They lie behind what may be kept, or make too many pieces.
    OverLimit,
}

impl CryptoStream {
    /// Takes bytes in. Those that are there already stay as they are.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) -> Inserted {
        let Ok(start) = usize::try_from(offset) else { return Inserted::OverLimit };
        let Some(end) = start.checked_add(bytes.len()).filter(|end| *end <= MAX_CRYPTO) else {
            return Inserted::OverLimit;
        };
        if bytes.is_empty() {
            return Inserted::Kept;
        }
        // The pieces that touch the new one are one with it from now on.
        let from = self.pieces.partition_point(|piece| piece.1 < start);
        let until = self.pieces.partition_point(|piece| piece.0 <= end);
        if from == until && self.pieces.len() == MAX_PIECES {
            return Inserted::OverLimit;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let mut at = start;
        let touched = self.pieces.get(from..until).unwrap_or_default();
        for (have, have_end) in touched.iter().copied().chain([(end, end)]) {
            let hole = at..have.clamp(at, end);
            if let (Some(room), Some(new)) =
                (self.bytes.get_mut(hole.clone()), bytes.get(hole.start - start..hole.end - start))
            {
                room.copy_from_slice(new);
            }
            at = have_end.clamp(at, end);
        }
        let first = touched.first().map_or(start, |piece| piece.0.min(start));
        let last = touched.last().map_or(end, |piece| piece.1.max(end));
        self.pieces.splice(from..until, [(first, last)]);
        Inserted::Kept
    }

    /// What is there from the start on without a hole.
    pub fn contiguous(&self) -> &[u8] {
        match self.pieces.first() {
            Some((0, end)) => self.bytes.get(..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Bytes of memory.
    pub fn held(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<(usize, usize)>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_in_any_order_give_what_a_table_of_bytes_gives(
            pieces in prop::collection::vec((0usize..300, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        ) {
            let mut stream = CryptoStream::default();
            let mut table = [None; 400];
            for (offset, bytes) in &pieces {
                prop_assert_eq!(stream.insert(*offset as u64, bytes), Inserted::Kept);
                for (place, byte) in table[*offset..].iter_mut().zip(bytes) {
                    place.get_or_insert(*byte);
                }
            }
            let expected: Vec<u8> = table.iter().map_while(|byte| *byte).collect();
            prop_assert_eq!(stream.contiguous(), expected);
            prop_assert!(stream.pieces.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn limits_hold() {
        let mut stream = CryptoStream::default();
        assert_eq!(stream.insert(u64::MAX, &[1]), Inserted::OverLimit);
        assert_eq!(stream.insert(MAX_CRYPTO as u64, &[1]), Inserted::OverLimit);
        assert_eq!(stream.insert(MAX_CRYPTO as u64 - 1, &[1]), Inserted::Kept);
        for piece in 0..MAX_PIECES as u64 - 1 {
            assert_eq!(stream.insert(piece * 2, &[1]), Inserted::Kept);
        }
        assert_eq!(stream.insert(1_000, &[1]), Inserted::OverLimit);
        assert_eq!(stream.insert(1, &[1]), Inserted::Kept);
    }
}
