//! Jobs on a disk: what the engine asks of whoever keeps them, and how a job is written down.
//!
//! The engine knows no files. [`SpillStore`] is the seam: it is called by scheduling threads, which packets may wait for, so
//! nothing of it waits but [`SpillStore::attach`], and [`SpillStore::put`] where it is told to. Answers come through
//! [`SpillReturns`].
#![expect(unsafe_code, reason = "takes up bytecode that this program has put down")]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lua::{OctetReader, Octets, Portable, Stored};

use super::options::{Backoff, Handled, JobOptions, Returns};

/// Keeps jobs for schedulers that have no room for them.
pub trait SpillStore: fmt::Debug + Send + Sync {
    /// Registers an owner, and hands over to it what earlier ones of the same plugin and block left behind. May wait.
    ///
    /// # Errors
    /// When jobs cannot be kept; the text says why, and what to do about it.
    fn attach(&self, plugin: &str, block: &str, returns: Arc<SpillReturns>) -> Result<Attached, String>;

    /// Takes a job; gives its place, which rises from job to job. Whether it reached the disk is told later, if it did not.
    ///
    /// # Errors
    /// When it is not taken.
    fn put(&self, owner: u64, job: PutJob, pace: SpillPace) -> Result<u64, SpillRefused>;

    /// Takes jobs off the disk; they come back through the returns of their owner.
    fn fetch(&self, owner: u64, places: Vec<u64>);

    /// Forgets a job.
    fn discard(&self, place: u64);

    /// The owner is gone: what survives it may be taken up by the next one, the rest is forgotten.
    fn release(&self, owner: u64);
}

/// What an owner begins with.
#[derive(Debug, Default)]
pub struct Attached {
    /// Its number.
    pub owner: u64,
    /// Jobs that were left behind, the oldest first.
    pub left: Vec<LeftJob>,
}

/// A job that an earlier owner left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftJob {
    /// Its place.
    pub place: u64,
    /// Bytes on the disk.
    pub size: usize,
    /// Where its function begins.
    pub function: String,
}

/// A job to be kept.
#[derive(Debug)]
pub struct PutJob {
    /// The job.
    pub bytes: Vec<u8>,
    /// Where its function begins.
    pub function: Arc<str>,
    /// What becomes of it when its owner is gone.
    pub fate: SpillFate,
}

/// What becomes of a job on the disk when its owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillFate {
    /// The next owner takes it up.
    Survives,
    /// It is forgotten.
    EndsWithOwner,
}

/// Whether a thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillPace {
    /// Until there is room.
    Wait,
    /// Packets wait for it.
    Never,
}

/// Why a job is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillRefused {
    /// What was put before has not reached the disk yet.
    Slow,
    /// Nothing is kept any more.
    Closed,
}

/// What comes back of a job.
#[derive(Debug, PartialEq, Eq)]
pub enum SpillAnswer {
    /// The job, which is on the disk no longer.
    Job(Vec<u8>),
    /// It never reached the disk: why.
    Unwritten(String),
    /// It cannot be read: why.
    Unread(String),
}

/// Where answers come in.
#[derive(Debug, Default)]
pub struct SpillReturns {
    list: Mutex<HashMap<u64, SpillAnswer>>,
    came: Condvar,
}

impl SpillReturns {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, SpillAnswer>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer.
    pub fn give(&self, place: u64, answer: SpillAnswer) {
        self.lock().insert(place, answer);
        self.came.notify_all();
    }

    /// Takes everything that has come.
    pub(super) fn take(&self, into: &mut HashMap<u64, SpillAnswer>) {
        into.extend(self.lock().drain());
    }

    /// Waits until something has come, or for so long.
    pub(super) fn wait(&self, limit: Duration) {
        let list = self.lock();
        if list.is_empty() {
            drop(self.came.wait_timeout(list, limit).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// A job as it is written down.
#[derive(Debug)]
pub(super) struct Written {
    pub function: Portable,
    pub data: Vec<u8>,
    pub timeout: Option<Duration>,
    pub options: Option<Arc<JobOptions>>,
    /// Callbacks and data of the script, as a function that gives them.
    pub callbacks: Option<Box<Portable>>,
}

/// Why bytes are no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAJob {
    #[error("another version of the program put it on the disk")]
    OtherBuild,
    #[error("what is on the disk is damaged")]
    Damaged,
}

/// The job as bytes: a check sum, the mark of the VM's bytecode, then the parts.
pub(super) fn write(job: &Written, mark: u32) -> Vec<u8> {
    let mut out = Octets::default();
    out.word(mark);
    out.long(job.timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX - 1)));
    out.text(&job.data);
    out.text(&job.function.put_down());
    match &job.callbacks {
        Some(callbacks) => out.text(&callbacks.put_down()),
        None => out.word(0),
    }
    out.byte(u8::from(job.options.is_some()));
    if let Some(options) = &job.options {
        write_options(&mut out, options);
    }
    let body = out.into_bytes();
    let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

fn write_options(out: &mut Octets, options: &JobOptions) {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let JobOptions { retries, backoff, key, priority, returns, handled, name } = options;
    out.word(u32::from(*retries));
    let (kind, first, most) = match *backoff {
        Backoff::None => (0, 0, 0),
        Backoff::Fixed(pause) => (1, nanos(pause), 0),
        Backoff::Exponential { first, most } => (2, nanos(first), nanos(most)),
    };
    out.byte(kind);
    out.long(first);
    out.long(most);
    for text in [key.as_deref(), name.as_deref().map(str::as_bytes)] {
        out.byte(u8::from(text.is_some()));
        out.text(text.unwrap_or_default());
    }
    out.byte(*priority as u8);
    out.byte(u8::from(*returns == Returns::Any));
    out.byte(u8::from(handled.errors()) + 2 * u8::from(handled.timeouts()));
}

/// The job that was written; the store of a run vouches for the bytes.
pub(super) fn read(bytes: &[u8], mark: u32, stored: &mut Stored) -> Result<Written, NotAJob> {
    let (sum, body) = bytes.split_first_chunk::<4>().ok_or(NotAJob::Damaged)?;
    if u32::from_le_bytes(*sum) != crc32fast::hash(body) {
        return Err(NotAJob::Damaged);
    }
    let mut input = OctetReader::new(body);
    if input.word().ok_or(NotAJob::Damaged)? != mark {
        return Err(NotAJob::OtherBuild);
    }
    parts(&mut input, stored).ok_or(NotAJob::Damaged)
}

fn parts(input: &mut OctetReader<'_>, stored: &mut Stored) -> Option<Written> {
    let nanos = input.long()?;
    let timeout = (nanos != u64::MAX).then(|| Duration::from_nanos(nanos));
    let data = input.text()?.to_vec();
    let function = input.text()?;
    // SAFETY: the check sum and the mark say that `write` of a build like this one made the bytes, and the file they were
    // kept in belongs to the user of this process and can be written by nobody else, which its opener has made sure of.
    let function = unsafe { stored.take_up(function) }?;
    let callbacks = input.text()?;
    let callbacks = if callbacks.is_empty() {
        None
    } else {
        // SAFETY: as above.
        Some(Box::new(unsafe { stored.take_up(callbacks) }?))
    };
    let options = if input.byte()? == 0 { None } else { Some(Arc::new(read_options(input)?)) };
    Some(Written { function, data, timeout, options, callbacks })
}

fn read_options(input: &mut OctetReader<'_>) -> Option<JobOptions> {
    let retries = u16::try_from(input.word()?).ok()?;
    let (kind, first, most) = (input.byte()?, input.long()?, input.long()?);
    let backoff = match kind {
        0 => Backoff::None,
        1 => Backoff::Fixed(Duration::from_nanos(first)),
        _ => Backoff::Exponential { first: Duration::from_nanos(first), most: Duration::from_nanos(most) },
    };
    let text = |input: &mut OctetReader<'_>| {
        let is_there = input.byte()? != 0;
        let text = input.text()?.to_vec();
        Some(is_there.then_some(text))
    };
    let (key, name) = (text(input)?, text(input)?);
    let (priority, returns) = (input.byte()? as i8, input.byte()?);
    let handled = match input.byte()? {
        0 => Handled::Nothing,
        1 => Handled::Errors,
        2 => Handled::Timeouts,
        _ => Handled::Both,
    };
    Some(JobOptions {
        retries,
        backoff,
        key: key.map(Vec::into_boxed_slice),
        priority,
        returns: if returns == 0 { Returns::Text } else { Returns::Any },
        handled,
        name: name.map(|name| Arc::from(String::from_utf8_lossy(&name))),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use mlua::{Function, Lua};

    use super::{NotAJob, Written, read, write};
    use crate::job::{Backoff, Handled, JobOptions, Returns};
    use crate::lua::{Packer, Portable, Stored};

    fn portable(text: &str) -> Portable {
        // SAFETY: the whole standard library, as plugins have it; nothing of it is misused here.
        let lua = unsafe { Lua::unsafe_new() };
        let mut packer = Packer::new(&lua).unwrap();
        let function: Function = lua.load(text).call(()).unwrap();
        packer.pack(&lua, &function).unwrap().portable
    }

    #[test]
    fn a_job_is_read_as_it_was_written_and_not_at_all_if_a_bit_differs() {
        let options = JobOptions {
            retries: 3,
            backoff: Backoff::Exponential { first: Duration::from_millis(5), most: Duration::from_secs(9) },
            key: Some(Box::from(&b"k\0"[..])),
            priority: -7,
            returns: Returns::Any,
            handled: Handled::Timeouts,
            name: Some(Arc::from("p.lua:7")),
        };
        let job = Written {
            function: portable("local x = 5 return function() return x end"),
            data: b"data".to_vec(),
            timeout: Some(Duration::from_millis(250)),
            options: Some(Arc::new(options.clone())),
            callbacks: Some(Box::new(portable("return function() return {} end"))),
        };
        let bytes = write(&job, 7);
        let mut stored = Stored::default();
        let back = read(&bytes, 7, &mut stored).unwrap();
        assert_eq!((back.data, back.timeout), (job.data, job.timeout));
        assert_eq!(format!("{:?}", back.options.unwrap()), format!("{options:?}"));
        assert_eq!(back.function.put_down(), job.function.put_down());
        assert_eq!(back.callbacks.unwrap().put_down(), job.callbacks.unwrap().put_down());
        assert_eq!(read(&bytes, 8, &mut stored).err(), Some(NotAJob::OtherBuild));
        for at in [0, 5, 30, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(read(&other, 7, &mut stored).err(), Some(NotAJob::Damaged), "{at}");
        }
        assert_eq!(read(b"", 7, &mut stored).err(), Some(NotAJob::Damaged));
    }
}
