//! One file input for several engines: who reads what.
//!
//! Plain files are read by every engine, each of which takes its own packets. A second copy of the bytes costs less than
//! packets that another core has read, whose headers come from memory one after the other. What has to be unpacked or can
//! be read only once is read by one engine at a time for all ([`SharedReader`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::file::{FileOptions, FileSource};
use super::gate::{FlowHash, Share};
use super::poll::MAX_WAIT;
use super::shared::SharedReader;
use super::source::{Fill, OpenError, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::Batch;
use crate::time::{Stopwatch, Timestamp};

/// Bytes of input that one engine may be ahead of the last one: several milliseconds of work, and few enough that what
/// engines tell each other finds the other at about the same time of the capture.
const MAX_LEAD: u64 = 8 << 20;
/// Pause between two looks at how far the others are.
const PAUSE: Duration = Duration::from_micros(100);

/// Opens capture files for several engines. Both directions of a flow go to the same engine, and each engine gets its packets
/// in order. Fewer than one engine counts as one.
///
/// # Errors
/// As [`FileSource::open`].
pub fn open_split(
    paths: &[PathBuf],
    options: &FileOptions,
    engines: usize,
    hash: FlowHash,
) -> Result<Vec<Box<dyn Source + Send>>, OpenError> {
    let engines = engines.max(1);
    let first = FileSource::open(paths, options)?;
    if !first.is_plain() {
        let shared = SharedReader::split(first, engines, hash).into_iter();
        return Ok(shared.map(|source| Box::new(source) as Box<dyn Source + Send>).collect());
    }
    let positions: Arc<[AtomicU64]> = (0..engines).map(|_| AtomicU64::new(0)).collect();
    let mut sources = vec![first];
    for _ in 1..engines {
        sources.push(FileSource::open(paths, options)?);
    }
    let shares = sources.into_iter().enumerate().map(|(engine, source)| {
        let source = source.sharing(Share { engine, engines, hash });
        Box::new(Reading { source, engine, positions: Arc::clone(&positions) }) as Box<dyn Source + Send>
    });
    Ok(shares.collect())
}

/// The reading of one engine.
struct Reading {
    source: FileSource,
    engine: usize,
    /// Bytes that each engine has read; the largest number once it has gone.
    positions: Arc<[AtomicU64]>,
}

impl Reading {
    /// Waits while the engine is far ahead of another one; false if it still is after [`MAX_WAIT`].
    fn keep_step(&self) -> bool {
        let own = self.source.bytes_read();
        self.positions[self.engine].store(own, Ordering::Relaxed);
        let is_ahead =
            || self.positions.iter().any(|other| other.load(Ordering::Relaxed).saturating_add(MAX_LEAD) < own);
        if !is_ahead() {
            return true;
        }
        let clock = Stopwatch::start();
        while is_ahead() {
            if clock.elapsed() >= MAX_WAIT {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

impl Source for Reading {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        if self.keep_step() {
            return self.source.fill(batch);
        }
        batch.clear();
        Ok(Fill::Idle)
    }

    fn stats(&self) -> SourceStats {
        self.source.stats()
    }

    fn progress(&self) -> Option<Progress> {
        self.source.progress()
    }

    fn reached(&self) -> Option<Timestamp> {
        self.source.reached()
    }

    fn origins(&self) -> &[Origin] {
        self.source.origins()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.positions[self.engine].store(u64::MAX, Ordering::Relaxed);
    }
}
