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
    /// Of each slot, the second of the last packet and the generation of the flow that had it.
    stamps: Vec<(i64, u32)>,
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
                    self.stamps.resize((slot + 1).next_power_of_two(), (i64::MIN, 0));
                }
                let stamp = (second, of_packet.flow.generation);
                if self.stamps[slot] != stamp {
                    self.stamps[slot] = stamp;
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
    use super::{FlowNews, MAX_FLOWS};
    use crate::api::{EngineContext, Peers};
    use crate::backend::{BackendWants, Item};
    use crate::decode::Decoder;
    use crate::flow::{FlowHandle, FlowWants, Flows, FlowsConfig, Fragments, Want};
    use crate::metrics::{Registry, Session, Shard, ShardConfig};
    use crate::packet::{Batch, LinkType, Packet};
    use crate::pipeline::flow_stage::session_of;
    use crate::time::Timestamp;
    use std::ops::Range;
    use std::sync::Arc;

    fn context(wants: FlowWants) -> EngineContext {
        let groups = Arc::new(Registry::new());
        let shard = Shard::new(&groups, ShardConfig::default());
        let context = EngineContext::new(0, shard, groups, Arc::default(), Peers::default());
        *context.flows.borrow_mut() = Some(Flows::new(FlowsConfig::default(), wants));
        context
    }

    fn with_flows<R>(context: &EngineContext, act: impl FnOnce(&mut Flows) -> R) -> R {
        act(context.flows.borrow_mut().as_mut().expect("there are flows"))
    }

    fn watch(wants: BackendWants) -> FlowNews {
        FlowNews::new(&wants).expect("somebody wants flows")
    }

    /// A flow that is not there any more.
    const GONE: FlowHandle = FlowHandle { slot: u32::MAX, generation: u32::MAX };

    /// A batch of one datagram from each of these ports.
    fn batch(context: &EngineContext, second: i64, ports: Range<u16>) {
        let mut batch = Batch::new();
        for port in ports {
            let offset = batch.buffer.len() as u32;
            batch.buffer.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            batch.buffer.extend(port.to_be_bytes());
            batch.buffer.extend([0x17, 0x70, 0, 8, 0, 0]);
            batch.push(Packet::new(Timestamp::new(second, 0), offset, 28, 28, LinkType::RAW, 0));
        }
        Decoder::new().decode(&context.protocols, &mut batch);
        with_flows(context, |flows| flows.process(&batch, &Fragments::default()));
        *context.batch.borrow_mut() = batch;
    }

    const RECORDS: FlowWants = FlowWants { records: Want::Yes, streams: Want::No, datagrams: Want::No };

    #[test]
    fn flows_that_appear_beyond_the_limit_are_counted() {
        let context = context(RECORDS);
        let mut news = watch(BackendWants { new_flows: true, ..BackendWants::default() });
        news.appeared = vec![(100, GONE, Box::<Session>::default()); MAX_FLOWS - 1];
        batch(&context, 100, 1_000..1_003);
        news.see(&context);
        assert_eq!((news.appeared(&context), news.dropped()), (MAX_FLOWS, 2));
        let mut items = Vec::new();
        news.take_new(&context, 100, &mut items);
        assert_eq!(items.len(), MAX_FLOWS);
        let told = items.iter().filter(|item| matches!(item, Item::NewFlow(flow) if !flow.id.is_empty()));
        assert_eq!(told.count(), 1);
        // Those have left: there is room again. Flows that are known do not appear.
        batch(&context, 100, 1_001..1_007);
        news.see(&context);
        assert_eq!((news.appeared(&context), news.dropped()), (4, 2));
    }

    #[test]
    fn flows_that_are_active_beyond_the_limit_of_a_second_are_counted_once_in_it() {
        let context = context(RECORDS);
        let mut news = watch(BackendWants { active_flows: true, ..BackendWants::default() });
        news.touched = vec![(100, GONE); MAX_FLOWS - 1];
        for _ in 0..2 {
            batch(&context, 100, 1_000..1_003);
            news.see(&context);
        }
        assert_eq!(news.dropped(), 2);
        let active = |news: &mut FlowNews, second| {
            let mut items = Vec::new();
            news.take(&context, second, &mut items);
            assert!(items.iter().all(|item| matches!(item, Item::ActiveFlow(_))), "{items:?}");
            items.len()
        };
        assert_eq!(active(&mut news, 100), 1, "the others are left out or gone");
        batch(&context, 101, 1_000..1_003);
        news.see(&context);
        assert_eq!((active(&mut news, 101), news.dropped()), (3, 2));
    }

    #[test]
    fn a_flow_that_takes_the_place_of_one_that_ended_in_the_same_second_is_active_as_well() {
        let context = context(RECORDS);
        let mut news = watch(BackendWants { active_flows: true, ..BackendWants::default() });
        let of_first = || with_flows(&context, |flows| flows.of_packet(0).expect("a flow").flow);
        let id_of = |handle| with_flows(&context, |flows| session_of(flows.flow(handle).expect("a flow")).id);
        batch(&context, 100, 1_000..1_001);
        news.see(&context);
        let first = of_first();
        let id = id_of(first);
        with_flows(&context, |flows| {
            flows.terminate(&id, Timestamp::new(100, 0));
            flows.expire(Timestamp::new(100, 0));
            flows.settle();
        });
        batch(&context, 100, 2_000..2_001);
        news.see(&context);
        let second = of_first();
        assert_eq!(second.slot, first.slot);
        let mut items = Vec::new();
        news.take(&context, 100, &mut items);
        assert!(matches!(&items[..], [Item::ActiveFlow(flow)] if flow.id == id_of(second)), "{items:?}");
    }

    #[test]
    fn flows_that_scripts_open_crowd_a_second_as_those_in_packets_do() {
        let context = context(FlowWants::default());
        with_flows(&context, |flows| {
            for number in 0..3 {
                flows.update(format!("{number}").as_bytes(), 0, 1.0, Timestamp::new(100, 0));
            }
        });
        let mut news = watch(BackendWants { new_flows: true, ..BackendWants::default() });
        assert_eq!(news.appeared(&context), 3);
        let mut items = Vec::new();
        news.take_new(&context, 100, &mut items);
        assert_eq!((items.len(), news.appeared(&context)), (3, 0));
        let news = watch(BackendWants { flows: true, ..BackendWants::default() });
        with_flows(&context, |flows| flows.update(b"more", 0, 1.0, Timestamp::new(101, 0)));
        assert_eq!(news.appeared(&context), 0, "nobody is told of them");
    }
}
