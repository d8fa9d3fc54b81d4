//! The largest flows of a run.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::metrics::Session;

/// A flow and how much it carried. The order is that of the report: by bytes, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopFlow {
    /// Wire bytes of both directions.
    pub bytes: u64,
    /// Flow id; the smaller one is the larger flow, so that equal ones come in order of their ids.
    pub id: Reverse<Vec<u8>>,
    /// Packets of both directions.
    pub packets: u64,
    /// Milliseconds from the first packet to the last.
    pub millis: u64,
    /// Why it ended.
    pub reason: &'static str,
}

impl TopFlow {
    /// What the report shows of a flow.
    #[must_use]
    pub fn of(flow: &Session) -> Self {
        Self {
            bytes: flow.bytes.iter().sum(),
            id: Reverse(flow.id.clone()),
            packets: flow.packets.iter().sum(),
            millis: flow.end.since(flow.start).as_millis() as u64,
            reason: flow.reason,
        }
    }
}

/// The largest of the flows offered so far.
#[derive(Clone, Debug, Default)]
pub struct TopFlows {
    limit: usize,
    smallest_first: BinaryHeap<Reverse<TopFlow>>,
}

impl TopFlows {
    /// Keeps up to `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, smallest_first: BinaryHeap::new() }
    }

    /// Offers a flow; `make` is called if it may be among the largest. `compare` compares its id with another one, where
    /// flows are equally large.
    pub fn offer(&mut self, bytes: u64, compare: impl FnOnce(&[u8]) -> Ordering, make: impl FnOnce() -> TopFlow) {
        if self.smallest_first.len() >= self.limit {
            // Where all flows are alike, each would have its record made, only to be dropped.
            let is_smaller = |smallest: &TopFlow| match bytes.cmp(&smallest.bytes) {
                Ordering::Less => true,
                Ordering::Equal => compare(&smallest.id.0) == Ordering::Greater,
                Ordering::Greater => false,
            };
            if self.smallest_first.peek().is_none_or(|Reverse(smallest)| is_smaller(smallest)) {
                return;
            }
        }
        self.smallest_first.push(Reverse(make()));
        if self.smallest_first.len() > self.limit {
            self.smallest_first.pop();
        }
    }

    /// Takes in the flows of another engine.
    pub fn merge(&mut self, other: Self) {
        self.limit = self.limit.max(other.limit);
        for Reverse(flow) in other.smallest_first {
            self.offer(flow.bytes, |id| flow.id.0[..].cmp(id), || flow.clone());
        }
    }

    /// The flows, largest first.
    #[must_use]
    pub fn ranked(self) -> Vec<TopFlow> {
        let mut flows: Vec<_> = self.smallest_first.into_iter().map(|Reverse(flow)| flow).collect();
        flows.sort_unstable_by(|a, b| b.cmp(a));
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::{TopFlow, TopFlows};
    use std::cmp::Reverse;

    fn flow(bytes: u64, id: &str) -> TopFlow {
        TopFlow { bytes, id: Reverse(id.as_bytes().to_vec()), packets: 1, millis: 0, reason: "end" }
    }

    #[test]
    fn the_largest_are_kept_whatever_the_order_and_the_split() {
        let all = [(5, "a"), (9, "b"), (5, "c"), (1, "d"), (9, "e"), (5, "b")];
        let of = |list: &[(u64, &str)]| {
            let mut top = TopFlows::new(3);
            list.iter()
                .for_each(|(bytes, id)| top.offer(*bytes, |other| id.as_bytes().cmp(other), || flow(*bytes, id)));
            top
        };
        let one = of(&all).ranked();
        assert_eq!(one, [flow(9, "b"), flow(9, "e"), flow(5, "a")]);
        let mut two = of(&all[..3]);
        two.merge(of(&all[3..]));
        assert_eq!(two.ranked(), one);
    }
}
