//! From paths to a summary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, bail};
use serde_json::json;

use super::cases::{Cases, Found};
use super::conduct::{Jobs, Snapshots, conduct};
use super::verdict::Verdict;
use crate::app::Outcome;
use crate::app::cli::{Cli, LogChoice, TestArgs};
use crate::app::screen::{Paint, Screen, count};
use crate::app::watch;

/// Most cases that run at a time.
const MAX_AT_A_TIME: usize = 8;

/// Runs the cases of plugins.
///
/// # Errors
/// When there is nothing to run, or a path does not exist.
pub fn test(args: &TestArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let mut cases = Cases::find(&args.paths)?;
    let untested: Vec<String> = cases.0.values().flat_map(|folder| folder.untested.clone()).collect();
    cases.keep(&args.filter);
    if cases.len() == 0 {
        bail!(nothing(args));
    }
    watch::end_at_once()?;
    if cli.log == LogChoice::Notice {
        // What is usual in a run, such as slow callbacks, is noise here.
        log::set_max_level(log::LevelFilter::Error);
    }
    let snapshots = if args.update { Snapshots::Update } else { Snapshots::Compare };
    let jobs = match (args.record, args.replay) {
        (true, _) => Jobs::Record,
        (_, true) => Jobs::Replay,
        _ => Jobs::AsRecorded,
    };
    let mut verdicts = Vec::new();
    for (root, folder) in &cases.0 {
        verdicts.extend(run_folder(root, &folder.cases, snapshots, jobs)?);
    }
    let failed = verdicts.iter().filter(|(_, verdict)| !verdict.is_good()).count();
    let mut screen = Screen::stdout(cli.color);
    if args.json {
        let documents: Vec<_> = verdicts.iter().map(|(found, verdict)| verdict.document(found)).collect();
        let good = verdicts.len() - failed;
        screen.json(&json!({ "cases": documents, "passed": good, "failed": failed, "untested": untested }))?;
    } else {
        for (found, verdict) in &verdicts {
            verdict.show(found, &mut screen)?;
        }
        summary(&verdicts, failed, if args.filter.is_empty() { &untested } else { &[] }, &mut screen)?;
    }
    screen.flush()?;
    Ok(if failed > 0 { Outcome::Flawed } else { Outcome::Good })
}

fn nothing(args: &TestArgs) -> String {
    let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
    let filters = if args.filter.is_empty() { String::new() } else { format!(" named '{}'", args.filter.join("', '")) };
    format!(
        "{}: no cases{filters}; a case is a file PLUGIN_DIR/tests/NAME/CASE.toml beside PLUGIN_DIR/NAME.lua, such as: \
         capture = \"traffic.pcap\"",
        paths.join(", ")
    )
}

/// Runs the cases of the plugins of a folder, some at a time, in that folder: so messages name files alike wherever the
/// command was typed.
fn run_folder(root: &Path, cases: &[Found], snapshots: Snapshots, jobs: Jobs) -> anyhow::Result<Vec<(Found, Verdict)>> {
    let back: PathBuf = std::env::current_dir().context("the current directory")?;
    std::env::set_current_dir(root).with_context(|| root.display().to_string())?;
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let at_a_time = thread::available_parallelism().map_or(1, usize::from).min(MAX_AT_A_TIME).min(cases.len());
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(found) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = conduct(found, snapshots, jobs);
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((found.clone(), verdict));
                }
            });
        }
    });
    std::env::set_current_dir(&back).with_context(|| back.display().to_string())?;
    let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdicts.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(verdicts)
}

fn summary(
    verdicts: &[(Found, Verdict)],
    failed: usize,
    untested: &[String],
    screen: &mut Screen<'_>,
) -> anyhow::Result<()> {
    let number = |name: &str| verdicts.iter().filter(|(_, verdict)| verdict.name() == name).count();
    let mut parts = vec![format!("{} passed", number("passed"))];
    if number("written") > 0 {
        parts.push(format!("{} written", number("written")));
    }
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    let paint = if failed > 0 { Paint::Bad } else { Paint::Good };
    let line = screen.paint(paint, &format!("{}: {}", count(verdicts.len(), "case"), parts.join(", ")));
    writeln!(screen, "\n{line}")?;
    if !untested.is_empty() {
        writeln!(screen, "{} without cases: {}", count(untested.len(), "plugin"), untested.join(", "))?;
    }
    Ok(())
}
