//! What a script prints and logs in a VM that only looks at what its file contains.

use std::cell::RefCell;
use std::rc::Rc;

use super::constants::LogFn;
use super::global_t::PrintFn;
use super::record::Record;

/// Most lines that are kept, and the bytes of their texts, but for the line that goes beyond.
const MAX_LINES: usize = 1_000;
const MAX_BYTES: usize = 1 << 20;

/// Keeps the lines once somebody listens. While the file is executed nobody does: it runs again in each of its real VMs.
#[derive(Clone, Debug, Default)]
pub struct ProbeSpeech(Rc<RefCell<Option<Said>>>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<Record>,
    bytes: usize,
}

impl ProbeSpeech {
    /// Keeps what is said from here on.
    pub fn listen(&self) {
        *self.0.borrow_mut() = Some(Said::default());
    }

    /// What was said since; nothing more is kept.
    #[must_use]
    pub fn take(&self) -> Vec<Record> {
        self.0.take().unwrap_or_default().lines
    }

    /// Where log lines go.
    #[must_use]
    pub fn log(&self) -> LogFn {
        let speech = self.clone();
        Rc::new(move |level, text| speech.say(text.len(), || Record::Log { level, text: text.into() }))
    }

    /// Where printed lines go.
    #[must_use]
    pub fn print(&self) -> PrintFn {
        let speech = self.clone();
        Rc::new(move |text| speech.say(text.len(), || Record::Print { text: text.to_vec() }))
    }

    fn say(&self, bytes: usize, record: impl FnOnce() -> Record) {
        let has_room = |said: &&mut Said| said.lines.len() < MAX_LINES && said.bytes < MAX_BYTES;
        if let Some(said) = self.0.borrow_mut().as_mut().filter(has_room) {
            said.bytes += bytes;
            said.lines.push(record());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, MAX_LINES, ProbeSpeech};

    #[test]
    fn what_is_kept_is_bounded_by_lines_and_by_bytes() {
        let (speech, text) = (ProbeSpeech::default(), vec![b'x'; MAX_BYTES / 4]);
        let say = speech.print();
        say(b"nobody listens");
        assert!(speech.take().is_empty());
        speech.listen();
        (0..10).for_each(|_| say(&text));
        assert_eq!(speech.take().len(), 4);
        speech.listen();
        (0..2 * MAX_LINES).for_each(|_| say(b"x"));
        assert_eq!(speech.take().len(), MAX_LINES);
    }
}
