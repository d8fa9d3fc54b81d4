//! What a command that is built on a run changes in it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::job::Answers;
use crate::lua::Profiler;
use crate::sink::{Console, Haste, WhenFull};

/// What a command that is built on a run changes in it; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Staging {
    /// What scripts print and log.
    pub voices: Voices,
    /// Takes the event stream in place of `--events`.
    pub events: Option<Kept>,
    /// Which plugins there are.
    pub plugins: Whose,
    /// What records the answers of jobs, or gives them.
    pub answers: Option<Arc<Answers>>,
    /// What looks on while scripts run.
    pub profiler: Option<Arc<Profiler>>,
    /// What comes after the run.
    pub after: After,
}

/// What becomes of what scripts print and log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voices {
    /// It goes to the terminal, and there is progress to be seen and a signal to stop.
    #[default]
    Heard,
    /// Nothing is shown.
    Silent,
}

/// What comes after a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// The process goes on.
    #[default]
    MoreWork,
    /// Its report, and the process ends.
    TheEnd,
}

/// Whose plugins are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// Those named and those of the standard directories.
    #[default]
    Everybodys,
    /// Those named.
    Named,
}

/// Bytes kept in memory; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// Takes what has come together.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Staging {
    /// The terminal of the run.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn console(&self, when_full: WhenFull, haste: &Haste) -> io::Result<Console> {
        match self.voices {
            Voices::Heard => Console::start(when_full, haste),
            Voices::Silent => Console::start_with(when_full, Box::new(io::sink()), Box::new(io::sink())),
        }
    }
}
