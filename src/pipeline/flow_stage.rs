//! The flow side of a packet thread: flows, dissectors, what scripts asked of flows, and what is recorded of them.

use std::cell::Cell;
use std::ops::Range;

use super::counted::Counted;
use super::found;
use super::metering::Metering;
use super::stored;
use super::top_flows::{TopFlow, TopFlows};
use super::wants::{Readers, Wants};
use crate::api::{
    EndedFlow, EngineContext, FlowCommand, FlowWish, Found, LogLevel, Rank, Record, ScriptId, Side, Stamp,
};
use crate::builtin::CounterWhat;
use crate::content::{ContentCounts, Contents, FileRules};
use crate::dissect::{DissectWants, Dissectors, FindingKind, Findings};
use crate::flow::{
    EndReason, EndedRecord, FlowCounts, FlowEvent, FlowEvents, FlowHandle, Flows, FlowsConfig, Happening, Said,
    ScriptRecord, Want,
};
use crate::metrics::{DEFAULT_KEPT, FlowFacts, Records, Session};
use crate::plugin::{Declined, Frontend, Traffic};
use crate::time::Timestamp;

/// What the flow side leaves behind.
#[derive(Clone, Debug, Default)]
pub struct FlowOutcome {
    /// What became of flows.
    pub counts: FlowCounts,
    /// The largest.
    pub top: TopFlows,
    /// Oddities of the dissectors.
    pub dissect: Vec<(&'static str, u64)>,
    /// What became of what HTTP carried.
    pub contents: ContentCounts,
}

/// Counters of the flow stage that say that something was not done because of a limit.
const DROPS: [&str; 9] = [
    "flow_evicted_half_open",
    "flow_evicted_tcp",
    "flow_evicted_udp",
    "flow_evicted_other",
    "flow_stream_limit",
    "flow_stream_total_limit",
    "flow_statements_refused",
    "flow_statements_expired",
    "flow_statements_late",
];

impl FlowOutcome {
    /// How flows ended, by reason.
    #[must_use]
    pub fn ends(&self) -> [(&'static str, u64); 7] {
        let counts = &self.counts;
        [
            (EndReason::Fin.name(), counts.ended_fin),
            (EndReason::Rst.name(), counts.ended_rst),
            (EndReason::Idle.name(), counts.ended_idle),
            (EndReason::Age.name(), counts.ended_age),
            (EndReason::End.name(), counts.ended_input),
            (EndReason::Script.name(), counts.ended_script),
            (EndReason::Evicted.name(), counts.evicted()),
        ]
    }

    /// What was cut off at limits, by name.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let flows = self.counts.named().into_iter().filter(|(name, _)| DROPS.contains(name));
        flows.chain(self.contents.drops())
    }

    /// What was noticed, by name.
    pub fn notes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let is_note = |name: &str| {
            !DROPS.contains(&name)
                && !name.starts_with("flow_ended")
                && !["flow_created", "flow_script_records"].contains(&name)
        };
        let flows = self.counts.named().into_iter().filter(move |(name, _)| is_note(name));
        flows.chain(self.dissect.iter().copied()).chain(self.contents.done())
    }
}

/// Flows and what is found in them, batch by batch.
#[derive(Debug)]
pub struct FlowStage {
    wants: Wants,
    dissectors: Dissectors,
    contents: Option<Contents>,
    /// Nobody but those who follow contents needs the dissectors.
    contents_only: bool,
    metering: Metering,
    /// First event of the batch that no stretch has had yet.
    next: usize,
    top: TopFlows,
    /// The input has ended: what scripts say of flows from here on is the last word about them.
    is_over: bool,
    /// Attributes, resources and documents of which whole records were made.
    recorded: Cell<[usize; 3]>,
    counted: Counted,
    /// Flows whose payload may not be wanted any more; empty between two calls.
    stopped: Vec<FlowHandle>,
    /// It was said that scripts speak of flows that have ended.
    has_warned: bool,
}

/// IP protocol number of TCP.
const TCP: u8 = 6;

impl FlowStage {
    /// Begins to track flows in a context. `None` if nobody wants any.
    #[must_use]
    pub fn start(
        context: &EngineContext,
        wants: Wants,
        metering: Metering,
        config: FlowsConfig,
        top: usize,
    ) -> Option<Self> {
        if !wants.flows.records.is_yes() && metering.builtin().is_idle() {
            return None;
        }
        let mut flows = Flows::new(config, wants.flows);
        if wants.words.is_yes() {
            flows.expect_words();
        }
        *context.flows.borrow_mut() = Some(flows);
        let dissectors = Dissectors::new(wants.dissect);
        let contents_only = is_for_contents(&wants, &metering);
        let top = TopFlows::new(top);
        Some(Self {
            wants,
            dissectors,
            contents: None,
            contents_only,
            metering,
            next: 0,
            top,
            is_over: false,
            recorded: Cell::default(),
            counted: Counted::default(),
            stopped: Vec::new(),
            has_warned: false,
        })
    }

    /// Does more from now on than was asked for at first.
    pub fn widen(&mut self, context: &EngineContext, wants: Wants, files: Option<&FileRules>) {
        let wants = self.wants.or(wants);
        if wants == self.wants {
            return;
        }
        self.wants = wants;
        if let Some(flows) = context.flows.borrow_mut().as_mut() {
            flows.widen(wants.flows);
            if wants.words.is_yes() {
                flows.expect_words();
            }
        }
        self.dissectors.widen(wants.dissect);
        self.contents_only = is_for_contents(&wants, &self.metering);
        if self.contents.is_none() {
            self.follow_contents(context.id, files);
        }
    }

    /// Tells scripts of what HTTP carries, if they want that.
    pub fn follow_contents(&mut self, engine: u32, files: Option<&FileRules>) {
        if let Some(files) = files.filter(|_| self.wants.contents.is_yes()) {
            self.contents = Some(Contents::new(files.ram.directory(), engine, self.wants.raw));
        }
    }

    /// Takes in the packets of the context's batch.
    pub fn take_batch(&mut self, context: &EngineContext) {
        if let Some(flows) = &mut *context.flows.borrow_mut() {
            flows.process(&context.batch.borrow(), &context.fragments.borrow());
            self.begin(context, flows);
        }
    }

    /// Lets time pass without packets, and flows grow older up to some time. The context's batch is empty.
    pub fn take_time(&mut self, context: &EngineContext, until: Option<Timestamp>) {
        if let Some(flows) = &mut *context.flows.borrow_mut() {
            match until {
                Some(now) => flows.expire(now),
                None => flows.stay(),
            }
            self.begin(context, flows);
            if flows.events().list().is_empty() {
                self.dissectors.idle(context.now.get(), flows);
                self.find_contents(context, flows);
            }
        }
    }

    /// Ends some of the flows because the input has ended. The context's batch is empty.
    pub fn take_end(&mut self, context: &EngineContext) -> Want {
        let Some(flows) = &mut *context.flows.borrow_mut() else { return Want::No };
        let more = flows.finish();
        self.begin(context, flows);
        self.is_over = true;
        more
    }

    fn begin(&mut self, context: &EngineContext, flows: &mut Flows) {
        self.next = 0;
        self.dissectors.process(&context.batch.borrow(), flows.events(), flows);
        self.dissectors.take_turned().for_each(|flow| flows.turn(flow));
        self.find_contents(context, flows);
        self.report_script_records(context, flows);
        self.is_over = false;
    }

    fn find_contents(&mut self, context: &EngineContext, flows: &Flows) {
        let Some(contents) = &mut self.contents else { return };
        let batch = context.batch.borrow();
        let events = flows.events();
        contents.process(events, |bytes| events.bytes(&batch, bytes).into(), &self.dissectors, flows);
    }

    /// The events that belong to packets before `to`; each once.
    fn until(&mut self, flows: &Flows, to: u32) -> Range<usize> {
        let list = flows.events().list();
        let from = self.next;
        self.next = from + list[from..].partition_point(|event| event.packet < to);
        from..self.next
    }

    /// Runs the instances over the packets `from..to` and what happened to their flows; carries out what they ask.
    pub fn run(&mut self, context: &EngineContext, frontend: &mut Frontend, from: usize, to: usize) {
        let last = to == context.batch.borrow().len();
        let range = {
            let (batch, flows) = (context.batch.borrow(), context.flows.borrow());
            let Some(flows) = flows.as_ref() else { return };
            let range = self.until(flows, if last { u32::MAX } else { to as u32 });
            let range = if from == to { range.start..flows.events().list().len() } else { range };
            let traffic = Traffic {
                batch: &batch,
                flows,
                findings: self.dissectors.findings(),
                contents: self.contents.as_ref(),
                range: range.clone(),
                now: context.now.get(),
            };
            if self.wants.records.is_yes() {
                self.record_findings(context, &traffic);
            }
            self.metering.packets(context, &traffic, from, to);
            frontend.run(from, to, Some(&traffic));
            range
        };
        for Declined { flow, transaction, direction } in frontend.take_declined() {
            self.dissectors.decline_body(flow, transaction, direction);
            if let Some(contents) = &mut self.contents {
                contents.decline(flow, transaction, direction);
            }
        }
        self.carry_out(context, Some(frontend), range);
        if let Some(flows) = context.flows.borrow_mut().as_mut() {
            self.metering.flow_counters(context, flows, from..to);
        }
    }

    /// Whether packets are to be taken in one at a time.
    pub const fn takes_single_packets(&self) -> bool {
        self.wants.single_packets.is_yes()
    }

    /// Native metering.
    pub fn metering(&mut self) -> &mut Metering {
        &mut self.metering
    }

    /// Carries out what was asked of flows where no instance hears of them: on the thread of an input filter.
    pub fn run_alone(&mut self, context: &EngineContext) {
        let range = match &*context.flows.borrow() {
            Some(flows) => self.until(flows, u32::MAX).start..flows.events().list().len(),
            None => return,
        };
        self.carry_out(context, None, range);
        if let Some(flows) = context.flows.borrow_mut().as_mut() {
            self.metering.flow_counters(context, flows, 0..0);
        }
        self.report_rest(context);
        Self::settle(context);
    }

    /// After the end, reports what scripts said of flows that are in no packets.
    pub fn report_rest(&mut self, context: &EngineContext) {
        if let (true, Some(flows)) = (self.is_over, context.flows.borrow_mut().as_mut()) {
            flows.finish_records();
            self.report_script_records(context, flows);
        }
    }

    /// The batch is done with: flows that ended are freed.
    pub fn settle(context: &EngineContext) {
        if let Some(flows) = context.flows.borrow_mut().as_mut() {
            flows.settle();
        }
    }

    /// Reports the flows that scripts speak of, that are in no packets, and that have ended.
    fn report_script_records(&mut self, context: &EngineContext, flows: &mut Flows) {
        for EndedRecord { record, reason, time } in flows.ended_records() {
            let session = Session { reason: reason.name(), ..session_of_record(&record) };
            self.top.offer(session.bytes.iter().sum(), |id| session.id[..].cmp(id), || TopFlow::of(&session));
            if self.records_flows() {
                let (script, side) = (ScriptId::NATIVE_FLOW, Side::Frontend);
                let stamp = Stamp { packet: u32::MAX, rank: Rank::default(), time, script, side };
                let is_news = !record.is_told;
                let ended = EndedFlow { session: Box::new(session), tuple: None, is_news, facts: FlowFacts::default() };
                let mut records = context.records.borrow_mut();
                records.push((stamp, Record::Flow(ended)));
                let stamp = Stamp { time: record.flow.last, ..stamp };
                let of_record = |(meter, value)| (stamp, Record::FlowMeter { flow: record.id.to_vec(), meter, value });
                records.extend(record.meters.iter().copied().map(of_record));
            }
        }
    }

    /// Carries out what scripts asked of flows, and records the flows that ended, in the order in which it all happened.
    fn carry_out(&mut self, context: &EngineContext, frontend: Option<&Frontend>, range: Range<usize>) {
        let mut commands = std::mem::take(&mut *context.commands.borrow_mut());
        commands.sort_by_key(|command| (command.packet, command.rank));
        let mut commands = commands.into_iter().peekable();
        let mut flows = context.flows.borrow_mut();
        let Some(flows) = flows.as_mut() else { return };
        let mut stopped = std::mem::take(&mut self.stopped);
        for index in range.clone() {
            let event = &flows.events().list()[index];
            match event.what {
                Happening::New if self.wants.flows.has_payload() => stopped.push(event.flow),
                Happening::End { reason } => {
                    let event = *event;
                    let rank = Rank { event: index as u32 + 1, stage: Rank::RECORD, vm: 0, echo: 0 };
                    while let Some(command) = commands.next_if(|c| (c.packet, c.rank) < (event.packet, rank)) {
                        stopped.extend(self.carry(context, flows, command));
                    }
                    self.record_end(context, flows, &event, rank, reason);
                    flows.report(event.flow);
                }
                _ => {}
            }
        }
        for command in commands {
            stopped.extend(self.carry(context, flows, command));
        }
        stopped.extend(self.dissectors.take_given_up());
        for flow in stopped.drain(..) {
            let any = |wants: fn(&Frontend, FlowHandle) -> bool| frontend.is_some_and(|frontend| wants(frontend, flow));
            if self.contents_only && !any(Frontend::follows_contents) {
                self.dissectors.forget(flow);
            }
            let http = self.contents.as_ref().is_some_and(|contents| contents.is_http(flow));
            let is_tcp = flows.flow(flow).is_some_and(|flow| flow.tuple.proto == TCP);
            let heard = if is_tcp { any(Frontend::wants_payload) } else { any(Frontend::wants_datagrams) };
            let wanted = heard || http && any(Frontend::wants_raw);
            if !wanted && !self.dissectors.follows(flow).is_yes() {
                flows.stop_payload(flow);
            }
        }
        self.stopped = stopped;
        self.report_script_records(context, flows);
    }

    /// Carries out one command; the flow if its payload may not be wanted any more.
    fn carry(&mut self, context: &EngineContext, flows: &mut Flows, command: FlowCommand) -> Option<FlowHandle> {
        let FlowCommand { flow, wish, time, packet, rank } = command;
        let stamp = Stamp { packet, rank, time, script: ScriptId::NATIVE_FLOW, side: Side::Frontend };
        match wish {
            FlowWish::Update { meter, value } => {
                let said = flows.update(&flow, meter, value, time);
                self.note_late(context, flows, (stamp, said), &flow, "an update");
            }
            FlowWish::Duration(seconds) => {
                let said = flows.set_duration(&flow, seconds, time);
                self.note_late(context, flows, (stamp, said), &flow, "a duration");
            }
            FlowWish::Open => flows.open_record(&flow, time),
            FlowWish::Terminate => flows.terminate(&flow, time),
            FlowWish::Tag(tag) => match flows.tag(&flow, &tag, time) {
                // Whoever looks at records when they are flushed has kept this one.
                Said::Late if self.wants.kept_records.is_yes() => {
                    context.records.borrow_mut().push((stamp, Record::LateTag { flow, tag }));
                }
                said => self.note_late(context, flows, (stamp, said), &flow, "a tag"),
            },
            FlowWish::Count(counter) => self.metering.ask(packet, &flow, CounterWhat::Attach(counter)),
            FlowWish::Uncount(group) => self.metering.ask(packet, &flow, CounterWhat::Detach(group)),
            FlowWish::Quiet(handle) => return flows.flow(handle).map(|_| handle),
        }
        None
    }

    /// Counts what came too late, and says so the first time.
    fn note_late(
        &mut self,
        context: &EngineContext,
        flows: &mut Flows,
        (stamp, said): (Stamp, Said),
        flow: &[u8],
        what: &str,
    ) {
        if said != Said::Late {
            return;
        }
        flows.count_late();
        if self.has_warned {
            return;
        }
        self.has_warned = true;
        let id = String::from_utf8_lossy(flow);
        let text =
            format!("{what} for {id} is lost: the flow has ended and its record is made; others are only counted");
        context.records.borrow_mut().push((stamp, Record::Log { level: LogLevel::Warn, text: text.into_bytes() }));
    }

    /// Whether somebody reads flows.
    fn records_flows(&self) -> bool {
        self.wants.records.is_yes() && self.wants.flow_readers != Readers::Nobody
    }

    fn record_end(&mut self, context: &EngineContext, flows: &Flows, event: &FlowEvent, rank: Rank, reason: EndReason) {
        let Some(flow) = flows.flow(event.flow) else { return };
        let make = |id: &[u8]| {
            let (tags, reason) = (flows.tags(event.flow).to_vec(), reason.name());
            Session { id: id.to_vec(), tags, reason, ..facts_of(flow) }
        };
        let id = || flow.tuple.id();
        self.top.offer(
            flow.bytes.iter().sum(),
            |other| id().as_bytes().cmp(other),
            || TopFlow::of(&make(id().as_bytes())),
        );
        if self.records_flows() {
            let (script, side) = (ScriptId::NATIVE_FLOW, Side::Frontend);
            let stamp = Stamp { packet: event.packet, rank, time: event.time, script, side };
            let record = match self.wants.flow_readers {
                Readers::All => {
                    let (session, tuple) = (Box::new(make(id().as_bytes())), Some(flow.tuple));
                    Record::Flow(EndedFlow { session, tuple, is_news: false, facts: flows.facts(event.flow) })
                }
                Readers::Outputs | Readers::Nobody => Record::FlowEnd(event.flow, reason.name()),
            };
            let mut records = context.records.borrow_mut();
            records.push((stamp, record));
            // Within the life of the flow.
            let stamp = Stamp { time: flow.last, ..stamp };
            let meters = flows.meters(event.flow).iter();
            records.extend(meters.map(|&(meter, value)| {
                let flow = id().as_bytes().to_vec();
                (stamp, Record::FlowMeter { flow, meter, value })
            }));
        }
    }

    /// Makes records of what was found in a stretch.
    fn record_findings(&self, context: &EngineContext, traffic: &Traffic<'_>) {
        let findings = traffic.findings;
        let list = findings.list();
        let mut records = context.records.borrow_mut();
        for (index, finding) in list.iter().enumerate().skip(traffic.first_finding()) {
            let event = traffic.events().list().get(finding.after as usize);
            let (packet, time) = match event {
                Some(event) if (finding.after as usize) < traffic.range.end => (event.packet, event.time),
                None if finding.after == Dissectors::NO_EVENT => (FlowEvents::NO_PACKET, context.now.get()),
                _ => break,
            };
            let stage = Rank::FINDINGS.saturating_add(index as u32);
            let rank = Rank { event: finding.after.saturating_add(1), stage, vm: 0, echo: 0 };
            let stamp = |script| Stamp { packet, rank, time, script, side: Side::Frontend };
            let is_event = self.wants.dissect.events.is_yes() && found::is_event(findings, &finding.kind);
            let depth = self.depth_of(findings, &finding.kind);
            let is_row = depth == Depth::Row;
            if is_event || is_row {
                let found = Found { place: index as u32, is_event, is_row };
                records.push((stamp(ScriptId::NATIVE), Record::Found(found)));
            }
            match depth {
                Depth::Whole => {
                    let flow = traffic.flows.flow(finding.flow).map(|flow| &flow.tuple);
                    let made = found::record_of(findings, &finding.kind, flow);
                    records.extend(made.map(|(script, record)| (stamp(script), record)));
                }
                Depth::Row | Depth::Counted => self.counted.count(&finding.kind),
                Depth::Nothing => {}
            }
        }
    }

    /// What was found in the batch.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        self.dissectors.findings()
    }

    /// Tells the records of the report what was counted since the last time.
    pub fn hand_on_counts(&self, records: &mut Records) {
        self.counted.hand_on(records);
    }

    /// How much of a finding anybody reads: where records are not read, the first ones of each kind.
    fn depth_of(&self, findings: &Findings, kind: &FindingKind) -> Depth {
        let (place, readers) = match kind {
            FindingKind::Attribute { .. } if !self.wants.dissect.attributes.is_yes() => return Depth::Nothing,
            FindingKind::Attribute { name, .. } => match self.wants.attribute_readers {
                Readers::Outputs if !stored::is_stored(findings.bytes(*name)) => (0, Readers::Nobody),
                readers => (0, readers),
            },
            FindingKind::Resource { .. } => (1, self.wants.item_readers),
            FindingKind::Document { .. } => (2, self.wants.item_readers),
            _ => return Depth::Nothing,
        };
        let mut recorded = self.recorded.get();
        match readers {
            Readers::Nobody if recorded[place] >= DEFAULT_KEPT => return Depth::Counted,
            Readers::Outputs if recorded[place] >= DEFAULT_KEPT => return Depth::Row,
            _ => {}
        }
        recorded[place] += 1;
        self.recorded.set(recorded);
        Depth::Whole
    }

    /// What has become of flows so far; `contents` is what became of files.
    #[must_use]
    pub fn outcome(&self, context: &EngineContext, mut contents: ContentCounts) -> FlowOutcome {
        if let Some(own) = &self.contents {
            contents.add(own.counts());
        }
        let counts = context.flows.borrow().as_ref().map(Flows::counts).unwrap_or_default();
        FlowOutcome { counts, top: self.top.clone(), dissect: self.dissectors.counts().named().to_vec(), contents }
    }
}

/// A flow as it is now, without its tags.
pub(super) fn session_of(flow: &crate::flow::Flow) -> Session {
    Session { id: flow.tuple.id().as_bytes().to_vec(), ..facts_of(flow) }
}

/// A flow that scripts speak of and that is in no packets, as it is now.
pub(super) fn session_of_record(record: &ScriptRecord) -> Session {
    Session { id: record.id.to_vec(), tags: record.tags.clone(), ..facts_of(&record.shown()) }
}

/// The same without its id.
#[inline(always)]
pub(super) fn facts_of(flow: &crate::flow::Flow) -> Session {
    Session {
        id: Vec::new(),
        start: flow.first,
        end: flow.last,
        bytes: flow.bytes,
        packets: flow.packets,
        payload: flow.payload,
        state: flow.shown_state(),
        tags: Vec::new(),
        setup_rtt: flow.setup_rtt,
        retransmissions: flow.retransmissions,
        reason: "",
    }
}

/// Whether nobody but those who follow contents needs the dissectors.
fn is_for_contents(wants: &Wants, metering: &Metering) -> bool {
    let DissectWants { http_headers, http_bodies, protocols, .. } = wants.dissect;
    let alone = DissectWants { http_headers, http_bodies, protocols, ..DissectWants::default() };
    wants.contents.is_yes() && wants.dissect == alone && metering.builtin().is_idle()
}

/// What is made of a finding, besides protocol events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// A record.
    Whole,
    /// A row of the store; that there was one is counted.
    Row,
    /// That there was one is counted.
    Counted,
    /// Nothing: it is of a kind that is not recorded.
    Nothing,
}
