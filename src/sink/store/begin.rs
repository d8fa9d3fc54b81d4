//! The beginning of a run in a file.

use rusqlite::Connection;

use super::keys::{Groups, Keys};
use super::options::StoreOptions;
use super::runs::{Run, Unfinished, close_unfinished};
use crate::metrics::Registry;
use crate::time::Timestamp;

/// Where the rows of a run come from.
pub(super) struct Origin {
    pub(super) inputs: Vec<String>,
    pub(super) started: Option<Timestamp>,
}

/// A run that has begun in a file, and what the file calls things.
pub(super) struct Begun {
    pub(super) groups: Groups,
    pub(super) keys: Keys,
    pub(super) run: Run,
}

impl Begun {
    /// Marks what earlier runs left open, writes the definitions of all groups, and begins the run.
    pub(super) fn begin(
        db: &Connection,
        options: &StoreOptions,
        registry: &Registry,
        origin: &Origin,
    ) -> rusqlite::Result<Self> {
        db.execute_batch("BEGIN IMMEDIATE")?;
        for unfinished in close_unfinished(db)? {
            tell_unfinished(options, &unfinished);
        }
        let mut groups = Groups::default();
        groups.define(db, registry)?;
        let run = Run::begin(db, &origin.inputs, origin.started)?;
        db.execute_batch("COMMIT")?;
        Ok(Self { groups, keys: Keys::new(db)?, run })
    }
}

fn tell_unfinished(options: &StoreOptions, unfinished: &Unfinished) {
    let stored = match unfinished.until {
        Some(until) => format!("what ended by {} s is stored, what came later is lost", until.as_secs_f64()),
        None => "what it had not written is lost".to_owned(),
    };
    log::warn!("store {}: run {} ended early; {stored}", options.file.display(), unfinished.run);
}
