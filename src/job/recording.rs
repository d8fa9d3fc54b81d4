//! Answers of jobs, kept when they are recorded and given back when they are replayed, so that what asks the network can be
//! tested without one.
//!
//! A job is known by its plugin, its function and its data; of several alike the first scheduled gets the first answer.
//! Answers are given on the scheduling thread when jobs are handed over, so no worker is started for them. File
//! operations are no questions: they are carried out in either case.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::lua::{FaultKind, PluginError};

use super::model::{BoxedJob, Job, JobId, Work};
use super::output::OutputLine;
use super::shared::Shared;
use super::state::{JobState, Step};

/// A question that a plugin put to its workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// File name of the plugin.
    pub plugin: String,
    /// Where the function begins, as `file:line`.
    pub function: String,
    /// What it was given.
    pub data: Vec<u8>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let cut = if self.data.len() > SHOWN { "..." } else { "" };
        let data = self.data[..self.data.len().min(SHOWN)].escape_ascii();
        write!(f, "{}: onexecute of {} with data \"{data}\"{cut}", self.plugin, self.function)
    }
}

/// How a job ended that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Done, failed or timed out.
    pub state: JobState,
    /// What the function returned.
    pub result: Option<Vec<u8>>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it printed and logged.
    pub output: Vec<OutputLine>,
}

/// What is done about jobs of a run: their answers are recorded, or given.
#[derive(Debug)]
pub struct Answers {
    state: Mutex<State>,
    /// Texts that differ from run to run, and what stands for them in a recording.
    aliases: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug)]
enum State {
    Recording { order: Vec<JobId>, asked: HashMap<JobId, Question>, ended: HashMap<JobId, Answer> },
    Replaying(Replay),
}

#[derive(Debug, Default)]
struct Replay {
    answers: HashMap<Question, VecDeque<Answer>>,
    missing: Vec<Question>,
    given: usize,
}

impl Answers {
    /// Records what is answered. In a recording the second of each pair of texts stands for the first.
    #[must_use]
    pub fn record(aliases: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self {
            state: Mutex::new(State::Recording { order: Vec::new(), asked: HashMap::new(), ended: HashMap::new() }),
            aliases,
        }
    }

    /// Gives these answers, and no others.
    #[must_use]
    pub fn replay(recorded: Vec<Answer>, aliases: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut replay = Replay::default();
        for answer in recorded {
            replay.answers.entry(answer.question.clone()).or_default().push_back(answer);
        }
        Self { state: Mutex::new(State::Replaying(replay)), aliases }
    }

    /// What was recorded, in the order scheduled. Jobs that were cancelled have no answer.
    #[must_use]
    pub fn recorded(&self) -> Vec<Answer> {
        match &mut *self.lock() {
            State::Recording { order, ended, .. } => order.iter().filter_map(|id| ended.remove(id)).collect(),
            State::Replaying(_) => Vec::new(),
        }
    }

    /// What was asked and has no answer in the recording.
    #[must_use]
    pub fn missing(&self) -> Vec<Question> {
        match &*self.lock() {
            State::Recording { .. } => Vec::new(),
            State::Replaying(replay) => replay.missing.clone(),
        }
    }

    /// Answers given, and answers that nobody asked for.
    #[must_use]
    pub fn used(&self) -> (usize, usize) {
        match &*self.lock() {
            State::Recording { .. } => (0, 0),
            State::Replaying(replay) => (replay.given, replay.answers.values().map(VecDeque::len).sum()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Meets jobs on their way to the workers: notes them, or ends those that are functions and leaves the rest.
    pub(super) fn meet(&self, shared: &Shared, jobs: &mut Vec<BoxedJob>) {
        let mut answered = Vec::new();
        match &mut *self.lock() {
            State::Recording { order, asked, .. } => {
                for job in jobs.iter() {
                    if let Some(question) = self.question(shared, job) {
                        order.push(job.id);
                        asked.insert(job.id, question);
                    }
                }
            }
            State::Replaying(replay) => {
                for job in std::mem::take(jobs) {
                    match self.question(shared, &job) {
                        Some(question) => answered.push((job, replay.answer(question))),
                        None => jobs.push(job),
                    }
                }
            }
        }
        for (job, answer) in answered {
            self.give(shared, job, answer);
        }
    }

    fn give(&self, shared: &Shared, mut job: BoxedJob, answer: Result<Answer, Question>) {
        // As if a worker had done it.
        job.step(Step::Accept);
        job.step(Step::Start);
        let (state, error) = match answer {
            Ok(answer) => {
                job.result = answer.result.map(|result| self.translate(&result, Way::Out));
                if !answer.output.is_empty() {
                    job.remains().output = answer.output;
                }
                let kind = if answer.state == JobState::TimedOut { FaultKind::Interrupted } else { FaultKind::Error };
                let error = answer.error.map(|message| PluginError { kind, message, traceback: String::new() });
                (answer.state, error)
            }
            Err(question) => {
                let message = format!("no recorded answer: {question}");
                (JobState::Failed, Some(PluginError::caught(message.as_bytes(), b"")))
            }
        };
        shared.end(job, state, error);
    }

    /// Hears how a job ended.
    pub(super) fn hear(&self, job: &Job) {
        let mut state = self.lock();
        let State::Recording { asked, ended, .. } = &mut *state else { return };
        let Some(question) = asked.remove(&job.id) else { return };
        let end = job.life.state();
        if !matches!(end, JobState::Done | JobState::Failed | JobState::TimedOut) {
            return;
        }
        let left = job.remains.as_deref();
        let answer = Answer {
            question,
            state: end,
            result: job.result.as_ref().map(|result| self.translate(result, Way::In)),
            error: left.and_then(|left| left.error.as_ref()).map(|error| error.message.clone()),
            output: left.map(|left| left.output.clone()).unwrap_or_default(),
        };
        ended.insert(job.id, answer);
    }

    fn question(&self, shared: &Shared, job: &Job) -> Option<Question> {
        let Some(Work::Lua { data, .. }) = &job.work else { return None };
        Some(Question {
            plugin: shared.options.name.clone(),
            function: job.function.to_string(),
            data: self.translate(data, Way::In),
        })
    }

    fn translate(&self, bytes: &[u8], way: Way) -> Vec<u8> {
        self.aliases.iter().fold(bytes.to_vec(), |text, (real, written)| match way {
            Way::In => replace(&text, real, written),
            Way::Out => replace(&text, written, real),
        })
    }
}

/// Into a recording, or out of one.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Replay {
    /// The next answer to a question. A function that was moved by a change elsewhere in its file is found by its data, if
    /// only one function was given the same.
    fn answer(&mut self, question: Question) -> Result<Answer, Question> {
        let exact = self.answers.get_mut(&question).and_then(VecDeque::pop_front);
        let found = exact.or_else(|| {
            let alike = |(asked, left): &(&Question, &mut VecDeque<Answer>)| {
                asked.plugin == question.plugin && asked.data == question.data && !left.is_empty()
            };
            let mut candidates = self.answers.iter_mut().filter(alike);
            let first = candidates.next()?;
            if candidates.next().is_some() { None } else { first.1.pop_front() }
        });
        match found {
            Some(answer) => {
                self.given += 1;
                Ok(answer)
            }
            None => {
                self.missing.push(question.clone());
                Err(question)
            }
        }
    }
}

/// `text` with every `from` replaced by `to`.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, from).filter(|_| !from.is_empty()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::{Answer, Question, Replay, replace};
    use crate::job::JobState;

    fn question(line: u32, data: &[u8]) -> Question {
        Question { plugin: "a.lua".to_owned(), function: format!("a.lua:{line}"), data: data.to_vec() }
    }

    fn answer(line: u32, data: &[u8], result: &[u8]) -> Answer {
        let (state, result) = (JobState::Done, Some(result.to_vec()));
        Answer { question: question(line, data), state, result, error: None, output: Vec::new() }
    }

    fn replay(answers: &[Answer]) -> Replay {
        let mut replay = Replay::default();
        for answer in answers {
            replay.answers.entry(answer.question.clone()).or_default().push_back(answer.clone());
        }
        replay
    }

    fn result(replay: &mut Replay, line: u32, data: &[u8]) -> Option<Vec<u8>> {
        replay.answer(question(line, data)).ok()?.result
    }

    #[test]
    fn equal_questions_get_their_answers_in_the_order_recorded() {
        let mut replay = replay(&[answer(1, b"x", b"first"), answer(1, b"x", b"second")]);
        assert_eq!(result(&mut replay, 1, b"x").as_deref(), Some(&b"first"[..]));
        assert_eq!(result(&mut replay, 1, b"x").as_deref(), Some(&b"second"[..]));
        assert_eq!(result(&mut replay, 1, b"x"), None);
        assert_eq!(replay.missing, [question(1, b"x")]);
    }

    #[test]
    fn a_function_that_moved_is_found_by_its_data_unless_two_were_given_the_same() {
        let mut one = replay(&[answer(10, b"x", b"r")]);
        assert_eq!(result(&mut one, 12, b"x").as_deref(), Some(&b"r"[..]));
        let mut two = replay(&[answer(10, b"x", b"r"), answer(20, b"x", b"s")]);
        assert_eq!(result(&mut two, 12, b"x"), None);
    }

    #[test]
    fn texts_are_replaced_wherever_they_stand() {
        assert_eq!(replace(b"/a/b and /a/b", b"/a/b", b"<d>"), b"<d> and <d>");
        assert_eq!(replace(b"abc", b"", b"x"), b"abc");
    }
}
