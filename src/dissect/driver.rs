//! Brings flow events to the dissectors and collects what they find.

use super::attribute_kinds::AttributeKinds;
use super::dissector::{Appetite, Context, Counts, Expectation, Recognition};
use super::expected::{Announced, Expected};
use super::finding::{DissectWants, FindingKind, Findings, Protocol, Transaction};
use super::ftp_data::FtpData;
use super::protocols::{DATAGRAMS, STREAMS};
use super::recogniser::{Recogniser, Verdict};
use super::slots::{Slots, State};
use super::timers::{NoneLeft, Timers};
use super::turned::{Turned, by_ports};
use crate::flow::{Direction, Flow, FlowEvents, FlowHandle, FlowLookup, Happening, Roles, Want};
use crate::packet::Batch;
use crate::time::Timestamp;

/// How often a flow may change its protocol.
const MAX_RESTARTS: u8 = 4;

/// How many datagrams of a flow are looked at before it is given up.
const MAX_TRIES: u8 = 4;

/// How far ahead the memory is asked for what is needed of flows.
const AHEAD: usize = 8;

/// Most announced flows that are taken from one event.
const MAX_ANNOUNCED: usize = 8;

const TCP: u8 = 6;

/// Where and when something happens.
#[derive(Clone, Copy)]
struct At<'a> {
    after: u32,
    handle: FlowHandle,
    flow: &'a Flow,
    time: Timestamp,
}

/// What all dissectors share.
#[derive(Debug)]
struct Desk {
    wants: DissectWants,
    findings: Findings,
    counts: Counts,
    transactions: u64,
    /// Flows of the batch in which the end that counts as the client is the one who answers.
    turned: Vec<FlowHandle>,
}

impl Desk {
    fn context<'a>(&'a mut self, at: At<'a>) -> Context<'a> {
        Context {
            after: at.after,
            handle: at.handle,
            flow: at.flow,
            time: at.time,
            wants: &self.wants,
            findings: &mut self.findings,
            counts: &mut self.counts,
            transactions: &mut self.transactions,
            roles: Roles::Known,
            turned: &mut self.turned,
        }
    }

    fn tells_flows(&self) -> bool {
        (self.wants.attributes_of(AttributeKinds::FLOWS) | self.wants.events).is_yes()
    }

    fn recognised(&mut self, at: At<'_>, protocol: Protocol) {
        if self.wants.protocols.is_yes() {
            self.findings.push(at.after, at.handle, FindingKind::Recognised { protocol });
        }
    }
}

/// The dissectors of all flows of an engine.
#[derive(Debug)]
pub struct Dissectors {
    desk: Desk,
    /// Rows of [`STREAMS`] that are of use, as bits; the same for [`DATAGRAMS`].
    streams: u32,
    datagrams: u32,
    slots: Slots,
    expected: Expected,
    timers: Timers,
    /// Flows that became of no interest while they last, since the last time they were asked for.
    given_up: Vec<FlowHandle>,
}

/// Which dissectors of streams and of datagrams have something to look for.
fn bits_of(wants: &DissectWants) -> (u32, u32) {
    let bits = |wanted: &mut dyn Iterator<Item = Want>| {
        wanted.enumerate().filter(|(_, want)| (*want | wants.protocols).is_yes()).fold(0, |bits, (i, _)| bits | 1 << i)
    };
    (
        bits(&mut STREAMS.iter().map(|row| (row.wanted)(wants))),
        bits(&mut DATAGRAMS.iter().map(|row| (row.wanted)(wants))),
    )
}

impl Dissectors {
    /// [`super::Finding::after`] of what was found without an event, in [`Dissectors::idle`].
    pub const NO_EVENT: u32 = u32::MAX;

    /// Dissectors for what is asked for.
    #[must_use]
    pub fn new(wants: DissectWants) -> Self {
        let (streams, datagrams) = bits_of(&wants);
        Self {
            desk: Desk {
                wants,
                findings: Findings::default(),
                counts: Counts::default(),
                transactions: 0,
                turned: Vec::new(),
            },
            streams,
            datagrams,
            slots: Slots::default(),
            expected: Expected::default(),
            timers: Timers::default(),
            given_up: Vec::new(),
        }
    }

    /// Looks for more from now on than was asked for at first: in flows that begin, and in what those that go on are known
    /// to carry.
    pub fn widen(&mut self, wants: DissectWants) {
        self.desk.wants = self.desk.wants.or(wants);
        (self.streams, self.datagrams) = bits_of(&self.desk.wants);
    }

    /// Takes the events of a batch; replaces the findings.
    pub fn process(&mut self, batch: &Batch, events: &FlowEvents, flows: &impl FlowLookup) {
        self.desk.findings.clear();
        self.desk.turned.clear();
        let list = events.list();
        list.iter().take(2 * AHEAD).for_each(|event| self.slots.prefetch(event.flow));
        for (index, event) in list.iter().enumerate() {
            let after = index as u32;
            // In two steps, the second of which reads what the first one asked for.
            if let Some(later) = list.get(index + 2 * AHEAD) {
                self.slots.prefetch(later.flow);
                flows.prefetch(later.flow);
            }
            if let Some(soon) = list.get(index + AHEAD) {
                self.slots.prefetch_state(soon.flow);
            }
            self.wake(after, event.time, flows);
            if matches!(event.what, Happening::RoundTrip { .. } | Happening::Retransmission { .. }) {
                self.shed(after, event.time, flows);
                continue;
            }
            let Some(flow) = flows.flow(event.flow) else { continue };
            let at = At { after, handle: event.flow, flow, time: event.time };
            match event.what {
                Happening::New => self.begin(at),
                Happening::Payload { direction, position, bytes } if self.streams != 0 => {
                    self.stream(at, direction, position, events.bytes(batch, bytes));
                }
                Happening::Datagram { direction, bytes } if self.datagrams != 0 => {
                    self.datagram(at, direction, events.bytes(batch, bytes));
                }
                Happening::Gap { direction, position, missing } if self.streams != 0 => {
                    self.gap(at, direction, position, missing);
                }
                Happening::End { .. } => self.end(at),
                Happening::Payload { .. }
                | Happening::Datagram { .. }
                | Happening::Gap { .. }
                | Happening::RoundTrip { .. }
                | Happening::Retransmission { .. } => {}
            }
            self.shed(after, event.time, flows);
        }
        // Packets without events let time pass too.
        if let (Some(last), Some(packet)) = (events.list().len().checked_sub(1), batch.packets().last()) {
            self.wake(last as u32, packet.ts, flows);
        }
    }

    /// Lets time pass without packets; replaces the findings, all of which are after [`Dissectors::NO_EVENT`].
    pub fn idle(&mut self, now: Timestamp, flows: &impl FlowLookup) {
        self.desk.findings.clear();
        self.wake(Self::NO_EVENT, now, flows);
    }

    /// What was found last.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.desk.findings
    }

    /// Oddities so far, and what was cut off at limits.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.desk.counts
    }

    /// Bytes that the states of all flows count for.
    #[must_use]
    pub fn held(&self) -> usize {
        self.slots.held()
    }

    /// Whether the rest of a flow is of interest; streams of flows that are not can be stopped.
    #[must_use]
    pub fn follows(&self, handle: FlowHandle) -> Want {
        match self.slots.of(handle) {
            Some(slot) => Want::from(!matches!(slot.state, State::Ignored)),
            None => Want::from(self.streams | self.datagrams != 0),
        }
    }

    /// The flows that became of no interest since the last call, by what was found in them. None that [`Dissectors::follows`]
    /// denied from their beginning.
    pub fn take_given_up(&mut self) -> impl Iterator<Item = FlowHandle> {
        self.given_up.drain(..)
    }

    /// The flows in which the end that counts as the client turned out to be the one who answers, in the last batch. A
    /// flow may be there again. Where a SYN was seen it tells better.
    pub fn take_turned(&mut self) -> impl Iterator<Item = FlowHandle> {
        self.desk.turned.drain(..)
    }

    /// The rest of a flow is not to be dissected. What its dissector has not told yet is lost.
    pub fn forget(&mut self, handle: FlowHandle) {
        let index = self.slots.claim(handle);
        self.slots[index].state = State::Ignored;
        self.slots.settle(index, handle);
    }

    /// Nobody wants the body of an HTTP message any more, or one that is to come.
    pub fn decline_body(&mut self, handle: FlowHandle, transaction: Transaction, direction: Direction) {
        let index = self.slots.claim(handle);
        if let State::Stream(dissector) = &mut self.slots[index].state {
            dissector.decline_body(transaction, direction);
            self.slots.settle(index, handle);
        }
    }

    fn begin(&mut self, at: At<'_>) {
        if at.flow.tuple.proto == TCP && self.desk.tells_flows() {
            self.desk.context(at).attribute("", b"");
        }
    }

    fn end(&mut self, at: At<'_>) {
        // Flows without payload have no slot, and get none now.
        if self.slots.reach(at.handle) {
            let index = self.slots.claim(at.handle);
            self.slots[index].state.end(&mut self.desk.context(at));
            self.slots[index].state = State::Ignored;
            self.slots.settle(index, at.handle);
        }
        if at.flow.tuple.proto == TCP && self.desk.tells_flows() {
            self.desk.context(at).attribute("^D", b"");
        }
    }

    fn gap(&mut self, at: At<'_>, direction: Direction, position: u64, missing: u64) {
        let index = self.slots.claim(at.handle);
        let slot = &mut self.slots[index];
        let appetite = match &mut slot.state {
            State::Stream(dissector) => dissector.gap(&mut self.desk.context(at), direction, position, missing),
            State::Ignored => return,
            _ => Appetite::Done,
        };
        if appetite != Appetite::More {
            slot.state = State::Ignored;
            self.given_up.push(at.handle);
        }
        self.called(index, at);
    }

    fn stream(&mut self, at: At<'_>, direction: Direction, position: u64, bytes: &[u8]) {
        let index = self.slots.claim(at.handle);
        if !matches!(self.slots[index].state, State::Ignored) {
            self.feed(index, at, direction, position, bytes);
            self.called(index, at);
            if matches!(self.slots[index].state, State::Ignored) {
                self.given_up.push(at.handle);
            }
        }
    }

    /// Bytes for whoever takes them. Each protocol a flow changes to takes what the one before left of them; recursion
    /// ends because it consumes kept segments, and restarts of a flow are limited.
    fn feed(&mut self, index: usize, at: At<'_>, direction: Direction, mut position: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.slots[index].state {
                State::Stream(dissector) => {
                    match dissector.data(&mut self.desk.context(at), direction, position, bytes) {
                        Appetite::More => return,
                        Appetite::Done => break,
                        Appetite::Restart { used } => {
                            let slot = &mut self.slots[index];
                            slot.restarts += 1;
                            if slot.restarts > MAX_RESTARTS {
                                self.desk.counts.add("protocol changes");
                                break;
                            }
                            let roles = slot.roles.unwrap_or_default();
                            slot.state = State::Undecided(Box::new(Recogniser::again(self.streams, roles)));
                            bytes = bytes.get(used..).unwrap_or_default();
                            position = position.saturating_add(used as u64);
                            if bytes.is_empty() {
                                return;
                            }
                        }
                    }
                }
                State::Undecided(recogniser) => match recogniser.offer(STREAMS, direction, position, bytes) {
                    Verdict::Wait => return,
                    Verdict::Nobody => break,
                    Verdict::Speaks(row, roles) => self.speak(index, at, row, roles),
                },
                State::Fresh => {
                    let Some(mut recogniser) = self.first(index, at) else { continue };
                    match recogniser.offer(STREAMS, direction, position, bytes) {
                        Verdict::Wait => {
                            self.slots[index].state = State::Undecided(Box::new(recogniser));
                            return;
                        }
                        Verdict::Nobody => break,
                        Verdict::Speaks(row, roles) => self.slots[index].state = self.start(index, at, row, roles),
                    }
                }
                State::Tried(_) | State::Datagrams(_) | State::Ignored => break,
            }
        }
        self.slots[index].state = State::Ignored;
    }

    /// The first payload of a stream: it was announced, or has to be recognised.
    fn first(&mut self, index: usize, at: At<'_>) -> Option<Recogniser> {
        if !self.expected.is_empty()
            && let Some(expectation) = self.expected.take(at.time, &at.flow.tuple)
        {
            self.desk.recognised(at, Protocol::FtpData);
            let wanted = self.desk.wants.hashes().is_yes();
            self.slots[index].state = match expectation.name {
                Some(name) if wanted => State::Stream(Box::new(FtpData::new(name))),
                _ => State::Ignored,
            };
            return None;
        }
        Some(Recogniser::new(STREAMS, self.streams, begins(at.flow)))
    }

    /// The protocol is known: what its flow is from now on.
    fn start(&mut self, index: usize, at: At<'_>, row: usize, roles: Option<Roles>) -> State {
        let row = &STREAMS[row];
        let roles = roles.unwrap_or_else(|| by_ports(at.flow));
        self.slots[index].roles = Some(roles);
        if roles == Roles::Turned {
            self.desk.turned.push(at.handle);
        }
        self.desk.recognised(at, row.protocol);
        if !(row.wanted)(&self.desk.wants).is_yes() {
            return State::Ignored;
        }
        let dissector = (row.start)(&self.desk.wants);
        State::Stream(match roles {
            Roles::Known => dissector,
            Roles::Turned => Box::new(Turned(dissector)),
        })
    }

    /// The protocol is known: its dissector takes over, and gets what was kept.
    fn speak(&mut self, index: usize, at: At<'_>, row: usize, roles: Option<Roles>) {
        let next = self.start(index, at, row, roles);
        if let State::Undecided(recogniser) = std::mem::replace(&mut self.slots[index].state, next) {
            for (piece, bytes) in recogniser.pieces() {
                self.feed(index, at, piece.direction, piece.position, bytes);
            }
        }
    }

    fn datagram(&mut self, at: At<'_>, direction: Direction, bytes: &[u8]) {
        let index = self.slots.claim(at.handle);
        let slot = &mut self.slots[index];
        let tries = match slot.state {
            State::Fresh => 0,
            State::Tried(tries) => tries,
            State::Datagrams(_) => MAX_TRIES,
            _ => return,
        };
        if tries < MAX_TRIES {
            let mut verdicts = DATAGRAMS.iter().enumerate().filter(|(i, _)| self.datagrams & 1 << i != 0);
            match verdicts.find(|(_, row)| (row.recognise)(direction, bytes) == Recognition::Yes) {
                Some((_, row)) => {
                    self.desk.recognised(at, row.protocol);
                    let wanted = (row.wanted)(&self.desk.wants).is_yes();
                    slot.state = if wanted { State::Datagrams((row.start)(&self.desk.wants)) } else { State::Ignored };
                }
                None if tries + 1 == MAX_TRIES => slot.state = State::Ignored,
                None => slot.state = State::Tried(tries + 1),
            }
        }
        if let State::Datagrams(dissector) = &mut slot.state {
            if dissector.datagram(&mut self.desk.context(at), direction, bytes) != Appetite::More {
                slot.state = State::Ignored;
            }
            self.called(index, at);
        }
        if matches!(self.slots[index].state, State::Ignored) {
            self.given_up.push(at.handle);
        }
    }

    /// Reports whose time has come.
    fn wake(&mut self, after: u32, now: Timestamp, flows: &impl FlowLookup) {
        while let Some(handle) = self.timers.next_due(now) {
            if let Some(later) = self.timers.after(AHEAD) {
                self.slots.prefetch(later);
            }
            let Some(slot) = self.slots.of_mut(handle) else { continue };
            // Most of what a timer was set for has come in the meantime.
            if !slot.waits {
                slot.timer = false;
                continue;
            }
            let Some(flow) = flows.flow(handle) else { continue };
            slot.timer = false;
            let at = At { after, handle, flow, time: now };
            if slot.state.due().is_some_and(|due| due <= now) {
                slot.state.wake(&mut self.desk.context(at));
            }
            self.called(handle.slot as usize, at);
        }
    }

    /// Takes from a dissector that was called what it has for others, and keeps the books.
    fn called(&mut self, index: usize, at: At<'_>) {
        for _ in 0..MAX_ANNOUNCED {
            let State::Stream(dissector) = &mut self.slots[index].state else { break };
            let Some(expectation) = dissector.announced() else { break };
            self.expect(at.time, expectation);
        }
        let slot = &mut self.slots[index];
        let due = slot.state.due();
        slot.waits = due.is_some();
        // What is due at the end of all times never comes: it would be due again at once.
        if !slot.timer
            && let Some(due) = due.filter(|due| *due < Timestamp::LAST)
        {
            match self.timers.set(due, at.handle) {
                Ok(()) => slot.timer = true,
                Err(NoneLeft) => self.desk.counts.add("timers not set"),
            }
        }
        self.slots.settle(index, at.handle);
    }

    fn expect(&mut self, now: Timestamp, expectation: Expectation) {
        if self.expected.add(now, expectation) == Announced::Displaced {
            self.desk.counts.add("announced flows displaced");
        }
    }

    /// Gives up the oldest states until the rest is within the limit.
    fn shed(&mut self, after: u32, time: Timestamp, flows: &impl FlowLookup) {
        while let Some((index, handle)) = self.slots.excess() {
            let state = &mut self.slots[index].state;
            if let Some(flow) = flows.flow(handle) {
                state.end(&mut self.desk.context(At { after, handle, flow, time }));
            }
            *state = State::Ignored;
            self.given_up.push(handle);
            self.desk.counts.add("flows given up at the limit");
            self.slots.settle(index, handle);
        }
    }
}

/// Whether a flow was seen from its beginning, which tells who is the client.
fn begins(flow: &Flow) -> Want {
    Want::from(flow.saw_syn())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::rehearsal::{ALL, Rehearsal, overheard};
    use crate::dissect::slots::STATE_COST;
    use crate::flow::Direction::{ToClient, ToServer};
    use crate::flow::state;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

    #[test]
    fn tcp_flows_begin_and_end_with_their_attributes() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.connect(80);
        rehearsal.end(flow);
        let datagrams = rehearsal.exchange(9);
        rehearsal.end(datagrams);
        rehearsal.run();
        assert_eq!(rehearsal.found, ["=", "^D="]);
    }

    #[test]
    fn nothing_is_found_where_nothing_is_asked_for() {
        let mut rehearsal = Rehearsal::new(DissectWants::default());
        let flow = rehearsal.connect(22);
        rehearsal.say(flow, ToClient, b"SSH-2.0-x\r\n");
        let datagrams = rehearsal.exchange(53);
        rehearsal.say(datagrams, ToServer, QUERY);
        rehearsal.end(flow);
        rehearsal.run();
        assert_eq!((rehearsal.found.len(), rehearsal.dissectors.held()), (0, 0));
        assert_eq!(rehearsal.dissectors.follows(flow), Want::No);
    }

    #[test]
    fn a_flow_of_no_known_protocol_is_ignored_after_its_first_bytes() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.connect(7);
        rehearsal.say(flow, ToServer, b"\x01\x02 no protocol that is known here");
        rehearsal.run();
        assert_eq!((rehearsal.dissectors.follows(flow), rehearsal.dissectors.held()), (Want::No, 0));
        assert!(rehearsal.dissectors.take_given_up().eq([flow]), "told once");
        rehearsal.say(flow, ToServer, b"more");
        rehearsal.run();
        assert_eq!(rehearsal.dissectors.take_given_up().count(), 0);
    }

    #[test]
    fn flows_are_given_up_at_gaps_after_some_datagrams_and_at_the_limit() {
        let mut rehearsal = Rehearsal::new(ALL);
        let (torn, other) = (rehearsal.connect(22), rehearsal.exchange(7));
        rehearsal.gap(torn, ToClient, 3);
        for _ in 1..MAX_TRIES {
            rehearsal.say(other, ToServer, b"no protocol that is known here");
        }
        rehearsal.run();
        assert!(rehearsal.dissectors.take_given_up().eq([torn]));
        rehearsal.say(other, ToServer, b"nor here");
        rehearsal.run();
        assert!(rehearsal.dissectors.take_given_up().eq([other]));
        rehearsal.dissectors.slots.limit = 0;
        let last = rehearsal.connect(22);
        rehearsal.say(last, ToServer, b"SSH-2.0-");
        rehearsal.run();
        assert!(rehearsal.dissectors.take_given_up().eq([last]));
    }

    #[test]
    fn a_gap_before_the_protocol_is_known_ends_the_search() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.connect(22);
        rehearsal.gap(flow, ToClient, 3);
        rehearsal.say(flow, ToClient, b"SSH-2.0-x\r\n");
        rehearsal.run();
        assert_eq!(rehearsal.found, ["="]);
    }

    #[test]
    fn of_flows_whose_beginning_was_missed_only_some_are_recognised() {
        let mut rehearsal = Rehearsal::new(ALL);
        let (ssh, names) = (rehearsal.open(6, 22, 0), rehearsal.open(6, 53, 0));
        rehearsal.say(ssh, ToClient, b"SSH-2.0-x\r\n");
        rehearsal.say(names, ToServer, &[&[0, QUERY.len() as u8][..], QUERY].concat());
        rehearsal.run();
        assert_eq!(rehearsal.found, ["=", "=", "Ssh", "SSH:BANNER:SERVER=SSH-2.0-x"]);
    }

    #[test]
    fn without_a_syn_the_content_tells_who_asks() {
        let wants = DissectWants { http_resources: Want::Yes, protocols: Want::Yes, ..DissectWants::default() };
        let talk = |bits: u16, said: &[(Direction, &[u8])]| {
            let mut rehearsal = Rehearsal::new(wants);
            let flow = rehearsal.open(6, 8_000, bits);
            said.iter().for_each(|(direction, bytes)| rehearsal.say(flow, *direction, bytes));
            rehearsal.end(flow);
            rehearsal.run();
            rehearsal.found.retain(|line| line != "=" && line != "^D=");
            rehearsal.found
        };
        let (request, response) = (b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n");
        let expected = ["Http", "GET h /x HTTP/1.1 -> status:204 usec:0 ua:-"];
        assert_eq!(talk(0, &[(ToServer, request), (ToClient, response)]), expected);
        assert_eq!(talk(0, &[(ToClient, request), (ToServer, response)]), expected);
        let unanswered = ["Http", "GET h /x HTTP/1.1 -> "];
        assert_eq!(talk(0, &[(ToServer, response), (ToClient, request)]), unanswered, "of a request before that");
        let cut = [(ToClient, &request[..2]), (ToClient, &request[2..]), (ToServer, response)];
        assert_eq!(talk(0, &cut), expected);
        assert_eq!(talk(0, &[(ToServer, response)]), ["Http"]);
        assert_eq!(talk(0, &[(ToServer, request), (ToServer, response)])[..1], ["Http"]);
        assert_eq!(talk(state::SEEN_SYN, &[(ToClient, request), (ToServer, response)]), [""; 0]);
    }

    #[test]
    fn another_flow_in_the_same_slot_starts_afresh() {
        let mut rehearsal = Rehearsal::new(ALL);
        for port in [7, 22] {
            let flow = rehearsal.open_between(3, (6, [10, 0, 0, 9], 40_000, port), state::SEEN_SYN);
            rehearsal.say(flow, ToClient, if port == 7 { b"hello, hello" } else { b"SSH-2.0-x\r\n" });
        }
        rehearsal.run();
        assert_eq!(rehearsal.found, ["=", "=", "Ssh", "SSH:BANNER:SERVER=SSH-2.0-x"]);
    }

    #[test]
    fn unanswered_queries_are_reported_when_packets_or_time_pass() {
        let mut rehearsal = Rehearsal::new(DissectWants { dns_resources: Want::Yes, ..DissectWants::default() });
        let flow = rehearsal.exchange(53);
        rehearsal.say(flow, ToServer, QUERY);
        rehearsal.run();
        rehearsal.now = Timestamp::new(1_009, 999_999_999);
        rehearsal.idle();
        assert_eq!(rehearsal.found, Vec::<String>::new());
        rehearsal.now = Timestamp::new(1_010, 0);
        rehearsal.idle();
        rehearsal.say(flow, ToServer, QUERY);
        rehearsal.run();
        rehearsal.now = Timestamp::new(1_030, 0);
        rehearsal.connect(80);
        rehearsal.run();
        assert_eq!(rehearsal.found, ["a.example -> ", "a.example -> "]);
    }

    #[test]
    fn nothing_is_due_for_ever_at_the_end_of_all_times() {
        let mut rehearsal = Rehearsal::new(ALL);
        rehearsal.now = Timestamp::LAST;
        let (web, names) = (rehearsal.connect(80), rehearsal.exchange(53));
        rehearsal.say(web, ToServer, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
        rehearsal.say(web, ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
        rehearsal.say(names, ToServer, QUERY);
        rehearsal.run();
        rehearsal.idle();
        rehearsal.end(web);
        rehearsal.end(names);
        rehearsal.run();
        assert!(rehearsal.found.iter().any(|line| line.starts_with("GET h /x")), "{:?}", rehearsal.found);
    }

    #[test]
    fn above_the_limit_the_oldest_states_are_given_up() {
        let mut rehearsal = Rehearsal::new(ALL);
        rehearsal.dissectors.slots.limit = 4 * (STATE_COST + 300);
        let flows: Vec<FlowHandle> = (0..8).map(|_| rehearsal.connect(22)).collect();
        for flow in &flows {
            rehearsal.say(*flow, ToServer, &[&b"SSH-2.0-"[..], &[b'x'; 200]].concat());
        }
        rehearsal.run();
        let followed: Vec<bool> = flows.iter().map(|flow| rehearsal.dissectors.follows(*flow).is_yes()).collect();
        let first = followed.iter().position(|followed| *followed).expect("the last ones fit");
        assert!((3..=5).contains(&first) && followed[first..].iter().all(|followed| *followed), "{followed:?}");
        assert_eq!(rehearsal.count("flows given up at the limit"), first as u64);
        assert!(rehearsal.dissectors.held() <= rehearsal.dissectors.slots.limit);
    }

    #[test]
    fn what_is_forgotten_is_neither_held_nor_dissected() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.connect(22);
        rehearsal.say(flow, ToServer, b"SSH-2.0-");
        rehearsal.run();
        assert!(rehearsal.dissectors.held() > 0);
        rehearsal.dissectors.forget(flow);
        rehearsal.say(flow, ToServer, b"x\r\n");
        rehearsal.run();
        assert_eq!(rehearsal.found, ["=", "Ssh"]);
        assert_eq!(rehearsal.dissectors.held(), 0);
    }

    #[test]
    fn a_flow_changes_its_protocol_only_so_often() {
        let start_tls = [(ToServer, b"EHLO x\r\nSTARTTLS\r\n".to_vec()), (ToClient, b"220 go on\r\n".to_vec())];
        let said: Vec<_> = std::iter::repeat_n(start_tls, 9).flatten().collect();
        let found = overheard(&said);
        assert_eq!(found.iter().filter(|line| *line == "Smtp").count(), 1 + usize::from(MAX_RESTARTS), "{found:?}");
    }
}
