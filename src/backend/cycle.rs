//! The cycle of the backend on stream time: seconds, windows, the flush, the end.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::counters::Counters;
use super::crew::Crew;
use super::inbox::Ready;
use super::items::Pending;
use super::mates::{Mates, Moment, Post};
use super::meeting::rank_among;
use super::monitor::Hook;
use super::outlet::BackendOutlet;
use super::parcel::Item;
use super::trackers::{Rankings, Tracker};
use super::wants::BackendWants;
use crate::api::{EngineContext, FlowCommand, Mail, Note, Peers};
use crate::job::{Delivery, Wait};
use crate::metrics::{
    Alert, Attention, Document, GroupKind, OwnPart, Owners, Resource, SecondKeys, Session, Shard, ShardConfig, Snapshot,
};
use crate::plugin::{Catalog, HostSettings, InstanceReport, JobPlan, LoadProblem};
use crate::time::Timestamp;

/// Ticks in a row, and windows flushed in a row, when time jumps; a longer gap is skipped in one step.
const MAX_STEPS: i64 = 60;
/// The second of what happens when the input is over.
const LAST: i64 = i64::MAX;
/// Rounds in which what scripts made in the last second is announced at the end.
const LAST_ROUNDS: usize = 2;

/// What a backend is made from.
pub struct BackendParts<O> {
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// What the host was told.
    pub settings: HostSettings,
    /// Limits of its own counters.
    pub shard: ShardConfig,
    /// The workers.
    pub jobs: JobPlan,
    /// Number of its jobs and of its own context, behind those of the engines.
    pub id: u32,
    /// Where results leave.
    pub outlet: O,
    /// Whether the outlet takes what is flushed where no script looks at it.
    pub takes_all: bool,
    /// Seconds of a window.
    pub window: i64,
    /// Its place among the backends of the run.
    pub share: Share,
}

/// Which of several backends one is.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its number, which scripts see as that of their engine.
    pub number: u32,
    /// How many there are.
    pub backends: usize,
    /// Where trackers put their flows together.
    pub rankings: Rankings,
}

impl Share {
    /// The only one.
    #[must_use]
    pub fn whole() -> Self {
        Self { number: 0, backends: 1, rankings: Rankings::default() }
    }
}

/// What scripts said to the frontend since the last time.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Messages to frontend scripts.
    pub mail: Vec<Mail>,
    /// What was asked of flows.
    pub commands: Vec<FlowCommand>,
    /// What was said about flows.
    pub notes: Vec<Note>,
}

/// What a backend leaves behind.
#[derive(Debug)]
pub struct BackendEnd<O> {
    /// Its counters, all buckets closed.
    pub shard: Shard,
    /// Where results left.
    pub outlet: O,
    /// How each monitor did.
    pub instances: Vec<InstanceReport>,
    /// What could not be loaded.
    pub problems: Vec<LoadProblem>,
    /// Oddities by name.
    pub oddities: Vec<(&'static str, u64)>,
}

/// What waits for the end of the window.
#[derive(Debug, Default)]
struct Waiting {
    alerts: Pending<Alert>,
    resources: Pending<Resource>,
    documents: Pending<Document>,
    flows: Pending<Session>,
}

/// The backend; on the thread that made it.
pub struct Backend<O> {
    pub(super) crew: Crew<O>,
    pub(super) counters: Counters,
    pub(super) trackers: Vec<Tracker>,
    pub(super) jobs: JobPlan,
    waiting: Waiting,
    pub(super) window: i64,
    /// The second stream time has reached; `None` before the first.
    now: Option<i64>,
    in_order: bool,
    /// Keys that scripts touched and that were not told of yet.
    own_keys: Vec<SecondKeys>,
    pub(super) rankings: Rankings,
    pub(super) share: OwnPart,
    /// The other backends.
    pub(super) mates: Option<Mates>,
    pub(super) moment: Moment,
    /// What scripts of all backends made and this one is to announce.
    pub(super) due: Vec<Item>,
}

impl<O: BackendOutlet> Backend<O> {
    /// Loads the monitors. Must run on the thread that will run the backend, with a stack for Lua.
    #[must_use]
    pub fn new(parts: BackendParts<O>) -> Self {
        let groups = Arc::clone(&parts.catalog.groups);
        let share = OwnPart { owners: Owners::new(parts.share.backends), own: parts.share.number as usize };
        let part = (share.owners.count() > 1).then_some(share);
        let shard = Shard::new(&groups, ShardConfig { part, ..parts.shard });
        let protocols = Arc::clone(&parts.catalog.protocols);
        let context = Rc::new(EngineContext::new(parts.id, shard, Arc::clone(&groups), protocols, Peers::default()));
        context.is_backend.set(true);
        context.backend_number.set(parts.share.number);
        context.edges.set(parts.settings.wants_edges());
        // What they post while they load is heard by those that are loaded.
        context.has_backend.set(true);
        let in_order = parts.jobs.delivery == Delivery::InOrder;
        let mut crew = Crew::load(&parts.catalog, &context, &parts.settings, &parts.jobs, parts.outlet);
        crew.part = part;
        crew.passed_on = part.map(|_| Post::default());
        crew.takes_all = parts.takes_all;
        crew.publish_wants();
        crew.trackers.iter().for_each(|(_, control)| parts.share.rankings.join(&control.name));
        parts.share.rankings.hear(crew.heard_toppers());
        Self {
            counters: Counters::new(&groups, |group| parts.takes_all || crew.hears_toppers(group)),
            trackers: crew.trackers.iter().map(|(_, control)| Tracker::new(control, parts.window)).collect(),
            jobs: parts.jobs,
            waiting: Waiting::default(),
            window: parts.window.max(1),
            now: None,
            in_order,
            own_keys: Vec::new(),
            rankings: parts.share.rankings,
            share,
            mates: None,
            moment: Moment::START,
            due: Vec::new(),
            crew,
        }
    }

    /// Leads it to the other backends.
    #[must_use]
    pub fn beside(self, mates: Mates) -> Self {
        Self { mates: Some(mates).filter(Mates::has_others), ..self }
    }

    /// What is wanted from the engines.
    #[must_use]
    pub fn wants(&self) -> &BackendWants {
        &self.crew.wants
    }

    /// State that its scripts reach.
    #[must_use]
    pub fn context(&self) -> &Rc<EngineContext> {
        &self.crew.context
    }

    /// Where results leave.
    pub fn outlet(&mut self) -> &mut O {
        &mut self.crew.outlet
    }

    /// Handles a complete second: what happened in it, and everything that is due until the next one.
    pub fn second(&mut self, ready: Ready, stopping: &AtomicBool) {
        let Ready { second, parcels, until } = ready;
        self.begin(second);
        self.take_completions(stopping);
        let mut keys = self.take_own_keys();
        // All that scripts made before this second was over is announced with it.
        for item in self.take_due() {
            self.news(item);
        }
        for mut parcel in parcels {
            self.crew.outlet.put_lines(std::mem::take(&mut parcel.lines));
            self.crew.deliver(&parcel.mail);
            self.crew.after();
            for item in parcel.items.drain(..) {
                self.news(item);
            }
            self.counters.wait(parcel.snapshots.drain(..));
            keys.append(&mut parcel.keys);
        }
        for keys in &keys {
            self.counters.announce(&mut self.crew, keys, second);
        }
        self.advance(until, Some((second, &keys)), stopping);
        self.rank_trackers();
        self.crew.outlet.hand_over();
    }

    fn take_own_keys(&mut self) -> Vec<SecondKeys> {
        let mut keys = std::mem::take(&mut self.own_keys);
        keys.append(&mut self.crew.context.shard.borrow_mut().take_second());
        keys
    }

    /// Time moves to a second that begins.
    fn begin(&mut self, second: i64) {
        match self.now {
            None => {
                self.now = Some(second);
                self.crew.context.last_window.set(Timestamp::new(second, 0));
                self.set_time(second);
            }
            Some(now) if second > now => self.advance(second, None, &AtomicBool::new(true)),
            Some(_) => {}
        }
    }

    fn set_time(&mut self, now: i64) {
        let time = Timestamp::new(now, 0);
        let context = &self.crew.context;
        context.now.set(time.max(context.now.get()));
        let counters = &mut self.counters;
        let mut shard = context.shard.borrow_mut();
        if context.now.get() >= shard.next_boundary() {
            // Keys of a bucket that closes here would not be told of any more.
            self.own_keys.append(&mut shard.take_second());
        }
        shard.advance(context.now.get(), |snapshot: Snapshot| counters.wait([snapshot]));
    }

    /// What is due until `until`: flushes of windows that end, updates of the second that is over, ticks.
    fn advance(&mut self, until: i64, updates: Option<(i64, &[SecondKeys])>, stopping: &AtomicBool) {
        let Some(now) = self.now else { return };
        let gap = until.saturating_sub(now);
        let mut updates = updates;
        if gap <= 0 {
            return self.updates(updates);
        }
        self.now = Some(until);
        let first = now.saturating_add(1);
        if gap <= MAX_STEPS {
            for tick in first..=until {
                if tick == first {
                    self.meet_before(tick);
                }
                self.set_time(tick);
                if tick.rem_euclid(self.window) == 0 {
                    self.flush(tick - self.window, tick, stopping);
                }
                self.updates(updates.take());
                self.crew.tick(tick);
                self.meet(tick);
            }
            return;
        }
        let open = now - now.rem_euclid(self.window);
        let last = until - until.rem_euclid(self.window);
        let windows = (last - open) / self.window;
        let mut end = open.saturating_add(self.window);
        if first < end {
            // The second was over before the window was.
            self.updates(updates.take());
        }
        while end <= last {
            self.meet_before(end);
            self.set_time(end);
            self.flush(end - self.window, end, stopping);
            self.updates(updates.take());
            // Of a long gap, the window that was open and the one before the next.
            end = if windows > MAX_STEPS && end < last { last } else { end.saturating_add(self.window) };
        }
        self.meet_before(until);
        self.set_time(until);
        self.updates(updates.take());
        self.crew.tick(until);
        self.meet(until);
    }

    fn updates(&mut self, updates: Option<(i64, &[SecondKeys])>) {
        let Some((second, keys)) = updates else { return };
        for keys in keys {
            Counters::update(&mut self.crew, keys, second);
        }
    }

    /// Announces something that happened, and lets it wait for the flush if anybody looks at it there.
    pub(super) fn news(&mut self, item: Item) {
        match item {
            Item::Alert(mut alert) => {
                self.crew.announce(GroupKind::Alert, &mut *alert);
                self.crew.keep(GroupKind::Alert, alert, &mut self.waiting.alerts);
            }
            Item::Resource(mut resource) => {
                self.crew.announce(GroupKind::Resource, &mut *resource);
                self.crew.keep(GroupKind::Resource, resource, &mut self.waiting.resources);
            }
            Item::Document(mut document) => {
                self.crew.announce(GroupKind::Fts, &mut *document);
                self.crew.keep(GroupKind::Fts, document, &mut self.waiting.documents);
            }
            Item::NewFlow(mut flow) => self.crew.announce_flow(Hook::New, &mut flow),
            Item::ActiveFlow(mut flow) => self.crew.announce_flow(Hook::Update, &mut flow),
            Item::Interim(flow) => self.crew.keep_flow(flow, &mut self.waiting.flows),
            Item::EndedFlow(mut flow) => {
                self.crew.announce_flow(Hook::Terminate, &mut flow);
                self.crew.keep_flow(flow, &mut self.waiting.flows);
            }
            Item::LateTag(tag) => self.crew.given.add_late(&tag.0, &tag.1),
            Item::Reported(mut flow) => {
                self.crew.announce_flow(Hook::New, &mut flow);
                self.crew.announce_flow(Hook::Terminate, &mut flow);
                self.crew.keep_flow(flow, &mut self.waiting.flows);
            }
            Item::Edge(time, edge) => self.crew.outlet.edge(time, *edge),
        }
    }

    /// Flushes a window. `end` is its end, `i64::MAX` for everything that is left.
    fn flush(&mut self, start: i64, end: i64, stopping: &AtomicBool) {
        self.settle(&Wait { limit: None, cancel: Some(stopping) });
        let crew = &mut self.crew;
        crew.outlet.begin_window(start);
        let engine = crew.engine.clone();
        crew.tell(&engine, Hook::BeginFlush, start);
        let (mates, moment, own) = (&mut self.mates, &mut self.moment, self.share.own);
        if mates.is_some() {
            let heard = self.rankings.heard();
            self.counters.track(&crew.context.groups, |group| heard.contains(&group));
        }
        let speaks = crew.speaks;
        self.counters.flush(crew, (start, end), own, |ranks| match ranks {
            [] if !speaks => Vec::new(),
            ranks => rank_among(mates, moment, end, ranks),
        });
        crew.flush_items(GroupKind::Alert, self.waiting.alerts.take(), start);
        crew.flush_items(GroupKind::Resource, self.waiting.resources.take(), start);
        crew.flush_items(GroupKind::Fts, self.waiting.documents.take(), start);
        let flows = crew.flush_flows(&mut self.waiting.flows, start);
        crew.flush_trackers(&mut self.trackers, &self.rankings, &flows, (start, end));
        crew.tell(&engine, Hook::EndFlush, start);
        crew.outlet.end_window(start);
        crew.context.last_window.set(Timestamp::new(start, 0));
        let now = crew.context.now.get();
        for monitor in &mut crew.monitors {
            monitor.instance.between_batches();
            monitor.instance.tell_silent(Some(now));
        }
        crew.after();
    }

    /// On files, waits for the jobs of all scripts, so that their results come at a place that does not depend on how
    /// fast the workers are.
    fn settle(&mut self, wait: &Wait<'_>) {
        if !self.in_order {
            return;
        }
        for member in 0..self.crew.monitors.len() {
            let instance = &mut self.crew.monitors[member].instance;
            if instance.outstanding_jobs() > 0 {
                instance.settle(wait);
                self.crew.after();
            }
        }
    }

    /// Hands over jobs, and delivers results that have come.
    pub fn take_completions(&mut self, stopping: &AtomicBool) {
        for member in 0..self.crew.monitors.len() {
            let instance = &mut self.crew.monitors[member].instance;
            if instance.has_async_work() {
                instance.take_completions(stopping);
                self.crew.after();
            }
        }
    }

    /// What scripts said to the frontend since the last time.
    pub fn take_outgoing(&mut self) -> Outgoing {
        let context = &self.crew.context;
        Outgoing { mail: context.mail.take(), commands: context.commands.take(), notes: context.notes.take() }
    }

    /// How each monitor does, those that were replaced included.
    #[must_use]
    pub fn reports(&self) -> Vec<InstanceReport> {
        let mut instances: Vec<InstanceReport> =
            self.crew.monitors.iter().map(|monitor| monitor.instance.outcome()).collect();
        instances.extend(self.crew.retired.iter().cloned());
        instances.sort_by_key(|report| report.script);
        instances
    }

    /// The input has ended: results of jobs, the last flush, unloading.
    #[must_use]
    pub fn finish(mut self, wait: &Wait<'_>) -> BackendEnd<O> {
        let outlast = AtomicBool::new(false);
        self.crew.monitors.iter().for_each(|monitor| monitor.instance.close_door());
        if let Some(now) = self.now {
            for member in 0..self.crew.monitors.len() {
                while self.crew.monitors[member].instance.outstanding_jobs() > 0 {
                    self.crew.monitors[member].instance.settle(wait);
                    self.crew.after();
                }
            }
            self.meet(LAST);
            for _ in 0..LAST_ROUNDS {
                for item in self.take_due() {
                    self.news(item);
                }
                self.meet(LAST);
            }
            let keys = self.take_own_keys();
            for keys in &keys {
                self.counters.announce(&mut self.crew, keys, now);
            }
            // The buckets that are open have no later ones to count in.
            self.meet(LAST);
            let counters = &mut self.counters;
            self.crew.context.shard.borrow_mut().finish(|snapshot| counters.wait([snapshot]));
            self.flush(now - now.rem_euclid(self.window), i64::MAX, &outlast);
            self.drain(wait);
            // While those that hear messages are still there.
            self.meet(LAST);
        }
        for monitor in &mut self.crew.monitors {
            monitor.instance.unload_at_end();
            monitor.instance.tell_silent(None);
        }
        self.crew.after();
        self.meet(LAST);
        self.take_last_edges();
        self.rank_trackers();
        if let Some(mates) = &mut self.mates {
            mates.leave();
        }
        self.crew.outlet.hand_over();
        self.end()
    }

    /// Waits until no job and nothing else is left; when the wait ends early, what is missing is cancelled.
    fn drain(&mut self, wait: &Wait<'_>) {
        for member in 0..self.crew.monitors.len() {
            self.crew.monitors[member].instance.settle_all(wait);
            self.crew.after();
        }
    }

    /// What it has done so far, with a copy of what it counted; `outlet` is a copy of its outlet.
    #[must_use]
    pub fn so_far<P>(&self, outlet: P) -> BackendEnd<P> {
        let (instances, problems, oddities) = (self.reports(), self.crew.problems.clone(), self.oddities());
        let shard = self.crew.context.shard.borrow().clone();
        BackendEnd { shard, outlet, instances, problems, oddities }
    }

    fn oddities(&self) -> Vec<(&'static str, u64)> {
        let waiting = &self.waiting;
        let over_limit = [&waiting.alerts.dropped, &waiting.resources.dropped, &waiting.documents.dropped]
            .into_iter()
            .chain([&waiting.flows.dropped, &self.crew.own_dropped, &self.crew.given.dropped])
            .sum();
        let mut oddities = self.crew.context.oddities.named();
        oddities.push(("backend_items_over_limit", over_limit));
        oddities.push(("flow_statements_late", self.crew.given.late()));
        oddities.push(("toppers_displaced", self.counters.displaced()));
        let lost = self.mates.as_ref().map(Mates::counts).unwrap_or_default();
        let updates = lost.updates + self.crew.context.shard.borrow().away_dropped();
        oddities.extend([
            ("backend_updates_dropped", updates),
            ("backend_items_dropped", lost.items),
            ("messages_dropped", lost.mail),
            ("backends_not_waited_for", lost.late),
        ]);
        oddities
    }

    fn end(mut self) -> BackendEnd<O> {
        let oddities = self.oddities();
        let problems = std::mem::take(&mut self.crew.problems);
        let instances = self.reports();
        let Crew { context, outlet, monitors, .. } = self.crew;
        drop(monitors);
        let empty = Shard::new(&context.groups, ShardConfig::default());
        let shard = context.shard.replace(empty);
        BackendEnd { shard, outlet, instances, problems, oddities }
    }
}

/// What the shard of an engine is asked to tell.
pub fn attend(shard: &mut Shard, wants: &BackendWants) {
    for (index, attention) in wants.groups.iter().enumerate().filter(|(_, a)| **a != Attention::default()) {
        shard.attend(crate::metrics::GroupIndex(index as u16), *attention);
    }
}

/// What the shard of an engine is asked to tell from now on.
pub fn attend_anew(shard: &mut Shard, wants: &BackendWants) {
    for (index, attention) in wants.groups.iter().enumerate() {
        shard.attend(crate::metrics::GroupIndex(index as u16), *attention);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{Backend, Counters, Waiting};
    use crate::api::{EngineContext, Peers, Rank, Record, ScriptId, Side, Stamp};
    use crate::backend::crew::{Crew, MAX_OWN};
    use crate::backend::mates::{Moment, Post};
    use crate::backend::rehearsal::Counting;
    use crate::backend::{Item, Rankings};
    use crate::guid::Guid;
    use crate::job::{Delivery, JobIds};
    use crate::metrics::{OwnPart, Owners, Registry, Session, Shard, ShardConfig};
    use crate::plugin::JobPlan;
    use crate::time::Timestamp;

    /// The first of two backends, without scripts; it has not met the other one.
    fn backend() -> Backend<Counting> {
        let groups = Arc::new(Registry::new());
        let share = OwnPart { owners: Owners::new(2), own: 0 };
        let shard = Shard::new(&groups, ShardConfig { part: Some(share), ..ShardConfig::default() });
        let context = EngineContext::new(1, shard, Arc::clone(&groups), Arc::default(), Peers::default());
        let mut crew = Crew::of_nobody(&Rc::new(context), Counting::default());
        crew.speaks = true;
        crew.part = Some(share);
        crew.passed_on = Some(Post::default());
        Backend {
            crew,
            counters: Counters::new(&groups, |_| false),
            trackers: Vec::new(),
            jobs: JobPlan { pools: Arc::new([]), ids: JobIds::new(1), delivery: Delivery::AsFinished },
            waiting: Waiting::default(),
            window: 60,
            now: None,
            in_order: false,
            own_keys: Vec::new(),
            rankings: Rankings::default(),
            share,
            mates: None,
            moment: Moment::START,
            due: Vec::new(),
        }
    }

    /// As if a script had made these in one callback.
    fn make(crew: &mut Crew<Counting>, records: Vec<Record>) {
        let time = Timestamp::new(100, 0);
        let stamp = Stamp { packet: 0, rank: Rank::default(), time, script: ScriptId(0), side: Side::Backend };
        crew.context.records.borrow_mut().extend(records.into_iter().map(|record| (stamp, record)));
        crew.after();
    }

    #[test]
    fn what_scripts_make_beyond_the_limits_of_a_second_is_counted_one_by_one() {
        let mut backend = backend();
        let flow_of = |own: usize| {
            let mut ids = (0..100).map(|n| format!("11A:0A.00.00.{n:02X}:p-1770_0A.00.00.FF:p-1388").into_bytes());
            ids.find(|id| backend.share.owners.place(id) == own).unwrap()
        };
        let (here, there, group) = (flow_of(0), flow_of(1), Guid::from_u128(7));
        let tag = |flow: &[u8]| Record::Tag { flow: flow.to_vec(), tag: b"t".to_vec() };
        let resource = || Record::Resource { guid: group, flow: Vec::new(), uri: b"u".to_vec(), label: Vec::new() };
        let document = || Record::Document { guid: group, flow: Vec::new(), text: b"nobody wants it".to_vec() };
        let crew = &mut backend.crew;
        // Tags for flows of the other backend; those for its own ones do not wait among them.
        crew.given_away = vec![(there.clone(), b"t".to_vec()); MAX_OWN - 1];
        make(crew, vec![tag(&there), tag(&here), tag(&there), tag(&there)]);
        assert_eq!((crew.given_away.len(), crew.own_dropped), (MAX_OWN, 2));
        let mut flow = Session { id: here.clone(), ..Session::default() };
        crew.given.attach(&mut flow);
        assert_eq!(flow.tags, b"t");
        // What is announced.
        crew.wants.resources = true;
        crew.own = vec![Item::LateTag(Box::new((here, b"t".to_vec()))); MAX_OWN - 2];
        make(crew, vec![resource(), document(), resource(), resource(), document(), resource(), resource()]);
        assert_eq!((crew.own.len(), crew.own_dropped), (MAX_OWN, 2 + 3));
        // Edges: eight of a flow and one more.
        crew.own.truncate(MAX_OWN - 3);
        let key = || b"k".to_vec();
        let of_flow = Record::FlowEdges { flow: there, guid: group, key: key() };
        let edge = Record::Edge { from_guid: group, from_key: key(), to_guid: group, to_key: key() };
        make(crew, vec![of_flow, edge]);
        assert_eq!((crew.own.len(), crew.own_dropped), (MAX_OWN, 5 + 6));
        assert_eq!(crew.own.iter().filter(|item| matches!(item, Item::Edge(..))).count(), 3);
        // Once all that has left there is room again.
        assert_eq!(backend.take_due().len(), MAX_OWN);
        make(&mut backend.crew, vec![resource()]);
        assert_eq!(backend.take_due().len(), 1);
        // With what found no room until the flush.
        backend.waiting.documents.dropped = 100;
        backend.crew.given.dropped = 1_000;
        let told: Vec<_> = backend.oddities().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(told, [("backend_items_over_limit", 1_111)]);
    }
}
