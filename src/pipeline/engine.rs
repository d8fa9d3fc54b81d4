//! One packet thread: read a batch, decode, run the plugins, hand on what they produced.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::backend_feed::BackendFeed;
use super::control::{Control, Done, Stop};
use super::figures::{Figures, Question, Questions};
use super::flow_stage::FlowStage;
use super::metering::{ContentMeters, Meter, Metering};
use super::outlet::Outlet;
use super::packet_stage::PacketStage;
use super::plan::{EngineOutcome, EnginePlan, Interim, InterimPlan, Pace};
use super::reload::Reloading;
use super::wants::{Asked, Wants};
use crate::api::engine::PROBE_ID;
use crate::api::t_env::ConfigPaths;
use crate::api::{EngineContext, LogLevel};
use crate::builtin::{BuiltinPlan, Selection};
use crate::capture::{Fill, Origin, Source, SourceError, SourceStats};
use crate::content::FileRules;
use crate::decode::{self, Decoder};
use crate::flow::{Defrag, Flows, FlowsConfig, Want};
use crate::metrics::{RunTotals, Shard, ShardConfig};
use crate::packet::{LinkType, Packet, Tick, builtin};
use crate::plugin::{Catalog, Frontend, HostSettings};
use crate::sink::eve::StatsItem;
use crate::time::{self, Stopwatch, Timestamp};

/// Batches between two looks at what is not worth doing each time (progress, garbage, minute counts).
const UPKEEP_BATCHES: u32 = 64;
/// Unknown link types that are named; a file can have many.
const MAX_LINKS_TOLD: usize = 8;

/// A packet thread at work.
pub struct Engine {
    pub(super) source: Box<dyn Source + Send>,
    pub(super) context: Rc<EngineContext>,
    pub(super) frontend: Frontend,
    pub(super) flows: Option<FlowStage>,
    store: Option<PacketStage>,
    pub(super) backend: Option<BackendFeed>,
    decoder: Decoder,
    defrag: Defrag,
    fragments_seen: u64,
    unknown_links: u64,
    links_told: Vec<LinkType>,
    /// Interfaces that were told of as down.
    down: Vec<u16>,
    pub(super) outlet: Outlet,
    pace: Pace,
    pub(super) control: Arc<Control>,
    pub(super) drain: Option<Duration>,
    /// When it began.
    pub(super) since: Stopwatch,
    interim: Option<InterimPlan>,
    questions: Option<Questions>,
    next_interim: Option<Timestamp>,
    packets: u64,
    bytes: u64,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    time_back: u64,
    /// The time of the latest packet.
    latest: Timestamp,
    batches: u32,
    /// Packets and ticks of a batch that is handled in parts.
    pub(super) spread: Vec<Packet>,
    pub(super) ticks: Vec<Tick>,
    /// The time of the latest tick that stood alone.
    pub(super) struck: Timestamp,
    longest: Duration,
    next_minute: i64,
    // What flows are tracked with once a script asks for them that nobody expected to.
    pub(super) late_flows: (FlowsConfig, usize),
    pub(super) reloading: Option<Reloading>,
    files: Option<FileRules>,
}

impl Engine {
    /// Loads the plugins. Must run on the thread that will run the engine, with a stack for Lua.
    #[must_use]
    pub fn new(plan: EnginePlan) -> Self {
        let shard = Shard::new(&plan.catalog.groups, plan.shard);
        let context = Rc::new(EngineContext::new(
            plan.id,
            shard,
            Arc::clone(&plan.catalog.groups),
            Arc::clone(&plan.catalog.protocols),
            plan.peers,
        ));
        context.job_events.set(plan.outlet.reads_jobs());
        context.edges.set(plan.settings.wants_edges());
        if plan.pace == Pace::Wall {
            context.now.set(time::wall());
        }
        // Before the frontend scripts, which may send it messages as they load.
        let backend =
            plan.backend.map(|link| BackendFeed::new(link, plan.id as usize, &context).past(plan.past_backend));
        let frontend = Frontend::load(&plan.catalog, &context, &plan.settings, plan.jobs);
        let events = Want::from(plan.outlet.events.is_some());
        let config = &plan.settings.run.environment.config;
        let metering = metering(&plan.catalog, &plan.builtin, &plan.settings, plan.source.origins());
        let reloading = plan.orders.map(|orders| Reloading::new(orders, &plan.builtin, plan.flow_output, events));
        let asked = Asked {
            topics: frontend.topics(),
            attributes: frontend.attributes().kinds(),
            output: plan.flow_output,
            events,
            store: Want::from(plan.outlet.store.is_some()),
            backend: backend.as_ref().map(BackendFeed::wants),
            is_past_backend: backend.as_ref().is_some_and(BackendFeed::is_past).into(),
            outputs: plan.outlet.outputs.wants(),
        };
        let wants = Wants::of(&asked, &plan.catalog, metering.builtin(), config);
        let mut flows = FlowStage::start(&context, wants, metering, plan.flows, plan.top);
        if let Some(flows) = &mut flows {
            flows.follow_contents(plan.id, plan.settings.files.as_ref());
        }
        // Over files time can wait for room; packets of an interface do not.
        let files = plan.settings.files.filter(|_| plan.pace == Pace::Packets);
        let mut engine = Self {
            source: plan.source,
            context,
            frontend,
            flows,
            backend,
            store: plan.store.map(|(feed, default)| PacketStage::new(feed, default)),
            decoder: Decoder::new(),
            defrag: Defrag::new(plan.fragments),
            fragments_seen: 0,
            unknown_links: 0,
            links_told: Vec::new(),
            down: Vec::new(),
            outlet: plan.outlet,
            pace: plan.pace,
            control: plan.control,
            drain: plan.drain,
            since: Stopwatch::start(),
            interim: plan.interim,
            questions: plan.questions,
            next_interim: None,
            packets: 0,
            bytes: 0,
            span: None,
            time_back: 0,
            latest: Timestamp::from_nanos(i64::MIN),
            batches: 0,
            spread: Vec::new(),
            ticks: Vec::new(),
            struck: Timestamp::from_nanos(i64::MIN),
            longest: Duration::ZERO,
            next_minute: 0,
            late_flows: (plan.flows, plan.top),
            reloading,
            files,
        };
        engine.hand_on();
        engine
    }

    /// Runs until the input ends or the control says so.
    #[must_use]
    pub fn run(mut self) -> EngineOutcome {
        self.since = Stopwatch::start();
        let mut source_error = None;
        while self.control.stop() == Stop::No {
            self.frontend.take_completions(self.control.stopping());
            // Before the next batch has packets to be sorted by.
            self.hand_on();
            self.reload();
            self.wait_for_room();
            self.answer();
            let filled = self.source.fill(&mut self.context.batch.borrow_mut());
            match filled {
                Ok(Fill::Packets) => {
                    let watch = Stopwatch::start();
                    self.batch();
                    self.longest = self.longest.max(watch.elapsed());
                }
                Ok(Fill::Idle) => {
                    self.pass_ticks();
                    self.idle();
                }
                Ok(Fill::End) => {
                    self.meet();
                    break;
                }
                Err(e) => {
                    source_error = Some(e);
                    break;
                }
            }
        }
        if let Some(seat) = self.context.peers.seat() {
            seat.leave();
        }
        self.finish(source_error)
    }

    /// Where packets come from.
    pub(super) fn origins(&self) -> &[Origin] {
        self.source.origins()
    }

    /// Waits while files that jobs still need take up so much room that the next might be cut. The jobs were handed over
    /// just now, and each ends at its deadline at the latest.
    fn wait_for_room(&self) {
        let Some(files) = &self.files else { return };
        while files.ram.is_crowded() && self.control.stop() == Stop::No {
            files.ram.wait(Duration::from_millis(10));
        }
    }

    /// Handles the packets of the context's batch, those of one second at a time: flows are brought up to date with a whole
    /// batch before scripts see it, and must not be ahead of the seconds that scripts are told of, nor of scripts that end
    /// flows.
    pub(super) fn batch(&mut self) {
        self.parts();
        // A part may be a single packet.
        self.batches += 1;
        if self.batches.is_multiple_of(UPKEEP_BATCHES) {
            self.upkeep();
        }
    }

    pub(super) fn part(&mut self) {
        let context = Rc::clone(&self.context);
        self.decoder.decode(&context.protocols, &mut context.batch.borrow_mut());
        self.tell_of_links();
        let count = context.batch.borrow().len();
        self.join_fragments();
        if self.flows.is_some() {
            // What is over is told of as it was then.
            let first = context.batch.borrow().packets().first().map(|packet| packet.ts);
            self.move_time(first.map_or(context.now.get(), |first| first.max(context.now.get())), 0);
        }
        if let Some(flows) = &mut self.flows {
            flows.take_batch(&context);
        }
        if let Some(backend) = &mut self.backend {
            backend.see_batch(&context);
        }
        let mut from = 0;
        self.frontend.begin(&mut self.decoder);
        if self.flows.is_some() {
            self.frontend.deliver_ahead();
        }
        while from < count {
            let to = self.advance(from, count);
            self.handle(from, to);
            from = to;
            if from < count {
                // Before buckets that end here are closed.
                self.hand_on_until(from as u32);
            }
        }
        match &mut self.store {
            Some(store) => store.run(&context, self.frontend.policies()),
            None => context.store_hints.borrow_mut().clear(),
        }
        self.close_batch();
        self.end_terminated();
        self.report_interim();
        self.report_stats();
    }

    /// Ends the flows that scripts ended in the batch, which is done with.
    fn end_terminated(&mut self) {
        if self.context.flows.borrow().as_ref().is_some_and(Flows::has_terminated) {
            self.begin_without_packets();
            self.pass_time(Some(self.context.now.get()));
            self.close_batch();
        }
    }

    /// Runs the plugins over packets of the batch and over what happened to their flows.
    pub(super) fn handle(&mut self, from: usize, to: usize) {
        match &mut self.flows {
            Some(flows) => flows.run(&self.context, &mut self.frontend, from, to),
            None => self.frontend.run(from, to, None),
        }
    }

    /// Hands on what the batch led to, and frees the flows that ended in it.
    pub(super) fn close_batch(&mut self) {
        self.tell_the_rest();
        // What was found in a flow is looked up there.
        self.hand_on();
        FlowStage::settle(&self.context);
    }

    /// What is said of flows besides what is in packets: at the end, and by scripts of which nobody expected it.
    pub(super) fn tell_the_rest(&mut self) {
        if let Some(flows) = &mut self.flows {
            flows.report_rest(&self.context);
        } else if !self.context.commands.borrow().is_empty() {
            // A method whose name is nowhere in the scripts' texts was called all the same.
            let (config, top) = self.late_flows;
            let metering = Metering::none(&self.context.groups);
            self.flows = FlowStage::start(&self.context, Wants::late(), metering, config, top);
            self.handle(0, 0);
        }
    }

    /// Empties the batch for what happens without packets.
    pub(super) fn begin_without_packets(&mut self) {
        self.context.batch.borrow_mut().clear();
        self.context.fragments.borrow_mut().clear();
    }

    /// Joins fragments and puts them into the flow of their first one. Costs two loads for batches without fragments.
    fn join_fragments(&mut self) {
        let counters = self.decoder.counters();
        let seen = counters.get(decode::Event::FirstFragment) + counters.get(decode::Event::Fragment);
        if seen == self.fragments_seen {
            if !self.context.fragments.borrow().is_empty() {
                self.context.fragments.borrow_mut().clear();
            }
            return;
        }
        self.fragments_seen = seen;
        self.context.fragments.borrow_mut().take(&self.context.batch.borrow(), &mut self.defrag);
    }

    /// Names the link types that nobody decodes, each once.
    fn tell_of_links(&mut self) {
        let unknown = self.decoder.counters().get(decode::Event::UnknownLinkType);
        if unknown == self.unknown_links {
            return;
        }
        self.unknown_links = unknown;
        let batch = self.context.batch.borrow();
        for packet in batch.packets() {
            let link = packet.linktype;
            let is_opaque = batch.layers(packet).first().is_some_and(|layer| layer.protocol == builtin::OPAQUE);
            if is_opaque && self.links_told.len() < MAX_LINKS_TOLD && !self.links_told.contains(&link) {
                self.links_told.push(link);
                let text =
                    format!("link type {}: not known; its packets are counted, but nothing is found in them", link.0);
                self.outlet.tell(LogLevel::Warn, &text);
            }
        }
    }

    /// Says which interfaces went down or came back, once for all engines.
    fn tell_of_interfaces(&mut self, stats: &SourceStats) {
        if self.context.id != 0 || stats.down == self.down {
            return;
        }
        let before = std::mem::replace(&mut self.down, stats.down.clone());
        for (origin, name) in (0..).zip(self.source.origins()) {
            match (before.contains(&origin), self.down.contains(&origin)) {
                (false, true) => {
                    let text = format!("{name}: the interface is down or away; it is tried again every second");
                    self.outlet.tell(LogLevel::Warn, &text);
                }
                (true, false) => self.outlet.tell(LogLevel::Notice, &format!("{name}: packets come again")),
                _ => {}
            }
        }
    }

    /// Moves stream time over packets from `from` on, up to the end of a bucket; returns the packet that belongs to the
    /// next one. All packets in between are counted in the same buckets.
    fn advance(&mut self, from: usize, count: usize) -> usize {
        let context = Rc::clone(&self.context);
        let first = context.batch.borrow().packets()[from].ts;
        let (mut now, mut latest) = (context.now.get(), self.latest);
        self.move_time(first.max(now), from);
        let batch = context.batch.borrow();
        let packets = &batch.packets()[from..count];
        let own = self.backend.as_ref().map_or(Timestamp::from_nanos(i64::MAX), BackendFeed::boundary);
        let boundary = context.shard.borrow().next_boundary().min(own);
        let (mut bytes, mut back, mut to) = (0, 0, count);
        for (index, packet) in packets.iter().enumerate() {
            if packet.ts < now {
                // While nothing comes, the clock goes on; what was on its way then is not late.
                back += u64::from(packet.ts < latest);
                latest = latest.max(packet.ts);
            } else if packet.ts >= boundary && index > 0 {
                to = from + index;
                break;
            } else {
                // Also the first packet of a bucket that ends with it, as buckets at the end of time do.
                (now, latest) = (packet.ts, packet.ts);
            }
            bytes += u64::from(packet.wirelen);
        }
        context.now.set(now);
        self.packets += (to - from) as u64;
        self.bytes += bytes;
        self.time_back += back;
        self.latest = latest;
        self.span = Some(self.span.map_or((first, latest), |(begin, _)| (begin, latest)));
        to
    }

    /// Closes the second and the buckets that end at a time, which stands in front of a packet of the batch.
    pub(super) fn move_time(&mut self, now: Timestamp, packet: usize) {
        if let Some(backend) = &mut self.backend {
            backend.take_lines(&mut self.outlet);
            if backend.is_crowded(&self.context) {
                self.relieve(packet);
            }
        }
        let context = Rc::clone(&self.context);
        let ends_second = self.backend.as_ref().is_some_and(|backend| backend.is_over(now));
        {
            let mut shard = context.shard.borrow_mut();
            if !ends_second && now < shard.next_boundary() && shard.now().is_some() {
                return;
            }
            if let Some(flows) = &mut self.flows {
                if ends_second && self.backend.as_ref().is_some_and(BackendFeed::reads_seconds) {
                    flows.metering().flush(&mut shard);
                }
                // Within a bucket the end of a second changes nothing, but for the order in which scripts hear of keys.
                let is_heard = self.backend.as_ref().is_some_and(|backend| backend.wants().scripts);
                if is_heard || now >= shard.next_boundary() || shard.now().is_none() {
                    flows.metering().close(now, &mut shard);
                }
            }
            if !ends_second {
                match &mut self.backend {
                    Some(backend) => backend.advance(&mut shard, now),
                    None => shard.advance(now, |_| {}),
                }
                return;
            }
        }
        let Some(backend) = &mut self.backend else { return };
        if backend.is_inline() {
            // What packets led to so far stands in front of what the backend says.
            self.outlet.flush();
        }
        backend.close(&context, now, self.control.stopping());
        backend.hear(&context, (packet as u32).saturating_sub(1));
    }

    /// Sends what has come together for the backend, in front of a packet of the batch.
    pub(super) fn relieve(&mut self, packet: usize) {
        let Some(backend) = &mut self.backend else { return };
        if backend.is_inline() {
            self.outlet.flush();
        }
        backend.take_lines(&mut self.outlet);
        backend.send_part(&self.context, self.control.stopping());
        backend.hear(&self.context, (packet as u32).saturating_sub(1));
    }

    /// Nothing arrived for a while.
    pub(super) fn idle(&mut self) {
        // Over files time is that of packets, and there are none.
        let mut until = None;
        if self.pace == Pace::Wall {
            let now = time::wall().max(self.context.now.get());
            self.context.now.set(now);
            self.move_time(now, 0);
            until = Some(now);
        } else if let Some(backend) = &mut self.backend
            && let Some(time) = self.source.reached()
        {
            backend.pass(time);
        }
        if self.flows.is_some() {
            self.begin_without_packets();
        }
        self.pass_time(until);
        self.frontend.deliver_waiting();
        self.close_batch();
        self.report_interim();
        self.report_stats();
        self.upkeep();
    }

    /// Does what scripts have in store for flows, and the time up to which they grow older. The batch is empty.
    pub(super) fn pass_time(&mut self, until: Option<Timestamp>) {
        if let Some(flows) = &mut self.flows {
            flows.take_time(&self.context, until);
            self.frontend.begin_without_packets();
            self.handle(0, 0);
            self.hand_on();
        }
    }

    /// Hands on what scripts produced, in the order of their packets.
    pub(super) fn hand_on(&mut self) {
        if let Some(flows) = &self.flows {
            flows.hand_on_counts(&mut self.outlet.records);
        }
        self.context.handed_on();
        let mut records = self.context.records.borrow_mut();
        if !records.is_empty() {
            if let Some(flows) = &mut self.flows {
                flows.metering().alerts(&records, &mut self.context.shard.borrow_mut());
            }
            let flows = self.context.flows.borrow();
            let traffic = self.flows.as_ref().map(FlowStage::findings).zip(flows.as_ref());
            let batch = self.context.batch.borrow();
            self.outlet.take_batch(&mut records, (traffic, Some(&batch)), &mut self.backend);
        }
    }

    /// Hands on what was produced for packets before `packet`.
    fn hand_on_until(&mut self, packet: u32) {
        let mut records = self.context.records.borrow_mut();
        let mut earlier: Vec<_> = records.extract_if(.., |(stamp, _)| stamp.packet < packet).collect();
        if !earlier.is_empty() {
            if let Some(flows) = &mut self.flows {
                flows.metering().alerts(&earlier, &mut self.context.shard.borrow_mut());
            }
            let flows = self.context.flows.borrow();
            let traffic = self.flows.as_ref().map(FlowStage::findings).zip(flows.as_ref());
            let batch = self.context.batch.borrow();
            self.outlet.take_batch(&mut earlier, (traffic, Some(&batch)), &mut self.backend);
        }
    }

    /// Sends a copy of what there is to report when it is time for one.
    fn report_interim(&mut self) {
        let Some(interim) = &self.interim else { return };
        let now = self.context.now.get();
        match self.next_interim {
            None => self.next_interim = Some(now.plus(interim.every)),
            Some(due) if now >= due => {
                self.next_interim = Some(now.plus(interim.every));
                let queue = interim.queue.clone();
                // A reporter that lags leaves this one out; the next one has everything.
                if !queue.is_full() {
                    let _ = queue.try_send(self.interim());
                }
            }
            Some(_) => {}
        }
    }

    /// A copy of what there would be to report if the input ended here.
    fn interim(&mut self) -> Interim {
        if let Some(flows) = &mut self.flows {
            flows.metering().flush(&mut self.context.shard.borrow_mut());
        }
        let (id, since) = (self.context.id, self.since);
        if let Some(backend) = &self.backend {
            self.context.oddities.backend_items_dropped.set(backend.dropped());
        }
        let backend = self.backend.as_mut().and_then(|backend| backend.so_far(id, since));
        let mut outcome = self.so_far();
        outcome.outlet = self.outlet.copy_of_records();
        let shard = self.context.shard.borrow().clone();
        Interim::new(outcome, shard).with_backend(backend)
    }

    /// Tells whoever asks how far it has come.
    pub(super) fn answer(&mut self) {
        // Whoever asked may have given up.
        match self.questions.as_ref().and_then(Questions::next) {
            Some(Question::Figures(tell)) => {
                let _ = tell.try_send(self.figures());
            }
            Some(Question::Interim(tell)) => {
                let _ = tell.try_send(self.interim());
            }
            None => {}
        }
    }

    fn figures(&mut self) -> Figures {
        let mut instances = self.frontend.reports();
        instances.extend(self.backend.iter().flat_map(BackendFeed::reports));
        Figures {
            id: self.context.id,
            packets: self.packets,
            bytes: self.bytes,
            span: self.span,
            source: self.source.stats(),
            instances,
        }
    }

    /// Tells outputs how far this engine is, when it is time for that.
    fn report_stats(&mut self) {
        let time = self.context.now.get();
        if !self.outlet.outputs.is_stats_due(time) {
            return;
        }
        let flows = self.context.flows.borrow();
        let counts = flows.as_ref().map(Flows::counts).unwrap_or_default();
        let (live_flows, flow_memory) = flows.as_ref().map_or((0, 0), |flows| (flows.live(), flows.memory()));
        let source = self.source.stats();
        let drops = source.drops().into_iter().filter(|(_, count)| *count > 0);
        self.outlet.outputs.stats(StatsItem {
            engine: Some(self.context.id),
            time,
            first: self.span.map_or(time, |(first, _)| first),
            packets: self.packets,
            bytes: self.bytes,
            kernel_drops: source.kernel_dropped,
            interface_drops: source.interface_dropped,
            flows: counts.created,
            flows_by: counts.created_by,
            live_flows: live_flows as u64,
            flow_memory: flow_memory as u64,
            gaps: counts.gaps,
            overlaps: counts.overlaps,
            drops: drops.map(|(name, count)| (name.to_owned(), count)).collect(),
        });
    }

    fn upkeep(&mut self) {
        self.frontend.between_batches();
        let now = self.context.now.get();
        if now.secs() >= self.next_minute {
            self.next_minute = now.secs() + 60;
            self.frontend.tell_silent(Some(now));
        }
        self.hand_on();
        self.context.job_events.set(self.outlet.reads_jobs());
        self.outlet.flush();
        if let Some(store) = &mut self.store {
            store.flush();
        }
        self.publish();
    }

    /// Shows the watchers how far we are.
    pub(super) fn publish(&mut self) {
        let dropped = match self.pace {
            Pace::Wall => {
                let stats = self.source.stats();
                self.tell_of_interfaces(&stats);
                stats.kernel_dropped + stats.interface_dropped
            }
            Pace::Packets => 0,
        };
        let control = &self.control;
        control.tell(&mut self.outlet.told, Done { packets: self.packets, bytes: self.bytes, dropped });
        // Engines that share a file out keep in step.
        if self.context.id == 0
            && let Some(progress) = self.source.progress()
        {
            control.read.store(progress.bytes, Ordering::Relaxed);
            control.total.store(progress.total, Ordering::Relaxed);
        }
    }

    /// What the engine leaves behind, all work done.
    pub(super) fn outcome(
        mut self,
        source_error: Option<SourceError>,
        backend: Option<EngineOutcome>,
    ) -> EngineOutcome {
        let so_far = self.so_far();
        let stored = self.store.map(PacketStage::finish);
        drop(self.frontend);
        EngineOutcome {
            totals: totals_of(&self.context),
            outlet: self.outlet,
            source: self.source.stats(),
            source_error,
            stored,
            wall: self.since.elapsed(),
            backend: backend.map(Box::new),
            ..so_far
        }
    }

    /// What the engine has done so far, without counters and records.
    fn so_far(&mut self) -> EngineOutcome {
        let contents = self.frontend.content_counts();
        EngineOutcome {
            id: self.context.id,
            totals: RunTotals::default(),
            outlet: Outlet::new(Arc::clone(&self.outlet.names), self.outlet.threshold),
            packets: self.packets,
            bytes: self.bytes,
            span: self.span,
            time_back: self.time_back,
            source: self.source.stats(),
            source_error: None,
            decode: self.decoder.counters().iter().chain(self.defrag.counters().named()).collect(),
            oddities: self.context.oddities.named(),
            flows: self.flows.as_ref().map(|flows| flows.outcome(&self.context, contents)),
            stored: self.store.as_ref().map(PacketStage::counts),
            instances: self.frontend.reports(),
            problems: self.frontend.problems.clone(),
            wall: self.since.elapsed(),
            longest_batch: self.longest,
            backend: None,
        }
    }
}

/// What was counted, all buckets closed. The counters themselves are gone afterwards.
pub(super) fn totals_of(context: &EngineContext) -> RunTotals {
    RunTotals::of(&context.shard.replace(Shard::new(&context.groups, ShardConfig::default())))
}

/// Native metering as it was asked for.
pub(super) fn metering(
    catalog: &Catalog,
    selection: &Selection,
    settings: &HostSettings,
    origins: &[Origin],
) -> Metering {
    let plan = BuiltinPlan {
        home: settings.run.home_nets.clone(),
        origins: origins.iter().map(ToString::to_string).collect(),
        probe: PROBE_ID.to_owned(),
    };
    Metering::new(&catalog.groups, selection, plan, content_meters(&settings.run.environment.config))
}

fn content_meters(config: &ConfigPaths) -> ContentMeters {
    let meter = |name: &str| {
        let off = config.get(&format!("Reassembly>TCPReassembly>Applications>{name}")).eq_ignore_ascii_case("false");
        if off { Meter::Off } else { Meter::On }
    };
    ContentMeters { hosts: meter("EnableHostMeter"), types: meter("EnableContentTypeMeter") }
}
