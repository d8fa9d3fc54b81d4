//! Records in a stream, in whatever pieces it comes.

/// Longest body of a record: 16 KiB and what encryption may add.
pub const MAX_RECORD: usize = (16 << 10) + 2_048;

/// Content types of records.
pub mod content {
    /// A client hello in the syntax of SSL 2; never on the wire.
    pub const OLD_HELLO: u8 = 0;
    /// Change of keys.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Handshake messages, encrypted or not.
    pub const HANDSHAKE: u8 = 22;
    /// Application data, or anything at all once TLS 1.3 encrypts.
    pub const APPLICATION_DATA: u8 = 23;
    /// Highest type there is over TCP: heartbeats.
    pub const HIGHEST: u8 = 24;
}

/// The head of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHead {
    /// Content type.
    pub kind: u8,
    /// Version.
    pub version: [u8; 2],
    /// Bytes of the body.
    pub length: usize,
}

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record begins.
    Start(RecordHead),
    /// Part of its body, never empty.
    Body(&'a [u8]),
    /// It is complete.
    End,
    /// No record begins here: where the next one does cannot be known.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes of a head are there.
    Head(usize),
    /// This many bytes of a body are missing.
    Body(usize),
    Lost,
}

/// Cuts a stream into records. Keeps no bytes but the head.
#[derive(Debug)]
pub struct Records {
    state: State,
    head: [u8; 5],
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    FirstRecord,
    Later,
}

impl Records {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { state: State::Head(0), head: [0; 5], place: Place::FirstRecord }
    }

    /// The next step; nothing when the bytes are used up. What is read is taken off the front of the bytes.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Step<'a>> {
        match self.state {
            State::Body(0) => {
                self.state = State::Head(0);
                Some(Step::End)
            }
            _ if bytes.is_empty() => None,
            State::Lost => {
                *bytes = &[];
                Some(Step::Lost)
            }
            State::Body(missing) => {
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                *bytes = rest;
                self.state = State::Body(missing - part.len());
                Some(Step::Body(part))
            }
            State::Head(have) => {
                let room = self.head.get_mut(have..)?;
                let (part, rest) = bytes.split_at(room.len().min(bytes.len()));
                room[..part.len()].copy_from_slice(part);
                *bytes = rest;
                let have = have + part.len();
                self.state = State::Head(have);
                (have == self.head.len()).then(|| self.start())
            }
        }
    }

    fn start(&mut self) -> Step<'static> {
        let first = std::mem::replace(&mut self.place, Place::Later) == Place::FirstRecord;
        let [kind, major, minor, high, low] = self.head;
        let length = usize::from(high) << 8 | usize::from(low);
        if (content::CHANGE_CIPHER_SPEC..=content::HIGHEST).contains(&kind)
            && major == 3
            && minor <= 4
            && length <= MAX_RECORD
        {
            self.state = State::Body(length);
            return Step::Start(RecordHead { kind, version: [major, minor], length });
        }
        // The length of the old form does not count its own two bytes; three of what it counts are in the head.
        let old_length = usize::from(kind & 0x7F) << 8 | usize::from(major);
        if first && kind & 0x80 != 0 && minor == 1 && high == 3 && old_length >= 3 {
            self.state = State::Body(old_length - 3);
            return Step::Start(RecordHead { kind: content::OLD_HELLO, version: [high, low], length: old_length - 3 });
        }
        self.state = State::Lost;
        Step::Lost
    }

    /// Steps over bytes that never come.
    pub fn skip(&mut self, missing: u64) -> Skipped {
        match (self.state, usize::try_from(missing)) {
            (State::Body(left), Ok(missing)) if missing <= left => {
                self.state = State::Body(left - missing);
                Skipped::InRecord
            }
            _ => {
                self.state = State::Lost;
                Skipped::Lost
            }
        }
    }

    /// True once the place of records cannot be known any more.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }
}

/// Where missing bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// All in the body of one record; where the next one begins is known.
    InRecord,
    /// Over the end of a record.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(records: &mut Records, mut bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(step) = records.next(&mut bytes) {
            out.push(match step {
                Step::Start(head) => format!("{} {}", head.kind, head.length),
                Step::Body(part) => format!("{part:?}"),
                Step::End => "end".into(),
                Step::Lost => "lost".into(),
            });
        }
        out
    }

    #[test]
    fn records_may_come_in_any_pieces() {
        let mut records = Records::new();
        assert_eq!(steps(&mut records, &[22, 3]), [""; 0]);
        assert_eq!(steps(&mut records, &[1, 0, 3, 7]), ["22 3", "[7]"]);
        assert_eq!(steps(&mut records, &[8, 9, 23, 3, 3, 0, 0, 20]), ["[8, 9]", "end", "23 0", "end"]);
    }

    #[test]
    fn holes_in_a_body_are_stepped_over() {
        let mut records = Records::new();
        steps(&mut records, &[23, 3, 3, 0, 9, 1]);
        assert_eq!(records.skip(8), Skipped::InRecord);
        assert_eq!(steps(&mut records, &[21, 3, 3, 0, 1, 5]), ["end", "21 1", "[5]", "end"]);
        assert_eq!(records.skip(1), Skipped::Lost);
        assert_eq!(steps(&mut records, &[21, 3, 3, 0, 1, 5]), ["lost"]);
    }

    #[test]
    fn an_old_hello_comes_first_or_not_at_all() {
        let old = [0x80, 4, 1, 3, 1, 9];
        let mut records = Records::new();
        assert_eq!(steps(&mut records, &old), ["0 1", "[9]", "end"]);
        assert_eq!(steps(&mut records, &old), ["lost", "lost"]);
    }
}
