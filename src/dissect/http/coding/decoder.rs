//! One decoder per coding behind one face: some input in, some output out.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::budget::Share;
use super::gzip::Gzip;
use super::list::Coding;

/// What an inflater holds: its state and a window of 32 KiB.
const INFLATE_COST: usize = 48 << 10;

/// Largest window of Zstandard, as a power of two: what RFC 9659 allows for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What a Zstandard decoder may hold besides its window.
const ZSTD_COST: usize = 512 << 10;

/// What a Brotli decoder may hold besides its window.
const BROTLI_COST: usize = 256 << 10;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input it took.
    pub used: usize,
    /// Bytes of the output it wrote.
    pub made: usize,
    /// What can be expected of the next one.
    pub then: Then,
}

/// What follows a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another one, with more input or more room.
    More,
    /// Nothing: the coded data has ended, and what follows it is of no interest.
    End,
    /// Nothing: the data is damaged behind what was made.
    Damaged,
}

/// Why a decoder could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The data is damaged.
    Damaged,
    /// The budget is used up.
    NoRoom,
}

/// The decoder of one coding and its share of the budget.
#[derive(Debug)]
pub(super) struct Decoder {
    engine: Engine,
    share: Share,
}

enum Engine {
    Gzip(Box<Gzip>),
    Inflate(Box<Decompress>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(DCtx<'static>),
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Inflate(_) => "Inflate",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// What the first bytes of a body say about the coding its header names.
#[derive(Debug)]
pub(super) enum Sniffed {
    /// More bytes are needed.
    Undecided,
    /// It is not in that coding.
    Other,
    /// It may be: this decodes it, from the first byte on.
    Decoder(Decoder),
}

/// Most bytes that [`sniff`] needs.
pub(super) const MAX_SNIFFED: usize = 4;

/// Makes the decoder for a body that begins with `head`.
pub(super) fn sniff(coding: Coding, head: &[u8]) -> Result<Sniffed, Refusal> {
    let decoder = match (coding, head) {
        (Coding::Gzip, [0x1F, 0x8B, 8, ..]) => {
            Decoder::new(INFLATE_COST, || Some(Engine::Gzip(Box::new(Gzip::new()))))?
        }
        (Coding::Gzip, [] | [0x1F] | [0x1F, 0x8B]) => return Ok(Sniffed::Undecided),
        // Half of the world sends deflate without the zlib frame, and everybody reads it.
        (Coding::Deflate, [first, second, ..]) => {
            let check = u16::from(*first) << 8 | u16::from(*second);
            let zlib = first & 0x0F == 8 && first >> 4 <= 7 && check.is_multiple_of(31);
            Decoder::new(INFLATE_COST, || Some(Engine::Inflate(Box::new(Decompress::new(zlib)))))?
        }
        (Coding::Deflate, _) => return Ok(Sniffed::Undecided),
        (Coding::Brotli, [first, ..]) => {
            let window = brotli_window(*first).ok_or(Refusal::Damaged)?;
            Decoder::new(BROTLI_COST + window, || Some(Engine::Brotli(Box::new(brotli()))))?
        }
        (Coding::Brotli, []) => return Ok(Sniffed::Undecided),
        // A frame, or one of those that are skipped.
        (Coding::Zstd, [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..]) => {
            Decoder::new(ZSTD_COST + (1 << ZSTD_WINDOW_LOG), || zstd().map(Engine::Zstd))?
        }
        (Coding::Zstd, [] | [0x28 | 0x50..=0x5F] | [0x28, 0xB5] | [0x28, 0xB5, 0x2F]) => {
            return Ok(Sniffed::Undecided);
        }
        (Coding::Zstd, [0x50..=0x5F, 0x2A] | [0x50..=0x5F, 0x2A, 0x4D]) => return Ok(Sniffed::Undecided),
        (Coding::Gzip | Coding::Zstd | Coding::Unknown, _) => return Ok(Sniffed::Other),
    };
    Ok(Sniffed::Decoder(decoder))
}

fn brotli() -> BrotliState<StandardAlloc, StandardAlloc, StandardAlloc> {
    let alloc = StandardAlloc::default;
    BrotliState::new_strict(alloc(), alloc(), alloc())
}

fn zstd() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    Some(context)
}

/// Size of the window of a Brotli stream (RFC 7932, 9.1).
fn brotli_window(first: u8) -> Option<usize> {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        // The mark of large windows, which HTTP does not have.
        (_, 0, 1) => return None,
        (_, 0, bits) => 8 + bits,
        (_, bits, _) => 17 + bits,
    };
    Some(1 << bits)
}

impl Decoder {
    /// Makes a decoder only if there is room for it.
    fn new(cost: usize, make: impl FnOnce() -> Option<Engine>) -> Result<Self, Refusal> {
        let share = Share::take(cost).ok_or(Refusal::NoRoom)?;
        Ok(Self { engine: make().ok_or(Refusal::NoRoom)?, share })
    }

    /// Decodes some of the input, until that or the room for output is used up.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match &mut self.engine {
            Engine::Gzip(gzip) => gzip.step(input, output),
            Engine::Inflate(inflater) => inflate(inflater, input, output),
            Engine::Brotli(state) => brotli_step(state, input, output),
            Engine::Zstd(context) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let result = context.decompress_stream(&mut to, &mut from);
                let then = if result.is_ok() { Then::More } else { Then::Damaged };
                let step = Step { used: from.pos(), made: to.pos(), then };
                // The window is allocated once the frame has said how large it is.
                self.share.set(context.sizeof());
                step
            }
        }
    }
}

/// A step of an inflater.
pub(super) fn inflate(inflater: &mut Decompress, input: &[u8], output: &mut [u8]) -> Step {
    let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
    let then = match inflater.decompress(input, output, FlushDecompress::None) {
        Ok(Status::StreamEnd) => Then::End,
        Ok(Status::Ok | Status::BufError) => Then::More,
        Err(_) => Then::Damaged,
    };
    let used = (inflater.total_in() - before_in) as usize;
    Step { used, made: (inflater.total_out() - before_out) as usize, then }
}

fn brotli_step(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
) -> Step {
    let (mut available_in, mut used) = (input.len(), 0);
    let (mut available_out, mut made, mut total) = (output.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut available_in,
        &mut used,
        input,
        &mut available_out,
        &mut made,
        output,
        &mut total,
        state,
    );
    let then = match result {
        BrotliResult::ResultFailure => Then::Damaged,
        BrotliResult::ResultSuccess => Then::End,
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Then::More,
    };
    Step { used, made, then }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_sizes_of_brotli_are_those_of_the_standard() {
        for (first, bits) in
            [(0b0, 16), (0b0000_0001, 17), (0b0011, 18), (0b1111, 24), (0b010_0001, 10), (0b111_0001, 15)]
        {
            assert_eq!(brotli_window(first), Some(1 << bits), "{first:#b}");
        }
        assert_eq!(brotli_window(0b001_0001), None);
    }

    #[test]
    fn a_body_that_is_not_what_its_header_says_is_noticed_at_once() {
        for (coding, head) in [
            (Coding::Gzip, &b"<ht"[..]),
            (Coding::Gzip, b"\x1F\x8C"),
            (Coding::Zstd, b"\x28\xB5\x2F\x00"),
            (Coding::Zstd, b"{"),
        ] {
            assert!(matches!(sniff(coding, head), Ok(Sniffed::Other)), "{coding:?} {head:?}");
        }
        for (coding, head) in
            [(Coding::Gzip, &b"\x1F\x8B"[..]), (Coding::Deflate, b"x"), (Coding::Zstd, b"\x28\xB5\x2F")]
        {
            assert!(matches!(sniff(coding, head), Ok(Sniffed::Undecided)), "{coding:?} {head:?}");
        }
    }
}
