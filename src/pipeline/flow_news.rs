//! What is told of flows second by second: which appeared, which were active, which have gone on for long.

use super::flow_stage::{session_of, session_of_record};
use crate::api::EngineContext;
use crate::backend::{BackendWants, Item};
use crate::flow::{Flow, FlowHandle, Flows, Happening, state};
use crate::metrics::Session;

/// Seconds of life between two interim records.
const INTERIM: i64 = 300;
/// Flows told of in one second, of each kind; more are left out and counted.
const MAX_FLOWS: usize = 100_000;
/// Handles kept for interim records before those of ended flows are dropped.
const MAX_ENDED: usize = 1 << 16;
/// Bits of a flow that has ended.
const OVER: u16 = state::TERMINATED | state::TIMEDOUT | state::SEEN_RST | state::ERROR;

/// Flows of one engine, as far as the backend wants to know.
#[derive(Debug)]
pub struct FlowNews {
    new: bool,
    active: bool,
    interim: bool,
    /// Flows that appeared, with the second, as they were at the end of the batch.
    appeared: Vec<(i64, FlowHandle, Box<Session>)>,
    /// Flows with packets, each once in a second.
    touched: Vec<(i64, FlowHandle)>,
    /// The second of the last packet of each slot's flow.
    stamps: Vec<i64>,
    /// Flows that go on, by the second of the minute-five they began in.
    rounds: Vec<Vec<FlowHandle>>,
    /// Handles in all rounds, those of ended flows among them.
    kept: usize,
    dropped: u64,
}

impl FlowNews {
    /// Watches what is wanted; `None` if nothing is.
    #[must_use]
    pub fn new(wants: &BackendWants) -> Option<Self> {
        wants.any_flows().then(|| Self {
            new: wants.new_flows,
            active: wants.active_flows,
            interim: wants.flows,
            appeared: Vec::new(),
            touched: Vec::new(),
            stamps: Vec::new(),
            rounds: if wants.flows { vec![Vec::new(); INTERIM as usize] } else { Vec::new() },
            kept: 0,
            dropped: 0,
        })
    }

    /// Watches more from now on. Flows that go on count as known.
    pub fn widen(&mut self, wants: &BackendWants) {
        self.new |= wants.new_flows;
        self.active |= wants.active_flows;
        if wants.flows && !self.interim {
            self.interim = true;
            self.rounds = vec![Vec::new(); INTERIM as usize];
        }
    }

    /// Looks at a batch that has just been tracked.
    pub fn see(&mut self, context: &EngineContext) {
        let flows = context.flows.borrow();
        let Some(flows) = flows.as_ref() else { return };
        if self.new || self.interim {
            for event in flows.events().list().iter().filter(|event| event.what == Happening::New) {
                let Some(flow) = flows.flow(event.flow) else { continue };
                if self.interim {
                    if self.kept > MAX_ENDED.max(2 * flows.live()) {
                        self.drop_ended(flows);
                    }
                    self.kept += 1;
                    let round = flow.first.secs().rem_euclid(INTERIM) as usize;
                    self.rounds[round].push(event.flow);
                }
                if self.new && self.appeared.len() >= MAX_FLOWS {
                    self.dropped += 1;
                } else if self.new {
                    let session = Box::new(session(flows, event.flow, flow));
                    self.appeared.push((event.time.secs(), event.flow, session));
                }
            }
        }
        if self.active {
            let batch = context.batch.borrow();
            for (index, packet) in batch.packets().iter().enumerate() {
                let Some(of_packet) = flows.of_packet(index) else { continue };
                let (slot, second) = (of_packet.flow.slot as usize, packet.ts.secs());
                if self.stamps.len() <= slot {
                    self.stamps.resize((slot + 1).next_power_of_two(), i64::MIN);
                }
                if self.stamps[slot] != second {
                    self.stamps[slot] = second;
                    if self.touched.len() < MAX_FLOWS {
                        self.touched.push((second, of_packet.flow));
                    } else {
                        self.dropped += 1;
                    }
                }
            }
        }
    }

    /// A flood of short flows must not fill the rounds.
    fn drop_ended(&mut self, flows: &Flows) {
        for round in &mut self.rounds {
            round.retain(|&handle| flows.flow(handle).is_some_and(goes_on));
        }
        self.kept = self.rounds.iter().map(Vec::len).sum();
    }

    /// Flows that were left out.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many flows appeared, in packets or by the word of a script, and were not told of yet.
    pub fn appeared(&self, context: &EngineContext) -> usize {
        let flows = context.flows.borrow();
        let opened = flows.as_ref().filter(|_| self.new).map_or(0, Flows::opened_records);
        self.appeared.len() + opened
    }

    /// The flows that appeared up to a second, as they are now.
    pub fn take_new(&mut self, context: &EngineContext, second: i64, before: &mut Vec<Item>) {
        let mut flows = context.flows.borrow_mut();
        let Some(flows) = flows.as_mut() else { return };
        for (_, handle, known) in self.appeared.extract_if(.., |(at, ..)| *at <= second) {
            let now = flows.flow(handle).map(|flow| Box::new(session(flows, handle, flow)));
            before.push(Item::NewFlow(now.unwrap_or(known)));
        }
        flows.tell_opened_records(second, |record| {
            if self.new {
                before.push(Item::NewFlow(Box::new(session_of_record(record))));
            }
        });
    }

    /// The flows that appeared up to a second that is over, and those active in it.
    pub fn take(&mut self, context: &EngineContext, second: i64, before: &mut Vec<Item>) {
        self.take_new(context, second, before);
        let mut flows = context.flows.borrow_mut();
        let Some(flows) = flows.as_mut() else { return };
        for (_, handle) in self.touched.extract_if(.., |(at, _)| *at <= second) {
            // One that ended in the second is told of as such.
            if let Some(flow) = flows.flow(handle).filter(|flow| goes_on(flow) || flow.last.secs() > second) {
                before.push(Item::ActiveFlow(Box::new(session(flows, handle, flow))));
            }
        }
        if self.active {
            flows.tell_active_records(second, |record| {
                before.push(Item::ActiveFlow(Box::new(session_of_record(record))));
            });
        }
    }

    /// The flows that are due for an interim record when time moves from one second to another.
    pub fn interim(&mut self, context: &EngineContext, from: i64, to: i64, items: &mut Vec<Item>) {
        let mut flows = context.flows.borrow_mut();
        let Some(flows) = flows.as_mut().filter(|_| self.interim) else { return };
        // After a turn every flow has been looked at.
        for second in from.max(to.saturating_sub(INTERIM)).saturating_add(1)..=to {
            let round = &mut self.rounds[second.rem_euclid(INTERIM) as usize];
            let before = round.len();
            round.retain(|&handle| {
                let Some(flow) = flows.flow(handle).filter(|flow| goes_on(flow)) else { return false };
                if flow.first.secs() < second {
                    items.push(Item::Interim(Box::new(session(flows, handle, flow))));
                }
                true
            });
            self.kept -= before - round.len();
            flows.tell_records_of_age(second, INTERIM, |record| {
                items.push(Item::Interim(Box::new(session_of_record(record))));
            });
        }
    }
}

fn goes_on(flow: &Flow) -> bool {
    flow.shown_state() & OVER == 0
}

/// A flow that goes on.
fn session(flows: &Flows, handle: FlowHandle, flow: &Flow) -> Session {
    let session = session_of(flow);
    // It may have ended later in the batch.
    let state = session.state & !(state::TERMINATED | state::TIMEDOUT | state::ERROR);
    Session { tags: flows.tags(handle).to_vec(), state, ..session }
}

#[cfg(test)]
mod tests {
    use super::FlowNews;
    use crate::api::{EngineContext, Peers};
    use crate::backend::BackendWants;
    use crate::flow::{FlowWants, Flows, FlowsConfig};
    use crate::metrics::{Registry, Shard, ShardConfig};
    use crate::time::Timestamp;
    use std::sync::Arc;

    #[test]
    fn flows_that_scripts_open_crowd_a_second_as_those_in_packets_do() {
        let groups = Arc::new(Registry::new());
        let shard = Shard::new(&groups, ShardConfig::default());
        let context = EngineContext::new(0, shard, groups, Arc::default(), Peers::default());
        let mut flows = Flows::new(FlowsConfig::default(), FlowWants::default());
        for number in 0..3 {
            flows.update(format!("{number}").as_bytes(), 0, 1.0, Timestamp::new(100, 0));
        }
        *context.flows.borrow_mut() = Some(flows);
        let watch = |wants: BackendWants| FlowNews::new(&wants).expect("somebody wants flows");
        let mut news = watch(BackendWants { new_flows: true, ..BackendWants::default() });
        assert_eq!(news.appeared(&context), 3);
        let mut items = Vec::new();
        news.take_new(&context, 100, &mut items);
        assert_eq!((items.len(), news.appeared(&context)), (3, 0));
        let news = watch(BackendWants { flows: true, ..BackendWants::default() });
        if let Some(flows) = &mut *context.flows.borrow_mut() {
            flows.update(b"more", 0, 1.0, Timestamp::new(101, 0));
        }
        assert_eq!(news.appeared(&context), 0, "nobody is told of them");
    }
}
