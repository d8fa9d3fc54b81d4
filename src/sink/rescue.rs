//! What an output can still write when its senders do not come back: a thread that is stuck in a script keeps for ever what it
//! has not handed over, unless others can reach it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::time::Stopwatch;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Writes what senders have made so far, for a process that ends without them; waits no longer than that.
pub type Save = Box<dyn Fn(Duration) + Send + Sync>;

/// What a sender has not handed over.
pub(super) type Shelf<P> = Arc<Mutex<P>>;

/// What lies on a shelf.
pub(super) fn lock<P>(shelf: &Shelf<P>) -> MutexGuard<'_, P> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to the writer of an output, and the shelves of its senders. Clones share both.
pub(super) struct Rescue<P, I> {
    inner: Arc<Inner<P, I>>,
    /// What the writer gets of what lay on a shelf.
    parcel_of: fn(P) -> Option<I>,
}

struct Inner<P, I> {
    /// Nothing once the output is closed: the writer ends when the last way to it is gone.
    queue: Mutex<Option<Sender<I>>>,
    shelves: Mutex<Vec<Weak<Mutex<P>>>>,
}

impl<P, I> fmt::Debug for Rescue<P, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rescue").finish_non_exhaustive()
    }
}

impl<P, I> Clone for Rescue<P, I> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), parcel_of: self.parcel_of }
    }
}

impl<P: Default, I: Default> Rescue<P, I> {
    /// For the queue of a writer that begins nothing before it has finished the parcel before, and makes nothing of one that
    /// is empty.
    pub fn new(queue: Sender<I>, parcel_of: fn(P) -> Option<I>) -> Self {
        Self { inner: Arc::new(Inner { queue: Mutex::new(Some(queue)), shelves: Mutex::default() }), parcel_of }
    }

    fn queue(&self) -> Option<Sender<I>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For one more sender.
    pub fn sender(&self) -> (Sender<I>, Shelf<P>) {
        let queue = self.queue().expect("the queue is there until the output is closed");
        let shelf = Shelf::default();
        let mut shelves = self.inner.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Arc::downgrade(&shelf));
        (queue, shelf)
    }

    /// Nothing more will be sent from here.
    pub fn close(&self) {
        *self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Hands over what lies on all shelves, and waits until the writer is done with it.
    pub fn save(&self, limit: Duration) {
        let Some(queue) = self.queue() else { return };
        let since = Stopwatch::start();
        let left = || limit.saturating_sub(since.elapsed());
        let shelves = self.inner.shelves.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for shelf in shelves.iter().filter_map(Weak::upgrade) {
            let parcel = take(&shelf, &left).and_then(self.parcel_of);
            if parcel.is_some_and(|parcel| queue.send_timeout(parcel, left()).is_err()) {
                return;
            }
        }
        // Once this one is taken, all others are written.
        if queue.send_timeout(I::default(), left()).is_err() {
            return;
        }
        while !queue.is_empty() && !left().is_zero() {
            thread::sleep(LOOK);
        }
    }
}

/// What lies on a shelf, which its sender may just be about to put something on.
fn take<P: Default>(shelf: &Shelf<P>, left: &impl Fn() -> Duration) -> Option<P> {
    loop {
        match shelf.try_lock() {
            Ok(mut lying) => return Some(std::mem::take(&mut *lying)),
            Err(TryLockError::Poisoned(lying)) => return Some(std::mem::take(&mut *lying.into_inner())),
            Err(TryLockError::WouldBlock) if left().is_zero() => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::{Rescue, lock};
    use crate::time::Stopwatch;

    const LONG: Duration = Duration::from_secs(60);

    fn full(parcel: Vec<u8>) -> Option<Vec<u8>> {
        (!parcel.is_empty()).then_some(parcel)
    }

    #[test]
    fn what_senders_keep_is_written_before_it_returns() {
        let (queue, parcels) = bounded::<Vec<u8>>(1);
        let rescue = Rescue::new(queue, full);
        let (first, second, third) = (rescue.sender(), rescue.sender(), rescue.sender());
        lock(&first.1).extend(b"one");
        lock(&third.1).extend(b"two");
        drop(second);
        let writer = thread::spawn(move || {
            let mut written: Vec<Vec<u8>> = Vec::new();
            while let Ok(parcel) = parcels.recv() {
                thread::sleep(Duration::from_millis(5));
                written.push(parcel);
                if written.len() == 3 {
                    return (written, parcels.is_empty());
                }
            }
            (written, false)
        });
        rescue.save(LONG);
        let (written, is_all) = writer.join().unwrap();
        assert_eq!(written, [b"one".to_vec(), b"two".to_vec(), Vec::new()]);
        assert!(is_all && lock(&first.1).is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_or_for_what_is_closed() {
        let (queue, parcels) = bounded::<Vec<u8>>(1);
        let rescue = Rescue::new(queue, full);
        let sender = rescue.sender();
        lock(&sender.1).extend(b"one");
        let since = Stopwatch::start();
        rescue.save(Duration::from_millis(20));
        assert_eq!(parcels.try_recv().unwrap(), b"one");
        let held = lock(&sender.1);
        rescue.save(Duration::from_millis(20));
        drop(held);
        assert!(since.elapsed() < LONG);
        drop(sender);
        rescue.close();
        rescue.save(LONG);
        assert!(parcels.iter().all(|parcel| parcel.is_empty()), "the way to the writer is gone");
        assert!(since.elapsed() < LONG);
    }
}
