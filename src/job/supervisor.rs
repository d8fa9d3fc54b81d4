//! The thread that gives up workers which do not return.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::lua::PluginError;

use super::shared::Shared;
use super::slot::Life;
use super::state::JobState;

/// Bounds of the time between two looks: a quarter of the shorter of deadline and grace, within these.
const OFTEN: Duration = Duration::from_millis(5);
const SELDOM: Duration = Duration::from_millis(500);

/// Starts the supervisor of a pool; it ends when the pool has stopped and no worker is busy.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let name: String = format!("jobs-{}", shared.options.name).chars().filter(|c| *c != '\0').take(15).collect();
    thread::Builder::new().name(name).spawn(move || run(&shared)).map(drop)
}

fn run(shared: &Arc<Shared>) {
    let pause = (shared.options.deadline.min(shared.options.grace) / 4).clamp(OFTEN, SELDOM);
    loop {
        if shared.is_stopped() {
            thread::sleep(pause);
        } else {
            shared.wait_for_stop(pause);
        }
        shared.release_due();
        let busy = look(shared);
        if shared.is_stopped() && !busy {
            return;
        }
    }
}

/// Gives up every worker that is overdue; tells whether any is busy.
fn look(shared: &Arc<Shared>) -> bool {
    let slots: Vec<_> = shared.slots().iter().map(Arc::clone).collect();
    let mut busy = false;
    for (number, slot) in slots.iter().enumerate() {
        let (overdue, ended) = {
            let state = slot.lock();
            busy |= state.running.is_some() && state.life == Life::Serving;
            let overdue = state.running.as_ref().and_then(|running| {
                let limit = running.deadline.saturating_add(shared.options.grace);
                (running.started.elapsed() > limit).then_some(running.deadline)
            });
            (overdue.filter(|_| state.life == Life::Serving), state.life == Life::Ended)
        };
        if let Some(deadline) = overdue {
            let message = format!("job exceeded its deadline of {deadline:?} and does not return");
            shared.replace(number, JobState::TimedOut, &PluginError::caught(message.as_bytes(), b""));
        } else if ended && !shared.is_stopped() {
            let error = PluginError::caught(b"the worker thread ended in the middle of the job", b"");
            shared.replace(number, JobState::Failed, &error);
            // Its thread is gone: it is not stuck.
            shared.counters.workers_stuck.fetch_sub(1, Ordering::Relaxed);
        }
    }
    busy
}
