//! Scripts that are being loaded: what takes long is told of while it lasts, and a request to end does not wait for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::settings::HostSettings;
use crate::lua::Guard;

/// How long a script may be loaded without a word.
pub const LATE_AFTER: Duration = Duration::from_secs(2);

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
    loads: Loads,
    goes_on: Mark,
}

/// Has a script told of that takes long to load.
pub(super) fn tell_when_late(
    guard: &Guard,
    path: &Path,
    settings: &HostSettings,
    and: impl Fn() + Send + Sync + 'static,
) {
    let (path, limit, tell) = (path.to_owned(), settings.load_budget.limit, Arc::clone(&settings.on_late));
    guard.on_late(LATE_AFTER, move |_| {
        and();
        tell(&path, limit);
    });
}

impl Underway {
    /// Begins with a VM. `loads` has those that keep a thread which nobody can do without.
    pub(super) fn begin(guard: &Arc<Guard>, path: &Path, settings: &HostSettings, loads: Loads) -> Self {
        let goes_on: Mark = Arc::new(AtomicBool::new(true));
        let (its, mark, file) = (loads.clone(), Arc::clone(&goes_on), path.to_owned());
        tell_when_late(guard, path, settings, move || {
            let mut late = its.lock();
            if mark.load(Ordering::Relaxed) && !late.iter().any(|(_, known)| Arc::ptr_eq(known, &mark)) {
                late.push((file.clone(), Arc::clone(&mark)));
            }
        });
        Self { guard: Arc::clone(guard), loads, goes_on }
    }

    /// What the script is at.
    pub(super) fn stage(&self) -> impl Fn() -> Stage + Send + Sync + 'static {
        let goes_on = Arc::clone(&self.goes_on);
        move || if goes_on.load(Ordering::Relaxed) { Stage::Load } else { Stage::Callback }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.guard.expect_delays();
        let mut late = self.loads.lock();
        self.goes_on.store(false, Ordering::Relaxed);
        late.retain(|(_, mark)| !Arc::ptr_eq(mark, &self.goes_on));
    }
}
