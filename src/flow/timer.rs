//! When to look at a flow again: a wheel of lists, whose entries are slots of the table.
//!
//! A flow is not moved at its packets. It is looked at when the time comes that it was entered with, and entered again if
//! it was busy since. Entering, leaving and every step cost the same whatever the number of flows; a jump in time is one
//! turn of the wheel at most.

use super::table::Table;
use crate::time::Timestamp;

/// A tick is 2^28 ns, 268 ms.
const TICK_BITS: u32 = 28;
/// Ticks of a turn: 18 minutes. Later times wait at the far end of the wheel.
const TICKS: usize = 4_096;
const NONE: u32 = u32::MAX;
/// Marks a link that leads to the head of a list, not to a slot.
const HEAD: u32 = 1 << 31;

/// Place of a slot in a list of the wheel; it lies in the slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    next: u32,
    // The slot before, the head with HEAD set, or NONE for what is in no list.
    prev: u32,
}

impl Link {
    /// In no list.
    pub(super) const NOWHERE: Self = Self { next: NONE, prev: NONE };

    /// True if it is in a list.
    #[inline]
    pub(super) const fn is_somewhere(self) -> bool {
        self.prev != NONE
    }
}

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    // All ticks up to this one are done; `None` before the first time.
    done: Option<i64>,
}

const fn tick_of(time: Timestamp) -> i64 {
    time.as_nanos() >> TICK_BITS
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: vec![NONE; TICKS].into(), done: None }
    }

    /// True if a tick has begun that was not looked at.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.done.is_none_or(|done| done < tick_of(now))
    }

    /// Enters a slot, which leaves where it was.
    pub(super) fn enter(&mut self, table: &mut Table, slot: u32, due: Timestamp) {
        self.leave(table, slot);
        let done = *self.done.get_or_insert(tick_of(due) - 2);
        // The next tick may be the one whose list is being emptied just now.
        let tick = tick_of(due).clamp(done + 2, done + TICKS as i64 - 1);
        let head = tick.rem_euclid(TICKS as i64) as u32;
        let next = std::mem::replace(&mut self.heads[head as usize], slot);
        if next != NONE {
            table.get_mut(next).link.prev = slot;
        }
        table.get_mut(slot).link = Link { next, prev: head | HEAD };
    }

    /// Takes a slot out.
    pub(super) fn leave(&mut self, table: &mut Table, slot: u32) {
        let link = std::mem::replace(&mut table.get_mut(slot).link, Link::NOWHERE);
        if !link.is_somewhere() {
            return;
        }
        let Link { next, prev } = link;
        if prev & HEAD != 0 {
            self.heads[(prev & !HEAD) as usize] = next;
        } else {
            table.get_mut(prev).link.next = next;
        }
        if next != NONE {
            table.get_mut(next).link.prev = prev;
        }
    }

    /// The next slot to look at, taken out; `None` when everything up to `now` was looked at. A slot entered in between
    /// comes at the next tick at the earliest.
    pub(super) fn next_due(&mut self, table: &mut Table, now: Timestamp) -> Option<u32> {
        let last = tick_of(now);
        let mut done = self.done.get_or_insert(last).to_owned();
        // Beyond a turn, each list is looked at once.
        done = done.max(last - TICKS as i64);
        while done < last {
            let head = (done + 1).rem_euclid(TICKS as i64) as usize;
            let slot = self.heads[head];
            if slot != NONE {
                self.done = Some(done);
                self.leave(table, slot);
                return Some(slot);
            }
            done += 1;
        }
        self.done = Some(done.max(last));
        None
    }
}
