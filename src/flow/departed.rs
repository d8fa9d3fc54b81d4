//! Flows in packets that ended: for a while it is known that there were such ones, so that what scripts say of them then,
//! as when a job has taken its time, is not taken for news of flows that are in no packets.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::key::FlowTuple;
use crate::time::Timestamp;

/// How long a flow is known after its end, on stream time.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Flows that are known; more push out those that ended first.
const MAX_KNOWN: usize = 1 << 16;

/// When a flow ended, and when its last packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Departure {
    ended: Timestamp,
    last: Timestamp,
}

/// The flows that ended last; none unless scripts speak of flows.
#[derive(Debug, Default)]
pub(super) struct Departed {
    flows: Option<HashMap<FlowTuple, Departure, RandomState>>,
    // In the order of their ends; an entry that is not that of its flow is over.
    queue: VecDeque<(Timestamp, FlowTuple)>,
}

impl Departed {
    /// Flows that end from now on are known for a while. Takes the room for that at once.
    pub(super) fn begin(&mut self) {
        if self.flows.is_none() {
            self.flows = Some(HashMap::with_capacity_and_hasher(MAX_KNOWN, RandomState::default()));
            self.queue.reserve(MAX_KNOWN);
        }
    }

    /// Whether flows are known.
    pub(super) const fn has_begun(&self) -> bool {
        self.flows.is_some()
    }

    /// A flow has ended.
    pub(super) fn note(&mut self, tuple: FlowTuple, last: Timestamp, ended: Timestamp) {
        let Some(flows) = &mut self.flows else { return };
        while let Some(&(since, first)) = self.queue.front()
            && (self.queue.len() >= MAX_KNOWN || ended.since(since) >= KNOWN_FOR)
        {
            self.queue.pop_front();
            if flows.get(&first).is_some_and(|departure| departure.ended == since) {
                flows.remove(&first);
            }
        }
        self.queue.push_back((ended, tuple));
        flows.insert(tuple, Departure { ended, last });
    }

    /// When the last packet of a flow came that has ended.
    pub(super) fn last_of(&self, tuple: &FlowTuple, now: Timestamp) -> Option<Timestamp> {
        let departure = self.flows.as_ref()?.get(tuple)?;
        (now.since(departure.ended) < KNOWN_FOR).then_some(departure.last)
    }
}

#[cfg(test)]
mod tests {
    use super::{Departed, MAX_KNOWN};
    use crate::key::FlowTuple;
    use crate::time::Timestamp;

    fn flow(number: u32) -> FlowTuple {
        FlowTuple::v4(17, [10, 0, (number >> 8) as u8, number as u8], [10, 1, 0, (number >> 16) as u8], 5_000, 53).0
    }

    #[test]
    fn flows_are_known_for_five_minutes_after_their_latest_end() {
        let at = |seconds| Timestamp::new(seconds, 0);
        let mut departed = Departed::default();
        departed.note(flow(1), at(9), at(10));
        assert_eq!(departed.last_of(&flow(1), at(10)), None, "nobody speaks of flows");
        departed.begin();
        departed.note(flow(1), at(9), at(10));
        departed.note(flow(2), at(10), at(10));
        departed.note(flow(1), at(100), at(160));
        assert_eq!(departed.last_of(&flow(1), at(459)), Some(at(100)));
        assert_eq!(departed.last_of(&flow(1), at(460)), None);
        assert_eq!(departed.last_of(&flow(2), at(309)), Some(at(10)));
        assert_eq!(departed.last_of(&flow(2), at(310)), None);
        departed.note(flow(3), at(320), at(320));
        assert_eq!(departed.last_of(&flow(1), at(320)), Some(at(100)), "its first end is over, its second is not");
        assert_eq!(departed.queue.len(), 2);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut departed = Departed::default();
        departed.begin();
        for number in 0..MAX_KNOWN as u32 + 10 {
            departed.note(flow(number), Timestamp::EPOCH, Timestamp::EPOCH);
        }
        assert_eq!(departed.queue.len(), MAX_KNOWN);
        assert_eq!(departed.last_of(&flow(9), Timestamp::EPOCH), None);
        assert!(departed.last_of(&flow(10), Timestamp::EPOCH).is_some());
    }
}
