//! The files of a run are apart: nothing that it writes takes the place of what it reads, or of something else that it writes.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::app::cli::RunArgs;
use crate::app::same_file::{is_same, is_standard_input};
use crate::app::settings;
use crate::sink::eve::EveTarget;
use crate::sink::{database_files, store_file};

/// Standard input or output, in place of a file.
const STANDARD: &str = "-";
const STORE: &str = "--store";

/// # Errors
/// When two options name one file.
pub fn check(args: &RunArgs) -> anyhow::Result<()> {
    let written = written(args);
    for (at, (option, file)) in written.iter().enumerate() {
        let name = file.display();
        // A store takes the place of nothing: it refuses what is none.
        let is_read = |input: &Path| {
            if input == Path::new(STANDARD) { is_standard_input(file) } else { is_same(input, file) }
        };
        let reads = |input: &&PathBuf| *option != STORE && is_read(input);
        if let Some(input) = args.input.read.iter().find(reads) {
            bail!("{option} {name}: packets are read from this file (-r {}); name another file", input.display());
        }
        if let Some((other, _)) = written[..at].iter().find(|(other, before)| other != option && is_same(before, file))
        {
            bail!("{option} {name}: {other} writes this file too; name another file for one of them");
        }
    }
    Ok(())
}

/// The files that are written, and the options that name them.
fn written(args: &RunArgs) -> Vec<(&'static str, PathBuf)> {
    let output = &args.output;
    let mut files = Vec::new();
    if let Some(store) = settings::named_store(&output.results) {
        files.extend(database_files(&store_file(store)).map(|file| (STORE, file)));
    }
    files.extend(output.events.iter().map(|file| ("--events", file.clone())));
    if let Some(EveTarget::File(file)) = &output.others.eve {
        files.push(("--eve", file.clone()));
    }
    files.retain(|(_, file)| file != Path::new(STANDARD));
    files
}
