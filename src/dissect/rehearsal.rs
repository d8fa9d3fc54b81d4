//! Conversations made up by tests, and what the dissectors find in them.

use std::collections::BTreeMap;

use proptest::test_runner::TestCaseError;

use super::{DissectWants, Dissectors, FindingKind, Findings};
use crate::flow::{Direction, EndReason, Flow, FlowEvent, FlowEvents, FlowHandle, FlowLookup, Happening, Want, state};
use crate::key::FlowTuple;
use crate::packet::Batch;
use crate::time::Timestamp;

/// Everything that can be asked for, but for what events are made from: that repeats the rest.
pub const ALL: DissectWants = DissectWants { events: Want::No, ..DissectWants::ALL };

/// What one end says.
pub type Said = (Direction, Vec<u8>);

#[derive(Default)]
struct Table(BTreeMap<FlowHandle, Flow>);

impl FlowLookup for Table {
    fn flow(&self, handle: FlowHandle) -> Option<&Flow> {
        self.0.get(&handle)
    }
}

/// Flows, their dissectors, and what was found.
pub struct Rehearsal {
    pub dissectors: Dissectors,
    flows: Table,
    events: FlowEvents,
    positions: BTreeMap<(FlowHandle, Direction), u64>,
    pub now: Timestamp,
    /// One line per finding.
    pub found: Vec<String>,
}

impl Rehearsal {
    pub fn new(wants: DissectWants) -> Self {
        Self {
            dissectors: Dissectors::new(wants),
            flows: Table::default(),
            events: FlowEvents::default(),
            positions: BTreeMap::new(),
            now: Timestamp::new(1_000, 0),
            found: Vec::new(),
        }
    }

    fn push(&mut self, flow: FlowHandle, what: Happening) {
        self.events.push(FlowEvent { packet: 0, flow, time: self.now, what });
    }

    /// A new flow from 10.0.0.1 and a port of its own to 10.0.0.2.
    pub fn open(&mut self, proto: u8, port: u16, bits: u16) -> FlowHandle {
        let slot = self.flows.0.len() as u32;
        self.open_between(slot, (proto, [10, 0, 0, 1], 50_000 + slot as u16, port), bits)
    }

    /// A new flow in a slot, from an address and port to 10.0.0.2 and a port.
    pub fn open_between(&mut self, slot: u32, ends: (u8, [u8; 4], u16, u16), bits: u16) -> FlowHandle {
        let generation = self.flows.0.keys().filter(|known| known.slot == slot).count() as u32;
        let handle = FlowHandle { slot, generation };
        let (tuple, sender) = FlowTuple::v4(ends.0, ends.1, [10, 0, 0, 2], ends.2, ends.3);
        let server = if sender == crate::key::End::A { state::Z_END_SERVER } else { state::A_END_SERVER };
        let flow = Flow { state: state::INIT | server | bits, ..Flow::new(tuple, self.now) };
        self.flows.0.insert(handle, flow);
        self.push(handle, Happening::New);
        handle
    }

    /// A TCP flow seen from its beginning.
    pub fn connect(&mut self, port: u16) -> FlowHandle {
        self.open(6, port, state::SEEN_SYN)
    }

    /// A UDP flow.
    pub fn exchange(&mut self, port: u16) -> FlowHandle {
        self.open(17, port, 0)
    }

    pub fn say(&mut self, flow: FlowHandle, direction: Direction, said: &[u8]) {
        if said.is_empty() {
            return;
        }
        let bytes = self.events.hold(said);
        let tcp = self.flows.0[&flow].tuple.proto == 6;
        let next = self.positions.entry((flow, direction)).or_default();
        let position = *next;
        *next += said.len() as u64;
        let what = if tcp {
            Happening::Payload { direction, position, bytes }
        } else {
            Happening::Datagram { direction, bytes }
        };
        self.push(flow, what);
    }

    pub fn gap(&mut self, flow: FlowHandle, direction: Direction, missing: u64) {
        let next = self.positions.entry((flow, direction)).or_default();
        let position = *next;
        *next += missing;
        self.push(flow, Happening::Gap { direction, position, missing });
    }

    pub fn end(&mut self, flow: FlowHandle) {
        self.flows.0.get_mut(&flow).expect("a flow that was opened").state |= state::SEEN_FIN;
        self.push(flow, Happening::End { reason: EndReason::Fin });
    }

    /// Lets the dissectors work on what has happened.
    pub fn run(&mut self) {
        self.dissectors.process(&Batch::new(), &self.events, &self.flows);
        self.events.clear();
        self.collect();
    }

    /// What was said is a batch of its own, as it is in a pipeline.
    pub fn batch(&mut self) {
        self.run();
        for flow in self.dissectors.take_turned() {
            self.flows.0.get_mut(&flow).expect("a flow that was opened").turn();
        }
    }

    pub fn idle(&mut self) {
        self.dissectors.idle(self.now, &self.flows);
        self.collect();
    }

    fn collect(&mut self) {
        let findings = self.dissectors.findings();
        assert!(findings.list().is_sorted_by_key(|finding| finding.after));
        self.found.extend(findings.list().iter().map(|finding| line(findings, finding.kind)));
    }

    /// Count of an oddity.
    pub fn count(&self, name: &str) -> u64 {
        self.dissectors.counts().named().iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

fn line(findings: &Findings, kind: FindingKind) -> String {
    let text = |text| findings.bytes(text).escape_ascii().to_string();
    match kind {
        FindingKind::Recognised { protocol } => format!("{protocol:?}"),
        FindingKind::Attribute { name, value } => format!("{}={}", text(name), text(value)),
        FindingKind::Resource { uri, label, .. } => format!("{} -> {}", text(uri), text(label)),
        FindingKind::Document { text: all, .. } => text(all),
        FindingKind::HostName { mac, ip, name } => format!("{mac:x?} {ip:?} {}", text(name)),
        other => format!("{other:?}"),
    }
}

/// What is found in one TCP conversation from its beginning to its end.
pub fn overheard(said: &[Said]) -> Vec<String> {
    let mut rehearsal = Rehearsal::new(ALL);
    let flow = rehearsal.connect(7);
    for (direction, bytes) in said {
        rehearsal.say(flow, *direction, bytes);
    }
    rehearsal.end(flow);
    rehearsal.run();
    assert_eq!(rehearsal.dissectors.held(), 0, "flows that have ended hold nothing");
    rehearsal.found
}

/// Checks that a conversation gives the same findings when each thing said is cut at the places given.
pub fn check_pieces(said: &[Said], cuts: &[usize]) -> Result<(), TestCaseError> {
    let mut pieces = Vec::new();
    for (direction, bytes) in said {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
        places.sort_unstable();
        pieces.extend(places.windows(2).map(|pair| (*direction, bytes[pair[0]..pair[1]].to_vec())));
    }
    proptest::prop_assert_eq!(overheard(&pieces), overheard(said));
    Ok(())
}
