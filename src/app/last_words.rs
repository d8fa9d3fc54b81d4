//! How the process ends when it cannot wait for its threads: what they have made so far is written first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::job::end_commands;
use crate::sink::{Save, hold_files};
use crate::time::Stopwatch;

/// How long outputs may take for it, all together.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a line that is being written may take.
const LAST_LINE: Duration = Duration::from_millis(250);

/// What outputs do then.
#[derive(Clone, Default)]
pub struct LastWords(Arc<Mutex<Vec<Save>>>);

impl LastWords {
    /// Outputs that are open.
    pub fn are_of(&self, outputs: Vec<Save>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = outputs;
    }

    /// Has them write what there is, in whole lines.
    pub fn say(&self) {
        let since = Stopwatch::start();
        let outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.iter().for_each(|save| save(LIMIT.saturating_sub(since.elapsed())));
    }
}

/// For a process that ends, whatever its threads do: ends the commands of scripts and jobs, and leaves no line of a file half
/// written.
pub fn hold() {
    end_commands();
    hold_files(LAST_LINE);
}

/// Ends the process at once, with nothing left behind as [`hold`] has it.
pub fn exit(status: i32) -> ! {
    hold();
    signal_hook::low_level::exit(status)
}
