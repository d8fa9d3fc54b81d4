//! How the updates of a meter combine within a bucket, and what survives from one bucket to the next.
//!
//! A value travels in three forms. Updates accumulate in the *bucket* words of a key's record; closing the bucket turns
//! them into *raw* words (mergeable between shards) and folds them into the *run* words; raw words *finish* into what
//! scripts and sinks see. "No value" is NaN throughout: NaN never enters as an update.

use std::fmt;

/// How a meter accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Vartype {
    /// Sum of the updates.
    Counter = 2,
    /// Sum of the updates per second.
    RateCounter = 4,
    /// Last update.
    Gauge = 5,
    /// A total that survives buckets and never drops below zero.
    RunningCounter = 8,
    /// Mean of the updates.
    Average = 9,
    /// Change of a sampled total per second.
    DeltaRateCounter = 10,
    /// Largest update.
    Maximum = 11,
    /// Smallest update.
    Minimum = 12,
}

impl Vartype {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Counter,
        Self::RateCounter,
        Self::Gauge,
        Self::RunningCounter,
        Self::Average,
        Self::DeltaRateCounter,
        Self::Maximum,
        Self::Minimum,
    ];

    /// The vartype with this number, as `T.K.vartype` numbers them.
    #[must_use]
    pub fn from_number(number: f64) -> Option<Self> {
        Self::ALL.into_iter().find(|v| f64::from(v.number()) == number)
    }

    /// Its number in `T.K.vartype`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name in `T.K.vartype`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "COUNTER",
            Self::RateCounter => "RATE_COUNTER",
            Self::Gauge => "GAUGE",
            Self::RunningCounter => "RUNNING_COUNTER",
            Self::Average => "AVERAGE",
            Self::DeltaRateCounter => "DELTA_RATE_COUNTER",
            Self::Maximum => "MAXIMUM",
            Self::Minimum => "MINIMUM",
        }
    }

    /// True if values of several keys add up to something, so that a share of the total means anything.
    #[must_use]
    pub const fn is_additive(self) -> bool {
        matches!(self, Self::Counter | Self::RateCounter | Self::RunningCounter)
    }

    /// Words of the open bucket; raw words of a closed one are as many.
    pub(super) const fn bucket_words(self) -> usize {
        match self {
            Self::Average => 2,
            _ => 1,
        }
    }

    /// Words kept for the whole run, or as base of the next bucket.
    pub(super) const fn run_words(self) -> usize {
        match self {
            Self::RunningCounter => 0,
            Self::Average => 2,
            Self::DeltaRateCounter => 3,
            _ => 1,
        }
    }

    /// What a word without updates holds. Sums begin with -0, which the first update turns into another number, +0 if it
    /// adds nothing: so a sum without updates can be told from one of zeros, and adding costs no more.
    pub(super) const fn empty(self) -> f64 {
        match self {
            Self::Gauge | Self::Maximum | Self::Minimum | Self::DeltaRateCounter => f64::NAN,
            Self::Counter | Self::RateCounter | Self::RunningCounter => -0.0,
            Self::Average => 0.0,
        }
    }

    /// Whether the raw words of a bucket are those of a meter with updates. A running total is kept, so an update of any
    /// bucket before counts as well; whoever adds -0 has not updated a sum.
    pub(super) fn is_updated(self, raw: &[f64]) -> bool {
        match self {
            Self::Gauge | Self::Maximum | Self::Minimum | Self::DeltaRateCounter => !raw[0].is_nan(),
            Self::Counter | Self::RateCounter | Self::RunningCounter => raw[0].to_bits() != self.empty().to_bits(),
            Self::Average => raw[1] > 0.0,
        }
    }

    /// Combines the raw words of two shards, or of two keys for the group's total: `into` takes `other` in.
    ///
    /// Of two gauge or delta values of the same key the later argument wins; for a total they add up.
    pub(super) fn combine(self, into: &mut [f64], other: &[f64], what: Combine) {
        let (a, b) = (into[0], other[0]);
        match self {
            Self::Counter | Self::RateCounter => {
                into[0] = match what {
                    Combine::SameKey => a + b,
                    // A negative bucket is reported as 0, and the total is that of what is reported.
                    Combine::Total => a + b.max(0.0),
                }
            }
            Self::RunningCounter => into[0] = a + b,
            Self::Average => {
                into[0] = a + b;
                into[1] += other[1];
            }
            Self::Gauge | Self::DeltaRateCounter => {
                if b.is_nan() {
                    return;
                }
                into[0] = match what {
                    Combine::Total if !a.is_nan() => a + b,
                    _ => b,
                }
            }
            // max and min ignore a NaN on either side, which is "no value" here.
            Self::Maximum => into[0] = a.max(b),
            Self::Minimum => into[0] = a.min(b),
        }
    }

    /// The value that scripts and sinks see, from the raw words of a bucket of `secs` seconds.
    pub(super) fn finish(self, raw: &[f64], secs: f64) -> f64 {
        let value = match self {
            Self::Counter => raw[0].max(0.0),
            Self::RateCounter => raw[0].max(0.0) / secs,
            Self::Average if raw[1] > 0.0 => raw[0] / raw[1],
            Self::Average => 0.0,
            _ => raw[0],
        };
        if value.is_nan() { 0.0 } else { plain(value) }
    }

    /// Raw words that finish into a value, of one update where updates are counted.
    pub(super) fn unfinish(self, value: f64, raw: &mut [f64], secs: f64) {
        raw[0] = if self == Self::RateCounter { value * secs } else { value };
        if self == Self::Average {
            raw[1] = 1.0;
        }
    }

    /// Takes the raw words of a closed bucket into the words kept for the run.
    pub(super) fn fold(self, run: &mut [f64], raw: &[f64]) {
        match self {
            Self::Counter | Self::RateCounter => run[0] += raw[0].max(0.0),
            Self::RunningCounter => {}
            Self::Average => {
                run[0] += raw[0];
                run[1] += raw[1];
            }
            Self::Gauge | Self::DeltaRateCounter => {
                if !raw[0].is_nan() {
                    run[0] = raw[0];
                }
            }
            Self::Maximum => run[0] = run[0].max(raw[0]),
            Self::Minimum => run[0] = run[0].min(raw[0]),
        }
    }

    /// The value of the whole run: volume for counters and rates, last value for gauges, running and delta meters, mean,
    /// largest or smallest for the others.
    pub(super) fn finish_run(self, words: &[f64]) -> f64 {
        match self {
            Self::RateCounter => plain(words[0]),
            _ => self.finish(words, 1.0),
        }
    }
}

/// Without the mark of a sum that was not updated.
pub(super) fn plain(word: f64) -> f64 {
    word + 0.0
}

impl fmt::Display for Vartype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What two sets of raw words stand for when they are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    /// The same key in two shards.
    SameKey,
    /// One more key of the group's total.
    Total,
}
