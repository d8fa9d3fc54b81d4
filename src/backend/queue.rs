//! The way of parcels to a backend on a thread of its own, and that thread.
//!
//! The queue is bounded. Over files an engine waits for room. Live it never does: a second for which there is no room is
//! put together with the next one, and what such a second holds is limited as well; what is left out is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::cycle::Backend;
use super::inbox::{Inbox, Patience};
use super::outlet::BackendOutlet;
use super::parcel::{NO_TIME, Parcel, Phase};
use crate::api::{Letter, Peers};

/// Parcels in the queue.
pub const QUEUE: usize = 16;
/// Items and groups of keys that a second which waits may hold.
const MAX_HELD: usize = 50_000;
/// Closed buckets that may wait.
const MAX_BUCKETS: usize = 4_096;
/// How long the last parcel may take.
const LAST: Duration = Duration::from_secs(60);
/// How long a live backend waits before it looks for results of jobs.
const LOOK: Duration = Duration::from_millis(100);
/// How long an engine that is silent is waited for when time is that of the wall.
const SILENCE: u32 = 3;

/// What an engine does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSlow {
    /// It waits: files.
    Wait,
    /// It puts seconds together.
    Merge,
}

/// What happens when an engine is silent while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSilent {
    /// It is waited for: files.
    Wait,
    /// It is left behind after a moment: interfaces and scripts as inputs.
    GoOn,
}

/// What a slow backend cost.
#[derive(Debug, Default)]
pub struct QueueCounts {
    /// Seconds that were put together with the next one.
    pub merged: AtomicU64,
    /// Items and keys left out.
    pub items: AtomicU64,
    /// Closed buckets left out.
    pub buckets: AtomicU64,
}

impl QueueCounts {
    /// Each counter with the name it has in outputs.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 3] {
        [
            ("backend_seconds_merged", self.merged.load(Ordering::Relaxed)),
            ("backend_items_dropped", self.items.load(Ordering::Relaxed)),
            ("backend_buckets_dropped", self.buckets.load(Ordering::Relaxed)),
        ]
    }
}

/// An engine's end of the queues, one for each backend.
#[derive(Debug)]
pub struct ParcelSender {
    queues: Vec<(Sender<Parcel>, Option<Parcel>)>,
    when_slow: WhenSlow,
    counts: Arc<QueueCounts>,
    /// Whose it is, until its last parcel has left.
    engine: Option<usize>,
}

impl ParcelSender {
    /// One engine's end.
    #[must_use]
    pub fn new(queues: Vec<Sender<Parcel>>, when_slow: WhenSlow, counts: Arc<QueueCounts>) -> Self {
        Self { queues: queues.into_iter().map(|queue| (queue, None)).collect(), when_slow, counts, engine: None }
    }

    /// Of the engine with this number: should that go away without a last parcel, nobody waits for one.
    #[must_use]
    pub fn of(mut self, engine: usize) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Shares a second out, and sends each backend its part or keeps it for the next one.
    pub fn send(&mut self, parcel: Parcel) {
        self.engine.take_if(|_| parcel.phase == Phase::Over);
        let parts = parcel.split(self.queues.len());
        for ((queue, held), part) in self.queues.iter_mut().zip(parts) {
            let part = match held.take() {
                Some(first) => merge(&self.counts, first, part),
                None => part,
            };
            if self.when_slow == WhenSlow::Wait {
                // A backend that is gone has left what it had to leave.
                drop(queue.send(part));
            } else if part.phase == Phase::Over {
                // Packets are over, nothing is held up any more.
                drop(queue.send_timeout(part, LAST));
            } else if part.phase == Phase::PacketsOver {
                // Nothing comes for long that could take it along: the engine waits until the backend has heard of it.
                drop(queue.send(part));
            } else if let Err(TrySendError::Full(part)) = queue.try_send(part) {
                *held = Some(part);
            }
        }
    }
}

impl Drop for ParcelSender {
    fn drop(&mut self) {
        let Some(engine) = self.engine else { return };
        for (queue, _) in &self.queues {
            let last = Parcel { engine, second: NO_TIME, now: NO_TIME, phase: Phase::Over, ..Parcel::default() };
            drop(queue.send_timeout(last, LAST));
        }
    }
}

/// Puts a second for which there was no room together with the next one.
fn merge(counts: &QueueCounts, mut first: Parcel, next: Parcel) -> Parcel {
    let Parcel { now, phase, mail, items, keys, snapshots, lines, .. } = next;
    counts.merged.fetch_add(1, Ordering::Relaxed);
    (first.now, first.phase) = (now, phase);
    first.lines.append(lines);
    let left_out = append(&mut first.mail, mail, MAX_HELD)
        + append(&mut first.items, items, MAX_HELD)
        + append(&mut first.keys, keys, MAX_HELD);
    counts.items.fetch_add(left_out, Ordering::Relaxed);
    let left_out = append(&mut first.snapshots, snapshots, MAX_BUCKETS);
    counts.buckets.fetch_add(left_out, Ordering::Relaxed);
    first
}

/// Appends as long as there is room; tells how much there was no room for.
pub(super) fn append<T>(list: &mut Vec<T>, mut more: Vec<T>, most: usize) -> u64 {
    let room = most.saturating_sub(list.len());
    let left_out = more.len().saturating_sub(room);
    more.truncate(room);
    list.append(&mut more);
    left_out as u64
}

/// Runs a backend until every engine has sent its last parcel; what is left is to finish it. `peers` leads to the engines;
/// `between` is called between two seconds.
#[must_use]
pub fn run<O: BackendOutlet>(
    mut backend: Backend<O>,
    queue: &Receiver<Parcel>,
    engines: usize,
    peers: &Peers,
    when_silent: WhenSilent,
    stopping: &AtomicBool,
    mut between: impl FnMut(&mut Backend<O>),
) -> Backend<O> {
    let mut inbox = Inbox::new(engines);
    backend.feed_from(queue.clone());
    let mut silent = 0;
    let mut has_left = false;
    loop {
        match queue.recv_timeout(LOOK) {
            Ok(parcel) => {
                inbox.push(parcel);
                // Everything that has come, so that an engine never waits for one whose parcels lie here. As long as there
                // are seconds to handle the rest stays in the queue, which is bounded.
                queue.try_iter().take(QUEUE).for_each(|parcel| inbox.push(parcel));
            }
            Err(RecvTimeoutError::Timeout) => silent += 1,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let lasting = when_silent == WhenSilent::GoOn && silent >= SILENCE;
        let patience = if lasting { Patience::None } else { Patience::Parcels(MAX_WAITING) };
        between(&mut backend);
        while let Some(ready) = inbox.next(patience) {
            silent = 0;
            backend.second(ready, stopping);
            // Here as well: one that is always behind never comes to the end of this loop.
            between(&mut backend);
            send(&mut backend, peers);
            backend.take_early().into_iter().for_each(|parcel| inbox.push(parcel));
        }
        if when_silent == WhenSilent::GoOn {
            backend.take_completions(stopping);
            backend.keep_in_touch();
            send(&mut backend, peers);
        }
        // Engines at their end hear the others out; nothing more can be said to them.
        if !has_left && inbox.phase() >= Phase::PacketsOver {
            peers.leave();
            has_left = true;
        }
        if inbox.phase() == Phase::Over && inbox.is_empty() {
            break;
        }
    }
    while let Some(ready) = inbox.next(Patience::None) {
        backend.second(ready, stopping);
    }
    peers.leave();
    backend
}

/// Parcels and items that wait for a silent engine, over files.
const MAX_WAITING: usize = 1 << 21;

fn send<O: BackendOutlet>(backend: &mut Backend<O>, peers: &Peers) {
    let outgoing = backend.take_outgoing();
    let mut lost = 0;
    for mail in &outgoing.mail {
        lost += peers.send(mail);
    }
    let oddities = &backend.context().oddities;
    oddities.messages_dropped.set(oddities.messages_dropped.get() + lost);
    let notes = outgoing.notes.into_iter().map(Letter::Note);
    let letters = notes.chain(outgoing.commands.into_iter().map(Letter::Command));
    let lost: u64 = letters.map(|letter| peers.post(&letter)).sum();
    oddities.notes_dropped.set(oddities.notes_dropped.get() + lost);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::{MAX_BUCKETS, NO_TIME, Parcel, ParcelSender, Phase, QueueCounts, WhenSlow};
    use crate::guid::Guid;
    use crate::metrics::{Registry, Shard, ShardConfig, Snapshot};
    use crate::time::Timestamp;

    #[test]
    fn a_second_for_which_there_is_no_room_goes_with_the_next() {
        let (sender, receiver) = bounded(1);
        let counts = Arc::new(QueueCounts::default());
        let mut end = ParcelSender::new(vec![sender], WhenSlow::Merge, Arc::clone(&counts));
        for second in 0..4 {
            end.send(Parcel { second, now: second + 1, ..Parcel::default() });
        }
        assert_eq!(receiver.recv().map(|parcel| (parcel.second, parcel.now)), Ok((0, 1)));
        end.send(Parcel { second: 4, now: 4, phase: Phase::Over, ..Parcel::default() });
        assert_eq!(receiver.recv().map(|parcel| (parcel.second, parcel.now)), Ok((1, 4)));
        assert_eq!(counts.named()[0].1, 3);
    }

    #[test]
    fn that_packets_are_over_is_told_however_full_the_queue_is() {
        let (sender, receiver) = bounded(1);
        let mut end = ParcelSender::new(vec![sender], WhenSlow::Merge, Arc::default());
        let backend = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            [(); 2].map(|()| receiver.recv_timeout(Duration::from_secs(20)).map(|parcel| parcel.phase))
        });
        for second in 0..3 {
            end.send(Parcel { second, now: second + 1, ..Parcel::default() });
        }
        end.send(Parcel { second: 2, now: 2, phase: Phase::PacketsOver, ..Parcel::default() });
        let heard = backend.join().unwrap();
        drop(end);
        assert_eq!(heard, [Ok(Phase::Running), Ok(Phase::PacketsOver)]);
    }

    #[test]
    fn an_engine_that_goes_away_without_a_last_parcel_is_not_waited_for() {
        let (sender, receiver) = bounded(4);
        let end = |engine| ParcelSender::new(vec![sender.clone()], WhenSlow::Wait, Arc::default()).of(engine);
        drop(end(3));
        let last = receiver.try_recv().map(|parcel| (parcel.engine, parcel.second, parcel.phase));
        assert_eq!(last, Ok((3, NO_TIME, Phase::Over)));
        let mut other = end(4);
        other.send(Parcel { engine: 4, phase: Phase::Over, ..Parcel::default() });
        drop(other);
        drop(ParcelSender::new(vec![sender.clone()], WhenSlow::Wait, Arc::default()));
        let told: Vec<usize> = receiver.try_iter().map(|parcel| parcel.engine).collect();
        assert_eq!(told, [4], "once");
    }

    /// Closed buckets of one group, a minute each.
    fn buckets(count: usize) -> Vec<Snapshot> {
        let registry = Registry::new();
        let group = registry.counter_index(Guid::literal("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}")).unwrap();
        let mut shard = Shard::new(&registry, ShardConfig::default());
        let mut buckets = Vec::new();
        for minute in 0..count as i64 {
            shard.advance(Timestamp::new(minute * 60, 0), |bucket| buckets.push(bucket));
            shard.update(group, b"0A.00.00.01", 0, 1.0);
        }
        shard.finish(|bucket| buckets.push(bucket));
        buckets.truncate(count);
        assert_eq!(buckets.len(), count);
        buckets
    }

    #[test]
    fn what_a_second_that_waits_has_no_room_for_is_counted() {
        let (sender, receiver) = bounded(1);
        let counts = Arc::new(QueueCounts::default());
        let mut end = ParcelSender::new(vec![sender], WhenSlow::Merge, Arc::clone(&counts));
        for second in 0..5 {
            let snapshots = buckets(if second == 0 { 1 } else { MAX_BUCKETS / 2 - 1 });
            end.send(Parcel { second, now: second + 1, snapshots, ..Parcel::default() });
        }
        // The first one is in the queue. The next one takes in the one after it and two buckets of the third.
        let left_out = 4 * (MAX_BUCKETS as u64 / 2 - 1) - MAX_BUCKETS as u64;
        let expected =
            [("backend_seconds_merged", 3), ("backend_items_dropped", 0), ("backend_buckets_dropped", left_out)];
        assert_eq!(counts.named(), expected);
        assert_eq!(receiver.recv().map(|parcel| parcel.snapshots.len()), Ok(1));
        end.send(Parcel { second: 5, now: 6, ..Parcel::default() });
        assert_eq!(receiver.recv().map(|parcel| (parcel.second, parcel.snapshots.len())), Ok((1, MAX_BUCKETS)));
        // There was room: nothing more is merged or left out.
        end.send(Parcel { second: 6, now: 7, snapshots: buckets(3), ..Parcel::default() });
        assert_eq!(counts.named(), [("backend_seconds_merged", 4), expected[1], expected[2]]);
        assert_eq!(receiver.recv().map(|parcel| (parcel.second, parcel.snapshots.len())), Ok((6, 3)));
    }
}
