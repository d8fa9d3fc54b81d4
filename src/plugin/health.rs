//! How a plugin instance is doing: fault counts, when a callback is suspended, when the instance is disabled.
//!
//! Pure bookkeeping on stream time; the instance acts on what it answers.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use mlua::LightUserData;

use crate::lua::{FaultKind, Slow};
use crate::time::Timestamp;

/// Errors of one callback reported in full per minute; further ones are only counted.
const REPORTED_PER_MINUTE: u64 = 10;
/// Errors in a row after which a callback is suspended.
pub const ROW_LIMIT: i32 = 1_000;
const FIRST_SUSPENSION: Duration = Duration::from_secs(30);
const LONGEST_SUSPENSION: Duration = Duration::from_secs(600);
/// Interruptions within [`INTERRUPTION_WINDOW`] after which the instance is disabled.
const INTERRUPTION_LIMIT: usize = 3;
const INTERRUPTION_WINDOW: Duration = Duration::from_secs(600);

/// Errors in a row of a callback that a driver calls in a loop. It counts where the driver does: what it had counted when
/// the loop is unwound would be lost otherwise.
#[repr(C)]
#[derive(Debug, Default)]
struct Run {
    errors: Cell<i32>,
    /// The place at which the calls since the last error begin.
    from: Cell<i32>,
}

/// The row of one loop. It stays where it is.
#[derive(Debug, Default)]
pub struct ErrorRow(Box<Run>);

impl ErrorRow {
    /// For the driver: `int32_t[2]`, the errors and the place at which the calls since the last one begin.
    #[must_use]
    pub fn address(&self) -> LightUserData {
        LightUserData(std::ptr::from_ref(&*self.0).cast_mut().cast())
    }

    /// The call in a place failed, and the loop was unwound.
    pub fn unwound(&self, place: usize) {
        let follows = usize::try_from(self.0.from.get()) == Ok(place);
        self.0.errors.set(if follows { self.0.errors.get() + 1 } else { 1 });
    }

    /// A call outside the loop failed.
    pub fn failed(&self) {
        self.0.errors.set(self.0.errors.get() + 1);
    }

    /// A call outside the loop did not fail.
    pub fn succeeded(&self) {
        self.0.errors.set(0);
    }

    /// Whether there are so many that the callback is to be suspended; if so, they are counted from nothing again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let is_full = self.0.errors.get() >= ROW_LIMIT;
        if is_full {
            self.succeeded();
        }
        is_full
    }
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Report it in full.
    Report,
    /// Only count it.
    Count,
}

#[derive(Debug, Default)]
struct Minute {
    start: i64,
    seen: u64,
    silent: u64,
}

/// Bookkeeping of one instance.
#[derive(Debug, Default)]
pub struct Health {
    minutes: HashMap<String, Minute>,
    interruptions: Vec<Timestamp>,
    suspended_until: Option<Timestamp>,
    last_suspension: Option<Duration>,
    disabled: Option<&'static str>,
    /// Slow callbacks that nobody was told of.
    slow: Option<Slow>,
    /// When somebody was told of slow callbacks last.
    slow_told: Option<Timestamp>,
    /// All faults.
    pub faults: u64,
    /// Faults that were interruptions.
    pub interrupted: u64,
    /// Calls not made because the instance was suspended or disabled.
    pub skipped: u64,
}

impl Health {
    /// Notes a fault of a callback.
    pub fn fault(&mut self, callback: &str, kind: FaultKind, now: Timestamp) -> Verdict {
        self.faults += 1;
        if kind == FaultKind::Interrupted {
            self.interrupted += 1;
            self.interruptions.retain(|at| now.since(*at) < INTERRUPTION_WINDOW);
            self.interruptions.push(now);
            if self.interruptions.len() >= INTERRUPTION_LIMIT {
                self.disabled = Some("interrupted three times within ten minutes");
            }
        }
        let minute = match self.minutes.get_mut(callback) {
            Some(minute) => minute,
            None => {
                self.minutes.entry(callback.to_owned()).or_insert(Minute { start: now.secs(), ..Minute::default() })
            }
        };
        if now.secs() - minute.start >= 60 {
            // What was silent stays counted until `silent` takes it.
            minute.start = now.secs();
            minute.seen = 0;
        }
        minute.seen += 1;
        if minute.seen <= REPORTED_PER_MINUTE {
            return Verdict::Report;
        }
        minute.silent += 1;
        Verdict::Count
    }

    /// Faults counted but not told yet, of callbacks whose minute is over (or of all): callback and count.
    pub fn take_silent(&mut self, now: Option<Timestamp>) -> Vec<(String, u64)> {
        let mut silent: Vec<_> = self
            .minutes
            .iter_mut()
            .filter(|(_, minute)| minute.silent > 0 && now.is_none_or(|now| now.secs() - minute.start >= 60))
            .map(|(callback, minute)| (callback.clone(), std::mem::take(&mut minute.silent)))
            .collect();
        silent.sort_unstable();
        silent
    }

    /// Notes slow callbacks.
    pub fn slow(&mut self, slow: Slow) {
        self.slow = Some(self.slow.map_or(slow, |earlier| earlier.and(slow)));
    }

    /// Slow callbacks not told of yet, if the last word about others is a pause ago.
    pub fn take_slow(&mut self, now: Timestamp, pause: Duration) -> Option<Slow> {
        if self.slow_told.is_some_and(|told| now < told.plus(pause)) {
            return None;
        }
        let slow = self.slow.take()?;
        self.slow_told = Some(now);
        Some(slow)
    }

    /// Suspends the instance after too many errors in a row; each time twice as long. Returns for how long.
    pub fn suspend(&mut self, now: Timestamp) -> Duration {
        let length = self.last_suspension.map_or(FIRST_SUSPENSION, |last| (last * 2).min(LONGEST_SUSPENSION));
        self.last_suspension = Some(length);
        self.suspended_until = Some(now.plus(length));
        length
    }

    /// Disables the instance for good.
    pub fn disable(&mut self, reason: &'static str) {
        self.disabled = Some(reason);
    }

    /// Why the instance is disabled.
    #[must_use]
    pub fn disabled(&self) -> Option<&'static str> {
        self.disabled
    }

    /// Until when the instance is suspended, if it is.
    #[must_use]
    pub fn suspended_until(&self) -> Option<Timestamp> {
        self.suspended_until
    }

    /// True if callbacks may run now.
    #[inline]
    pub fn may_run(&mut self, now: Timestamp) -> bool {
        if self.disabled.is_some() {
            return false;
        }
        match self.suspended_until {
            None => true,
            Some(until) if now >= until => {
                self.suspended_until = None;
                true
            }
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorRow, Health, ROW_LIMIT, Verdict};
    use crate::lua::{FaultKind, Slow};
    use crate::time::Timestamp;
    use std::time::Duration;

    fn at(secs: i64) -> Timestamp {
        Timestamp::new(secs, 0)
    }

    #[test]
    fn ten_errors_a_minute_are_told_the_rest_is_summed() {
        let mut health = Health::default();
        let told = (0..25).filter(|_| health.fault("a.b", FaultKind::Error, at(5)) == Verdict::Report).count();
        assert_eq!(told, 10);
        assert!(health.take_silent(Some(at(30))).is_empty());
        assert_eq!(health.take_silent(Some(at(65))), [("a.b".to_owned(), 15)]);
        assert_eq!(health.fault("a.b", FaultKind::Error, at(66)), Verdict::Report);
        assert_eq!(health.faults, 26);
    }

    #[test]
    fn slow_callbacks_are_told_of_once_a_minute_with_all_since() {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut health = Health::default();
        let mut counts = Vec::new();
        for second in (0..=120).step_by(10) {
            health.slow(Slow { count: 1, longest: Duration::from_millis(60), progress: 0 });
            counts.extend(health.take_slow(at(second), MINUTE).map(|slow| (second, slow.count)));
        }
        assert_eq!(counts, [(0, 1), (60, 6), (120, 6)]);
        assert_eq!(health.take_slow(at(1_000), MINUTE), None);
        health.slow(Slow { count: 2, longest: Duration::from_millis(60), progress: 0 });
        let at_the_end = health.take_slow(at(120), Duration::ZERO);
        assert_eq!(at_the_end.map(|slow| slow.count), Some(2));
    }

    #[test]
    fn errors_in_a_row_are_counted_on_when_the_loop_is_unwound() {
        let row = ErrorRow::default();
        // As a driver that caught 10 errors, the last in place 9.
        row.0.errors.set(10);
        row.0.from.set(10);
        row.unwound(10);
        assert_eq!(row.0.errors.get(), 11);
        row.0.from.set(11);
        row.unwound(13);
        assert_eq!(row.0.errors.get(), 1, "the calls in places 11 and 12 did not fail");
        row.0.errors.set(ROW_LIMIT - 1);
        assert!(!row.is_full());
        row.failed();
        assert!(row.is_full());
        assert!(!row.is_full());
    }

    #[test]
    fn suspensions_double_up_to_ten_minutes() {
        let mut health = Health::default();
        let lengths: Vec<_> = (0..7).map(|i| health.suspend(at(i * 1000)).as_secs()).collect();
        assert_eq!(lengths, [30, 60, 120, 240, 480, 600, 600]);
        assert!(!health.may_run(at(6_001)));
        assert!(health.may_run(at(6_600)));
    }

    #[test]
    fn the_third_interruption_within_ten_minutes_disables() {
        let mut health = Health::default();
        health.fault("a", FaultKind::Interrupted, at(0));
        health.fault("a", FaultKind::Interrupted, at(500));
        health.fault("a", FaultKind::Interrupted, at(700));
        assert_eq!(health.disabled(), None);
        health.fault("a", FaultKind::Interrupted, at(800));
        assert!(health.disabled().is_some());
        assert!(!health.may_run(at(0).plus(Duration::from_secs(10_000_000))));
    }
}
