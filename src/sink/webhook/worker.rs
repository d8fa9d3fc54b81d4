//! The thread that delivers, and tries again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::deliver::{Hook, HookLimits, HookUrlError, Tried};
use super::rules::AllowedHost;
use crate::sink::alert_queue::{AlertSender, AlertsEnd};
use crate::sink::eve::{AlertItem, alert_body};
use crate::time::Stopwatch;

/// Alerts that wait for another try.
const MAX_WAITING: usize = 1_024;

/// What a webhook is told.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Whom to call.
    pub url: String,
    /// Who may be called.
    pub allowed: Vec<AllowedHost>,
    /// A file of certificates to trust over https; those of the system without.
    pub trusted: Option<PathBuf>,
    /// Bounds.
    pub limits: HookLimits,
}

/// A webhook at work.
#[derive(Debug)]
pub struct Webhook {
    sender: Option<AlertSender>,
    /// No more alerts come: those in the queue are not waited for long.
    closing: Arc<AtomicBool>,
    worker: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    delivered: u64,
    refused: u64,
    failed: u64,
    at_end: u64,
    failure: Option<String>,
}

/// An alert that could not be delivered yet.
struct Waiting {
    body: Vec<u8>,
    tries: usize,
    since: Stopwatch,
    pause: Duration,
}

impl Webhook {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the address may not be called, or the certificates cannot be read.
    pub fn start(options: WebhookOptions) -> Result<Self, HookUrlError> {
        let hook = Hook::new(options)?;
        let (sender, alerts) = AlertSender::new();
        // Without a thread every alert finds the queue closed and is counted.
        let closing: Arc<AtomicBool> = Arc::default();
        let worker = Worker::new(hook, Arc::clone(&closing));
        let worker = thread::Builder::new().name("webhook".to_owned()).spawn(move || worker.run(&alerts));
        Ok(Self { sender: Some(sender), closing, worker: worker.ok() })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> AlertSender {
        self.sender.clone().expect("the sender is there until the webhook is closed")
    }

    /// Delivers what is left, in bounded time; every other sender must be gone.
    #[must_use]
    pub fn close(mut self) -> AlertsEnd {
        self.closing.store(true, Ordering::Relaxed);
        let full = self.sender.take().map(|sender| sender.full());
        // A panic of the thread has been reported by it.
        let outcome = self.worker.take().and_then(|worker| worker.join().ok()).unwrap_or_default();
        let full = full.map_or(0, |full| full.load(Ordering::Relaxed));
        let dropped = [
            ("webhook_queue_full", full),
            ("webhook_refused", outcome.refused),
            ("webhook_failed", outcome.failed),
            ("webhook_unsent_at_end", outcome.at_end),
        ];
        AlertsEnd {
            delivered: outcome.delivered,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            failure: outcome.failure,
        }
    }
}

struct Worker {
    hook: Hook,
    closing: Arc<AtomicBool>,
    waiting: VecDeque<Waiting>,
    outcome: Outcome,
}

impl Worker {
    fn new(hook: Hook, closing: Arc<AtomicBool>) -> Self {
        Self { hook, closing, waiting: VecDeque::new(), outcome: Outcome::default() }
    }

    fn run(mut self, alerts: &Receiver<Arc<AlertItem>>) -> Outcome {
        while !self.closing.load(Ordering::Relaxed) {
            let pause = self.next_due().unwrap_or(Duration::from_secs(3_600));
            match alerts.recv_timeout(pause) {
                Ok(alert) => self.first(alert_body(&alert), self.hook.limits().whole),
                Err(RecvTimeoutError::Timeout) => self.again(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // New alerts must not keep the old ones waiting for ever.
            if self.next_due() == Some(Duration::ZERO) {
                self.again();
            }
        }
        self.end(alerts);
        self.outcome
    }

    fn next_due(&self) -> Option<Duration> {
        self.waiting.iter().map(|one| one.pause.saturating_sub(one.since.elapsed())).min()
    }

    fn first(&mut self, body: Vec<u8>, time: Duration) {
        self.attempt(Waiting { body, tries: 0, since: Stopwatch::start(), pause: Duration::ZERO }, time);
    }

    /// Tries one that is due.
    fn again(&mut self) {
        let is_due = |one: &Waiting| one.since.elapsed() >= one.pause;
        if let Some(at) = self.waiting.iter().position(is_due)
            && let Some(one) = self.waiting.remove(at)
        {
            self.attempt(one, self.hook.limits().whole);
        }
    }

    fn attempt(&mut self, mut one: Waiting, time: Duration) {
        match self.hook.deliver(&one.body, time) {
            Tried::Delivered => self.outcome.delivered += 1,
            Tried::Refused(why) => {
                self.outcome.refused += 1;
                self.tell(why);
            }
            Tried::Failed(why) => {
                let pause = self.hook.limits().pauses.get(one.tries).copied();
                match pause {
                    Some(pause) if self.waiting.len() < MAX_WAITING => {
                        one.tries += 1;
                        one.since = Stopwatch::start();
                        one.pause = pause;
                        self.waiting.push_back(one);
                    }
                    _ => self.outcome.failed += 1,
                }
                self.tell(why);
            }
        }
    }

    /// The first failure is told at once, the rest are counted.
    fn tell(&mut self, why: String) {
        if self.outcome.failure.is_none() {
            log::warn!("webhook: {why}");
        }
        self.outcome.failure = Some(why);
    }

    /// Tries once more what waits, and what is in the queue, without pauses and as long as there is time.
    fn end(&mut self, alerts: &Receiver<Arc<AlertItem>>) {
        let watch = Stopwatch::start();
        let whole = self.hook.limits().at_end;
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|one| one.body);
        for body in waiting.chain(alerts.try_iter().map(|alert| alert_body(&alert))) {
            let left = whole.saturating_sub(watch.elapsed());
            if left.is_zero() {
                self.outcome.at_end += 1;
                continue;
            }
            match self.hook.deliver(&body, left) {
                Tried::Delivered => self.outcome.delivered += 1,
                Tried::Refused(why) => {
                    self.outcome.refused += 1;
                    self.tell(why);
                }
                Tried::Failed(why) => {
                    self.outcome.at_end += 1;
                    self.tell(why);
                }
            }
        }
    }
}
