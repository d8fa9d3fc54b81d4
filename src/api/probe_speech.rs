//! What a script prints and logs in a VM that only looks at what its file contains.

use std::cell::RefCell;
use std::rc::Rc;

use super::constants::LogFn;
use super::global_t::PrintFn;
use super::record::Record;

/// Most lines that are kept.
const MAX_LINES: usize = 1_000;

/// Keeps the lines once somebody listens. While the file is executed nobody does: it runs again in each of its real VMs.
#[derive(Clone, Debug, Default)]
pub struct ProbeSpeech(Rc<RefCell<Option<Vec<Record>>>>);

impl ProbeSpeech {
    /// Keeps what is said from here on.
    pub fn listen(&self) {
        *self.0.borrow_mut() = Some(Vec::new());
    }

    /// What was said since; nothing more is kept.
    #[must_use]
    pub fn take(&self) -> Vec<Record> {
        self.0.take().unwrap_or_default()
    }

    /// Where log lines go.
    #[must_use]
    pub fn log(&self) -> LogFn {
        let speech = self.clone();
        Rc::new(move |level, text| speech.say(|| Record::Log { level, text: text.into() }))
    }

    /// Where printed lines go.
    #[must_use]
    pub fn print(&self) -> PrintFn {
        let speech = self.clone();
        Rc::new(move |text| speech.say(|| Record::Print { text: text.to_vec() }))
    }

    fn say(&self, record: impl FnOnce() -> Record) {
        if let Some(said) = self.0.borrow_mut().as_mut().filter(|said| said.len() < MAX_LINES) {
            said.push(record());
        }
    }
}
