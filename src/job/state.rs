//! The states of a job and the steps between them: a pure machine that knows no thread, no clock and no memory.
//!
//! The owner of a job makes its steps. That a job never has two owners is the business of the places it passes through;
//! `interleavings.rs` tries all orders in which workers, cancellations, the supervisor and the owner's end can meet there.

/// Where a job is in its life. The last five are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Scheduled and not handed over.
    Created,
    /// Waiting for a worker, or for its next attempt.
    Queued,
    /// On a worker.
    Running,
    /// It ran to its end, with or without a result.
    Done,
    /// It raised an error, or its result was refused.
    Failed,
    /// It exceeded its deadline.
    TimedOut,
    /// It was taken back before it ended.
    Cancelled,
    /// It was never accepted, or made room for others before it began.
    Dropped,
}

impl JobState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Dropped,
    ];

    /// The name used in events and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Dropped => "dropped",
        }
    }

    /// Whether it is an end.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Dropped)
    }
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is handed over to the pool.
    Accept,
    /// A limit keeps it out, or it makes room for another.
    Drop,
    /// A worker begins it.
    Start,
    /// An attempt failed and another will follow.
    Retry,
    /// It comes to an end: done, failed, timed out or cancelled.
    End(JobState),
    /// With delivery in order: it was taken back after its worker had ended it and before anybody was told.
    Overrule,
}

/// A step that a job in its state cannot make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot make the step {step:?}", state.name())]
pub struct Impossible {
    /// Where the job is.
    pub state: JobState,
    /// What was asked of it.
    pub step: Step,
}

/// State and attempts of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    state: JobState,
    attempts: u16,
}

impl Life {
    /// A job that has just been scheduled.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: JobState::Created, attempts: 0 }
    }

    /// Where it is.
    #[must_use]
    pub const fn state(self) -> JobState {
        self.state
    }

    /// How often it was started.
    #[must_use]
    pub const fn attempts(self) -> u16 {
        self.attempts
    }

    /// The same, failed: its result was refused on the way home, before anybody was told.
    #[must_use]
    pub const fn refused(self) -> Self {
        let state = if matches!(self.state, JobState::Done) { JobState::Failed } else { self.state };
        Self { state, ..self }
    }

    /// Makes a step; gives the new state. A step that is impossible changes nothing.
    ///
    /// # Errors
    /// When a job in this state cannot make it, as after its end.
    pub const fn step(&mut self, step: Step) -> Result<JobState, Impossible> {
        use JobState::{Cancelled, Created, Done, Dropped, Failed, Queued, Running, TimedOut};
        let next = match (self.state, step) {
            (Created, Step::Accept) | (Running, Step::Retry) => Queued,
            (Created | Queued, Step::Drop) => Dropped,
            (Queued, Step::Start) => {
                self.attempts = self.attempts.saturating_add(1);
                Running
            }
            (Running, Step::End(end @ (Done | Failed | TimedOut | Cancelled)))
            // Without a worker it cannot be done; it fails where no worker is left, and its time may be over.
            | (Created | Queued, Step::End(end @ (Failed | TimedOut | Cancelled))) => end,
            (Done | Failed | TimedOut, Step::Overrule) => Cancelled,
            (state, step) => return Err(Impossible { state, step }),
        };
        self.state = next;
        Ok(next)
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_oneof};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{JobState, Life, Step};

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            proptest::strategy::Just(Step::Accept),
            proptest::strategy::Just(Step::Drop),
            proptest::strategy::Just(Step::Start),
            proptest::strategy::Just(Step::Retry),
            proptest::strategy::Just(Step::Overrule),
            prop::sample::select(JobState::ALL.to_vec()).prop_map(Step::End),
        ]
    }

    proptest! {
        #[test]
        fn a_job_ends_once_and_is_started_as_often_as_it_says(steps in prop::collection::vec(steps(), 0..64)) {
            let mut life = Life::new();
            let (mut ends, mut starts, mut accepted) = (0, 0, 0);
            for step in steps {
                let before = life;
                match life.step(step) {
                    Ok(state) => {
                        prop_assert_eq!(state, life.state());
                        // Taking back an end nobody was told of replaces it and is no second one.
                        ends += u32::from(state.is_end() && step != Step::Overrule);
                        starts += u16::from(step == Step::Start);
                        accepted += u32::from(step == Step::Accept);
                        prop_assert!(!before.state().is_end() || step == Step::Overrule);
                        prop_assert!(state != JobState::Done || before.state() == JobState::Running);
                    }
                    Err(refused) => {
                        prop_assert_eq!(before, life, "what is refused changes nothing");
                        prop_assert_eq!((refused.state, refused.step), (before.state(), step));
                    }
                }
            }
            prop_assert_eq!(ends, u32::from(life.state().is_end()));
            prop_assert_eq!(starts, life.attempts());
            prop_assert!(accepted <= 1);
        }
    }

    #[test]
    fn every_state_is_reached_and_from_each_an_end_can_be_reached() {
        let all_steps = || {
            [Step::Accept, Step::Drop, Step::Start, Step::Retry, Step::Overrule]
                .into_iter()
                .chain(JobState::ALL.map(Step::End))
        };
        let mut reached = vec![Life::new()];
        let mut next = 0;
        while let Some(life) = reached.get(next).copied() {
            next += 1;
            for step in all_steps() {
                let mut after = life;
                if after.step(step).is_ok() && !reached.iter().any(|known| known.state() == after.state()) {
                    reached.push(after);
                }
            }
        }
        assert_eq!(reached.len(), JobState::ALL.len());
        for life in reached {
            let can_end = || all_steps().any(|step| { life }.step(step).is_ok_and(JobState::is_end));
            assert!(life.state().is_end() || can_end(), "{life:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_asked_of_which_state() {
        let mut life = Life::new();
        let refused = life.step(Step::Start).unwrap_err();
        assert_eq!(refused.to_string(), "a job that is created cannot make the step Start");
    }
}
