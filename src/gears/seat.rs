//! The numbers of one pipeline in one VM.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::board::Pipeline;

/// What is counted of a pipeline as a whole; the places are those of `api/lua/gears_plan.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Records that the reader offered.
    Offered = 0,
    /// Of these, those not taken because the pipeline was paused or removed.
    Skipped = 1,
    /// Executions whose times were measured.
    Sampled = 2,
    /// Records that a limit turned away.
    OverLimit = 3,
    /// Windows that were closed.
    Windows = 4,
    /// Executions handed to workers.
    Handed = 5,
    /// Executions that a worker could not take or did not finish.
    Unfinished = 6,
}

/// Places in front of those of the steps.
const HEAD: usize = 8;
/// Places of a step: records that ended there, records it made, nanoseconds in sampled executions, errors.
const A_STEP: usize = 4;

/// What is counted of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepFigures {
    /// Records that ended at it.
    pub lost: f64,
    /// Records it made, if that is a number of its own.
    pub made: f64,
    /// Nanoseconds in sampled executions.
    pub nanos: f64,
    /// Records at which it failed.
    pub errors: f64,
}

/// One pipeline in one VM. Compiled code adds to the numbers by address, as floats; readers see each whole.
#[derive(Debug)]
pub struct Seat {
    pipeline: Arc<Pipeline>,
    numbers: Box<[AtomicU64]>,
}

impl Seat {
    pub(super) fn new(pipeline: Arc<Pipeline>, steps: usize) -> Self {
        // One more for what is called with the results.
        let numbers = (0..HEAD + A_STEP * (steps + 1)).map(|_| AtomicU64::new(0f64.to_bits())).collect();
        Self { pipeline, numbers }
    }

    /// The pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Address of the numbers.
    #[must_use]
    pub fn address(&self) -> *const AtomicU64 {
        self.numbers.as_ptr()
    }

    fn at(&self, place: usize) -> f64 {
        self.numbers.get(place).map_or(0.0, |number| f64::from_bits(number.load(Ordering::Relaxed)))
    }

    /// Counts an error of a step, numbered from 1. Only on the thread of the VM.
    pub(super) fn count_error(&self, step: usize) {
        let place = HEAD + A_STEP * step.saturating_sub(1) + 3;
        if let Some(number) = self.numbers.get(place) {
            number.store((self.at(place) + 1.0).to_bits(), Ordering::Relaxed);
        }
    }

    pub(super) fn add_to(&self, sums: &mut Vec<f64>) {
        sums.resize(self.numbers.len().max(sums.len()), 0.0);
        for (place, sum) in sums.iter_mut().enumerate() {
            *sum += self.at(place);
        }
    }
}

pub(super) fn figure(sums: &[f64], figure: Figure) -> f64 {
    sums.get(figure as usize).copied().unwrap_or_default()
}

pub(super) fn step(sums: &[f64], step: usize) -> StepFigures {
    let at = |place: usize| sums.get(HEAD + A_STEP * step + place).copied().unwrap_or_default();
    StepFigures { lost: at(0), made: at(1), nanos: at(2), errors: at(3) }
}
