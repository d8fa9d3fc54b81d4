//! Jobs that ended when nobody was left who could hear of it: told of by whoever looks after the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::model::{Job, JobId, JobKind};

/// Most of them that are kept until they are told of; further ones are counted only.
const MAX_ORPHANS: usize = 100_000;

/// A job whose end nobody heard of.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The job.
    pub id: JobId,
    /// What it was.
    pub kind: JobKind,
    /// Where its function begins.
    pub function: Arc<str>,
    /// How often it was started.
    pub attempts: u16,
}

/// Those of a pool that were not told of yet.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    list: Mutex<Vec<Orphan>>,
    /// So that looking is one load.
    any: AtomicBool,
}

impl Orphans {
    pub(super) fn add(&self, job: &Job) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < MAX_ORPHANS {
            let (kind, attempts) = (job.kind, job.life.attempts());
            list.push(Orphan { id: job.id, kind, function: Arc::clone(&job.function), attempts });
            self.any.store(true, Ordering::Release);
        }
    }

    /// Each is given once.
    pub(super) fn take(&self) -> Vec<Orphan> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
