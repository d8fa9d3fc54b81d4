//! The frame of a DNS message: header, questions, records.

use super::name::{self, NameFault};
use crate::dissect::Recognition;

const HEADER: usize = 12;

/// Most questions in one message. Multicast DNS asks several at once, everything else one.
const MAX_QUESTIONS: u16 = 32;

/// Sections with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answers.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Where its name begins.
    pub name: usize,
    /// Type.
    pub kind: u16,
    /// Class.
    pub class: u16,
}

/// A record.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where its name begins.
    pub name: usize,
    /// Type.
    pub kind: u16,
    /// Class; something else in OPT records.
    pub class: u16,
    /// Time to live; something else in OPT records.
    pub ttl: u32,
    /// Where its data begins.
    pub data: usize,
    /// Where its data ends.
    pub end: usize,
}

/// A message whose header and questions have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// All of it, as far as it was captured.
    pub bytes: &'a [u8],
    /// Identification.
    pub id: u16,
    /// Flags, operation, response code.
    pub flags: u16,
    /// Questions, answers, authority, additional: how many there should be.
    pub counts: [u16; 4],
}

impl<'a> Message<'a> {
    /// Tells whether the bytes begin a message, strictly: random bytes pass once in some thousand million.
    pub fn check(bytes: &'a [u8]) -> Result<Self, Recognition> {
        Self::check_part(bytes, bytes.len())
    }

    /// The same for the first bytes of a message of a known length.
    pub fn check_part(bytes: &'a [u8], len: usize) -> Result<Self, Recognition> {
        let word = |at: usize| bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let (Some(id), Some(flags)) = (word(0), word(2)) else { return Err(Recognition::Undecided) };
        let counts = [4, 6, 8, 10].map(word);
        let [Some(questions), Some(answers), Some(authority), Some(additional)] = counts else {
            return Err(Recognition::Undecided);
        };
        let message = Self { bytes, id, flags, counts: [questions, answers, authority, additional] };
        // Query, inverse query, status, notify, update.
        let is_operation_known = matches!(flags >> 11 & 15, 0..=2 | 4 | 5);
        let is_multicast = id == 0 && flags & 0x7BFF == 0;
        let fits = if message.is_response() {
            questions == 1 || questions == 0 && flags & 15 != 0 || is_multicast && answers > 0
        } else {
            let is_plain = flags >> 11 & 15 == 0;
            let many = is_multicast && questions > 0;
            flags & 15 == 0 && (questions == 1 || many) && (!is_plain || answers == 0 || many)
        };
        if !is_operation_known || !fits || questions > MAX_QUESTIONS {
            return Err(Recognition::No);
        }
        let mut at = HEADER;
        for _ in 0..questions {
            at = match message.question(at) {
                Ok((question, behind)) if !message.is_netbios(question) => behind,
                Ok(_) => return Err(Recognition::No),
                Err(NameFault::Short) => return Err(Recognition::Undecided),
                Err(NameFault::Wrong) => return Err(Recognition::No),
            };
        }
        // Without a question there is little to go by: everything has to be right.
        match questions {
            0 if bytes.len() < len => Err(Recognition::Undecided),
            0 if message.records(at, |_, _| true) != Some(len) => Err(Recognition::No),
            _ => Ok(message),
        }
    }

    /// Whether it is a response.
    pub const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn word(&self, at: usize) -> Option<u16> {
        self.bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]))
    }

    fn question(&self, at: usize) -> Result<(Question, usize), NameFault> {
        let behind = name::skip(self.bytes, at)?;
        let kind = self.word(behind).ok_or(NameFault::Short)?;
        let class = self.word(behind + 2).ok_or(NameFault::Short)?;
        // The top bit asks for a unicast answer (RFC 6762, 5.4).
        if !matches!(class & 0x7FFF, 1 | 3 | 4 | 254 | 255) || kind == 0 {
            return Err(NameFault::Wrong);
        }
        Ok((Question { name: at, kind, class }, behind + 4))
    }

    /// The name service of NetBIOS has messages of the same form; its names are one label of sixteen bytes, each written
    /// as two letters from A to P.
    fn is_netbios(&self, question: Question) -> bool {
        let label = self.bytes.get(question.name..question.name + 33);
        label.is_some_and(|label| label[0] == 32 && label[1..].iter().all(|byte| matches!(byte, b'A'..=b'P')))
    }

    /// Hands each question over; gives where the records begin.
    pub fn questions(&self, mut each: impl FnMut(Question)) -> usize {
        let mut at = HEADER;
        for _ in 0..self.counts[0] {
            let Ok((question, behind)) = self.question(at) else { break };
            each(question);
            at = behind;
        }
        at
    }

    /// Hands each record over until it says no; gives where they end, if all could be read.
    pub fn records(&self, mut at: usize, mut each: impl FnMut(Section, Record) -> bool) -> Option<usize> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (section, count) in sections.into_iter().zip(&self.counts[1..]) {
            for _ in 0..*count {
                let record = self.record(at)?;
                if !each(section, record) {
                    return None;
                }
                at = record.end;
            }
        }
        Some(at)
    }

    fn record(&self, at: usize) -> Option<Record> {
        let behind = name::skip(self.bytes, at).ok()?;
        let fixed: &[u8; 10] = self.bytes.get(behind..behind + 10)?.try_into().ok()?;
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = *fixed;
        let data = behind + 10;
        let end = data + usize::from(u16::from_be_bytes([l0, l1]));
        (end <= self.bytes.len()).then_some(Record {
            name: at,
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            data,
            end,
        })
    }
}
