//! What happened to flows in a stretch of packets, in the order in which scripts are told.

use std::ops::Range;

use super::heard::Attributes;
use crate::api::{Event, Exchange, FlowEnds, Occasion, Rank, Topic};
use crate::content::{Contents, Item, ItemKind, RawBytes};
use crate::dissect::{Dissectors, FindingKind, Findings};
use crate::flow::{FlowEvent, FlowEvents, FlowHandle, FlowLookup as _, Flows, Happening};
use crate::key::FlowTuple;
use crate::packet::Batch;
use crate::time::Timestamp;

/// The protocol whose flows scripts are asked about.
pub const TCP: u8 = 6;
/// Flow meters as scripts number them.
const METER_ROUND_TRIP: f64 = 6.0;
const METER_RETRANSMISSIONS: f64 = 7.0;

/// Flows, and what happened to them in a stretch of the batch.
#[derive(Clone, Debug)]
pub struct Traffic<'a> {
    /// The packets.
    pub batch: &'a Batch,
    /// The flows.
    pub flows: &'a Flows,
    /// What was found in them.
    pub findings: &'a Findings,
    /// What HTTP carries, if anybody wants it.
    pub contents: Option<&'a Contents>,
    /// The events of the stretch, as a range of the list of events.
    pub range: Range<usize>,
    /// Stream time.
    pub now: Timestamp,
}

impl<'a> Traffic<'a> {
    /// The events of the batch.
    #[must_use]
    pub fn events(&self) -> &'a FlowEvents {
        self.flows.events()
    }

    /// The events of the stretch.
    #[must_use]
    pub fn list(&self) -> &'a [FlowEvent] {
        &self.flows.events().list()[self.range.clone()]
    }

    /// Where the start of a TCP flow that begins with a packet is told: behind it all scripts know the flow.
    #[must_use]
    pub fn start_of(&self, packet: u32, tuple: &FlowTuple) -> Option<Rank> {
        if tuple.proto != TCP {
            return None;
        }
        let first = self.range.start + self.list().partition_point(|event| event.packet < packet);
        let mut events =
            self.events().list().get(first..self.range.end)?.iter().take_while(|event| event.packet == packet);
        let flow_of = |event: &FlowEvent| self.flows.flow(event.flow).map(|flow| &flow.tuple);
        let begins = |event: &FlowEvent| event.what == Happening::New && flow_of(event) == Some(tuple);
        let index = first + events.position(begins)?;
        let findings = self.findings.list();
        let found = findings.partition_point(|finding| (finding.after as usize) < index);
        let is_start = findings.get(found).is_some_and(|finding| {
            let FindingKind::Attribute { name, .. } = finding.kind else { return false };
            finding.after as usize == index && self.findings.bytes(name).is_empty()
        });
        let stage = if is_start { Rank::FINDINGS.saturating_add(found as u32) } else { u32::from(HEADS) };
        Some(Rank { event: index as u32 + 1, stage, vm: 0, echo: 0 })
    }

    /// The first finding that belongs to the stretch.
    #[must_use]
    pub fn first_finding(&self) -> usize {
        self.findings.list().partition_point(|finding| (finding.after as usize) < self.range.start)
    }
}

/// An event, and the content it is about.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The event.
    pub event: Event<'a>,
    /// What HTTP carried.
    pub content: Option<&'a Item>,
}

/// Goes through a stretch and makes the events of the topics that are wanted.
#[derive(Debug)]
pub struct Feed<'a> {
    traffic: &'a Traffic<'a>,
    topics: u32,
    attributes: &'a Attributes,
    index: usize,
    finding: usize,
    items: &'a [Item],
    step: u8,
    /// The ends of the flow that the flow event is about.
    tuple: Option<&'a FlowTuple>,
    /// Who hears that flows end.
    ends: Ends,
    /// Flows that ended in the row, by slot, unless everybody hears of it: nothing more is told of them.
    ended: Vec<u32>,
}

/// Who hears that flows end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Everybody.
    Everybody,
    /// Some keep objects of flows, and let them go then.
    Keepers,
    /// Nobody keeps more objects than those of flows whose ends do not fit into an event.
    Callbacks,
}

/// How many flow events ahead the memory is asked for flows.
const AHEAD: usize = 8;

/// Steps of one flow event: what comes before its findings, the findings, what comes behind them.
const HEADS: u8 = 3;

impl<'a> Feed<'a> {
    /// A feed of the topics, given as bits, and of the attributes.
    #[must_use]
    pub fn new(traffic: &'a Traffic<'a>, topics: u32, attributes: &'a Attributes, ends: Ends) -> Self {
        let contents = traffic.contents.filter(|_| topics & Topic::CONTENT != 0);
        let items = contents.map_or(&[][..], Contents::items);
        let first = items.partition_point(|item| (item.after as usize) < traffic.range.start);
        let (index, finding) = (traffic.range.start, traffic.first_finding());
        Self {
            traffic,
            topics,
            attributes,
            index,
            finding,
            items: &items[first..],
            step: 0,
            tuple: None,
            ends,
            ended: Vec::new(),
        }
    }

    /// The same with a list for the flows that end.
    #[must_use]
    pub fn with_list(mut self, ended: Vec<u32>) -> Self {
        self.ended = ended;
        self
    }

    /// Begins a row of events.
    pub fn begin_row(&mut self) {
        self.ended.clear();
    }

    /// The flows that ended in the row.
    #[must_use]
    pub fn ended(&self) -> &[u32] {
        &self.ended
    }

    /// The list, to be used again.
    #[must_use]
    pub fn into_list(self) -> Vec<u32> {
        self.ended
    }

    fn has_ended(&self, flow: FlowHandle) -> bool {
        self.ended.contains(&flow.slot)
    }

    /// Notes the end of a flow; says whether anybody hears of it.
    fn end(&mut self, flow: FlowHandle) -> bool {
        if self.ends == Ends::Everybody {
            return true;
        }
        self.ended.push(flow.slot);
        let is_called = self.wants(Topic::End) && self.is_tcp();
        is_called || self.ends == Ends::Keepers || !FlowEnds::of(self.tuple).are_known()
    }

    fn wants(&self, topic: Topic) -> bool {
        self.topics & topic.bit() != 0
    }

    #[inline]
    fn tuple_of(&self, flow: FlowHandle) -> Option<&'a FlowTuple> {
        self.traffic.flows.flow(flow).map(|flow| &flow.tuple)
    }

    fn is_tcp(&self) -> bool {
        self.tuple.is_some_and(|tuple| tuple.proto == TCP)
    }

    /// Begins with a flow event: looks its flow up, and asks the memory for one that comes later.
    #[inline]
    fn meet(&mut self, event: &FlowEvent) {
        self.tuple = self.tuple_of(event.flow);
        if let Some(later) = self.traffic.events().list().get(self.index + AHEAD) {
            self.traffic.flows.prefetch(later.flow);
        }
    }

    /// Inlined as what calls it, so that an event is put together where it stays: it is large.
    #[inline(always)]
    fn event(&self, event: &FlowEvent, topic: Topic, stage: u32) -> Event<'a> {
        let rank = Rank { event: self.index as u32 + 1, stage, vm: 0, echo: 0 };
        Event {
            topic,
            at: Occasion { packet: event.packet, rank, time: event.time, flow: Some(event.flow) },
            tuple: self.tuple,
            bytes: &[],
            text: &[],
            direction: 0,
            numbers: [0.0; 4],
            exchange: None,
        }
    }

    #[inline(always)]
    fn head(&self, event: &FlowEvent, step: u8) -> Option<Event<'a>> {
        let stage = u32::from(step);
        let of = |topic| self.wants(topic).then(|| self.event(event, topic, stage));
        let metric = |meter, value| Some(Event { numbers: [meter, value, 0.0, 0.0], ..of(Topic::Metric)? });
        let payload = |topic, direction: crate::flow::Direction, position: u64, bytes| {
            let bytes = self.traffic.events().bytes(self.traffic.batch, bytes);
            let numbers = [position as f64, 0.0, 0.0, 0.0];
            Some(Event { bytes, direction: direction.index() as i32, numbers, ..of(topic)? })
        };
        match (step, event.what) {
            (0, Happening::New) => of(Topic::Store),
            (1, Happening::New) if self.is_tcp() => of(Topic::Filter),
            (2, Happening::New) if self.is_tcp() => of(Topic::New),
            (0, Happening::Datagram { direction, bytes }) => payload(Topic::StorePayload, direction, 0, bytes),
            (0, Happening::Payload { direction, position: 0, bytes }) => {
                payload(Topic::StorePayload, direction, 0, bytes)
            }
            (1, Happening::Payload { direction, position, bytes }) => {
                payload(Topic::Payload, direction, position, bytes)
            }
            (0, Happening::RoundTrip { micros }) => metric(METER_ROUND_TRIP, micros as f64),
            (0, Happening::Retransmission { .. }) => metric(METER_RETRANSMISSIONS, 1.0),
            _ => None,
        }
    }

    /// What HTTP carries, as an event with the packet and time of what led to it.
    fn content(&self, item: &'a Item, packet: u32, time: Timestamp) -> Option<Told<'a>> {
        let (topic, stage) = match (&item.kind, item.finding) {
            (ItemKind::Raw { .. }, finding) => (Topic::RawPayload, finding.map_or(u32::from(HEADS), stage_of)),
            (ItemKind::Header { .. }, finding) => (Topic::HttpFilter, finding.map_or(Rank::FINDINGS, stage_of)),
            (ItemKind::Body(_), finding) => (Topic::HttpPayload, finding.map_or(Rank::FINDINGS, stage_of)),
            (ItemKind::End, _) => (Topic::HttpEnd, Rank::END - 1),
        };
        let (bytes, text, position) = match &item.kind {
            ItemKind::Raw { position, bytes: RawBytes::Kept(bytes) } => (&bytes[..], &[][..], *position),
            ItemKind::Raw { position, bytes: RawBytes::Stream(bytes) } => {
                (self.traffic.events().bytes(self.traffic.batch, *bytes), &[][..], *position)
            }
            ItemKind::Body(body) => (self.traffic.findings.bytes(body.bytes), body.path.as_bytes(), body.position),
            ItemKind::Header { .. } | ItemKind::End => (&[][..], &[][..], 0),
        };
        // Files are written of bodies, whoever hears of the pieces.
        let heard = topic.bit() | if topic == Topic::HttpPayload { Topic::HttpFile.bit() } else { 0 };
        let (request, response) = (&item.parts.request[..], &item.parts.response[..]);
        let rank = Rank { event: item.after.saturating_add(1), stage, vm: 0, echo: 0 };
        let event = Event {
            topic,
            at: Occasion { packet, rank, time, flow: Some(item.flow) },
            tuple: self.tuple_of(item.flow),
            bytes,
            text,
            direction: item.direction.index() as i32,
            numbers: [position as f64, 0.0, 0.0, 0.0],
            exchange: Some(Exchange { place: item.exchange, request, response }),
        };
        (self.topics & heard != 0 && !self.has_ended(item.flow)).then_some(Told { event, content: Some(item) })
    }

    /// The next content of the event, unless a finding comes before it.
    fn next_item(&mut self) -> Option<&'a Item> {
        let findings = self.traffic.findings.list();
        let more = findings.get(self.finding).is_some_and(|finding| finding.after as usize <= self.index);
        let item = self.items.first().filter(|item| item.after as usize <= self.index)?;
        let first = match (&item.kind, item.finding) {
            (ItemKind::End, _) => !more,
            (_, Some(finding)) => !more || finding as usize <= self.finding,
            (_, None) => true,
        };
        if !first {
            return None;
        }
        self.items = &self.items[1..];
        Some(item)
    }

    /// Goes on to the next event of which something may be told. Most are of no topic that is wanted, and nothing was found
    /// in them.
    #[inline]
    fn pass_untold(&mut self) {
        if self.step > 0 {
            return;
        }
        let finding =
            self.traffic.findings.list().get(self.finding).map_or(usize::MAX, |finding| finding.after as usize);
        let item = self.items.first().map_or(usize::MAX, |item| item.after as usize);
        let until = self.traffic.range.end.min(finding).min(item);
        if let Some(list) = self.traffic.events().list().get(self.index..until) {
            let is_told = |event: &FlowEvent| {
                matches!(event.what, Happening::End { .. }) || self.topics & heads_of(event.what) != 0
            };
            self.index += list.iter().position(is_told).unwrap_or(list.len());
        }
    }

    /// The next finding of the event that scripts are told.
    #[inline(always)]
    fn found<R>(&mut self, event: &FlowEvent, take: &mut impl FnMut(&Event<'a>, Option<&'a Item>) -> R) -> Option<R> {
        let findings = self.traffic.findings;
        loop {
            while let Some(item) = self.next_item() {
                if let Some(told) = self.content(item, event.packet, event.time) {
                    return Some(take(&told.event, told.content));
                }
            }
            let finding = findings.list().get(self.finding)?;
            if finding.after as usize > self.index {
                return None;
            }
            let stage = Rank::FINDINGS.saturating_add(self.finding as u32);
            self.finding += 1;
            if let FindingKind::Attribute { name, value } = finding.kind
                && self.wants(Topic::Attribute)
                && self.attributes.has(findings.bytes(name))
            {
                let mut told = self.event(event, Topic::Attribute, stage);
                if finding.flow != event.flow {
                    if self.has_ended(finding.flow) {
                        continue;
                    }
                    told.at.flow = Some(finding.flow);
                    told.tuple = self.tuple_of(finding.flow);
                }
                let event = Event { bytes: findings.bytes(value), text: findings.bytes(name), ..told };
                return Some(take(&event, None));
            }
        }
    }
}

/// The topics that [`Feed::head`] may make of an event, as bits.
const fn heads_of(what: Happening) -> u32 {
    match what {
        Happening::New => Topic::Store.bit() | Topic::Filter.bit() | Topic::New.bit(),
        Happening::Datagram { .. } => Topic::StorePayload.bit(),
        Happening::Payload { .. } => Topic::StorePayload.bit() | Topic::Payload.bit(),
        Happening::RoundTrip { .. } | Happening::Retransmission { .. } => Topic::Metric.bit(),
        Happening::Gap { .. } | Happening::End { .. } => 0,
    }
}

fn stage_of(finding: u32) -> u32 {
    Rank::FINDINGS.saturating_add(finding)
}

impl<'a> Feed<'a> {
    /// Makes the next event and hands it on, with the content it is about; `None` behind the last one.
    #[inline(always)]
    pub fn tell<R>(&mut self, mut take: impl FnMut(&Event<'a>, Option<&'a Item>) -> R) -> Option<R> {
        self.pass_untold();
        while self.index < self.traffic.range.end {
            let event = &self.traffic.events().list()[self.index];
            if self.step == 0 {
                self.meet(event);
                if self.topics & heads_of(event.what) == 0 {
                    self.step = HEADS;
                }
            }
            if self.step < HEADS {
                let step = self.step;
                self.step += 1;
                if let Some(event) = self.head(event, step) {
                    return Some(take(&event, None));
                }
                continue;
            }
            if let Some(taken) = self.found(event, &mut take) {
                return Some(taken);
            }
            // Scripts' objects of the flow are let go with its end. The callback is for TCP.
            let ended = matches!(event.what, Happening::End { .. }) && self.end(event.flow);
            let numbers = [f64::from(u8::from(ended && self.is_tcp())), 0.0, 0.0, 0.0];
            let told = ended.then(|| Event { numbers, ..self.event(event, Topic::End, Rank::END) });
            (self.index, self.step) = (self.index + 1, 0);
            if let Some(event) = told {
                return Some(take(&event, None));
            }
            self.pass_untold();
        }
        // What was found in the silence comes after no event.
        while let Some((item, rest)) = self.items.split_first().filter(|(item, _)| item.after == Dissectors::NO_EVENT) {
            self.items = rest;
            if let Some(told) = self.content(item, FlowEvents::NO_PACKET, self.traffic.now) {
                return Some(take(&told.event, told.content));
            }
        }
        None
    }
}

impl<'a> Iterator for Feed<'a> {
    type Item = Told<'a>;

    fn next(&mut self) -> Option<Told<'a>> {
        self.tell(|event, content| Told { event: *event, content })
    }
}
