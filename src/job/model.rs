//! What a job is, from the call that schedules it to its completion.

use std::any::Any;
use std::fmt;
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

impl Completion {
    /// Bytes it holds beyond its own size.
    pub(super) fn size(&self) -> usize {
        self.result.as_ref().map_or(0, Vec::len) + self.output.iter().map(OutputLine::size).sum::<usize>()
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Lua { function: Portable, data: Vec<u8> },
    File(FileOp),
}

/// Something that must live until a job has ended. Let go on the thread that ends it.
pub type Keep = Arc<dyn Any + Send + Sync>;

/// A job as it is passed on. Boxed, because it is moved a dozen times on its way and is several hundred bytes long.
pub(super) type BoxedJob = Box<Job>;

/// A job between its scheduling and its delivery. One allocation that travels to the worker and back.
#[derive(Debug)]
pub(super) struct Job {
    /// What goes home; filled in as the job proceeds.
    pub completion: Completion,
    /// Taken by the worker while it runs.
    pub work: Option<Work>,
    pub home: Arc<CompletionQueue>,
    pub created: Stopwatch,
    /// How long it may run.
    pub deadline: Duration,
    /// Bytes counted against the queue's limit.
    pub size: usize,
    /// Held until the job has ended.
    pub keep: Option<Keep>,
}
