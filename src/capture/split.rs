//! One file input for several engines: who reads what.
//!
//! Plain files are read by all engines, one block each by turns ([`TurnSource`]). What has to be unpacked or can be read only
//! once is read by one engine at a time for all ([`SharedReader`]).

use std::path::PathBuf;

use super::file::{FileOptions, FileSource};
use super::shared::SharedReader;
use super::source::{OpenError, Source};
use super::turns::TurnSource;
use crate::packet::Deal;

/// Opens capture files for several engines. Both directions of a flow go to the same engine, and each engine gets its packets
/// in order, and with them is told of the ticks of the whole input. Fewer than one engine counts as one.
///
/// # Errors
/// As [`FileSource::open`].
pub fn open_split(
    paths: &[PathBuf],
    options: &FileOptions,
    engines: usize,
    deal: Deal,
) -> Result<Vec<Box<dyn Source + Send>>, OpenError> {
    let source = FileSource::open(paths, options)?;
    if source.is_plain() {
        return Ok(boxed(TurnSource::split(source, engines, deal)));
    }
    Ok(boxed(SharedReader::split(source, engines, deal)))
}

fn boxed<S: Source + Send + 'static>(sources: Vec<S>) -> Vec<Box<dyn Source + Send>> {
    sources.into_iter().map(|source| Box::new(source) as Box<dyn Source + Send>).collect()
}
