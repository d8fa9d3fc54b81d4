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
use super::options::JobOptions;
use super::output::OutputLine;
use super::state::{JobState, Life, Step};

/// Bits of the running number of a job: enough for a million jobs a second over eight years.
const SEQ_BITS: u32 = 48;
const SEQ_MASK: u64 = (1 << SEQ_BITS) - 1;

/// Number of a job, unique in the process: the engine that scheduled it and a running number, in that order of weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl JobId {
    const fn new(engine: u16, seq: u64) -> Self {
        Self((engine as u64) << SEQ_BITS | seq & SEQ_MASK)
    }

    /// The running number, from 1.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0 & SEQ_MASK
    }

    /// Number of the engine that scheduled it.
    #[must_use]
    pub const fn engine(self) -> u16 {
        (self.0 >> SEQ_BITS) as u16
    }

    /// From `<engine>-<seq>`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (engine, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(engine) || !digits(seq) {
            return None;
        }
        let seq = seq.parse().ok().filter(|seq| *seq <= SEQ_MASK)?;
        Some(Self::new(engine.parse().ok()?, seq))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.engine(), self.seq())
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

    /// Number of the engine.
    pub(super) const fn engine(&self) -> u16 {
        self.engine
    }

    pub(super) fn next(&self) -> JobId {
        JobId::new(self.engine, self.next.fetch_add(1, Ordering::Relaxed))
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

/// What anybody may know of a job, at one moment.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// What it is.
    pub kind: JobKind,
    /// Where it is in its life.
    pub state: JobState,
    /// How often it was started.
    pub attempts: u16,
    /// The worker that runs it, or ran it last.
    pub worker: Option<usize>,
    /// Where the function begins (`file:line`); the kind for file operations.
    pub function: Arc<str>,
    /// Bytes of data; 0 while a worker holds them.
    pub data: usize,
    /// Bytes counted against the limit of pending jobs: data, captured values, the job itself.
    pub size: usize,
    /// Bytes of result and output.
    pub result: usize,
    /// Time since it was scheduled.
    pub age: Duration,
    /// Time from scheduling to its last start.
    pub waited: Duration,
    /// How long its last attempt took.
    pub ran: Duration,
    /// Why it failed.
    pub error: Option<PluginError>,
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
    /// Where it is, and how often it was started.
    pub life: Life,
    /// The worker that ran it last.
    pub worker: u8,
    /// Whether it has left its place among the pending ones before it was handed out.
    pub place: Place,
    /// Taken by the worker while it runs.
    pub work: Option<Work>,
    /// How it is to be treated, if not like most.
    pub options: Option<Arc<JobOptions>>,
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

/// Whether a job counts as pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Held,
    /// It made room for another.
    Left,
}

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
    /// What it returned, if that is no text.
    pub value: Option<Box<Portable>>,
    pub keep: Option<Keep>,
    /// The callbacks of a script that is gone, of a job that it left on the disk.
    pub callbacks: Option<Box<Portable>>,
    pub error: Option<PluginError>,
    pub output: Vec<OutputLine>,
    pub output_cut: u64,
}

impl Job {
    /// Bytes it brings home.
    pub(super) fn brings(&self) -> usize {
        let output = |remains: &Remains| remains.output.iter().map(OutputLine::size).sum::<usize>();
        let value = |remains: &Remains| remains.value.as_ref().map_or(0, |value| value.size());
        self.result.as_ref().map_or(0, Vec::len)
            + self.remains.as_deref().map_or(0, |remains| output(remains) + value(remains))
    }

    /// How it is to be treated, if not like most.
    pub(super) fn options(&self) -> Option<&JobOptions> {
        self.options.as_deref()
    }

    /// Makes a step that its owner knows to be possible.
    pub(super) fn step(&mut self, step: Step) {
        let made = self.life.step(step);
        debug_assert!(made.is_ok(), "job {}: {made:?}", self.id);
    }

    /// What anybody may know of it.
    pub(super) fn status(&self) -> JobStatus {
        let work = self.work.as_ref();
        let data = match work {
            Some(Work::Lua { data, .. }) => data.len(),
            _ => 0,
        };
        let error = self.remains.as_deref().and_then(|remains| remains.error.as_ref());
        JobStatus {
            id: self.id,
            kind: self.kind,
            state: self.life.state(),
            attempts: self.life.attempts(),
            worker: (self.life.attempts() > 0).then_some(usize::from(self.worker)),
            function: Arc::clone(&self.function),
            data,
            size: self.size,
            result: self.brings(),
            age: self.created.elapsed(),
            waited: self.waited.into(),
            ran: self.ran.into(),
            error: error.cloned(),
        }
    }

    /// Fetches the job into the cache and makes it this processor's own, by writing what will be written anyway to each of
    /// its lines. Done to many jobs at a time their memory arrives at once, and not for one after the other.
    pub(super) fn touch(&mut self) {
        self.life = hint::black_box(self.life);
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
        self.0.life.state()
    }

    /// How often it was started.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        self.0.life.attempts()
    }

    /// How it was to be treated, if not like most.
    #[must_use]
    pub fn options(&self) -> Option<&JobOptions> {
        self.0.options()
    }

    /// Takes what the function returned, if that is no text.
    pub fn take_value(&mut self) -> Option<Box<Portable>> {
        self.0.remains.as_mut()?.value.take()
    }

    /// Takes the callbacks of the script that left the job on the disk, as a function that gives them.
    pub fn take_callbacks(&mut self) -> Option<Box<Portable>> {
        self.0.remains.as_mut()?.callbacks.take()
    }

    /// Puts a text in the place of the result.
    pub fn set_result(&mut self, text: Vec<u8>) {
        self.0.result = Some(text);
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

    /// What anybody may know of it.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        self.0.status()
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
            state: job.life.state(),
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
