//! What is remembered of flows that go on: their protocol, and the pieces of events that are not complete.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::dns::DnsFlow;
use super::ends::{Ends, Identity};
use super::http::HttpFlow;
use super::ssh::SshFlow;
use super::tls::TlsFlow;
use crate::key::{End, FlowTuple};
use crate::memory::{Index, prefetch_whole};
use crate::metrics::FlowFacts;

/// Most flows that are remembered; the oldest is forgotten, what it had is told first.
const MAX_FLOWS: usize = 131_072;

/// A flow that goes on.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The client, if known.
    pub client: Option<End>,
    /// Where its packets come from, if known.
    pub origin: Option<u16>,
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
    /// A flow of which some things are known, looked at from one end, and what tells it apart.
    pub fn told(&mut self, ends: Ends, facts: FlowFacts) -> Told {
        // Without its first message a flow of ICMP was told of before.
        if facts.icmp.is_some() {
            self.identity = self.identity.filter(|identity| identity.community_id().is_some());
        }
        (ends, *self.identity.get_or_insert_with(|| ends.identity(facts)))
    }

    /// Whether pieces of events are left.
    pub fn is_unfinished(&self) -> bool {
        self.tls.is_some() || self.ssh.is_some() || !self.http.is_empty()
    }

    /// Forgets everything; what memory little things had is kept.
    fn begin_anew(&mut self) {
        let (http, dns) = (std::mem::take(&mut self.http), std::mem::take(&mut self.dns));
        *self = Self { http: http.emptied(), dns: dns.emptied(), ..Self::default() };
    }
}

/// Who an event is about.
pub(super) type Told = (Ends, Identity);

/// A place for a flow that is remembered, or that was.
#[derive(Debug)]
struct Slot {
    tuple: FlowTuple,
    /// Number of the flow, from 1; 0 if the place is free.
    number: u64,
    followed: Followed,
}

/// The flows that go on. Places are used again, those left last first: flows are many and short, and what was touched lately
/// is near.
#[derive(Debug, Default)]
pub(super) struct FlowTable {
    index: Index,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Places and numbers in order of appearance; those that are gone are left out when their turn comes.
    order: VecDeque<(u32, u64)>,
    hasher: RandomState,
    last: u64,
    /// Flows that had to make room.
    pub forgotten: u64,
}

impl FlowTable {
    fn hash(&self, flow: &FlowTuple) -> u32 {
        (self.hasher.hash_one(flow) >> 32) as u32
    }

    fn find(&self, hash: u32, flow: &FlowTuple) -> Option<u32> {
        self.index.find(hash, |slot| self.slots[slot as usize].tuple == *flow)
    }

    /// Asks the memory for what the other methods look at, for several flows at once: the waits overlap.
    pub fn ask_for(&self, flows: impl Iterator<Item = FlowTuple> + Clone) {
        for flow in flows.clone() {
            self.index.prefetch(self.hash(&flow));
        }
        for flow in flows {
            // The first one with this hash, which is nearly always the one.
            if let Some(slot) = self.index.find(self.hash(&flow), |_| true) {
                prefetch_whole(&self.slots[slot as usize]);
            }
        }
    }

    /// A flow; remembered from now on if it was not. Besides, the one that had to make room, if something of it is to be told.
    pub fn follow(&mut self, flow: FlowTuple) -> (&mut Followed, Option<(FlowTuple, Followed)>) {
        let hash = self.hash(&flow);
        if let Some(slot) = self.find(hash, &flow) {
            return (&mut self.slots[slot as usize].followed, None);
        }
        let mut gone = None;
        if self.slots.len() - self.free.len() >= MAX_FLOWS
            && let Some((flow, followed)) = self.forget_oldest()
        {
            gone = followed.is_unfinished().then(|| (flow, std::mem::take(followed)));
            self.forgotten += 1;
        }
        if self.order.len() > 2 * MAX_FLOWS {
            let slots = &self.slots;
            self.order.retain(|&(slot, number)| slots[slot as usize].number == number);
        }
        self.last += 1;
        let number = self.last;
        let slot = match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                (place.tuple, place.number) = (flow, number);
                place.followed.begin_anew();
                slot
            }
            None => {
                self.slots.push(Slot { tuple: flow, number, followed: Followed::default() });
                self.slots.len() as u32 - 1
            }
        };
        self.index.insert(hash, slot);
        self.order.push_back((slot, number));
        (&mut self.slots[slot as usize].followed, gone)
    }

    /// A flow, if it is remembered.
    pub fn get(&self, flow: &FlowTuple) -> Option<&Followed> {
        let slot = self.find(self.hash(flow), flow)?;
        Some(&self.slots[slot as usize].followed)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, flow: &FlowTuple) -> Option<&mut Followed> {
        let slot = self.find(self.hash(flow), flow)?;
        Some(&mut self.slots[slot as usize].followed)
    }

    /// A flow has ended: what was remembered of it.
    pub fn end(&mut self, flow: &FlowTuple) -> Option<&mut Followed> {
        let hash = self.hash(flow);
        let slot = self.find(hash, flow)?;
        Some(self.leave(hash, slot))
    }

    /// The flow that is remembered for longest, which is remembered no more.
    pub fn forget_oldest(&mut self) -> Option<(FlowTuple, &mut Followed)> {
        while let Some((slot, number)) = self.order.pop_front() {
            let place = &self.slots[slot as usize];
            if place.number == number {
                let tuple = place.tuple;
                return Some((tuple, self.leave(self.hash(&tuple), slot)));
            }
        }
        None
    }

    fn leave(&mut self, hash: u32, slot: u32) -> &mut Followed {
        self.index.remove(hash, slot);
        self.free.push(slot);
        let place = &mut self.slots[slot as usize];
        place.number = 0;
        &mut place.followed
    }
}

#[cfg(test)]
mod tests {
    use super::{FlowTable, MAX_FLOWS};
    use crate::key::{End, FlowTuple};
    use crate::sink::eve::DnsFacts;

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
        table.follow(tuple(1)).0.tls = Some(Box::default());
        assert!(table.follow(tuple(1 << 24)).1.is_none() && table.forgotten == 0);
        // One of which something is to be told, and one of which nothing is.
        assert_eq!(table.follow(tuple(1 << 25)).1.map(|(flow, _)| flow), Some(tuple(1)));
        assert!(table.follow(tuple(1 << 26)).1.is_none() && table.forgotten == 2);
        assert!(table.get(&tuple(1)).is_none() && table.get(&tuple(2)).is_none() && table.get(&tuple(3)).is_some());
    }

    #[test]
    fn a_storm_of_short_flows_holds_little() {
        let mut table = FlowTable::default();
        for number in 0..1_000_000 {
            table.follow(tuple(number));
            table.end(&tuple(number));
        }
        assert!(table.slots.len() == 1 && table.order.len() <= 2 * MAX_FLOWS + 1);
    }

    #[test]
    fn a_place_that_is_used_again_knows_nothing_of_the_flow_before() {
        let mut table = FlowTable::default();
        let followed = table.follow(tuple(1)).0;
        (followed.app, followed.alerted, followed.client) = (Some("http"), true, Some(End::Z));
        followed.tls = Some(Box::default());
        followed.http.header(7, End::A, End::A, b"GET / HTTP/1.1");
        followed.dns.place(&DnsFacts { id: 5, ..DnsFacts::default() });
        assert!(table.end(&tuple(1)).is_some_and(|followed| followed.is_unfinished()));
        assert!(table.end(&tuple(1)).is_none());
        let followed = table.follow(tuple(2)).0;
        assert!(!followed.is_unfinished() && !followed.alerted);
        assert_eq!((followed.app, followed.client, followed.identity), (None, None, None));
        assert_eq!(followed.dns.place(&DnsFacts { id: 5, flags: 0x8000, ..DnsFacts::default() }), 0);
        followed.http.header(7, End::A, End::A, b"GET / HTTP/1.1");
        assert_eq!(followed.http.take()[0].place, 0);
    }
}
