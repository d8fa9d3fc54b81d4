//! Updates of a (key, meter) as they were made, before any bucket arithmetic.

use super::table::Record;

/// All updates of one key and meter of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// How many.
    pub updates: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The last one.
    pub last: f64,
}

impl Tally {
    const NONE: Self = Self { updates: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, last: 0.0 };

    /// Takes in the updates of another shard; its last update counts as the later one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.updates += other.updates;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.last = other.last;
    }
}

/// The tallies of a group, beside its records: they exist only when somebody wants the events.
#[derive(Clone, Debug)]
pub(super) struct TallyColumn {
    rows: Vec<Tally>,
    meters: usize,
}

impl TallyColumn {
    pub fn new(meters: usize) -> Self {
        Self { rows: Vec::new(), meters }
    }

    pub fn grow(&mut self) {
        self.rows.resize(self.rows.len() + self.meters, Tally::NONE);
    }

    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Tally>()
    }

    pub fn add(&mut self, record: Record, slot: usize, value: f64) {
        let one = Tally { updates: 1, sum: value, min: value, max: value, last: value };
        self.rows[record as usize * self.meters + slot].merge(&one);
    }

    /// `None` if there was no update.
    pub fn read(&self, record: Record, slot: usize) -> Option<Tally> {
        self.rows.get(record as usize * self.meters + slot).filter(|t| t.updates > 0).copied()
    }

    pub fn retain(&mut self, keep: impl Fn(Record) -> bool) {
        let meters = self.meters;
        let mut at = 0;
        self.rows.retain(|_| {
            at += 1;
            keep(((at - 1) / meters) as Record)
        });
    }
}
