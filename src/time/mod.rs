//! Points in time and the only place that reads a clock.
//!
//! Packet time is a [`Timestamp`]: nanoseconds since the Unix epoch. Wall and monotonic time come from [`wall`] and
//! [`Stopwatch`]; every other module takes time as an argument, so that runs over files are reproducible.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A tick is 2^28 ns, 268 ms.
const TICK_BITS: u32 = 28;

/// A point in time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// The last one there is, in the year 2262; what would be later is at it.
    pub const LAST: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds and nanoseconds; saturates at the ends of the range instead of wrapping.
    #[inline]
    #[must_use]
    pub const fn new(secs: i64, nanos: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// From seconds with a fraction; NaN becomes the epoch, values out of range saturate.
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Self {
        let whole = secs.floor();
        // A float-to-integer cast saturates and maps NaN to zero, which is what is wanted here.
        Self::new(whole as i64, ((secs - whole) * 1e9).round() as i64)
    }

    /// Nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[inline]
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Microseconds within the second, 0..1,000,000.
    #[must_use]
    pub const fn subsec_micros(self) -> u32 {
        (self.0.rem_euclid(1_000_000_000) / 1_000) as u32
    }

    /// Nanoseconds within the second, 0..1,000,000,000.
    #[must_use]
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(1_000_000_000) as u32
    }

    /// Seconds since the epoch with a fraction.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.secs() as f64 + f64::from(self.subsec_nanos()) / 1e9
    }

    /// The number of its tick, by which flows grow old: 2^28 ns, 268 ms.
    #[inline]
    #[must_use]
    pub const fn tick(self) -> i64 {
        self.0 >> TICK_BITS
    }

    /// When its tick is over.
    #[must_use]
    pub const fn end_of_tick(self) -> Self {
        Self((self.0 | ((1 << TICK_BITS) - 1)).saturating_add(1))
    }

    /// When its second is over.
    #[must_use]
    pub const fn end_of_second(self) -> Self {
        Self::new(self.secs() + 1, 0)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` moved forward; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The wall clock now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads clocks")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A moment of the monotonic clock, for measuring how long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this module is the one that reads clocks")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The moment `after` this one, for waiting with a deadline.
    #[must_use]
    pub fn deadline(self, after: Duration) -> Instant {
        self.0 + after
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn parts_of_a_time_before_the_epoch_are_positive() {
        let t = Timestamp::from_nanos(-1);
        assert_eq!((t.secs(), t.subsec_micros(), t.subsec_nanos()), (-1, 999_999, 999_999_999));
    }

    #[test]
    fn ticks_and_seconds_end_where_the_next_begin() {
        for nanos in
            [i64::MIN, -1_500_000_000, -1, 0, 1, 999_999_999, 1 << 28, (1 << 28) - 1, 1_700_000_000_123_456_789]
        {
            let time = Timestamp::from_nanos(nanos);
            let before = |end: Timestamp| Timestamp::from_nanos(end.as_nanos() - 1);
            let (tick, second) = (time.end_of_tick(), time.end_of_second());
            assert_eq!((tick.tick(), before(tick).tick()), (time.tick() + 1, time.tick()), "{nanos}");
            assert_eq!((second.secs(), before(second).secs()), (time.secs() + 1, time.secs()), "{nanos}");
        }
        assert_eq!([Timestamp::LAST.end_of_tick(), Timestamp::LAST.end_of_second()], [Timestamp::LAST; 2]);
    }

    #[test]
    fn out_of_range_saturates() {
        assert_eq!(Timestamp::new(i64::MAX, 5).as_nanos(), i64::MAX);
        assert_eq!(Timestamp::from_secs_f64(f64::NAN), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_secs_f64(1.5), Timestamp::new(1, 500_000_000));
    }
}
