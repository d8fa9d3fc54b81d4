//! Pipelines that plugins register: which there are, whether they may run, and what became of their records.
//!
//! A [`Board`] belongs to a run and is read from any thread; a [`Seat`] belongs to one pipeline in one VM, whose compiled code
//! adds to its numbers by address; a [`Marks`] says which step of which pipeline a VM is in, so that an error finds its step.
//! Knows nothing of Lua, packets or the store. Invariant: a pipeline that is paused or removed begins no execution, and every
//! record it was offered meanwhile is counted.

mod board;
mod marks;
mod seat;

pub use board::{Board, Description, Failure, Pipeline, State, StepText, Summary};
pub use marks::{MARKS_A_PIPELINE, Marks};
pub use seat::{Figure, Seat, StepFigures};
