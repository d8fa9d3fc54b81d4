//! Byte ranges to an ordered stream. A pure data structure: knows positions, not packets, sequence numbers or time.
//!
//! Bytes that arrived first stay. Bytes that were on the wire and not captured take their place as a gap, so what is on
//! both sides of them is never joined. Only out-of-order bytes are copied.

use std::collections::VecDeque;

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the segment just offered.
    Fresh {
        /// Where in the stream.
        position: u64,
        /// Where in the segment.
        at: usize,
        /// How many.
        len: usize,
    },
    /// Bytes that had to wait: one piece for each segment that did.
    Held {
        /// Where in the stream.
        position: u64,
        /// The bytes.
        bytes: Box<[u8]>,
    },
    /// Bytes that will never come.
    Gap {
        /// Where in the stream.
        position: u64,
        /// How many.
        missing: u64,
    },
}

/// How a segment fitted what was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Bytes that were there already.
    pub repeated: u64,
    /// Bytes that were taken.
    pub taken: u64,
    /// Whether repeated bytes differ from those that wait.
    pub conflict: bool,
}

/// One direction of a flow behind a missing byte.
#[derive(Debug, Default)]
pub struct Assembler {
    // Everything before is delivered or given up.
    next: u64,
    // Sorted, without overlaps, none at `next` or before.
    waiting: VecDeque<Segment>,
    // Bytes in them.
    bytes: usize,
    // Where among them the last segment on offer ended: the next one mostly goes on there.
    hand: usize,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    len: u64,
    // Empty if they were not captured, else `len` many.
    bytes: Box<[u8]>,
}

impl Segment {
    const fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// What a waiting segment costs besides its bytes.
const SEGMENT_COST: usize = size_of::<Segment>() + 16;

/// A segment on offer.
#[derive(Clone, Copy)]
struct Offer<'a> {
    start: u64,
    // Captured bytes, from `start` on.
    data: &'a [u8],
    // Bytes of the segment before `start`.
    skipped: usize,
}

impl<'a> Offer<'a> {
    /// Captured bytes of a part.
    fn part(&self, from: u64, to: u64) -> (usize, &'a [u8]) {
        let captured = self.start + self.data.len() as u64;
        let to = to.min(captured).max(self.start);
        let from = from.min(to);
        let at = (from - self.start) as usize;
        (at, &self.data[at..(to - self.start) as usize])
    }
}

impl Assembler {
    /// A stream of which everything before `next` is delivered.
    #[must_use]
    pub const fn new(next: u64) -> Self {
        Self { next, waiting: VecDeque::new(), bytes: 0, hand: 0 }
    }

    /// Position of the next byte to deliver.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Segments that wait.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that wait, and what keeping them takes.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.bytes + self.waiting.len() * SEGMENT_COST
    }

    /// Takes a segment of `len` bytes at `position`, of which the first were captured. What is in order by then goes to
    /// `out`. Bytes before position 0 do not exist.
    pub fn offer(&mut self, position: i64, data: &[u8], len: u32, out: &mut impl FnMut(Piece)) -> Fit {
        let before = position.min(0).unsigned_abs().min(u64::from(len));
        let start = position.max(0) as u64;
        let end = start + (u64::from(len) - before);
        let skipped = (before as usize).min(data.len());
        let data = &data[skipped..data.len().min(len as usize).max(skipped)];
        let offer = Offer { start, data, skipped };
        let mut fit = Fit { repeated: self.next.min(end).saturating_sub(start), ..Fit::default() };
        let mut at = start.max(self.next);
        let mut index = self.first_behind(at);
        while at < end {
            let free_until = self.waiting.get(index).map_or(end, |segment| segment.start.min(end));
            if at < free_until {
                fit.taken += free_until - at;
                if at == self.next {
                    debug_assert_eq!(index, 0, "nothing waits before the next byte");
                    self.deliver(&offer, at, free_until, out);
                } else {
                    index += self.hold(index, &offer, at, free_until);
                }
                at = free_until;
            }
            if at < end
                && let Some(segment) = self.waiting.get(index)
            {
                let until = segment.end().min(end);
                fit.repeated += until - at;
                fit.conflict |= differs(segment, &offer, at, until);
                at = until;
                if segment.start == self.next {
                    self.release_first(out);
                } else {
                    index += 1;
                }
            }
        }
        self.hand = index;
        self.release(out);
        fit
    }

    /// The first waiting segment that ends behind a position. Behind a hole segments mostly come in order: new ones behind
    /// all others, repeated ones each where the one before ended.
    fn first_behind(&self, position: u64) -> usize {
        let ends_before = |segment: &Segment| segment.end() <= position;
        let is_at = |index: usize| {
            self.waiting.get(index).is_none_or(|segment| !ends_before(segment))
                && index.checked_sub(1).is_none_or(|before| self.waiting.get(before).is_some_and(ends_before))
        };
        let likely = [self.hand, self.waiting.len()];
        likely.into_iter().find(|&index| is_at(index)).unwrap_or_else(|| self.waiting.partition_point(ends_before))
    }

    /// Gives the first hole up, and delivers what waits behind it up to the next one.
    pub fn skip(&mut self, out: &mut impl FnMut(Piece)) {
        if let Some(first) = self.waiting.front() {
            let (position, missing) = (self.next, first.start - self.next);
            if missing > 0 {
                self.next = first.start;
                out(Piece::Gap { position, missing });
            }
            self.release(out);
        }
    }

    /// Forgets the bytes that wait, not that they were there.
    pub fn drop_bytes(&mut self) {
        self.bytes = 0;
        for segment in &mut self.waiting {
            segment.bytes = Box::default();
        }
    }

    fn deliver(&mut self, offer: &Offer<'_>, from: u64, to: u64, out: &mut impl FnMut(Piece)) {
        let (at, bytes) = offer.part(from, to);
        if !bytes.is_empty() {
            out(Piece::Fresh { position: from, at: offer.skipped + at, len: bytes.len() });
        }
        let captured = from + bytes.len() as u64;
        if captured < to {
            out(Piece::Gap { position: captured, missing: to - captured });
        }
        self.next = to;
    }

    /// Keeps a part that nothing is there for. Returns how many segments it became.
    fn hold(&mut self, index: usize, offer: &Offer<'_>, from: u64, to: u64) -> usize {
        let (_, bytes) = offer.part(from, to);
        let captured = from + bytes.len() as u64;
        let mut added = 0;
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.waiting.insert(index, Segment { start: from, len: bytes.len() as u64, bytes: bytes.into() });
            added += 1;
        }
        if captured < to {
            let missing = Segment { start: captured, len: to - captured, bytes: Box::default() };
            self.waiting.insert(index + added, missing);
            added += 1;
        }
        added
    }

    /// Delivers what waits without a hole before it.
    fn release(&mut self, out: &mut impl FnMut(Piece)) {
        while self.waiting.front().is_some_and(|segment| segment.start == self.next) {
            self.release_first(out);
        }
    }

    fn release_first(&mut self, out: &mut impl FnMut(Piece)) {
        let Some(segment) = self.waiting.pop_front() else { return };
        self.bytes -= segment.bytes.len();
        self.next = segment.end();
        if segment.bytes.is_empty() {
            out(Piece::Gap { position: segment.start, missing: segment.len });
        } else {
            out(Piece::Held { position: segment.start, bytes: segment.bytes });
        }
    }
}

/// True if bytes offered again are not those that wait.
fn differs(segment: &Segment, offer: &Offer<'_>, from: u64, to: u64) -> bool {
    let (_, offered) = offer.part(from, to);
    let at = (from - segment.start) as usize;
    let known = segment.bytes.get(at..).unwrap_or_default();
    let len = offered.len().min(known.len());
    offered[..len] != known[..len]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::{Assembler, Piece};

    /// What came out: bytes and gaps by position.
    #[derive(Clone, Debug, PartialEq)]
    enum Out {
        Bytes(u64, Vec<u8>),
        Gap(u64, u64),
    }

    fn offer(assembler: &mut Assembler, position: i64, data: &[u8], len: u32) -> Vec<Out> {
        let mut list = Vec::new();
        assembler.offer(position, data, len, &mut |piece| list.push(own(piece, data)));
        list
    }

    fn own(piece: Piece, data: &[u8]) -> Out {
        match piece {
            Piece::Fresh { position, at, len } => Out::Bytes(position, data[at..at + len].to_vec()),
            Piece::Held { position, bytes } => Out::Bytes(position, bytes.to_vec()),
            Piece::Gap { position, missing } => Out::Gap(position, missing),
        }
    }

    fn bytes(position: u64, text: &str) -> Out {
        Out::Bytes(position, text.as_bytes().to_vec())
    }

    #[test]
    fn a_late_segment_releases_those_behind_it_one_by_one() {
        let mut stream = Assembler::new(0);
        assert_eq!(offer(&mut stream, 2, b"cd", 2), []);
        assert_eq!(offer(&mut stream, 4, b"ef", 2), []);
        assert_eq!(offer(&mut stream, 0, b"ab", 2), [bytes(0, "ab"), bytes(2, "cd"), bytes(4, "ef")]);
        assert_eq!((stream.next(), stream.segments(), stream.bytes()), (6, 0, 0));
    }

    #[test]
    fn first_data_wins_and_a_segment_that_swallows_others_is_split() {
        let mut stream = Assembler::new(0);
        offer(&mut stream, 2, b"C", 1);
        offer(&mut stream, 4, b"E", 1);
        let expected = [bytes(0, "ab"), bytes(2, "C"), bytes(3, "d"), bytes(4, "E"), bytes(5, "f")];
        assert_eq!(offer(&mut stream, 0, b"abcdef", 6), expected);
    }

    #[test]
    fn what_was_not_captured_is_a_gap() {
        let mut stream = Assembler::new(0);
        assert_eq!(offer(&mut stream, 0, b"ab", 5), [bytes(0, "ab"), Out::Gap(2, 3)]);
        assert_eq!(offer(&mut stream, 6, b"g", 4), []);
        assert_eq!(offer(&mut stream, 5, b"f", 1), [bytes(5, "f"), bytes(6, "g"), Out::Gap(7, 3)]);
    }

    #[test]
    fn bytes_before_the_beginning_are_cut_off() {
        let mut stream = Assembler::new(0);
        assert_eq!(offer(&mut stream, -2, b"xyab", 4), [bytes(0, "ab")]);
        assert_eq!(offer(&mut stream, -9, b"xyab", 4), []);
        assert_eq!(offer(&mut stream, -1, b"", 8), [Out::Gap(2, 5)]);
    }

    #[test]
    fn conflicts_are_told_from_repeats() {
        let mut stream = Assembler::new(0);
        offer(&mut stream, 2, b"cd", 2);
        let fit = stream.offer(2, b"cd", 2, &mut |_| {});
        assert_eq!((fit.repeated, fit.taken, fit.conflict), (2, 0, false));
        let fit = stream.offer(3, b"XY", 2, &mut |_| {});
        assert_eq!((fit.repeated, fit.taken, fit.conflict), (1, 1, true));
    }

    /// One cell for every byte: the first to come fills it, `None` if it was not captured.
    #[derive(Default)]
    struct Naive {
        next: u64,
        cells: BTreeMap<u64, Option<u8>>,
    }

    impl Naive {
        fn offer(&mut self, position: i64, data: &[u8], len: u32) {
            for at in 0..i64::from(len) {
                if let Ok(place) = u64::try_from(position + at)
                    && place >= self.next
                {
                    self.cells.entry(place).or_insert_with(|| data.get(at as usize).copied());
                }
            }
        }

        /// How many bytes of a segment were there already.
        fn known(&self, position: i64, len: u32) -> u64 {
            let places = (0..i64::from(len)).filter_map(|at| u64::try_from(position + at).ok());
            places.filter(|place| *place < self.next || self.cells.contains_key(place)).count() as u64
        }

        /// What is in order, byte by byte.
        fn release(&mut self, list: &mut Vec<(u64, Option<u8>)>) {
            while let Some(cell) = self.cells.remove(&self.next) {
                list.push((self.next, cell));
                self.next += 1;
            }
        }

        fn skip(&mut self, list: &mut Vec<(u64, Option<u8>)>) {
            if let Some((&first, _)) = self.cells.first_key_value() {
                list.extend((self.next..first).map(|place| (place, None)));
                self.next = first;
                self.release(list);
            }
        }
    }

    fn flatten(list: &[Out]) -> Vec<(u64, Option<u8>)> {
        let mut cells = Vec::new();
        for out in list {
            match out {
                Out::Bytes(position, bytes) => {
                    assert!(!bytes.is_empty());
                    cells.extend(bytes.iter().zip(*position..).map(|(&byte, place)| (place, Some(byte))));
                }
                Out::Gap(position, missing) => {
                    assert!(*missing > 0);
                    cells.extend((*position..position + missing).map(|place| (place, None)));
                }
            }
        }
        cells
    }

    proptest! {
        #[test]
        fn streams_are_those_of_the_naive_twin(
            segments in vec((-8..60i64, vec(any::<u8>(), 0..12), 0..4u32, 0..30u8), 0..60),
            limit in 2..12usize,
        ) {
            let (mut stream, mut naive) = (Assembler::new(0), Naive::default());
            let mut base = 0;
            for (position, data, uncaptured, skip) in segments {
                // The window moves on, so that runs get long.
                base = base.max(stream.next() as i64 - 16);
                let (position, len) = (position + base, data.len() as u32 + uncaptured);
                let mut expected = Vec::new();
                let repeated = naive.known(position, len);
                naive.offer(position, &data, len);
                naive.release(&mut expected);
                let known = stream.cost();
                let mut list = Vec::new();
                let fit = stream.offer(position, &data, len, &mut |piece| list.push(own(piece, &data)));
                assert_eq!(fit.repeated, repeated);
                assert!(stream.cost() <= known + data.len() + 20 * super::SEGMENT_COST);
                while stream.segments() > limit || skip == 0 && stream.segments() > 0 {
                    naive.skip(&mut expected);
                    stream.skip(&mut |piece| list.push(own(piece, &[])));
                }
                assert_eq!(flatten(&list), expected);
                assert_eq!(stream.next(), naive.next);
                let held = naive.cells.values().flatten().count();
                assert_eq!(stream.bytes(), held);
            }
        }
    }
}
