//! Flows that scripts speak of and that are in no packets.
//!
//! The first word about one opens its record. It ends when a script says so, after the silence that ends flows of its
//! protocol, or with the input; where there are too many, the one whose end is due first makes room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::event::{EndReason, state};
use super::flows::{TCP, UDP};
use super::limits::Timeouts;
use super::record::Flow;
use super::script;
use crate::key::{FlowText, FlowTuple};
use crate::time::Timestamp;

/// Records at a time, and records that ended and wait to be fetched.
const MAX_RECORDS: usize = 1 << 16;

/// A flow that scripts speak of and that is in no packets.
#[derive(Clone, Debug)]
pub struct ScriptRecord {
    /// The id as the scripts wrote it.
    pub id: Box<[u8]>,
    /// Numbers, times, state. The tuple is [`FlowTuple::NO_IP`] if the id is not of type A or B.
    pub flow: Flow,
    /// Meters 8 to 31, in the order of their first update.
    pub meters: Vec<(u32, f64)>,
    /// Tags joined with `|`.
    pub tags: Vec<u8>,
    /// True once it was said that the record is there.
    pub is_told: bool,
    // Length of the time window, if a script set it.
    duration: Option<Duration>,
    opened: Timestamp,
    // The second it was last spoken of in.
    active: i64,
    serial: u64,
}

impl ScriptRecord {
    /// Sets the length of the time window, counted back from the last word.
    pub(super) const fn set_duration(&mut self, duration: Duration) {
        self.duration = Some(duration);
    }

    /// Numbers, times and state as others are told.
    #[must_use]
    pub fn shown(&self) -> Flow {
        let first = self.duration.map_or(self.flow.first, |duration| script::before(self.flow.last, duration));
        Flow { first, ..self.flow }
    }
}

/// A record that ended.
#[derive(Clone, Debug)]
pub struct EndedRecord {
    /// As it was then.
    pub record: ScriptRecord,
    /// Why it ended.
    pub reason: EndReason,
    /// When: that of the silence is the second it was noticed in.
    pub time: Timestamp,
}

/// Which record, and which of those that had its place.
type Place = (u32, u64);

/// All records of one engine.
#[derive(Debug, Default)]
pub(super) struct ScriptRecords {
    places: Vec<Option<ScriptRecord>>,
    free: Vec<u32>,
    by_id: HashMap<Box<[u8]>, u32, RandomState>,
    // When to look at each record again, at the earliest.
    dues: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    // When to look at each record again because of its age.
    ages: BinaryHeap<Reverse<(i64, u64, u32)>>,
    ended: Vec<EndedRecord>,
    // Opened, and spoken of, with the second; those that are gone among them.
    fresh: Vec<(i64, Place)>,
    active: Vec<(i64, Place)>,
    serial: u64,
    pub(super) opened: u64,
    pub(super) lost: u64,
}

impl ScriptRecords {
    /// The record of an id.
    pub(super) fn find(&mut self, id: &[u8]) -> Option<&mut ScriptRecord> {
        let place = *self.by_id.get(id)?;
        self.places[place as usize].as_mut()
    }

    /// Whether an id has a record.
    pub(super) fn has(&self, id: &[u8]) -> bool {
        self.by_id.contains_key(id)
    }

    /// Where the record of an id is.
    pub(super) fn place(&self, id: &[u8]) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// A word about the flow that has the record in a place.
    pub(super) fn touch(&mut self, place: u32, now: Timestamp) -> Option<&mut ScriptRecord> {
        let record = self.places[place as usize].as_mut()?;
        record.flow.last = record.flow.last.max(now);
        if record.active < now.secs() {
            record.active = now.secs();
            if self.active.len() < MAX_RECORDS {
                self.active.push((now.secs(), (place, record.serial)));
            }
        }
        Some(record)
    }

    /// Opens the record of an id that has none; returns its place.
    pub(super) fn open(&mut self, id: &[u8], tags: Vec<u8>, now: Timestamp, timeouts: &Timeouts) -> u32 {
        while self.by_id.len() >= MAX_RECORDS
            && let Some(place) = self.next_due(Timestamp::LAST, timeouts)
        {
            self.end(place, EndReason::Evicted, now);
        }
        self.opened += 1;
        self.serial += 1;
        let tuple = FlowTuple::from_id(id).unwrap_or(FlowTuple::NO_IP);
        let record = ScriptRecord {
            id: id.into(),
            flow: Flow::new(tuple, now),
            meters: Vec::new(),
            tags,
            is_told: false,
            duration: None,
            opened: now,
            active: i64::MIN,
            serial: self.serial,
        };
        let due = now.plus(silence(&record, timeouts));
        let place = self.free.pop().unwrap_or(self.places.len() as u32);
        if place as usize == self.places.len() {
            self.places.push(None);
        }
        self.places[place as usize] = Some(record);
        self.by_id.insert(id.into(), place);
        // Those of records that scripts ended must not pile up.
        let room = 64 + 2 * self.by_id.len();
        let places = &self.places;
        let lives = |place: u32, serial| places[place as usize].as_ref().is_some_and(|r| r.serial == serial);
        if self.dues.len() > room {
            self.dues.retain(|&Reverse((_, serial, place))| lives(place, serial));
        }
        if self.ages.len() > room {
            self.ages.retain(|&Reverse((_, serial, place))| lives(place, serial));
        }
        self.dues.push(Reverse((due, self.serial, place)));
        self.ages.push(Reverse((now.secs(), self.serial, place)));
        if self.fresh.len() < MAX_RECORDS {
            self.fresh.push((now.secs(), (place, self.serial)));
        }
        place
    }

    fn get(&self, (place, serial): Place) -> Option<&ScriptRecord> {
        self.places[place as usize].as_ref().filter(|record| record.serial == serial)
    }

    fn end(&mut self, place: Place, reason: EndReason, time: Timestamp) {
        if self.get(place).is_none() {
            return;
        }
        let Some(mut record) = self.places[place.0 as usize].take() else { return };
        self.by_id.remove(&record.id);
        self.free.push(place.0);
        record.flow.state |= match reason {
            EndReason::Script | EndReason::Fin => state::TERMINATED,
            EndReason::Rst => state::SEEN_RST,
            EndReason::Idle => state::TIMEDOUT,
            EndReason::Evicted => state::ERROR,
            EndReason::Age | EndReason::End => 0,
        };
        record.flow = record.shown();
        if self.ended.len() < MAX_RECORDS {
            let time = time.max(record.flow.last);
            self.ended.push(EndedRecord { record, reason, time });
        } else {
            self.lost += 1;
        }
    }

    /// A script ends a record; an id without one is ignored.
    pub(super) fn terminate(&mut self, id: &[u8], now: Timestamp) {
        let Some(place) = self.place(id) else { return };
        if let Some(serial) = self.places[place as usize].as_ref().map(|record| record.serial) {
            self.end((place, serial), EndReason::Script, now);
        }
    }

    /// Ends what nobody had spoken of for long enough when the second began: a batch may end anywhere within one, and what
    /// records there are must not depend on that.
    pub(super) fn expire(&mut self, now: Timestamp, timeouts: &Timeouts) {
        let now = Timestamp::new(now.secs(), 0);
        while let Some(place) = self.next_due(now, timeouts) {
            self.end(place, EndReason::Idle, now);
        }
    }

    /// The record whose end is due first, if it is by some time. What was spoken of since it was entered comes later.
    fn next_due(&mut self, until: Timestamp, timeouts: &Timeouts) -> Option<Place> {
        while let Some(&Reverse((entered, serial, place))) = self.dues.peek()
            && entered <= until
        {
            self.dues.pop();
            let Some(record) = self.get((place, serial)) else { continue };
            let due = record.flow.last.plus(silence(record, timeouts));
            if due <= entered {
                return Some((place, serial));
            }
            self.dues.push(Reverse((due, serial, place)));
        }
        None
    }

    /// The input has ended: so do all records, in the order in which they were opened.
    pub(super) fn finish(&mut self, now: Timestamp) {
        let mut rest: Vec<Place> =
            (0..).zip(&self.places).filter_map(|(place, record)| Some((place, record.as_ref()?.serial))).collect();
        rest.sort_unstable_by_key(|&(_, serial)| serial);
        rest.into_iter().for_each(|place| self.end(place, EndReason::End, now));
        self.dues.clear();
        self.ages.clear();
    }

    /// Hands over what ended, in that order.
    pub(super) fn take_ended(&mut self) -> impl Iterator<Item = EndedRecord> + use<'_> {
        self.ended.drain(..)
    }

    /// How many were opened and not told of yet, those that are gone among them.
    pub(super) const fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Tells of each record that was opened up to a second, once, unless it has ended.
    pub(super) fn tell_opened(&mut self, second: i64, mut tell: impl FnMut(&ScriptRecord)) {
        for (_, (place, serial)) in self.fresh.extract_if(.., |(at, _)| *at <= second) {
            let record = self.places[place as usize].as_mut().filter(|record| record.serial == serial);
            if let Some(record) = record {
                record.is_told = true;
                tell(record);
            }
        }
    }

    /// Tells of each record that was spoken of up to a second, since the last time.
    pub(super) fn tell_active(&mut self, second: i64, mut tell: impl FnMut(&ScriptRecord)) {
        let mut active = std::mem::take(&mut self.active);
        for (_, place) in active.extract_if(.., |(at, _)| *at <= second) {
            self.get(place).into_iter().for_each(&mut tell);
        }
        self.active = active;
    }

    /// Tells of each record that has been open for a multiple of so many seconds when a second begins, in the order in which
    /// they were opened. The seconds of all calls are of one length, and come one after the other.
    pub(super) fn tell_of_age(&mut self, second: i64, seconds: i64, mut tell: impl FnMut(&ScriptRecord)) {
        while let Some(&Reverse((due, serial, place))) = self.ages.peek()
            && due <= second
        {
            self.ages.pop();
            let Some(record) = self.get((place, serial)) else { continue };
            // After seconds that nobody asked about, it may be due at another one.
            let opened = record.opened.secs();
            let rounds = second.saturating_sub(opened) / seconds;
            if rounds > 0 && opened + rounds * seconds == second {
                tell(record);
            }
            self.ages.push(Reverse((opened.saturating_add((rounds + 1) * seconds), serial, place)));
        }
    }
}

/// How long a record may go without a word. What scripts report of connections is about those that were established.
fn silence(record: &ScriptRecord, timeouts: &Timeouts) -> Duration {
    match FlowText::new(&record.id).protocol_number() {
        Some(TCP) => timeouts.established,
        Some(UDP) => timeouts.udp,
        _ => timeouts.other,
    }
}
