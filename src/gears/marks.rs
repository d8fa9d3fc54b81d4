//! Which step of which pipeline a VM is in.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::seat::Seat;

/// Numbers of marks that belong to one pipeline of a VM.
pub const MARKS_A_PIPELINE: i32 = 64;

/// The word that compiled code sets before each step, and the pipelines of the VM.
#[derive(Debug, Default)]
pub struct Marks {
    word: Box<AtomicI32>,
    seats: RefCell<Vec<Arc<Seat>>>,
}

impl Marks {
    /// Address of the word.
    #[must_use]
    pub fn address(&self) -> *const AtomicI32 {
        &raw const *self.word
    }

    /// Adds a pipeline; gives the mark in front of that of its first step.
    pub fn add(&self, seat: Arc<Seat>) -> i32 {
        let mut seats = self.seats.borrow_mut();
        seats.push(seat);
        seats.len() as i32 * MARKS_A_PIPELINE
    }

    #[cfg(test)]
    pub(super) fn set(&self, mark: i32) {
        self.word.store(mark, Ordering::Relaxed);
    }

    /// Something failed: if that was in a step, notes it there. Once for each error, whoever tells of it.
    pub fn failed(&self, message: &str) {
        let mark = self.word.swap(0, Ordering::Relaxed);
        if let Some((seat, step)) = self.meant(mark) {
            seat.count_error(step);
            seat.pipeline().note_failure(step, message);
        }
    }

    /// Notes an error that was counted where it happened, by the mark of its step.
    pub fn note(&self, mark: i32, message: &str) {
        if let Some((seat, step)) = self.meant(mark) {
            seat.pipeline().note_failure(step, message);
        }
    }

    fn meant(&self, mark: i32) -> Option<(Arc<Seat>, usize)> {
        let place = usize::try_from(mark / MARKS_A_PIPELINE - 1).ok()?;
        let step = usize::try_from(mark % MARKS_A_PIPELINE).ok()?;
        Some((Arc::clone(self.seats.borrow().get(place)?), step))
    }
}
