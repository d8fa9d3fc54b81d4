//! Atomic sections: a worker asks the owner of its job to run a function between two batches, and waits for what it returns.
//!
//! A section is begun by its owner or withdrawn by its worker, whoever is first; once begun it is finished. Neither waits
//! for the other with a lock held.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lua::Portable;
use crate::time::Stopwatch;

use super::board::Carried;
use super::model::JobId;

/// Most sections that wait for one owner.
pub(super) const MAX_SECTIONS: usize = 1024;

/// How long a worker looks for the end of its section before it sleeps: waking it takes longer than a short section.
const LOOK: Duration = Duration::from_micros(60);

/// Why a section was not run, or what went wrong in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// Its owner takes no more: the run ends.
    #[error("the owner of the job is shutting down")]
    ShuttingDown,
    /// The VM that scheduled the job is gone.
    #[error("the plugin was reloaded or removed")]
    Unloaded,
    /// Too many wait already.
    #[error("{MAX_SECTIONS} atomic sections are waiting already")]
    Crowded,
    /// The owner did not come to it in time.
    #[error("the owner did not come to it within {0:?}")]
    TooLate(Duration),
    /// The job has ended meanwhile.
    #[error("the job was cancelled")]
    Cancelled,
    /// The function failed.
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug)]
enum State {
    Waiting,
    Running,
    Finished(Option<Result<Carried, SectionError>>),
    Withdrawn,
}

/// One request of a worker.
#[derive(Debug)]
pub struct Section {
    job: JobId,
    function: Portable,
    state: Mutex<State>,
    /// Set with [`State::Finished`], for a worker that looks instead of sleeping.
    is_finished: AtomicBool,
    changed: Condvar,
}

impl Section {
    pub(super) fn new(job: JobId, function: Portable) -> Arc<Self> {
        Arc::new(Self {
            job,
            function,
            state: Mutex::new(State::Waiting),
            is_finished: AtomicBool::new(false),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job that asks.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// What is to be run.
    #[must_use]
    pub fn function(&self) -> &Portable {
        &self.function
    }

    /// The owner begins it; false if nobody waits for it any more.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut state = self.lock();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Running;
        }
        waits
    }

    /// Gives the worker what came of it.
    pub fn finish(&self, result: Result<Carried, SectionError>) {
        let mut state = self.lock();
        if matches!(*state, State::Waiting | State::Running) {
            *state = State::Finished(Some(result));
            self.is_finished.store(true, Ordering::Release);
            self.changed.notify_all();
        }
    }

    /// Waits for the end. `go_on` is asked every few milliseconds; when it says why not, a section that has not begun is
    /// withdrawn.
    pub(super) fn wait(
        &self,
        pause: Duration,
        mut go_on: impl FnMut() -> Result<(), SectionError>,
    ) -> Result<Carried, SectionError> {
        let watch = Stopwatch::start();
        while !self.is_finished.load(Ordering::Acquire) && watch.elapsed() < LOOK {
            spin_loop();
        }
        let mut state = self.lock();
        loop {
            if let State::Finished(result) = &mut *state {
                return result.take().unwrap_or(Err(SectionError::Cancelled));
            }
            let waits = matches!(*state, State::Waiting);
            if let Err(error) = go_on()
                && waits
            {
                *state = State::Withdrawn;
                return Err(error);
            }
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SECTIONS, Section, SectionError};
    use crate::job::JobIds;
    use crate::job::completion::CompletionQueue;
    use crate::lua::{Packer, Vm, VmOptions};

    #[test]
    fn one_more_than_1024_sections_is_refused_until_one_was_taken() {
        let name = "plugin.lua".to_owned();
        let vm = Vm::new(&VmOptions { name, memory_limit: 16 << 20, package_path: Vec::new() }).unwrap();
        let function = vm.lua().load("return function() end").call(()).unwrap();
        let portable = Packer::new(vm.lua()).unwrap().pack(vm.lua(), &function).unwrap().portable;
        let (ids, home) = (JobIds::new(0), CompletionQueue::default());
        let section = || Section::new(ids.next(), portable.clone());
        let first = section();
        home.ask(&first).unwrap();
        (1..MAX_SECTIONS).for_each(|_| home.ask(&section()).unwrap());
        assert_eq!(home.ask(&section()), Err(SectionError::Crowded));
        assert_eq!(home.take_section().unwrap().job(), first.job(), "the oldest job comes first");
        home.ask(&section()).unwrap();
        assert_eq!(home.ask(&section()), Err(SectionError::Crowded));
    }
}
