//! The body of a message: where it ends, and its bytes without codings.

use super::chunked::{Chunked, Piece};
use super::coding::{Chain, Codings};
use crate::dissect::{Context, FindingKind, Text, Transaction};
use crate::flow::{Direction, state};
use crate::metrics::Extent;

/// Most bytes of findings of a batch; a body that would go beyond ends early. Bodies are the only findings that can be
/// far larger than what they are made of.
const MAX_BATCH: usize = 64 << 20;

/// Whether the body goes on behind the bytes just handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It does.
    More,
    /// It has ended, and with it the message.
    Complete,
    /// What was to tell its end is damaged.
    Lost,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// So many bytes are missing, at least one.
    Length(u64),
    /// The last chunk tells.
    Chunked(Chunked),
    /// Where the stream ends.
    UntilClose,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Body {
    measure: Measure,
    /// Nothing if nobody wants the bytes, or no more of them.
    content: Option<Content>,
    /// Nothing if nobody wants to know, or is told already.
    tally: Option<BodyTally>,
}

/// How long a body is, for whoever wants to know when it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyTally {
    transaction: Transaction,
    direction: Direction,
    length: u64,
    extent: Extent,
}

impl BodyTally {
    /// Before the first byte.
    pub const fn new(transaction: Transaction, direction: Direction) -> Self {
        Self { transaction, direction, length: 0, extent: Extent::Whole }
    }

    /// The body is over.
    pub fn tell(self, cx: &mut Context<'_>) {
        let Self { transaction, direction, length, extent } = self;
        cx.push(FindingKind::HttpEnd { transaction, direction, length, extent });
    }
}

impl Body {
    /// A body with or without interest in its bytes.
    pub const fn new(measure: Measure, content: Option<Content>, tally: Option<BodyTally>) -> Self {
        Self { measure, content, tally }
    }

    /// Takes the next bytes of the stream, which are not empty; tells how many belong to the body.
    pub fn data(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> (usize, Progress) {
        let (used, progress) = match &mut self.measure {
            Measure::Length(left) => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                let progress = if *left == 0 { Progress::Complete } else { Progress::More };
                count(&mut self.tally, len);
                write(&mut self.content, cx, &bytes[..len]);
                (len, progress)
            }
            Measure::UntilClose => {
                count(&mut self.tally, bytes.len());
                write(&mut self.content, cx, bytes);
                (bytes.len(), Progress::More)
            }
            Measure::Chunked(chunked) => {
                let mut used = 0;
                let mut progress = Progress::More;
                while used < bytes.len() && progress == Progress::More {
                    let (len, piece) = chunked.step(&bytes[used..]);
                    match piece {
                        Piece::Coding => {}
                        Piece::Data => {
                            count(&mut self.tally, len);
                            write(&mut self.content, cx, &bytes[used..used + len]);
                        }
                        Piece::End => progress = Progress::Complete,
                        Piece::Damaged => progress = Progress::Lost,
                    }
                    used += len;
                }
                (used, progress)
            }
        };
        match progress {
            Progress::More => {
                if let Some(content) = &mut self.content {
                    content.tell(cx);
                }
            }
            Progress::Complete => {
                self.end_content(cx);
                self.over(cx);
            }
            Progress::Lost => self.end(cx),
        }
        (used, progress)
    }

    /// Bytes are missing: the content ends here. Whether the body goes on depends on where they are missing.
    pub fn gap(&mut self, cx: &mut Context<'_>, missing: u64) -> Progress {
        self.end_content(cx);
        if let Some(tally) = &mut self.tally {
            tally.extent = Extent::Gaps;
        }
        let progress = match &mut self.measure {
            Measure::Length(left) if missing <= *left => {
                *left -= missing;
                if *left == 0 { Progress::Complete } else { Progress::More }
            }
            Measure::Length(_) => Progress::Lost,
            Measure::Chunked(chunked) => chunked.skip(missing).map_or(Progress::Lost, |()| Progress::More),
            Measure::UntilClose => Progress::More,
        };
        if progress != Progress::More {
            self.over(cx);
        }
        progress
    }

    /// The body ends here, whatever still comes.
    pub fn end(&mut self, cx: &mut Context<'_>) {
        self.end_content(cx);
        // Where the stream ends is where such a body ends, if the end was seen.
        let is_whole = matches!(self.measure, Measure::UntilClose) && cx.flow.state & state::SEEN_FIN != 0;
        if let Some(tally) = self.tally.as_mut().filter(|tally| tally.extent == Extent::Whole && !is_whole) {
            tally.extent = Extent::Cut;
        }
        self.over(cx);
    }

    fn over(&mut self, cx: &mut Context<'_>) {
        if let Some(tally) = self.tally.take() {
            tally.tell(cx);
        }
    }

    fn end_content(&mut self, cx: &mut Context<'_>) {
        if let Some(content) = self.content.take() {
            content.end(cx);
        }
    }

    /// Nobody wants the rest of the content of a transaction; not even its end is told.
    pub fn decline(&mut self, transaction: Transaction) {
        self.content.take_if(|content| content.transaction == transaction);
    }
}

fn count(tally: &mut Option<BodyTally>, len: usize) {
    if let Some(tally) = tally {
        tally.length += len as u64;
    }
}

/// Decodes bytes; a fault ends the content.
fn write(place: &mut Option<Content>, cx: &mut Context<'_>, bytes: &[u8]) {
    let Some(content) = place else { return };
    if let Err(name) = content.decode(cx, bytes) {
        cx.counts.add(name);
        if let Some(content) = place.take() {
            content.end(cx);
        }
    }
}

/// The bytes of a body, on their way to the findings.
#[derive(Debug)]
pub(super) struct Content {
    transaction: Transaction,
    direction: Direction,
    /// Offset in the decoded body of what was not told yet.
    position: u64,
    /// Where that begins in the bytes of the findings.
    mark: Option<usize>,
    chain: Option<Chain>,
}

impl Content {
    /// Content behind codings.
    pub fn new(transaction: Transaction, direction: Direction, codings: &Codings) -> Self {
        Self { transaction, direction, position: 0, mark: None, chain: Chain::new(codings) }
    }

    fn decode(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), &'static str> {
        self.mark.get_or_insert(cx.findings.mark());
        let out = cx.findings.writer();
        match &mut self.chain {
            None => out.extend_from_slice(bytes),
            Some(chain) => chain.feed(bytes, out).map_err(|fault| fault.name())?,
        }
        if out.len() > MAX_BATCH { Err("http bodies of a batch too large") } else { Ok(()) }
    }

    /// Tells what was decoded since the last time.
    fn tell(&mut self, cx: &mut Context<'_>) {
        let Some(mark) = self.mark.take() else { return };
        let bytes = cx.findings.since(mark);
        if !bytes.is_empty() {
            self.push(cx, bytes);
            self.position += bytes.len() as u64;
        }
    }

    fn end(mut self, cx: &mut Context<'_>) {
        if let Some(chain) = &mut self.chain {
            self.mark.get_or_insert(cx.findings.mark());
            if let Err(fault) = chain.finish(cx.findings.writer()) {
                cx.counts.add(fault.name());
            }
        }
        self.tell(cx);
        self.push(cx, Text::default());
    }

    fn push(&self, cx: &mut Context<'_>, bytes: Text) {
        let Self { transaction, direction, position, .. } = *self;
        cx.push(FindingKind::HttpBody { transaction, direction, position, bytes });
    }
}
