//! The thread of an input filter, and the source through which its packets reach a packet thread.
//!
//! The script runs on a thread of its own because it may wait inside `step`; counters and records it makes go into an
//! engine context of its own, which is merged with the others at the end.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::backend_feed::{BackendFeed, BackendLink};
use super::control::{Control, Stop};
use super::engine;
use super::figures::{Question, Questions};
use super::flow_stage::FlowStage;
use super::metering::Metering;
use super::outlet::Outlet;
use super::plan::{EngineOutcome, Interim};
use super::wants::Wants;
use crate::api::{EngineContext, Letter, Mail, Peers, Record};
use crate::builtin::Selection;
use crate::capture::{Fill, Filter, OpenError, Origin, Progress, Source, SourceError, SourceStats};
use crate::content::ContentCounts;
use crate::flow::FlowsConfig;
use crate::job::Wait;
use crate::metrics::{RunTotals, Shard, ShardConfig};
use crate::packet::{Batch, Packet};
use crate::plugin::{BuiltPacket, Catalog, HostSettings, InputFilter, InstanceReport, JobPlan, LoadProblem, Step};
use crate::time::{Stopwatch, Timestamp};

/// Packets that may wait for the packet thread; the script waits when it is full.
const QUEUE: usize = 1_024;
/// How long a source waits for a packet before other work gets its turn.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often `step_alert` is polled when there is no `step`.
const ALERT_INTERVAL: Duration = Duration::from_millis(100);

/// Which packets of an input filter are taken, and for how long.
#[derive(Debug, Default)]
pub struct InputLimits {
    /// Packets that it rejects are counted and not taken.
    pub filter: Option<Filter>,
    /// Bytes kept of every packet.
    pub snaplen: Option<u32>,
    /// Packets taken in all.
    pub count: Option<u64>,
    /// Length of time on the script's clock, from where it is set first; that of the time that passes without a `step`.
    pub duration: Option<Duration>,
}

/// Where the packets of an input filter go.
#[derive(Debug)]
pub struct InputQueue {
    packets: Sender<BuiltPacket>,
    limits: InputLimits,
    taken: u64,
    start: Option<Timestamp>,
    running: Stopwatch,
    stats: SourceStats,
    failure: Option<SourceError>,
}

impl InputQueue {
    /// Hands a packet on, if it is to be taken; false if none is taken any more.
    fn take(&mut self, built: BuiltPacket) -> bool {
        if let Some(filter) = &mut self.limits.filter {
            match filter.passes(built.linktype, &built.bytes, built.bytes.len() as u32) {
                Ok(true) => {}
                Ok(false) => {
                    self.stats.filtered += 1;
                    return true;
                }
                Err(error) => {
                    self.failure = Some(OpenError::from(error).into());
                    return false;
                }
            }
        }
        self.taken += 1;
        self.packets.send(built).is_ok() && self.limits.count != Some(self.taken)
    }

    /// Whether the time is over; what the script has built since then is left out.
    fn is_late(&mut self, filter: &InputFilter, built: Option<&BuiltPacket>) -> bool {
        let Some(duration) = self.limits.duration else { return false };
        let time = filter.time();
        if self.start.is_none() && (built.is_some() || time > Timestamp::EPOCH) {
            self.start = Some(time);
        }
        let since = if filter.has_step() {
            self.start.map_or(Duration::ZERO, |start| time.since(start))
        } else {
            self.running.elapsed()
        };
        let is_late = since >= duration;
        self.stats.over_limit += u64::from(is_late && built.is_some());
        is_late
    }
}

/// The packets of an input filter as a source.
#[derive(Debug)]
pub struct InputSource {
    queue: Receiver<BuiltPacket>,
    snaplen: u32,
    origins: Vec<Origin>,
    stats: SourceStats,
}

/// The queue between an input filter and its packet thread; `name` is what the report calls the input.
#[must_use]
pub fn input_queue(name: &str, limits: InputLimits) -> (InputQueue, InputSource) {
    let (packets, queue) = bounded(QUEUE);
    let origins = vec![Origin::Interface(name.to_owned())];
    let snaplen = limits.snaplen.unwrap_or(u32::MAX);
    let sender = InputQueue {
        packets,
        limits,
        taken: 0,
        start: None,
        running: Stopwatch::start(),
        stats: SourceStats::default(),
        failure: None,
    };
    (sender, InputSource { queue, snaplen, origins, stats: SourceStats::default() })
}

impl Source for InputSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        batch.buffer.clear();
        let first = match self.queue.recv_timeout(PATIENCE) {
            Ok(packet) => packet,
            Err(RecvTimeoutError::Timeout) => return Ok(Fill::Idle),
            Err(RecvTimeoutError::Disconnected) => return Ok(Fill::End),
        };
        let mut next = Some(first);
        while let Some(built) = next {
            let (offset, len) = (batch.buffer.len() as u32, built.bytes.len() as u32);
            let caplen = len.min(self.snaplen);
            batch.buffer.extend_from_slice(&built.bytes[..caplen as usize]);
            batch.push(Packet::new(built.time, offset, caplen, len, built.linktype, 0));
            self.stats.packets += 1;
            self.stats.bytes += u64::from(len);
            next = if batch.is_full() { None } else { self.queue.try_recv().ok() };
        }
        Ok(Fill::Packets)
    }

    fn stats(&self) -> SourceStats {
        self.stats.clone()
    }

    fn progress(&self) -> Option<Progress> {
        None
    }

    fn origins(&self) -> &[Origin] {
        &self.origins
    }
}

/// What an input thread is built from.
pub struct InputPlan {
    /// Number of its engine context, behind those of the packet threads.
    pub id: u32,
    /// The plugins; the input filter is among them.
    pub catalog: Arc<Catalog>,
    /// What the host was told.
    pub settings: HostSettings,
    /// Built-in groups that are metered: those of alerts, here.
    pub builtin: Selection,
    /// Limits of the counters.
    pub shard: ShardConfig,
    /// Limits of the flows.
    pub flows: FlowsConfig,
    /// How many of the largest flows the report shows.
    pub top: usize,
    /// Where records go.
    pub outlet: Outlet,
    /// The way to the other engines.
    pub peers: Peers,
    /// Shared with the watchers.
    pub control: Arc<Control>,
    /// The workers.
    pub jobs: JobPlan,
    /// The way to the backend; `None` if nobody wants one.
    pub backend: Option<BackendLink>,
    /// Where packets go.
    pub queue: InputQueue,
    /// Where it is asked what it has done so far; `None` if nobody asks.
    pub questions: Option<Questions>,
}

/// Runs an input filter to its end. Must run on a thread with a stack for Lua.
#[must_use]
pub fn run_input(plan: InputPlan) -> EngineOutcome {
    let since = Stopwatch::start();
    let groups = Arc::clone(&plan.catalog.groups);
    let shard = Shard::new(&groups, plan.shard);
    let protocols = Arc::clone(&plan.catalog.protocols);
    let context = Rc::new(EngineContext::new(plan.id, shard, groups, protocols, plan.peers));
    let mut outlet = plan.outlet;
    context.job_events.set(outlet.reads_jobs());
    context.edges.set(plan.settings.wants_edges());
    let backend = plan.backend.map(|link| BackendFeed::new(link, plan.id as usize, &context));
    let mut problems = Vec::new();
    let mut queue = plan.queue;
    let metering = engine::metering(&plan.catalog, &plan.builtin, &plan.settings, &[]);
    let mut input = Input {
        metering,
        context: Rc::clone(&context),
        outlet: &mut outlet,
        control: &plan.control,
        backend,
        flows: None,
        limits: (plan.flows, plan.top),
        questions: plan.questions,
        since,
    };
    let (mut source, mut source_error) = (SourceStats::default(), None);
    let instances = match InputFilter::load(&plan.catalog, &context, &plan.settings, &plan.jobs) {
        Ok(mut filter) => {
            input.hand_on();
            input.run(&mut filter, &mut queue);
            (source, source_error) = (queue.stats, queue.failure);
            drop(queue.packets);
            input.finish(&mut filter);
            vec![filter.instance.outcome()]
        }
        Err(problem) => {
            problems.extend(problem.map(|problem| LoadProblem { ..problem }));
            input.hand_on();
            Vec::new()
        }
    };
    let so_far = input.so_far(source, instances);
    EngineOutcome { totals: engine::totals_of(&context), outlet, source_error, problems, ..so_far }
}

struct Input<'a> {
    context: Rc<EngineContext>,
    metering: Metering,
    outlet: &'a mut Outlet,
    control: &'a Control,
    backend: Option<BackendFeed>,
    /// The flows the script speaks of, from the first word on.
    flows: Option<FlowStage>,
    limits: (FlowsConfig, usize),
    questions: Option<Questions>,
    since: Stopwatch,
}

impl Input<'_> {
    /// What it has done so far, without counters and records.
    fn so_far(&self, source: SourceStats, instances: Vec<InstanceReport>) -> EngineOutcome {
        EngineOutcome {
            id: self.context.id,
            totals: RunTotals::default(),
            outlet: Outlet::new(Arc::clone(&self.outlet.names), self.outlet.threshold),
            packets: 0,
            bytes: 0,
            span: None,
            time_back: 0,
            source,
            source_error: None,
            decode: Vec::new(),
            oddities: self.context.oddities.named(),
            flows: self.flows.as_ref().map(|flows| flows.outcome(&self.context, ContentCounts::default())),
            stored: None,
            instances,
            problems: Vec::new(),
            wall: self.since.elapsed(),
            longest_batch: Duration::ZERO,
            backend: None,
        }
    }

    /// Tells whoever asks what there is to report; who asks how far packets have come does not ask here.
    fn answer(&self, filter: &InputFilter, queue: &InputQueue) {
        if let Some(Question::Interim(tell)) = self.questions.as_ref().and_then(Questions::next) {
            let mut outcome = self.so_far(queue.stats.clone(), vec![filter.instance.outcome()]);
            outcome.outlet = self.outlet.copy_of_records();
            // Whoever asked may have given up.
            let _ = tell.try_send(Interim::new(outcome, self.context.shard.borrow().clone()));
        }
    }

    fn run(&mut self, filter: &mut InputFilter, queue: &mut InputQueue) {
        while self.control.stop() == Stop::No {
            self.alerts(filter);
            let (built, more) = if filter.has_step() {
                match filter.step(&self.context) {
                    Step::More(built) => (built, true),
                    Step::End(built) => (built, false),
                }
            } else {
                self.hand_on();
                thread::sleep(ALERT_INTERVAL);
                (None, true)
            };
            if let Some(backend) = &mut self.backend {
                filter.take_closed().into_iter().for_each(|snapshot| backend.bucket(snapshot));
            }
            if queue.is_late(filter, built.as_ref()) {
                return;
            }
            self.advance(filter.time());
            if built.is_some_and(|built| !queue.take(built)) || !more {
                return;
            }
            filter.instance.take_completions(self.control.stopping());
            self.messages(filter);
            self.carry_out();
            self.hand_on();
            self.answer(filter, queue);
        }
    }

    /// Fetches alerts. They are counted at the time that the script has set, or else at their own.
    fn alerts(&mut self, filter: &mut InputFilter) {
        filter.alerts(&self.context);
        if !filter.has_clock() {
            let records = std::mem::take(&mut *self.context.records.borrow_mut());
            for (stamp, record) in records {
                if let Record::Alert(alert) = &record
                    && let Some(ends) = &alert.ends
                    && (ends.time > self.context.now.get() || self.context.shard.borrow().now().is_none())
                {
                    // Those before belong to buckets that may end here.
                    self.hand_on();
                    self.advance(ends.time);
                }
                self.context.records.borrow_mut().push((stamp, record));
            }
        }
        // Before the script moves its clock on.
        self.hand_on();
    }

    /// Carries out what the script asked of flows, and tells the packet threads what it said about them.
    fn carry_out(&mut self) {
        for note in self.context.notes.borrow_mut().drain(..) {
            let lost = self.context.peers.post(&Letter::Note(note));
            let dropped = &self.context.oddities.notes_dropped;
            dropped.set(dropped.get() + lost);
        }
        if self.flows.is_none() && !self.context.commands.borrow().is_empty() {
            let (config, top) = self.limits;
            let metering = Metering::none(&self.context.groups);
            self.flows = FlowStage::start(&self.context, Wants::late(), metering, config, top);
        }
        if let Some(flows) = &mut self.flows {
            flows.take_time(&self.context, Some(self.context.now.get()));
            flows.run_alone(&self.context);
        }
    }

    /// Ends the flows the script spoke of.
    fn end_flows(&mut self) {
        self.carry_out();
        let context = Rc::clone(&self.context);
        while let Some(flows) = &mut self.flows {
            let more = flows.take_end(&context);
            flows.run_alone(&context);
            self.hand_on();
            if !more.is_yes() {
                return;
            }
        }
    }

    fn advance(&mut self, time: Timestamp) {
        if time > self.context.now.get() || self.context.shard.borrow().now().is_none() {
            self.context.now.set(time);
            match &mut self.backend {
                Some(backend) if backend.is_over(time) => backend.close(&self.context, time, self.control.stopping()),
                Some(backend) => backend.advance(&mut self.context.shard.borrow_mut(), time),
                None => self.context.shard.borrow_mut().advance(time, |_| {}),
            }
        }
    }

    fn messages(&mut self, filter: &mut InputFilter) {
        let own = std::mem::take(&mut *self.context.mail.borrow_mut());
        for mail in &own {
            let lost = self.context.peers.send(mail);
            let dropped = &self.context.oddities.messages_dropped;
            dropped.set(dropped.get() + lost);
        }
        // What packet threads say about their flows concerns nobody here.
        let heard = self.context.peers.inbox().filter_map(|letter| match letter {
            Letter::Message(mail) => Some(mail),
            Letter::Note(_) | Letter::Command(_) | Letter::Wish(_) => None,
        });
        for Mail { id, class, text, .. } in heard.chain(own) {
            filter.instance.deliver(&id, class, &text);
        }
    }

    fn finish(&mut self, filter: &mut InputFilter) {
        self.alerts(filter);
        self.messages(filter);
        filter.instance.settle_all(&Wait { limit: None, cancel: Some(self.control.cut()) });
        self.end_flows();
        self.hand_on();
        match self.backend.take() {
            // It is on a thread of its own, and ends there.
            Some(backend) => drop(backend.finish(&self.context, self.control.stopping(), &Wait::default())),
            None => self.context.shard.borrow_mut().finish(|_| {}),
        }
        filter.instance.unload_at_end();
        filter.instance.tell_silent(None);
        self.hand_on();
        self.outlet.flush();
    }

    fn hand_on(&mut self) {
        self.context.handed_on();
        let mut records = self.context.records.borrow_mut();
        if !records.is_empty() {
            self.metering.alerts(&records, &mut self.context.shard.borrow_mut());
            self.outlet.take_batch(&mut records, (None, None), &mut self.backend);
        }
    }
}
