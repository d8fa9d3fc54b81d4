//! Handshake messages in the bodies of records, in whatever pieces they come.

/// Longest message that is kept; longer ones are left out and counted.
pub const MAX_MESSAGE: usize = 256 << 10;

/// Types of messages.
pub mod message {
    /// Client hello.
    pub const CLIENT_HELLO: u8 = 1;
    /// Server hello, of TLS 1.3 also the request for another client hello.
    pub const SERVER_HELLO: u8 = 2;
    /// Chain of certificates.
    pub const CERTIFICATE: u8 = 11;
}

const HEAD: usize = 4;
/// Room that is kept for the next message once one is delivered.
const KEPT_ROOM: usize = 4 << 10;

/// Which messages are put together; the others are stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// Hellos and certificates.
    Known,
}

impl Keep {
    fn wants(self, kind: u8) -> bool {
        self == Self::All || matches!(kind, message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE)
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A complete message.
    Complete {
        /// Its type.
        kind: u8,
        /// All of it, with its head of four bytes.
        whole: &'a [u8],
    },
    /// One that is too long to keep.
    OverLimit,
}

/// Puts the messages of one direction together.
#[derive(Debug)]
pub struct Messages {
    buffer: Vec<u8>,
    /// Bytes of a message that is stepped over.
    skip: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Collecting,
    /// What is in the buffer has been handed out.
    Delivered,
    /// Bytes were lost: where messages begin is not known any more.
    Torn,
}

impl Messages {
    /// Before the first.
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), skip: 0, state: State::Collecting }
    }

    /// The next message; nothing when the bytes are used up. What is read is taken off the front of the bytes.
    pub fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8], keep: Keep) -> Option<Message<'a>> {
        match self.state {
            State::Collecting => {}
            State::Delivered => {
                self.buffer.clear();
                self.buffer.shrink_to(KEPT_ROOM);
                self.state = State::Collecting;
            }
            State::Torn => {
                *bytes = &[];
                return None;
            }
        }
        loop {
            let step = self.skip.min(bytes.len());
            *bytes = &bytes[step..];
            self.skip -= step;
            if bytes.is_empty() {
                return None;
            }
            if self.buffer.is_empty()
                && let Some((kind, length)) = head(bytes)
                && keep.wants(kind)
                && length <= MAX_MESSAGE
                && let Some((whole, rest)) = bytes.split_at_checked(HEAD + length)
            {
                *bytes = rest;
                return Some(Message::Complete { kind, whole });
            }
            self.fill(bytes, HEAD);
            let (kind, length) = head(&self.buffer)?;
            if !keep.wants(kind) || length > MAX_MESSAGE {
                self.buffer.clear();
                self.skip = length;
                if keep.wants(kind) {
                    return Some(Message::OverLimit);
                }
                continue;
            }
            self.fill(bytes, HEAD + length);
            if self.buffer.len() < HEAD + length {
                return None;
            }
            self.state = State::Delivered;
            return Some(Message::Complete { kind, whole: &self.buffer });
        }
    }

    /// Moves bytes into the buffer until it holds so many.
    fn fill(&mut self, bytes: &mut &[u8], until: usize) {
        let (part, rest) = bytes.split_at(until.saturating_sub(self.buffer.len()).min(bytes.len()));
        self.buffer.extend_from_slice(part);
        *bytes = rest;
    }

    /// Bytes are missing.
    pub fn tear(&mut self) {
        self.buffer = Vec::new();
        self.state = State::Torn;
    }

    /// True once bytes were missing.
    pub fn is_torn(&self) -> bool {
        self.state == State::Torn
    }

    /// Bytes of memory.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Type and length of the body.
fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, a, b, c] = *bytes.first_chunk()?;
    Some((kind, u32::from_be_bytes([0, a, b, c]) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(messages: &mut Messages, mut bytes: &[u8], keep: Keep) -> Vec<(u8, usize)> {
        let mut out = Vec::new();
        while let Some(next) = messages.next(&mut bytes, keep) {
            out.push(match next {
                Message::Complete { kind, whole } => (kind, whole.len()),
                Message::OverLimit => (255, 0),
            });
        }
        out
    }

    #[test]
    fn messages_are_found_whatever_the_pieces() {
        let bytes = [1, 0, 0, 2, 8, 9, 12, 0, 0, 3, 1, 1, 1, 14, 0, 0, 0, 11, 0, 0, 1, 7];
        for (keep, expected) in
            [(Keep::All, vec![(1, 6), (12, 7), (14, 4), (11, 5)]), (Keep::Known, vec![(1, 6), (11, 5)])]
        {
            for size in 1..=bytes.len() {
                let mut messages = Messages::new();
                let found: Vec<_> = bytes.chunks(size).flat_map(|part| all(&mut messages, part, keep)).collect();
                assert_eq!(found, expected, "pieces of {size}");
            }
        }
    }

    #[test]
    fn a_message_over_the_limit_is_stepped_over() {
        let mut messages = Messages::new();
        assert_eq!(all(&mut messages, &[11, 4, 0, 1], Keep::Known), [(255, 0)]);
        assert_eq!(all(&mut messages, &vec![0; MAX_MESSAGE + 1], Keep::Known), []);
        assert_eq!(all(&mut messages, &[2, 0, 0, 0], Keep::Known), [(2, 4)]);
        assert!(messages.held() < 100);
    }
}
