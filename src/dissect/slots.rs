//! What is known of each flow, and the books of what all of it holds.
//!
//! State of a flow begins with its first payload and lies in a slot beside that of the flow table. Each state counts as
//! [`STATE_COST`] and what it holds; above a limit over all flows the oldest ones are to be given up.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use super::dissector::{Context, DatagramDissector, StreamDissector};
use super::recogniser::Recogniser;
use crate::flow::{FlowHandle, Roles};
use crate::memory::{make_room, prefetch_whole};
use crate::time::Timestamp;

/// What the states of all flows may hold together, bytes.
const HELD_LIMIT: usize = 64 << 20;

/// How far ahead the memory is asked for slots that are looked at in a row.
const AHEAD: usize = 16;

/// What a state counts for besides what it holds.
pub(super) const STATE_COST: usize = 512;

/// What is known of the protocol of a flow.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Nothing yet.
    #[default]
    Fresh,
    /// First bytes, which did not tell.
    Undecided(Box<Recogniser>),
    /// As many datagrams that did not tell.
    Tried(u8),
    /// A protocol over a stream.
    Stream(Box<dyn StreamDissector>),
    /// A protocol over datagrams.
    Datagrams(Box<dyn DatagramDissector>),
    /// The flow is of no interest.
    Ignored,
}

impl State {
    /// Reports what there is at the end of the flow.
    pub fn end(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Stream(dissector) => dissector.end(cx),
            Self::Datagrams(dissector) => dissector.end(cx),
            Self::Fresh | Self::Undecided(_) | Self::Tried(_) | Self::Ignored => {}
        }
    }

    /// Reports what is due.
    pub fn wake(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Stream(dissector) => dissector.wake(cx),
            Self::Datagrams(dissector) => dissector.wake(cx),
            Self::Fresh | Self::Undecided(_) | Self::Tried(_) | Self::Ignored => {}
        }
    }

    /// When something is due.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Stream(dissector) => dissector.due(),
            Self::Datagrams(dissector) => dissector.due(),
            Self::Fresh | Self::Undecided(_) | Self::Tried(_) | Self::Ignored => None,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Undecided(recogniser) => STATE_COST + recogniser.held(),
            Self::Stream(dissector) => STATE_COST + dissector.held(),
            Self::Datagrams(dissector) => STATE_COST + dissector.held(),
            Self::Fresh | Self::Tried(_) | Self::Ignored => 0,
        }
    }
}

/// Place of a flow. It belongs to the generation that used it last.
#[derive(Debug, Default)]
pub(super) struct Slot {
    generation: u32,
    /// What the state counts for.
    cost: usize,
    /// How often the flow has changed its protocol.
    pub restarts: u8,
    /// Whether a timer is set.
    pub timer: bool,
    /// Whether something was due some time when its dissector was called last.
    pub waits: bool,
    /// Who asks, once the flow has spoken a protocol. It stays so when the protocol changes.
    pub roles: Option<Roles>,
    pub state: State,
}

// One for each place of the flow table.
const _: () = assert!(size_of::<Slot>() <= 40);

/// The places of all flows, by their slots in the flow table.
#[derive(Debug)]
pub(super) struct Slots {
    list: Vec<Slot>,
    /// Flows in the order in which their states began, some of them gone.
    order: VecDeque<FlowHandle>,
    kept: usize,
    held: usize,
    pub limit: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { list: Vec::new(), order: VecDeque::new(), kept: 0, held: 0, limit: HELD_LIMIT }
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, index: usize) -> &Slot {
        &self.list[index]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, index: usize) -> &mut Slot {
        &mut self.list[index]
    }
}

impl Slots {
    /// Bytes that all states count for.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Whether there is a place where the flow would have its own.
    pub fn reach(&self, handle: FlowHandle) -> bool {
        (handle.slot as usize) < self.list.len()
    }

    /// Asks the memory for the state of a flow, which is needed soon.
    pub fn prefetch(&self, handle: FlowHandle) {
        if let Some(slot) = self.list.get(handle.slot as usize) {
            prefetch_whole(slot);
        }
    }

    /// Asks the memory for what the state of a flow holds elsewhere. The state itself is there already.
    pub fn prefetch_state(&self, handle: FlowHandle) {
        match self.list.get(handle.slot as usize).map(|slot| &slot.state) {
            Some(State::Stream(dissector)) => prefetch_whole(&**dissector),
            Some(State::Datagrams(dissector)) => prefetch_whole(&**dissector),
            Some(State::Undecided(recogniser)) => prefetch_whole(&**recogniser),
            _ => {}
        }
    }

    /// The slot of a flow, if it has one.
    pub fn of(&self, handle: FlowHandle) -> Option<&Slot> {
        self.list.get(handle.slot as usize).filter(|slot| slot.generation == handle.generation)
    }

    /// The same, to change it.
    pub fn of_mut(&mut self, handle: FlowHandle) -> Option<&mut Slot> {
        self.list.get_mut(handle.slot as usize).filter(|slot| slot.generation == handle.generation)
    }

    /// The slot of a flow, emptied if another one had it.
    pub fn claim(&mut self, handle: FlowHandle) -> usize {
        let index = handle.slot as usize;
        if index >= self.list.len() {
            let more = index + 1 - self.list.len();
            make_room(&mut self.list, more);
            self.list.resize_with(index + 1, Slot::default);
        }
        if self.list[index].generation != handle.generation {
            self.list[index].state = State::Fresh;
            self.settle(index, handle);
            self.list[index] = Slot { generation: handle.generation, ..Slot::default() };
        }
        index
    }

    /// Counts what the state of a slot holds now.
    pub fn settle(&mut self, index: usize, handle: FlowHandle) {
        let slot = &mut self.list[index];
        let cost = slot.state.cost();
        self.held = self.held - slot.cost + cost;
        match (slot.cost > 0, cost > 0) {
            (false, true) => {
                self.kept += 1;
                self.order.push_back(handle);
            }
            (true, false) => self.kept -= 1,
            _ => {}
        }
        slot.cost = cost;
        if self.order.len() > 2 * self.kept + 1_024 {
            self.forget_gone();
        }
    }

    /// The flow whose state began first, while all of them hold too much together.
    pub fn excess(&mut self) -> Option<(usize, FlowHandle)> {
        while self.held > self.limit {
            let oldest = self.order.pop_front()?;
            if self.is_kept(oldest) {
                return Some((oldest.slot as usize, oldest));
            }
        }
        None
    }

    /// Drops those from the order that are gone.
    #[cold]
    fn forget_gone(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        let handles = order.make_contiguous();
        let mut kept = 0;
        for at in 0..handles.len() {
            handles.get(at + AHEAD).into_iter().for_each(|later| self.prefetch(*later));
            if self.is_kept(handles[at]) {
                handles[kept] = handles[at];
                kept += 1;
            }
        }
        order.truncate(kept);
        self.order = order;
    }

    fn is_kept(&self, handle: FlowHandle) -> bool {
        self.of(handle).is_some_and(|slot| slot.cost > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Slots, State};
    use crate::flow::FlowHandle;

    #[test]
    fn flows_that_are_gone_leave_the_order_of_the_others_as_it_is() {
        let mut slots = Slots::default();
        let handle = |number: u32| FlowHandle { slot: number % 50, generation: 1 + number / 50 };
        for number in 0..10_000 {
            let index = slots.claim(handle(number));
            slots[index].state = State::Undecided(Box::default());
            slots.settle(index, handle(number));
            assert!(slots.order.len() <= 2 * slots.kept + 1_025, "{}", slots.order.len());
        }
        assert_eq!(slots.kept, 50);
        slots.limit = 0;
        for number in 9_950..10_000 {
            let (index, oldest) = slots.excess().expect("all are too many");
            assert_eq!(oldest, handle(number));
            slots[index].state = State::Ignored;
            slots.settle(index, oldest);
        }
        assert_eq!((slots.excess(), slots.held()), (None, 0));
    }
}
