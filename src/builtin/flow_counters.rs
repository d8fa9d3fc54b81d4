//! Flow counters: from some packet on, every packet of a flow adds its wire length to a key.

use super::survey::FlowView;
use crate::flow::{Attached, Direction, FlowCounter, FlowEvents, FlowHandle, Flows};
use crate::metrics::{CountedDirection, GroupIndex, Shard};
use crate::packet::Batch;
use crate::time::Timestamp;

/// A change of the counters of a flow, at a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterCommand {
    /// Index in the batch of the packet that led to it, which is counted already; [`FlowEvents::NO_PACKET`] for what
    /// happened before the stretch.
    pub packet: u32,
    /// Which flow.
    pub target: CounterTarget,
    /// What.
    pub what: CounterWhat,
}

/// How a flow is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterTarget {
    /// By native modules.
    Flow(FlowHandle),
    /// By scripts.
    Id(Box<[u8]>),
}

/// What is done with its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterWhat {
    /// One more.
    Attach(FlowCounter),
    /// Those of a group are removed.
    Detach(GroupIndex),
}

/// The counters of the flows, as the flow table keeps them.
pub trait CounterTable: FlowView {
    /// The counters of a flow.
    fn counters(&self, flow: FlowHandle) -> &[FlowCounter];

    /// Attaches one.
    fn attach(&mut self, id: &[u8], counter: FlowCounter, now: Timestamp) -> Attached;

    /// Removes those of a group.
    fn detach(&mut self, id: &[u8], group: GroupIndex);
}

impl CounterTable for Flows {
    #[inline]
    fn counters(&self, flow: FlowHandle) -> &[FlowCounter] {
        Self::counters(self, flow)
    }

    fn attach(&mut self, id: &[u8], counter: FlowCounter, now: Timestamp) -> Attached {
        self.add_counter(id, counter, now)
    }

    fn detach(&mut self, id: &[u8], group: GroupIndex) {
        self.reset_counters(id, group);
    }
}

/// Counts the packets of flows that have counters. As long as there are none, it does not look at packets.
#[derive(Debug, Default)]
pub struct FlowCounters {
    /// By slot of the flow table, one bit each: the flow may have counters.
    marked: Vec<u64>,
    is_any_marked: bool,
    /// A counter waits, or waited, for its flow, which no bit tells.
    is_any_waiting: bool,
}

impl FlowCounters {
    /// Nothing attached yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out `commands` (in packet order) up to the end of the stretch and counts its packets: each command from
    /// its own packet on. Commands behind the stretch are left in the list.
    pub fn run<T: CounterTable>(
        &mut self,
        batch: &Batch,
        stretch: std::ops::Range<usize>,
        commands: &mut Vec<CounterCommand>,
        table: &mut T,
        shard: &mut Shard,
    ) {
        let is_due = |command: &CounterCommand| {
            command.packet == FlowEvents::NO_PACKET || (command.packet as usize) < stretch.end
        };
        let due = commands.iter().position(|command| !is_due(command)).unwrap_or(commands.len());
        let mut due = commands.drain(..due).peekable();
        let packets = batch.packets();
        if due.peek().is_none() && !self.is_any_marked && !self.is_any_waiting {
            return;
        }
        let place = |command: &CounterCommand| match command.packet {
            FlowEvents::NO_PACKET => 0,
            packet => packet as usize,
        };
        let mut next = due.peek().map_or(usize::MAX, place);
        for (index, packet) in packets.iter().enumerate().take(stretch.end).skip(stretch.start) {
            while next <= index {
                due.next().into_iter().for_each(|command| self.apply(command, table, packet.ts));
                next = due.peek().map_or(usize::MAX, place);
            }
            let Some(of) = table.of_packet(index) else { continue };
            if !self.may_have(of.flow) {
                continue;
            }
            for counter in table.counters(of.flow) {
                let counts = match counter.direction {
                    CountedDirection::Both => true,
                    CountedDirection::Out => of.direction == Direction::ToServer,
                    CountedDirection::In => of.direction == Direction::ToClient,
                };
                if counts {
                    // What the shard refuses, it counts.
                    let _ = shard.update(counter.group, &counter.key, counter.meter, f64::from(packet.wirelen));
                }
            }
        }
    }

    /// Carries out one command, without counting packets.
    pub fn apply<T: CounterTable>(&mut self, command: CounterCommand, table: &mut T, now: Timestamp) {
        let own;
        let id: &[u8] = match &command.target {
            CounterTarget::Id(id) => id,
            CounterTarget::Flow(handle) => {
                let Some(flow) = table.flow(*handle) else { return };
                own = flow.tuple.id();
                own.as_bytes()
            }
        };
        match command.what {
            CounterWhat::Detach(group) => table.detach(id, group),
            CounterWhat::Attach(counter) => match table.attach(id, counter, now) {
                Attached::Added(flow) => self.mark(flow),
                Attached::Waiting => self.is_any_waiting = true,
                Attached::Known | Attached::Full => {}
            },
        }
    }

    fn mark(&mut self, flow: FlowHandle) {
        let (word, bit) = (flow.slot as usize / 64, flow.slot % 64);
        if word >= self.marked.len() {
            self.marked.resize(word + 1, 0);
        }
        self.marked[word] |= 1 << bit;
        self.is_any_marked = true;
    }

    #[inline]
    fn may_have(&self, flow: FlowHandle) -> bool {
        let word = self.marked.get(flow.slot as usize / 64).copied().unwrap_or(0);
        self.is_any_waiting || word >> (flow.slot % 64) & 1 != 0
    }
}
