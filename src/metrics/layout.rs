//! Where the words of each meter lie in a key's record.

use super::Meter;
use super::vartype::Vartype;

/// Largest number of meters of a group; ids are below it.
pub const MAX_METERS: usize = 32;

/// No slot for this meter id.
const ABSENT: u8 = 0xFF;

/// One meter of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub id: u8,
    pub vartype: Vartype,
    /// First bucket word, from the start of the bucket words.
    pub bucket: u8,
    /// First run word, from the start of the run words.
    pub run: u8,
}

/// The word layout of a group's records: bucket words (those that reset first), then run words.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    slots: Vec<Slot>,
    // By meter id: index and slot side by side, so that an update reads one place.
    by_id: [(u8, Slot); MAX_METERS],
    /// Bucket words that a new bucket resets; they come first.
    pub reset: usize,
    /// All bucket words.
    pub bucket: usize,
    /// All run words.
    pub run: usize,
    /// Values a reader sees: the largest meter id plus one; gaps read 0.
    pub width: usize,
    /// Bucket and run words of a new record.
    pub template: Vec<f64>,
}

impl Layout {
    pub fn new(meters: &[Meter]) -> Self {
        let mut layout = Self {
            slots: Vec::with_capacity(meters.len()),
            by_id: [(ABSENT, Slot { id: 0, vartype: Vartype::Counter, bucket: 0, run: 0 }); MAX_METERS],
            reset: 0,
            bucket: 0,
            run: 0,
            width: 0,
            template: Vec::new(),
        };
        let keeps = |m: &&Meter| m.vartype == Vartype::RunningCounter;
        for meter in meters.iter().filter(|m| !keeps(m)).chain(meters.iter().filter(keeps)) {
            layout.add(meter);
        }
        let run = layout.slots.iter().flat_map(|s| run_template(s.vartype));
        layout.template.extend(run);
        layout
    }

    fn add(&mut self, meter: &Meter) {
        let vartype = meter.vartype;
        debug_assert!(usize::from(meter.id) < MAX_METERS, "the registry lets no other id through");
        let slot = Slot { id: meter.id, vartype, bucket: self.bucket as u8, run: self.run as u8 };
        self.by_id[usize::from(meter.id)] = (self.slots.len() as u8, slot);
        self.slots.push(slot);
        self.template.extend(std::iter::repeat_n(vartype.empty(), vartype.bucket_words()));
        self.bucket += vartype.bucket_words();
        self.run += vartype.run_words();
        self.width = self.width.max(usize::from(meter.id) + 1);
        if vartype != Vartype::RunningCounter {
            self.reset = self.bucket;
        }
    }

    /// The meters, in the order of their words.
    #[inline]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot of a meter id and its index.
    #[inline]
    pub fn find(&self, meter: u32) -> Option<(usize, Slot)> {
        let (index, slot) = *self.by_id.get(meter as usize)?;
        (index != ABSENT).then_some((usize::from(index), slot))
    }

    /// The meters whose totals outlive a bucket.
    pub fn running(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|s| s.vartype == Vartype::RunningCounter)
    }
}

fn run_template(vartype: Vartype) -> impl Iterator<Item = f64> {
    // A delta meter keeps the last rate, the last sample and the bucket it came from; none of them exists yet.
    std::iter::repeat_n(vartype.empty(), vartype.run_words())
}
