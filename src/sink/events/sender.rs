//! The producer's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use super::line::{Field, Head, write_event};
use crate::sink::WhenFull;

/// Bytes of lines handed over at once.
const PARCEL_BYTES: usize = 64 << 10;

/// The sending half; one per thread that produces events.
#[derive(Debug)]
pub struct EventSender {
    queue: Sender<Vec<u8>>,
    when_full: WhenFull,
    full: Arc<AtomicU64>,
    pending: Vec<u8>,
    lines: u64,
}

impl EventSender {
    pub(super) fn new(queue: Sender<Vec<u8>>, when_full: WhenFull, full: Arc<AtomicU64>) -> Self {
        Self { queue, when_full, full, pending: Vec::new(), lines: 0 }
    }

    /// Adds one event; handed over when enough have come together.
    pub fn event(&mut self, head: &Head<'_>, fields: &[(&str, Field<'_>)]) {
        write_event(&mut self.pending, head, fields);
        self.lines += 1;
        if self.pending.len() >= PARCEL_BYTES {
            self.flush();
        }
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let parcel = std::mem::replace(&mut self.pending, Vec::with_capacity(PARCEL_BYTES + 1024));
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).is_err(),
            WhenFull::DropNewest => self.queue.try_send(parcel).is_err(),
        };
        if lost {
            self.full.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.lines = 0;
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.flush();
    }
}
