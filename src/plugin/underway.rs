//! Scripts that are being loaded: what takes long is told of while it lasts, and a request to end does not wait for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::settings::{HostSettings, OnStuck};
use super::whereabouts::{Purpose, Whereabouts};
use crate::lua::Guard;

/// How long a script may be loaded without a word.
pub const LATE_AFTER: Duration = Duration::from_secs(2);

/// How long after its interruption a callback is told of that does not come back.
const HUNG_AFTER: Duration = Duration::from_millis(200);

/// What a script was at when it did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was being loaded.
    Load,
    /// A callback.
    Callback,
}

/// The scripts that have been loaded for long on threads that nobody can do without.
#[derive(Clone, Debug, Default)]
pub struct Loads(Arc<Mutex<Vec<(PathBuf, Mark)>>>);

/// Tells one load from another of the same file; true while it goes on.
type Mark = Arc<AtomicBool>;

impl Loads {
    fn lock(&self) -> MutexGuard<'_, Vec<(PathBuf, Mark)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them.
    #[must_use]
    pub fn late(&self) -> Option<PathBuf> {
        self.lock().first().map(|(path, _)| path.clone())
    }
}

/// One script while it is loaded.
#[derive(Debug)]
pub(super) struct Underway {
    guard: Arc<Guard>,
    path: PathBuf,
    purpose: Arc<Purpose>,
    loads: Loads,
    goes_on: Mark,
    /// Time for its callbacks, if any others wait for these.
    callbacks: Option<Duration>,
}

/// Has a script told of that takes long to load.
pub(super) fn tell_when_late(guard: &Guard, path: &Path, settings: &HostSettings) {
    let (path, limit, tell) = (path.to_owned(), settings.load_budget.limit, Arc::clone(&settings.on_late));
    guard.on_late(LATE_AFTER, move |guard| tell(&Whereabouts::new(&path, Stage::Load, None, guard.hung_at()), limit));
}

impl Underway {
    /// Begins with a VM for a purpose. `loads` has those that keep a thread which nobody can do without; `callbacks` is the
    /// time for those of the script, if it is told of one that does not come back.
    pub(super) fn begin(
        guard: &Arc<Guard>,
        (path, purpose): (&Path, Purpose),
        settings: &HostSettings,
        loads: Loads,
        callbacks: Option<Duration>,
    ) -> Self {
        let goes_on: Mark = Arc::new(AtomicBool::new(true));
        let (its, mark, file) = (loads.clone(), Arc::clone(&goes_on), path.to_owned());
        let (limit, tell) = (settings.load_budget.limit, Arc::clone(&settings.on_late));
        let purpose = Arc::new(purpose);
        let of = Arc::clone(&purpose);
        guard.on_late(LATE_AFTER, move |guard| {
            let at = |stage| Whereabouts::new(&file, stage, Some(&of), guard.hung_at());
            let mut late = its.lock();
            if !mark.load(Ordering::Relaxed) {
                drop(late);
                if guard.is_interrupted() {
                    tell(&at(Stage::Callback), callbacks);
                }
                return;
            }
            if !late.iter().any(|(_, known)| Arc::ptr_eq(known, &mark)) {
                late.push((file.clone(), Arc::clone(&mark)));
            }
            drop(late);
            tell(&at(Stage::Load), limit);
        });
        Self { guard: Arc::clone(guard), path: path.to_owned(), purpose, loads, goes_on, callbacks }
    }

    /// Has it told of when the script is stuck.
    pub(super) fn tell_when_stuck(&self, after: Duration, tell: &OnStuck) {
        let (path, purpose, tell) = (self.path.clone(), Arc::clone(&self.purpose), Arc::clone(tell));
        let goes_on = Arc::clone(&self.goes_on);
        self.guard.on_stuck(after, move |guard| {
            let stage = if goes_on.load(Ordering::Relaxed) { Stage::Load } else { Stage::Callback };
            tell(&Whereabouts::new(&path, stage, Some(&purpose), guard.hung_at()));
        });
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.guard.expect_delays(self.callbacks.map(|limit| limit.saturating_add(HUNG_AFTER)));
        let mut late = self.loads.lock();
        self.goes_on.store(false, Ordering::Relaxed);
        late.retain(|(_, mark)| !Arc::ptr_eq(mark, &self.goes_on));
    }
}
