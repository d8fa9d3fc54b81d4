//! Flows that scripts ended by name, until they end.

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use super::event::FlowHandle;

/// Flows beyond two for each that lives, before those that were named more than once are found.
const NAMED_AGAIN: usize = 64;

/// The flows in the order in which they were named. One that is named again and again does not fill the memory.
#[derive(Debug, Default)]
pub(super) struct Terminated {
    list: Vec<FlowHandle>,
}

impl Terminated {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds one of `live` flows. Returns how many were gone through to find those that were named before.
    pub(super) fn add(&mut self, handle: FlowHandle, live: usize) -> usize {
        let mut gone_through = 0;
        if self.list.len() > NAMED_AGAIN + 2 * live {
            gone_through = self.list.len();
            let mut seen = HashSet::with_hasher(RandomState::default());
            self.list.retain(|&handle| seen.insert(handle));
        }
        self.list.push(handle);
        gone_through
    }

    /// Takes the list, which is to be given back.
    pub(super) fn take(&mut self) -> Vec<FlowHandle> {
        std::mem::take(&mut self.list)
    }

    /// Gives the list back for its memory.
    pub(super) fn give_back(&mut self, mut list: Vec<FlowHandle>) {
        list.clear();
        self.list = list;
    }
}

#[cfg(test)]
mod tests {
    use super::{FlowHandle, NAMED_AGAIN, Terminated};

    #[test]
    fn naming_flows_costs_the_same_however_many_there_are_and_however_often_it_is_done() {
        const LIVE: u32 = 50_000;
        let mut terminated = Terminated::default();
        let handle = |slot: u32| FlowHandle { slot, generation: 1 };
        let (mut named, mut gone_through) = (0_usize, 0_usize);
        for slot in (0..LIVE).rev().chain(std::iter::repeat_n(7, 1_000_000)) {
            gone_through += terminated.add(handle(slot), LIVE as usize);
            named += 1;
            assert!(terminated.list.len() <= NAMED_AGAIN + 2 * LIVE as usize + 2);
        }
        assert!(gone_through > 0 && gone_through <= 3 * named, "{gone_through} for {named}");
        // Each once, in the order in which it was said.
        let mut first: Vec<u32> = terminated.take().iter().map(|handle| handle.slot).collect();
        first.truncate(LIVE as usize);
        assert_eq!(first, (0..LIVE).rev().collect::<Vec<_>>());
    }
}
