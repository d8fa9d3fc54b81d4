//! All frontend instances of one engine, and the order in which they see packets and messages.
//!
//! Every instance runs over the whole batch at once. What scripts can observe is still one packet after the other: an
//! instance that receives messages never runs ahead of one (see [`Frontend::run`]), and records carry their packet, so
//! that the pipeline puts them in order.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::attach::{FrontendMember, is_called, rank, spoken};
use super::catalog::{Catalog, CatalogEntry};
use super::completions::{Haste, JobPlan, Left};
use super::content::ContentDesk;
use super::frontend::{Answer, Course, FlowTap, Next, ProtocolHandler, SimpleCounter};
use super::heard::Attributes;
use super::instance::{BlockTable, Instance, InstanceReport, LoadFailure, PluginFile, Seat};
use super::kind::PluginKind;
use super::manifest::Block;
use super::policy::PolicyTable;
use super::settings::HostSettings;
use crate::api::{
    EngineContext, FlowCommand, Letter, LogLevel, Mail, Note, Rank, Record, ScriptId, Side, Stamp, Topic,
};
use crate::decode::{Decoder, MAX_LAYERS, Pending};
use crate::job::Wait;
use crate::lua::PluginError;
use crate::memory;
use crate::packet::builtin;
use crate::time::{Stopwatch, Timestamp};

/// What a VM holds once its script is loaded, about.
const VM_BYTES: usize = 400 << 10;
/// Rounds of messages delivered after the last packet; scripts that answer each message with another never end by
/// themselves.
const LAST_ROUNDS: usize = 1_000;
/// Answers to messages after the last packet, in all rounds: each message may have more than one.
const LAST_ANSWERS: usize = 100_000;
/// Rounds in which scripts are asked about one packet, directors that claim nothing included.
const MAX_DEPTH: usize = 32;
const TOO_DEEP: &str = "a packet has more than 32 layers; the rest is not looked at";
/// Topics that scripts make themselves.
pub(super) const SPOKEN: u32 = Topic::Attribute.bit() | Topic::Record.bit();

const EXTRACTION_OFF: &str =
    "filex_monitor: loaded and never called, because Reassembly>FileExtraction>Enabled is not true";

/// A problem with loading one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadProblem {
    /// Which script.
    pub script: ScriptId,
    /// `load`, `onload` or `attach`.
    pub stage: &'static str,
    /// What happened.
    pub error: PluginError,
}

/// The instances of one engine.
#[derive(Debug)]
pub struct Frontend {
    pub(super) engine: Rc<EngineContext>,
    pub(super) jobs: JobPlan,
    pub(super) handlers: Vec<ProtocolHandler>,
    /// Counters that receive no messages, in script order.
    pub(super) deaf: Vec<SimpleCounter>,
    /// Counters that receive messages, in script order.
    pub(super) hearing: Vec<SimpleCounter>,
    /// Instances that hear of flows, in script order.
    pub(super) taps: Vec<FlowTap>,
    /// Slots of the flows that begin in the batch.
    pub(super) begun: Vec<u32>,
    /// Slots of the flows that end in a row.
    pub(super) ended: Vec<u32>,
    /// Instances that no packet reaches: their functions are called from outside.
    pub(super) bystanders: Vec<Instance>,
    /// Topics that any of them hears, as bits.
    pub(super) topics: u32,
    /// Attributes that any of them hears of.
    pub(super) attributes: Rc<Attributes>,
    pub(super) policies: PolicyTable,
    pub(super) contents: ContentDesk,
    /// How those did that were taken out of service.
    pub(super) retired: Vec<InstanceReport>,
    /// Answers to messages that may still be delivered after the last packet.
    answers_left: usize,
    /// What could not be loaded.
    pub problems: Vec<LoadProblem>,
}

impl Frontend {
    /// Loads every frontend block of the catalogue on this engine's thread.
    #[must_use]
    pub fn load(catalog: &Catalog, engine: &Rc<EngineContext>, settings: &HostSettings, jobs: JobPlan) -> Self {
        let mut frontend = Self {
            engine: Rc::clone(engine),
            jobs,
            handlers: Vec::new(),
            deaf: Vec::new(),
            hearing: Vec::new(),
            taps: Vec::new(),
            begun: Vec::new(),
            ended: Vec::new(),
            bystanders: Vec::new(),
            topics: 0,
            attributes: Rc::new(Attributes::none()),
            policies: PolicyTable::default(),
            contents: ContentDesk::default(),
            retired: Vec::new(),
            answers_left: LAST_ANSWERS,
            problems: Vec::new(),
        };
        let files: Vec<_> = catalog.entries.iter().map(|entry| Rc::new(entry.plugin_file(settings))).collect();
        let blocks = files.iter().flat_map(|file| &file.blocks).filter(|block| is_called(block, settings));
        memory::expect_use(blocks.count() * VM_BYTES);
        for (place, (entry, file)) in catalog.entries.iter().zip(files).enumerate() {
            frontend.pass_on_probing(entry);
            for block in file.blocks.iter().filter(|block| is_called(block, settings)) {
                frontend.add(entry, &file, block, rank(place, &file, block.kind), settings);
            }
        }
        frontend.set_courses(spoken(catalog));
        // Nothing is written unless somebody takes files.
        let takes_files = frontend.topics & Topic::HttpFile.bit() != 0;
        frontend.contents = ContentDesk::new(settings.files.clone().filter(|_| takes_files));
        frontend
    }

    /// Tells, on one of all engines, what a script said before it had any.
    fn pass_on_probing(&self, entry: &CatalogEntry) {
        if self.engine.id == 0 {
            let said = entry.manifest.iter().flat_map(|manifest| &manifest.said);
            said.for_each(|record| record_for(&self.engine, entry.id, record.clone()));
        }
    }

    /// Settles who runs event by event: who hears messages, and who hears of `spoken` topics that scripts make.
    pub(super) fn set_courses(&mut self, spoken: u32) {
        self.topics = self.taps.iter().fold(0, |topics, tap| topics | tap.topics);
        let mut attributes = Attributes::none();
        for tap in self.taps.iter().filter(|tap| tap.hears(Topic::Attribute.bit())) {
            attributes.add(&tap.attributes);
        }
        self.attributes = Rc::new(attributes);
        for tap in &mut self.taps {
            let serial = tap.instance.listens() || tap.hears(spoken) || tap.course == Course::Serial;
            tap.course = if serial { Course::Serial } else { Course::Straight };
        }
        // Whether a body is written depends on the votes of all who hear of it, so these run together.
        let contents = |tap: &&mut FlowTap| tap.hears(Topic::CONTENT);
        if self.taps.iter_mut().filter(contents).any(|tap| tap.course == Course::Serial) {
            self.taps.iter_mut().filter(contents).for_each(|tap| tap.course = Course::Serial);
        }
    }

    fn add(&mut self, entry: &CatalogEntry, file: &Rc<PluginFile>, block: &Block, order: u32, settings: &HostSettings) {
        if !self.has_place(entry.id, block) {
            return;
        }
        let kind = block.kind;
        let Some((instance, table)) = self.load_instance(entry, file, kind, order, settings) else { return };
        if kind == PluginKind::FilexMonitor && settings.files.is_none() {
            self.log_for(entry.id, LogLevel::Info, EXTRACTION_OFF.to_owned());
        }
        let attached = FrontendMember::attach(instance, &table, &self.engine, settings)
            .map(|attached| attached.map(|member| self.place(member)).is_some());
        self.attached(entry.id, kind, attached);
    }

    fn load_instance(
        &mut self,
        entry: &CatalogEntry,
        file: &Rc<PluginFile>,
        kind: PluginKind,
        order: u32,
        settings: &HostSettings,
    ) -> Option<(Instance, BlockTable)> {
        match Instance::load(file, Seat::new(kind, order), &self.engine, settings, &self.jobs) {
            Ok(loaded) => return Some(loaded),
            Err(LoadFailure::Declined) => {
                self.log_for(entry.id, LogLevel::Info, format!("{}: onload returned false, not used", kind.name()));
            }
            Err(LoadFailure::Fault(stage, error)) => self.problem(entry.id, stage, error),
        }
        None
    }

    fn attached(&mut self, script: ScriptId, kind: PluginKind, attached: Result<bool, PluginError>) {
        match attached {
            Ok(true) => {}
            Ok(false) => {
                record_for(&self.engine, script, no_callback(kind));
            }
            Err(error) => self.problem(script, "attach", error),
        }
    }

    pub(super) fn problem(&mut self, script: ScriptId, stage: &'static str, error: PluginError) {
        let problem = report_problem(&self.engine, script, stage, error);
        self.problems.push(problem);
    }

    pub(super) fn log_for(&self, script: ScriptId, level: LogLevel, text: String) {
        record_for(&self.engine, script, Record::Log { level, text: text.into_bytes() });
    }

    /// True if no instance needs packets.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.deaf.is_empty() && self.hearing.is_empty() && self.handlers.is_empty() && self.taps.is_empty()
    }

    /// Begins a batch that was just decoded: lends its packets and asks the protocol handlers.
    pub fn begin(&mut self, decoder: &mut Decoder) {
        let engine = Rc::clone(&self.engine);
        self.begin_without_packets();
        engine.before.set(0);
        self.hear_peers();
        engine.before.set(u32::MAX);
        self.parse(decoder);
    }

    /// The same without packets: what was lent before is stale from now on.
    pub fn begin_without_packets(&mut self) {
        self.engine.begin_loans();
        self.policies.begin();
    }

    /// Delivers messages in front of a packet of the batch: what they lead to is recorded there.
    pub(super) fn deliver_before(&mut self, packet: usize, due: &[Mail]) {
        self.engine.before.set(packet as u32);
        self.deliver(due);
        self.engine.before.set(u32::MAX);
    }

    /// Delivers what was said before the first packet of a batch.
    pub fn deliver_ahead(&mut self) {
        let due = std::mem::take(&mut *self.engine.mail.borrow_mut());
        if !due.is_empty() {
            self.deliver_before(0, &due);
            self.engine.stop.store(0, Ordering::Relaxed);
        }
    }

    /// Delivers the messages that wait between two batches, those of other engines included.
    pub fn deliver_waiting(&mut self) {
        self.hear_peers();
        let due = std::mem::take(&mut *self.engine.mail.borrow_mut());
        self.deliver(&due);
        self.announce_waiting();
        self.engine.stop.store(0, Ordering::Relaxed);
    }

    fn hear_peers(&mut self) {
        let heard = self.engine.peers.inbox().collect();
        self.hear(heard);
    }

    /// Hands out what another engine sent.
    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Message(mail) => self.hand_out(std::slice::from_ref(&mail)),
            // Packets and ranks of another engine mean nothing here; that announcements led to one another does.
            Letter::Note(note) => {
                // The backend tells every engine, and one of them has the flow.
                let owner = crate::key::FlowTuple::from_id(&note.flow).and_then(|flow| self.engine.peers.owner(&flow));
                if owner.is_none() {
                    let packet = self.engine.before.get();
                    self.engine.notes.borrow_mut().push(Note { packet, rank: Rank::default(), ..note });
                }
            }
            Letter::Wish(command) => {
                let packet = self.engine.before.get();
                self.engine.commands.borrow_mut().push(FlowCommand { packet, rank: Rank::default(), ..command });
            }
            Letter::Command(command) => {
                // Every engine is asked; the flow is one's.
                let flows = self.engine.flows.borrow();
                let tuple = crate::key::FlowTuple::from_id(&command.flow);
                let is_here = |flows: &crate::flow::Flows, tuple: &crate::key::FlowTuple| {
                    flows.find(tuple).is_some() && flows.end_of(&command.flow).is_none()
                };
                if tuple.is_some_and(|tuple| flows.as_ref().is_some_and(|flows| is_here(flows, &tuple))) {
                    let packet = self.engine.before.get();
                    self.engine.commands.borrow_mut().push(FlowCommand { packet, rank: Rank::default(), ..command });
                }
            }
        }
    }

    /// Delivers messages to the VMs of this engine and passes them on to the others.
    fn deliver(&mut self, due: &[Mail]) {
        for mail in due {
            self.dropped(self.engine.peers.send(mail));
        }
        self.hand_out(due);
    }

    fn hand_out(&mut self, due: &[Mail]) {
        for mail in due {
            for counter in &mut self.hearing {
                counter.instance.deliver(&mail.id, mail.class, &mail.text);
            }
            for tap in self.taps.iter_mut().filter(|tap| tap.instance.listens()) {
                tap.instance.deliver(&mail.id, mail.class, &mail.text);
            }
            for handler in self.handlers.iter_mut().filter(|handler| handler.instance.listens()) {
                handler.instance.deliver(&mail.id, mail.class, &mail.text);
            }
            for bystander in self.bystanders.iter_mut().filter(|bystander| bystander.listens()) {
                bystander.deliver(&mail.id, mail.class, &mail.text);
            }
        }
    }

    fn parse(&mut self, decoder: &mut Decoder) {
        let engine = Rc::clone(&self.engine);
        let mut pending = decoder.pending().to_vec();
        for _ in 0..MAX_DEPTH {
            if pending.is_empty() {
                return;
            }
            let mut further = Vec::new();
            for handler in &mut self.handlers {
                let (own, full): (Vec<Pending>, Vec<Pending>) = {
                    let batch = engine.batch.borrow();
                    let room = |p: &Pending| usize::from(batch.packets()[p.packet as usize].layer_count) < MAX_LAYERS;
                    pending.iter().filter(|p| p.protocol == handler.protocol).partition(|p| room(p))
                };
                if !full.is_empty() {
                    handler.instance.context().warn_once(TOO_DEEP);
                }
                if own.is_empty() {
                    continue;
                }
                let answers = handler.ask(&engine, &own);
                further.extend(
                    own.iter().zip(answers).filter_map(|(place, answer)| apply(&engine, decoder, *place, answer)),
                );
            }
            pending = further;
        }
        if let Some(handler) = self.handlers.first() {
            handler.instance.context().warn_once(TOO_DEEP);
        }
    }

    /// Work between two batches that is not worth doing per packet.
    pub fn between_batches(&mut self) {
        self.each(Instance::between_batches);
    }

    /// Tells of faults that were only counted in minutes that are over; `None` tells of all.
    pub fn tell_silent(&mut self, now: Option<Timestamp>) {
        self.each(|instance| instance.tell_silent(now));
    }

    /// At the end of input: hears what the other engines send until they have come to theirs, and sends them nothing more.
    pub fn hear_the_rest(&mut self) {
        let engine = Rc::clone(&self.engine);
        self.dropped(engine.peers.leave());
        loop {
            let letters = engine.peers.await_rest();
            if letters.is_empty() {
                return self.deliver_last();
            }
            self.hear(letters);
            if !self.deliver_answers() {
                self.drop_mail();
            }
        }
    }

    /// Takes in what other engines sent, to be delivered or carried out with what is said here.
    pub fn hear(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            self.open(letter);
        }
    }

    /// Delivers the messages still waiting at the end of input.
    pub fn deliver_last(&mut self) {
        self.hear_peers();
        if self.deliver_round() == 0 {
            return;
        }
        for _ in 1..LAST_ROUNDS {
            self.hear_peers();
            if self.engine.mail.borrow().is_empty() && self.engine.notes.borrow().is_empty() {
                return;
            }
            if !self.deliver_answers() {
                break;
            }
        }
        self.drop_mail();
    }

    /// Delivers what messages have led to; false once that was too much.
    fn deliver_answers(&mut self) -> bool {
        let delivered = self.deliver_round();
        self.answers_left = self.answers_left.saturating_sub(delivered);
        self.answers_left > 0
    }

    /// Announces and delivers what waits, and not what that leads to; gives the number of messages.
    pub fn deliver_round(&mut self) -> usize {
        self.announce_waiting();
        let due = std::mem::take(&mut *self.engine.mail.borrow_mut());
        self.deliver(&due);
        due.len()
    }

    /// Delivers no more of what waits.
    pub fn drop_mail(&mut self) {
        let left = self.engine.mail.borrow_mut().drain(..).count() as u64;
        self.dropped(left);
    }

    fn dropped(&self, messages: u64) {
        let dropped = &self.engine.oddities.messages_dropped;
        dropped.set(dropped.get() + messages);
    }

    /// Hands over jobs that were scheduled and delivers the results of those that have ended. Where that has to wait, it
    /// waits no longer once `stopping` is set.
    pub fn take_completions(&mut self, stopping: &AtomicBool) {
        for instance in self.instances_mut() {
            instance.take_completions(stopping);
        }
    }

    /// Jobs whose results were not delivered yet.
    #[must_use]
    pub fn outstanding_jobs(&mut self) -> usize {
        self.instances_mut().map(|instance| instance.outstanding_jobs()).sum()
    }

    /// At the end of input: waits for the jobs, delivers their results and the messages these lead to, until nothing is
    /// left. When the wait ends early, what is missing is cancelled.
    pub fn drain_jobs(&mut self, wait: &Wait<'_>) {
        let watch = Stopwatch::start();
        self.each(|instance| {
            instance.rest();
            instance.close_door();
        });
        loop {
            let limit = wait.limit.map(|limit| limit.saturating_sub(watch.elapsed()));
            for instance in self.instances_mut().filter(|instance| instance.outstanding_jobs() > 0) {
                instance.settle(&Wait { limit, cancel: wait.cancel });
            }
            self.deliver_last();
            let over = wait.limit.is_some_and(|limit| watch.elapsed() >= limit)
                || wait.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed));
            let haste = if over { Haste::AtOnce } else { Haste::None };
            if self.outstanding_jobs() == 0 && !self.run_out(haste) {
                return;
            }
        }
    }

    /// Lets time run on in every VM; whether anything was left to do in any.
    fn run_out(&mut self, haste: Haste) -> bool {
        let mut any = false;
        for instance in self.instances_mut() {
            any |= instance.run_out(haste) == Left::Something;
        }
        any
    }

    /// Calls `onunload` of every instance at the end of a run.
    pub fn unload(&mut self) {
        self.each(Instance::unload_at_end);
    }

    /// Applies a function to every instance, in script order within each kind.
    pub fn each(&mut self, mut f: impl FnMut(&mut Instance)) {
        for instance in self.instances_mut() {
            f(instance);
        }
    }

    /// Every instance.
    pub fn instances_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        let handlers = self.handlers.iter_mut().map(|handler| &mut handler.instance);
        let counters = self.deaf.iter_mut().chain(&mut self.hearing).map(|counter| &mut counter.instance);
        let taps = self.taps.iter_mut().map(|tap| &mut tap.instance);
        handlers.chain(counters).chain(taps).chain(&mut self.bystanders)
    }

    /// How each instance did.
    pub fn reports(&mut self) -> Vec<InstanceReport> {
        let mut reports: Vec<_> = self.instances_mut().map(|instance| instance.outcome()).collect();
        // They are told each time somebody asks.
        reports.extend(self.retired.iter().cloned());
        reports.sort_by_key(|report| report.script);
        reports
    }
}

/// Logs and records why an instance could not be loaded.
pub fn report_problem(
    engine: &EngineContext,
    script: ScriptId,
    stage: &'static str,
    error: PluginError,
) -> LoadProblem {
    let mut text = format!("{stage}: {}", error.message);
    if !error.traceback.trim().is_empty() {
        text.push('\n');
        text.push_str(error.traceback.trim_end());
    }
    record_for(engine, script, Record::Log { level: LogLevel::Error, text: text.into_bytes() });
    let message = error.message.clone();
    record_for(engine, script, Record::Fault { callback: stage.to_owned(), message, count: 1 });
    LoadProblem { script, stage, error }
}

/// What is said of a block that nothing can be called of.
#[must_use]
pub fn no_callback(kind: PluginKind) -> Record {
    Record::Log { level: LogLevel::Warn, text: format!("{}: has no callback, not used", kind.name()).into_bytes() }
}

/// Records something about a script that is not in any VM of it.
pub fn record_for(engine: &EngineContext, script: ScriptId, record: Record) {
    let time = engine.now.get();
    let side = if engine.is_backend.get() { Side::Backend } else { Side::Frontend };
    let stamp = Stamp { packet: u32::MAX, rank: Rank::default(), time, script, side };
    engine.records.borrow_mut().push((stamp, record));
}

/// Adds what a script claimed to the packet and goes on behind it; returns the next place for a script.
fn apply(engine: &EngineContext, decoder: &mut Decoder, place: Pending, answer: Answer) -> Option<Pending> {
    let Answer::Layer { bytes, next } = answer else { return None };
    let index = place.packet as usize;
    let mut batch = engine.batch.borrow_mut();
    if bytes > 0 || next == Next::Nothing {
        batch.append_layer(index, place.layer(bytes));
    }
    let next = match next {
        Next::Nothing => None,
        Next::Unknown => Some(builtin::OPAQUE),
        Next::Protocol(protocol) => Some(protocol),
    };
    let further = next.and_then(|next| decoder.resume(&engine.protocols, &mut batch, place.after(bytes, next)));
    engine.loans.borrow_mut().refresh(&batch, index);
    further
}
