//! Deferred executions: who may still complete which, from whatever thread.
//!
//! An entry is taken off the board once. Whoever takes it decides how the execution ends, so that it ends once although
//! scripts, workers, an operator and its own time-out may all try. On files the time-out is a matter of packet time and a
//! worker is not: there, what comes from another thread only lays claim to the entry, and the owner takes it off where
//! results are handed out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::lua::Portable;

use super::completion::CompletionQueue;
use super::delivery::Delivery;
use super::model::JobId;

/// What a completed execution was completed with.
#[derive(Debug)]
pub enum Carried {
    /// Nothing.
    Nothing,
    /// A string.
    Text(Vec<u8>),
    /// A function that returns the value.
    Value(Box<Portable>),
}

/// How a deferred execution is completed.
#[derive(Debug)]
pub enum Verdict {
    /// With a result.
    Resolve(Carried),
    /// With an error.
    Reject(Vec<u8>),
    /// Without a word.
    Abort,
}

/// Who completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A VM of this engine.
    Engine(u16),
    /// A worker, or somebody outside.
    Elsewhere,
}

/// A completion on its way to the owner.
#[derive(Debug)]
pub struct Letter {
    /// The execution.
    pub id: JobId,
    /// How it is completed.
    pub verdict: Verdict,
    /// Whether the entry is off the board already.
    pub(super) decided: Decided,
}

/// Whether a completion stands, or the owner has yet to see to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    Yes,
    ByOwner,
}

#[derive(Debug)]
struct Entry {
    home: Arc<CompletionQueue>,
    engine: u16,
    delivery: Delivery,
    claimed: bool,
}

/// The deferred executions of a run. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<HashMap<JobId, Entry, RandomState>>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Entry, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an execution on the board.
    pub(super) fn open(&self, id: JobId, home: &Arc<CompletionQueue>, delivery: Delivery) {
        let entry = Entry { home: Arc::clone(home), engine: id.engine(), delivery, claimed: false };
        self.lock().insert(id, entry);
    }

    /// Completes an execution; false if it is unknown, has ended, or somebody else has completed it.
    #[must_use]
    pub fn complete(&self, id: JobId, party: Party, verdict: Verdict) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&id) else { return false };
        if entry.claimed {
            return false;
        }
        let home = Arc::clone(&entry.home);
        let decided = if entry.delivery == Delivery::InOrder && party != Party::Engine(entry.engine) {
            entry.claimed = true;
            Decided::ByOwner
        } else {
            entries.remove(&id);
            Decided::Yes
        };
        drop(entries);
        home.post(Letter { id, verdict, decided })
    }

    /// Takes an execution off the board, for its owner; false if somebody else has.
    pub(super) fn withdraw(&self, id: JobId) -> bool {
        self.lock().remove(&id).is_some()
    }

    /// Takes off everything that belongs to an owner who goes; gives how much that was.
    pub(super) fn forget(&self, home: &Arc<CompletionQueue>) -> usize {
        let mut entries = self.lock();
        let before = entries.len();
        entries.retain(|_, entry| !Arc::ptr_eq(&entry.home, home));
        before - entries.len()
    }

    /// The executions that are open, in the order of their ids.
    #[must_use]
    pub fn open_ids(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.lock().keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::{Board, Party, Verdict};
    use crate::job::completion::CompletionQueue;
    use crate::job::{Delivery, JobIds};

    #[test]
    fn of_two_threads_that_complete_the_same_execution_one_does() {
        let (board, home, ids) = (Board::default(), Arc::<CompletionQueue>::default(), JobIds::new(0));
        for delivery in [Delivery::AsFinished, Delivery::InOrder] {
            for _ in 0..200 {
                let id = ids.next();
                board.open(id, &home, delivery);
                let (won, start) = (AtomicUsize::new(0), Barrier::new(3));
                thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            start.wait();
                            if board.complete(id, Party::Elsewhere, Verdict::Abort) {
                                won.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                    start.wait();
                });
                assert_eq!(won.load(Ordering::Relaxed), 1);
                assert_eq!(home.take_mail(|_| true).len(), 1);
                board.withdraw(id);
            }
        }
    }

    #[test]
    fn on_files_the_time_of_packets_comes_before_what_a_worker_says() {
        let (board, home, ids) = (Board::default(), Arc::<CompletionQueue>::default(), JobIds::new(2));
        let id = ids.next();
        board.open(id, &home, Delivery::InOrder);
        assert!(board.complete(id, Party::Elsewhere, Verdict::Abort), "the claim is taken down");
        assert!(!board.complete(id, Party::Engine(2), Verdict::Abort), "the first claim counts");
        assert!(board.withdraw(id), "but the owner's time-out comes first");
        assert!(!board.withdraw(id));
        let id = ids.next();
        board.open(id, &home, Delivery::InOrder);
        assert!(board.complete(id, Party::Engine(2), Verdict::Abort));
        assert!(!board.withdraw(id), "what its own engine says stands");
    }

    #[test]
    fn nothing_reaches_an_owner_that_is_gone() {
        let (board, home, ids) = (Board::default(), Arc::<CompletionQueue>::default(), JobIds::new(0));
        let id = ids.next();
        board.open(id, &home, Delivery::AsFinished);
        home.close();
        assert!(!board.complete(id, Party::Elsewhere, Verdict::Abort));
        assert!(board.open_ids().is_empty());
    }
}
