//! When to look at flows again, in the order of the times.
//!
//! Nearly all times are so long from now, the same for all of them: those come one behind the other and wait in a queue, of
//! which taking one out costs the same whatever its length. The others wait in a heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::flow::FlowHandle;
use crate::time::Timestamp;

/// Most flows with a timer.
const MAX_TIMERS: usize = 262_144;

/// A time and the number of the timer, which is in the order in which they were set.
type Timer = (Timestamp, u64, FlowHandle);

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    // INVARIANT: in order.
    in_turn: VecDeque<Timer>,
    others: BinaryHeap<Reverse<Timer>>,
    set: u64,
}

/// All timers are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoneLeft;

impl Timers {
    /// Sets one more.
    pub fn set(&mut self, due: Timestamp, handle: FlowHandle) -> Result<(), NoneLeft> {
        if self.in_turn.len() + self.others.len() >= MAX_TIMERS {
            return Err(NoneLeft);
        }
        self.set += 1;
        let timer = (due, self.set, handle);
        if self.in_turn.back().is_none_or(|last| *last < timer) {
            self.in_turn.push_back(timer);
        } else {
            self.others.push(Reverse(timer));
        }
        Ok(())
    }

    /// Takes out the first one that is due.
    #[inline]
    pub fn next_due(&mut self, now: Timestamp) -> Option<FlowHandle> {
        let in_turn = self.in_turn.front().filter(|timer| timer.0 <= now);
        let other = self.others.peek().map(|Reverse(timer)| timer).filter(|timer| timer.0 <= now);
        let is_in_turn = match (in_turn, other) {
            (None, None) => return None,
            (in_turn, other) => other.is_none_or(|other| in_turn.is_some_and(|in_turn| in_turn < other)),
        };
        let timer = if is_in_turn { self.in_turn.pop_front() } else { self.others.pop().map(|Reverse(timer)| timer) };
        timer.map(|(.., handle)| handle)
    }

    /// A flow that will have its turn when so many others had theirs, as likely as not.
    #[inline]
    pub fn after(&self, others: usize) -> Option<FlowHandle> {
        self.in_turn.get(others).map(|&(.., handle)| handle)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::proptest;

    use super::{MAX_TIMERS, NoneLeft, Timers};
    use crate::flow::FlowHandle;
    use crate::time::Timestamp;

    proptest! {
        #[test]
        fn timers_come_by_time_and_then_as_they_were_set(steps in proptest::collection::vec((0..40i64, 0..4u8), 0..400)) {
            let (mut timers, mut twin) = (Timers::default(), BTreeSet::new());
            for (slot, (time, kind)) in steps.into_iter().enumerate() {
                let time = Timestamp::from_nanos(time);
                if kind > 0 {
                    let slot = slot as u32;
                    timers.set(time, FlowHandle { slot, generation: 0 }).expect("there is room");
                    twin.insert((time, slot));
                    continue;
                }
                loop {
                    let first = twin.first().copied().filter(|(due, _)| *due <= time);
                    let found = timers.next_due(time);
                    assert_eq!(found.map(|handle| handle.slot), first.map(|(_, slot)| slot));
                    let Some(first) = first else { break };
                    twin.remove(&first);
                }
            }
        }
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut timers = Timers::default();
        let flow = FlowHandle { slot: 1, generation: 0 };
        for number in 0..MAX_TIMERS as i64 {
            assert_eq!(timers.set(Timestamp::from_nanos(number % 7), flow), Ok(()));
        }
        assert_eq!(timers.set(Timestamp::from_nanos(0), flow), Err(NoneLeft));
        assert!(timers.next_due(Timestamp::from_nanos(0)).is_some());
        assert_eq!(timers.set(Timestamp::from_nanos(0), flow), Ok(()));
    }
}
