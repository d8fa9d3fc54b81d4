//! What leaves a packet thread for the backend, second by second.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::backend_out::BackendOut;
use super::backend_thread::{BackendPlan, backend_so_far};
use super::flow_news::FlowNews;
use super::found;
use super::outlet::Outlet;
use super::plan::Interim;
use crate::api::{EndedFlow, EngineContext, FlowCommand, Mail, Note, Rank, Record};
use crate::backend::{
    Backend, BackendEnd, BackendWants, Inbox, Item, NO_TIME, Parcel, ParcelSender, Patience, Phase, alert_of,
    into_item, is_wanted,
};
use crate::dissect::{FindingKind, Findings};
use crate::job::Wait;
use crate::key::FlowTuple;
use crate::metrics::{Edge, FlushSink, SecondKeys, Session, Shard, Snapshot, Stored};
use crate::plugin::{Edition, HostSettings, InstanceReport, Swap};
use crate::sink::{EventLines, FlowOf, StoreSender};
use crate::time::{Stopwatch, Timestamp};

/// Items of a second above which they leave before it is over.
const PART: usize = 16_384;
/// The same for bytes of lines of the event stream.
const PART_BYTES: usize = 1 << 20;
/// Items that may come together until then; more are left out and counted.
const MAX_ITEMS: usize = 100_000;
/// Where little happens the store has everything after this long.
const STORED_EVERY: Duration = Duration::from_secs(1);

/// The way to the backend, as it is planned.
pub enum BackendLink {
    /// It runs on the packet thread.
    Inline(Box<BackendPlan>),
    /// It runs on a thread of its own.
    Queue(Arc<BackendWants>, ParcelSender),
}

enum Link {
    Inline(Box<Backend<BackendOut>>),
    Queue(ParcelSender),
}

/// One engine's end.
pub struct BackendFeed {
    engine: usize,
    wants: Arc<BackendWants>,
    link: Link,
    /// Where flows, alerts, resources and documents go that the store alone takes: not over two queues, and without a
    /// piece of memory for each that one thread allocates and another frees.
    store: Option<StoreSender>,
    /// Since when that one collects.
    collecting: Stopwatch,
    /// The second that is open; `None` before the first.
    second: Option<i64>,
    items: Vec<Item>,
    /// Lines of the event stream that the backend gives their place.
    lines: EventLines,
    snapshots: Vec<Snapshot>,
    flows: Option<FlowNews>,
    dropped: u64,
    /// The second the backend was told of while there was no packet.
    told: i64,
}

impl BackendFeed {
    /// Makes the end of an engine; a backend of its own loads its plugins here.
    #[must_use]
    pub fn new(link: BackendLink, engine: usize, context: &EngineContext) -> Self {
        let (wants, link) = match link {
            BackendLink::Inline(plan) => {
                let backend = Backend::new(plan.parts());
                (Arc::new(backend.wants().clone()), Link::Inline(Box::new(backend)))
            }
            BackendLink::Queue(wants, sender) => (wants, Link::Queue(sender.of(engine))),
        };
        context.has_backend.set(wants.messages);
        crate::backend::attend(&mut context.shard.borrow_mut(), &wants);
        let flows = FlowNews::new(&wants);
        Self {
            engine,
            wants,
            link,
            store: None,
            collecting: Stopwatch::start(),
            second: None,
            items: Vec::new(),
            lines: EventLines::default(),
            snapshots: Vec::new(),
            flows,
            dropped: 0,
            told: NO_TIME,
        }
    }

    /// Lets what no script of the backend looks at go to the store at once, until there is one that might.
    #[must_use]
    pub fn past(mut self, store: Option<StoreSender>) -> Self {
        self.store = store;
        self
    }

    /// Whether what no script of the backend looks at goes to the store at once.
    #[must_use]
    pub const fn is_past(&self) -> bool {
        self.store.is_some()
    }

    /// What the backend wants.
    #[must_use]
    pub fn wants(&self) -> &BackendWants {
        &self.wants
    }

    /// The backend has other scripts now, and wants something else.
    pub fn take_wants(&mut self, wants: Arc<BackendWants>, context: &EngineContext) {
        context.has_backend.set(wants.messages);
        crate::backend::attend_anew(&mut context.shard.borrow_mut(), &wants);
        match &mut self.flows {
            Some(flows) => flows.widen(&wants),
            none => *none = FlowNews::new(&wants),
        }
        self.store = None;
        self.wants = wants;
    }

    /// Changes a script of a backend on this thread; `None` if it has one of its own.
    pub fn reload(&mut self, edition: &Edition, settings: &HostSettings, context: &EngineContext) -> Option<Swap> {
        let Link::Inline(backend) = &mut self.link else { return None };
        let swap = backend.reload(edition, settings);
        let wants = Arc::new(backend.wants().clone());
        self.take_wants(wants, context);
        Some(swap)
    }

    /// Items that found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped + self.flows.as_ref().map_or(0, FlowNews::dropped)
    }

    /// Looks at a batch that has just been tracked.
    pub fn see_batch(&mut self, context: &EngineContext) {
        if let Some(flows) = &mut self.flows {
            flows.see(context);
        }
    }

    /// Takes in a record that everybody else has seen. False if the backend does not want it, and it is as it was.
    // By reference: a record that has just been written is slow to move.
    pub fn record(&mut self, time: Timestamp, record: &mut Record) -> bool {
        if let Some(store) = &mut self.store
            && store_at_once(store, time, record)
        {
            return true;
        }
        if !is_wanted(record, &self.wants) {
            return false;
        }
        if self.items.len() >= MAX_ITEMS {
            self.dropped += 1;
            return true;
        }
        match into_item(time, record.take(), &self.wants) {
            Ok(item) => {
                self.items.push(item);
                true
            }
            Err(back) => {
                *record = back;
                false
            }
        }
    }

    /// Whether edges are told apart in the backend.
    #[must_use]
    pub const fn takes_edges(&self) -> bool {
        // Without scripts there all of them are made on the one thread that there is then; and before the first second there
        // is nothing that could bring them.
        self.store.is_none() && self.second.is_some()
    }

    /// Takes in an edge that is new on this thread.
    pub fn edge(&mut self, time: Timestamp, edge: Edge) {
        if self.items.len() >= MAX_ITEMS {
            self.dropped += 1;
        } else {
            self.items.push(Item::Edge(time, Box::new(edge)));
        }
    }

    /// Takes in a flow that ended, where nobody but the store reads it.
    #[inline(always)]
    pub fn flow_end(&mut self, session: &Session, flow: &FlowTuple) {
        if let Some(store) = &mut self.store {
            store.session(session, FlowOf::Tuple(flow));
        }
    }

    /// Takes in lines that wait for their place in the event stream, if there is something yet that could bring them.
    pub fn take_lines(&mut self, outlet: &mut Outlet) {
        if self.second.is_some() {
            self.lines.append(outlet.take_lines());
        }
    }

    /// Takes in what was found in a flow and becomes a row of the store.
    pub fn found(&mut self, time: Timestamp, finding: (&Findings, &FindingKind), flow: Option<&FlowTuple>) {
        if let Some(store) = &mut self.store {
            found::store(store, time, finding, flow);
        } else if let Some((_, mut record)) = found::record_of(finding.0, finding.1, flow) {
            // Scripts came into the backend since.
            self.record(time, &mut record);
        }
    }

    /// Whether somebody reads which keys were touched in a second.
    #[must_use]
    pub fn reads_seconds(&self) -> bool {
        self.wants.groups.iter().any(|group| group.new_keys || group.updates)
    }

    /// Takes in a closed bucket.
    pub fn bucket(&mut self, snapshot: Snapshot) {
        let wanted = self.wants.groups.get(usize::from(snapshot.group().0)).is_some_and(|group| group.buckets);
        if wanted {
            self.snapshots.push(snapshot);
        }
    }

    /// Whether the open second is over at a time.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.second.is_none_or(|second| now.secs() > second)
    }

    /// The time at which the open second is over.
    #[must_use]
    pub fn boundary(&self) -> Timestamp {
        self.second.map_or(Timestamp::from_nanos(i64::MAX), |second| Timestamp::new(second.saturating_add(1), 0))
    }

    /// Ends the open second because time is `now`. The keys of the second and the buckets that close leave the shard.
    pub fn close(&mut self, context: &EngineContext, now: Timestamp, stopping: &AtomicBool) {
        let Some(second) = self.second.replace(now.secs()) else {
            context.shard.borrow_mut().advance(now, |_| {});
            return;
        };
        let keys = context.shard.borrow_mut().take_second();
        {
            let mut shard = context.shard.borrow_mut();
            self.advance(&mut shard, now);
        }
        self.send(context, (second, now.secs()), keys, Phase::Running, stopping);
    }

    /// Whether so much has come together that a part of the open second should leave.
    #[must_use]
    pub fn is_crowded(&self, context: &EngineContext) -> bool {
        let appeared = self.flows.as_ref().map_or(0, |flows| flows.appeared(context));
        self.items.len() + appeared >= PART || self.lines.len() >= PART_BYTES
    }

    /// Sends what has come together of the open second, which goes on.
    pub fn send_part(&mut self, context: &EngineContext, stopping: &AtomicBool) {
        let Some(second) = self.second else { return };
        let mut items = Vec::new();
        if let Some(flows) = &mut self.flows {
            flows.take_new(context, second, &mut items);
        }
        items.append(&mut self.items);
        let mail = context.backend_mail.take();
        let lines = std::mem::take(&mut self.lines);
        let parcel = Parcel { engine: self.engine, second, now: second, mail, items, lines, ..Parcel::default() };
        self.dispatch(parcel, stopping);
    }

    /// Moves the shard on.
    pub fn advance(&mut self, shard: &mut Shard, now: Timestamp) {
        shard.advance(now, |snapshot| self.bucket(snapshot));
    }

    fn send(
        &mut self,
        context: &EngineContext,
        (second, now): (i64, i64),
        keys: Vec<SecondKeys>,
        phase: Phase,
        stopping: &AtomicBool,
    ) {
        let mut items = Vec::new();
        if let Some(flows) = &mut self.flows {
            flows.take(context, second, &mut items);
        }
        items.append(&mut self.items);
        let others = items.len();
        if let Some(flows) = &mut self.flows {
            flows.interim(context, second, now, &mut items);
        }
        if let Some(store) = &mut self.store {
            for item in items.drain(others..) {
                if let Item::Interim(flow) = item {
                    store.session(&flow, FlowOf::Id(&flow.id));
                }
            }
            // What is older than a bucket has to be there before the bucket, which says up to when everything is.
            if !self.snapshots.is_empty() || self.collecting.elapsed() >= STORED_EVERY {
                store.flush();
                self.collecting = Stopwatch::start();
            }
        }
        let snapshots = std::mem::take(&mut self.snapshots);
        let mail = context.backend_mail.take();
        let lines = std::mem::take(&mut self.lines);
        let parcel = Parcel { engine: self.engine, second, now, phase, mail, items, keys, snapshots, lines };
        self.dispatch(parcel, stopping);
    }

    fn dispatch(&mut self, parcel: Parcel, stopping: &AtomicBool) {
        match &mut self.link {
            Link::Queue(sender) => sender.send(parcel),
            Link::Inline(backend) => {
                let mut inbox = Inbox::new(1);
                inbox.push(Parcel { engine: 0, ..parcel });
                while let Some(ready) = inbox.next(Patience::None) {
                    backend.second(ready, stopping);
                }
            }
        }
    }

    /// Events written so far must stand before those of the backend.
    pub const fn is_inline(&self) -> bool {
        matches!(self.link, Link::Inline(_))
    }

    /// Takes in what the backend said to the frontend, in front of a packet of the batch.
    pub fn hear(&mut self, context: &EngineContext, packet: u32) {
        let Link::Inline(backend) = &mut self.link else { return };
        let outgoing = backend.take_outgoing();
        let rank = Rank::default();
        for mail in outgoing.mail {
            context.post(Mail { packet, ..mail });
        }
        let flows = context.flows.borrow();
        // The backend itself has seen to the record of a flow that has ended.
        let goes_on = |c: &FlowCommand| flows.as_ref().is_none_or(|flows| flows.end_of(&c.flow).is_none());
        let commands = outgoing.commands.into_iter().filter(goes_on);
        context.commands.borrow_mut().extend(commands.map(|c| FlowCommand { packet, rank, ..c }));
        context.notes.borrow_mut().extend(outgoing.notes.into_iter().map(|n| Note { packet, rank, depth: 1, ..n }));
    }

    /// How the scripts of a backend on this thread do.
    #[must_use]
    pub fn reports(&self) -> Vec<InstanceReport> {
        match &self.link {
            Link::Inline(backend) => backend.reports(),
            Link::Queue(_) => Vec::new(),
        }
    }

    /// What a backend on this thread has done so far.
    #[must_use]
    pub fn so_far(&mut self, id: u32, watch: Stopwatch) -> Option<Interim> {
        match &mut self.link {
            Link::Inline(backend) => Some(backend_so_far(backend, id, watch)),
            Link::Queue(_) => None,
        }
    }

    /// Says that no packet has come up to a time, so that others are not kept waiting. Once there was one, its seconds tell.
    pub fn pass(&mut self, time: Timestamp) {
        if let (None, Link::Queue(sender)) = (self.second, &mut self.link)
            && time.secs() > self.told
        {
            self.told = time.secs();
            let (engine, now) = (self.engine, self.told);
            sender.send(Parcel { engine, second: NO_TIME, now, phase: Phase::Running, ..Parcel::default() });
        }
    }

    /// Says that the input is over; results of jobs may still come.
    pub fn packets_over(&mut self) {
        if let Link::Queue(sender) = &mut self.link {
            let second = self.second.unwrap_or(NO_TIME);
            let (engine, phase) = (self.engine, Phase::PacketsOver);
            sender.send(Parcel { engine, second, now: second, phase, ..Parcel::default() });
        }
    }

    /// The end: everything that is left, the buckets of the shard included.
    pub fn finish(mut self, context: &EngineContext, stopping: &AtomicBool, wait: &Wait<'_>) -> Option<Ended> {
        let keys = context.shard.borrow_mut().take_second();
        context.shard.borrow_mut().finish(|snapshot| self.bucket(snapshot));
        if let Some(second) = self.second {
            self.send(context, (second, second), keys, Phase::Over, stopping);
        } else if let Link::Queue(sender) = &mut self.link {
            let (engine, phase) = (self.engine, Phase::Over);
            sender.send(Parcel { engine, second: NO_TIME, now: NO_TIME, phase, ..Parcel::default() });
        }
        match self.link {
            Link::Inline(backend) => Some(backend.finish(wait)),
            Link::Queue(_) => None,
        }
    }
}

/// What a backend leaves behind.
pub type Ended = BackendEnd<BackendOut>;

/// Stores what a script of the backend could only see pass by; false if it is of another kind.
fn store_at_once(store: &mut StoreSender, time: Timestamp, record: &Record) -> bool {
    match record {
        Record::Flow(EndedFlow { session, tuple, .. }) => {
            store.session(session, tuple.as_ref().map_or(FlowOf::Id(&session.id), FlowOf::Tuple));
        }
        Record::Resource { guid, flow, uri, label } => store.log_record((time, *guid), FlowOf::Id(flow), uri, label),
        Record::Document { guid, flow, text } => store.full_text((time, *guid), FlowOf::Id(flow), text),
        Record::Alert(alert) => store.alert(Box::new(alert_of(time, alert)), Stored::Yes),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use crossbeam_channel::bounded;

    use super::{BackendFeed, BackendLink, MAX_ITEMS};
    use crate::api::{EngineContext, Peers, Record};
    use crate::backend::{BackendWants, ParcelSender, WhenSlow};
    use crate::guid::Guid;
    use crate::metrics::{Edge, Registry, Shard, ShardConfig};
    use crate::time::Timestamp;

    #[test]
    fn what_finds_no_room_until_a_part_of_the_second_leaves_is_counted() {
        let groups = Arc::new(Registry::new());
        let shard = Shard::new(&groups, ShardConfig::default());
        let context = EngineContext::new(0, shard, groups, Arc::default(), Peers::default());
        let (queue, parcels) = bounded(8);
        let sender = ParcelSender::new(vec![queue], WhenSlow::Wait, Arc::default());
        let wants = BackendWants { resources: true, ..BackendWants::default() };
        let mut feed = BackendFeed::new(BackendLink::Queue(Arc::new(wants), sender), 0, &context);
        let (stopping, guid) = (AtomicBool::new(false), Guid::from_u128(7));
        let at = |secs| Timestamp::new(secs, 0);
        feed.close(&context, at(100), &stopping);
        let resource = || Record::Resource { guid, flow: Vec::new(), uri: Vec::new(), label: Vec::new() };
        let edge = || Edge { from_guid: guid, from_key: Vec::new(), to_guid: guid, to_key: Vec::new() };
        for _ in 0..MAX_ITEMS + 3 {
            assert!(feed.record(at(100), &mut resource()));
        }
        assert_eq!(feed.dropped(), 3);
        for _ in 0..4 {
            feed.edge(at(100), edge());
        }
        assert_eq!(feed.dropped(), 3 + 4);
        // What the backend does not want is somebody else's, whether there is room or not.
        let mut document = Record::Document { guid, flow: Vec::new(), text: b"text".to_vec() };
        assert!(!feed.record(at(100), &mut document));
        assert!(matches!(document, Record::Document { text, .. } if text == b"text"));
        assert!(feed.is_crowded(&context));
        feed.send_part(&context, &stopping);
        assert_eq!(parcels.recv().map(|parcel| (parcel.second, parcel.items.len())), Ok((100, MAX_ITEMS)));
        assert!(feed.record(at(100), &mut resource()));
        feed.edge(at(100), edge());
        feed.close(&context, at(101), &stopping);
        assert_eq!(parcels.recv().map(|parcel| (parcel.second, parcel.items.len())), Ok((100, 2)));
        assert_eq!(feed.dropped(), 7);
    }
}
