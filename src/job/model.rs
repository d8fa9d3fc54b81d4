//! What a job is, from the call that schedules it to its completion.

use std::any::Any;
use std::fmt;
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lua::{PluginError, Portable};
use crate::time::Stopwatch;

use super::completion::CompletionQueue;
use super::native::FileOp;
use super::output::OutputLine;

/// Number of a job, unique in the process: the engine that scheduled it and a running number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    engine: u16,
    seq: u64,
}

impl JobId {
    /// The running number, from 1.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.seq
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.engine, self.seq)
    }
}

/// Gives the jobs of one engine their numbers. Shared by all schedulers of the engine.
#[derive(Clone, Debug)]
pub struct JobIds {
    engine: u16,
    next: Arc<AtomicU64>,
}

impl JobIds {
    /// Numbers from 1 on.
    #[must_use]
    pub fn new(engine: u16) -> Self {
        Self { engine, next: Arc::new(AtomicU64::new(1)) }
    }

    /// What the text of every id begins with; the running number follows.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}-", self.engine)
    }

    pub(super) fn next(&self) -> JobId {
        JobId { engine: self.engine, seq: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// A Lua function.
    Schedule,
    /// A file replaced by a copy of another.
    Copy,
    /// A file appended to another.
    Cat,
    /// A file deleted.
    Remove,
    /// Bytes written to a file.
    CopyBuffer,
}

impl JobKind {
    /// The name plugins know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Copy => "copy",
            Self::Cat => "cat",
            Self::Remove => "rm",
            Self::CopyBuffer => "copybuffer",
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It ran to its end, with or without a result.
    Done,
    /// It raised an error, or its result was refused.
    Failed,
    /// It exceeded its deadline.
    TimedOut,
    /// It was taken back before it ended.
    Cancelled,
    /// It was never accepted.
    Dropped,
}

impl JobState {
    /// The name used in events and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Dropped => "dropped",
        }
    }
}

/// A job that has ended, on its way home.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The job.
    pub id: JobId,
    /// What it was.
    pub kind: JobKind,
    /// How it ended.
    pub state: JobState,
    /// What the scheduler's owner gave along with the job, to find its own things again.
    pub token: u64,
    /// Where the function begins (`file:line`); the kind for file operations.
    pub function: Arc<str>,
    /// The data given to the function; empty if the worker still holds it, as after a timeout of a stuck worker.
    pub data: Vec<u8>,
    /// What the function returned, if that was a string or a number.
    pub result: Option<Vec<u8>>,
    /// Why it failed.
    pub error: Option<PluginError>,
    /// What the function printed and logged, in order.
    pub output: Vec<OutputLine>,
    /// Lines left out because a job keeps at most 1 MiB of them.
    pub output_cut: u64,
    /// Time from scheduling to start.
    pub waited: Duration,
    /// Time from start to end.
    pub ran: Duration,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Lua {
        function: Arc<Portable>,
        data: Vec<u8>,
        /// Where the result is written: memory of an earlier job.
        room: Vec<u8>,
    },
    File(Box<FileOp>),
}

/// Something that must live until a job has ended. Let go on the thread that ends it.
pub type Keep = Arc<dyn Any + Send + Sync>;

/// A job as it is passed on. Boxed, because it is moved a dozen times on its way.
pub(super) type BoxedJob = Box<Job>;

/// A job between its scheduling and its delivery. One allocation that travels to the worker and back and then serves
/// another job.
///
/// Three cache lines, in this order: with tens of thousands of jobs under way none of it is in the cache of the thread that
/// gets it, and waiting for memory is most of what a job costs. Hence [`Job::touch`], and times as numbers.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Job {
    pub id: JobId,
    pub token: u64,
    /// Where the function begins; the kind for file operations.
    pub function: Arc<str>,
    pub home: Arc<CompletionQueue>,
    /// Bytes counted against the queue's limit.
    pub size: usize,
    pub kind: JobKind,
    /// Meaningful once the job has ended.
    pub state: JobState,
    /// Taken by the worker while it runs.
    pub work: Option<Work>,
    /// What most jobs leave none of.
    pub remains: Option<Box<Remains>>,
    pub result: Option<Vec<u8>>,
    pub created: Stopwatch,
    /// How long it may run.
    pub deadline: Nanos,
    pub waited: Nanos,
    pub ran: Nanos,
}

const _: () = assert!(size_of::<Job>() == 192, "a job has three cache lines");

/// A length of time in half the space of a [`Duration`]: up to 584 years.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nanos(u64);

impl From<Duration> for Nanos {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(Nanos(nanos): Nanos) -> Self {
        Self::from_nanos(nanos)
    }
}

/// Why a job failed, what it printed and logged, and what must live until it has ended.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub keep: Option<Keep>,
    pub error: Option<PluginError>,
    pub output: Vec<OutputLine>,
    pub output_cut: u64,
}

impl Job {
    /// Bytes it brings home.
    pub(super) fn brings(&self) -> usize {
        let output = |remains: &Remains| remains.output.iter().map(OutputLine::size).sum::<usize>();
        self.result.as_ref().map_or(0, Vec::len) + self.remains.as_deref().map_or(0, output)
    }

    /// Fetches the job into the cache and makes it this processor's own, by writing what will be written anyway to each of
    /// its lines. Done to many jobs at a time their memory arrives at once, and not for one after the other.
    pub(super) fn touch(&mut self) {
        self.state = JobState::Cancelled;
        self.remains = hint::black_box(self.remains.take());
        (self.waited, self.ran) = (Nanos::default(), Nanos::default());
    }

    /// Fetches a job that has ended into the cache, to the same end.
    pub(super) fn glance(&self) {
        hint::black_box((self.token, self.remains.is_some(), self.waited));
    }

    pub(super) fn remains(&mut self) -> &mut Remains {
        self.remains.get_or_insert_default()
    }
}

/// A job that has ended, as its scheduler has it: what a [`Completion`] tells, without being moved.
#[derive(Debug)]
pub struct Ended(pub(super) Box<Job>);

impl Ended {
    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.id
    }

    /// What it was.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        self.0.kind
    }

    /// How it ended.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.0.state
    }

    /// What the scheduler's owner gave along with it.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0.token
    }

    /// Where the function begins (`file:line`); the kind for file operations.
    #[must_use]
    pub fn function(&self) -> &Arc<str> {
        &self.0.function
    }

    /// The data given to the function; empty if the worker still holds it.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match &self.0.work {
            Some(Work::Lua { data, .. }) => data,
            _ => &[],
        }
    }

    /// What the function returned, if that was a string or a number.
    #[must_use]
    pub fn result(&self) -> Option<&[u8]> {
        self.0.result.as_deref()
    }

    /// Takes why it failed.
    pub fn take_error(&mut self) -> Option<PluginError> {
        self.0.remains.as_mut()?.error.take()
    }

    /// Takes what the function printed and logged, and how many lines of it were left out.
    pub fn take_output(&mut self) -> (Vec<OutputLine>, u64) {
        let taken = self.0.remains.as_mut().map(|left| (std::mem::take(&mut left.output), left.output_cut));
        taken.unwrap_or_default()
    }

    /// As a value of its own.
    #[must_use]
    pub fn into_completion(self) -> Completion {
        let job = *self.0;
        let data = match job.work {
            Some(Work::Lua { data, .. }) => data,
            _ => Vec::new(),
        };
        let Remains { error, output, output_cut, .. } = job.remains.map_or_else(Remains::default, |remains| *remains);
        Completion {
            id: job.id,
            kind: job.kind,
            state: job.state,
            token: job.token,
            function: job.function,
            data,
            result: job.result,
            error,
            output,
            output_cut,
            waited: job.waited.into(),
            ran: job.ran.into(),
        }
    }
}
