//! All pipelines of a run.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::seat::{self, Figure, Seat, StepFigures};

/// Failures kept of a pipeline; the oldest goes first.
const FAILURES: usize = 16;
/// Longest message that is kept.
const MESSAGE_BYTES: usize = 512;
/// Most pipelines of a run; more are not listed.
const MOST: usize = 4_096;

/// Whether a pipeline takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum State {
    /// It does.
    Active = 0,
    /// Not until it is resumed.
    Paused = 1,
    /// Not any more, and not in later runs either.
    Removed = 2,
}

impl State {
    /// Its name in outputs and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Removed => "removed",
        }
    }

    /// The state of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Removed].into_iter().find(|state| state.name() == name)
    }
}

/// A step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepText {
    /// What it does.
    pub kind: String,
    /// File and line of its function; empty without one.
    pub place: String,
    /// Whether it makes records of its own, so that those it took say nothing about those that leave it.
    pub makes: bool,
}

/// What a plugin says about a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `TrisulPlugin.id.name`.
    pub plugin: String,
    /// Name within the plugin.
    pub name: String,
    /// Where records come from.
    pub reader: String,
    /// How it is executed.
    pub mode: String,
    /// Seconds of a window; 0 without.
    pub window: f64,
    /// Its steps.
    pub steps: Vec<StepText>,
}

/// An error in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Step, from 1; one more than there are is the function that takes results.
    pub step: usize,
    /// What it says.
    pub message: String,
    /// How often in a row.
    pub count: u64,
}

/// One pipeline of a plugin, in all VMs together.
#[derive(Debug)]
pub struct Pipeline {
    /// What the plugin says about it.
    pub description: Description,
    state: AtomicI32,
    seats: Mutex<Vec<Arc<Seat>>>,
    /// Sums of seats whose VM is gone.
    left: Mutex<Vec<f64>>,
    failures: Mutex<VecDeque<Failure>>,
}

/// How a pipeline does.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the plugin says about it.
    pub description: Description,
    /// Whether it takes records.
    pub state: State,
    /// VMs it is in.
    pub vms: usize,
    /// Executions begun.
    pub executions: f64,
    /// Records that came while it was paused or removed.
    pub skipped: f64,
    /// Records that a limit turned away.
    pub over_limit: f64,
    /// Windows closed.
    pub windows: f64,
    /// Executions handed to workers.
    pub handed: f64,
    /// Of these, those that came to nothing.
    pub unfinished: f64,
    /// Records in and out of each step, nanoseconds a record, errors.
    pub steps: Vec<StepSummary>,
    /// Errors of the function that takes results.
    pub result_errors: f64,
    /// The last failures.
    pub failures: Vec<Failure>,
}

/// How a step does.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSummary {
    /// As it is shown.
    pub text: StepText,
    /// Records it was given.
    pub taken: f64,
    /// Records that left it.
    pub given: f64,
    /// Nanoseconds a sampled execution spent in it; `None` if none was measured.
    pub nanos: Option<f64>,
    /// Records at which it failed.
    pub errors: f64,
}

/// The lists have no state that a panic could leave half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipeline {
    /// Address of the word that says whether it may run.
    #[must_use]
    pub fn state_address(&self) -> *const AtomicI32 {
        &raw const self.state
    }

    /// Whether it takes records.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Active,
            1 => State::Paused,
            _ => State::Removed,
        }
    }

    /// Changes whether it takes records.
    pub fn set_state(&self, state: State) {
        self.state.store(state as i32, Ordering::Relaxed);
    }

    pub(super) fn note_failure(&self, step: usize, message: &str) {
        let mut end = message.len().min(MESSAGE_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = &message[..end];
        let mut failures = locked(&self.failures);
        if let Some(last) = failures.back_mut().filter(|last| last.step == step && last.message == message) {
            last.count += 1;
            return;
        }
        if failures.len() >= FAILURES {
            failures.pop_front();
        }
        failures.push_back(Failure { step, message: message.to_owned(), count: 1 });
    }

    fn take_seat(self: &Arc<Self>) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(Arc::clone(self), self.description.steps.len()));
        let mut seats = locked(&self.seats);
        // Reloading gives every version seats of its own.
        let gone = seats.extract_if(.., |seat| Arc::strong_count(seat) == 1);
        let mut left = locked(&self.left);
        gone.for_each(|seat| seat.add_to(&mut left));
        seats.push(Arc::clone(&seat));
        seat
    }

    /// How it does.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut sums = locked(&self.left).clone();
        let seats = locked(&self.seats);
        seats.iter().for_each(|seat| seat.add_to(&mut sums));
        let vms = seats.iter().filter(|seat| Arc::strong_count(seat) > 1).count();
        drop(seats);
        let of = |figure| seat::figure(&sums, figure);
        let sampled = of(Figure::Sampled);
        let executions = of(Figure::Offered) - of(Figure::Skipped);
        let mut taken = executions;
        let mut steps = Vec::new();
        for (at, text) in self.description.steps.iter().enumerate() {
            let StepFigures { lost, made, nanos, errors } = seat::step(&sums, at);
            let given = if text.makes { made } else { (taken - lost - errors).max(0.0) };
            let nanos = (sampled > 0.0).then(|| nanos / sampled);
            steps.push(StepSummary { text: text.clone(), taken, given, nanos, errors });
            taken = given;
        }
        Summary {
            description: self.description.clone(),
            state: self.state(),
            vms,
            executions,
            skipped: of(Figure::Skipped),
            over_limit: of(Figure::OverLimit),
            windows: of(Figure::Windows),
            handed: of(Figure::Handed),
            unfinished: of(Figure::Unfinished),
            result_errors: seat::step(&sums, steps.len()).errors,
            steps,
            failures: locked(&self.failures).iter().cloned().collect(),
        }
    }
}

/// The pipelines of a run, by plugin and name.
#[derive(Debug, Default)]
pub struct Board {
    pipelines: Mutex<BTreeMap<(String, String), Arc<Pipeline>>>,
    /// What earlier runs left: states that are not active.
    before: Mutex<BTreeMap<(String, String), State>>,
    store: OnceLock<PathBuf>,
}

impl Board {
    /// Says where the store of the run is.
    pub fn set_store(&self, file: &Path) {
        // Once: a run has one store.
        let _ = self.store.set(file.to_owned());
    }

    /// The store of the run.
    #[must_use]
    pub fn store(&self) -> Option<&Path> {
        self.store.get().map(PathBuf::as_path)
    }

    /// Says what earlier runs left of a pipeline.
    pub fn restore(&self, plugin: &str, name: &str, state: State) {
        locked(&self.before).insert((plugin.to_owned(), name.to_owned()), state);
    }

    /// A seat for a pipeline in a VM; the pipeline is made if it is new or has changed.
    #[must_use]
    pub fn seat(&self, description: Description) -> Arc<Seat> {
        let key = (description.plugin.clone(), description.name.clone());
        let mut pipelines = locked(&self.pipelines);
        let same = pipelines.get(&key).filter(|there| there.description == description).map(Arc::clone);
        let pipeline = same.unwrap_or_else(|| {
            // A changed pipeline keeps its state: it was given to the name.
            let before = pipelines.get(&key).map(|there| there.state());
            let state = before.or_else(|| locked(&self.before).get(&key).copied()).unwrap_or(State::Active);
            let made = Arc::new(Pipeline {
                description,
                state: AtomicI32::new(state as i32),
                seats: Mutex::default(),
                left: Mutex::default(),
                failures: Mutex::default(),
            });
            if pipelines.len() < MOST || pipelines.contains_key(&key) {
                pipelines.insert(key, Arc::clone(&made));
            }
            made
        });
        drop(pipelines);
        pipeline.take_seat()
    }

    /// All pipelines, by plugin and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pipeline>> {
        locked(&self.pipelines).values().map(Arc::clone).collect()
    }

    /// The pipelines of a name: `plugin/name`, or the name alone.
    #[must_use]
    pub fn find(&self, name: &str) -> Vec<Arc<Pipeline>> {
        let is_meant = |pipeline: &Arc<Pipeline>| {
            let description = &pipeline.description;
            description.name == name
                || name.strip_prefix(&*description.plugin).and_then(|rest| rest.strip_prefix('/'))
                    == Some(&*description.name)
        };
        self.list().into_iter().filter(is_meant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, Description, State, StepText};
    use crate::gears::Marks;

    fn description(name: &str, steps: &[(&str, bool)]) -> Description {
        let step =
            |(kind, makes): &(&str, bool)| StepText { kind: (*kind).to_owned(), place: String::new(), makes: *makes };
        Description {
            plugin: "p".to_owned(),
            name: name.to_owned(),
            reader: "packets".to_owned(),
            mode: "sync".to_owned(),
            window: 0.0,
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn an_error_finds_the_step_it_happened_in_and_is_counted_once() {
        let board = Board::default();
        let marks = Marks::default();
        let seat = board.seat(description("a", &[("map", false), ("filter", false)]));
        let base = marks.add(seat);
        marks.failed("nobody runs");
        marks.set(base + 2);
        marks.failed("x.lua:3: oh");
        marks.failed("told again");
        let summary = board.list()[0].summary();
        assert_eq!((summary.steps[0].errors, summary.steps[1].errors), (0.0, 1.0));
        assert_eq!((summary.failures[0].step, &*summary.failures[0].message), (2, "x.lua:3: oh"));
    }

    #[test]
    fn a_state_belongs_to_the_name_and_outlives_a_change() {
        let board = Board::default();
        board.restore("p", "a", State::Paused);
        let seat = board.seat(description("a", &[("map", false)]));
        assert_eq!(seat.pipeline().state(), State::Paused);
        seat.pipeline().set_state(State::Removed);
        let again = board.seat(description("a", &[("map", false), ("map", false)]));
        assert_eq!(again.pipeline().state(), State::Removed);
        assert_eq!(board.seat(description("b", &[])).pipeline().state(), State::Active);
        assert_eq!(board.find("p/a").len(), 1);
        assert_eq!(board.find("b").len(), 1);
        assert!(board.find("c").is_empty());
    }
}
