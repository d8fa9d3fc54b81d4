//! Work that executes files on a thread of its own. A file that does not come back from a C function keeps the thread for
//! ever: the thread is left behind, and the work begins anew on another one, without that file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded, select};

use crate::lua::spawn_lua_thread;

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

    /// Says that a file does not come back: this attempt ends.
    pub fn gives_up(&self, file: &Path) {
        if let Some(stuck) = &self.stuck {
            // One is enough: the next attempt finds the others.
            let _ = stuck.try_send(file.to_owned());
        }
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
    use super::persevere;
    use std::path::Path;
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
    fn a_panic_ends_the_work() {
        assert!(persevere("work", |_| panic!("on purpose")).unwrap().is_err());
    }
}
