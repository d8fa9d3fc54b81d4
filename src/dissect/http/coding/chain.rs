//! The decoders of one body, one behind the other, and the bound on what they make.

use super::decoder::{Decoder, MAX_SNIFFED, Refusal, Sniffed, Then, sniff};
use super::list::{Coding, Codings};

/// A decoder makes at most so many bytes per encoded byte of the body, and [`GRACE`] more.
const MAX_RATIO: u64 = 100;

/// What a decoder may make whatever it was given.
const GRACE: u64 = 1 << 20;

/// Room offered to a decoder at a time, per byte of input and at the ends.
const ROOM_FACTOR: usize = 4;
const LEAST_ROOM: usize = 4 << 10;
const MOST_ROOM: usize = 64 << 10;

/// Why a body cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dissect::http) enum Fault {
    /// The data is damaged.
    Damaged,
    /// It makes far more than it is.
    Bomb,
    /// There are too many decoders.
    NoRoom,
}

impl Fault {
    /// Its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "http body coding damaged",
            Self::Bomb => "http body grows too much",
            Self::NoRoom => "http decoder memory used up",
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Damaged => Self::Damaged,
            Refusal::NoRoom => Self::NoRoom,
        }
    }
}

#[derive(Debug)]
enum State {
    /// Waits for the first bytes.
    Sniffing { head: [u8; MAX_SNIFFED], len: usize },
    /// Decodes.
    Decoding(Decoder),
    /// The body is not in the coding its header names.
    Plain,
    /// The coded data has ended.
    Ended,
}

#[derive(Debug)]
struct Stage {
    coding: Coding,
    state: State,
    made: u64,
}

/// Takes all codings of a body off.
#[derive(Debug)]
pub(in crate::dissect::http) struct Chain {
    stages: Vec<Stage>,
    /// Encoded bytes so far.
    given: u64,
    /// What passes from stage to stage.
    between: [Vec<u8>; 2],
}

impl Chain {
    /// For the codings of a body; nothing if none of them can be taken off.
    pub fn new(codings: &Codings) -> Option<Self> {
        let fresh = |coding| Stage { coding, state: State::Sniffing { head: [0; MAX_SNIFFED], len: 0 }, made: 0 };
        let stages: Vec<_> = codings.removable().map(fresh).collect();
        (!stages.is_empty()).then(|| Self { stages, given: 0, between: Default::default() })
    }

    /// Decodes the next bytes of the body. What was made before a fault is in `out` and good.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.given = self.given.saturating_add(input.len() as u64);
        self.run(0, input, out)
    }

    /// The body has ended: what was held to look at it is content after all.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        for index in 0..self.stages.len() {
            if let State::Sniffing { head, len } = self.stages[index].state {
                self.stages[index].state = State::Plain;
                self.run(index, &head[..len], out)?;
            }
        }
        Ok(())
    }

    /// Runs input through the stages from one on.
    fn run(&mut self, first: usize, input: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let allowed = self.given.saturating_mul(MAX_RATIO).saturating_add(GRACE);
        let Self { stages, between: [from, to], .. } = self;
        let stages = &mut stages[first..];
        let [stages @ .., last] = stages else { return Ok(()) };
        let mut fault = Ok(());
        let mut current = input;
        for stage in stages {
            to.clear();
            // What came before a fault goes on to the other stages.
            fault = fault.and(stage.feed(current, to, allowed));
            std::mem::swap(from, to);
            current = from;
        }
        last.feed(current, out, allowed).and(fault)
    }
}

impl Stage {
    fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>, allowed: u64) -> Result<(), Fault> {
        if let State::Sniffing { head, len } = &mut self.state {
            let added = input.len().min(MAX_SNIFFED - *len);
            head[*len..*len + added].copy_from_slice(&input[..added]);
            *len += added;
            let (head, len) = (*head, *len);
            match sniff(self.coding, &head[..len])? {
                Sniffed::Undecided => return Ok(()),
                Sniffed::Other => self.state = State::Plain,
                Sniffed::Decoder(decoder) => self.state = State::Decoding(decoder),
            }
            self.pass(&head[..len], out, allowed)?;
            input = &input[added..];
        }
        self.pass(input, out, allowed)
    }

    fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>, allowed: u64) -> Result<(), Fault> {
        let decoder = match &mut self.state {
            State::Decoding(decoder) => decoder,
            State::Plain => {
                out.extend_from_slice(input);
                return Ok(());
            }
            State::Sniffing { .. } | State::Ended => return Ok(()),
        };
        // Room that was filled may hide more output that needs no further input.
        let mut filled = false;
        while !input.is_empty() || filled {
            let start = out.len();
            // One byte more than is allowed, to notice that there is one.
            let left = usize::try_from(allowed.saturating_sub(self.made)).unwrap_or(usize::MAX).saturating_add(1);
            let room = input.len().saturating_mul(ROOM_FACTOR).clamp(LEAST_ROOM, MOST_ROOM).min(left);
            out.resize(start + room, 0);
            let step = decoder.step(input, &mut out[start..]);
            self.made += step.made as u64;
            if self.made > allowed {
                out.truncate(start + step.made - 1);
                return Err(Fault::Bomb);
            }
            out.truncate(start + step.made);
            match step.then {
                Then::More if step.used == 0 && step.made == 0 && !input.is_empty() => return Err(Fault::Damaged),
                Then::More => {}
                Then::End => {
                    self.state = State::Ended;
                    return Ok(());
                }
                Then::Damaged => return Err(Fault::Damaged),
            }
            input = &input[step.used..];
            filled = step.made == room;
        }
        Ok(())
    }
}
