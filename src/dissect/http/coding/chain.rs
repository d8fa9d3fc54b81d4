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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const SENTENCE: &str = "The counter went up, and the counter went down again. ";

    /// [`SENTENCE`] twenty times, made by another encoder.
    const BROTLI: &[u8] = b"\x1B\x37\x04\x80\x1C\x89\xB1\x8D\x8A\x7D\x73\x48\x7D\xA1\xA6\x2A\x43\x83\x53\x75\x77\x09\
        \xE2\x46\x07\x1B\x70\xC0\x5E\xC4\x13\xAC\xB6\x80\x0C\x0E\x39\xE1\xBF\x25\x81\x14\x52\xED\xD0\xE6\x99\x34\xC0\
        \xF5\x65\xD0\x79\xA7\x00";

    /// Eight million zeros.
    const BROTLI_BOMB: &[u8] = b"\x9B\xFF\xFF\x7F\xF8\x27\x00\xE2\xB1\x40\x20\xF7\xFE\x0F";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn encode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => gzip(bytes),
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).expect("memory");
                encoder.finish().expect("memory")
            }
            Coding::Zstd => zstd::encode_all(bytes, 3).expect("memory"),
            // Stored, a block for up to 64 KiB.
            Coding::Brotli => {
                let mut out = Vec::new();
                for (index, block) in bytes.chunks(1 << 16).enumerate() {
                    // The first block comes behind the one bit of the window size.
                    let header = (block.len() as u32 - 1) << 3 | 1 << 19;
                    out.extend_from_slice(&(if index == 0 { header << 1 } else { header }).to_le_bytes()[..3]);
                    out.extend_from_slice(block);
                }
                out.push(if bytes.is_empty() { 6 } else { 3 });
                out
            }
            Coding::Unknown => bytes.to_vec(),
        }
    }

    fn decode(codings: &[Coding], coded: &[u8], piece: usize) -> (Vec<u8>, Result<(), Fault>) {
        let mut list = Codings::default();
        codings.iter().for_each(|coding| list.applied(*coding));
        let mut out = Vec::new();
        let Some(mut chain) = Chain::new(&list) else { return (coded.to_vec(), Ok(())) };
        for bytes in coded.chunks(piece) {
            if let Err(fault) = chain.feed(bytes, &mut out) {
                return (out, Err(fault));
            }
        }
        let result = chain.finish(&mut out);
        (out, result)
    }

    #[test]
    fn what_other_encoders_make_is_decoded() {
        let text = SENTENCE.repeat(20).into_bytes();
        for piece in [1, 7, 1_000] {
            assert_eq!(decode(&[Coding::Brotli], BROTLI, piece), (text.clone(), Ok(())));
        }
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).expect("memory");
        let raw = raw.finish().expect("memory");
        assert_eq!(decode(&[Coding::Deflate], &raw, 5), (text, Ok(())));
    }

    #[test]
    fn gzip_members_follow_each_other_and_garbage_behind_them_is_none() {
        let mut coded = flate2::GzBuilder::new()
            .filename("name")
            .comment("words")
            .extra(&b"extra"[..])
            .write(Vec::new(), Compression::fast());
        coded.write_all(b"one ").expect("memory");
        let mut coded = coded.finish().expect("memory");
        coded.extend(gzip(b"two"));
        coded.extend(b"\x1F\x8Bgarbage");
        for piece in [1, 2, 3, 11, 1_000] {
            assert_eq!(decode(&[Coding::Gzip], &coded, piece), (b"one two".to_vec(), Ok(())), "{piece}");
        }
    }

    #[test]
    fn content_before_the_damage_is_kept() {
        let mut coded = gzip(&(0..50_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let middle = coded.len() / 2;
        coded[middle..middle + 40].fill(0xFF);
        let (out, result) = decode(&[Coding::Gzip], &coded, 1_400);
        assert_eq!(result, Err(Fault::Damaged));
        assert!(out.len() > 20_000, "{}", out.len());
        for (coding, coded) in [
            (Coding::Brotli, &b"\x11\xFF\xFF"[..]),
            (Coding::Brotli, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            (Coding::Zstd, b"\x28\xB5\x2F\xFD\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            (Coding::Gzip, b"\x1F\x8B\x08\xFF\0\0\0\0\0\0\0\0"),
        ] {
            assert_eq!(decode(&[coding], coded, 1).1, Err(Fault::Damaged), "{coding:?}");
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_damage() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
        encoder.window_log(ZSTD_WINDOW_TOO_LARGE).expect("a size that the encoder has");
        encoder.include_contentsize(false).expect("a setting");
        encoder.write_all(&vec![7; 1 << 20]).expect("memory");
        let coded = encoder.finish().expect("memory");
        assert_eq!(decode(&[Coding::Zstd], &coded, 1_400), (Vec::new(), Err(Fault::Damaged)));
    }

    const ZSTD_WINDOW_TOO_LARGE: u32 = 24;

    #[test]
    fn bombs_are_stopped_at_any_depth() {
        let zeros = vec![0; 16 << 20];
        for codings in [
            vec![Coding::Gzip],
            vec![Coding::Deflate],
            vec![Coding::Zstd],
            vec![Coding::Gzip, Coding::Gzip],
            vec![Coding::Zstd, Coding::Deflate, Coding::Gzip],
        ] {
            let coded = codings.iter().fold(zeros.clone(), |bytes, coding| encode(*coding, &bytes));
            let (out, result) = decode(&codings, &coded, 1_400);
            assert_eq!(result, Err(Fault::Bomb), "{codings:?}");
            assert!(out.len() as u64 <= GRACE + MAX_RATIO * coded.len() as u64, "{codings:?}: {}", out.len());
        }
        let (out, result) = decode(&[Coding::Brotli], BROTLI_BOMB, 1_400);
        assert_eq!((out.len() as u64, result), (GRACE + MAX_RATIO * BROTLI_BOMB.len() as u64, Err(Fault::Bomb)));
    }

    #[test]
    fn decoders_are_refused_when_the_budget_is_used_up() {
        let mut list = Codings::default();
        list.applied(Coding::Brotli);
        let mut chains: Vec<Chain> = Vec::new();
        let refused = (0..100).find_map(|_| {
            let mut chain = Chain::new(&list)?;
            // A window of 16 MiB.
            let result = chain.feed(b"\x0F", &mut Vec::new());
            chains.push(chain);
            result.err()
        });
        assert_eq!((refused, chains.len()), (Some(Fault::NoRoom), 8));
        chains.clear();
        assert_eq!(decode(&[Coding::Brotli], BROTLI, 9).1, Ok(()));
    }

    fn any_coding() -> impl Strategy<Value = Coding> {
        proptest::sample::select(vec![Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_encoded_comes_back_in_any_pieces(
            words in proptest::collection::vec("[a-z]{1,12}", 0..400),
            codings in proptest::collection::vec(any_coding(), 1..4),
            piece in 1_usize..2_000,
        ) {
            let text = words.join(" ").into_bytes();
            let coded = codings.iter().fold(text.clone(), |bytes, coding| encode(*coding, &bytes));
            prop_assert_eq!(decode(&codings, &coded, piece), (text, Ok(())));
        }

        #[test]
        fn damaged_bytes_are_borne(
            codings in proptest::collection::vec(any_coding(), 1..4),
            changes in proptest::collection::vec((0_usize..4_000, any::<u8>()), 1..6),
            piece in 1_usize..500,
        ) {
            let text: Vec<u8> = (0..2_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
            let mut coded = codings.iter().fold(text, |bytes, coding| encode(*coding, &bytes));
            for (at, byte) in changes {
                let at = at.min(coded.len() - 1);
                coded[at] = byte;
            }
            let (out, _) = decode(&codings, &coded, piece);
            prop_assert!(out.len() as u64 <= GRACE + MAX_RATIO * coded.len() as u64);
        }
    }
}
