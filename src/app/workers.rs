//! The workers of all scripts of a run, those of scripts that came later included: what they have started ends with the run.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::job::{Pool, end_commands};

/// How long the children of jobs are waited for.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// Every pool that a run has started.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<Mutex<Vec<Pool>>>);

impl Workers {
    /// More of them.
    pub fn add(&self, pools: &[Pool]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(pools);
    }

    /// Ends the child processes of all jobs and the commands of other scripts, which would outlive this process, or gives up
    /// after a moment. In a thread of its own: a lock that some other thread holds must not keep the process alive.
    pub fn end_children(&self) {
        end_commands();
        let workers = self.clone();
        let (told, done) = crossbeam_channel::bounded(1);
        let thread = thread::Builder::new().spawn(move || {
            workers.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Pool::abort);
            // Nobody listens after the last moment.
            let _ = told.send(());
        });
        if thread.is_ok() {
            let _ = done.recv_timeout(LAST_MOMENT);
        }
    }
}
