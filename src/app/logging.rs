//! Log lines of the host itself: one form with those of scripts, to standard error.

use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::cli::LogChoice;
use crate::api::LogLevel;
use crate::pipeline::log_line;
use crate::sink::{Haste, Patient, progress_line};
use crate::time;

struct Logger;

static LOGGER: Logger = Logger;
static STARTED: OnceLock<()> = OnceLock::new();
/// Begins when the run is asked to end: a reader of standard error that stalls then is not told.
static HASTE: Mutex<Option<Haste>> = Mutex::new(None);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug | Level::Trace => LogLevel::Debug,
        };
        let line = log_line(time::wall(), level, "millstream", record.args().to_string().as_bytes());
        let _room = progress_line::make_room();
        let haste = HASTE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A closed standard error leaves nobody to tell.
        let _ = Patient::of(&std::io::stderr(), haste.unwrap_or_default()).and_then(|mut err| err.write_all(&line));
    }

    fn flush(&self) {}
}

/// Starts logging; later calls change the level only.
pub fn start(choice: LogChoice) {
    STARTED.get_or_init(|| {
        // Fails only if another logger was set, which then stays.
        let _ = log::set_logger(&LOGGER);
    });
    log::set_max_level(match choice {
        LogChoice::Error => LevelFilter::Error,
        LogChoice::Warn => LevelFilter::Warn,
        LogChoice::Notice | LogChoice::Info => LevelFilter::Info,
        LogChoice::Debug => LevelFilter::Debug,
    });
}

/// Has lines wait for a reader only until the run is asked to end.
pub fn hurry_with(haste: &Haste) {
    *HASTE.lock().unwrap_or_else(PoisonError::into_inner) = Some(haste.clone());
}

/// The same choice as scripts' log lines are compared with.
#[must_use]
pub fn threshold(choice: LogChoice) -> LogLevel {
    match choice {
        LogChoice::Error => LogLevel::Error,
        LogChoice::Warn => LogLevel::Warn,
        LogChoice::Notice => LogLevel::Notice,
        LogChoice::Info => LogLevel::Info,
        LogChoice::Debug => LogLevel::Debug,
    }
}
