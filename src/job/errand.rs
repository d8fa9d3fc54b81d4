//! Errands: what somebody outside asks of one VM, done by its thread between two batches.
//!
//! An errand is begun by its owner or withdrawn by whoever asked, whoever is first; once begun it is ended, once. The owner
//! waits for nobody: it holds a lock only to move a few words. Whoever asks waits on the errand alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Stopwatch;

use super::model::{JobId, JobIds};

/// Most errands that wait for one VM.
pub const MAX_ERRANDS: usize = 256;
/// Most functions of one VM that can be called.
pub const MAX_FUNCTIONS: usize = 256;

/// What a function is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallArguments {
    /// A list, as JSON.
    List(String),
    /// One text as it was given.
    Raw(String),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Call a function.
    Call {
        /// Its name.
        function: String,
        /// What it is called with.
        arguments: CallArguments,
    },
    /// List the jobs that failed for good and are kept.
    Letters,
    /// Schedule one of these again.
    Retry(JobId),
    /// Tell what is known of a job.
    Status(JobId),
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// A string.
    Text(Vec<u8>),
    /// Any other value, as JSON.
    Json(Vec<u8>),
}

/// Why nothing comes back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrandError {
    /// The VM takes no more.
    #[error("the run is ending or the plugin is being unloaded")]
    Closed,
    /// The VM went away first.
    #[error("the run ended or the plugin was unloaded before the answer came")]
    Gone,
    /// Too many wait already.
    #[error("{MAX_ERRANDS} calls wait for this plugin already; try again later")]
    Crowded,
    /// The owner has no room for more work.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// There is no such function.
    #[error("{0}: no such function in this VM")]
    Unknown(String),
    /// It failed, in the words of the VM.
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug)]
enum State {
    Waiting,
    Begun,
    Ended(Result<Reply, ErrandError>),
    Withdrawn,
}

/// How far an errand has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its owner has not come to it.
    Waiting,
    /// It was begun and has no answer.
    Begun,
    /// This is the answer.
    Ended(Result<Reply, ErrandError>),
}

/// One request to one VM.
#[derive(Debug)]
pub struct Errand {
    id: JobId,
    order: Order,
    state: Mutex<State>,
    changed: Condvar,
}

impl Errand {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id, one of those of the owner's jobs.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Waits for its answer, at most this long; how far it has come then.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Progress {
        let since = Stopwatch::start();
        let mut state = self.lock();
        loop {
            let left = limit.saturating_sub(since.elapsed());
            let progress = match &*state {
                State::Ended(result) => return Progress::Ended(result.clone()),
                State::Withdrawn => return Progress::Ended(Err(ErrandError::Gone)),
                State::Waiting => Progress::Waiting,
                State::Begun => Progress::Begun,
            };
            if left.is_zero() {
                return progress;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes it back; false if it was begun or has ended.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let mut state = self.lock();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Withdrawn;
            self.changed.notify_all();
        }
        waits
    }

    fn begin(&self) -> bool {
        let mut state = self.lock();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Begun;
        }
        waits
    }

    fn end(&self, result: Result<Reply, ErrandError>) {
        let mut state = self.lock();
        if matches!(*state, State::Waiting | State::Begun) {
            *state = State::Ended(result);
            self.changed.notify_all();
        }
    }
}

/// An errand in the hands of its owner. Dropped without an answer it ends as [`ErrandError::Gone`].
#[derive(Debug)]
pub struct Begun(Arc<Errand>);

impl Begun {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.id
    }

    /// What is asked.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.0.order
    }

    /// Gives the answer.
    pub fn end(self, result: Result<Reply, ErrandError>) {
        self.0.end(result);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without effect if there is an answer.
        self.0.end(Err(ErrandError::Gone));
    }
}

/// Who a function is for, and how it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name within the plugin.
    pub name: String,
    /// It may not update counters, alerts, flows and the like.
    pub no_writes: bool,
    /// It is called even if packets are being dropped or the owner has no room for more jobs.
    pub allow_when_overloaded: bool,
    /// Its argument is the one text as it was given.
    pub raw_arguments: bool,
}

impl FunctionInfo {
    /// The flags by name.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let all = [
            (self.no_writes, "no_writes"),
            (self.allow_when_overloaded, "allow_when_overloaded"),
            (self.raw_arguments, "raw_arguments"),
        ];
        all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

#[derive(Debug, Default)]
struct Queue {
    is_closed: bool,
    waiting: VecDeque<Arc<Errand>>,
}

#[derive(Debug)]
struct Inner {
    ids: JobIds,
    /// Rank of the VM among those of its thread.
    order: u32,
    /// Which block of the plugin.
    block: &'static str,
    count: AtomicUsize,
    queue: Mutex<Queue>,
    functions: Mutex<Arc<[FunctionInfo]>>,
}

/// Where errands reach one VM. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door(Arc<Inner>);

impl Door {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the thread.
    #[must_use]
    pub fn engine(&self) -> u16 {
        self.0.ids.engine()
    }

    /// Which block of the plugin the VM is of.
    #[must_use]
    pub fn block(&self) -> &'static str {
        self.0.block
    }

    /// The functions that can be called.
    #[must_use]
    pub fn functions(&self) -> Arc<[FunctionInfo]> {
        Arc::clone(&self.0.functions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says which functions can be called.
    pub fn publish(&self, functions: Vec<FunctionInfo>) {
        *self.0.functions.lock().unwrap_or_else(PoisonError::into_inner) = functions.into();
    }

    /// Hands an errand in.
    ///
    /// # Errors
    /// When the VM takes no more, or too many wait.
    pub fn ask(&self, order: Order) -> Result<Arc<Errand>, ErrandError> {
        let mut queue = self.queue();
        if queue.is_closed {
            return Err(ErrandError::Closed);
        }
        queue.waiting.retain(|errand| matches!(*errand.lock(), State::Waiting));
        if queue.waiting.len() >= MAX_ERRANDS {
            return Err(ErrandError::Crowded);
        }
        let (state, changed) = (Mutex::new(State::Waiting), Condvar::new());
        let errand = Arc::new(Errand { id: self.0.ids.next(), order, state, changed });
        queue.waiting.push_back(Arc::clone(&errand));
        self.0.count.store(queue.waiting.len(), Ordering::Release);
        Ok(errand)
    }

    /// Whether errands wait; one load.
    #[inline]
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// The next errand, begun.
    #[must_use]
    pub fn next(&self) -> Option<Begun> {
        loop {
            let errand = {
                let mut queue = self.queue();
                let errand = queue.waiting.pop_front();
                self.0.count.store(queue.waiting.len(), Ordering::Release);
                errand?
            };
            if errand.begin() {
                return Some(Begun(errand));
            }
        }
    }

    /// Takes no more; what waits is told so.
    pub fn close(&self) {
        let waiting = {
            let mut queue = self.queue();
            queue.is_closed = true;
            self.0.count.store(0, Ordering::Release);
            std::mem::take(&mut queue.waiting)
        };
        waiting.iter().for_each(|errand| errand.end(Err(ErrandError::Closed)));
    }
}

/// The doors of one plugin's VMs. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Doors(Arc<Mutex<Vec<Door>>>);

impl Doors {
    fn lock(&self) -> MutexGuard<'_, Vec<Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the door of a VM that is being loaded; nobody comes through it before [`Doors::open`].
    #[must_use]
    pub fn make(ids: &JobIds, order: u32, block: &'static str) -> Door {
        let (queue, functions, ids) = (Mutex::default(), Mutex::default(), ids.clone());
        Door(Arc::new(Inner { ids, order, block, count: AtomicUsize::new(0), queue, functions }))
    }

    /// Lets errands in.
    pub fn open(&self, door: &Door) {
        let mut doors = self.lock();
        doors.push(door.clone());
        doors.sort_by_key(|door| (door.engine(), door.0.order));
    }

    /// Closes a door for good.
    pub fn remove(&self, door: &Door) {
        self.lock().retain(|other| !Arc::ptr_eq(&other.0, &door.0));
        door.close();
    }

    /// The doors that are open, by thread and by rank.
    #[must_use]
    pub fn list(&self) -> Vec<Door> {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::{CallArguments, Door, Doors, ErrandError, MAX_ERRANDS, Order, Progress, Reply};
    use crate::job::JobIds;

    fn door() -> Door {
        Doors::make(&JobIds::new(3), 1, "simplecounter")
    }

    fn call() -> Order {
        Order::Call { function: "f".to_owned(), arguments: CallArguments::Raw(String::new()) }
    }

    #[test]
    fn an_errand_is_begun_once_and_answered_once() {
        let door = door();
        let errand = door.ask(call()).unwrap();
        assert!(door.is_asked());
        assert_eq!(errand.id().to_string(), "3-1");
        assert_eq!(errand.wait(Duration::ZERO), Progress::Waiting);
        let begun = door.next().unwrap();
        assert!(!door.is_asked() && door.next().is_none());
        assert!(!errand.withdraw(), "it is begun");
        assert_eq!(errand.wait(Duration::ZERO), Progress::Begun);
        begun.end(Ok(Reply::Text(b"x".to_vec())));
        assert_eq!(errand.wait(Duration::ZERO), Progress::Ended(Ok(Reply::Text(b"x".to_vec()))));
    }

    #[test]
    fn what_is_withdrawn_or_dropped_has_an_end() {
        let door = door();
        let (first, second) = (door.ask(call()).unwrap(), door.ask(Order::Letters).unwrap());
        assert!(first.withdraw());
        let begun = door.next().unwrap();
        assert_eq!(begun.order(), &Order::Letters);
        let waiter = thread::spawn(move || second.wait(Duration::from_secs(60)));
        drop(begun);
        assert_eq!(waiter.join().unwrap(), Progress::Ended(Err(ErrandError::Gone)));
    }

    #[test]
    fn only_so_many_wait_and_none_behind_a_closed_door() {
        let (door, doors) = (door(), Doors::default());
        doors.open(&door);
        let all: Vec<_> = (0..MAX_ERRANDS).map(|_| door.ask(call()).unwrap()).collect();
        assert_eq!(door.ask(call()).unwrap_err(), ErrandError::Crowded);
        assert!(all[7].withdraw());
        assert!(door.ask(call()).is_ok(), "what was withdrawn takes no place");
        doors.remove(&door);
        assert!(doors.list().is_empty());
        assert_eq!(all[0].wait(Duration::ZERO), Progress::Ended(Err(ErrandError::Closed)));
        assert_eq!(door.ask(call()).unwrap_err(), ErrandError::Closed);
    }
}
