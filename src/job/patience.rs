//! How long an idle worker looks for jobs before it sleeps.
//!
//! Waking a sleeping thread takes some 30 µs and a system call of the thread that schedules, so looking pays where the
//! next job is near; where it is not, looking only takes a processor away. What was will be: a worker looks for about twice
//! as long as jobs have lately been apart, within bounds, and for the shortest time where they come rarely.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Looked for in any case.
const SHORTEST: Duration = Duration::from_micros(20);
/// Looked for at most.
const LONGEST: Duration = Duration::from_micros(200);

/// How far apart jobs have been. Shared by the workers of a pool; exact values do not matter.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Nanoseconds, a moving average over about eight gaps.
    usual: AtomicU64,
}

impl Patience {
    /// How long to look now.
    pub(super) fn limit(&self) -> Duration {
        let twice = Duration::from_nanos(self.usual.load(Ordering::Relaxed).saturating_mul(2));
        if twice > LONGEST { SHORTEST } else { twice.max(SHORTEST) }
    }

    /// A worker was idle for this long.
    pub(super) fn note(&self, gap: Duration) {
        // One long pause is not to be held against the many jobs that may follow it.
        let gap = gap.min(LONGEST * 4).as_nanos() as u64;
        let usual = self.usual.load(Ordering::Relaxed);
        self.usual.store(usual - usual / 8 + gap / 8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONGEST, Patience, SHORTEST};

    #[test]
    fn a_worker_looks_longer_where_jobs_are_near_and_no_longer_where_they_are_rare() {
        let patience = Patience::default();
        let after = |gap: u64| {
            (0..100).for_each(|_| patience.note(Duration::from_micros(gap)));
            patience.limit()
        };
        assert_eq!(patience.limit(), SHORTEST);
        assert_eq!(after(2), SHORTEST);
        let near = after(60);
        assert!(near > Duration::from_micros(100) && near <= Duration::from_micros(120), "{near:?}");
        assert_eq!(after(1_000), SHORTEST);
        assert_eq!(after(1_000_000), SHORTEST);
        assert!(after(99) <= LONGEST);
    }

    #[test]
    fn one_long_pause_is_forgotten_within_a_few_jobs() {
        let patience = Patience::default();
        (0..100).for_each(|_| patience.note(Duration::from_micros(30)));
        patience.note(Duration::from_secs(10));
        (0..8).for_each(|_| patience.note(Duration::from_micros(30)));
        assert!(patience.limit() > SHORTEST);
    }
}
