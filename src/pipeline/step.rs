//! Driving an engine from outside, a batch at a time, for those who look at it in between.

use std::rc::Rc;

use super::engine::Engine;
use super::plan::EngineOutcome;
use crate::api::EngineContext;
use crate::capture::{Fill, SourceError};
use crate::metrics::Records;

impl Engine {
    /// Takes what has come back, reads one batch and handles it; its packets stay until the next step.
    ///
    /// # Errors
    /// When the source fails.
    pub fn step(&mut self) -> Result<Fill, SourceError> {
        self.frontend.take_completions(self.control.stopping());
        self.hand_on();
        let filled = self.source.fill(&mut self.context.batch.borrow_mut())?;
        if filled == Fill::Packets {
            self.batch();
        }
        Ok(filled)
    }

    /// What scripts can reach.
    #[must_use]
    pub fn context(&self) -> &Rc<EngineContext> {
        &self.context
    }

    /// What was recorded so far.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.outlet.records
    }

    /// Hands on what was produced outside of a step.
    pub fn settle_outside(&mut self) {
        self.hand_on();
        self.outlet.flush();
    }

    /// Ends the run, as at the end of input.
    #[must_use]
    pub fn conclude(self) -> EngineOutcome {
        self.finish(None)
    }
}
