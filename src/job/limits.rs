//! How much the jobs of one plugin may take, and those of all plugins together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::spill::SpillStore;

/// Limits of the jobs of every plugin of a run, and what they share.
#[derive(Clone, Debug)]
pub struct JobLimits {
    /// Most worker threads of one plugin.
    pub workers: usize,
    /// Most jobs of one plugin that are pending.
    pub jobs: usize,
    /// Most bytes of data that these hold.
    pub bytes: usize,
    /// Most bytes of one result.
    pub result: usize,
    /// Most bytes of results and output of one plugin that wait for delivery.
    pub results: usize,
    /// Most child processes of one plugin at a time.
    pub children: usize,
    /// Worker threads of all plugins together. Each plugin has one in any case.
    pub all_workers: Arc<Allowance>,
    /// Child processes of all plugins together.
    pub all_children: Arc<Allowance>,
    /// Where jobs go for which there is no room, if anywhere.
    pub spill: Option<Arc<dyn SpillStore>>,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            workers: 64,
            jobs: 100_000,
            bytes: 256 << 20,
            result: 16 << 20,
            results: 256 << 20,
            children: 256,
            all_workers: Allowance::of(256),
            all_children: Allowance::of(1024),
            spill: None,
        }
    }
}

/// A number of things that may be there at a time.
#[derive(Debug)]
pub struct Allowance {
    most: usize,
    taken: AtomicUsize,
}

impl Allowance {
    /// So many.
    #[must_use]
    pub fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0) })
    }

    /// One of them, until it is dropped; nothing if all are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let below = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// One of them even if all are taken.
    #[must_use]
    pub fn take_anyway(self: &Arc<Self>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(self))
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many there are.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }
}

/// What was taken of an [`Allowance`].
#[derive(Debug)]
pub struct Permit(Arc<Allowance>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Allowance;

    #[test]
    fn what_is_taken_comes_back_with_the_permit() {
        let allowance = Allowance::of(2);
        let (one, two) = (allowance.take(), allowance.take());
        assert!(one.is_some() && two.is_some() && allowance.take().is_none());
        let more = allowance.take_anyway();
        assert_eq!((allowance.taken(), allowance.most()), (3, 2));
        drop((one, more));
        assert!(allowance.take().is_some());
        drop(two);
        assert_eq!(allowance.taken(), 0);
    }
}
