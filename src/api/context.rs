//! What the host functions of a VM work on: the engine's state and the VM's own.
//!
//! One [`EngineContext`] per engine thread, shared by its VMs; one [`VmContext`] per VM. Nothing here crosses threads.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use mlua::Lua;

use super::key_cells::KeyCells;
use super::loan::Loans;
use super::peers::{Letter, Mail, Peers};

use super::constants::LogLevel;
use super::engine::flow_id_of;
use super::events::{EventRing, Occasion, voice};
use super::flow_command::{FlowCommand, FlowWish, MAX_ECHOES, MAX_NOTE_DEPTH, MAX_NOTES, Note, NoteText};
use super::record::{FlowName, Rank, Record, ScriptId, Side, Stamp};
use super::said::Said;
use super::write_lock::WriteLock;
use crate::decode;
use crate::flow::{FlowHandle, Flows, Fragments};
use crate::gears::Marks;
use crate::guid::Guid;
use crate::job::Keep;
use crate::key::{End, FlowTuple, Host};
use crate::lua::Guard;
use crate::metrics::{self, Generation, MAX_KEY_LEN, Shard};
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
/// Bytes of messages that one batch may lead to, and that may wait for each side, besides small ones.
const MAX_MESSAGES_BYTES: usize = 64 << 20;
/// These are bounded by their number.
const SMALL_MESSAGE: usize = 1 << 10;

/// What a script says about storing one packet, from the strictest to the most liberal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreHint {
    /// Not at all.
    Nothing,
    /// Up to and including the TCP or UDP header.
    Headers,
    /// Whole.
    Whole,
}

impl StoreHint {
    /// What a script's number says.
    #[must_use]
    pub fn of_number(number: f64) -> Option<Self> {
        [(0.0, Self::Nothing), (1.0, Self::Whole), (2.0, Self::Headers)]
            .into_iter()
            .find_map(|(known, hint)| (known == number).then_some(hint))
    }
}

/// Hints kept for one batch; scripts that give more hints are heard for the first ones.
const MAX_HINTS: usize = 4_096;

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
    /// What a script said beyond the texts that may come together.
    pub records_dropped: Cell<u64>,
    /// Messages to a side that has no scripts.
    pub messages_unread: Cell<u64>,
    /// Items for the backend that found no room.
    pub backend_items_dropped: Cell<u64>,
    /// Attributes and records of scripts dropped because too many waited or led to one another.
    pub notes_dropped: Cell<u64>,
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
            ("records_dropped", self.records_dropped.get()),
            ("messages_unread", self.messages_unread.get()),
            ("flow_notes_dropped", self.notes_dropped.get()),
            ("backend_items_dropped", self.backend_items_dropped.get()),
        ]
    }
}

/// Adds one to a counter.
pub fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// Bytes of the messages in one place, besides small ones.
#[derive(Debug, Default)]
struct Load(Cell<usize>);

impl Load {
    /// Whether another message fits, which is there then.
    fn takes(&self, text: &[u8]) -> bool {
        let bytes = if text.len() <= SMALL_MESSAGE { 0 } else { text.len() };
        let sum = self.0.get().saturating_add(bytes);
        let takes = bytes == 0 || sum <= MAX_MESSAGES_BYTES;
        if takes {
            self.0.set(sum);
        }
        takes
    }

    /// The same of a queue, which is emptied as a whole.
    fn lets_wait(&self, queue: &[Mail], text: &[u8]) -> bool {
        if queue.is_empty() {
            self.0.set(0);
        }
        queue.len() < MAX_MAIL && text.len() <= MAX_MESSAGE_BYTES && self.takes(text)
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// VMs of the frontend.
    Frontend,
    /// VMs of the backend.
    Backend,
    /// All VMs of the plugins of a class.
    Class(Guid),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posted {
    /// There is no room for it.
    Refused,
    /// Nobody is there who would read it.
    Unread,
    /// It waits to be delivered.
    Waits,
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
    /// The fragments in the batch.
    pub fragments: RefCell<Fragments>,
    /// The flows, if anybody wants them.
    pub flows: RefCell<Option<Flows>>,
    /// Slots through which scripts see what happens to them.
    pub events: RefCell<EventRing>,
    /// What scripts asked of flows since the last time it was carried out.
    pub commands: RefCell<Vec<FlowCommand>>,
    /// What scripts said about flows and others have not heard yet.
    pub notes: RefCell<Vec<Note>>,
    /// Depth of the announcement being made; 0 for none.
    pub note_depth: Cell<usize>,
    /// Announcements made for the current event so far.
    pub echo: Cell<u32>,
    /// What was said in answer to announcements made for it.
    pub echoed: Cell<usize>,
    /// What jobs scheduled by the running callbacks keep until they have ended: the file these were made for.
    pub keep: RefCell<Option<Keep>>,
    /// Stream time: the latest packet time, never going back.
    pub now: Cell<Timestamp>,
    /// What scripts produced since the last hand-over.
    pub records: RefCell<Vec<(Stamp, Record)>>,
    /// Messages to frontend VMs since the last delivery.
    pub mail: RefCell<Vec<Mail>>,
    /// Messages to backend VMs that wait to be taken.
    pub backend_mail: RefCell<Vec<Mail>>,
    mail_load: Load,
    backend_load: Load,
    /// Messages among the records.
    recorded_load: Load,
    /// How often records were handed on.
    handed_on: Cell<u64>,
    /// Whether this is the state of a backend.
    pub is_backend: Cell<bool>,
    /// Which of the backends this is.
    pub backend_number: Cell<u32>,
    /// Whether there is a backend that takes them.
    pub has_backend: Cell<bool>,
    /// On a backend: start of the last window that was flushed; before the first one, the time of the first update.
    pub last_window: Cell<Timestamp>,
    /// The way to the VMs of other engines.
    pub peers: Peers,
    /// Whether somebody reads how each job ended; nothing is recorded of jobs that went well otherwise.
    pub job_events: Cell<bool>,
    /// Whether edges between vertices are kept.
    pub edges: Cell<bool>,
    /// What scripts said about storing single packets of the batch: index and hint.
    pub store_hints: RefCell<Vec<(u32, StoreHint)>>,
    /// Counted oddities.
    pub oddities: Oddities,
    /// On a backend: place of what is recorded about a row of keys among all that is recorded about it.
    pub row_stage: Cell<u32>,
    /// Packet of the batch in front of which messages are being delivered; `u32::MAX` between two batches.
    pub before: Cell<u32>,
    /// Set when a message was posted: the loops of VMs that receive messages stop before the next packet.
    pub stop: Box<AtomicI32>,
}

impl EngineContext {
    /// Passes what is asked of a flow of another engine's packets on to that one; gives it back where it is to be carried out
    /// here: the flow is here, or nobody else could take it.
    fn pass_on(&self, command: FlowCommand) -> Option<FlowCommand> {
        // A script that wants no more payload speaks of its own VM.
        if !self.peers.is_sharing() || matches!(command.wish, FlowWish::Quiet(_)) {
            return Some(command);
        }
        let Some(tuple) = FlowTuple::from_id(&command.flow) else { return Some(command) };
        let is_here = |flows: &Option<Flows>| flows.as_ref().is_some_and(|flows| flows.find(&tuple).is_some());
        match self.peers.owner(&tuple) {
            Some(owner) if !self.flows.try_borrow().is_ok_and(|flows| is_here(&flows)) => {
                match self.peers.hand_over(owner, Letter::Wish(command)) {
                    Some(Letter::Wish(command)) => Some(command),
                    _ => None,
                }
            }
            _ => Some(command),
        }
    }

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
            flows: RefCell::default(),
            events: RefCell::default(),
            commands: RefCell::default(),
            notes: RefCell::default(),
            note_depth: Cell::new(0),
            echo: Cell::new(0),
            echoed: Cell::new(0),
            keep: RefCell::default(),
            now: Cell::new(Timestamp::EPOCH),
            records: RefCell::default(),
            mail: RefCell::default(),
            backend_mail: RefCell::default(),
            mail_load: Load::default(),
            backend_load: Load::default(),
            recorded_load: Load::default(),
            handed_on: Cell::new(0),
            is_backend: Cell::new(false),
            backend_number: Cell::new(0),
            has_backend: Cell::new(false),
            last_window: Cell::new(Timestamp::EPOCH),
            peers,
            job_events: Cell::new(true),
            edges: Cell::new(true),
            store_hints: RefCell::default(),
            oddities: Oddities::default(),
            row_stage: Cell::new(0),
            before: Cell::new(u32::MAX),
            stop: Box::default(),
        }
    }

    /// The flow of a packet of the batch.
    #[must_use]
    pub fn flow_tuple(&self, index: usize) -> Option<FlowTuple> {
        if let Ok(fragments) = self.fragments.try_borrow()
            && let Some(tuple) = fragments.flow_of(index)
        {
            return Some(*tuple);
        }
        let batch = self.batch.try_borrow().ok()?;
        Some(decode::flow_tuple(&batch, batch.packets().get(index)?).0)
    }

    /// Address and port of one end of the flow of a packet of the batch.
    #[inline]
    #[must_use]
    pub fn flow_end(&self, index: usize, end: End) -> Option<(Host, u16)> {
        if let Ok(fragments) = self.fragments.try_borrow()
            && let Some(tuple) = fragments.flow_of(index)
        {
            return Some((tuple.host(end), tuple.port(end)));
        }
        let batch = self.batch.try_borrow().ok()?;
        Some(decode::flow_end(&batch, batch.packets().get(index)?, end))
    }

    /// The same for the most frequent packet, with the address as its bytes. `None` for everything else, whatever it is.
    #[inline]
    #[must_use]
    pub fn frequent_end(&self, index: usize, end: End) -> Option<([u8; 4], u16)> {
        let is_whole = self.fragments.try_borrow().is_ok_and(|fragments| fragments.is_empty());
        let batch = self.batch.try_borrow().ok()?;
        if is_whole { decode::frequent_end(&batch, batch.packets().get(index)?, end) } else { None }
    }

    /// The end of a flow that is the client, by what it carries if nothing else tells, if the flow is known.
    #[must_use]
    pub fn client_of(&self, flow: &[u8]) -> Option<End> {
        let flows = self.flows.try_borrow().ok()?;
        flows.as_ref()?.asker(flow)
    }

    /// Begins lending the packets of the batch, and what happens to their flows.
    pub fn begin_loans(&self) {
        let (mut loans, mut events) = (self.loans.borrow_mut(), self.events.borrow_mut());
        loans.begin(self.batch.borrow().len(), events.next_seq());
        events.begin(loans.next_seq());
    }

    /// Notes what a script says about storing a packet; the most liberal hint counts in the end.
    pub fn hint(&self, packet: usize, hint: StoreHint) {
        let mut hints = self.store_hints.borrow_mut();
        if hints.len() < MAX_HINTS {
            hints.push((packet as u32, hint));
        }
    }

    /// Adds a message for the backend VMs; counts it when it cannot be, or when there are none.
    pub fn post_to_backend(&self, mail: Mail) -> Posted {
        if !self.has_backend.get() {
            bump(&self.oddities.messages_unread);
            return Posted::Unread;
        }
        let mut queue = self.backend_mail.borrow_mut();
        if !self.backend_load.lets_wait(&queue, &mail.text) {
            bump(&self.oddities.messages_dropped);
            return Posted::Refused;
        }
        queue.push(mail);
        Posted::Waits
    }

    /// Records were handed on: others may take their room.
    pub fn handed_on(&self) {
        self.recorded_load.0.set(0);
        self.handed_on.set(self.handed_on.get().wrapping_add(1));
    }

    /// Adds a message for the frontend VMs; counts it when it cannot be.
    pub fn post(&self, mail: Mail) -> Posted {
        let mut queue = self.mail.borrow_mut();
        if !self.mail_load.lets_wait(&queue, &mail.text) {
            bump(&self.oddities.messages_dropped);
            return Posted::Refused;
        }
        queue.push(mail);
        self.stop.store(1, Ordering::Relaxed);
        Posted::Waits
    }
}

/// Progress of a callback that a backend makes for the first of some rows of keys; those of the others follow. Far from that
/// of any other callback.
pub const ROW_PROGRESS: i32 = 0x4000_0000;

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
    pub order: Cell<u32>,
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
    /// Votes and wishes about flows, by slot: bits of [`voice`]. The driver writes to them as well.
    pub voices: RefCell<Vec<AtomicU8>>,
    /// Which step of which pipeline is running.
    pub gears: Marks,
    /// What tells compiled code whether the places it adds to are still the right ones.
    pub generation: Generation,
    /// Hosts and ports that it counted lately.
    pub key_cells: KeyCells,
    /// Held while a function runs that may not write.
    pub writing: WriteLock,
    /// What it has said since records were handed on.
    said: Said,
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
            gears: Marks::default(),
            generation,
            key_cells: KeyCells::default(),
            writing: WriteLock::default(),
            said: Said::default(),
            counted: Cell::new(0),
            script,
            script_name,
            order: Cell::new(order),
            contextid,
            instance_id,
            side: Side::Frontend,
            guard,
            own_time: Cell::new(None),
            voices: RefCell::default(),
            warned: RefCell::default(),
            nil_seen: RefCell::default(),
        }
    }

    /// The same on another side.
    #[must_use]
    pub fn on_side(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// Nothing is written until [`WriteLock::release`]: what compiled code adds to by address it asks for again.
    pub fn stop_writing(&self) {
        self.settle();
        self.writing.hold();
        self.generation.move_on();
    }

    /// A call into the VM has ended: others may read the shard now.
    #[inline]
    pub fn end_call(&self) {
        self.settle();
        self.key_cells.end_call();
        if self.has_said_too_much() {
            self.tell_overrun(None);
        }
    }

    /// Counts what waits to be counted.
    fn settle(&self) {
        if self.key_cells.have_waiting()
            && let Ok(mut shard) = self.engine.shard.try_borrow_mut()
        {
            self.key_cells.settle(&mut shard);
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
        let packet = self.engine.loans.try_borrow().ok()?.index_of(seq);
        packet.or_else(|| self.packet_of_event(seq))
    }

    #[cold]
    fn packet_of_event(&self, seq: i32) -> Option<usize> {
        let events = self.engine.events.try_borrow().ok()?;
        events.occasion(seq).filter(|at| at.packet != u32::MAX).map(|at| at.packet as usize)
    }

    /// What the running callback was called for, if it is about a flow.
    #[must_use]
    pub fn occasion(&self) -> Option<Occasion> {
        let seq = self.guard.progress.load(Ordering::Relaxed);
        self.engine.events.try_borrow().ok()?.occasion(seq).copied()
    }

    /// Stream time: that of the current packet, else the engine's.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        if let Some(own) = self.own_time.get() {
            return own;
        }
        if let Some(at) = self.occasion() {
            return at.time;
        }
        // While a message is delivered, the latest packet is the one before the next.
        let before = self.engine.before.get();
        let latest = || (before != u32::MAX).then(|| (before as usize).checked_sub(1)).flatten();
        self.current_packet()
            .or_else(latest)
            .and_then(|index| self.engine.batch.try_borrow().ok()?.packets().get(index).map(|packet| packet.ts))
            .unwrap_or_else(|| self.engine.now.get())
    }

    /// Where in the run the VM is.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let (script, side) = (self.script, self.side);
        if let Some(at) = self.occasion() {
            let rank = if at.rank.echo == 0 { Rank { vm: self.order.get(), ..at.rank } } else { at.rank };
            return Stamp { packet: at.packet, rank, time: self.time(), script, side };
        }
        // Without a packet of its own it stands in front of the next packet's, in the order in which it happened.
        let (packet, rank) = self
            .current_packet()
            .map_or((self.engine.before.get(), Rank::default()), |index| (index as u32, Rank::of_vm(self.order.get())));
        Stamp { packet, rank, time: self.time(), script, side }
    }

    /// Whether a call that leads to so many records, with texts of so many bytes, may write them. It is asked once; what the call
    /// says is then written by [`VmContext::record_as`], [`VmContext::command`] and [`VmContext::note`], which do not ask.
    pub fn may_say(&self, records: usize, bytes: usize) -> bool {
        !self.writing.refuses() && self.has_room(records, bytes)
    }

    fn has_room(&self, records: usize, bytes: usize) -> bool {
        let has_room = self.said.has_room(self.engine.handed_on.get(), records, bytes);
        if !has_room {
            let dropped = &self.engine.oddities.records_dropped;
            dropped.set(dropped.get() + records as u64);
        }
        has_room
    }

    /// Records something this VM produced, unless it has said too much already.
    pub fn record(&self, record: Record) {
        if !self.writing.refuses_record(&record) && self.has_room(1, record.bytes()) {
            self.record_as(self.side, record);
        }
    }

    /// Whether it has said too much, which nobody was told of so far.
    #[inline]
    #[must_use]
    pub fn has_said_too_much(&self) -> bool {
        self.said.is_overrun()
    }

    /// Tells of that, and in which line of a script it was.
    #[cold]
    pub fn tell_overrun(&self, lua: Option<&Lua>) {
        self.warn_once(&self.said.overrun(lua));
    }

    /// Records something that was produced for this VM elsewhere.
    pub fn record_as(&self, side: Side, record: Record) {
        if self.writing.refuses_record(&record) {
            return;
        }
        let mut stamp = Stamp { side, ..self.stamp() };
        if self.side == Side::Backend
            && let Some(row) =
                self.guard.progress.load(Ordering::Relaxed).checked_sub(ROW_PROGRESS).filter(|row| *row >= 0)
        {
            stamp.packet = row as u32;
            stamp.rank = Rank { stage: self.engine.row_stage.get(), ..Rank::of_vm(self.order.get()) };
        }
        self.engine.records.borrow_mut().push((stamp, record));
    }

    /// Posts a message, unless nothing may be written; counts it when it cannot be.
    pub fn post(&self, to: Addressee, id: &[u8], text: &[u8]) {
        let (engine, id) = (&self.engine, &id[..id.len().min(MAX_KEY_LEN)]);
        if self.writing.refuses() {
            return;
        }
        if !engine.recorded_load.takes(text) {
            return bump(&engine.oddities.messages_dropped);
        }
        let packet = self.current_packet().map_or(u32::MAX, |index| index as u32);
        let (side, class) = match to {
            Addressee::Frontend => (Side::Frontend, None),
            Addressee::Backend => (Side::Backend, None),
            Addressee::Class(class) => (self.side, Some(class)),
        };
        let mail = Mail { packet, id: id.into(), class, text: text.into() };
        let posted = match to {
            Addressee::Frontend => engine.post(mail),
            Addressee::Backend => engine.post_to_backend(mail),
            Addressee::Class(_) if engine.has_backend.get() => {
                engine.post_to_backend(mail.clone()).max(engine.post(mail))
            }
            Addressee::Class(_) => engine.post(mail),
        };
        // The bytes of what waits are bounded where it waits.
        let bytes = match posted {
            Posted::Refused => return,
            Posted::Unread => text.len().min(SMALL_MESSAGE),
            Posted::Waits => 0,
        };
        if self.has_room(1, bytes) {
            self.record_as(self.side, Record::Message { to: side.name(), id: id.to_vec(), text: text.to_vec() });
        }
    }

    /// Asks something of a flow. Whoever asks has asked [`VmContext::may_say`].
    pub fn command(&self, flow: Vec<u8>, wish: FlowWish) {
        if self.writing.refuses() {
            return;
        }
        let Stamp { packet, rank, time, .. } = self.stamp();
        let command = FlowCommand { packet, rank, time, flow, wish };
        if let Some(command) = self.engine.pass_on(command) {
            self.engine.commands.borrow_mut().push(command);
        }
    }

    /// Says something about a flow that other scripts hear after the running callback. Whoever says it has asked
    /// [`VmContext::may_say`].
    pub fn note(&self, flow: Vec<u8>, text: NoteText) {
        if self.writing.refuses() || matches!(text, NoteText::Attribute(..)) && self.ends(&flow) {
            return;
        }
        let Stamp { packet, rank, time, .. } = self.stamp();
        let depth = self.engine.note_depth.get() + 1;
        if depth > MAX_NOTE_DEPTH {
            bump(&self.engine.oddities.notes_dropped);
            return self
                .warn_once("add_flow_attribute(): announcements lead to each other 8 deep; the rest is dropped");
        }
        if depth > 1 && self.engine.echoed.replace(self.engine.echoed.get() + 1) >= MAX_ECHOES {
            bump(&self.engine.oddities.notes_dropped);
            return self.warn_once(
                "add_flow_attribute(): one event has led to more than 1000 announcements; the rest is dropped",
            );
        }
        let note = Note { packet, rank, time, depth, flow, text };
        if let NoteText::Attribute(..) = &note.text
            && let Some(owner) = FlowTuple::from_id(&note.flow).and_then(|flow| self.engine.peers.owner(&flow))
        {
            if self.engine.peers.hand_over(owner, Letter::Note(note)).is_some() {
                bump(&self.engine.oddities.notes_dropped);
            }
            return;
        }
        let mut notes = self.engine.notes.borrow_mut();
        if notes.len() >= MAX_NOTES {
            return bump(&self.engine.oddities.notes_dropped);
        }
        notes.push(note);
    }

    /// Whether the running callback is the last one about the flow that an id names.
    fn ends(&self, id: &[u8]) -> bool {
        let is_last = |at: &Occasion| at.rank.echo == 0 && at.rank.stage >= Rank::END - 1;
        let ended = self.occasion().filter(is_last).and_then(|at| at.flow);
        ended.is_some() && self.flow_named(id) == ended
    }

    /// The flow that an id names: that of the running callback, if it has this id, else one of the table.
    #[must_use]
    pub fn flow_named(&self, id: &[u8]) -> Option<FlowHandle> {
        self.flow_of(&FlowTuple::from_id(id)?)
    }

    fn flow_of(&self, tuple: &FlowTuple) -> Option<FlowHandle> {
        let flows = self.engine.flows.try_borrow().ok()?;
        let flows = flows.as_ref()?;
        let own = self.occasion().and_then(|at| at.flow);
        own.filter(|handle| flows.flow(*handle).is_some_and(|flow| flow.tuple == *tuple)).or_else(|| flows.find(tuple))
    }

    /// The script wants no more payload of a flow, given by its id.
    pub fn disable_reassembly(&self, flow: &[u8]) {
        self.want_no_more(self.flow_named(flow), FlowName::Id(flow_id_of(flow)));
    }

    /// The same for a flow given by its ends.
    pub fn disable_reassembly_of(&self, tuple: &FlowTuple) {
        self.want_no_more(self.flow_of(tuple), FlowName::Tuple(*tuple));
    }

    fn want_no_more(&self, flow: Option<FlowHandle>, name: FlowName) {
        if let Some(handle) = flow {
            self.quiet(handle);
        }
        let record = Record::DisableReassembly { flow: name };
        if self.may_say(1, record.bytes()) {
            if let Some(handle) = flow {
                self.command(Vec::new(), FlowWish::Quiet(handle));
            }
            self.record_as(self.side, record);
        }
    }

    /// The VM gets no more payload of a flow.
    pub fn quiet(&self, flow: FlowHandle) {
        if let Some(bits) = self.voices.borrow().get(flow.slot as usize) {
            voice::add(bits, voice::QUIET);
        }
    }

    /// Records a log line of the host about this VM.
    pub fn log(&self, level: LogLevel, text: impl Into<Vec<u8>>) {
        self.record_as(self.side, Record::Log { level, text: text.into() });
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
