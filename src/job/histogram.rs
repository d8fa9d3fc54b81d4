//! Times on a logarithmic scale: quantiles within a fifth of the truth, in a kilobyte.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: u32 = 4;
const BUCKETS: usize = 64 * STEPS as usize;

/// How often each length of time occurred.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, time: Duration) {
        self.counts[bucket(time)] += 1;
        self.total += 1;
        self.longest = self.longest.max(time);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// The times that people ask for.
    pub(super) fn times(&self) -> Times {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| self.quantile(share));
        Times { count: self.total, p50, p90, p99, max: self.longest }
    }

    /// The time that `share` (0..=1) of all stay at or below; zero if there are none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        // The smallest count that is at least the share; a float holds every count that occurs.
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

/// How long jobs took.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    /// From scheduling to each start.
    pub waits: Histogram,
    /// Each attempt.
    pub runs: Histogram,
    /// From scheduling to the end of the last attempt.
    pub whole: Histogram,
}

impl Spans {
    pub(super) fn merge(&mut self, other: &Self) {
        self.waits.merge(&other.waits);
        self.runs.merge(&other.runs);
        self.whole.merge(&other.whole);
    }
}

/// How long something took, in all that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many were counted.
    pub count: u64,
    /// Half took no longer.
    pub p50: Duration,
    /// 9 of 10 took no longer.
    pub p90: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

fn bucket(time: Duration) -> usize {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
    let power = nanos.ilog2();
    // The two bits below the leading one tell the quarter of the doubling.
    let quarter = if power >= 2 { (nanos >> (power - 2)) & 3 } else { (nanos << (2 - power)) & 3 };
    (power * STEPS) as usize + quarter as usize
}

fn upper_bound(index: usize) -> Duration {
    let (power, quarter) = ((index / STEPS as usize) as u32, (index % STEPS as usize) as u128);
    let bound = (1_u128 << power) + (((quarter + 1) << power) >> 2);
    Duration::from_nanos(u64::try_from(bound).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn quantiles_are_within_a_quarter() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(0.5), Duration::ZERO);
        for micros in 1..=1000 {
            times.record(Duration::from_micros(micros));
        }
        let mut twice = times.clone();
        twice.merge(&times);
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = twice.quantile(share).as_secs_f64() * 1e6;
            assert!((exact..=exact * 1.26).contains(&found), "{share}: {found}");
        }
    }

    #[test]
    fn nothing_took_longer_than_the_longest() {
        let mut times = Histogram::default();
        times.record(Duration::from_millis(1050));
        let mut both = Histogram::default();
        both.record(Duration::from_millis(1));
        both.merge(&times);
        assert_eq!(both.times().max, Duration::from_millis(1050));
        assert_eq!(
            (times.quantile(0.5), both.quantile(1.0)),
            (Duration::from_millis(1050), Duration::from_millis(1050))
        );
    }

    #[test]
    fn extremes_have_a_place() {
        let mut times = Histogram::default();
        times.record(Duration::ZERO);
        times.record(Duration::MAX);
        assert!(times.quantile(0.5) <= Duration::from_nanos(2));
        assert!(times.quantile(1.0) > Duration::from_secs(1 << 30));
    }
}
