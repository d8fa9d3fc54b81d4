//! Flows that alerts have named and of which nothing else was told.
//!
//! Many of them have ended: a script that hears of the end raises the alert behind it. So they never leave by themselves, and
//! must not take the room of flows that go on.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::key::FlowTuple;

/// Most flows that are remembered; the oldest make room.
const MAX_FLOWS: usize = 131_072;

/// The flows, each with the number of the alert that named it first.
#[derive(Debug, Default)]
pub(super) struct Alerted {
    flows: HashMap<FlowTuple, u64, RandomState>,
    /// In order; those that are gone are left out when their turn comes.
    order: VecDeque<(FlowTuple, u64)>,
    last: u64,
}

impl Alerted {
    /// An alert names a flow.
    pub fn add(&mut self, flow: FlowTuple) {
        if self.flows.contains_key(&flow) {
            return;
        }
        self.last += 1;
        self.flows.insert(flow, self.last);
        self.order.push_back((flow, self.last));
        let Self { flows, order, .. } = self;
        while flows.len() > MAX_FLOWS {
            let Some((oldest, number)) = order.pop_front() else { break };
            if flows.get(&oldest) == Some(&number) {
                flows.remove(&oldest);
            }
        }
        if order.len() > 2 * MAX_FLOWS {
            order.retain(|(flow, number)| flows.get(flow) == Some(number));
        }
    }

    /// A flow ends: whether an alert has named it.
    pub fn end(&mut self, flow: &FlowTuple) -> bool {
        !self.flows.is_empty() && self.flows.remove(flow).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Alerted, MAX_FLOWS};
    use crate::key::FlowTuple;

    fn tuple(number: usize) -> FlowTuple {
        FlowTuple::v4(6, (number as u32).to_be_bytes(), [1; 4], 1_000, 80).0
    }

    #[test]
    fn the_oldest_make_room_and_those_that_ended_take_none() {
        let mut alerted = Alerted::default();
        (0..MAX_FLOWS + 2).for_each(|number| alerted.add(tuple(number)));
        assert!(!alerted.end(&tuple(0)) && !alerted.end(&tuple(1)) && alerted.end(&tuple(2)));
        assert!(!alerted.end(&tuple(2)), "once");
        // One that comes again and again.
        for _ in 0..3 * MAX_FLOWS {
            alerted.add(tuple(2));
            assert!(alerted.end(&tuple(2)));
        }
        assert!(alerted.flows.len() < MAX_FLOWS && alerted.order.len() <= 2 * MAX_FLOWS);
        assert!(alerted.end(&tuple(3)) && alerted.end(&tuple(MAX_FLOWS + 1)));
    }
}
