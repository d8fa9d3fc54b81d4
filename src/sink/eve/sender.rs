//! The producer's side: items are collected into parcels, and full parcels go to the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};

use super::item::{Beside, EveItem, FlowItem, SIGHTING_BYTES};
use crate::key::{End, FlowTuple};
use crate::metrics::{Seen, Sighting, Span};
use crate::sink::WhenFull;
use crate::sink::rescue::Held;
use crate::sink::reuse::Reused;
use crate::time::Timestamp;

/// Items of a parcel.
const PARCEL_ITEMS: usize = 512;
/// Bytes in them, but for the one that goes beyond.
const PARCEL_BYTES: usize = 128 << 10;
/// How long a sender that may wait does so while the writer does not come on at all.
const STALL: Duration = Duration::from_secs(2);

/// What a sender hands over at once.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub items: Vec<EveItem>,
    pub beside: Beside,
}

impl Parcel {
    /// Itself, if there is something in it.
    pub fn filled(self) -> Option<Self> {
        (!self.items.is_empty()).then_some(self)
    }

    /// Empties it for others, unless it has grown too large to be kept.
    pub fn emptied(mut self) -> Option<Self> {
        self.items.clear();
        self.beside.texts.clear();
        self.beside.flows.clear();
        (self.beside.texts.capacity() <= 2 * PARCEL_BYTES).then_some(self)
    }
}

/// What senders and writer share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Items that found the queue full.
    pub queue_full: AtomicU64,
    /// Set while the writer does not come on; nobody waits for it then.
    pub is_stalled: AtomicBool,
    /// Goes up whenever the writer has taken a parcel or a reader has taken a piece of one.
    progress: AtomicU64,
    /// All senders are gone or will be soon: what cannot be written at once is not waited for long.
    pub closing: AtomicBool,
}

impl Shared {
    /// The writer comes on.
    pub fn comes_on(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes items in; one per thread that makes any.
#[derive(Debug)]
pub struct EveSender {
    parcel: Held<Parcel>,
    bytes: usize,
    queue: Sender<Parcel>,
    reused: Reused<Parcel>,
    when_full: WhenFull,
    shared: Arc<Shared>,
}

impl EveSender {
    pub(super) fn new(
        ((queue, parcel), reused): ((Sender<Parcel>, Held<Parcel>), Reused<Parcel>),
        when_full: WhenFull,
        shared: Arc<Shared>,
    ) -> Self {
        Self { parcel, bytes: 0, queue, reused, when_full, shared }
    }

    /// Nothing comes for a while, in which scripts run that may not come back.
    pub fn rest(&mut self) {
        self.parcel.rest();
    }

    /// Adds one item; handed over when enough have come together.
    pub fn item(&mut self, item: EveItem) {
        self.bytes += item.held();
        self.parcel.open().items.push(item);
        self.added();
    }

    /// Hands the parcel over if it is full.
    #[inline]
    fn added(&mut self) {
        if self.parcel.open().items.len() >= PARCEL_ITEMS || self.bytes >= PARCEL_BYTES {
            self.flush();
        }
    }

    /// Takes in a text of something that was seen.
    pub fn text(&mut self, bytes: &[u8]) -> Span {
        self.bytes += bytes.len();
        Span::put(&mut self.parcel.open().beside.texts, bytes)
    }

    /// Adds what was seen in a flow; its texts have been taken in.
    // Inlined: what is put together elsewhere waits for its own pieces when it is moved.
    #[inline(always)]
    pub fn sighting(&mut self, time: Timestamp, flow: &FlowTuple, (client, origin): (End, u16), seen: Seen) {
        self.bytes += SIGHTING_BYTES;
        self.parcel.open().items.push(EveItem::Sighting(time, Sighting { flow: *flow, client, origin, seen }));
        self.added();
    }

    /// Adds a flow that ended.
    pub fn flow(&mut self, flow: FlowItem) {
        self.bytes += size_of::<FlowItem>() + flow.flow.id.len() + flow.flow.tags.len();
        let flows = &mut self.parcel.open().beside.flows;
        flows.push(flow);
        let place = flows.len() - 1;
        self.item(EveItem::Flow(place));
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        let pending = self.parcel.open();
        if pending.items.is_empty() {
            return self.parcel.rest();
        }
        self.bytes = 0;
        let parcel = std::mem::replace(pending, self.reused.next().unwrap_or_default());
        self.parcel.rest();
        let count = parcel.items.len() as u64;
        if !self.send(parcel) {
            self.shared.queue_full.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn send(&self, parcel: Parcel) -> bool {
        let mut parcel = match self.queue.try_send(parcel) {
            Ok(()) => return true,
            Err(e) => e.into_inner(),
        };
        if self.when_full == WhenFull::DropNewest {
            return false;
        }
        // A reader that is slow is waited for as long as it reads at all.
        while !self.shared.is_stalled.load(Ordering::Relaxed) {
            let before = self.shared.progress.load(Ordering::Relaxed);
            match self.queue.send_timeout(parcel, STALL) {
                Ok(()) => return true,
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(back)) => parcel = back,
            }
            if self.shared.progress.load(Ordering::Relaxed) == before {
                self.shared.is_stalled.store(true, Ordering::Relaxed);
            }
        }
        false
    }
}

impl Drop for EveSender {
    fn drop(&mut self) {
        self.flush();
    }
}
