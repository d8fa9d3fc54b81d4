//! Work that executes files on a thread of its own. A file that does not come back from a C function keeps the thread for
//! ever: the thread is left behind, and the work begins anew on another one, without that file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Sender, bounded, select};

use crate::lua::spawn_lua_thread;

/// Versions of one file that may hang at a time. One leaves room for the version that mends it.
const MOST_HANGING: usize = 2;

/// What the work is told: which files it does without, and whom to tell of another one.
#[derive(Clone, Debug)]
pub struct Attempt {
    left_out: Arc<Vec<PathBuf>>,
    /// `None` where the work cannot begin anew.
    stuck: Option<Sender<PathBuf>>,
    is_over: Arc<AtomicBool>,
}

impl Attempt {
    /// The only one: nobody does the work in its place.
    pub(super) fn only() -> Self {
        Self { left_out: Arc::default(), stuck: None, is_over: Arc::default() }
    }

    /// Whether a file is not to be executed.
    #[must_use]
    pub fn leaves_out(&self, file: &Path) -> bool {
        self.left_out.iter().any(|left_out| left_out == file)
    }

    /// Whether another thread does the work by now.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Says that a file does not come back: this attempt ends. False if there can be no other.
    pub fn gives_up(&self, file: &Path) -> bool {
        let Some(stuck) = &self.stuck else { return false };
        // One is enough: the next attempt finds the others.
        let _ = stuck.try_send(file.to_owned());
        true
    }
}

/// What attempts have found out of files, so that the next one has only the rest to do.
#[derive(Debug)]
pub struct Known<T>(Arc<Mutex<HashMap<PathBuf, T>>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Known<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a file.
    #[must_use]
    pub fn of(&self, file: &Path) -> Option<T> {
        self.lock().get(file).cloned()
    }

    /// Keeps what an attempt has found out, unless it was over by then.
    pub fn keep(&self, attempt: &Attempt, file: &Path, found: &T) {
        if attempt.stuck.is_some() && !attempt.is_over() {
            self.lock().insert(file.to_owned(), found.clone());
        }
    }
}

/// Files whose threads were left behind.
#[derive(Clone, Debug, Default)]
pub struct Hanging(Arc<Mutex<Vec<LeftBehind>>>);

/// One of them; what it is on holds the other end as long as it goes on.
#[derive(Debug)]
struct LeftBehind {
    file: PathBuf,
    source: Arc<[u8]>,
    goes_on: Weak<()>,
}

impl Hanging {
    fn lock(&self) -> MutexGuard<'_, Vec<LeftBehind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version of a file was left behind; `goes_on` can be upgraded until it comes back.
    pub(super) fn add(&self, file: &Path, source: &Arc<[u8]>, goes_on: Weak<()>) {
        self.lock().push(LeftBehind { file: file.to_owned(), source: Arc::clone(source), goes_on });
    }

    /// Why a version of a file is not executed, if it is not.
    pub(super) fn refusal(&self, file: &Path, source: &[u8]) -> Option<&'static str> {
        let mut all = self.lock();
        all.retain(|left| left.goes_on.strong_count() > 0);
        let of_file = all.iter().filter(|left| left.file == file);
        if of_file.clone().any(|left| *left.source == *source) {
            return Some(
                "this version has not returned from a C function so far: it is not executed once more meanwhile",
            );
        }
        (of_file.count() >= MOST_HANGING).then_some(
            "two versions have not returned from a C function so far: no other is executed until one does, or after a restart",
        )
    }
}

/// Does the work until an attempt comes to its end; gives what that came to, or the panic it ended with.
///
/// # Errors
/// When no thread can be started.
pub fn persevere<T: Send + 'static>(
    name: &str,
    work: impl Fn(&Attempt) -> T + Clone + Send + 'static,
) -> io::Result<thread::Result<T>> {
    let mut left_out = Vec::new();
    loop {
        let (stuck, is_stuck) = bounded(1);
        let (ends, has_ended) = bounded::<()>(0);
        let attempt = Attempt { left_out: Arc::new(left_out.clone()), stuck: Some(stuck), is_over: Arc::default() };
        let (work, its) = (work.clone(), attempt.clone());
        let thread = spawn_lua_thread(name, move || {
            // Dropped at the end, whatever that is.
            let _ends = ends;
            work(&its)
        })?;
        select! {
            recv(has_ended) -> _ => {
                return Ok(thread.join());
            }
            recv(is_stuck) -> file => {
                attempt.is_over.store(true, Ordering::Release);
                left_out.extend(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Hanging, Known, persevere};
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn the_work_begins_anew_without_what_does_not_come_back() {
        let files = ["a", "b", "c"];
        let done = persevere("work", move |attempt| {
            let mut done = Vec::new();
            for file in files {
                if attempt.leaves_out(Path::new(file)) {
                    continue;
                }
                if file != "b" {
                    attempt.gives_up(Path::new(file));
                    while !attempt.is_over() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                done.push(file);
            }
            done
        });
        assert_eq!(done.unwrap().unwrap(), ["b"]);
    }

    #[test]
    fn what_is_known_is_not_found_out_again() {
        let files = ["a", "b", "c", "d"];
        let done: Arc<Mutex<Vec<&str>>> = Arc::default();
        let (log, known) = (Arc::clone(&done), Known::default());
        let found = persevere("work", move |attempt| {
            files.map(|file| {
                let path = Path::new(file);
                if attempt.leaves_out(path) {
                    return 'x';
                }
                known.of(path).unwrap_or_else(|| {
                    log.lock().unwrap().push(file);
                    if file == "c" {
                        attempt.gives_up(path);
                        while !attempt.is_over() {
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                    known.keep(attempt, path, &'k');
                    'k'
                })
            })
        });
        assert_eq!(found.unwrap().unwrap(), ['k', 'k', 'x', 'k']);
        let done = done.lock().unwrap();
        let times = |file| done.iter().filter(|&&done| done == file).count();
        // The one that was over goes on to the last one, which it keeps to itself.
        assert_eq!((times("a"), times("b"), times("c")), (1, 1, 1), "{done:?}");
        Known::default().keep(&Attempt::only(), Path::new("a"), &1);
    }

    #[test]
    fn a_version_that_hangs_is_not_tried_again_and_one_that_mends_it_may_be_tried() {
        let (hanging, file, other) = (Hanging::default(), Path::new("a"), Path::new("b"));
        let (first, second): (Arc<[u8]>, Arc<[u8]>) = (b"1"[..].into(), b"2"[..].into());
        let (on_first, on_second) = (Arc::new(()), Arc::new(()));
        hanging.add(file, &first, Arc::downgrade(&on_first));
        assert!(hanging.refusal(file, b"1").unwrap().starts_with("this version"));
        assert_eq!((hanging.refusal(file, b"2"), hanging.refusal(other, b"1")), (None, None));
        hanging.add(file, &second, Arc::downgrade(&on_second));
        assert!(hanging.refusal(file, b"3").unwrap().starts_with("two versions"));
        assert_eq!(hanging.refusal(other, b"3"), None);
        drop(on_first);
        assert_eq!((hanging.refusal(file, b"3"), hanging.refusal(file, b"1")), (None, None));
    }

    #[test]
    fn a_panic_ends_the_work() {
        assert!(persevere("work", |_| panic!("on purpose")).unwrap().is_err());
    }
}
