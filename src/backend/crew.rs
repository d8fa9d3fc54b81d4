//! All monitors of the backend, the way to call them, and what happens between two callbacks: records leave, messages
//! arrive, items that scripts made wait for the next second.

use std::collections::BTreeMap;
use std::rc::Rc;

use memchr::memmem;
use mlua::{MultiValue, Value};

use super::given_tags::GivenTags;
use super::mates::Post;
use super::monitor::{Hook, Monitor, is_no, values};
use super::outlet::BackendOutlet;
use super::parcel::{Item, edges_of, item_of};
use super::wants::BackendWants;
use crate::api::{EngineContext, FlowWish, ItemRef, LogLevel, Mail, MonitoredGroup, Record, Stamp};
use crate::guid::Guid;
use crate::metrics::{Attention, GroupIndex, GroupKind, Level, OwnPart, Registry};
use crate::plugin::{
    ALL_FLOWS, Block, Catalog, CatalogEntry, HostSettings, Instance, InstanceReport, JobPlan, LoadFailure, LoadProblem,
    PluginFile, PluginKind, Seat, TrackerControl, no_callback, record_for, report_problem,
};

/// Rounds of messages between two callbacks; scripts that answer each message with another never end by themselves.
const MESSAGE_ROUNDS: usize = 1_000;
/// Messages in these rounds that answer others.
const MAX_ANSWERS: usize = 100_000;
/// Items of scripts that wait for the next second.
pub(super) const MAX_OWN: usize = 100_000;

/// A monitor by its place in the crew.
pub type Member = usize;

/// The VMs that a file has on the backend, in order.
pub(super) fn seats(file: &PluginFile, groups: &Registry) -> Vec<Seat> {
    let of_block = |block: &Block| {
        let groups: Vec<MonitoredGroup> = block.monitored(groups).collect();
        let alone = groups.is_empty().then_some(Seat::new(block.kind, 0));
        let kind = block.kind;
        alone.into_iter().chain(groups.into_iter().map(move |group| Seat { group: Some(group), ..Seat::new(kind, 0) }))
    };
    file.blocks.iter().filter(|block| block.runs_on_backend()).flat_map(of_block).collect()
}

/// The monitors and what they share.
pub struct Crew<O> {
    /// State that scripts reach.
    pub context: Rc<EngineContext>,
    /// Where results leave.
    pub outlet: O,
    /// All monitors, in script order.
    pub monitors: Vec<Monitor>,
    /// Those of the engine.
    pub engine: Vec<Member>,
    /// Those of each counter group, by index.
    pub counters: Vec<Vec<Member>>,
    /// Those of alert groups.
    pub alerts: BTreeMap<Guid, Vec<Member>>,
    /// Those of resource groups.
    pub resources: BTreeMap<Guid, Vec<Member>>,
    /// Those of full-text groups.
    pub documents: BTreeMap<Guid, Vec<Member>>,
    /// Those of all flows.
    pub flows: Vec<Member>,
    /// Trackers, with what they track.
    pub trackers: Vec<(Member, TrackerControl)>,
    /// What could not be loaded.
    pub problems: Vec<LoadProblem>,
    /// How those did that were taken out of service.
    pub retired: Vec<InstanceReport>,
    /// What is wanted from the engines.
    pub wants: BackendWants,
    /// Whether there are backend scripts: the same on all backends, whichever of them one declined to run on.
    pub speaks: bool,
    /// The flows that are this backend's, if there are several.
    pub part: Option<OwnPart>,
    /// What scripts made, for the next second, whichever backend is to announce it.
    pub own: Vec<Item>,
    /// Items of scripts that found no room.
    pub own_dropped: u64,
    /// Tags that scripts gave to flows by id since the last flush.
    pub given: GivenTags,
    /// Those they gave to flows of other backends.
    pub given_away: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether a script gives flows tags by id, so that their records wait for the flush.
    pub gives_tags: bool,
    /// Whether the outlet takes what is flushed where no script looks at it.
    pub takes_all: bool,
    /// Messages for the other backends, if there are any.
    pub passed_on: Option<Post>,
}

impl<O: BackendOutlet> Crew<O> {
    /// A crew without monitors.
    pub(super) fn of_nobody(context: &Rc<EngineContext>, outlet: O) -> Self {
        Self {
            context: Rc::clone(context),
            outlet,
            monitors: Vec::new(),
            engine: Vec::new(),
            counters: Vec::new(),
            alerts: BTreeMap::new(),
            resources: BTreeMap::new(),
            documents: BTreeMap::new(),
            flows: Vec::new(),
            trackers: Vec::new(),
            problems: Vec::new(),
            retired: Vec::new(),
            wants: BackendWants::default(),
            speaks: false,
            part: None,
            own: Vec::new(),
            own_dropped: 0,
            given: GivenTags::default(),
            given_away: Vec::new(),
            gives_tags: false,
            takes_all: false,
            passed_on: None,
        }
    }

    /// Loads every backend block of the catalogue on this thread.
    #[must_use]
    pub fn load(
        catalog: &Catalog,
        context: &Rc<EngineContext>,
        settings: &HostSettings,
        jobs: &JobPlan,
        outlet: O,
    ) -> Self {
        let mut crew = Self::of_nobody(context, outlet);
        crew.counters = vec![Vec::new(); catalog.groups.counter_groups().len()];
        crew.speaks = catalog.has_backend();
        for entry in &catalog.entries {
            let file = Rc::new(entry.plugin_file(settings));
            for seat in seats(&file, &catalog.groups) {
                crew.add(entry, &file, seat, settings, jobs);
            }
        }
        crew.bind_all();
        crew.after();
        crew
    }

    fn add(
        &mut self,
        entry: &CatalogEntry,
        file: &Rc<PluginFile>,
        seat: Seat,
        settings: &HostSettings,
        jobs: &JobPlan,
    ) {
        let kind = seat.kind;
        let seat = Seat { order: self.monitors.len() as u32 + 1, ..seat };
        let log = |level, text: String| {
            record_for(&self.context, entry.id, Record::Log { level, text: text.into_bytes() });
        };
        let attached = match Instance::load(file, seat, &self.context, settings, jobs) {
            Ok((instance, block)) => Monitor::attach(instance, &block).map_err(|e| ("attach", e)),
            Err(LoadFailure::Declined) => {
                return log(LogLevel::Info, format!("{}: onload returned false, not used", kind.name()));
            }
            Err(LoadFailure::Fault(stage, error)) => Err((stage, error)),
        };
        match attached {
            Ok(monitor) if monitor.is_idle() => {
                record_for(&self.context, entry.id, no_callback(kind));
            }
            Ok(monitor) => self.monitors.push(monitor),
            Err((stage, error)) => {
                let problem = report_problem(&self.context, entry.id, stage, error);
                self.problems.push(problem);
            }
        }
    }

    /// Finds the lists of all monitors anew, and what is wanted.
    pub(super) fn bind_all(&mut self) {
        self.counters.iter_mut().for_each(Vec::clear);
        self.alerts.clear();
        self.resources.clear();
        self.documents.clear();
        self.flows.clear();
        self.engine.clear();
        self.trackers.clear();
        for member in 0..self.monitors.len() {
            let instance = &self.monitors[member].instance;
            let (kind, group) = instance.seat();
            match (group, instance.file.block(kind).and_then(|block| block.tracker.clone())) {
                (Some(guid), _) => self.bind(kind, guid, member),
                (None, Some(tracker)) => self.trackers.push((member, tracker)),
                (None, None) if kind == PluginKind::EngineMonitor => self.engine.push(member),
                (None, None) => {}
            }
        }
        let speaks = |monitor: &Monitor| memmem::find(&monitor.instance.file.script.source, b"tag_flow").is_some();
        self.gives_tags = self.monitors.iter().any(speaks);
        self.wants = self.wants();
    }

    fn bind(&mut self, kind: PluginKind, guid: Guid, member: Member) {
        match kind {
            PluginKind::CgMonitor => {
                let index = self.context.groups.counter_index(guid).map_or(usize::MAX, |index| usize::from(index.0));
                if let Some(members) = self.counters.get_mut(index) {
                    members.push(member);
                }
            }
            PluginKind::AlertMonitor => self.alerts.entry(guid).or_default().push(member),
            PluginKind::ResourceMonitor => self.resources.entry(guid).or_default().push(member),
            PluginKind::FtsMonitor => self.documents.entry(guid).or_default().push(member),
            // Other session groups have no flows of their own.
            _ if guid == ALL_FLOWS => self.flows.push(member),
            _ => self.engine.push(member),
        }
    }

    fn wants(&self) -> BackendWants {
        let has = |members: &[Member], hooks: &[Hook]| {
            members.iter().any(|&member| hooks.iter().any(|&hook| self.monitors[member].has(hook)))
        };
        let flush = [Hook::FlushFilter, Hook::Flush];
        let toppers = [Hook::BeginTopper, Hook::TopperFilter, Hook::Topper, Hook::EndTopper];
        let group = |members: &Vec<Member>| Attention {
            new_keys: has(members, &[Hook::New]),
            updates: has(members, &[Hook::Update]),
            buckets: has(members, &flush) || has(members, &toppers),
        };
        let items = |map: &BTreeMap<Guid, Vec<Member>>| {
            map.values().any(|members| has(members, &flush) || has(members, &[Hook::New]))
        };
        let is_builtin = |kind: GroupKind, guid: &Guid| {
            self.context.groups.find(kind, *guid).is_some_and(|group| group.level != Level::Script)
        };
        let flows = has(&self.flows, &flush) || has(&self.flows, &[Hook::Terminate]) || !self.trackers.is_empty();
        let (new_flows, active_flows) = (has(&self.flows, &[Hook::New]), has(&self.flows, &[Hook::Update]));
        BackendWants {
            groups: self.counters.iter().map(group).collect(),
            alerts: items(&self.alerts),
            resources: items(&self.resources),
            documents: items(&self.documents),
            new_flows,
            active_flows,
            flows,
            scripts: !self.monitors.is_empty(),
            messages: self.monitors.iter().any(|monitor| monitor.instance.listens()),
            asks_flows: new_flows || active_flows || flows,
            asks_resources: self.resources.keys().any(|guid| is_builtin(GroupKind::Resource, guid)),
            asks_documents: self.documents.keys().any(|guid| is_builtin(GroupKind::Fts, guid)),
        }
    }

    /// The monitors of a counter group.
    #[must_use]
    pub fn of_group(&self, group: GroupIndex) -> Vec<Member> {
        self.counters.get(usize::from(group.0)).cloned().unwrap_or_default()
    }

    /// Whether any of some monitors has a callback.
    #[must_use]
    pub fn any(&self, members: &[Member], hook: Hook) -> bool {
        members.iter().any(|&member| self.monitors[member].has(hook))
    }

    /// Calls a callback of a monitor.
    pub fn call(
        &mut self,
        member: Member,
        hook: Hook,
        args: impl FnOnce(&mlua::Lua) -> mlua::Result<MultiValue>,
    ) -> Option<MultiValue> {
        let answer = self.monitors[member].call(hook, args);
        self.after();
        answer
    }

    /// Calls a callback of a monitor with an object.
    pub fn call_item(&mut self, member: Member, hook: Hook, item: ItemRef<'_>) -> Option<MultiValue> {
        let answer = self.monitors[member].call_item(hook, item);
        self.after();
        answer
    }

    /// Calls a callback that takes a time of several monitors.
    pub fn tell(&mut self, members: &[Member], hook: Hook, secs: i64) {
        for &member in members {
            self.call(member, hook, |lua| values(lua, secs));
        }
    }

    /// A vote of several monitors on an object: true unless there are some and all said no.
    pub fn vote(&mut self, members: &[Member], hook: Hook, mut item: impl FnMut(&mut Self, Member) -> bool) -> bool {
        let mut noes = 0;
        for &member in members {
            if self.monitors[member].has(hook) && item(self, member) {
                noes += 1;
            }
        }
        members.is_empty() || noes < members.len()
    }

    /// Whether a monitor says no to an object.
    pub fn says_no(&mut self, member: Member, hook: Hook, item: ItemRef<'_>) -> bool {
        is_no(self.call_item(member, hook, item).as_ref())
    }

    /// A tick for every monitor.
    pub fn tick(&mut self, secs: i64) {
        for member in 0..self.monitors.len() {
            let ticks = &mut self.monitors[member].ticks;
            *ticks += 1;
            let count = *ticks as f64;
            self.call(member, Hook::Metronome, |lua| values(lua, (secs, count, 1)));
        }
    }

    /// Between two callbacks: hands on what was recorded, delivers messages.
    pub fn after(&mut self) {
        self.hand_on();
        let (mut answers, mut left) = (0, 0);
        for round in 0..MESSAGE_ROUNDS {
            let due = std::mem::take(&mut *self.context.backend_mail.borrow_mut());
            if due.is_empty() {
                return;
            }
            answers += if round == 0 { 0 } else { due.len() };
            if answers > MAX_ANSWERS {
                left = due.len() as u64;
                break;
            }
            if let Some(passed_on) = &mut self.passed_on {
                let others = self.part.map_or(0, |part| part.owners.count() - 1) as u64;
                let dropped = &self.context.oddities.messages_dropped;
                dropped.set(dropped.get() + passed_on.add(&due) * others);
            }
            self.deliver(&due);
        }
        left += self.context.backend_mail.borrow_mut().drain(..).count() as u64;
        let dropped = &self.context.oddities.messages_dropped;
        dropped.set(dropped.get() + left);
    }

    /// Delivers messages to every monitor that wants them.
    pub fn deliver(&mut self, due: &[Mail]) {
        for mail in due {
            for member in 0..self.monitors.len() {
                if self.monitors[member].instance.listens() {
                    self.monitors[member].instance.deliver(&mail.id, mail.class, &mail.text);
                    self.hand_on();
                }
            }
        }
    }

    fn hand_on(&mut self) {
        self.context.handed_on();
        let mut records = self.context.records.take();
        if records.is_empty() {
            return;
        }
        for (stamp, record) in &records {
            if let Record::Tag { flow, tag } = record {
                if self.part.is_none_or(|part| part.has(flow)) {
                    self.given.add(flow, tag);
                } else if self.given_away.len() < MAX_OWN {
                    self.given_away.push((flow.clone(), tag.clone()));
                } else {
                    self.own_dropped += 1;
                }
                self.gives_tags = true;
            }
            let Some(item) = item_of(stamp.time, record, &self.wants) else { continue };
            if self.own.len() < MAX_OWN {
                self.own.push(item);
            } else {
                self.own_dropped += 1;
            }
        }
        self.hand_on_edges(&records);
        self.outlet.records(&mut records, &mut self.context.shard.borrow_mut());
        records.clear();
        // Keeps the memory of the list, unless somebody recorded something meanwhile.
        let mut place = self.context.records.borrow_mut();
        if place.is_empty() {
            *place = records;
        }
    }

    fn hand_on_edges(&mut self, records: &[(Stamp, Record)]) {
        let mut edges = Vec::new();
        for (stamp, record) in records {
            if let Record::Edge { .. } | Record::FlowEdges { .. } = record {
                edges_of(&mut record.clone(), &mut edges);
                let room = MAX_OWN.saturating_sub(self.own.len());
                self.own_dropped += edges.len().saturating_sub(room) as u64;
                self.own.extend(edges.drain(..).take(room).map(|edge| Item::Edge(stamp.time, Box::new(edge))));
            }
        }
    }

    /// Asks that a flow that goes on gets a tag, on behalf of a monitor.
    pub fn tag_flow(&mut self, member: Member, flow: &[u8], tag: &[u8]) {
        let context = self.monitors[member].instance.context();
        context.command(flow.to_vec(), FlowWish::Tag(tag.to_vec()));
    }

    /// Records that a monitor tagged a flow.
    pub fn record_tag(&mut self, member: Member, flow: &[u8], tag: &[u8]) {
        self.monitors[member].instance.context().record(Record::Tag { flow: flow.to_vec(), tag: tag.to_vec() });
        self.hand_on();
    }

    /// The number in an answer, as a tracker gives it: `None` for what is not tracked.
    #[must_use]
    pub fn metric(answer: Option<&MultiValue>) -> Option<f64> {
        let number = match answer?.front()? {
            Value::Integer(number) => *number as f64,
            Value::Number(number) => *number,
            Value::String(text) => text.to_str().ok()?.trim().parse().ok()?,
            _ => return None,
        };
        (number.is_finite() && number > 0.0).then_some(number)
    }
}
