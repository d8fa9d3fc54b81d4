//! Files that were opened anew, on their way to the thread that writes them.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use super::lookout;

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

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next<I> {
    /// It takes what was opened.
    Renew,
    /// It writes this.
    Item(I),
    /// Nothing more will come.
    Over,
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
    /// Waits until there is something to be written, or to be written anew.
    pub fn next<I>(&self, queue: &Receiver<I>) -> Next<I> {
        if self.asked.try_recv().is_ok() {
            return Next::Renew;
        }
        match lookout::next(queue, lookout::PATIENCE) {
            Ok(item) => Next::Item(item),
            Err(RecvTimeoutError::Disconnected) => Next::Over,
            Err(RecvTimeoutError::Timeout) => select! {
                recv(self.asked) -> request => match request {
                    Ok(()) => Next::Renew,
                    // Nobody can ask any more.
                    Err(_) => queue.recv().map_or(Next::Over, Next::Item),
                },
                recv(queue) -> item => item.map_or(Next::Over, Next::Item),
            },
        }
    }

    /// What to go on with, if it is not what is written already.
    pub fn take(&self) -> Option<T> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
