//! How a job is to be treated if not like most: again after a failure, in order with others, sooner or later than they.

use std::sync::Arc;
use std::time::Duration;

use crate::lua::Portable;

use super::model::JobId;

/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a worker takes for a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Returns {
    /// Strings and numbers.
    #[default]
    Text,
    /// Whatever can travel.
    Any,
}

/// Which ends the plugin deals with itself, so that they are no faults of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handled {
    /// None.
    #[default]
    Nothing,
    /// Errors.
    Errors,
    /// Time-outs.
    Timeouts,
    /// Both.
    Both,
}

impl Handled {
    /// Whether it deals with errors.
    #[must_use]
    pub const fn errors(self) -> bool {
        matches!(self, Self::Errors | Self::Both)
    }

    /// Whether it deals with time-outs.
    #[must_use]
    pub const fn timeouts(self) -> bool {
        matches!(self, Self::Timeouts | Self::Both)
    }
}

/// How long to wait before a job is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backoff {
    /// Not at all.
    #[default]
    None,
    /// The same time before each attempt.
    Fixed(Duration),
    /// Twice as long before each further attempt, less up to half of it by chance.
    Exponential {
        /// Before the second attempt.
        first: Duration,
        /// At most.
        most: Duration,
    },
}

impl Backoff {
    /// The pause after `attempts` attempts of a job. What is left to chance depends on the job alone, so that runs repeat.
    #[must_use]
    pub fn pause(self, id: JobId, attempts: u16) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time.min(LONGEST),
            Self::Exponential { first, most } => {
                let doubled = u32::from(attempts.saturating_sub(1)).min(31);
                let whole = first.saturating_mul(1 << doubled).min(most).min(LONGEST);
                let chance = scramble(id.seq() ^ u64::from(attempts) << 48 ^ u64::from(id.engine()) << 32);
                // The upper 32 bits as a fraction of a half.
                whole - whole.mul_f64((chance >> 32) as f64 / f64::from(u32::MAX) / 2.0)
            }
        }
    }
}

/// SplitMix64.
const fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How a job is to be treated.
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    /// Further attempts after one that failed or exceeded its time.
    pub retries: u16,
    /// Pause before each of them.
    pub backoff: Backoff,
    /// Jobs of one key run one after the other, in the order scheduled.
    pub key: Option<Box<[u8]>>,
    /// Jobs of a higher priority start first; most have 0.
    pub priority: i8,
    /// What is a result.
    pub returns: Returns,
    /// Which ends are no faults.
    pub handled: Handled,
    /// What to call the function, if not by where it begins.
    pub name: Option<Arc<str>>,
}

/// What many jobs have in common: what they run, how long, and how they are treated.
#[derive(Clone, Debug)]
pub struct JobShape {
    /// The function.
    pub function: Arc<Portable>,
    /// How they are treated, if not like most.
    pub options: Option<Arc<JobOptions>>,
    /// How long they may run; `None` for the pool's default.
    pub timeout: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, LONGEST};
    use crate::job::JobIds;

    #[test]
    fn pauses_double_up_to_the_most_and_are_never_less_than_half() {
        let id = JobIds::new(3).next();
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(2));
        let backoff = Backoff::Exponential { first, most };
        for attempts in 1..=40 {
            let whole = first.saturating_mul(1 << u32::from(attempts - 1).min(20)).min(most);
            let pause = backoff.pause(id, attempts);
            assert!(pause <= whole && pause >= whole / 2, "{attempts}: {pause:?}");
            assert_eq!(pause, backoff.pause(id, attempts), "the same job waits the same time in every run");
        }
        let endless = Backoff::Exponential { first: Duration::MAX, most: Duration::MAX };
        assert!(endless.pause(id, u16::MAX) <= LONGEST);
        assert_eq!(Backoff::Fixed(most).pause(id, 9), most);
        assert_eq!(Backoff::None.pause(id, 9), Duration::ZERO);
    }

    #[test]
    fn jobs_that_failed_together_are_not_tried_again_together() {
        let ids = JobIds::new(0);
        let backoff = Backoff::Exponential { first: Duration::from_secs(1), most: Duration::from_secs(60) };
        let mut pauses: Vec<_> = (0..100).map(|_| backoff.pause(ids.next(), 1)).collect();
        pauses.sort_unstable();
        assert!(pauses[90] - pauses[10] > Duration::from_millis(250), "{pauses:?}");
    }
}
