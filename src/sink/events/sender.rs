//! The producer's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use super::line::{Field, Head, write_event};
use crate::sink::WhenFull;
use crate::sink::rescue::Held;

/// Bytes of lines handed over at once.
const PARCEL_BYTES: usize = 64 << 10;

/// Lines that are made and have no place in the stream yet.
#[derive(Debug, Default)]
pub struct EventLines {
    bytes: Vec<u8>,
    lines: u64,
}

impl EventLines {
    /// What is handed over of them.
    pub(super) fn into_parcel(self) -> Option<Vec<u8>> {
        (!self.is_empty()).then_some(self.bytes)
    }

    /// Bytes of them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True without any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Puts later ones behind.
    pub fn append(&mut self, later: Self) {
        if self.is_empty() {
            *self = later;
        } else {
            self.bytes.extend_from_slice(&later.bytes);
            self.lines += later.lines;
        }
    }
}

/// The sending half; one per thread that produces events.
#[derive(Debug)]
pub struct EventSender {
    queue: Sender<Vec<u8>>,
    when_full: WhenFull,
    full: Arc<AtomicU64>,
    pending: Held<EventLines>,
    holds: bool,
}

impl EventSender {
    pub(super) fn new(
        (queue, pending): (Sender<Vec<u8>>, Held<EventLines>),
        when_full: WhenFull,
        full: Arc<AtomicU64>,
    ) -> Self {
        Self { queue, when_full, full, pending, holds: false }
    }

    /// Hands nothing over any more until it is dropped: another thread gives the lines their place ([`EventSender::take`]).
    #[must_use]
    pub fn holding(mut self) -> Self {
        self.holds = true;
        self
    }

    /// What is held; nothing if none is.
    pub fn take(&mut self) -> EventLines {
        if !self.holds {
            return EventLines::default();
        }
        let lines = std::mem::take(self.pending.open());
        self.pending.rest();
        lines
    }

    /// Adds what another thread held.
    pub fn put(&mut self, lines: EventLines) {
        self.pending.open().append(lines);
        self.added();
    }

    /// Adds one event; handed over when enough have come together.
    pub fn event(&mut self, head: &Head<'_>, fields: &[(&str, Field<'_>)]) {
        let pending = self.pending.open();
        write_event(&mut pending.bytes, head, fields);
        pending.lines += 1;
        self.added();
    }

    /// Hands the lines over if there are enough of them.
    fn added(&mut self) {
        if self.pending.open().len() >= PARCEL_BYTES {
            self.flush();
        }
    }

    /// Nothing comes for a while, in which scripts run that may not come back.
    pub fn rest(&mut self) {
        self.pending.rest();
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        if !self.holds {
            self.send();
        }
    }

    fn send(&mut self) {
        let pending = self.pending.open();
        if pending.is_empty() {
            return self.pending.rest();
        }
        let next = EventLines { bytes: Vec::with_capacity(PARCEL_BYTES + 1024), lines: 0 };
        let EventLines { bytes, lines } = std::mem::replace(pending, next);
        self.pending.rest();
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(bytes).is_err(),
            WhenFull::DropNewest => self.queue.try_send(bytes).is_err(),
        };
        if lost {
            self.full.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.send();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::bounded;

    use super::{EventLines, EventSender};
    use crate::sink::rescue::Held;
    use crate::sink::{Head, WhenFull};
    use crate::time::Timestamp;

    #[test]
    fn what_is_held_leaves_where_another_sender_puts_it() {
        let (queue, parcels) = bounded(8);
        let sender = || EventSender::new((queue.clone(), Held::default()), WhenFull::Block, Arc::default());
        let event = |ev| Head { ev, time: Timestamp::EPOCH, script: "s", side: "backend" };
        let (mut first, mut second) = (sender(), sender().holding());
        second.event(&event("held"), &[]);
        second.flush();
        first.event(&event("own"), &[]);
        assert!(parcels.is_empty() && first.take().is_empty());
        let mut held = EventLines::default();
        held.append(second.take());
        second.event(&event("later"), &[]);
        held.append(second.take());
        first.put(held);
        first.flush();
        let text = |parcel: Vec<u8>| {
            let text = String::from_utf8_lossy(&parcel).into_owned();
            text.lines().map(|line| line[7..].split('"').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(text(parcels.recv().unwrap()), ["own", "held", "later"]);
        second.event(&event("last"), &[]);
        drop(second);
        assert_eq!(text(parcels.recv().unwrap()), ["last"]);
    }
}
