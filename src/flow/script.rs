//! What scripts say about flows: tags, counters, meters, and records of flows that are in no packets.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::departed::Departed;
use super::event::FlowHandle;
use super::limits::Timeouts;
use super::record::Flow;
use super::script_records::{ScriptRecord, ScriptRecords};
use crate::metrics::{CountedDirection, GroupIndex, add_tag};
use crate::time::Timestamp;

/// Counters of one flow.
const MAX_COUNTERS: usize = 64;
/// Meters that scripts may add to a record.
const SCRIPT_METERS: std::ops::Range<u32> = 8..32;
/// Flow ids longer than this are not of a flow.
const MAX_ID: usize = 256;
/// How long statements wait for their flow.
const WAIT: Duration = Duration::from_secs(60);
/// Flows that statements wait for.
const MAX_WAITING: usize = 1 << 16;
/// Bytes of everything here.
const MAX_BYTES: usize = 64 << 20;
/// What an entry of a table costs besides its text.
const ENTRY_BYTES: usize = 128;

/// A counter that every packet of a flow adds to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowCounter {
    /// Counter group.
    pub group: GroupIndex,
    /// Key.
    pub key: Box<[u8]>,
    /// Meter.
    pub meter: u32,
    /// Which packets count.
    pub direction: CountedDirection,
}

impl FlowCounter {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.key.len()
    }
}

/// What became of a counter for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The flow has it from now on.
    Added(FlowHandle),
    /// The flow had it already.
    Known,
    /// There is no such flow; if it appears in time, it gets the counter.
    Waiting,
    /// At a limit; counted.
    Full,
}

/// What became of what a script said of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It holds, or waits for the flow.
    Taken,
    /// The flow has ended, and its record was made without it.
    Late,
}

/// What few flows have.
#[derive(Debug, Default)]
struct Annex {
    tags: Vec<u8>,
    counters: Vec<FlowCounter>,
    meters: Vec<(u32, f64)>,
}

impl Annex {
    fn cost(&self) -> usize {
        ENTRY_BYTES
            + self.tags.len()
            + self.counters.iter().map(FlowCounter::cost).sum::<usize>()
            + self.meters.len() * size_of::<(u32, f64)>()
    }
}

#[derive(Debug)]
struct Waiting {
    annex: Annex,
    serial: u64,
}

/// Everything scripts said.
#[derive(Debug, Default)]
pub(super) struct Statements {
    // One bit for each slot, so that flows without an annex cost no look-up.
    has_annex: Vec<u64>,
    annexes: HashMap<u32, Annex, RandomState>,
    waiting: HashMap<Box<[u8]>, Waiting, RandomState>,
    // In the order of arrival; an entry whose serial is not that of its id is over.
    queue: VecDeque<(Timestamp, u64, Box<[u8]>)>,
    pub(super) records: ScriptRecords,
    // One bit for each slot: the record of its flow was made.
    reported: Vec<u64>,
    pub(super) departed: Departed,
    timeouts: Timeouts,
    bytes: usize,
    serial: u64,
    pub(super) refused: u64,
    pub(super) expired: u64,
    pub(super) late: u64,
}

impl Statements {
    /// Nothing said yet.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, ..Self::default() }
    }

    /// True if statements wait for flows.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[inline]
    fn annex(&self, slot: u32) -> Option<&Annex> {
        let word = self.has_annex.get(slot as usize / 64)?;
        if word >> (slot % 64) & 1 == 0 {
            return None;
        }
        self.annexes.get(&slot)
    }

    #[inline]
    pub(super) fn tags(&self, slot: u32) -> &[u8] {
        self.annex(slot).map_or(&[], |annex| &annex.tags)
    }

    #[inline]
    pub(super) fn counters(&self, slot: u32) -> &[FlowCounter] {
        self.annex(slot).map_or(&[], |annex| &annex.counters)
    }

    #[inline]
    pub(super) fn meters(&self, slot: u32) -> &[(u32, f64)] {
        self.annex(slot).map_or(&[], |annex| &annex.meters)
    }

    /// The record of a flow that ended is made: what is said of it from here on comes too late.
    pub(super) fn report(&mut self, slot: u32, flow: &Flow, now: Timestamp) {
        if !self.departed.has_begun() {
            return;
        }
        self.departed.note(flow.tuple, flow.last, now);
        let word = slot as usize / 64;
        if self.reported.len() <= word {
            self.reported.resize((word + 1).next_power_of_two(), 0);
        }
        self.reported[word] |= 1 << (slot % 64);
    }

    /// Whether the record of a slot's flow was made.
    pub(super) fn is_reported(&self, slot: u32) -> bool {
        self.reported.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// The flow of a slot is gone.
    #[inline]
    pub(super) fn drop_slot(&mut self, slot: u32) {
        if let Some(word) = self.reported.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
        let Some(word) = self.has_annex.get_mut(slot as usize / 64) else { return };
        if *word >> (slot % 64) & 1 == 0 {
            return;
        }
        *word &= !(1 << (slot % 64));
        self.drop_annex(slot);
    }

    #[cold]
    fn drop_annex(&mut self, slot: u32) {
        if let Some(annex) = self.annexes.remove(&slot) {
            self.bytes -= annex.cost();
        }
    }

    /// A flow appeared: it gets what waited for it.
    pub(super) fn appear(&mut self, slot: u32, id: &[u8]) {
        if let Some(waiting) = self.waiting.remove(id) {
            self.give(slot, waiting.annex);
        }
    }

    fn give(&mut self, slot: u32, annex: Annex) {
        let word = slot as usize / 64;
        if self.has_annex.len() <= word {
            self.has_annex.resize(word + 1, 0);
        }
        self.has_annex[word] |= 1 << (slot % 64);
        self.annexes.insert(slot, annex);
    }

    /// Drops what waited too long.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((since, serial, id)) = self.queue.front() {
            let is_live = self.waiting.get(id).is_some_and(|waiting| waiting.serial == *serial);
            if is_live && now.since(*since) < WAIT {
                break;
            }
            if is_live && let Some(waiting) = self.waiting.remove(id) {
                self.bytes -= waiting.annex.cost();
                self.expired += 1;
            }
            self.queue.pop_front();
        }
    }

    /// Changes the annex of a slot, made if need be. `None` at a limit.
    fn change<R>(&mut self, slot: u32, change: impl FnOnce(&mut Annex) -> R) -> Option<R> {
        if self.annex(slot).is_none() {
            if self.bytes > MAX_BYTES {
                self.refused += 1;
                return None;
            }
            self.give(slot, Annex::default());
            self.bytes += ENTRY_BYTES;
        }
        let annex = self.annexes.get_mut(&slot)?;
        let before = annex.cost();
        let result = change(annex);
        self.bytes = self.bytes - before + annex.cost();
        Some(result)
    }

    /// Changes what waits for a flow, made if need be. `None` at a limit.
    fn change_waiting<R>(&mut self, id: &[u8], now: Timestamp, change: impl FnOnce(&mut Annex) -> R) -> Option<R> {
        self.expire(now);
        if !self.waiting.contains_key(id) {
            if self.waiting.len() >= MAX_WAITING || self.bytes > MAX_BYTES || id.len() > MAX_ID {
                self.refused += 1;
                return None;
            }
            // Entries of flows that appeared must not pile up behind one that did not.
            if self.queue.len() > 64 + 2 * self.waiting.len() {
                let waiting = &self.waiting;
                self.queue.retain(|(_, serial, id)| waiting.get(id).is_some_and(|entry| entry.serial == *serial));
            }
            self.serial += 1;
            self.queue.push_back((now, self.serial, id.into()));
            self.waiting.insert(id.into(), Waiting { annex: Annex::default(), serial: self.serial });
            self.bytes += ENTRY_BYTES;
        }
        let waiting = self.waiting.get_mut(id)?;
        let before = waiting.annex.cost();
        let result = change(&mut waiting.annex);
        self.bytes = self.bytes - before + waiting.annex.cost();
        Some(result)
    }

    /// The record of an id, opened if need be. `None` if the id is none.
    pub(super) fn record(&mut self, id: &[u8], now: Timestamp) -> Option<&mut ScriptRecord> {
        let place = match self.records.place(id) {
            Some(place) => place,
            None if id.len() > MAX_ID => {
                self.refused += 1;
                return None;
            }
            None => {
                self.expire(now);
                let waiting = self.waiting.remove(id).map(|waiting| waiting.annex);
                self.bytes -= waiting.as_ref().map_or(0, Annex::cost);
                self.records.open(id, waiting.unwrap_or_default().tags, now, &self.timeouts)
            }
        };
        self.records.touch(place, now)
    }

    pub(super) fn update_record(&mut self, id: &[u8], meter: u32, value: f64, now: Timestamp) {
        let Some(record) = self.record(id, now) else { return };
        if !apply(&mut record.flow, meter, value) {
            add_meter(&mut record.meters, meter, value);
        }
    }

    pub(super) fn set_record_duration(&mut self, id: &[u8], seconds: f64, now: Timestamp) {
        if let Some(record) = self.record(id, now) {
            record.set_duration(duration(seconds));
        }
    }

    /// Ends the records nobody has spoken of for long enough.
    pub(super) fn expire_records(&mut self, now: Timestamp) {
        self.records.expire(now, &self.timeouts);
    }

    pub(super) fn update_flow(&mut self, slot: u32, flow: &mut Flow, meter: u32, value: f64) {
        if !apply(flow, meter, value) && SCRIPT_METERS.contains(&meter) {
            self.change(slot, |annex| add_meter(&mut annex.meters, meter, value));
        }
    }

    pub(super) fn tag_flow(&mut self, slot: u32, tag: &[u8]) {
        self.change(slot, |annex| add_tag(&mut annex.tags, tag));
    }

    /// A tag for a flow that is in no packets.
    pub(super) fn tag_id(&mut self, id: &[u8], tag: &[u8], now: Timestamp) {
        match self.records.find(id) {
            Some(record) => add_tag(&mut record.tags, tag),
            None => drop(self.change_waiting(id, now, |annex| add_tag(&mut annex.tags, tag))),
        }
    }

    pub(super) fn add_counter(&mut self, handle: FlowHandle, counter: FlowCounter) -> Attached {
        let attached = self.change(handle.slot, |annex| attach(&mut annex.counters, counter));
        match attached {
            Some(Attached::Waiting) => Attached::Added(handle),
            Some(other) => self.count_full(other),
            None => Attached::Full,
        }
    }

    pub(super) fn add_waiting_counter(&mut self, id: &[u8], counter: FlowCounter, now: Timestamp) -> Attached {
        let attached = self.change_waiting(id, now, |annex| attach(&mut annex.counters, counter));
        attached.map_or(Attached::Full, |attached| self.count_full(attached))
    }

    fn count_full(&mut self, attached: Attached) -> Attached {
        self.refused += u64::from(attached == Attached::Full);
        attached
    }

    pub(super) fn reset_counters(&mut self, slot: u32, group: GroupIndex) {
        if self.annex(slot).is_some() {
            self.change(slot, |annex| annex.counters.retain(|counter| counter.group != group));
        }
    }

    pub(super) fn reset_waiting_counters(&mut self, id: &[u8], group: GroupIndex) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            let before = waiting.annex.cost();
            waiting.annex.counters.retain(|counter| counter.group != group);
            self.bytes = self.bytes - before + waiting.annex.cost();
        }
    }
}

/// Adds a counter that is not there yet; a new one is said to wait.
fn attach(counters: &mut Vec<FlowCounter>, counter: FlowCounter) -> Attached {
    if counters.contains(&counter) {
        Attached::Known
    } else if counters.len() >= MAX_COUNTERS {
        Attached::Full
    } else {
        counters.push(counter);
        Attached::Waiting
    }
}

/// Adds to one of the numbers of every flow. False for other meters.
fn apply(flow: &mut Flow, meter: u32, value: f64) -> bool {
    // Casts saturate and make zero of what is no number.
    let (more, less) = (value.max(0.0) as u64, (-value).max(0.0) as u64);
    let add = |number: &mut u64| *number = number.saturating_add(more).saturating_sub(less);
    match meter {
        0 | 1 => add(&mut flow.bytes[meter as usize]),
        2 | 3 => add(&mut flow.packets[meter as usize - 2]),
        4 | 5 => add(&mut flow.payload[meter as usize - 4]),
        6 => flow.setup_rtt = value as u32,
        7 => {
            let mut number = u64::from(flow.retransmissions);
            add(&mut number);
            flow.retransmissions = number.min(u64::from(u32::MAX)) as u32;
        }
        _ => return false,
    }
    true
}

fn add_meter(meters: &mut Vec<(u32, f64)>, meter: u32, value: f64) {
    if !SCRIPT_METERS.contains(&meter) {
        return;
    }
    match meters.iter_mut().find(|(known, _)| *known == meter) {
        Some((_, sum)) => *sum += value,
        None => meters.push((meter, value)),
    }
}

pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// `time` moved back; saturates.
pub(super) fn before(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_nanos(time.as_nanos().saturating_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}
