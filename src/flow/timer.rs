//! When to look at a flow again: a wheel of stacks, whose entries name slots of the table.
//!
//! A flow is not moved at its packets. It is looked at when the time comes that it was entered with, and entered again if
//! it was busy since. A slot that leaves is only marked, so that no other memory than its own is touched; its entry is
//! dropped when its time comes, or before if such entries become too many. Entering, leaving and every step cost the same
//! whatever the number of flows; a jump in time is one turn of the wheel at most.

use super::table::Table;
use crate::memory::{make_room, prefetch};
use crate::time::Timestamp;

/// Ticks of a turn: 18 minutes. Later times wait at the far end of the wheel.
const TICKS: usize = 4_096;
const NONE: u32 = u32::MAX;
/// Entries of a chunk, which fills four lines of the cache.
const CHUNK: usize = 31;
/// Entries that may lie around, those of slots that left included: so many, and as many times those that are awaited.
const ANY: usize = 1 << 16;
const TIMES: usize = 4;

/// Which entry of the wheel is the slot's; it lies in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    /// None.
    pub(super) const NOWHERE: Self = Self(0);

    /// True if there is one.
    #[inline]
    pub(super) const fn is_somewhere(self) -> bool {
        self.0 != 0
    }
}

/// Entries of one tick.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Chunk {
    // Those that were entered before, or the next free one.
    below: u32,
    len: u32,
    entries: [Entry; CHUNK],
}

/// A slot to look at, unless its link has changed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    link: Link,
}

impl Chunk {
    const EMPTY: Self = Self { below: NONE, len: 0, entries: [Entry { slot: 0, link: Link::NOWHERE }; CHUNK] };
}

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    // The chunk of each tick that was entered last; never an empty one.
    heads: Box<[u32]>,
    chunks: Vec<Chunk>,
    free: u32,
    // Entries, and those of them that slots have.
    entries: usize,
    awaited: usize,
    // Number of the last link; wraps, which makes a slot be looked at too early at worst.
    serial: u32,
    // Tick whose entries are gone through next to drop those of slots that left.
    hand: usize,
    // The chunk whose slots were asked for.
    asked: u32,
    // All ticks up to this one are done; `None` before the first time.
    done: Option<i64>,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![NONE; TICKS].into(),
            chunks: Vec::new(),
            free: NONE,
            entries: 0,
            awaited: 0,
            serial: 0,
            hand: 0,
            asked: NONE,
            done: None,
        }
    }

    /// True if a tick has begun that was not looked at.
    #[inline]
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.done.is_none_or(|done| done < now.tick())
    }

    /// True if a slot may be due by `now`. Passes over the ticks before it that nothing waits for.
    pub(super) fn awaits(&mut self, now: Timestamp) -> bool {
        let last = now.tick();
        let mut done = (*self.done.get_or_insert(last)).max(last - TICKS as i64);
        while done < last && self.heads[(done + 1).rem_euclid(TICKS as i64) as usize] == NONE {
            done += 1;
        }
        self.done = self.done.max(Some(done));
        done < last
    }

    /// Enters a slot, which leaves where it was.
    pub(super) fn enter(&mut self, table: &mut Table, slot: u32, due: Timestamp) {
        if self.entries > ANY + TIMES * self.awaited {
            self.clear_tick(table);
        }
        let done = *self.done.get_or_insert(due.tick() - 2);
        // The next tick may be the one whose entries are being taken out just now.
        let tick = due.tick().clamp(done + 2, done + TICKS as i64 - 1);
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let link = Link(self.serial);
        let before = std::mem::replace(&mut table.get_mut(slot).link, link);
        self.awaited += usize::from(!before.is_somewhere());
        self.push(tick.rem_euclid(TICKS as i64) as usize, Entry { slot, link });
    }

    /// Takes a slot out.
    pub(super) fn leave(&mut self, table: &mut Table, slot: u32) {
        let link = std::mem::replace(&mut table.get_mut(slot).link, Link::NOWHERE);
        self.awaited -= usize::from(link.is_somewhere());
    }

    /// The next slot to look at, taken out; `None` when everything up to `now` was looked at. A slot entered in between
    /// comes at the next tick at the earliest.
    pub(super) fn next_due(&mut self, table: &mut Table, now: Timestamp) -> Option<u32> {
        let last = now.tick();
        let mut done = self.done.get_or_insert(last).to_owned();
        // Beyond a turn, each tick is looked at once.
        done = done.max(last - TICKS as i64);
        while done < last {
            let tick = (done + 1).rem_euclid(TICKS as i64) as usize;
            while let Some(Entry { slot, link }) = self.pop(tick, table) {
                if table.get(slot).link == link {
                    self.done = Some(done);
                    self.leave(table, slot);
                    return Some(slot);
                }
            }
            done += 1;
        }
        self.done = Some(done.max(last));
        None
    }

    fn push(&mut self, tick: usize, entry: Entry) {
        let mut head = self.heads[tick];
        if head == NONE || self.chunks[head as usize].len as usize == CHUNK {
            head = self.new_chunk(head);
            self.heads[tick] = head;
        }
        let chunk = &mut self.chunks[head as usize];
        chunk.entries[chunk.len as usize] = entry;
        chunk.len += 1;
        self.entries += 1;
    }

    fn new_chunk(&mut self, below: u32) -> u32 {
        if self.free == NONE {
            make_room(&mut self.chunks, 1);
            self.chunks.push(Chunk { below, ..Chunk::EMPTY });
            return self.chunks.len() as u32 - 1;
        }
        let chunk = &mut self.chunks[self.free as usize];
        let next = std::mem::replace(&mut chunk.below, below);
        std::mem::replace(&mut self.free, next)
    }

    /// Takes out the entry that came last.
    fn pop(&mut self, tick: usize, table: &Table) -> Option<Entry> {
        let head = self.heads[tick];
        if head == NONE {
            return None;
        }
        let chunk = &mut self.chunks[head as usize];
        if self.asked != head {
            // All at once: one at a time, each would wait for the memory.
            self.asked = head;
            chunk.entries[..chunk.len as usize].iter().for_each(|entry| table.prefetch(entry.slot));
        }
        chunk.len -= 1;
        let entry = chunk.entries[chunk.len as usize];
        if chunk.len == 0 {
            self.heads[tick] = std::mem::replace(&mut chunk.below, self.free);
            self.free = head;
            self.asked = NONE;
            if let Some(next) = self.chunks.get(self.heads[tick] as usize) {
                prefetch(next);
            }
        }
        self.entries -= 1;
        Some(entry)
    }

    /// Drops the entries of the next tick whose slots left.
    #[cold]
    fn clear_tick(&mut self, table: &Table) {
        let tick = self.hand;
        self.hand = (tick + 1) % TICKS;
        let mut kept = Vec::new();
        while let Some(entry) = self.pop(tick, table) {
            if table.get(entry.slot).link == entry.link {
                kept.push(entry);
            }
        }
        for entry in kept.into_iter().rev() {
            self.push(tick, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};

    use super::{ANY, CHUNK, TICKS, TIMES, Wheel};
    use crate::flow::record::Flow;
    use crate::flow::table::Table;
    use crate::key::FlowTuple;
    use crate::time::Timestamp;

    const TICK: i64 = 1 << 28;

    fn table(slots: u32) -> Table {
        let mut table = Table::new(1 << 20);
        for number in 0..slots {
            let tuple = FlowTuple { port_a: number as u16, ..FlowTuple::NO_IP };
            assert_eq!(table.insert(number, Flow::new(tuple, Timestamp::from_nanos(0)), 0), number);
        }
        table
    }

    proptest! {
        #[test]
        fn slots_come_in_their_ticks_the_last_entered_first(
            steps in proptest::collection::vec((0..200u32, 0..60i64, any::<bool>()), 0..400),
        ) {
            let (mut table, mut wheel) = (table(200), Wheel::new());
            // By slot, tick and number of the entry.
            let mut twin = BTreeMap::new();
            let mut now = 0;
            wheel.enter(&mut table, 0, Timestamp::from_nanos(2 * TICK));
            wheel.leave(&mut table, 0);
            for (number, (slot, ahead, enters)) in steps.into_iter().enumerate() {
                if enters {
                    wheel.enter(&mut table, slot, Timestamp::from_nanos((now + ahead) * TICK));
                    twin.insert(slot, ((now + ahead).max(now + 2), number));
                } else if ahead > 1 {
                    wheel.leave(&mut table, slot);
                    twin.remove(&slot);
                } else {
                    now += 1;
                    let mut due: Vec<_> =
                        twin.iter().filter(|(_, (tick, _))| *tick <= now).map(|(slot, at)| (at.0, -(at.1 as i64), *slot)).collect();
                    due.sort_unstable();
                    let mut found = Vec::new();
                    assert!(wheel.awaits(Timestamp::from_nanos(now * TICK)) || due.is_empty());
                    while let Some(slot) = wheel.next_due(&mut table, Timestamp::from_nanos(now * TICK)) {
                        found.push(slot);
                    }
                    assert_eq!(found, due.iter().map(|(.., slot)| *slot).collect::<Vec<_>>());
                    twin.retain(|_, (tick, _)| *tick > now);
                }
                assert_eq!(wheel.awaited, twin.len());
            }
            (0..200).for_each(|slot| assert_eq!(table.is_awaited(slot), twin.contains_key(&slot)));
        }
    }

    #[test]
    fn entries_of_slots_that_left_do_not_pile_up() {
        let (mut table, mut wheel) = (table(100), Wheel::new());
        let far = |tick: i64| Timestamp::from_nanos(tick * TICK);
        for number in 0..400_000_u32 {
            wheel.enter(&mut table, number % 100, far(10 + i64::from(number % 3_000)));
            if number % 3 == 0 {
                wheel.leave(&mut table, number % 100);
            }
        }
        assert!(wheel.entries <= ANY + TIMES * 100 + TICKS, "{}", wheel.entries);
        assert!(wheel.chunks.len() <= (ANY + TIMES * 100 + TICKS) / CHUNK + TICKS, "{}", wheel.chunks.len());
        let mut found = 0;
        while wheel.next_due(&mut table, far(5_000)).is_some() {
            found += 1;
        }
        assert_eq!((wheel.entries, wheel.awaited), (0, 0));
        assert!(found > 0 && found <= 100, "{found}");
    }

    #[test]
    fn ticks_that_nothing_waits_for_are_passed_over() {
        let (mut table, mut wheel) = (table(1), Wheel::new());
        let at = |tick: i64| Timestamp::from_nanos(tick * TICK);
        assert!(!wheel.awaits(at(10)));
        wheel.enter(&mut table, 0, at(1_000));
        assert!(!wheel.awaits(at(999)) && !wheel.is_due(at(999)) && wheel.awaits(at(1_000)));
        assert_eq!(wheel.next_due(&mut table, at(1_000)), Some(0));
        wheel.enter(&mut table, 0, at(2_000));
        assert!(wheel.awaits(at(1_000_000)), "beyond a turn of the wheel");
        assert_eq!(wheel.next_due(&mut table, at(1_000_000)), Some(0));
        assert!(!wheel.awaits(at(2_000_000)) && !wheel.awaits(at(5)));
    }
}
