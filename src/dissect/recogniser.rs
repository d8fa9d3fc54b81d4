//! Which protocol a stream speaks, told from the first bytes of its two directions.

use super::dissector::Recognition;
use super::protocols::{Head, Midstream, StreamProtocol};
use crate::flow::{Direction, Roles, Want};

/// Most bytes of a direction that are kept until the protocol is known: greetings of SMTP and FTP of many lines. What is no
/// greeting tells within its first line.
pub(super) const HEAD: usize = 16 << 10;

/// How often the direction may change until then.
const MAX_PIECES: usize = 16;

/// What the bytes so far tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More bytes are needed; these are kept.
    Wait,
    /// No protocol known here.
    Nobody,
    /// The protocol of this index in the table, by ends of these roles; `None` if they might be either. The bytes just
    /// offered are not kept.
    Speaks(usize, Option<Roles>),
}

/// Segments of one direction that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Which way it went.
    pub direction: Direction,
    /// Position in its stream.
    pub position: u64,
    at: usize,
    len: usize,
}

/// The first bytes of a flow until its protocol is known.
#[derive(Debug, Default)]
pub(super) struct Recogniser {
    /// Bits of the table rows that have not said No, by [`Roles`].
    candidates: [u32; 2],
    /// Nobody saw the beginning.
    is_midstream: bool,
    heads: [Vec<u8>; 2],
    // The piece that grows, and those before it. Most flows have one until they are known.
    last: Option<Piece>,
    before: Vec<Piece>,
}

impl Recogniser {
    /// For a flow seen from its beginning or from the middle, with the rows that are of use (bits). In the middle nothing
    /// but the content tells who asks.
    pub fn new(table: &[StreamProtocol], useful: u32, seen_from_start: Want) -> Self {
        if seen_from_start.is_yes() {
            return Self { candidates: [useful, 0], ..Self::default() };
        }
        let fits = |row: &StreamProtocol| row.midstream != Midstream::Refused;
        let fitting = table.iter().enumerate().filter(|(_, row)| fits(row)).fold(0, |bits, (i, _)| bits | 1 << i);
        Self { candidates: [useful & fitting; 2], is_midstream: true, ..Self::default() }
    }

    /// For what follows in a flow that changes its protocol, with the rows that are of use (bits) between ends whose roles
    /// are known.
    pub fn again(useful: u32, roles: Roles) -> Self {
        let candidates = match roles {
            Roles::Known => [useful, 0],
            Roles::Turned => [0, useful],
        };
        Self { candidates, ..Self::default() }
    }

    /// Offers the next bytes of a direction.
    pub fn offer(&mut self, table: &[StreamProtocol], direction: Direction, position: u64, bytes: &[u8]) -> Verdict {
        let head = &mut self.heads[direction.index()];
        // Nothing is copied where the first segment tells.
        let known = head.len();
        if known > 0 {
            let room = HEAD - known.min(HEAD);
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let seen = if known > 0 { &head[..] } else { &bytes[..bytes.len().min(HEAD)] };
        let seen = Head { bytes: seen, looked: known };
        let turned = self.candidates[1];
        for (roles, candidates) in [Roles::Known, Roles::Turned].into_iter().zip(&mut self.candidates) {
            if *candidates == 0 {
                continue;
            }
            for (index, row) in table.iter().enumerate() {
                if *candidates & 1 << index == 0 {
                    continue;
                }
                let way = roles.of(direction);
                let must_be_greeted = self.is_midstream && row.midstream == Midstream::Greeted;
                let recognition = match way {
                    Direction::ToServer if must_be_greeted => Recognition::No,
                    _ => (row.recognise)(way, seen),
                };
                match recognition {
                    Recognition::Yes => {
                        let is_open = roles == Roles::Known
                            && row.midstream == Midstream::Alike
                            && turned & 1 << index != 0
                            && (row.recognise)(direction.other(), Head::new(seen.bytes)) == Recognition::Yes;
                        return Verdict::Speaks(index, (!is_open).then_some(roles));
                    }
                    Recognition::No => *candidates &= !(1 << index),
                    Recognition::Undecided => {}
                }
            }
        }
        let pieces = self.before.len() + usize::from(self.last.is_some());
        if self.candidates == [0; 2] || known + bytes.len() > HEAD || pieces >= MAX_PIECES {
            return Verdict::Nobody;
        }
        if known == 0 {
            head.extend_from_slice(bytes);
        }
        match &mut self.last {
            Some(last) if last.direction == direction => last.len += bytes.len(),
            last => self.before.extend(last.replace(Piece { direction, position, at: known, len: bytes.len() })),
        }
        Verdict::Wait
    }

    /// The segments kept, in the order in which they came.
    pub fn pieces(&self) -> impl Iterator<Item = (Piece, &[u8])> {
        self.before.iter().chain(&self.last).map(|piece| {
            let head = &self.heads[piece.direction.index()];
            (*piece, &head[piece.at..piece.at + piece.len])
        })
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.heads.iter().map(Vec::capacity).sum::<usize>() + self.before.capacity() * size_of::<Piece>()
    }
}
