//! Files that were opened anew, on their way to the thread that writes them.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The end of whoever opens; for any thread.
#[derive(Debug)]
pub(super) struct Renewal<T> {
    latest: Arc<Mutex<Option<T>>>,
    requests: Sender<()>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Renewed<T> {
    latest: Arc<Mutex<Option<T>>>,
    asked: Receiver<()>,
}

/// Both ends.
pub(super) fn renewal<T>() -> (Renewal<T>, Renewed<T>) {
    let latest = Arc::default();
    let (requests, asked) = bounded(1);
    (Renewal { latest: Arc::clone(&latest), requests }, Renewed { latest, asked })
}

impl<T> Renewal<T> {
    /// The writer is to go on with this; the latest counts.
    pub fn give(&self, opened: T) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        // One request that waits is as good as two.
        let _ = self.requests.try_send(());
    }
}

impl<T> Clone for Renewal<T> {
    fn clone(&self) -> Self {
        Self { latest: Arc::clone(&self.latest), requests: self.requests.clone() }
    }
}

impl<T> Renewed<T> {
    /// Where requests come in.
    pub const fn asked(&self) -> &Receiver<()> {
        &self.asked
    }

    /// What to go on with, if it is not what is written already.
    pub fn take(&self) -> Option<T> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
