//! The flow stage: every packet to its flow, and what follows from it as events.

use super::counts::{FlowCounts, FlowKind};
use super::event::{
    EndReason, FlowEvent, FlowEvents, FlowHandle, FlowLookup, FlowWants, Happening, PacketFlow, Want, state,
};
use super::fragments::Fragments;
use super::limits::FlowsConfig;
use super::record::{Flow, own};
use super::script::{self, Attached, FlowCounter, Said, Statements};
use super::script_records::{EndedRecord, ScriptRecord};
use super::table::{SLOT_BYTES, Table};
use super::tcp::Connections;
use super::terminated::Terminated;
use super::timer::Wheel;
use super::track::Sighting;
use crate::key::{End, FlowTuple};
use crate::metrics::{FlowFacts, FlowSoFar, GroupIndex};
use crate::packet::Batch;
use crate::time::Timestamp;

/// Times as many ages as flows, beyond which flows are sorted by age.
const SPARSE: usize = 8;
/// Flows that one call of [`Flows::finish`] ends.
const FINISHED_AT_ONCE: usize = 1_024;
/// Flows that end by time in one batch; after a jump in time the others follow with the next batches.
const EXPIRED_AT_ONCE: usize = 16_384;
/// Flows that are freed together: the memory is asked for what is needed of them all, and that stays in the nearest cache.
const SETTLED_AT_ONCE: usize = 32;
/// Flows evicted for one new one, at most: connections weigh more than flows that have none.
const EVICTED_AT_ONCE: usize = 4;
/// Flows looked at to find one to evict, and how often if all of them are worth keeping.
const EVICTION_SAMPLE: usize = 16;
const EVICTION_SAMPLES: usize = 4;

/// All flows of one engine, and the events of one batch.
#[derive(Debug)]
pub struct Flows {
    pub(super) config: FlowsConfig,
    pub(super) wants: FlowWants,
    pub(super) table: Table,
    pub(super) wheel: Wheel,
    pub(super) connections: Connections,
    // Bytes that streams hold.
    pub(super) held: usize,
    pub(super) events: FlowEvents,
    pub(super) counts: FlowCounts,
    statements: Statements,
    pub(super) packets: Vec<Option<PacketFlow>>,
    // Slots that leave the table when the stages are done with the batch.
    leaving: Vec<u32>,
    // Flows that scripts ended; one may be there more than once.
    terminated: Terminated,
    // What is left for `finish`, the first to end last.
    finishing: Option<Vec<u32>>,
    // Latest time seen.
    pub(super) now: Timestamp,
    // The first tick of the batch that was not looked at.
    pub(super) next_tick: usize,
    // Where the search for something to evict goes on.
    hand: usize,
    expired: usize,
    // Nanoseconds of silence that end no flow.
    harmless: i64,
    pub(super) sightings: Vec<Sighting>,
}

/// The packet that leads to events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) packet: u32,
    pub(super) time: Timestamp,
    // Where the packet came from.
    pub(super) origin: u16,
}

impl Flows {
    /// No flows yet.
    #[must_use]
    pub fn new(config: FlowsConfig, wants: FlowWants) -> Self {
        Self {
            config,
            wants,
            table: Table::new(config.memory),
            wheel: Wheel::new(),
            connections: Connections::default(),
            held: 0,
            events: FlowEvents::default(),
            counts: FlowCounts::default(),
            statements: Statements::new(config.timeouts),
            packets: Vec::new(),
            leaving: Vec::new(),
            terminated: Terminated::default(),
            finishing: None,
            now: Timestamp::from_nanos(i64::MIN),
            next_tick: 0,
            hand: 0,
            expired: 0,
            harmless: config.timeouts.harmless(),
            sightings: Vec::new(),
        }
    }

    /// Finds the flow of every packet and what happened. Replaces the events and packet flows of the batch before.
    /// What fragments carry comes out with the packet that completes their datagram, as if that had never been split.
    pub fn process(&mut self, batch: &Batch, fragments: &Fragments) {
        self.begin();
        if self.wants == FlowWants::default() {
            return;
        }
        if let Some(packet) = batch.packets().first() {
            self.now = self.now.max(packet.ts);
            self.end_terminated(Cause { packet: 0, time: self.now, origin: packet.origin });
            self.statements.expire_records(self.now);
        }
        self.track(batch, fragments);
    }

    /// Ends what is due without packets, as live sources need it when nothing arrives. Replaces the events.
    pub fn expire(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.stay();
        self.end_due(Cause { packet: FlowEvents::NO_PACKET, time: self.now, origin: 0 });
    }

    /// Ends what scripts ended, without packets and without growing older. Replaces the events.
    pub fn stay(&mut self) {
        self.begin();
        self.end_terminated(Cause { packet: FlowEvents::NO_PACKET, time: self.now, origin: 0 });
        self.statements.expire_records(self.now);
    }

    /// Whether flows may be due at a time.
    pub fn awaits(&mut self, time: Timestamp) -> bool {
        self.wheel.awaits(time)
    }

    /// Time is as late as that, by packets without a flow: no flow ends.
    pub fn reach(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Ends up to 1,024 flows because the input ended, in the order of their creation; [`Want::Yes`] while there are more.
    /// Those whose time had come, and which there was no batch to end in, have the reason of that. Replaces the events.
    pub fn finish(&mut self) -> Want {
        self.begin();
        let cause = Cause { packet: FlowEvents::NO_PACKET, time: self.now, origin: 0 };
        self.end_terminated(cause);
        self.statements.records.finish(self.now);
        let mut rest = self.finishing.take().unwrap_or_else(|| self.by_age());
        for slot in rest.drain(rest.len().saturating_sub(FINISHED_AT_ONCE)..).rev() {
            if self.table.is_used(slot) && !self.table.get(slot).flow.has(own::ENDED) {
                let (due, reason) = self.due(slot);
                self.end(slot, if due <= self.now { reason } else { EndReason::End }, cause);
            }
        }
        let more = Want::from(!rest.is_empty());
        self.finishing = Some(rest);
        more
    }

    /// Frees the flows that ended; their handles find nothing any more. A closed TCP flow stays known for a while, so
    /// that its late packets are still its packets.
    pub fn settle(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for slots in leaving.chunks(SETTLED_AT_ONCE) {
            for &slot in slots {
                self.table.prefetch_index(self.table.hash(&self.table.get(slot).flow.tuple));
                if let Some(index) = self.table.connection(slot) {
                    self.connections.prefetch(index);
                }
            }
            for &slot in slots {
                self.table.forget(slot);
                self.statements.drop_slot(slot);
                if let Some(index) = self.table.connection(slot) {
                    self.connections.remove(index);
                }
                self.table.free(slot);
            }
        }
        leaving.clear();
        self.leaving = leaving;
    }

    /// The events of the batch.
    #[must_use]
    pub const fn events(&self) -> &FlowEvents {
        &self.events
    }

    /// The flow of a packet of the batch; `None` for what is not IP.
    #[inline]
    #[must_use]
    pub fn of_packet(&self, index: usize) -> Option<PacketFlow> {
        self.packets.get(index).copied().flatten()
    }

    /// The flow, unless it is gone.
    #[inline]
    #[must_use]
    pub fn flow(&self, handle: FlowHandle) -> Option<&Flow> {
        self.table.of_handle(handle).map(|slot| &slot.flow)
    }

    /// Does more from now on than was asked for at first. Streams of connections that go on begin in the midst of them;
    /// where bytes are missing that were not kept, the stream is given up.
    pub fn widen(&mut self, wants: FlowWants) {
        let had_streams = self.wants.streams.is_yes();
        self.wants = self.wants.or(wants);
        if self.wants.streams.is_yes() && !had_streams {
            self.connections.stop_those_with_holes();
        }
    }

    /// Slots that flows have had so far; every [`FlowHandle::slot`] is below.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.table.slots()
    }

    /// The flow in packets that has this tuple.
    #[must_use]
    pub fn find(&self, tuple: &FlowTuple) -> Option<FlowHandle> {
        let slot = self.table.find(self.table.hash(tuple), tuple)?;
        Some(self.table.handle(slot))
    }

    /// The end that asks in the flow in packets that has this id.
    #[must_use]
    pub fn asker(&self, id: &[u8]) -> Option<End> {
        self.flow(self.of_id(id)?).map(Flow::asker)
    }

    /// What is known of a flow besides its id.
    #[must_use]
    pub fn facts(&self, handle: FlowHandle) -> FlowFacts {
        let Some(flow) = self.flow(handle) else { return FlowFacts::default() };
        let icmp = if is_icmp(flow.tuple.proto) { self.table.icmp(handle.slot) } else { None };
        FlowFacts { client: Some(flow.asker()), origin: Some(self.table.origin(handle.slot)), icmp }
    }

    /// What a flow had counted when a packet of the batch had been counted.
    #[must_use]
    pub fn so_far(&self, handle: FlowHandle, batch: &Batch, packet: u32) -> Option<FlowSoFar> {
        let flow = self.flow(handle)?;
        let mut so_far = FlowSoFar { start: flow.first, packets: flow.packets, bytes: flow.bytes };
        // Packets behind the end of a flow are not counted.
        let is_end = |event: &&FlowEvent| event.flow == handle && matches!(event.what, Happening::End { .. });
        let last = if flow.has(own::ENDED) {
            self.events.list().iter().find(is_end).map_or(0, |event| event.packet)
        } else {
            u32::MAX
        };
        let later = (0..).zip(&self.packets).zip(batch.packets()).skip(packet.saturating_add(1) as usize);
        for ((index, place), packet) in later {
            if let Some(place) = place.filter(|place| place.flow == handle && index <= last) {
                let end = place.sender as usize;
                so_far.packets[end] = so_far.packets[end].saturating_sub(1);
                so_far.bytes[end] = so_far.bytes[end].saturating_sub(u64::from(packet.wirelen));
            }
        }
        Some(so_far)
    }

    /// The flow in packets that has this id.
    #[must_use]
    pub fn of_id(&self, id: &[u8]) -> Option<FlowHandle> {
        self.find(&FlowTuple::from_id(id)?)
    }

    /// Flows that have not ended.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.counts.live() as usize
    }

    /// Bytes of the table in use, what the limit is about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.bytes() + self.connections.bytes()
    }

    /// Bytes that streams hold until missing ones arrive, overhead included.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> FlowCounts {
        let mut counts = self.counts;
        counts.statements_refused = self.statements.refused + self.statements.records.lost;
        counts.statements_expired = self.statements.expired;
        counts.statements_late = self.statements.late;
        counts.script_records = self.statements.records.opened;
        counts
    }

    fn begin(&mut self) {
        self.events.clear();
        self.packets.clear();
        self.next_tick = 0;
        self.expired = 0;
    }

    /// Adds an event.
    #[inline]
    pub(super) fn happen(&mut self, slot: u32, cause: Cause, what: Happening) {
        let flow = self.table.handle(slot);
        self.events.push(FlowEvent { packet: cause.packet, flow, time: cause.time, what });
    }

    /// A new flow.
    pub(super) fn create(&mut self, hash: u32, tuple: FlowTuple, sender: End, cause: Cause) -> u32 {
        self.make_room(cause);
        let mut flow = Flow::new(tuple, self.now);
        flow.set_client(sender);
        let slot = self.table.insert(hash, flow, 0);
        self.table.set_origin(slot, cause.origin);
        self.counts.begin(tuple.proto);
        if self.statements.is_waiting() {
            self.statements.expire(self.now);
            self.statements.appear(slot, tuple.id().as_bytes());
        }
        slot
    }

    /// Evicts until another flow or connection fits. What was evicted counts as room, though it is free only when the
    /// batch is done.
    pub(super) fn make_room(&mut self, cause: Cause) {
        for _ in 0..EVICTED_AT_ONCE {
            if self.memory() <= self.config.memory.saturating_add(self.leaving.len() * SLOT_BYTES) {
                return;
            }
            self.evict(cause);
        }
    }

    /// Gives a flow its last event. Its slot is freed when the batch is done, or, for TCP that closed, a while later.
    pub(super) fn end(&mut self, slot: u32, reason: EndReason, cause: Cause) {
        let kind = kind(&self.table.get(slot).flow);
        self.flush(slot, cause);
        let flow = &mut self.table.get_mut(slot).flow;
        flow.state |= own::ENDED
            | match reason {
                EndReason::Fin | EndReason::Script => state::TERMINATED,
                EndReason::Rst => state::SEEN_RST,
                EndReason::Idle => state::TIMEDOUT,
                EndReason::Evicted => state::ERROR,
                EndReason::Age | EndReason::End => 0,
            };
        let lingers = flow.tuple.proto == TCP && matches!(reason, EndReason::Fin | EndReason::Rst | EndReason::Script);
        self.counts.end(reason, kind);
        self.happen(slot, cause, Happening::End { reason });
        if lingers {
            self.wheel.enter(&mut self.table, slot, self.now.plus(self.config.timeouts.closed));
        } else {
            self.leave(slot);
        }
    }

    /// An ended flow leaves the table when the batch is done.
    pub(super) fn leave(&mut self, slot: u32) {
        self.wheel.leave(&mut self.table, slot);
        self.leaving.push(slot);
    }

    /// Ends the flows whose time has come.
    pub(super) fn end_due(&mut self, cause: Cause) {
        while self.expired < EXPIRED_AT_ONCE
            && let Some(slot) = self.wheel.next_due(&mut self.table, self.now)
        {
            let (due, reason) = self.due(slot);
            if due > self.now {
                self.wheel.enter(&mut self.table, slot, due);
            } else if self.table.get(slot).flow.has(own::ENDED) {
                self.leave(slot);
            } else {
                self.end(slot, reason, cause);
                self.expired += 1;
            }
        }
    }

    /// When a flow ends if nothing more is seen of it, and why.
    pub(super) fn due(&self, slot: u32) -> (Timestamp, EndReason) {
        let flow = &self.table.get(slot).flow;
        let timeouts = &self.config.timeouts;
        let kind = kind(flow);
        let silence = match kind {
            FlowKind::HalfOpen => timeouts.half_open,
            FlowKind::Established => timeouts.established,
            FlowKind::Closing => timeouts.closing,
            FlowKind::Closed => timeouts.closed,
            FlowKind::Udp => timeouts.udp,
            FlowKind::Other => timeouts.other,
        };
        let idle = self.table.heard(slot).plus(silence);
        match timeouts.age.map(|age| flow.first.plus(age)) {
            Some(aged) if aged < idle && kind != FlowKind::Closed => (aged, EndReason::Age),
            _ => (idle, EndReason::Idle),
        }
    }

    /// Why a flow would have ended by now if nothing more had been seen of it; `None` if its time has not come.
    #[inline]
    pub(super) fn overdue(&self, slot: u32) -> Option<EndReason> {
        let silence = self.now.as_nanos().saturating_sub(self.table.get(slot).flow.last.as_nanos());
        if silence < self.harmless {
            return None;
        }
        let (due, reason) = self.due(slot);
        (due <= self.now).then_some(reason)
    }

    fn end_terminated(&mut self, cause: Cause) {
        let terminated = self.terminated.take();
        for &handle in &terminated {
            if self.flow(handle).is_some_and(|flow| !flow.has(own::ENDED)) {
                self.end(handle.slot, EndReason::Script, cause);
            }
        }
        self.terminated.give_back(terminated);
    }

    /// Makes room: what ended, else a half-open flow or one of a single packet, else the one silent for longest, of those
    /// that come next. Flows created together lie together, so a row of worthy ones makes it look elsewhere.
    fn evict(&mut self, cause: Cause) {
        let slots = self.table.slots();
        let mut best = None;
        for _ in 0..EVICTION_SAMPLES {
            let (mut looked, mut steps) = (0, 0);
            while looked < EVICTION_SAMPLE && steps < slots {
                steps += 1;
                self.hand = if self.hand + 1 < slots { self.hand + 1 } else { 0 };
                let slot = self.hand as u32;
                if self.table.is_awaited(slot) {
                    looked += 1;
                    let flow = &self.table.get(slot).flow;
                    let found = (eviction_class(flow), flow.last, slot);
                    best = Some(best.map_or(found, |best| found.min(best)));
                }
            }
            if best.is_some_and(|(class, ..)| class < LAST_CLASS) {
                break;
            }
            // By the golden ratio, which spreads the places evenly.
            self.hand = (self.hand + slots / 8 * 5 + 1) % slots.max(1);
        }
        match best {
            Some((0, _, slot)) => self.leave(slot),
            Some((_, _, slot)) => self.end(slot, EndReason::Evicted, cause),
            None => {}
        }
    }

    /// Slots of the flows that have not ended, the oldest last.
    fn by_age(&self) -> Vec<u32> {
        // In order of what is read once: a million flows do not fit the caches.
        let awaited = (0..self.table.slots() as u32).filter(|&slot| self.table.is_awaited(slot));
        let mut slots: Vec<(u32, u32)> = Vec::with_capacity(self.table.used());
        slots.extend(awaited.map(|slot| (self.table.age(slot), slot)));
        let oldest = slots.iter().map(|&(age, _)| age as usize).max().unwrap_or_default();
        if oldest <= slots.len().saturating_mul(SPARSE) {
            let mut places = vec![None; oldest + 1];
            // Only where their numbers have wrapped two may have the same age.
            if slots.iter().all(|&(age, slot)| places[age as usize].replace(slot).is_none()) {
                return places.into_iter().flatten().collect();
            }
        }
        slots.sort_unstable();
        slots.into_iter().map(|(_, slot)| slot).collect()
    }
}

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub(super) const ICMP: u8 = 1;
/// IP protocol number of ICMP for IPv6.
pub(super) const ICMP_V6: u8 = 58;

/// Whether a flow is of ICMP, of either version.
pub(super) const fn is_icmp(proto: u8) -> bool {
    matches!(proto, ICMP | ICMP_V6)
}

/// What a flow is.
pub(super) fn kind(flow: &Flow) -> FlowKind {
    match flow.tuple.proto {
        TCP if flow.has(own::ENDED) => FlowKind::Closed,
        TCP if !flow.has(own::ESTABLISHED) => FlowKind::HalfOpen,
        TCP if flow.has(state::SEEN_FIN) => FlowKind::Closing,
        TCP => FlowKind::Established,
        UDP => FlowKind::Udp,
        _ => FlowKind::Other,
    }
}

/// The class of flows that are worth keeping.
const LAST_CLASS: u8 = 2;

/// What to evict first: what ended, then what may never become a conversation.
fn eviction_class(flow: &Flow) -> u8 {
    match kind(flow) {
        FlowKind::Closed => 0,
        FlowKind::HalfOpen => 1,
        _ if flow.all_packets() <= 1 => 1,
        _ => LAST_CLASS,
    }
}

/// What a flow id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// A flow in packets.
    Live(FlowHandle),
    /// One that has ended and whose record is made, with the time of its last packet.
    Ended(Timestamp),
    /// A flow that is in no packets, as far as is known.
    InNoPackets,
}

/// What scripts say. `id` is the flow id as the script wrote it.
impl Flows {
    /// Nobody wants the payload of a flow any more: neither its datagrams, nor its streams, of which is dropped what is
    /// held.
    pub fn stop_payload(&mut self, handle: FlowHandle) {
        match self.flow(handle) {
            Some(flow) if flow.has(own::ENDED) => {}
            Some(flow) if flow.tuple.proto == TCP => self.stop(handle.slot),
            Some(_) => self.table.stop_datagrams(handle.slot),
            None => {}
        }
    }

    /// What a flow carries shows that the end that counts as its client is the one who answers.
    pub fn turn(&mut self, handle: FlowHandle) {
        if self.flow(handle).is_some() {
            self.table.get_mut(handle.slot).flow.turn();
        }
    }

    /// From now on scripts speak of flows: those that end are known for a while.
    pub fn expect_words(&mut self) {
        self.statements.departed.begin();
    }

    /// The record of a flow that has had its last event is made.
    pub fn report(&mut self, handle: FlowHandle) {
        if let Some(place) = self.table.of_handle(handle) {
            self.statements.report(handle.slot, &place.flow, self.now);
        }
    }

    /// When the last packet came of a flow that has ended, and whose record is made.
    #[must_use]
    pub fn end_of(&self, id: &[u8]) -> Option<Timestamp> {
        match self.subject(id) {
            Subject::Ended(last) => Some(last),
            Subject::Live(_) | Subject::InNoPackets => None,
        }
    }

    /// Counts something that was said of a flow too late.
    pub const fn count_late(&mut self) {
        self.statements.late += 1;
    }

    /// Adds to a meter of a flow; a flow that is in no packets gets a record of its own.
    pub fn update(&mut self, id: &[u8], meter: u32, value: f64, now: Timestamp) -> Said {
        match self.subject(id) {
            Subject::Live(handle) => {
                let flow = &mut self.table.get_mut(handle.slot).flow;
                flow.last = flow.last.max(now);
                self.statements.update_flow(handle.slot, flow, meter, value);
            }
            Subject::Ended(_) => return Said::Late,
            Subject::InNoPackets => self.statements.update_record(id, meter, value, now),
        }
        Said::Taken
    }

    /// Sets the length of a flow, counted back from its last activity.
    pub fn set_duration(&mut self, id: &[u8], seconds: f64, now: Timestamp) -> Said {
        match self.subject(id) {
            Subject::Live(handle) => {
                let flow = &mut self.table.get_mut(handle.slot).flow;
                flow.first = script::before(flow.last, script::duration(seconds));
            }
            Subject::Ended(_) => return Said::Late,
            Subject::InNoPackets => self.statements.set_record_duration(id, seconds, now),
        }
        Said::Taken
    }

    /// Opens a record; changes nothing if there is or was a flow, or if there is a record already.
    pub fn open_record(&mut self, id: &[u8], now: Timestamp) {
        if self.subject(id) == Subject::InNoPackets {
            self.statements.record(id, now);
        }
    }

    /// Ends a flow: one in packets with an event in the next [`Flows::process`] or [`Flows::expire`]; an unknown one is
    /// ignored.
    pub fn terminate(&mut self, id: &[u8], now: Timestamp) {
        let Some(handle) = self.named(id) else { return self.statements.records.terminate(id, now) };
        if self.flow(handle).is_none_or(|flow| flow.has(own::ENDED)) {
            return;
        }
        let live = self.live();
        self.terminated.add(handle, live);
    }

    /// Attaches a tag; one for an unknown flow is kept for 60 seconds.
    pub fn tag(&mut self, id: &[u8], tag: &[u8], now: Timestamp) -> Said {
        match self.subject(id) {
            Subject::Live(handle) => self.statements.tag_flow(handle.slot, tag),
            Subject::Ended(_) => {
                // There may be another flow between the same ends, which cannot be told from this one by its id.
                if self.named(id).is_none() {
                    self.statements.tag_id(id, tag, now);
                }
                return Said::Late;
            }
            Subject::InNoPackets => self.statements.tag_id(id, tag, now),
        }
        Said::Taken
    }

    /// The tags of a flow, joined with `|`.
    #[inline]
    #[must_use]
    pub fn tags(&self, handle: FlowHandle) -> &[u8] {
        self.said(handle, self.statements.tags(handle.slot))
    }

    /// Adds a counter to a flow; one for an unknown flow is kept for 60 seconds.
    pub fn add_counter(&mut self, id: &[u8], counter: FlowCounter, now: Timestamp) -> Attached {
        match self.subject(id) {
            Subject::Live(handle) => self.statements.add_counter(handle, counter),
            Subject::Ended(_) | Subject::InNoPackets => self.statements.add_waiting_counter(id, counter, now),
        }
    }

    /// Removes the counters of a group from a flow.
    pub fn reset_counters(&mut self, id: &[u8], group: GroupIndex) {
        match self.named(id) {
            Some(handle) => self.statements.reset_counters(handle.slot, group),
            None => self.statements.reset_waiting_counters(id, group),
        }
    }

    /// The counters of a flow.
    #[inline]
    #[must_use]
    pub fn counters(&self, handle: FlowHandle) -> &[FlowCounter] {
        self.said(handle, self.statements.counters(handle.slot))
    }

    /// Meters 8 to 31 of a flow, in the order of their first update.
    #[inline]
    #[must_use]
    pub fn meters(&self, handle: FlowHandle) -> &[(u32, f64)] {
        self.said(handle, self.statements.meters(handle.slot))
    }

    /// What was said of the flow in a slot, if that is still this one. Next to nothing is said of most flows: the slot is
    /// not looked at for them.
    #[inline]
    fn said<'a, T>(&self, handle: FlowHandle, of_slot: &'a [T]) -> &'a [T] {
        if of_slot.is_empty() || self.table.of_handle(handle).is_none() { &[] } else { of_slot }
    }

    /// True if scripts ended flows in packets that have not had their last event yet.
    #[must_use]
    pub fn has_terminated(&self) -> bool {
        !self.terminated.is_empty()
    }

    /// Hands over the records of flows that are in no packets and that ended, in the order of their ends.
    pub fn ended_records(&mut self) -> impl Iterator<Item = EndedRecord> {
        self.statements.records.take_ended()
    }

    /// Ends all records of flows that are in no packets.
    pub fn finish_records(&mut self) {
        self.statements.records.finish(self.now);
    }

    /// Records that were opened and not told of yet; those that have ended may be among them.
    #[must_use]
    pub fn opened_records(&self) -> usize {
        self.statements.records.fresh()
    }

    /// Tells of each record that was opened up to a second, once, unless it has ended.
    pub fn tell_opened_records(&mut self, second: i64, tell: impl FnMut(&ScriptRecord)) {
        self.statements.records.tell_opened(second, tell);
    }

    /// Tells of each record that was spoken of up to a second, since the last time.
    pub fn tell_active_records(&mut self, second: i64, tell: impl FnMut(&ScriptRecord)) {
        self.statements.records.tell_active(second, tell);
    }

    /// Tells of each record that has been open for a multiple of so many seconds when a second begins.
    pub fn tell_records_of_age(&mut self, second: i64, seconds: i64, tell: impl FnMut(&ScriptRecord)) {
        self.statements.records.tell_of_age(second, seconds, tell);
    }

    /// What an id is of, for what may be said of it.
    fn subject(&self, id: &[u8]) -> Subject {
        let Some(tuple) = FlowTuple::from_id(id) else { return Subject::InNoPackets };
        let ended = match self.find(&tuple) {
            Some(handle) if !self.statements.is_reported(handle.slot) => return Subject::Live(handle),
            Some(handle) => self.flow(handle).map(|flow| flow.last),
            None => self.statements.departed.last_of(&tuple, self.now),
        };
        match ended {
            // Its record may have been opened before anybody saw a packet, or long after the last one.
            Some(last) if !self.statements.records.has(id) => Subject::Ended(last),
            _ => Subject::InNoPackets,
        }
    }

    /// The flow in packets that an id is of.
    fn named(&self, id: &[u8]) -> Option<FlowHandle> {
        self.find(&FlowTuple::from_id(id)?)
    }
}

impl FlowLookup for Flows {
    fn flow(&self, handle: FlowHandle) -> Option<&Flow> {
        Self::flow(self, handle)
    }

    #[inline]
    fn prefetch(&self, handle: FlowHandle) {
        self.table.prefetch(handle.slot);
    }
}
