//! Blocks that hear what happens to flows: `reassembly_handler`, `filex_monitor`, `flowmonitor`, `messagemonitor`,
//! `packet_storage`.
//!
//! They differ in the callbacks they may have, and in nothing else: one driver calls whatever a block has for the events
//! it is given.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use mlua::{Function, LightUserData, Table, Value};

use super::escape::lending;
use super::keeping::{Keeping, keeping, lines_of};
use crate::api::{EngineContext, EventRing, EventRow, LENT_AT_ONCE, Sign, Topic, declined, voice};
use crate::flow::{Direction, Want};
use crate::lua::{FaultKind, PluginError, Tokens};
use crate::memory::{make_room, prefetch};
use crate::plugin::health::ROW_LIMIT;
use crate::plugin::heard::Attributes;
use crate::plugin::instance::Instance;
use crate::plugin::kind::PluginKind;
use crate::plugin::policy::Opinion;

const DRIVER: &str = include_str!("../../api/lua/event_driver.lua");

/// Puts the older order of parameters right: where the block has it always, or where the names of the parameters say so.
/// Where a block names attributes, it is called for no others.
const IN_ORDER: &str = "
local objects, callback, always, names = ...
local named_only = callback
if names then
  named_only = function(engine, timestamp, flow, name, value)
    if names[name] then return callback(engine, timestamp, flow, name, value) end
  end
end
local getlocal, find = objects.getlocal, objects.find
local function named(n, ...)
  local name = getlocal(callback, n)
  for i = 1, objects.select('#', ...) do
    if objects.type(name) == 'string' and find(name, '^' .. objects.select(i, ...)) then return true end
  end
end
if always or (named(2, 'flow') and named(3, 'time', 'ts')) then
  return function(engine, timestamp, flow, name, value)
    if not names or names[name] then return callback(engine, flow, timestamp, name, value) end
  end
end
return named_only";

/// A callback of a block: the topic it is called for, its name, its whole name in messages.
type Row = (Topic, &'static str, &'static str);

/// The callbacks that a block may have. Of several for one topic the first one that is there is called.
fn rows(kind: PluginKind) -> &'static [Row] {
    match kind {
        PluginKind::ReassemblyHandler => &[
            (Topic::Filter, "filter", "reassembly_handler.filter"),
            (Topic::New, "onnewflow", "reassembly_handler.onnewflow"),
            (Topic::Payload, "onpayload", "reassembly_handler.onpayload"),
            (Topic::Attribute, "onattribute", "reassembly_handler.onattribute"),
            (Topic::End, "onterminateflow", "reassembly_handler.onterminateflow"),
            (Topic::End, "onterminate", "reassembly_handler.onterminate"),
        ],
        PluginKind::FilexMonitor => &[
            (Topic::Filter, "filter_flow", "filex_monitor.filter_flow"),
            (Topic::RawPayload, "onpayload_raw", "filex_monitor.onpayload_raw"),
            (Topic::HttpFilter, "filter", "filex_monitor.filter"),
            (Topic::HttpPayload, "onpayload_http", "filex_monitor.onpayload_http"),
            (Topic::HttpFile, "onfile_http", "filex_monitor.onfile_http"),
            (Topic::HttpEnd, "onterminateflow", "filex_monitor.onterminateflow"),
        ],
        PluginKind::FlowMonitor => &[(Topic::Attribute, "onflowattribute", "flowmonitor.onflowattribute")],
        PluginKind::MessageMonitor => &[
            (Topic::Record, "onnewflowrecord", "messagemonitor.onnewflowrecord"),
            (Topic::Metric, "onflowmetric", "messagemonitor.onflowmetric"),
        ],
        PluginKind::PacketStorage => &[
            (Topic::Store, "filter", "packet_storage.filter"),
            (Topic::StorePayload, "filter_payload", "packet_storage.filter_payload"),
        ],
        _ => &[],
    }
}

/// The attributes that a block asks for: those of its list `attribute_names`, which become keys of `named`.
fn named_attributes(instance: &Instance, block: &Table, named: &Table) -> Result<Attributes, PluginError> {
    let kind = instance.kind;
    if !rows(kind).iter().any(|(topic, ..)| *topic == Topic::Attribute) {
        return Ok(Attributes::All);
    }
    let list = match instance.field::<Value>(block, "attribute_names")? {
        Value::Nil => return Ok(Attributes::All),
        Value::Table(list) => list,
        _ => return Err(no_list(kind)),
    };
    let mut names = Vec::new();
    for name in list.sequence_values::<Value>() {
        let Value::String(name) = name? else { return Err(no_list(kind)) };
        named.raw_set(&name, true)?;
        names.push(name.as_bytes().to_vec().into_boxed_slice());
    }
    Ok(Attributes::Named(names))
}

/// The places of buffers and headers among what a callback is told.
fn lent_places(topic: Topic) -> &'static [usize] {
    match topic {
        Topic::Payload | Topic::StorePayload | Topic::RawPayload => &[5],
        Topic::HttpFilter => &[3],
        Topic::HttpPayload => &[4, 5, 8],
        Topic::HttpFile => &[4, 5],
        Topic::Filter
        | Topic::New
        | Topic::Attribute
        | Topic::End
        | Topic::Metric
        | Topic::Record
        | Topic::Store
        | Topic::HttpEnd => &[],
    }
}

/// Whether a callback may keep its flow.
fn keeping_of(instance: &Instance, script: &Tokens, topic: Topic, callback: &Function) -> Keeping {
    let Some(lines) = lines_of(instance, callback) else { return Keeping::Perhaps };
    // Older scripts have the flow of an attribute in front of its time.
    let places: &[usize] = match topic {
        Topic::Metric | Topic::Record => &[1],
        Topic::Attribute => &[1, 2],
        _ => &[2],
    };
    let keeps = |&place: &usize| keeping(script, lines.clone(), place) == Keeping::Perhaps;
    if places.iter().any(keeps) { Keeping::Perhaps } else { Keeping::Never }
}

fn no_list(kind: PluginKind) -> PluginError {
    mlua::Error::runtime(format!("{}.attribute_names is no list of strings", kind.name())).into()
}

/// True if instances of a kind hear of flows.
#[must_use]
pub fn hears_flows(kind: PluginKind) -> bool {
    !rows(kind).is_empty()
}

/// Whether an instance may run ahead of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Nothing that another instance does reaches it: it runs over all events in a row.
    Straight,
    /// It hears messages, or attributes of scripts: it runs event by event.
    Serial,
}

/// A running block that hears of flows.
#[derive(Debug)]
pub struct FlowTap {
    /// Its VM.
    pub instance: Instance,
    /// How it runs.
    pub course: Course,
    /// Topics it has callbacks for, as bits.
    pub topics: u32,
    /// Attributes it hears of.
    pub attributes: Attributes,
    /// Whether its VM remembers an object for each flow.
    keeping: Keeping,
    /// What it says about storing, by flow slot.
    pub opinions: Vec<Opinion>,
    /// Votes about exchanges of HTTP, by place: bits of [`crate::api::declined`].
    votes: Vec<u8>,
    names: [&'static str; Topic::COUNT + 1],
    driver: Function,
    answers: Box<[i32]>,
    /// Slots of the row being run that the VM is told of.
    picks: Vec<i32>,
    /// Places in the row of events that are of a topic it hears, or ends.
    heard: Box<[u32]>,
    /// Errors in a row of each topic.
    errors: [Cell<i32>; Topic::COUNT + 1],
    /// What the driver is told of a row.
    row: Box<EventRow>,
}

/// Stands for an event that no answer was given to.
const UNASKED: i32 = i32::MIN;

/// How many flows that begin ahead the memory is asked for what is said of them.
const AHEAD: usize = 16;

impl FlowTap {
    /// Attaches a loaded instance, to be called or, with `called` No, for its messages alone. `Err` gives it back if the
    /// block has no callback.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn attach(
        instance: Instance,
        block: &Table,
        engine: &EngineContext,
        called: Want,
    ) -> Result<Result<Self, Instance>, PluginError> {
        let callbacks = instance.vm().lua().create_table()?;
        let named = instance.vm().lua().create_table()?;
        let by_value = instance.vm().lua().create_table()?;
        let attributes = named_attributes(&instance, block, &named)?;
        let (mut topics, mut names) = (0, ["flow"; Topic::COUNT + 1]);
        let script = Tokens::of(&instance.file.script.source);
        let mut keeping = Keeping::Never;
        for &(topic, name, whole) in rows(instance.kind) {
            let callback = match instance.field::<Option<Function>>(block, name) {
                Err(e) if e.kind == FaultKind::Interrupted => return Err(e),
                found => found.ok().flatten(),
            };
            let (Some(callback), true) = (callback, topics & topic.bit() == 0) else { continue };
            topics |= topic.bit();
            names[topic as usize] = whole;
            if keeping_of(&instance, &script, topic, &callback) == Keeping::Perhaps {
                keeping = Keeping::Perhaps;
            }
            if lending(&instance, &script, &callback, lent_places(topic), Some(0))? == Keeping::Perhaps {
                by_value.raw_set(topic as i32, true)?;
            }
            let callback = if topic == Topic::Attribute {
                let always = instance.kind == PluginKind::FlowMonitor;
                let named = (attributes != Attributes::All).then_some(&named);
                instance.driver(
                    IN_ORDER,
                    "=millstream.in_order",
                    (&instance.parts().objects, callback, always, named),
                )?
            } else {
                callback
            };
            callbacks.raw_set(topic as i32, instance.watched(whole, callback)?)?;
        }
        if topics == 0 {
            return Ok(Err(instance));
        }
        if !called.is_yes() {
            topics = 0;
        }
        let parts = instance.parts().clone();
        let base = LightUserData(engine.events.borrow().address().cast_mut().cast());
        let row = Box::<EventRow>::default();
        let of_row = LightUserData(std::ptr::from_ref(&*row).cast_mut().cast());
        let driver = instance.driver(
            DRIVER,
            "=millstream.events",
            (
                &parts.objects,
                &parts.engine,
                callbacks,
                instance.on_error(),
                base,
                EventRing::len(),
                of_row,
                keeping == Keeping::Perhaps,
                by_value,
            ),
        )?;
        Ok(Ok(Self {
            instance,
            course: Course::Straight,
            topics,
            attributes,
            keeping,
            opinions: Vec::new(),
            votes: Vec::new(),
            names,
            driver,
            answers: vec![UNASKED; LENT_AT_ONCE].into_boxed_slice(),
            picks: Vec::with_capacity(LENT_AT_ONCE),
            heard: vec![0; LENT_AT_ONCE].into_boxed_slice(),
            errors: std::array::from_fn(|_| Cell::new(0)),
            row,
        }))
    }

    /// True if it has a callback for one of the topics.
    #[must_use]
    pub fn hears(&self, topics: u32) -> bool {
        self.topics & topics != 0
    }

    /// Takes over what the version before has said about flows and exchanges that go on. There is room for every slot below
    /// `slots`, and for every exchange below `places`.
    pub fn inherit(&mut self, before: Option<&Self>, slots: usize, places: usize) {
        let mut voices = self.instance.context().voices.borrow_mut();
        if let Some(before) = before {
            let said = before.instance.context().voices.borrow();
            *voices = said.iter().map(|bits| AtomicU8::new(bits.load(Ordering::Relaxed))).collect();
            self.opinions.clone_from(&before.opinions);
            self.votes.clone_from(&before.votes);
        }
        if voices.len() < slots {
            voices.resize_with(slots, AtomicU8::default);
        }
        if self.topics & (Topic::Store.bit() | Topic::StorePayload.bit()) != 0 && self.opinions.len() < slots {
            self.opinions.resize(slots, Opinion::default());
        }
        if self.topics & Topic::CONTENT != 0 && self.votes.len() < places {
            self.votes.resize(places, 0);
        }
    }

    /// Slots of flows that there is room for.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.instance.context().voices.borrow().len()
    }

    /// Exchanges that there is room for.
    #[must_use]
    pub fn places(&self) -> usize {
        self.votes.len()
    }

    /// New flows live in these slots: nothing has been said about them. There is room for every slot below `room`.
    pub fn begin_flows(&mut self, slots: &[u32], room: usize) {
        let mut voices = self.instance.context().voices.borrow_mut();
        if voices.len() < room {
            let more = room - voices.len();
            make_room(&mut voices, more);
            voices.resize_with(room, AtomicU8::default);
        }
        for (place, &slot) in slots.iter().enumerate() {
            slots.get(place + AHEAD).and_then(|&later| voices.get(later as usize)).into_iter().for_each(prefetch);
            voices[slot as usize].store(0, Ordering::Relaxed);
        }
        if self.topics & (Topic::Store.bit() | Topic::StorePayload.bit()) != 0 {
            if self.opinions.len() < room {
                self.opinions.resize(room, Opinion::default());
            }
            for &slot in slots {
                self.opinions[slot as usize] = Opinion::default();
            }
        }
    }

    /// True if there is room for what it says about the flow in a slot.
    #[must_use]
    pub fn has_met(&self, slot: usize) -> bool {
        slot < self.instance.context().voices.borrow().len()
    }

    /// What it has said about a flow: bits of [`crate::api::voice`].
    #[must_use]
    pub fn voice(&self, slot: usize) -> u8 {
        self.instance.context().voices.borrow().get(slot).map_or(0, |bits| bits.load(Ordering::Relaxed))
    }

    /// New exchanges of HTTP have places: nothing has been said about these. There is room for every place below `places`.
    pub fn begin_exchanges(&mut self, begun: &[u32], places: usize) {
        if !self.hears(Topic::CONTENT) {
            return;
        }
        if self.votes.len() < places {
            self.votes.resize(places, 0);
        }
        for &place in begun {
            self.votes[place as usize] = 0;
        }
    }

    /// True if it has not declined the body of an exchange.
    #[must_use]
    pub fn accepts(&self, exchange: u32, direction: Direction) -> bool {
        self.votes.get(exchange as usize).is_none_or(|votes| votes & declined(direction) == 0)
    }

    /// True if it hears of the end of every flow it was told of.
    #[must_use]
    pub fn keeps_flows(&self) -> bool {
        self.keeping == Keeping::Perhaps
    }

    /// Handles the events in `count` slots from `first` on, in which the flows in slots `ended` end.
    pub fn run(&mut self, engine: &EngineContext, first: usize, count: usize, ended: &[u32]) {
        self.answers[..count].fill(UNASKED);
        self.pick(engine, first, count);
        if self.hears(Topic::Attribute.bit()) {
            self.instance.vm().foresee(engine.events.borrow().values(&self.picks));
        }
        self.run_picks(engine, first, first + count);
        let voices = self.instance.context().voices.borrow();
        // Nothing more is told of a flow behind its end.
        for bits in ended.iter().filter_map(|&flow| voices.get(flow as usize)) {
            voice::add(bits, voice::NO);
        }
    }

    fn run_picks(&mut self, engine: &EngineContext, first: usize, end: usize) {
        let mut next = self.skip_suspended(engine, first, end);
        loop {
            let from = self.picks.partition_point(|&slot| (slot as usize) < next);
            let picked = self.picks.len() - from;
            if next >= end || picked == 0 {
                return;
            }
            let row = &self.row;
            // No callback adds flows, so the voices stay where they are while it runs.
            row.voices.set(self.instance.context().voices.borrow().as_ptr());
            row.votes.set(self.votes.as_mut_ptr());
            row.answers.set(self.answers[next - first..].as_mut_ptr());
            row.errors.set(self.errors.as_ptr().cast());
            row.picks.set(self.picks[from..].as_ptr());
            row.count.set(picked as i32);
            row.first.set(next as i32);
            row.limit.set(ROW_LIMIT);
            let (result, seq) = self.instance.enter::<()>(&self.driver, ());
            let row = &self.row;
            let mut full = 0;
            match result {
                Ok(()) => {
                    full = row.topic.get() as usize;
                    let last = from + (row.done.get() as usize).clamp(1, picked) - 1;
                    next = if full > 0 { self.picks[last] as usize + 1 } else { end };
                    self.instance.stats.calls += row.calls.get() as u64;
                }
                Err(e) => {
                    // The loop was unwound: go on behind the event it was at.
                    let guilty = engine.events.borrow().slot_of(seq).filter(|slot| (next..end).contains(slot));
                    let name = guilty.map_or("flow", |slot| self.name_of(engine, slot));
                    if let Some(topic) = guilty.map(|slot| engine.events.borrow().topic_of_slot(slot) as usize) {
                        let errors = &self.errors[topic];
                        errors.set(errors.get() + 1);
                        full = if errors.get() >= ROW_LIMIT { topic } else { 0 };
                    }
                    let called = |slot| self.picks[from..].iter().filter(|&&pick| pick as usize <= slot).count() as u64;
                    self.instance.stats.calls += guilty.map_or(1, called);
                    next = guilty.map_or(end, |slot| slot + 1);
                    self.instance.forget_caught(seq);
                    self.instance.at(seq, |instance| instance.fault(name, &e));
                }
            }
            let names = self.names;
            let name = |progress| {
                let events = engine.events.borrow();
                events.slot_of(progress).map_or("flow", |slot| names[events.topic_of_slot(slot) as usize])
            };
            self.instance.take_caught_by(name);
            if full > 0 {
                self.errors[full].set(0);
                let (name, seq) = (self.names[full], engine.events.borrow().slot_seq(next - 1));
                self.instance.at(seq, |instance| instance.suspend(name));
            }
            next = self.skip_suspended(engine, next, end);
        }
    }

    /// Finds the events of a row that the VM is to be told of. What is said meanwhile the driver sees by itself: nothing
    /// that is said makes it hear more.
    fn pick(&mut self, engine: &EngineContext, first: usize, count: usize) {
        let events = engine.events.borrow();
        let voices = self.instance.context().voices.borrow();
        self.picks.clear();
        // Most events are of no topic that it hears: which ones are is no guess for the processor, it is counted. And all
        // voices are asked for at once: one at a time, each would wait for the memory.
        let signs = events.signs(first, count);
        let ends = if self.keeps_flows() { Topic::End.bit() } else { 0 };
        let (topics, mut heard) = (self.topics | ends, 0);
        for (place, sign) in signs.iter().enumerate() {
            self.heard[heard] = place as u32;
            // The driver forgets the objects it keeps with the end of the flow: of some flows it always keeps one.
            let is_kept = (sign.topic == Topic::End) & !sign.has_ends;
            heard += usize::from((topics & sign.topic.bit() != 0) | is_kept);
        }
        let heard = &self.heard[..heard];
        for &place in heard {
            let flow = usize::try_from(signs[place as usize].flow);
            flow.ok().and_then(|flow| voices.get(flow)).into_iter().for_each(prefetch);
        }
        for &place in heard {
            let (slot, sign) = (first + place as usize, &signs[place as usize]);
            let hears = self.topics & sign.topic.bit() != 0 && sign.is_called;
            let is_end = sign.topic == Topic::End;
            let voice = usize::try_from(sign.flow).ok().and_then(|flow| voices.get(flow));
            let said = voice.map_or(0, |bits| bits.load(Ordering::Relaxed));
            let is_met = said & voice::MET != 0;
            let is_kept = is_end && is_met && (self.keeping == Keeping::Perhaps || !sign.has_ends);
            if !(hears && said & voice::closed(sign.topic) == 0 || is_kept) {
                continue;
            }
            self.picks.push(slot as i32);
            if let Some(bits) = voice.filter(|_| !is_met) {
                voice::add(bits, voice::MET);
            }
        }
    }

    /// What it answered about the event in a place of the row that was run last; `None` if it was not asked.
    #[must_use]
    pub fn answer(&self, place: usize) -> Option<i32> {
        self.answers.get(place).copied().filter(|&answer| answer != UNASKED)
    }

    fn name_of(&self, engine: &EngineContext, slot: usize) -> &'static str {
        self.names[engine.events.borrow().topic_of_slot(slot) as usize]
    }

    /// The first of the slots `next..end` that may be handled: suspensions end at an event's time, not a batch's.
    fn skip_suspended(&mut self, engine: &EngineContext, next: usize, end: usize) -> usize {
        let health = &mut self.instance.health;
        let mut at = next;
        if health.disabled().is_some() {
            at = at.max(end);
        } else if health.suspended_until().is_some() {
            let events = engine.events.borrow();
            while at < end && !health.may_run(events.occasion_of_slot(at).time) {
                at += 1;
            }
        }
        if at > next {
            self.instance.health.skipped += self.calls_in(engine, next, at);
        }
        at
    }

    /// For how many of the events in the slots `from..to` it would be called.
    fn calls_in(&self, engine: &EngineContext, from: usize, to: usize) -> u64 {
        let (events, voices) = (engine.events.borrow(), self.instance.context().voices.borrow());
        let would_call = |sign: &&Sign| {
            let voice = usize::try_from(sign.flow).ok().and_then(|flow| voices.get(flow));
            let said = voice.map_or(0, |bits| bits.load(Ordering::Relaxed));
            sign.is_called && self.hears(sign.topic.bit()) && said & voice::closed(sign.topic) == 0
        };
        events.signs(from, to - from).iter().filter(would_call).count() as u64
    }
}
