//! One case from arguments to verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::Parser;

use super::case::Case;
use super::cases::Found;
use super::snapshot::Snapshot;
use super::tape;
use super::verdict::Verdict;
use crate::app::cli::{Cli, Command};
use crate::app::run;
use crate::app::settings;
use crate::app::staging::{Kept, Staging, Voices, Whose};
use crate::job::Answers;

/// Whether files are extracted, and where to.
const EXTRACTION: &str = "Reassembly>FileExtraction>Enabled";
const RAM_DIRECTORY: &str = "Reassembly>FileExtraction>RamFsDir";
/// Where memory is a file system on most machines.
const SHARED_MEMORY: &str = "/dev/shm";

/// What is done about snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// They are compared with.
    Compare,
    /// They are written.
    Update,
}

/// What is done about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// They run, unless there is a recording.
    AsRecorded,
    /// They run and are recorded.
    Record,
    /// They are answered from recordings alone.
    Replay,
}

/// Runs a case. The current directory must be that of its plugin.
#[must_use]
pub fn conduct(found: &Found, snapshots: Snapshots, jobs: Jobs) -> Verdict {
    match attempt(found, snapshots, jobs) {
        Ok(verdict) => verdict,
        Err(e) => Verdict::Broken(format!("{e:#}")),
    }
}

fn attempt(found: &Found, snapshots: Snapshots, jobs: Jobs) -> anyhow::Result<Verdict> {
    let case = Case::read(&found.file, &found.plugin)?;
    let files = (case.setting(EXTRACTION).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        && case.setting(RAM_DIRECTORY).is_none())
    .then(ram_directory);
    let settings: Vec<(String, String)> =
        files.iter().map(|files| (RAM_DIRECTORY.to_owned(), files.display().to_string())).collect();
    let cli = Cli::try_parse_from(case.typed(&settings)).map_err(|e| anyhow::anyhow!("{}", e.to_string().trim()))?;
    let Command::Run(args) = &cli.command else { bail!("a case is a run") };
    let mut aliases = Vec::new();
    let mut alias = |real: &Path, written: &str| {
        aliases.push((real.as_os_str().as_encoded_bytes().to_vec(), written.as_bytes().to_vec()));
    };
    files.iter().for_each(|files| alias(files, "<files>"));
    alias(&std::env::current_dir().context("the current directory")?, "<plugins>");
    alias(&settings::data_directory(), "<data>");
    let tape_file = found.beside("jobs");
    let answers = match jobs {
        Jobs::Record => Some(Answers::record(aliases.clone())),
        Jobs::AsRecorded if !tape_file.exists() => None,
        Jobs::AsRecorded | Jobs::Replay => {
            let text = if tape_file.exists() { fs::read_to_string(&tape_file)? } else { String::new() };
            let recorded = tape::read(&text).with_context(|| tape_file.display().to_string())?;
            Some(Answers::replay(recorded, aliases.clone()))
        }
    };
    let answers = answers.map(Arc::new);
    let kept = Kept::default();
    let staging = Staging {
        voices: Voices::Silent,
        events: Some(kept.clone()),
        plugins: Whose::Named,
        answers: answers.clone(),
        ..Staging::default()
    };
    let result = run::perform(args, &cli, &staging)?;
    let text = Snapshot::of(&case, &result.catalog.groups, &aliases, &kept.take());
    if let Some(failed) = result.outcomes.iter().find_map(|outcome| outcome.source_error.as_ref()) {
        bail!("the capture cannot be read to its end: {failed}");
    }
    if let Some(answers) = &answers {
        let missing = answers.missing();
        if !missing.is_empty() {
            return Ok(Verdict::Unanswered(missing.iter().map(ToString::to_string).collect()));
        }
        if jobs == Jobs::Record {
            keep_tape(&tape_file, answers)?;
        }
    }
    compare(&found.beside("snap"), text, snapshots)
}

/// A directory for extracted files that no other case has, of this process or of another.
fn ram_directory() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let base = Path::new(SHARED_MEMORY);
    let base = if base.is_dir() { base.to_path_buf() } else { std::env::temp_dir() };
    base.join(format!("millstream-test-{}-{number}", std::process::id()))
}

fn keep_tape(file: &Path, answers: &Answers) -> anyhow::Result<()> {
    let recorded = answers.recorded();
    if recorded.is_empty() {
        if file.exists() {
            fs::remove_file(file).with_context(|| file.display().to_string())?;
        }
        return Ok(());
    }
    fs::write(file, tape::write(&recorded)).with_context(|| file.display().to_string())
}

fn compare(file: &Path, text: String, snapshots: Snapshots) -> anyhow::Result<Verdict> {
    let earlier = match fs::read_to_string(file) {
        Ok(earlier) => Some(earlier),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| file.display().to_string()),
    };
    Ok(match (earlier, snapshots) {
        (Some(earlier), _) if earlier == text => Verdict::Passed,
        (_, Snapshots::Update) => {
            fs::write(file, text).with_context(|| file.display().to_string())?;
            Verdict::Written
        }
        (None, Snapshots::Compare) => Verdict::New,
        (Some(earlier), Snapshots::Compare) => Verdict::Different { earlier, now: text },
    })
}
