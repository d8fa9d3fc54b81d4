//! The way of alerts to outputs that tell others of them one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::eve::AlertItem;

/// Alerts that may wait.
const QUEUE: usize = 1_024;

/// Takes alerts in; never waits.
#[derive(Clone, Debug)]
pub struct AlertSender {
    queue: Sender<Arc<AlertItem>>,
    full: Arc<AtomicU64>,
}

impl AlertSender {
    /// A queue: its senders come from the one that is returned, which the output keeps until its end.
    pub(super) fn new() -> (Self, Receiver<Arc<AlertItem>>) {
        let (queue, alerts) = bounded(QUEUE);
        (Self { queue, full: Arc::default() }, alerts)
    }

    /// Hands an alert over; counts it if there is no room.
    pub fn send(&self, alert: Arc<AlertItem>) {
        if self.queue.try_send(alert).is_err() {
            self.full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts those that found no room, now and later.
    pub(super) fn full(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.full)
    }
}

/// How an output of alerts ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AlertsEnd {
    /// Alerts that others were told of.
    pub delivered: u64,
    /// Those that were lost, by name.
    pub dropped: Vec<(&'static str, u64)>,
    /// The last failure.
    pub failure: Option<String>,
}
