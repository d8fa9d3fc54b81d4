//! What the host functions of a VM work on: the engine's state and the VM's own.
//!
//! One [`EngineContext`] per engine thread, shared by its VMs; one [`VmContext`] per VM. Nothing here crosses threads.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::loan::Loans;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::constants::LogLevel;
use super::record::{Record, ScriptId, Side, Stamp};
use crate::decode;
use crate::key::FlowTuple;
use crate::lua::Guard;
use crate::metrics::{self, Generation, Shard};
use crate::packet::Batch;
use crate::time::Timestamp;

/// Log lines that are written once per script and reason are remembered up to this many.
const MAX_WARNED: usize = 10_000;
/// Messages waiting for delivery on one engine; more are dropped and counted.
const MAX_MAIL: usize = 100_000;
/// Counter updates of a VM that each get a cell, so that the first traces find what they will meet.
const CELLS_AT_FIRST: u32 = 512;
/// Of the later ones one in so many: a key that comes again soon has one, a key that comes once hardly ever.
const CELL_EVERY: u32 = 8;
/// Longest message that is delivered.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A message on its way to the VMs of a side.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Packet of the batch that led to it.
    pub packet: u32,
    /// Message id as written; empty for a broadcast.
    pub id: Arc<[u8]>,
    /// Class id of the addressed plugins, for the older form.
    pub class: Option<crate::guid::Guid>,
    /// Text.
    pub text: Arc<[u8]>,
}

/// The way to the VMs of other engines.
#[derive(Debug, Default)]
pub struct Peers {
    others: RefCell<Vec<Sender<Mail>>>,
    /// Engines that are not sent to any more.
    left: Cell<u64>,
    inbox: Option<Receiver<Mail>>,
}

/// Messages from other engines that may wait.
const PEER_QUEUE: usize = 10_000;

impl Peers {
    /// One for each of `count` engines, all connected.
    #[must_use]
    pub fn connect(count: usize) -> Vec<Self> {
        if count < 2 {
            return (0..count).map(|_| Self::default()).collect();
        }
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(PEER_QUEUE)).unzip();
        let others =
            |own: usize| senders.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, s)| s.clone()).collect();
        receivers
            .into_iter()
            .enumerate()
            .map(|(own, inbox)| Self { others: RefCell::new(others(own)), left: Cell::new(0), inbox: Some(inbox) })
            .collect()
    }

    /// Passes a message on; returns how many engines could not take it.
    #[must_use]
    pub fn send(&self, mail: &Mail) -> u64 {
        let full = self.others.borrow().iter().filter(|other| other.try_send(mail.clone()).is_err()).count() as u64;
        full + self.left.get()
    }

    /// Sends nothing any more: tells the others that this engine has ended.
    pub fn leave(&self) {
        self.left.set(self.others.borrow_mut().drain(..).count() as u64);
    }

    /// What other engines send until each of them has left; waits for them.
    pub fn rest(&self) -> impl Iterator<Item = Mail> + '_ {
        self.inbox.iter().flat_map(Receiver::iter)
    }

    /// What other engines sent.
    pub fn inbox(&self) -> impl Iterator<Item = Mail> + '_ {
        self.inbox.iter().flat_map(Receiver::try_iter)
    }
}

/// Things that went wrong without being an error, by name.
#[derive(Debug, Default)]
pub struct Oddities {
    /// Calls that did nothing because a required argument was nil.
    pub nil_arguments: Cell<u64>,
    /// Uses of an object outside its callback.
    pub stale_uses: Cell<u64>,
    /// Updates to a group or meter that does not exist, or with a key that is not allowed.
    pub updates_refused: Cell<u64>,
    /// Calls that need a packet when there is none.
    pub no_packet: Cell<u64>,
    /// Messages dropped because the queue was full or the text too long.
    pub messages_dropped: Cell<u64>,
    /// Messages to a side that has no scripts.
    pub messages_unread: Cell<u64>,
}

impl Oddities {
    /// Each counter with the name it has in outputs.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("nil_arguments", self.nil_arguments.get()),
            ("stale_uses", self.stale_uses.get()),
            ("updates_refused", self.updates_refused.get()),
            ("no_current_packet", self.no_packet.get()),
            ("messages_dropped", self.messages_dropped.get()),
            ("messages_unread", self.messages_unread.get()),
        ]
    }
}

/// Adds one to a counter.
pub fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// State of one engine that scripts can reach.
#[derive(Debug)]
pub struct EngineContext {
    /// Number of the engine, from 0.
    pub id: u32,
    /// Counters.
    pub shard: RefCell<Shard>,
    /// Definitions of groups.
    pub groups: Arc<metrics::Registry>,
    /// Definitions of protocols.
    pub protocols: Arc<decode::Registry>,
    /// The packets being handled.
    pub batch: RefCell<Batch>,
    /// Slots through which scripts see them.
    pub loans: RefCell<Loans>,
    /// Flows of fragments in the batch whose own headers do not tell: by index of the packet.
    pub fragments: RefCell<HashMap<usize, FlowTuple>>,
    /// Stream time: the latest packet time, never going back.
    pub now: Cell<Timestamp>,
    /// What scripts produced since the last hand-over.
    pub records: RefCell<Vec<(Stamp, Record)>>,
    /// Messages to frontend VMs since the last delivery.
    pub mail: RefCell<Vec<Mail>>,
    /// The way to the VMs of other engines.
    pub peers: Peers,
    /// Whether somebody reads how each job ended; nothing is recorded of jobs that went well otherwise.
    pub job_events: Cell<bool>,
    /// Counted oddities.
    pub oddities: Oddities,
    /// Packet of the batch in front of which messages are being delivered; `u32::MAX` between two batches.
    pub before: Cell<u32>,
    /// Set when a message was posted: the loops of VMs that receive messages stop before the next packet.
    pub stop: Box<AtomicI32>,
}

impl EngineContext {
    /// An engine's state before its first packet.
    #[must_use]
    pub fn new(
        id: u32,
        shard: Shard,
        groups: Arc<metrics::Registry>,
        protocols: Arc<decode::Registry>,
        peers: Peers,
    ) -> Self {
        Self {
            id,
            shard: RefCell::new(shard),
            groups,
            protocols,
            batch: RefCell::new(Batch::new()),
            loans: RefCell::new(Loans::new()),
            fragments: RefCell::default(),
            now: Cell::new(Timestamp::EPOCH),
            records: RefCell::default(),
            mail: RefCell::default(),
            peers,
            job_events: Cell::new(true),
            oddities: Oddities::default(),
            before: Cell::new(u32::MAX),
            stop: Box::default(),
        }
    }

    /// The flow of a packet of the batch.
    // Inline, so that a caller who wants one end of it does not wait for the copy of the whole.
    #[inline(always)]
    #[must_use]
    pub fn flow_tuple(&self, index: usize) -> Option<FlowTuple> {
        if let Ok(fragments) = self.fragments.try_borrow()
            && let Some(tuple) = fragments.get(&index)
        {
            return Some(*tuple);
        }
        let batch = self.batch.try_borrow().ok()?;
        Some(decode::flow_tuple(&batch, batch.packets().get(index)?).0)
    }

    /// Adds a message for the frontend VMs; counts it when it cannot be.
    pub fn post(&self, mail: Mail) {
        let mut queue = self.mail.borrow_mut();
        if queue.len() >= MAX_MAIL || mail.text.len() > MAX_MESSAGE_BYTES {
            bump(&self.oddities.messages_dropped);
            return;
        }
        queue.push(mail);
        self.stop.store(1, Ordering::Relaxed);
    }
}

/// State of one VM that its host functions reach.
#[derive(Debug)]
pub struct VmContext {
    /// The engine the VM belongs to.
    pub engine: Rc<EngineContext>,
    /// The script file.
    pub script: ScriptId,
    /// File name of the script.
    pub script_name: String,
    /// Rank among the VMs of the engine: the order in which they handle a packet.
    pub order: u32,
    /// Number of the VM, unique in the process.
    pub contextid: u32,
    /// `engine:instanceid()`.
    pub instance_id: String,
    /// Which part of the process it belongs to.
    pub side: Side,
    /// Shared with the watchdog; its progress word is the sequence number of the packet being handled.
    pub guard: Arc<Guard>,
    /// Stream time of this VM when it has one of its own (input filters).
    pub own_time: Cell<Option<Timestamp>>,
    /// What tells compiled code whether the places it adds to are still the right ones.
    pub generation: Generation,
    /// Counter updates that came as calls.
    counted: Cell<u32>,
    /// Reasons already warned of.
    warned: RefCell<HashSet<String>>,
    /// Nil arguments by method, for the DEBUG line once a minute.
    nil_seen: RefCell<HashMap<String, i64>>,
}

impl VmContext {
    /// A context for a VM of an engine.
    #[must_use]
    pub fn new(
        engine: Rc<EngineContext>,
        script: ScriptId,
        script_name: String,
        order: u32,
        contextid: u32,
        instance_id: String,
        guard: Arc<Guard>,
    ) -> Self {
        let generation = engine.shard.borrow().generation().clone();
        Self {
            engine,
            generation,
            counted: Cell::new(0),
            script,
            script_name,
            order,
            contextid,
            instance_id,
            side: Side::Frontend,
            guard,
            own_time: Cell::new(None),
            warned: RefCell::default(),
            nil_seen: RefCell::default(),
        }
    }

    /// Whether the key that was counted just now should have a cell.
    #[inline]
    #[must_use]
    pub fn suggest_cell(&self) -> bool {
        let counted = self.counted.get();
        self.counted.set(counted.wrapping_add(1));
        counted < CELLS_AT_FIRST || counted.is_multiple_of(CELL_EVERY)
    }

    /// Index in the batch of the packet whose processing led to the running callback.
    #[inline]
    #[must_use]
    pub fn current_packet(&self) -> Option<usize> {
        let seq = self.guard.progress.load(Ordering::Relaxed);
        self.engine.loans.try_borrow().ok()?.index_of(seq)
    }

    /// Stream time: that of the current packet, else the engine's.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        if let Some(own) = self.own_time.get() {
            return own;
        }
        // While a message is delivered, the latest packet is the one before the next.
        let before = self.engine.before.get();
        let latest = || (before != u32::MAX).then(|| (before as usize).checked_sub(1)).flatten();
        self.current_packet()
            .or_else(latest)
            .and_then(|index| self.engine.batch.try_borrow().ok()?.packets().get(index).map(|packet| packet.ts))
            .unwrap_or_else(|| self.engine.now.get())
    }

    /// Records something this VM produced.
    pub fn record(&self, record: Record) {
        self.record_as(self.side, record);
    }

    /// Records something that was produced for this VM elsewhere.
    pub fn record_as(&self, side: Side, record: Record) {
        // Without a packet of its own it stands in front of the next packet's, in the order in which it happened.
        let (packet, order) =
            self.current_packet().map_or((self.engine.before.get(), 0), |index| (index as u32, self.order));
        let stamp = Stamp { packet, order, time: self.time(), script: self.script, side };
        self.engine.records.borrow_mut().push((stamp, record));
    }

    /// Records a log line.
    pub fn log(&self, level: LogLevel, text: impl Into<Vec<u8>>) {
        self.record(Record::Log { level, text: text.into() });
    }

    /// Records a warning once per reason.
    pub fn warn_once(&self, reason: &str) {
        let mut warned = self.warned.borrow_mut();
        if warned.len() < MAX_WARNED && warned.insert(reason.to_owned()) {
            drop(warned);
            self.log(LogLevel::Warn, reason);
        }
    }

    /// Counts a call that did nothing because a required argument was nil; says so at most once a minute and method.
    pub fn nil_argument(&self, method: &str) {
        bump(&self.engine.oddities.nil_arguments);
        let now = self.time().secs();
        let mut seen = self.nil_seen.borrow_mut();
        if seen.get(method).is_none_or(|last| now - last >= 60) {
            seen.insert(method.to_owned(), now);
            drop(seen);
            self.log(LogLevel::Debug, format!("{method}(): a required argument is nil, nothing done"));
        }
    }
}
