//! In which order the instances of an engine see the packets of a batch and what happened to their flows.
//!
//! What nobody can tell apart from one packet after the other runs over the whole stretch at once. Instances that others
//! reach, by messages or by attributes of flows, run packet by packet and event by event.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::content::{ContentDesk, Declined, Due};
use super::feed::{Ends, Feed, TCP, Told, Traffic};
use super::frontend::{Course, FlowTap};
use super::heard::Attributes;
use super::host::{Frontend, SPOKEN};
use super::policy::{Opinion, PolicyTable};
use crate::api::{
    EngineContext, Event, LENT_AT_ONCE, Mail, Note, NoteText, Occasion, Rank, Record, ScriptId, Side, Stamp, Topic,
    voice,
};
use crate::content::{ContentCounts, Item, ItemKind};
use crate::flow::{FlowHandle, Flows, Happening};
use crate::key::FlowTuple;

const STORE: u32 = Topic::Store.bit() | Topic::StorePayload.bit();

impl Frontend {
    /// Handles the packets `from..to` of the engine's batch, and what happened to their flows.
    pub fn run(&mut self, from: usize, to: usize, traffic: Option<&Traffic<'_>>) {
        let engine = Rc::clone(&self.engine);
        for counter in &mut self.deaf {
            counter.run(&engine, from, to);
        }
        let traffic = traffic.filter(|_| !self.taps.is_empty());
        if let Some(traffic) = traffic {
            self.begin_flows(traffic);
            self.run_straight(traffic);
            if self.taps.iter().any(|tap| tap.course == Course::Serial) {
                self.run_serial(from, to, traffic);
                return;
            }
        }
        if !self.hearing.is_empty() {
            self.run_hearing(from, to);
        } else if !engine.mail.borrow().is_empty() {
            let due = std::mem::take(&mut *engine.mail.borrow_mut());
            self.deliver_before(to, &due);
            engine.stop.store(0, Ordering::Relaxed);
        }
        self.announce_waiting();
    }

    /// The combined decisions about storing packets.
    #[must_use]
    pub fn policies(&self) -> &PolicyTable {
        &self.policies
    }

    /// Topics that any instance hears, as bits.
    #[must_use]
    pub fn topics(&self) -> u32 {
        self.topics
    }

    /// Attributes that any instance hears of.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Whether a script still wants the streams of a flow.
    #[must_use]
    pub fn wants_payload(&self, flow: FlowHandle) -> bool {
        let payload = Topic::Payload.bit() | Topic::StorePayload.bit();
        self.listens_for(payload, flow, voice::NO | voice::QUIET)
    }

    /// Whether a script still wants the datagrams of a flow.
    #[must_use]
    pub fn wants_datagrams(&self, flow: FlowHandle) -> bool {
        self.listens_for(Topic::StorePayload.bit(), flow, voice::NO | voice::QUIET)
    }

    /// Whether a script wants the raw bytes of a flow that is HTTP.
    #[must_use]
    pub fn wants_raw(&self, flow: FlowHandle) -> bool {
        self.listens_for(Topic::RawPayload.bit(), flow, voice::NO | voice::QUIET)
    }

    /// Whether a script follows what HTTP carries in a flow.
    #[must_use]
    pub fn follows_contents(&self, flow: FlowHandle) -> bool {
        self.listens_for(Topic::CONTENT, flow, voice::NO)
    }

    fn listens_for(&self, topics: u32, flow: FlowHandle, against: u8) -> bool {
        self.taps.iter().any(|tap| tap.hears(topics) && tap.voice(flow.slot as usize) & against == 0)
    }

    /// The bodies of HTTP that no script wants, since the last time.
    pub fn take_declined(&mut self) -> Vec<Declined> {
        self.contents.take_declined()
    }

    /// What was written to files.
    #[must_use]
    pub fn content_counts(&self) -> ContentCounts {
        self.contents.counts()
    }

    /// Nothing has been said about the flows that begin. With the first stretch all of the batch are met: callbacks may
    /// speak of flows that begin later in it.
    fn begin_flows(&mut self, traffic: &Traffic<'_>) {
        if traffic.range.start > 0 {
            return;
        }
        if let Some(contents) = traffic.contents {
            // As with slots of flows: some exchanges begin later in the batch.
            let places = contents.places().next_power_of_two();
            self.taps.iter_mut().for_each(|tap| tap.begin_exchanges(contents.begun(), places));
        }
        let begun = traffic.events().list().iter().filter(|event| event.what == Happening::New);
        self.begun.clear();
        self.begun.extend(begun.map(|event| event.flow.slot));
        let Some(&last) = self.begun.iter().max() else { return };
        // Room grows by doubling, for all instances alike.
        let room = (last as usize + 1).next_power_of_two();
        self.taps.iter_mut().for_each(|tap| tap.begin_flows(&self.begun, room));
    }

    /// Runs the instances that nobody reaches over all events of the stretch.
    fn run_straight(&mut self, traffic: &Traffic<'_>) {
        let engine = Rc::clone(&self.engine);
        let straight = |tap: &&mut FlowTap| tap.course == Course::Straight;
        let topics = self.taps.iter_mut().filter(straight).fold(0, |topics, tap| topics | tap.topics);
        let keeps = self.taps.iter_mut().filter(straight).any(|tap| tap.keeps_flows());
        if topics == 0 {
            return;
        }
        let attributes = Rc::clone(&self.attributes);
        let ends = if keeps { Ends::Keepers } else { Ends::Callbacks };
        let mut feed = Feed::new(traffic, topics, &attributes, ends).with_list(std::mem::take(&mut self.ended));
        loop {
            let file = self.contents.next_file(&engine, &self.taps);
            let ((first, count), header) = self.lend_row(&mut feed, file.as_ref());
            if count == 0 && feed.ended().is_empty() {
                self.ended = feed.into_list();
                return;
            }
            for tap in self.taps.iter_mut().filter(straight) {
                tap.run(&engine, first, count, feed.ended());
            }
            if let Some(header) = header {
                self.contents.decided(header, &self.taps);
            }
            if let Some(file) = file {
                ContentDesk::release(&engine, file);
            }
            if topics & STORE != 0 {
                for place in 0..count {
                    for tap in self.taps.iter_mut().filter(straight) {
                        note_opinion(tap, &engine, first + place, place);
                    }
                    self.decide(first + place);
                }
            }
        }
    }

    /// Lends the next events: first slot and number. A row ends behind a header of HTTP, which is returned: what becomes
    /// of the body depends on the votes. A file stands alone: jobs scheduled meanwhile keep it.
    fn lend_row<'a>(&mut self, feed: &mut Feed<'a>, file: Option<&Due>) -> ((usize, usize), Option<&'a Item>) {
        let mut ring = self.engine.events.borrow_mut();
        ring.begin_row();
        feed.begin_row();
        if let Some(file) = file {
            ring.push(&file.event());
            return (ring.row(), None);
        }
        for _ in 0..LENT_AT_ONCE {
            let told = feed.tell(|event, content| {
                ring.push(event);
                // Files that are complete come before the next event.
                content.map(|item| (item, self.contents.take(item, event, &self.taps)))
            });
            match told {
                Some(Some((item, _))) if matches!(item.kind, ItemKind::Header { .. }) => {
                    return (ring.row(), Some(item));
                }
                None | Some(Some((_, true))) => break,
                Some(_) => {}
            }
        }
        (ring.row(), None)
    }

    /// Combines what scripts say about storing on the occasion of an event.
    fn decide(&mut self, slot: usize) {
        let (topic, at) = {
            let events = self.engine.events.borrow();
            (events.topic_of_slot(slot), *events.occasion_of_slot(slot))
        };
        let Some(flow) = at.flow.filter(|_| 1_u32 << topic & STORE != 0) else { return };
        let opinions = self.taps.iter().filter_map(|tap| tap.opinions.get(flow.slot as usize));
        let policy = opinions.copied().max().unwrap_or(Opinion::None);
        if !self.policies.decide(at.packet, flow, policy) {
            return;
        }
        let flows = self.engine.flows.borrow();
        let Some(id) = flows.as_ref().and_then(|flows| flows.flow(flow)).map(|flow| flow.tuple.id()) else { return };
        let record = Record::StorePolicy { flow: id.as_bytes().to_vec(), policy: policy.number().max(0) as u8 };
        let rank = Rank { vm: u32::MAX, ..at.rank };
        let (script, side) = (ScriptId::NATIVE_STORE, Side::Frontend);
        self.engine.records.borrow_mut().push((Stamp { packet: at.packet, rank, time: at.time, script, side }, record));
    }

    /// Runs the counters that receive messages, so that each message reaches all of them before their next packet.
    ///
    /// Messages of the other instances are known by now, with the packet that led to them. A single receiver runs in
    /// stretches up to the next message; several run packet by packet, because each may post what the others must hear.
    fn run_hearing(&mut self, from: usize, to: usize) {
        let engine = Rc::clone(&self.engine);
        let mut waiting = self.waiting_mail();
        let mut at = from;
        while at < to {
            self.deliver_due(&mut waiting, at);
            let stretch = match waiting.front() {
                Some(mail) => (mail.packet as usize).saturating_add(1).min(to),
                None => to,
            };
            engine.stop.store(0, Ordering::Relaxed);
            if let [only] = self.hearing.as_mut_slice() {
                at = only.run(&engine, at, stretch);
            } else {
                for counter in &mut self.hearing {
                    counter.run(&engine, at, at + 1);
                }
                at += 1;
            }
        }
        self.deliver_rest(waiting, from..to);
    }

    /// The messages that wait, by the packet that led to them.
    fn waiting_mail(&self) -> VecDeque<Mail> {
        let mut waiting = std::mem::take(&mut *self.engine.mail.borrow_mut());
        waiting.sort_by_key(|mail| mail.packet);
        waiting.into()
    }

    /// Delivers what was posted before a packet.
    fn deliver_due(&mut self, waiting: &mut VecDeque<Mail>, at: usize) {
        let mut due = Vec::new();
        while waiting.front().is_some_and(|mail| (mail.packet as usize) < at) {
            due.extend(waiting.pop_front());
        }
        due.append(&mut self.engine.mail.borrow_mut());
        self.deliver_before(at, &due);
    }

    fn deliver_rest(&mut self, waiting: VecDeque<Mail>, range: Range<usize>) {
        let mut due: Vec<Mail> = waiting.into();
        due.append(&mut self.engine.mail.borrow_mut());
        if range.is_empty() {
            // What flows led to without a packet is handed on first: no place in a batch would put these behind it.
            *self.engine.mail.borrow_mut() = due;
        } else {
            self.deliver_before(range.end, &due);
        }
        self.engine.stop.store(0, Ordering::Relaxed);
    }

    /// Runs packet by packet and event by event whatever can be reached by another instance.
    fn run_serial(&mut self, from: usize, to: usize, traffic: &Traffic<'_>) {
        let engine = Rc::clone(&self.engine);
        let mut mail = self.waiting_mail();
        let mut notes = self.waiting_notes();
        let serial = |tap: &&FlowTap| tap.course == Course::Serial;
        let content = self.taps.iter().filter(serial).fold(0, |topics, tap| topics | tap.topics) & Topic::CONTENT;
        // Contents are for one pass: all that hear of them run in the same.
        let attributes = Rc::clone(&self.attributes);
        let mut feed =
            Feed::new(traffic, self.topics & !Topic::CONTENT | content, &attributes, Ends::Everybody).peekable();
        for at in from..to {
            let packet = at as u32;
            engine.echoed.set(0);
            self.deliver_due(&mut mail, at);
            self.hear_notes();
            engine.stop.store(0, Ordering::Relaxed);
            for counter in &mut self.hearing {
                counter.run(&engine, at, at + 1);
            }
            notes.extend(engine.notes.borrow_mut().drain(..));
            notes.make_contiguous().sort_by_key(|note| (note.packet, note.rank));
            await_starts(notes.make_contiguous(), packet, traffic);
            self.announce_before(&mut notes, packet, Rank { event: 1, ..Rank::default() });
            while let Some(told) = feed.next_if(|told| told.event.at.packet <= packet) {
                self.run_told(&told, &mut notes);
            }
            self.announce_before(&mut notes, packet + 1, Rank::default());
        }
        for told in feed {
            self.run_told(&told, &mut notes);
        }
        while let Some(note) = notes.pop_front() {
            self.announce(note);
        }
        self.deliver_rest(mail, from..to);
        self.hear_notes();
    }

    /// One event for all instances that can be reached, and the files it completes.
    fn run_told(&mut self, told: &Told<'_>, notes: &mut VecDeque<Note>) {
        self.run_event(&told.event, notes);
        let Some(item) = told.content else { return };
        self.contents.decided(item, &self.taps);
        if self.contents.take(item, &told.event, &self.taps) {
            let engine = Rc::clone(&self.engine);
            while let Some(file) = self.contents.next_file(&engine, &self.taps) {
                self.run_event(&file.event(), notes);
                ContentDesk::release(&engine, file);
            }
        }
    }

    /// One event for all instances that can be reached.
    fn run_event(&mut self, event: &Event<'_>, notes: &mut VecDeque<Note>) {
        let engine = Rc::clone(&self.engine);
        engine.echo.set(0);
        engine.echoed.set(0);
        let slot = engine.events.borrow_mut().alone(0, event);
        let begins = begins_flow(event);
        let ended = event.at.flow.filter(|_| event.topic == Topic::End).map(|flow| flow.slot);
        let ended = ended.as_slice();
        for index in 0..self.taps.len() {
            let tap = &self.taps[index];
            if tap.course != Course::Serial || !tap.hears(event.topic.bit()) && event.topic != Topic::End {
                continue;
            }
            let vm = tap.instance.context().order.get();
            self.announce_before(notes, event.at.packet, Rank { vm, ..event.at.rank });
            let tap = &mut self.taps[index];
            tap.run(&engine, slot, 1, ended);
            note_opinion(tap, &engine, slot, 0);
            if !begins {
                self.hear_notes();
            }
        }
        if begins && event.topic == Topic::Attribute {
            // What they lead to has its place behind the start, whenever it was said.
            let rank = Rank { vm: u32::MAX, ..event.at.rank };
            self.announce_before(notes, event.at.packet, Rank { echo: 1, ..rank });
            engine.notes.borrow_mut().iter_mut().for_each(|note| note.rank = rank);
            self.hear_notes();
        }
        if event.topic.bit() & STORE != 0 {
            self.decide(slot);
        }
        self.announce_before(notes, event.at.packet, Rank { vm: u32::MAX, ..event.at.rank });
    }

    fn waiting_notes(&self) -> VecDeque<Note> {
        let mut notes = std::mem::take(&mut *self.engine.notes.borrow_mut());
        notes.sort_by_key(|note| (note.packet, note.rank));
        notes.into()
    }

    /// Announces what was said before a place in the batch.
    fn announce_before(&mut self, notes: &mut VecDeque<Note>, packet: u32, rank: Rank) {
        while notes.front().is_some_and(|note| (note.packet, note.rank) < (packet, rank)) {
            if let Some(note) = notes.pop_front() {
                self.announce(note);
            }
        }
    }

    /// Announces what the callback that just returned has said.
    fn hear_notes(&mut self) {
        loop {
            let said = std::mem::take(&mut *self.engine.notes.borrow_mut());
            if said.is_empty() {
                return;
            }
            for note in said {
                self.announce(note);
            }
        }
    }

    /// Announces everything that waits. Instances that had not been known to be reached are, from now on.
    pub(super) fn announce_waiting(&mut self) {
        if self.engine.notes.borrow().is_empty() {
            return;
        }
        if self.topics & SPOKEN == 0 {
            return self.engine.notes.borrow_mut().clear();
        }
        self.set_courses(SPOKEN);
        let notes = self.waiting_notes();
        self.engine.echoed.set(0);
        for note in notes {
            self.announce(note);
        }
    }

    /// Tells every instance that hears of it what a script said about a flow.
    fn announce(&mut self, note: Note) {
        let engine = Rc::clone(&self.engine);
        let (topic, id_len, numbers) = match &note.text {
            NoteText::Attribute(..) => (Topic::Attribute, note.flow.len(), [note.flow.len() as f64, 0.0, 0.0, 0.0]),
            NoteText::Record(numbers) => (Topic::Record, note.flow.len(), *numbers),
        };
        let is_attribute = matches!(note.text, NoteText::Attribute(..));
        let has_ended = |flows: &Option<Flows>| flows.as_ref().is_some_and(|flows| flows.end_of(&note.flow).is_some());
        // Nothing is told of a flow behind its end.
        if is_attribute && has_ended(&engine.flows.borrow()) {
            return;
        }
        let tuple = FlowTuple::from_id(&note.flow);
        let flow = tuple.as_ref().and_then(|tuple| engine.flows.borrow().as_ref()?.find(tuple));
        let flow = flow.filter(|flow| self.taps.iter().all(|tap| tap.has_met(flow.slot as usize)));
        let tuple = tuple.as_ref().filter(|_| flow.is_some());
        let mut text = note.flow;
        let mut bytes: &[u8] = &[];
        if let NoteText::Attribute(name, value) = &note.text {
            text.extend_from_slice(name);
            bytes = value;
        }
        // A flow of the table is named by its slot; any other by the id in front of the text.
        let text = if flow.is_some() { &text[id_len..] } else { &text[..] };
        engine.echo.set(engine.echo.get() + 1);
        let rank = Rank { echo: engine.echo.get(), ..note.rank };
        let at = Occasion { packet: note.packet, rank, time: note.time, flow };
        let event = Event { topic, at, tuple, bytes, text, direction: 0, numbers, exchange: None };
        let slot = engine.events.borrow_mut().alone(note.depth, &event);
        let outer = engine.note_depth.replace(note.depth);
        for index in 0..self.taps.len() {
            if self.taps[index].hears(topic.bit()) {
                self.taps[index].run(&engine, slot, 1, &[]);
                self.hear_notes();
            }
        }
        engine.note_depth.set(outer);
    }
}

/// Whether an event is one of those with which a flow begins for scripts. What is said meanwhile waits until all of them
/// know the flow: nobody hears of it before its vote, and the start is the first attribute.
fn begins_flow(event: &Event<'_>) -> bool {
    match event.topic {
        Topic::Store => event.tuple.is_some_and(|tuple| tuple.proto == TCP),
        Topic::Filter | Topic::New => true,
        Topic::Attribute => event.text.is_empty(),
        _ => false,
    }
}

/// Puts what was said of flows that begin with a packet behind their start, in notes that are in order.
fn await_starts(notes: &mut [Note], packet: u32, traffic: &Traffic<'_>) {
    let due = notes.partition_point(|note| note.packet <= packet);
    let due = &mut notes[..due];
    for note in due.iter_mut().filter(|note| note.packet == packet && matches!(note.text, NoteText::Attribute(..))) {
        if let Some(start) = FlowTuple::from_id(&note.flow).and_then(|tuple| traffic.start_of(packet, &tuple)) {
            note.rank = note.rank.max(Rank { vm: u32::MAX, ..start });
        }
    }
    due.sort_by_key(|note| (note.packet, note.rank));
}

/// Takes up what an instance answered about storing on the occasion of an event, at a place of the row it ran last.
fn note_opinion(tap: &mut FlowTap, engine: &EngineContext, slot: usize, place: usize) {
    let Some(answer) = tap.answer(place).filter(|_| tap.hears(STORE)) else { return };
    let opinion = Opinion::of_number(answer);
    let events = engine.events.borrow();
    let Some(flow) = events.occasion_of_slot(slot).flow else { return };
    let is_first_word = events.topic_of_slot(slot) == Topic::Store as i32;
    if let Some(held) = tap.opinions.get_mut(flow.slot as usize)
        && (is_first_word || opinion != Opinion::None)
    {
        *held = opinion;
    }
}
