//! One direction of a flow: where in its messages it is, and the bytes it keeps.

use super::body::Body;
use super::scan::BlockScan;
use crate::dissect::Transaction;
use crate::time::Timestamp;

/// Longest header block, first line included.
pub(super) const MAX_HEADER: usize = 64 << 10;

/// Most bytes that wait for the other direction.
const MAX_WAITING: usize = 64 << 10;

/// Capacity that is kept from message to message.
const KEPT: usize = 4 << 10;

/// Where in its messages a direction is.
#[derive(Debug, Default)]
pub(super) enum State {
    /// In front of a message.
    #[default]
    Between,
    /// In a header block, the beginning of which may be kept.
    Header,
    /// In a body.
    Body(Body),
    /// Nothing more is read.
    Stopped,
}

/// Whether bytes may still wait for the other direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Patience {
    /// They may.
    #[default]
    Left,
    /// They have waited for too long, or there were too many.
    Gone,
}

/// What became of a header block of which more bytes came.
#[derive(Debug)]
pub(super) enum Collected {
    /// It is not complete.
    Part,
    /// It is: this is the block, and the first so many of the new bytes belong to it.
    Whole(Vec<u8>, usize),
    /// It is longer than a header may be.
    TooLong,
}

/// One direction of a flow.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Where it is.
    pub state: State,
    /// Whether its bytes may wait.
    pub patience: Patience,
    scan: BlockScan,
    header: Vec<u8>,
    waiting: Vec<u8>,
    since: Timestamp,
}

impl Side {
    /// True once nothing more is read.
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Looks for the end of a header block in the next bytes. Only blocks that come in pieces are copied: a whole one is
    /// told by its length.
    pub fn whole_block(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.header.is_empty() {
            return None;
        }
        let end = self.scan.end(bytes);
        if end.is_some() {
            self.scan = BlockScan::default();
        }
        end.filter(|end| *end <= MAX_HEADER)
    }

    /// Keeps the next bytes of a header block.
    pub fn collect(&mut self, bytes: &[u8]) -> Collected {
        let known = self.header.len();
        let added = bytes.len().min(MAX_HEADER - known);
        self.header.extend_from_slice(&bytes[..added]);
        match self.scan.end(&self.header) {
            Some(end) => {
                let mut block = std::mem::take(&mut self.header);
                self.scan = BlockScan::default();
                block.truncate(end);
                Collected::Whole(block, end - known)
            }
            None if added < bytes.len() || self.header.len() == MAX_HEADER => Collected::TooLong,
            None => Collected::Part,
        }
    }

    /// The header block kept so far, if its first line is complete.
    pub fn first_line(&self) -> Option<&[u8]> {
        self.scan.has_line().then_some(&self.header[..])
    }

    /// Takes the memory of a block back.
    pub fn reuse(&mut self, mut block: Vec<u8>) {
        if block.capacity() <= KEPT {
            block.clear();
            self.header = block;
        }
    }

    /// Keeps bytes until the other direction allows to read them. Refuses when there are too many.
    pub fn wait(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), TooMany> {
        if bytes.len() > MAX_WAITING - self.waiting.len() {
            return Err(TooMany);
        }
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes wait.
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Since when bytes wait.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        (!self.waiting.is_empty()).then_some(self.since)
    }

    /// Takes what waits, to read it; [`Side::put_back`] gets the rest.
    pub fn take_waiting(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    /// Keeps what could not be read of waiting bytes.
    pub fn put_back(&mut self, mut bytes: Vec<u8>, used: usize) {
        bytes.drain(..used);
        if !bytes.is_empty() {
            self.waiting = bytes;
        }
    }

    /// Reads nothing more, and forgets what it keeps.
    pub fn stop(&mut self) {
        *self = Self { state: State::Stopped, ..Self::default() };
    }

    /// Nobody wants the content of a transaction.
    pub fn decline(&mut self, transaction: Transaction) {
        if let State::Body(body) = &mut self.state {
            body.decline(transaction);
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.header.capacity() + self.waiting.capacity()
    }
}

/// More bytes would have to wait than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_whole_or_in_pieces() {
        let text = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        assert_eq!(Side::default().whole_block(text), Some(24));
        for cut in 1..text.len() {
            let mut side = Side::default();
            let (first, second) = text.split_at(cut);
            if let Some(end) = side.whole_block(first) {
                assert_eq!(end, 24);
                continue;
            }
            assert!(matches!(side.collect(first), Collected::Part), "{cut}");
            match side.collect(second) {
                Collected::Whole(block, used) => assert_eq!((&block[..], used), (&text[..24], 24 - cut)),
                other => panic!("{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_block_may_be_as_long_as_the_limit_and_no_longer() {
        let block = |len: usize| [&vec![b'x'; len - 4][..], b"\r\n\r\n"].concat();
        assert_eq!(Side::default().whole_block(&block(MAX_HEADER)), Some(MAX_HEADER));
        assert_eq!(Side::default().whole_block(&block(MAX_HEADER + 1)), None);
        for (len, fits) in [(MAX_HEADER, true), (MAX_HEADER + 1, false)] {
            let mut side = Side::default();
            let whole = block(len);
            let last = whole.chunks(1_000).map(|piece| side.collect(piece)).last();
            assert_eq!(matches!(last, Some(Collected::Whole(..))), fits);
            assert_eq!(matches!(last, Some(Collected::TooLong)), !fits);
        }
    }

    #[test]
    fn only_so_many_bytes_wait() {
        let mut side = Side::default();
        let now = Timestamp::new(5, 0);
        assert_eq!(side.wait(&vec![0; MAX_WAITING], now), Ok(()));
        assert_eq!(side.wait(b"x", now), Err(TooMany));
        assert_eq!(side.waiting_since(), Some(now));
        let bytes = side.take_waiting();
        side.put_back(bytes, MAX_WAITING - 1);
        assert_eq!(side.waiting(), 1);
    }
}
