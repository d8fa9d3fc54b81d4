//! Whether packets are being dropped just now.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::life::Life;
use crate::time::Stopwatch;

/// How long one look serves.
const SERVES: Duration = Duration::from_secs(1);
/// How old a look may be to be compared with.
const STALE: Duration = Duration::from_secs(10);
/// What is waited between two looks if there was none lately.
const BETWEEN: Duration = Duration::from_millis(50);
/// How long packet threads may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Stopwatch,
    /// Packets dropped since the run began.
    total: u64,
    /// Of those, since the look before.
    new: u64,
}

/// Looks at drops when somebody asks.
pub struct Pressure {
    life: Arc<Life>,
    last: Mutex<Option<Look>>,
}

impl Pressure {
    /// Of a run.
    #[must_use]
    pub fn new(life: &Arc<Life>) -> Self {
        Self { life: Arc::clone(life), last: Mutex::default() }
    }

    /// Packets that were dropped in the last seconds. Runs over files drop none.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        if !self.life.is_live() {
            return 0;
        }
        // Whoever else asks meanwhile gets the same answer.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = last.filter(|look| look.at.elapsed() < SERVES) {
            return look.new;
        }
        let before = match last.filter(|look| look.at.elapsed() < STALE) {
            Some(look) => look.total,
            None => {
                let total = self.life.dropped(PATIENCE);
                thread::sleep(BETWEEN);
                total
            }
        };
        let total = self.life.dropped(PATIENCE);
        let look = Look { at: Stopwatch::start(), total, new: total.saturating_sub(before) };
        *last = Some(look);
        look.new
    }
}
