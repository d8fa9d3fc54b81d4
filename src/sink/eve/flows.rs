//! What is remembered of flows that go on: their protocol, and the pieces of events that are not complete.

use std::collections::{HashMap, VecDeque};

use super::dns::DnsFlow;
use super::ends::{Ends, Identity};
use super::http::HttpFlow;
use super::ssh::SshFlow;
use super::tls::TlsFlow;
use crate::key::{End, FlowTuple};

/// Most flows that are remembered; the oldest is forgotten, what it had is told first.
const MAX_FLOWS: usize = 131_072;

/// A flow that goes on.
#[derive(Debug)]
pub(super) struct Followed {
    number: u64,
    /// The client, if known.
    pub client: Option<End>,
    /// Protocol.
    pub app: Option<&'static str>,
    /// An alert was raised.
    pub alerted: bool,
    /// Exchanges that are not over.
    pub http: HttpFlow,
    /// Questions that wait for their answers.
    pub dns: DnsFlow,
    /// What tells it apart, once there was an event of it.
    pub identity: Option<Identity>,
    /// A handshake that is not over.
    pub tls: Option<Box<TlsFlow>>,
    /// The same.
    pub ssh: Option<Box<SshFlow>>,
}

impl Followed {
    /// A flow, looked at from one end, and what tells it apart.
    pub fn told(&mut self, ends: Ends) -> Told {
        (ends, *self.identity.get_or_insert_with(|| ends.identity()))
    }
}

/// Who an event is about.
pub(super) type Told = (Ends, Identity);

/// The flows that go on.
#[derive(Debug, Default)]
pub(super) struct FlowTable {
    map: HashMap<FlowTuple, Followed, foldhash::fast::RandomState>,
    /// In order of appearance; those that are gone are left out when their turn comes.
    order: VecDeque<(FlowTuple, u64)>,
    last: u64,
}

impl FlowTable {
    /// A flow; remembered from now on if it was not. Besides, the one that had to make room.
    pub fn follow(&mut self, flow: FlowTuple) -> (&mut Followed, Option<(FlowTuple, Followed)>) {
        let mut gone = None;
        if self.map.len() >= MAX_FLOWS && !self.map.contains_key(&flow) {
            gone = self.forget_oldest();
        }
        if self.order.len() > 2 * MAX_FLOWS {
            let map = &self.map;
            self.order.retain(|(flow, number)| map.get(flow).is_some_and(|followed| followed.number == *number));
        }
        let Self { map, order, last } = self;
        let followed = map.entry(flow).or_insert_with(|| {
            *last += 1;
            order.push_back((flow, *last));
            Followed {
                number: *last,
                client: None,
                app: None,
                alerted: false,
                http: HttpFlow::default(),
                dns: DnsFlow::default(),
                identity: None,
                tls: None,
                ssh: None,
            }
        });
        (followed, gone)
    }

    /// A flow, if it is remembered.
    pub fn get(&self, flow: &FlowTuple) -> Option<&Followed> {
        self.map.get(flow)
    }

    /// A flow has ended.
    pub fn end(&mut self, flow: &FlowTuple) -> Option<Followed> {
        self.map.remove(flow)
    }

    /// The flow that is remembered for longest.
    pub fn forget_oldest(&mut self) -> Option<(FlowTuple, Followed)> {
        while let Some((flow, number)) = self.order.pop_front() {
            if self.map.get(&flow).is_some_and(|followed| followed.number == number) {
                return self.map.remove(&flow).map(|followed| (flow, followed));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{FlowTable, MAX_FLOWS};
    use crate::key::FlowTuple;

    fn tuple(number: u32) -> FlowTuple {
        FlowTuple::v4(6, number.to_be_bytes(), [1; 4], 1_000, 80).0
    }

    #[test]
    fn the_oldest_flow_makes_room_and_ended_ones_take_none() {
        let mut table = FlowTable::default();
        for number in 0..MAX_FLOWS as u32 {
            assert!(table.follow(tuple(number)).1.is_none());
        }
        assert!(table.end(&tuple(0)).is_some());
        assert!(table.follow(tuple(1)).1.is_none());
        assert!(table.follow(tuple(1 << 24)).1.is_none());
        assert_eq!(table.follow(tuple(1 << 25)).1.map(|(flow, _)| flow), Some(tuple(1)));
    }

    #[test]
    fn a_storm_of_short_flows_holds_little() {
        let mut table = FlowTable::default();
        for number in 0..1_000_000 {
            table.follow(tuple(number));
            table.end(&tuple(number));
        }
        assert!(table.map.is_empty() && table.order.len() <= 2 * MAX_FLOWS + 1);
    }
}
