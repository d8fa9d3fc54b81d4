//! When to look at a flow again: a wheel of lists, whose entries are slots of the table.
//!
//! A flow is not moved at its packets. It is looked at when the time comes that it was entered with, and entered again if
//! it was busy since. Entering, leaving and every step cost the same whatever the number of flows; a jump in time is one
//! turn of the wheel at most.

use crate::time::Timestamp;

/// A tick is 2^28 ns, 268 ms.
const TICK_BITS: u32 = 28;
/// Ticks of a turn: 18 minutes. Later times wait at the far end of the wheel.
const TICKS: usize = 4_096;
const NONE: u32 = u32::MAX;
/// Marks a link that leads to the head of a list, not to a slot.
const HEAD: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    // The slot before, the head with HEAD set, or NONE for what is in no list.
    prev: u32,
}

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    links: Vec<Link>,
    // All ticks up to this one are done; `None` before the first time.
    done: Option<i64>,
}

/// Bytes of the wheel for each slot.
pub(super) const LINK_BYTES: usize = size_of::<Link>();

const fn tick_of(time: Timestamp) -> i64 {
    time.as_nanos() >> TICK_BITS
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: vec![NONE; TICKS].into(), links: Vec::new(), done: None }
    }

    /// True if a tick has begun that was not looked at.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.done.is_none_or(|done| done < tick_of(now))
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.links.get(slot as usize).is_some_and(|link| link.prev != NONE)
    }

    /// Enters a slot, which leaves where it was.
    pub(super) fn enter(&mut self, slot: u32, due: Timestamp) {
        self.leave(slot);
        let done = *self.done.get_or_insert(tick_of(due) - 2);
        // The next tick may be the one whose list is being emptied just now.
        let tick = tick_of(due).clamp(done + 2, done + TICKS as i64 - 1);
        let head = tick.rem_euclid(TICKS as i64) as u32;
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Link { next: NONE, prev: NONE });
        }
        let next = std::mem::replace(&mut self.heads[head as usize], slot);
        if let Some(next) = self.links.get_mut(next as usize) {
            next.prev = slot;
        }
        self.links[slot as usize] = Link { next, prev: head | HEAD };
    }

    /// Takes a slot out.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(&Link { next, prev }) = self.links.get(slot as usize) else { return };
        if prev == NONE {
            return;
        }
        if prev & HEAD != 0 {
            self.heads[(prev & !HEAD) as usize] = next;
        } else {
            self.links[prev as usize].next = next;
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.prev = prev;
        }
        self.links[slot as usize] = Link { next: NONE, prev: NONE };
    }

    /// The next slot to look at, taken out; `None` when everything up to `now` was looked at. A slot entered in between
    /// comes at the next tick at the earliest.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<u32> {
        let last = tick_of(now);
        let mut done = self.done.get_or_insert(last).to_owned();
        // Beyond a turn, each list is looked at once.
        done = done.max(last - TICKS as i64);
        while done < last {
            let head = (done + 1).rem_euclid(TICKS as i64) as usize;
            let slot = self.heads[head];
            if slot != NONE {
                self.done = Some(done);
                self.leave(slot);
                return Some(slot);
            }
            done += 1;
        }
        self.done = Some(done.max(last));
        None
    }
}
