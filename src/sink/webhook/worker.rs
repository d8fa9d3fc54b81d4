//! The thread that delivers, and tries again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::deliver::{Cut, Hook, HookLimits, HookUrlError, Tried};
use super::rules::AllowedHost;
use crate::sink::Haste;
use crate::sink::alert_queue::{AlertSender, AlertsEnd};
use crate::sink::eve::{AlertItem, alert_body};
use crate::time::Stopwatch;

/// Alerts that wait for another try.
const MAX_WAITING: usize = 1_024;
/// How soon it is seen that the run was asked to end.
const LOOK: Duration = Duration::from_millis(100);

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
    /// Begins when the run is asked to end.
    pub haste: Haste,
}

/// A webhook at work.
#[derive(Debug)]
pub struct Webhook {
    sender: Option<AlertSender>,
    closing: Closing,
    cut: Cut,
    worker: Option<JoinHandle<Outcome>>,
    /// Closed once the thread has ended.
    ended: Receiver<()>,
}

/// No more alerts come: what is left is not waited for long.
#[derive(Clone, Debug)]
struct Closing {
    since: Arc<OnceLock<Stopwatch>>,
    haste: Haste,
    limits: HookLimits,
}

impl Closing {
    fn has_begun(&self) -> bool {
        self.since.get().is_some()
    }

    /// The time that is left.
    fn left(&self) -> Duration {
        let whole = if self.haste.has_begun() { self.limits.in_haste } else { self.limits.at_end };
        whole.saturating_sub(self.since.get_or_init(Stopwatch::start).elapsed())
    }
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
        let closing = Closing { since: Arc::default(), haste: options.haste.clone(), limits: options.limits.clone() };
        let hook = Hook::new(options)?;
        let cut = hook.cut();
        let (sender, alerts) = AlertSender::new();
        let (ends, ended) = bounded::<()>(0);
        let worker = Worker::new(hook, closing.clone());
        let run = move || {
            let _ends = ends;
            worker.run(&alerts)
        };
        // Without a thread every alert finds the queue closed and is counted.
        let worker = thread::Builder::new().name("webhook".to_owned()).spawn(run);
        Ok(Self { sender: Some(sender), closing, cut, worker: worker.ok(), ended })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> AlertSender {
        self.sender.clone().expect("the sender is there until the webhook is closed")
    }

    /// Delivers what is left, in bounded time; every other sender must be gone.
    #[must_use]
    pub fn close(mut self) -> AlertsEnd {
        self.closing.since.get_or_init(Stopwatch::start);
        let full = self.sender.take().map(|sender| sender.full());
        while let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(self.closing.left().min(LOOK)) {
            if self.closing.left().is_zero() {
                self.cut.now();
                break;
            }
        }
        // A panic of the thread has been reported by it.
        let outcome = self.worker.take().and_then(|worker| worker.join().ok()).unwrap_or_default();
        let full = full.map_or(0, |full| full.load(Ordering::Relaxed));
        let dropped = [
            ("webhook_queue_full", full),
            ("webhook_refused", outcome.refused),
            ("webhook_failed", outcome.failed),
            ("webhook_unsent_at_end", outcome.at_end),
        ];
        let late = (outcome.at_end > 0).then(|| "the run was over before every alert was posted".to_owned());
        AlertsEnd {
            delivered: outcome.delivered,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            failure: outcome.failure.or(late),
        }
    }
}

struct Worker {
    hook: Hook,
    closing: Closing,
    waiting: VecDeque<Waiting>,
    outcome: Outcome,
}

impl Worker {
    fn new(hook: Hook, closing: Closing) -> Self {
        Self { hook, closing, waiting: VecDeque::new(), outcome: Outcome::default() }
    }

    fn run(mut self, alerts: &Receiver<Arc<AlertItem>>) -> Outcome {
        while !self.closing.has_begun() {
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
        // A try that was cut short says nothing of the other side.
        if self.closing.has_begun() && self.closing.left().is_zero() {
            return;
        }
        if self.outcome.failure.is_none() {
            log::warn!("webhook: {why}");
        }
        self.outcome.failure = Some(why);
    }

    /// Tries once more what waits, and what is in the queue, without pauses and as long as there is time.
    fn end(&mut self, alerts: &Receiver<Arc<AlertItem>>) {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|one| one.body);
        for body in waiting.chain(alerts.try_iter().map(|alert| alert_body(&alert))) {
            let left = self.closing.left();
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
