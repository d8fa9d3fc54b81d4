//! What an output can still write when its senders do not come back: a thread that is stuck in a script keeps for ever what it
//! has not handed over, unless others can reach it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use crossbeam_utils::atomic::AtomicCell;

use crate::time::Stopwatch;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Writes what senders have made so far, for a process that ends without them; waits no longer than that.
pub type Save = Box<dyn Fn(Duration) + Send + Sync>;

/// Where it lies while its sender puts nothing there; nothing while the sender has it.
type Shelf<P> = AtomicCell<Option<Box<P>>>;

/// What a sender has not handed over: its own alone while it puts something there, within the reach of others in between.
/// Neither side takes a lock or waits for the other.
pub(super) struct Held<P> {
    /// Nothing while it lies on the shelf.
    open: Option<Box<P>>,
    shelf: Arc<Shelf<P>>,
}

impl<P: Default> Default for Held<P> {
    fn default() -> Self {
        const { assert!(Shelf::<P>::is_lock_free(), "a pointer is exchanged at once") };
        Self { open: None, shelf: Arc::new(AtomicCell::new(Some(Box::default()))) }
    }
}

impl<P> fmt::Debug for Held<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl<P: Default> Held<P> {
    /// What is held, for its sender to put something there.
    #[inline]
    pub fn open(&mut self) -> &mut P {
        self.open.get_or_insert_with(|| take_up(&self.shelf))
    }

    /// Nothing is put there for a while: the sender waits, or scripts run that may not come back.
    #[inline]
    pub fn rest(&mut self) {
        if let Some(held) = self.open.take() {
            self.shelf.store(Some(held));
        }
    }
}

#[cold]
fn take_up<P: Default>(shelf: &Shelf<P>) -> Box<P> {
    // Of a process that ends others have taken what there was.
    shelf.take().unwrap_or_default()
}

/// The way to the writer of an output, and what its senders hold. Clones share both.
pub(super) struct Rescue<P, I> {
    inner: Arc<Inner<P, I>>,
    /// What the writer gets of what was held.
    parcel_of: fn(P) -> Option<I>,
}

struct Inner<P, I> {
    /// Nothing once the output is closed: the writer ends when the last way to it is gone.
    queue: Mutex<Option<Sender<I>>>,
    shelves: Mutex<Vec<Weak<Shelf<P>>>>,
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
    pub fn sender(&self) -> (Sender<I>, Held<P>) {
        let queue = self.queue().expect("the queue is there until the output is closed");
        let held = Held::default();
        let mut shelves = self.inner.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Arc::downgrade(&held.shelf));
        (queue, held)
    }

    /// Nothing more will be sent from here.
    pub fn close(&self) {
        *self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Hands over what all senders hold, and waits until the writer is done with it.
    pub fn save(&self, limit: Duration) {
        let Some(queue) = self.queue() else { return };
        let since = Stopwatch::start();
        let left = || limit.saturating_sub(since.elapsed());
        // A sender that puts something there now has done so soon, or waits for somebody itself.
        let patience = || (limit / 4).saturating_sub(since.elapsed());
        let shelves = self.inner.shelves.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for shelf in shelves.iter().filter_map(Weak::upgrade) {
            let parcel = take(&shelf, &patience).and_then(self.parcel_of);
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

/// What lies on a shelf, as soon as it does.
fn take<P>(shelf: &Shelf<P>, left: &impl Fn() -> Duration) -> Option<P> {
    loop {
        match shelf.take() {
            Some(held) => return Some(*held),
            None if left().is_zero() => return None,
            None => thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::{Held, Rescue};
    use crate::time::Stopwatch;

    const LONG: Duration = Duration::from_secs(60);

    fn full(parcel: Vec<u32>) -> Option<Vec<u32>> {
        (!parcel.is_empty()).then_some(parcel)
    }

    fn put(held: &mut Held<Vec<u32>>, number: u32) {
        held.open().push(number);
        held.rest();
    }

    #[test]
    fn what_senders_hold_is_written_before_it_returns() {
        let (queue, parcels) = bounded::<Vec<u32>>(1);
        let rescue = Rescue::new(queue, full);
        let (mut first, second, mut third) = (rescue.sender(), rescue.sender(), rescue.sender());
        put(&mut first.1, 1);
        put(&mut third.1, 2);
        drop(second);
        let writer = thread::spawn(move || {
            let mut written: Vec<Vec<u32>> = Vec::new();
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
        assert_eq!(written, [vec![1], vec![2], Vec::new()]);
        assert!(is_all && first.1.open().is_empty());
    }

    #[test]
    fn what_a_sender_is_at_is_waited_for() {
        let (queue, parcels) = bounded::<Vec<u32>>(8);
        let rescue = Rescue::new(queue, full);
        let mut sender = rescue.sender();
        sender.1.open().push(1);
        let sender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            put(&mut sender.1, 2);
            sender
        });
        let writer = thread::spawn(move || parcels.iter().take(2).collect::<Vec<_>>());
        rescue.save(LONG);
        assert_eq!(writer.join().unwrap(), [vec![1, 2], Vec::new()]);
        sender.join().unwrap();
    }

    #[test]
    fn one_that_never_rests_keeps_its_own_alone() {
        let (queue, parcels) = bounded::<Vec<u32>>(8);
        let rescue = Rescue::new(queue, full);
        let (mut first, mut second) = (rescue.sender(), rescue.sender());
        first.1.open().push(1);
        put(&mut second.1, 2);
        rescue.save(Duration::from_millis(40));
        assert_eq!(parcels.try_iter().collect::<Vec<_>>(), [vec![2], Vec::new()]);
    }

    #[test]
    fn each_thing_is_handed_over_once_whoever_does_it() {
        const COUNT: u32 = 20_000;
        let (queue, parcels) = bounded::<Vec<u32>>(8);
        let rescue = Rescue::new(queue, full);
        let (queue, mut held) = rescue.sender();
        let sender = thread::spawn(move || {
            for number in 0..COUNT {
                put(&mut held, number);
            }
            queue.send(std::mem::take(held.open())).unwrap();
            held.rest();
        });
        let writer = thread::spawn(move || parcels.iter().flatten().collect::<Vec<u32>>());
        while !sender.is_finished() {
            rescue.save(Duration::from_millis(4));
        }
        sender.join().unwrap();
        rescue.close();
        let mut written = writer.join().unwrap();
        written.sort_unstable();
        assert!(written.into_iter().eq(0..COUNT));
    }

    #[test]
    fn nobody_waits_for_ever_or_for_what_is_closed() {
        let (queue, parcels) = bounded::<Vec<u32>>(1);
        let rescue = Rescue::new(queue, full);
        let mut sender = rescue.sender();
        put(&mut sender.1, 1);
        let since = Stopwatch::start();
        rescue.save(Duration::from_millis(20));
        assert_eq!(parcels.try_recv().unwrap(), [1]);
        sender.1.open().push(2);
        rescue.save(Duration::from_millis(20));
        assert!(since.elapsed() < LONG);
        drop(sender);
        rescue.close();
        rescue.save(LONG);
        assert!(parcels.iter().all(|parcel| parcel.is_empty()), "the way to the writer is gone");
        assert!(since.elapsed() < LONG);
    }
}
