//! What scripts see of the things that happen to flows: slots that are lent for one callback each.
//!
//! The structs have the layout declared in `lua/objects.lua`. Every slot carries a sequence number of its own, so that a
//! buffer is usable in the callback it was made for and in no other. Slots are used again; numbers are not.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicU8;

use super::loan::BufferSlot;
use super::record::Rank;
use crate::flow::{Direction, FlowHandle};
use crate::key::FlowTuple;
use crate::time::Timestamp;

/// What a callback is told; the numbers are those of `lua/event_driver.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Topic {
    /// Whether a TCP flow is of interest.
    Filter = 1,
    /// A TCP flow began.
    New = 2,
    /// The next bytes of a stream.
    Payload = 3,
    /// A flow attribute.
    Attribute = 4,
    /// A TCP flow ended.
    End = 5,
    /// A measurement of a flow.
    Metric = 6,
    /// A flow record that a script announced.
    Record = 7,
    /// How packets of a new flow are stored.
    Store = 8,
    /// The same, with the first payload in a direction.
    StorePayload = 9,
    /// The next bytes of a stream that is HTTP.
    RawPayload = 10,
    /// Whether an HTTP message is of interest.
    HttpFilter = 11,
    /// The next bytes of the body of an HTTP message.
    HttpPayload = 12,
    /// The body of an HTTP message, or a chunk of it, as a file.
    HttpFile = 13,
    /// A TCP flow that was HTTP ended.
    HttpEnd = 14,
}

impl Topic {
    /// How many there are, counted from 1.
    pub const COUNT: usize = 14;
    /// What is told of HTTP, as bits.
    pub const CONTENT: u32 = Self::RawPayload.bit()
        | Self::HttpFilter.bit()
        | Self::HttpPayload.bit()
        | Self::HttpFile.bit()
        | Self::HttpEnd.bit();

    /// Its bit in a set of topics.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Votes and wishes of one VM about one flow, as bits. The driver sets and reads them as well.
pub mod voice {
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Voted against the flow: hears nothing more of it.
    pub const NO: u8 = 1;
    /// Wants no more payload.
    pub const QUIET: u8 = 2;
    /// Asked about storing at the first payload to the server; the next bit is for the other direction.
    pub const ASKED: u8 = 4;
    /// Was told of something: the driver may keep an object of the flow. It never sees this bit.
    pub const MET: u8 = 16;

    /// Says something more. Whoever speaks for a VM is on its thread, so that the processor need not lock the line, which
    /// takes longer than all the rest.
    #[inline]
    pub fn add(bits: &AtomicU8, more: u8) {
        bits.store(bits.load(Ordering::Relaxed) | more, Ordering::Relaxed);
    }

    /// The bits that keep a topic from the VM.
    #[must_use]
    pub const fn closed(topic: super::Topic) -> u8 {
        use super::Topic;
        match topic {
            Topic::Payload | Topic::RawPayload | Topic::HttpPayload | Topic::HttpFile => NO | QUIET,
            Topic::New | Topic::Attribute | Topic::End | Topic::HttpFilter | Topic::HttpEnd => NO,
            Topic::Filter | Topic::Metric | Topic::Record | Topic::Store | Topic::StorePayload => 0,
        }
    }
}

/// Votes of one VM about one exchange of HTTP, as bits: a NO to the body of the request, and in the next bit to that of the
/// response. The driver sets and reads them.
#[must_use]
pub const fn declined(direction: Direction) -> u8 {
    1 << direction.index()
}

/// The ends of an IPv4 flow as scripts' objects of it hold them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEnds {
    a: u32,
    z: u32,
    ports: u32,
    /// Below 0 if nothing is known.
    protocol: i32,
}

impl FlowEnds {
    const UNKNOWN: Self = Self { a: 0, z: 0, ports: 0, protocol: -1 };

    /// Those of a flow; unknown for one of IPv6, which does not fit.
    #[inline]
    #[must_use]
    pub fn of(tuple: Option<&FlowTuple>) -> Self {
        tuple.and_then(FlowTuple::v4_words).map_or(Self::UNKNOWN, |[a, z, ports, protocol]| Self {
            a,
            z,
            ports,
            protocol: protocol as i32,
        })
    }

    /// Whether they say which flow it is.
    #[must_use]
    pub const fn are_known(&self) -> bool {
        self.protocol >= 0
    }
}

/// One event as scripts see it.
///
/// What most callbacks are told lies in its first line of the cache; the headers, which few are, in its last.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct EventSlot {
    buf: BufferSlot,
    topic: i32,
    slot: i32,
    direction: i32,
    text_len: i32,
    ends: FlowEnds,
    time: f64,
    numbers: [f64; 4],
    text: *const u8,
    generation: u32,
    exchange: i32,
    request: HeaderSlot,
    response: HeaderSlot,
}

/// A header of HTTP as scripts see it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct HeaderSlot {
    block: BufferSlot,
    kind: i32,
    reserved: i32,
}

/// Kinds of headers, as `lua/http_header.lua` numbers them.
const REQUEST: i32 = 1;
const RESPONSE: i32 = 2;

impl HeaderSlot {
    const EMPTY: Self = Self { block: BufferSlot::EMPTY, kind: 0, reserved: 0 };

    fn new(kind: i32, block: &[u8], seq: i32) -> Self {
        Self { block: BufferSlot::new(block, seq), kind, reserved: 0 }
    }
}

const EMPTY: EventSlot = EventSlot {
    buf: BufferSlot::EMPTY,
    topic: 0,
    slot: -1,
    direction: 0,
    text_len: 0,
    ends: FlowEnds::UNKNOWN,
    time: 0.0,
    numbers: [0.0; 4],
    text: ptr::null(),
    generation: 0,
    exchange: -1,
    request: HeaderSlot::EMPTY,
    response: HeaderSlot::EMPTY,
};

/// Where an event stands and whom it concerns: what host functions ask about the running callback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occasion {
    /// Packet of the batch; `u32::MAX` if none led to it.
    pub packet: u32,
    /// Place among everything the packet leads to; the VM's rank is filled in by the VM, unless another VM's callback led
    /// to this one.
    pub rank: Rank,
    /// Packet time.
    pub time: Timestamp,
    /// The flow, if it is one of the table.
    pub flow: Option<FlowHandle>,
}

/// An event to be lent.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What it is.
    pub topic: Topic,
    /// Where it stands.
    pub at: Occasion,
    /// The ends of its flow, if that is in the table.
    pub tuple: Option<&'a FlowTuple>,
    /// Payload, or the value of an attribute.
    pub bytes: &'a [u8],
    /// Name of an attribute; id of a flow that is not in the table.
    pub text: &'a [u8],
    /// 0 to the server, 1 to the client.
    pub direction: i32,
    /// Position of payload; meter and value; the four numbers of a record; or length of a file and whether it is a chunk.
    pub numbers: [f64; 4],
    /// The exchange of HTTP it is about.
    pub exchange: Option<Exchange<'a>>,
}

/// An exchange of HTTP as an event shows it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Its place: where the votes about it are.
    pub place: u32,
    /// Header of the request; empty if none was seen.
    pub request: &'a [u8],
    /// Header of the response; empty while it has not arrived.
    pub response: &'a [u8],
}

/// Events lent in a row to one instance after the other.
pub const LENT_AT_ONCE: usize = 256;
/// Slots for them: several times as many, and a prime, so that a place in the row does not meet the same slot.
const RING: usize = 1_021;
/// Slots behind the ring for events that stand alone: one for each depth of announcements that lead to others.
pub const ALONE: usize = 10;

/// What a driver is told about the row it is to run, and what it says when it is done. Lua writes behind the cells.
#[repr(C)]
#[derive(Debug)]
pub struct EventRow {
    /// Slots of the events, in order.
    pub picks: Cell<*const i32>,
    /// A byte for each flow: bits of [`voice`].
    pub voices: Cell<*const AtomicU8>,
    /// A byte for each exchange of HTTP.
    pub votes: Cell<*const u8>,
    /// What is said about storing, by place from `first`.
    pub answers: Cell<*const i32>,
    /// Errors in a row of each topic.
    pub errors: Cell<*const i32>,
    /// Number of events.
    pub count: Cell<i32>,
    /// Slot that the first answer is for.
    pub first: Cell<i32>,
    /// Errors in a row that end the row.
    pub limit: Cell<i32>,
    /// Events that were run.
    pub done: Cell<i32>,
    /// Callbacks that were made.
    pub calls: Cell<i32>,
    /// Topic that reached the limit, or 0.
    pub topic: Cell<i32>,
}

impl Default for EventRow {
    fn default() -> Self {
        let number = || Cell::new(0);
        Self {
            picks: Cell::new(ptr::null()),
            voices: Cell::new(ptr::null()),
            votes: Cell::new(ptr::null()),
            answers: Cell::new(ptr::null()),
            errors: Cell::new(ptr::null()),
            count: number(),
            first: number(),
            limit: number(),
            done: number(),
            calls: number(),
            topic: number(),
        }
    }
}

/// What decides whether a VM is told of an event, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// What it is about.
    pub topic: Topic,
    /// Whether there is a callback for it: the end of a flow is told for the sake of the objects, and called for with TCP.
    pub is_called: bool,
    /// Whether the ends of the flow say which it is.
    pub has_ends: bool,
    /// Slot of the flow, below 0 if it is none of the table.
    pub flow: i32,
}

/// All slots of one engine.
#[derive(Debug)]
pub struct EventRing {
    slots: Box<[EventSlot]>,
    signs: Box<[Sign]>,
    occasions: Box<[(i32, Occasion)]>,
    next: usize,
    first: usize,
    /// Place of every number given out in this batch.
    places: Vec<u32>,
    base_seq: i32,
}

impl Default for EventRing {
    fn default() -> Self {
        Self::new()
    }
}

const NOWHERE: Occasion = Occasion {
    packet: u32::MAX,
    rank: Rank { event: 0, stage: 0, vm: 0, echo: 0 },
    time: Timestamp::EPOCH,
    flow: None,
};

impl EventRing {
    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: vec![EMPTY; RING + ALONE].into_boxed_slice(),
            signs: vec![Sign { topic: Topic::End, is_called: false, has_ends: false, flow: -1 }; RING + ALONE]
                .into_boxed_slice(),
            occasions: vec![(0, NOWHERE); RING + ALONE].into_boxed_slice(),
            next: 0,
            first: 0,
            places: Vec::new(),
            base_seq: 1,
        }
    }

    /// Number of slots; a VM makes pointers for each.
    #[must_use]
    pub const fn len() -> usize {
        RING + ALONE
    }

    /// Address of the first slot.
    #[must_use]
    pub fn address(&self) -> *const EventSlot {
        self.slots.as_ptr()
    }

    /// Begins a batch whose event numbers start at `seq`.
    pub fn begin(&mut self, seq: i32) {
        self.places.clear();
        self.base_seq = seq;
    }

    /// Number of the next event.
    #[must_use]
    pub fn next_seq(&self) -> i32 {
        self.base_seq.wrapping_add(self.places.len() as i32)
    }

    /// Begins a row of at most [`LENT_AT_ONCE`] events.
    pub fn begin_row(&mut self) {
        if self.next + LENT_AT_ONCE > RING {
            self.next = 0;
        }
        self.first = self.next;
    }

    /// Adds an event to the row.
    #[inline(always)]
    pub fn push(&mut self, event: &Event<'_>) {
        self.fill(self.next, event);
        self.next += 1;
    }

    /// The row: first slot and number of slots.
    #[must_use]
    pub const fn row(&self) -> (usize, usize) {
        (self.first, self.next - self.first)
    }

    /// Lends one event that stands alone; returns its slot.
    pub fn alone(&mut self, depth: usize, event: &Event<'_>) -> usize {
        let slot = RING + depth.min(ALONE - 1);
        self.fill(slot, event);
        slot
    }

    /// Inlined as what puts an event together, so that no event is made only to be copied.
    #[inline(always)]
    fn fill(&mut self, place: usize, event: &Event<'_>) {
        let seq = self.next_seq();
        self.places.push(place as u32);
        let flow = event.at.flow;
        let number = flow.map_or(-1, |flow| flow.slot as i32);
        let is_called = event.topic != Topic::End || event.numbers[0] != 0.0;
        let ends = FlowEnds::of(event.tuple);
        self.signs[place] = Sign { topic: event.topic, is_called, has_ends: ends.are_known(), flow: number };
        // Part by part: of what is not HTTP the headers stay as they were, and nobody can reach those.
        let slot = &mut self.slots[place];
        slot.buf = BufferSlot::new(event.bytes, seq);
        (slot.text, slot.text_len) = (event.text.as_ptr(), event.text.len() as i32);
        (slot.topic, slot.direction) = (event.topic as i32, event.direction);
        (slot.slot, slot.generation) = (number, flow.map_or(0, |flow| flow.generation));
        slot.ends = ends;
        // Scripts are told whole seconds.
        (slot.time, slot.numbers) = (event.at.time.secs() as f64, event.numbers);
        slot.exchange = -1;
        if let Some(exchange) = event.exchange {
            slot.exchange = exchange.place as i32;
            slot.request = HeaderSlot::new(REQUEST, exchange.request, seq);
            slot.response = HeaderSlot::new(RESPONSE, exchange.response, seq);
        }
        self.occasions[place] = (seq, event.at);
    }

    /// The slot that was lent with a sequence number, unless it was used again.
    #[inline]
    #[must_use]
    pub fn slot_of(&self, seq: i32) -> Option<usize> {
        let index = usize::try_from(seq.wrapping_sub(self.base_seq)).ok()?;
        let place = *self.places.get(index)? as usize;
        (self.occasions[place].0 == seq).then_some(place)
    }

    /// The occasion of a sequence number.
    #[inline]
    #[must_use]
    pub fn occasion(&self, seq: i32) -> Option<&Occasion> {
        self.slot_of(seq).map(|place| &self.occasions[place].1)
    }

    /// The occasion of a slot.
    #[must_use]
    pub fn occasion_of_slot(&self, slot: usize) -> &Occasion {
        &self.occasions[slot].1
    }

    /// The sequence number of a slot.
    #[must_use]
    pub fn slot_seq(&self, slot: usize) -> i32 {
        self.occasions[slot].0
    }

    /// What decides who is told of the events in `count` slots from `first` on.
    #[must_use]
    pub fn signs(&self, first: usize, count: usize) -> &[Sign] {
        &self.signs[first..first + count]
    }

    /// The values of the attributes among slots of the row.
    #[expect(unsafe_code, reason = "a view for scripts has no lifetime")]
    pub fn values<'a>(&'a self, slots: &'a [i32]) -> impl Iterator<Item = &'a [u8]> {
        let row = self.first..self.next;
        let told = slots.iter().map(|&slot| slot as usize).filter(move |slot| row.contains(slot));
        let attributes = told.filter(|&slot| self.signs[slot].topic == Topic::Attribute);
        // SAFETY: slots of the row have been filled, with events of the batch that is in hand.
        attributes.map(|slot| unsafe { self.slots[slot].buf.bytes() })
    }

    /// What a slot is about, as its number.
    #[must_use]
    pub fn topic_of_slot(&self, slot: usize) -> i32 {
        self.signs[slot].topic as i32
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventRing, LENT_AT_ONCE, NOWHERE, Topic};

    fn event() -> Event<'static> {
        Event {
            topic: Topic::New,
            at: NOWHERE,
            tuple: None,
            bytes: b"x",
            text: b"",
            direction: 0,
            numbers: [0.0; 4],
            exchange: None,
        }
    }

    #[test]
    fn numbers_lead_to_the_slot_until_it_is_used_again() {
        let mut ring = EventRing::new();
        ring.begin(100);
        let mut seen = Vec::new();
        for _ in 0..6 {
            ring.begin_row();
            for _ in 0..LENT_AT_ONCE {
                seen.push(ring.next_seq());
                ring.push(&event());
            }
            let (first, count) = ring.row();
            assert_eq!(count, LENT_AT_ONCE);
            let last = *seen.last().unwrap();
            assert_eq!(ring.slot_of(last), Some(first + count - 1));
        }
        assert_eq!(ring.slot_of(seen[0]), None, "its slot shows another event");
        let alone = ring.alone(3, &event());
        assert_eq!(ring.slot_of(ring.next_seq() - 1), Some(alone));
        assert_eq!(ring.slot_of(99), None);
        assert_eq!(ring.slot_of(i32::MAX), None);
    }

    #[test]
    fn a_new_batch_forgets_the_numbers_of_the_one_before() {
        let mut ring = EventRing::new();
        ring.begin(1);
        ring.begin_row();
        ring.push(&event());
        ring.begin(50);
        assert_eq!(ring.occasion(1), None);
        assert_eq!(ring.next_seq(), 50);
    }
}
