//! The worker threads of a pool: how they are started and replaced, and what their supervisor sees to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::lua::{PluginError, spawn_lua_thread};
use crate::time::Stopwatch;

use super::counts::Summary;
use super::limits::Permit;
use super::shared::{Shared, Workers};
use super::slot::{Finished, Life, Slot};
use super::state::JobState;
use super::{supervisor, worker};

/// Most workers that may be stuck at a time; with more, their successors would not fare better.
const MAX_STUCK: u64 = 16;

impl Shared {
    pub(super) fn start_workers(self: &Arc<Self>) -> Workers {
        let mut failure = None;
        for worker in 0..self.options.workers {
            // Each plugin has one.
            let permit = if worker == 0 {
                Some(self.options.all_workers.take_anyway())
            } else {
                self.options.all_workers.take()
            };
            let Some(permit) = permit else {
                let most = self.options.all_workers.most();
                log::warn!(
                    "{}: {worker} workers instead of {}: {most} run for all plugins",
                    self.options.name,
                    self.options.workers
                );
                break;
            };
            let slot = self.slot(worker);
            match self.start_worker(worker, &slot, permit) {
                Ok(()) => self.slots().push(slot),
                Err(error) => failure = Some(error),
            }
        }
        if self.slots().is_empty() {
            let reason = failure.map_or_else(String::new, |error| error.to_string());
            return Workers::Unavailable(format!("no worker thread can be started: {reason}"));
        }
        match supervisor::start(self) {
            Ok(()) => Workers::Started,
            Err(error) => {
                self.stop();
                Workers::Unavailable(format!("no supervisor thread can be started: {error}"))
            }
        }
    }

    fn slot(&self, number: usize) -> Arc<Slot> {
        Slot::new(number, [&self.options.children, &self.options.all_children].map(Arc::clone))
    }

    fn start_worker(self: &Arc<Self>, number: usize, slot: &Arc<Slot>, permit: Permit) -> std::io::Result<()> {
        let (shared, slot) = (Arc::clone(self), Arc::clone(slot));
        let name = format!("job{number}-{}", self.options.name);
        // The kernel shows fifteen bytes of a thread's name.
        let name: String = name.chars().filter(|c| *c != '\0').take(15).collect();
        let run = move || {
            let _permit = permit;
            worker::run(&shared, &slot, number);
        };
        spawn_lua_thread(&name, run).map(drop)
    }

    /// Gives up the worker of a slot and puts another in its place. Its job ends as `state`, what it had taken and not
    /// started goes back to the queue.
    pub(super) fn replace(self: &Arc<Self>, number: usize, state: JobState, error: &PluginError) {
        let mut waiting = self.waiting();
        let Some(slot) = self.slots().get(number).map(Arc::clone) else { return };
        let (Finished { job, lanes }, local) = {
            let mut own = slot.lock();
            if own.life == Life::Abandoned {
                return;
            }
            own.life = Life::Abandoned;
            let ended = Slot::finish(&mut own, Stopwatch::start());
            let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            past.merge(&std::mem::take(&mut own.spans));
            (ended, std::mem::take(&mut own.local))
        };
        slot.disown();
        slot.children.close();
        self.counters.workers_abandoned.fetch_add(1, Ordering::Relaxed);
        let stuck = self.counters.workers_stuck.fetch_add(1, Ordering::Relaxed) + 1;
        waiting.queue.put_back(local);
        if let Some(lanes) = lanes {
            waiting.queue.release(&lanes);
        }
        let successor = self.slot(number);
        let started = if stuck > MAX_STUCK {
            Err(std::io::Error::other(format!("{MAX_STUCK} workers do not return from C functions")))
        } else if self.is_stopped() {
            Ok(())
        } else {
            // It takes the place of one that was counted already.
            self.start_worker(number, &successor, self.options.all_workers.take_anyway())
        };
        let mut refused = Vec::new();
        match started {
            Ok(()) => self.slots()[number] = successor,
            Err(error) if self.slots().iter().all(|slot| slot.lock().life != Life::Serving) => {
                let reason = format!("no worker is left: {error}");
                refused = waiting.queue.remove(|_| true);
                waiting.workers = Workers::Unavailable(reason);
            }
            Err(_) => {}
        }
        self.publish(&waiting);
        let reason = match &waiting.workers {
            Workers::Unavailable(reason) => reason.clone(),
            _ => String::new(),
        };
        drop(waiting);
        if let Some(job) = job {
            self.end(job, state, Some(error.clone()));
        }
        let error = PluginError::caught(reason.as_bytes(), b"");
        self.counters.no_worker.fetch_add(refused.len() as u64, Ordering::Relaxed);
        refused.into_iter().for_each(|job| self.end(job, JobState::Failed, Some(error.clone())));
    }

    /// Makes ready the jobs whose next attempt is due.
    pub(super) fn release_due(&self) {
        let mut waiting = self.waiting();
        if waiting.queue.next_due().is_some() && waiting.queue.release_due(Stopwatch::start().deadline(Duration::ZERO))
        {
            self.publish(&waiting);
        }
    }

    /// Waits for the given time, until the pool stops, or until a job is due again.
    pub(super) fn wait_for_stop(&self, pause: Duration) {
        let waiting = self.waiting();
        let now = || Stopwatch::start().deadline(Duration::ZERO);
        let due = waiting.queue.next_due().map(|due| due.saturating_duration_since(now()));
        let pause = due.map_or(pause, |due| due.min(pause)).max(Duration::from_micros(100));
        if !self.is_stopped() {
            drop(self.stop_signal.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What became of the jobs so far.
    pub(super) fn summary(&self) -> Summary {
        let mut spans = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut running = 0;
        for slot in self.slots().iter() {
            let state = slot.lock();
            spans.merge(&state.spans);
            running += u64::from(state.running.as_ref().is_some_and(|running| running.job.is_some()));
        }
        let [waits, runs, whole] = [spans.waits, spans.runs, spans.whole].map(|of| of.times());
        Summary { waits, runs, whole, ..self.counters.summary(&self.pending, running) }
    }
}
